//! What changes under sessions that are logged in: each of them is told, and none hangs.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::raw::{Raw, Said};
use common::{Target, host};
use outband_control::access::{Epoch, Redirect};
use outband_protocol::ids::Itt;
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{AsyncEvent, LogoutResult, Response};
use outband_target_server::media::{
    AddOptions, Catalog, Media, NewVolume, PartitionSpec, Piece, VolumeSpec, WritePolicy, ZeroWith,
};
use uuid::Uuid;

const NAME: &str = "iqn.2026-11.local.outband:test:v";

/// A volume `v` that keeps what it has, and two sessions of one host.
async fn two() -> (Target, VolumeSpec, Raw, Raw) {
    let mut target = Target::start(|config| config.logout_wait = Duration::from_secs(1));
    let mut spec = common::memory("v", 4);
    spec.volatile = false;
    target.server.attach(&spec).await.unwrap();
    target.grant_sessions("v", "a", 1, 8).await;
    let session = |isid| {
        let mut session = Raw::to(target.portal, NAME, "a", isid);
        assert_eq!(session.attentions(), ["02 6/2900"]);
        session
    };
    let (a, b) = (session(1), session(2));
    (target, spec, a, b)
}

fn message(said: Said) -> (AsyncEvent, [u16; 3]) {
    match said.response {
        Response::Async(message) => (message.event, message.parameters),
        other => panic!("no asynchronous message: {other:?}"),
    }
}

/// WCE as MODE SENSE(6) tells it.
fn write_cache(session: &mut Raw) -> bool {
    let command = session.command(&[0x1a, 0x08, 0x08, 0, 64, 0]);
    let command = outband_protocol::pdu::ScsiCommand { read: true, expected_len: 64, ..command };
    session.send(outband_protocol::pdu::Request::Command(command), &[]);
    session.said().data[4 + 2] & 0x04 != 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_grows_under_io_says_so_to_every_session() {
    let (mut target, mut spec, mut a, mut b) = two().await;
    target.grant_sessions("v", "a", 2, 9).await;
    let disk = Arc::new(target.disk("v", "a").await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (busy, stopped) = (Arc::clone(&disk), Arc::clone(&stop));
    let io = tokio::spawn(async move {
        let mut done = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            busy.write_at((done % 64) * 4096, vec![1; 4096]).await.unwrap();
            done += 1;
        }
        done
    });
    let zero = ZeroWith::Writes;
    for _ in 0..4 {
        let device = Uuid::new_v4();
        spec.pieces.push(Piece { device, media: Media::Memory, offset: 0, len: 1 << 20, zero });
        spec.blocks += 2048;
        target.server.attach(&spec).await.unwrap();
        for session in [&mut a, &mut b] {
            assert_eq!(session.attentions(), ["02 6/2a09"]);
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(io.await.unwrap() > 0);
    assert_eq!(disk.refresh().await.unwrap().capacity(), 8 << 20);
}

/// As every size in decimal units does.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_ends_within_a_mebibyte_grows_from_its_end() {
    const KIB: u64 = 1 << 10;
    let dir = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(&dir.path().join("state")).unwrap();
    let options = AddOptions { size: Some(32 << 20), ..AddOptions::default() };
    catalog.add_device(&dir.path().join("disk"), options).unwrap();
    let new = NewVolume::new("v".parse().unwrap(), 1536 * KIB);
    let spec = catalog.create_volume(&NewVolume { allow_volatile: true, ..new }).unwrap();
    let mut target = Target::start(|_| {});
    target.server.attach(&spec).await.unwrap();
    target.grant("v", "a", 1).await;
    let disk = target.disk("v", "a").await.unwrap();
    let mut written = vec![(1536 * KIB - 4096, 1u8)];
    disk.write_at(1536 * KIB - 4096, vec![1; 4096]).await.unwrap();
    // First within the extent that it has, then into a second and a third.
    for (fill, end) in [(2u8, 1792 * KIB), (4, 4608 * KIB), (6, 6144 * KIB)] {
        let before = disk.capacity();
        target.server.attach(&catalog.grow_volume("v", end).unwrap()).await.unwrap();
        assert_eq!(disk.refresh().await.unwrap().capacity(), end);
        for (at, fill) in [(before, fill), (end - 4096, fill + 1)] {
            disk.write_at(at, vec![fill; 4096]).await.unwrap();
            written.push((at, fill));
        }
    }
    drop(disk);
    target.server.stop().await;
    let mut again = Target::start(|_| {});
    again.server.attach(&catalog.volume("v").unwrap()).await.unwrap();
    again.grant("v", "a", 1).await;
    let disk = again.disk("v", "a").await.unwrap();
    for (at, fill) in written {
        let read = disk.read_at(at, 4096).await.unwrap();
        assert!(read.iter().all(|byte| *byte == fill), "{fill} is not where it was written, {at}");
    }
}

/// A record may tell of a partition that was made before its space was zeroed.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_partition_only_what_is_zeroed_is_served() {
    let mut target = Target::start(|_| {});
    let mut spec = common::memory("v", 4);
    for (number, start) in [(1, 4096), (2, 8192)] {
        spec.partitions.push(PartitionSpec { number, id: Uuid::new_v4(), start, blocks: 8192 });
    }
    target.server.attach(&spec).await.unwrap();
    target.grant("v.p1", "a", 1).await;
    target.grant("v.p2", "b", 2).await;
    let disk = target.disk("v.p1", "a").await.unwrap();
    assert_eq!(disk.capacity(), 2 << 20);
    disk.write_at((2 << 20) - 4096, vec![1; 4096]).await.unwrap();
    assert!(target.disk("v.p2", "b").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_write_policy_is_told_to_every_session_and_seen_in_the_caching_page() {
    let (target, mut spec, mut a, mut b) = two().await;
    assert!(!write_cache(&mut a));
    for (policy, cached) in [(WritePolicy::High, true), (WritePolicy::Normal, false)] {
        spec.write_policy = policy;
        target.server.attach(&spec).await.unwrap();
        for session in [&mut a, &mut b] {
            assert_eq!(session.attentions(), ["02 6/2a01"]);
            assert_eq!(write_cache(session), cached);
        }
        target.server.attach(&spec).await.unwrap();
        for session in [&mut a, &mut b] {
            assert_eq!(session.attentions(), [""; 0], "the same again is no change");
        }
        let write = a.write(1, Simple, &[5; 512]);
        a.ends(write, "00");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_ends_the_tasks_says_so_and_closes() {
    let (target, _, mut a, mut b) = two().await;
    let held = a.write(0, Simple, &[]);
    a.r2t(held);
    let epoch = Epoch(1);
    target.server.close_gate(NAME.to_owned(), Some(host("a")), epoch).await;
    let refused = b.read(0, Simple);
    b.ends(refused, "18");
    target.server.drain(NAME.to_owned(), Some(host("a")), epoch).await;
    for session in [&mut a, &mut b] {
        let params = session.params();
        let seconds = |value: u32| u16::try_from(value).unwrap();
        let times = [0, seconds(params.time_to_wait), seconds(params.time_to_retain)];
        assert_eq!(message(session.said()), (AsyncEvent::SessionDropped, times));
        assert!(session.hear().is_none());
    }
    assert!(target.server.sessions().await.is_empty());
}

/// A volume has one host at a time, its partitions have theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_leaves_another_host_of_the_volume_and_its_tasks_undisturbed() {
    let mut target = Target::start(|_| {});
    let mut spec = common::memory("v", 4);
    for number in [1, 2] {
        let start = u64::from(number - 1) * 2048;
        spec.partitions.push(PartitionSpec { number, id: Uuid::new_v4(), start, blocks: 2048 });
    }
    target.server.attach(&spec).await.unwrap();
    let mut open = async |volume: &str, to: &str, epoch| {
        target.grant(volume, to, epoch).await;
        let name = format!("iqn.2026-11.local.outband:test:{volume}");
        let mut session = Raw::to(target.portal, &name, to, 1);
        assert_eq!(session.attentions(), ["02 6/2900"]);
        (name, session)
    };
    let (name, mut revoked) = open("v.p1", "a", 1).await;
    let (_, mut other) = open("v.p2", "c", 2).await;
    let (lost, kept) = (revoked.write(0, Simple, &[]), other.write(1, Simple, &[]));
    revoked.r2t(lost);
    let ttt = other.r2t(kept);
    target.server.close_gate(name.clone(), Some(host("a")), Epoch(1)).await;
    target.server.drain(name, Some(host("a")), Epoch(1)).await;
    assert_eq!(message(revoked.said()).0, AsyncEvent::SessionDropped);
    assert!(revoked.hear().is_none());
    other.data_out(kept, ttt, &[7; 512]);
    other.ends(kept, "00");
    assert_eq!(other.attentions(), [""; 0]);
    other.is_silent();
    assert_eq!(target.server.sessions().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_goes_asks_for_a_logout_and_cuts_off_who_stays() {
    let (target, spec, mut polite, mut deaf) = two().await;
    let held = deaf.write(0, Simple, &[]);
    deaf.r2t(held);
    let server = Arc::clone(&target.server);
    let detached = tokio::spawn(async move { server.detach(spec.id).await });
    for session in [&mut polite, &mut deaf] {
        assert_eq!(message(session.said()), (AsyncEvent::LogoutRequested, [0, 0, 1]));
    }
    // Until then it works as before.
    let read = polite.read(0, Simple);
    polite.ends(read, "00");
    let logout = polite.logout();
    let Response::Logout(answer) = polite.said().response else { panic!("no logout") };
    assert_eq!((answer.itt, answer.result), (logout, LogoutResult::Closed));
    assert!(polite.hear().is_none());
    assert_eq!(message(deaf.said()), (AsyncEvent::ConnectionDropped, [7, 0, 0]));
    assert!(deaf.hear().is_none());
    detached.await.unwrap();
    assert!(target.server.sessions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_asks_for_a_logout_and_waits_for_it() {
    let (target, _, mut a, mut b) = two().await;
    let server = Arc::clone(&target.server);
    let stopped = tokio::spawn(async move { server.stop().await });
    for session in [&mut a, &mut b] {
        assert_eq!(message(session.said()), (AsyncEvent::LogoutRequested, [0, 0, 1]));
        session.logout();
        assert!(matches!(session.said().response, Response::Logout(_)));
        assert!(session.hear().is_none());
    }
    stopped.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_moves_away_asks_for_a_logout_and_sends_the_next_login_on() {
    use common::raw::{config, log_in};
    use outband_protocol::login::initiator::Event;

    let (mut target, _, mut a, mut b) = two().await;
    let address = "192.0.2.7:3261";
    for permanent in [false, true] {
        let redirect = Redirect { address: address.parse().unwrap(), permanent };
        target.access.set_redirect("v".parse().unwrap(), redirect);
        target.server.publish(target.access.clone()).await;
        let (_, sent) = log_in(target.portal, config(Some(NAME), "a", 3));
        let address = address.parse().unwrap();
        assert_eq!(sent, Event::Redirect { address, permanent });
    }
    for session in [&mut a, &mut b] {
        assert_eq!(message(session.said()), (AsyncEvent::LogoutRequested, [0, 0, 1]));
        session.logout();
        assert!(matches!(session.said().response, Response::Logout(_)));
        assert!(session.hear().is_none());
    }
    // Who has no grant on it hears what everybody hears.
    target.grant("w", "b", 1).await;
    let (_, stranger) = log_in(target.portal, config(Some(NAME), "b", 3));
    let refused = outband_protocol::pdu::LoginStatus::AUTHORIZATION_FAILURE;
    assert_eq!(stranger, Event::Refused(refused));
    target.access.clear_redirect(&"v".parse().unwrap());
    target.server.publish(target.access.clone()).await;
    assert_ne!(Raw::to(target.portal, NAME, "a", 3).itt(), Itt::NONE);
}

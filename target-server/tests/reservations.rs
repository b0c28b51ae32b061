//! Reservations between sessions: that a preempted host leaves nothing behind, who is told what, and
//! what survives a stop, a kill and the end of a grant.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use common::raw::Raw;
use common::reserves::{GONE, Reserves, does};
use common::unit::Served;
use common::{Target, host, memory};
use outband_control::access::Epoch;
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{Request, Response};
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::reserve::Kind;
use outband_target_server::media::{Media, PartitionSpec, ReservationPlace, VolumeSpec, ZeroWith};
use uuid::Uuid;

const NAME: &str = "iqn.2026-11.local.outband:test:v";

/// Sessions of one host through ports of its own, to a target that serves `v`.
fn sessions<const N: usize>(portal: SocketAddr) -> [Raw; N] {
    std::array::from_fn(|at| {
        let mut session = Raw::to(portal, NAME, "a", u8::try_from(at).unwrap());
        assert_eq!(session.attentions(), ["02 6/2900"]);
        session
    })
}

async fn target() -> Target {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant_sessions("v", "a", 1, 8).await;
    target
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preempted_host_leaves_no_write_behind() {
    for abort in [false, true] {
        let target = target().await;
        let [mut a, mut b] = sessions(target.portal);
        let kind = Kind::WriteExclusiveRegistrants;
        does(&mut a, |a| a.register(1, false));
        does(&mut b, |b| b.register(2, false));
        does(&mut a, |a| a.reserve(1, kind));
        // One waits for its data, and one has not even been asked for it.
        let late = a.write(0, Simple, &[]);
        let ttt = a.r2t(late);
        does(&mut b, |b| b.preempt(2, 1, kind, abort));
        a.data_out(late, ttt, &[0xAA; 512]);
        if abort {
            assert_eq!(a.attentions(), [GONE, "02 6/2f00"]);
        } else {
            a.ends(late, "18");
            assert_eq!(a.attentions(), [GONE]);
        }
        let barred = a.write(1, Simple, &[0xAA; 512]);
        a.ends(barred, "18");
        for lba in 0..2 {
            let read = b.read(lba, Simple);
            let said = b.said();
            assert!(matches!(&said.response, Response::DataIn(data) if data.itt == read));
            assert!(said.data.iter().all(|byte| *byte == 0), "block {lba}");
        }
        let own = b.write(0, Simple, &[0xBB; 512]);
        b.ends(own, "00");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preempt_and_abort_ends_the_tasks_of_the_preempted_only() {
    let target = target().await;
    let [mut a, mut b, mut c] = sessions(target.portal);
    for (session, key) in [(&mut a, 1), (&mut b, 2), (&mut c, 3)] {
        does(session, |session| session.register(key, false));
    }
    does(&mut a, |a| a.reserve(1, Kind::WriteExclusiveRegistrants));
    let mine = a.write(0, Simple, &[]);
    a.r2t(mine);
    let other = c.write(2, Simple, &[]);
    let ttt = c.r2t(other);
    does(&mut b, |b| b.preempt(2, 1, Kind::WriteExclusiveRegistrants, true));
    c.data_out(other, ttt, &[3; 512]);
    c.ends(other, "00");
    assert_eq!(c.attentions(), [] as [&str; 0]);
    assert_eq!(a.attentions(), [GONE, "02 6/2f00"]);
    assert_eq!(b.keys(), [2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_outlives_its_session_and_a_lost_unit_reservation_does_not() {
    let target = target().await;
    let [mut a, mut b] = sessions(target.portal);
    let reserve = |session: &mut Raw| {
        let command = session.command(&Cdb::Reserve6.build());
        session.send(Request::Command(command), &[]);
        command.itt
    };
    does(&mut a, reserve);
    let conflict = b.read(0, Simple);
    b.ends(conflict, "18");
    drop(a);
    common::eventually("the session has gone", || {
        let read = b.read(0, Simple);
        let end = b.end();
        async move { end == (read, "00".to_owned()) }
    })
    .await;

    let mut a = Raw::to(target.portal, NAME, "a", 0);
    a.attentions();
    does(&mut a, |a| a.register(1, false));
    does(&mut a, |a| a.reserve(1, Kind::ExclusiveAccess));
    let logout = a.logout();
    assert!(matches!(a.said().response, Response::Logout(answer) if answer.itt == logout));
    let conflict = b.read(0, Simple);
    b.ends(conflict, "18");
    let mut a = Raw::to(target.portal, NAME, "a", 0);
    a.attentions();
    let read = a.read(0, Simple);
    a.ends(read, "00");
}

/// A volume `v` in a file.
fn on(file: &Path) -> VolumeSpec {
    let mut spec = memory("v", 4);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(file);
    let file = file.unwrap();
    file.set_len(4 << 20).unwrap();
    spec.pieces[0].media = Media::File(Arc::new(file.into()));
    spec.pieces[0].zero = ZeroWith::Punch;
    spec.volatile = false;
    spec
}

/// A target that keeps reservations at `place`.
async fn keeping(place: ReservationPlace, spec: &VolumeSpec) -> Target {
    let mut target = Target::start(|config| config.reservations = Some(place));
    target.server.attach(spec).await.unwrap();
    target.grant_sessions("v", "a", 1, 8).await;
    target
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_survive_is_there_after_a_restart_and_the_rest_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let spec = on(&dir.path().join("v.img"));
    let place = || ReservationPlace::Directory(dir.path().join("reservations"));
    let first = keeping(place(), &spec).await;
    let [mut a, mut b] = sessions(first.portal);
    does(&mut a, |a| a.register(1, true));
    does(&mut b, |b| b.register(2, true));
    does(&mut a, |a| a.reserve(1, Kind::ExclusiveAccess));
    // Nobody stops it in order: the threads of the first go on, and nothing more is written.
    drop((a, b));
    let second = keeping(place(), &spec).await;
    let [mut a, mut b] = sessions(second.portal);
    assert_eq!((a.keys(), a.held()), (vec![1, 2], Some((1, Kind::ExclusiveAccess))));
    let conflict = b.read(0, Simple);
    b.ends(conflict, "18");
    // From now on nothing is to survive.
    does(&mut b, |b| b.register(3, false));
    let third = keeping(place(), &spec).await;
    let [mut a] = sessions(third.portal);
    assert_eq!((a.keys(), a.held()), (vec![], None));
    for target in [first, second, third] {
        target.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_kept_is_not_answered_as_if_it_were() {
    let dir = tempfile::tempdir().unwrap();
    let spec = on(&dir.path().join("v.img"));
    // A file on which there is no room for anything.
    let target = keeping(ReservationPlace::File("/dev/full".into()), &spec).await;
    let [mut a] = sessions(target.portal);
    // Neither that something is to be kept, nor that nothing is.
    for persist in [true, false] {
        let failed = a.register(1, persist);
        a.ends(failed, "02 4/4400");
    }
    does(&mut a, |a| a.register(1, false));
    let read = a.read(0, Simple);
    a.ends(read, "00");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_grant_ends_its_registrations_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let spec = on(&dir.path().join("v.img"));
    let place = || ReservationPlace::Directory(dir.path().join("reservations"));
    let mut target = keeping(place(), &spec).await;
    let [mut a] = sessions(target.portal);
    does(&mut a, |a| a.register(1, true));
    does(&mut a, |a| a.reserve(1, Kind::ExclusiveAccess));
    target.server.close_gate(NAME.to_owned(), Some(host("a")), Epoch(1)).await;
    target.access.fence(&"v".parse().unwrap(), &host("a"), Epoch(1));
    target.server.publish(target.access.clone()).await;
    target.server.drain(NAME.to_owned(), Some(host("a")), Epoch(1)).await;

    // On this unit, and after its restart.
    target.grant_sessions("v", "b", 2, 8).await;
    for target in [target, keeping(place(), &spec).await] {
        let of =
            if target.access.grants().any(|grant| grant.host == host("b")) { "b" } else { "a" };
        let mut next = Raw::to(target.portal, NAME, of, 9);
        next.attentions();
        assert_eq!((next.keys(), next.held()), (vec![], None));
        let write = next.write(0, Simple, &[1; 512]);
        next.ends(write, "00");
        // The old fence once more, whose acknowledgement was lost: nothing of the new grant goes.
        if of == "b" {
            does(&mut next, |next| next.register(5, true));
            target.server.drain(NAME.to_owned(), Some(host("a")), Epoch(1)).await;
            target.server.drain(NAME.to_owned(), None, Epoch(1)).await;
            assert_eq!(next.keys(), [5]);
            does(&mut next, |next| next.register(0, true));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_goes_takes_its_file_along_and_others_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = on(&dir.path().join("v.img"));
    let files = dir.path().join("reservations");
    let target = keeping(ReservationPlace::Directory(files.clone()), &spec).await;
    let part = PartitionSpec { number: 1, id: Uuid::new_v4(), start: 0, blocks: 2048 };
    spec.partitions.push(part);
    target.server.attach(&spec).await.unwrap();
    assert!(files.join(part.id.to_string()).exists());
    spec.partitions.clear();
    target.server.attach(&spec).await.unwrap();
    assert!(!files.join(part.id.to_string()).exists());
    assert!(files.join(spec.id.to_string()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_goes_takes_its_file_along() {
    let dir = tempfile::tempdir().unwrap();
    let spec = on(&dir.path().join("v.img"));
    let files = dir.path().join("reservations");
    let target = keeping(ReservationPlace::Directory(files.clone()), &spec).await;
    assert!(files.join(spec.id.to_string()).exists());
    target.server.detach(spec.id).await;
    assert!(!files.join(spec.id.to_string()).exists());
    // Memory has none.
    target.server.attach(&memory("m", 1)).await.unwrap();
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), 0);
}

#[test]
fn reservations_survive_kill_nine_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    let args = [file.to_str().unwrap(), "--size", "4M", "--sessions-per-portal", "4"];
    let mut known = Vec::new();
    for round in 1..=4u8 {
        let served = Served::start(&args);
        let mut session = served.session(0);
        assert_eq!(session.keys(), known, "round {round}");
        if round > 1 {
            assert_eq!(session.held(), Some((1, Kind::WriteExclusive)));
        } else {
            does(&mut session, |session| session.register(1, true));
            does(&mut session, |session| session.reserve(1, Kind::WriteExclusive));
            known.push(1);
        }
        // Whatever was answered when the process is killed, is there.
        for more in 0..3 {
            let key = u64::from(round) * 10 + more;
            let mut other = served.session(round * 10 + u8::try_from(more).unwrap());
            does(&mut other, |other| other.register(key, true));
            known.push(key);
        }
    }
}

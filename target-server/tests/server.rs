//! The target and the initiator library, over loopback: who is let in, what becomes of a session
//! that is replaced or fenced, and that one bad peer is nobody else's trouble.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(clippy::cast_possible_truncation, reason = "patterns of bytes wrap, and are to")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Target, eventually, host, memory};
use outband_initiator::{Discovery, Error, LoginStatus};
use outband_target_server::media::{Media, Piece, ZeroWith};
use uuid::Uuid;

fn denied(result: Result<outband_initiator::Disk, Error>) -> LoginStatus {
    match result {
        Err(Error::Denied(status) | Error::Refused(status)) => status,
        other => panic!("not denied: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_written_is_read_again_at_every_size() {
    let mut target = Target::start(|_| {});
    target.volume("v", 32).await;
    target.grant("v", "a", 1).await;
    let disk = target.disk("v", "a").await.unwrap();
    assert_eq!((disk.capacity(), disk.block_size()), (32 << 20, 512));
    for len in [512, 4096, 65_536, 262_144 + 512, 1 << 20, (1 << 20) + 512, 5 << 20] {
        let data: Vec<u8> = (0..len).map(|at| (at * 7 + at / 512) as u8).collect();
        disk.write_at(1 << 20, data.clone()).await.unwrap();
        assert!(disk.read_at(1 << 20, len).await.unwrap() == data, "{len} bytes differ");
    }
    disk.flush().await.unwrap();
    disk.unmap(1 << 20, 4096).await.unwrap();
    assert!(disk.read_at(1 << 20, 4096).await.unwrap().iter().all(|byte| *byte == 0));
    assert!(matches!(disk.read_at(32 << 20, 512).await, Err(Error::OutOfRange { .. })));
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_answered_each_with_its_own_data() {
    let mut target = Target::start(|_| {});
    target.volume("v", 16).await;
    target.grant("v", "a", 1).await;
    let disk = target.disk("v", "a").await.unwrap();
    let tasks: Vec<_> = (0..100u64)
        .map(|at| {
            let disk = disk.clone();
            tokio::spawn(async move {
                let fill = u8::try_from(at).unwrap();
                disk.write_at(at * 65_536, vec![fill; 65_536]).await.unwrap();
                let read = disk.read_at(at * 65_536, 65_536).await.unwrap();
                assert!(read.iter().all(|byte| *byte == fill), "block {at}");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn volumes_of_different_shards_are_reached_through_one_portal() {
    let mut target = Target::start(|config| config.shards = 3);
    for (at, name) in ["u", "v", "w"].into_iter().enumerate() {
        target.volume(name, 4).await;
        target.grant(name, "a", 1).await;
        let disk = target.disk(name, "a").await.unwrap();
        disk.write_at(0, vec![at as u8; 8192]).await.unwrap();
        assert!(disk.read_at(0, 8192).await.unwrap().iter().all(|byte| *byte == at as u8));
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_a_grant_and_no_name_is_told() {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.volume("w", 4).await;
    target.grant("v", "a", 1).await;
    target.grant("w", "b", 1).await;
    // Authenticated but without a grant, and no such target: both the same.
    assert_eq!(denied(target.disk("v", "b").await), LoginStatus::AUTHORIZATION_FAILURE);
    assert_eq!(denied(target.disk("none", "b").await), LoginStatus::AUTHORIZATION_FAILURE);
    // Unknown, and known with a wrong secret: both the same.
    assert_eq!(denied(target.disk("v", "nobody").await), LoginStatus::AUTHENTICATION_FAILURE);
    let wrong = target.config("v", "a").chap("a", "another secret text");
    let wrong = outband_initiator::Disk::connect(wrong).await;
    assert_eq!(denied(wrong), LoginStatus::AUTHENTICATION_FAILURE);
    let seen = Discovery::new(target.portal.to_string(), host("b"))
        .chap("b", common::SECRET)
        .run()
        .await
        .unwrap();
    let names: Vec<_> = seen.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["iqn.2026-11.local.outband:test:w"]);
    assert_eq!(seen[0].portals[0].to_string(), format!("{},1", target.portal));
}

/// CHAP_I and CHAP_C that a host is asked with.
fn challenge(target: &Target, of: &str) -> (String, String) {
    use std::io::{Read, Write};

    use outband_protocol::login::initiator::{Config, Login};

    // It offers CHAP, says with which algorithm, and looks no further.
    let name = "iqn.2026-11.local.outband:test:v";
    let mut login = Login::new(Config { ..common::raw::config(Some(name), of, 1) });
    let mut stream = TcpStream::connect(target.portal).unwrap();
    let mut text = String::new();
    while !text.contains("CHAP_C=") {
        while let Some(transmit) = login.poll_transmit() {
            stream.write_all(&transmit.to_bytes(|_, _, _| Vec::new())).unwrap();
        }
        let mut header = [0; 48];
        stream.read_exact(&mut header).unwrap();
        let len = u32::from_be_bytes([0, header[5], header[6], header[7]]);
        let mut bytes = vec![0; len.next_multiple_of(4) as usize];
        stream.read_exact(&mut bytes).unwrap();
        text = String::from_utf8(bytes.clone()).unwrap();
        let whole = [&header[..], &bytes].concat();
        assert!(login.next_event(&mut &whole[..]).unwrap().is_none());
    }
    let value = |key: &str| {
        let pair = text.split('\0').find_map(|pair| pair.strip_prefix(key));
        pair.unwrap_or_else(|| panic!("no {key} in {text:?}")).to_owned()
    };
    (value("CHAP_I="), value("CHAP_C="))
}

#[test]
fn no_challenge_is_made_twice_for_whoever_asks() {
    let target = Target::start(|_| {});
    // Nobody is known here, which nobody is told: all are asked.
    let challenges: Vec<_> =
        (0..32).map(|at| challenge(&target, &format!("h{}", at % 2))).collect();
    let distinct: std::collections::BTreeSet<_> =
        challenges.iter().map(|(_, challenge)| challenge).collect();
    assert_eq!(distinct.len(), challenges.len());
    // Sixteen bytes or more, in hex.
    assert!(distinct.iter().all(|challenge| challenge.len() >= 2 + 32), "{distinct:?}");
    let ids: std::collections::BTreeSet<_> = challenges.iter().map(|(id, _)| id).collect();
    assert!(ids.len() > 8, "{ids:?}");
}

#[tokio::test]
async fn a_newer_session_of_the_same_host_replaces_the_older() {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant("v", "a", 1).await;
    let first = target.disk("v", "a").await.unwrap();
    first.write_at(0, vec![1; 512]).await.unwrap();
    let second = target.disk("v", "a").await.unwrap();
    second.write_at(0, vec![2; 512]).await.unwrap();
    let server = target.server.clone();
    eventually("one session is left", || async { server.sessions().await.len() <= 1 }).await;
    drop(first);
}

#[tokio::test]
async fn after_a_fence_nothing_of_the_old_grant_lands() {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant("v", "a", 1).await;
    let old = target.disk("v", "a").await.unwrap();
    old.write_at(0, vec![1; 512]).await.unwrap();
    let name = "iqn.2026-11.local.outband:test:v".to_owned();
    let epoch = outband_control::access::Epoch(1);
    target.server.close_gate(name.clone(), Some(host("a")), epoch).await;
    target.access.fence(&"v".parse().unwrap(), &host("a"), epoch);
    target.server.publish(target.access.clone()).await;
    target.server.drain(name, Some(host("a")), epoch).await;
    assert!(target.server.sessions().await.is_empty());
    target.grant("v", "b", 2).await;
    let new = target.disk("v", "b").await.unwrap();
    new.write_at(0, vec![2; 512]).await.unwrap();
    assert!(old.write_at(0, vec![3; 512]).await.is_err(), "the fenced host has written");
    assert!(new.read_at(0, 512).await.unwrap().iter().all(|byte| *byte == 2));
}

#[tokio::test]
async fn a_volume_grows_under_a_session() {
    let mut target = Target::start(|_| {});
    let mut spec = target.volume("v", 4).await;
    target.grant("v", "a", 1).await;
    let disk = target.disk("v", "a").await.unwrap();
    disk.write_at(0, vec![9; 512]).await.unwrap();
    let device = Uuid::new_v4();
    let (media, zero) = (Media::Memory, ZeroWith::Writes);
    spec.pieces.push(Piece { device, media, offset: 0, len: 4 << 20, zero });
    spec.blocks *= 2;
    target.server.attach(&spec).await.unwrap();
    assert_eq!(disk.refresh().await.unwrap().capacity(), 8 << 20);
    // Over the seam of both pieces.
    disk.write_at((4 << 20) - 512, vec![5; 1024]).await.unwrap();
    assert!(disk.read_at((4 << 20) - 512, 1024).await.unwrap().iter().all(|byte| *byte == 5));
    assert_eq!(disk.read_at(0, 512).await.unwrap()[0], 9);
}

#[tokio::test]
async fn a_volume_that_goes_takes_its_sessions_along() {
    let mut target = Target::start(|_| {});
    let spec = target.volume("v", 4).await;
    // The first one logs in again as soon as it can, and neither is to end the other.
    target.grant_sessions("v", "a", 1, 8).await;
    let disk = target.disk("v", "a").await.unwrap();
    disk.write_at(0, vec![1; 512]).await.unwrap();
    target.server.detach(spec.id).await;
    assert!(target.server.sessions().await.is_empty());
    let again = memory("v", 4);
    target.server.attach(&again).await.unwrap();
    let fresh = target.disk("v", "a").await.unwrap();
    assert_eq!(fresh.read_at(0, 512).await.unwrap()[0], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection_and_no_other() {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant("v", "a", 1).await;
    let disk = target.disk("v", "a").await.unwrap();
    for garbage in
        [&[0xff; 48][..], b"GET / HTTP/1.1\r\n\r\n0123456789012345678901234567890", &[0x43; 200]]
    {
        let mut stream = TcpStream::connect(target.portal).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // Closed, at once, with or without an answer.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 1024);
        disk.write_at(0, vec![1; 512]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_is_not_waited_for() {
    let target = Target::start(|config| config.login_deadline = Duration::from_millis(200));
    let mut stream = TcpStream::connect(target.portal).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut said = Vec::new();
    assert_eq!(stream.read_to_end(&mut said).unwrap(), 0, "closed by the target without a word");
}

#[tokio::test]
async fn the_target_stops_with_sessions_open() {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant("v", "a", 1).await;
    let disk = target.disk("v", "a").await.unwrap();
    disk.write_at(0, vec![1; 512]).await.unwrap();
    target.server.stop().await;
    assert!(TcpStream::connect(target.portal).is_err(), "nobody listens any more");
}

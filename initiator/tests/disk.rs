//! A disk against a target that misbehaves on demand. What whole targets do is in `peers/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod target;

use outband_initiator::{Config, Disk, Error, LoginStatus, discover};
use outband_protocol::scsi::sense::{CAPACITY_CHANGED, UNRECOVERED_READ_ERROR};

use self::target::{BLOCKS, INITIATOR, Mood, TARGET, Target};

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 512 * 7 + at + seed * 13) % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_large_request_is_cut_as_page_b0_says() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config()).await.unwrap();
    // The target refuses to take more at once than it says.
    disk.write_at(1 << 20, pattern(1, 5 << 20)).await.unwrap();
    assert!(disk.read_at(1 << 20, 5 << 20).await.unwrap() == pattern(1, 5 << 20));
    disk.unmap(1 << 20, 4 << 20).await.unwrap();
    assert!(disk.read_at(1 << 20, 4 << 20).await.unwrap().iter().all(|byte| *byte == 0));
    assert!(disk.read_at(5 << 20, 1 << 20).await.unwrap() == pattern(1, 5 << 20)[4 << 20..]);
}

#[tokio::test]
async fn a_busy_target_is_waited_for_and_a_bad_medium_is_told() {
    let target = Target::start(Mood { busy: 3, ..Mood::default() }).await;
    let disk = Disk::connect(target.config()).await.unwrap();
    target.mood(|mood| mood.busy = 5);
    disk.write_at(0, vec![1; 512]).await.unwrap();
    target.mood(|mood| mood.read_sense = Some(UNRECOVERED_READ_ERROR));
    let error = disk.read_at(0, 1 << 20).await.unwrap_err();
    assert!(matches!(error, Error::Medium(sense) if sense.is(&UNRECOVERED_READ_ERROR)), "{error}");
}

#[tokio::test]
async fn a_size_that_could_not_be_asked_for_is_asked_for_again() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config()).await.unwrap();
    let old = disk.capacity();
    target.mood(|mood| mood.grown = BLOCKS);
    // The answer to this READ, and nothing else, says so.
    target.mood(|mood| mood.attention = Some(CAPACITY_CHANGED));
    disk.read_at(0, 512).await.unwrap();
    target.mood(|mood| mood.capacity_sense = Some(UNRECOVERED_READ_ERROR));
    disk.read_at(0, 512).await.unwrap_err();
    target.mood(|mood| mood.capacity_sense = None);
    disk.read_at(0, 512).await.unwrap();
    assert_eq!(disk.capacity(), 2 * old);
}

#[tokio::test]
async fn who_is_not_let_in_learns_why() {
    for status in [LoginStatus::AUTHENTICATION_FAILURE, LoginStatus::AUTHORIZATION_FAILURE] {
        let target = Target::start(Mood { refuse: Some(status), ..Mood::default() }).await;
        let error = Disk::connect(target.config()).await.unwrap_err();
        assert!(matches!(error, Error::Denied(told) if told == status), "{error}");
        let error = discover(&target.address.to_string(), INITIATOR).await.unwrap_err();
        assert!(matches!(error, Error::Denied(told) if told == status), "{error}");
    }
}

#[tokio::test]
async fn nobody_at_the_portal_is_told_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let portal = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Disk::connect(Config::new(&portal, TARGET).initiator(INITIATOR)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { portal: told, .. } if *told == portal),
        "{error}"
    );
    assert!(error.is_passing());
}

#[tokio::test]
async fn a_target_that_has_moved_is_followed() {
    let there = Target::start(Mood::default()).await;
    let redirect = Some(there.address.to_string());
    let here = Target::start(Mood { redirect, ..Mood::default() }).await;
    let disk = Disk::connect(here.config()).await.unwrap();
    disk.write_at(0, vec![9; 512]).await.unwrap();
    assert_eq!(there.volume.lock().unwrap().bytes[0], 9);
    let targets = discover(&here.address.to_string(), INITIATOR).await.unwrap();
    assert_eq!(targets[0].portals[0].port, there.address.port());
}

#[tokio::test]
async fn the_other_portals_are_tried_when_one_is_dead() {
    let target = Target::start(Mood::default()).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap().to_string();
    drop(listener);
    let config = Config::new(dead, TARGET).initiator(INITIATOR).portal(target.address.to_string());
    Disk::connect(config).await.unwrap().flush().await.unwrap();
}

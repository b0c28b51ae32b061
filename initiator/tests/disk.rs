//! A disk against a target on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod target;

use std::time::Duration;

use outband_initiator::{
    Config, DigestWish, Discovery, Disk, Error, LoginStatus, Timing, discover,
};
use outband_protocol::scsi::sense::UNRECOVERED_READ_ERROR;

use self::target::{BLOCKS, INITIATOR, Mood, TARGET, Target, credentials};

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 512 * 7 + at + seed * 13) % 251).unwrap()).collect()
}

/// Quick to notice and to try again.
fn impatient() -> Timing {
    Timing {
        back_off_first: Duration::from_millis(1),
        back_off_max: Duration::from_millis(20),
        abort: Duration::from_millis(50),
        ..Timing::default()
    }
}

#[tokio::test]
async fn what_is_written_is_read_back_however_large_it_is() {
    for digests in [DigestWish::Never, DigestWish::Require] {
        let target = Target::start(Mood::default()).await;
        let disk = Disk::connect(target.config().digests(digests)).await.unwrap();
        assert_eq!(disk.capacity(), BLOCKS * 512);
        assert_eq!(disk.block_size(), 512);
        assert_eq!(disk.serial_number().await.unwrap(), "0123");
        for (offset, len) in [(0, 512), (512, 4096), (7 * 512, 300 * 1024), (1 << 20, 5 << 20)] {
            let data = pattern(len, len);
            disk.write_at(offset, data.clone()).await.unwrap();
            assert!(disk.read_at(offset, len).await.unwrap() == data, "{len} bytes at {offset}");
        }
        disk.flush().await.unwrap();
        disk.unmap(1 << 20, 5 << 20).await.unwrap();
        assert!(disk.read_at(1 << 20, 5 << 20).await.unwrap().iter().all(|byte| *byte == 0));
        let mut room = vec![0; 1024];
        disk.read_into(0, &mut room).await.unwrap();
        assert!(disk.read_at(0, 0).await.unwrap().is_empty());
        disk.close().await.unwrap();
    }
}

#[tokio::test]
async fn many_tasks_use_one_disk_at_once() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config()).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let disk = disk.clone();
            tokio::spawn(async move {
                let offset = task as u64 * 64 * 1024;
                for round in 0..8 {
                    let data = pattern(task * 31 + round, 16 * 1024);
                    disk.write_at(offset, data.clone()).await.unwrap();
                    assert!(disk.read_at(offset, data.len()).await.unwrap() == data);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(target.logins(), 1);
}

#[tokio::test]
async fn a_connection_lost_again_and_again_is_not_noticed_by_the_application() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config().timing(impatient())).await.unwrap();
    // Of these, two go into finding out who is there.
    target.mood(|mood| mood.commands_per_connection = Some(10));
    let mut tasks = Vec::new();
    for task in 0..8 {
        let disk = disk.clone();
        tasks.push(tokio::spawn(async move {
            let offset = task as u64 * (1 << 20);
            for round in 0..10 {
                let data = pattern(task * 31 + round, 64 * 1024);
                disk.write_at(offset, data.clone()).await.unwrap();
                assert!(disk.read_at(offset, data.len()).await.unwrap() == data);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(target.logins() > 10, "{} logins", target.logins());
}

#[tokio::test]
async fn another_volume_in_the_place_of_the_first_gets_no_write_of_the_first() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config().timing(impatient())).await.unwrap();
    disk.write_at(0, vec![1; 512]).await.unwrap();
    target.mood(|mood| {
        mood.name = 7;
        mood.commands_per_connection = Some(0);
    });
    // Its connection ends with this write, which is then on its way to nowhere.
    let pending = tokio::spawn({
        let disk = disk.clone();
        async move { disk.write_at(512, vec![2; 512]).await }
    });
    while target.logins() < 2 {
        tokio::task::yield_now().await;
    }
    target.mood(|mood| mood.commands_per_connection = None);
    let lost = pending.await.unwrap().unwrap_err();
    assert!(matches!(lost, Error::Unknown | Error::Replaced), "{lost}");
    let refused = disk.write_at(0, vec![3; 512]).await.unwrap_err();
    assert!(matches!(refused, Error::Replaced), "{refused}");
    assert_eq!(target.volume.lock().unwrap().bytes[..1024], [[1; 512], [0; 512]].concat());
    let fresh = Disk::connect(target.config()).await.unwrap();
    fresh.write_at(0, vec![4; 512]).await.unwrap();
}

#[tokio::test]
async fn mistakes_of_the_caller_are_told_before_anything_is_sent() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config()).await.unwrap();
    let before = target.volume.lock().unwrap().commands;
    let end = disk.capacity();
    assert!(matches!(disk.read_at(1, 512).await, Err(Error::Misaligned { block_size: 512 })));
    assert!(matches!(disk.write_at(0, vec![1; 100]).await, Err(Error::Misaligned { .. })));
    assert!(
        matches!(disk.read_at(end, 512).await, Err(Error::OutOfRange { capacity }) if capacity == end)
    );
    assert!(matches!(disk.unmap(end - 512, 1024).await, Err(Error::OutOfRange { .. })));
    assert_eq!(target.volume.lock().unwrap().commands, before);
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
async fn a_target_that_never_answers_costs_no_more_than_the_deadline() {
    let target = Target::start(Mood::default()).await;
    let config = target.config().timing(impatient()).command_timeout(Duration::from_millis(100));
    let disk = Disk::connect(config).await.unwrap();
    target.mood(|mood| mood.mute = true);
    assert!(matches!(disk.write_at(0, vec![1; 512]).await, Err(Error::TimedOut)));
    target.mood(|mood| mood.mute = false);
    disk.write_at(0, vec![2; 512]).await.unwrap();
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
    let target = Target::start(Mood { chap: Some(credentials()), ..Mood::default() }).await;
    let wrong = target.config().chap("host", "not the host's secret");
    let error = Disk::connect(wrong).await.unwrap_err();
    assert!(matches!(error, Error::Denied(LoginStatus::AUTHENTICATION_FAILURE)), "{error}");
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
async fn both_sides_prove_themselves_where_that_is_wanted() {
    let target = Target::start(Mood { chap: Some(credentials()), ..Mood::default() }).await;
    let host = || target.config().chap("host", "the host's secret");
    Disk::connect(host()).await.unwrap().close().await.unwrap();
    let both = host().mutual_chap("unit", "the unit's secret");
    Disk::connect(both).await.unwrap().close().await.unwrap();
    let impostor = host().mutual_chap("unit", "another unit's secret");
    assert!(matches!(Disk::connect(impostor).await, Err(Error::Lost(_))));
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

#[tokio::test]
async fn discovery_lists_the_targets_with_and_without_chap() {
    let target = Target::start(Mood::default()).await;
    let targets = discover(&target.address.to_string(), INITIATOR).await.unwrap();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].name.as_str(), TARGET);
    assert_eq!(targets[0].portals[0].port, target.address.port());

    target.mood(|mood| mood.chap = Some(credentials()));
    let asking = Discovery::new(target.address.to_string(), INITIATOR);
    assert!(asking.clone().run().await.is_err());
    assert_eq!(asking.chap("host", "the host's secret").run().await.unwrap(), targets);
}

#[tokio::test]
async fn a_closed_disk_says_so_to_its_clones() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config()).await.unwrap();
    let clone = disk.clone();
    disk.close().await.unwrap();
    assert!(matches!(clone.read_at(0, 512).await, Err(Error::Closed)));
    assert!(!clone.is_up());
    clone.close().await.unwrap();
}

#[tokio::test]
async fn a_session_ends_with_its_last_disk() {
    let target = Target::start(Mood::default()).await;
    let disk = Disk::connect(target.config()).await.unwrap();
    let clone = disk.clone();
    drop(disk);
    clone.flush().await.unwrap();
    drop(clone);
    Disk::connect(target.config()).await.unwrap();
    assert_eq!(target.logins(), 2);
}

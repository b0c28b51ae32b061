//! A login sent on from one running target to another, and the table that says where to.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::time::Duration;

use common::unit::{Served, Unit};
use outband_control::api::TARGET_PREFIX;
use outband_initiator::{Config, Disk, Error};

/// `outband-target serve` of some memory as volume `v`, and its portal.
fn serve(args: &[&str]) -> (Served, String) {
    let served = Served::start(&[&["--memory", "8M", "--name", "v"], args].concat());
    let portal = served.portal.to_string();
    (served, portal)
}

async fn disk(portal: &str) -> Disk {
    let config = Config::new(portal, format!("{TARGET_PREFIX}:local:v"));
    Disk::connect(config.initiator("iqn.2026-11.local.host:t")).await.unwrap()
}

async fn first_byte(disk: &Disk) -> u8 {
    disk.read_at(0, 512).await.unwrap()[0]
}

#[tokio::test]
async fn our_initiator_follows_a_redirect_for_a_while_and_for_good() {
    let (_new, there) = serve(&[]);
    disk(&there).await.write_at(0, vec![0x77; 512]).await.unwrap();
    for lasts in [&[][..], &["--permanent"]] {
        let args: Vec<_> = ["--redirect", &there].iter().chain(lasts).copied().collect();
        let (_old, here) = serve(&args);
        assert_eq!(first_byte(&disk(&here).await).await, 0x77, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_moved_to_another_unit_and_the_redirect_survives_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut unit = Unit::first(dir.path());
    let (_new, there) = serve(&[]);
    disk(&there).await.write_at(0, vec![0x77; 512]).await.unwrap();
    let host = disk(&unit.portal).await;
    host.write_at(0, vec![0x11; 512]).await.unwrap();
    assert!(unit.outband("volume set v --write-policy high").contains("high"));

    unit.outband(&format!("redirect add v {there}"));
    let mut moved = false;
    for _ in 0..400 {
        // It went where it was sent, and takes what is there for another volume, which it is.
        moved = matches!(host.read_at(0, 512).await, Err(Error::Replaced));
        if moved {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(moved, "the session was not asked to leave");
    assert!(unit.outband("redirect ls").contains(&there));

    unit.process.kill();
    let unit = Unit::start(dir.path());
    assert_eq!(first_byte(&disk(&unit.portal).await).await, 0x77);
    unit.outband(&format!("redirect rm {TARGET_PREFIX}:local:v"));
    assert_eq!(first_byte(&disk(&unit.portal).await).await, 0x11, "served here again");
}

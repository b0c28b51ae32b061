//! The initiator against a target nobody here wrote: tgt, Debian's package. So that neither side of
//! ours leans on what only the other does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod tgtd;

use std::time::Duration;

use outband_initiator::{
    Algorithm, Config, DigestWish, Discovery, Disk, Error, LoginStatus, Timing, discover,
};

use self::tgtd::{Account, LUN, NAME, Tgtd};

const INITIATOR: &str = "iqn.2026-11.local.host:a";
const MIB: usize = 1 << 20;

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 512 * 7 + at + seed * 13) % 251).unwrap()).collect()
}

fn config(tgtd: &Tgtd) -> Config {
    Config::new(tgtd.portal(), NAME).initiator(INITIATOR).lun(LUN)
}

/// Quick to notice and to try again.
fn impatient() -> Timing {
    Timing {
        back_off_first: Duration::from_millis(5),
        back_off_max: Duration::from_millis(50),
        abort: Duration::from_millis(200),
        ..Timing::default()
    }
}

#[tokio::test]
async fn its_targets_are_discovered() {
    let tgtd = Tgtd::start(512);
    let found = discover(&tgtd.portal(), INITIATOR).await.unwrap();
    let names: Vec<_> = found.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, [NAME]);
    assert_eq!(found[0].portals[0].to_string(), format!("{},1", tgtd.portal()));
    let missing = Config::new(tgtd.portal(), format!("{NAME}-no")).initiator(INITIATOR);
    let error = Disk::connect(missing).await.unwrap_err();
    assert!(matches!(error, Error::Denied(LoginStatus::NOT_FOUND)), "{error}");
}

#[tokio::test]
async fn what_is_written_is_read_back_at_every_size_with_and_without_digests() {
    for (block_size, digests) in
        [(512, DigestWish::Never), (512, DigestWish::Require), (4096, DigestWish::Require)]
    {
        let tgtd = Tgtd::start(block_size);
        let disk = Disk::connect(config(&tgtd).digests(digests)).await.unwrap();
        let block = block_size as usize;
        assert_eq!((disk.capacity(), disk.block_size()), (64 << 20, block_size));
        assert!(!disk.serial_number().await.unwrap().is_empty());
        for len in [block, 8 * block, 65_536, 262_144 + block, MIB, MIB + block, 17 * MIB] {
            let data = pattern(len, len);
            let offset = 3 * block as u64;
            disk.write_at(offset, data.clone()).await.unwrap();
            assert!(disk.read_at(offset, len).await.unwrap() == data, "{len} bytes");
        }
        disk.write_through(0, pattern(1, block)).await.unwrap();
        disk.flush().await.unwrap();
        assert!(disk.read_at(0, block).await.unwrap() == pattern(1, block));
        disk.close().await.unwrap();
    }
}

#[tokio::test]
async fn many_tasks_use_one_of_its_disks_at_once() {
    let tgtd = Tgtd::start(512);
    let disk = Disk::connect(config(&tgtd)).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let disk = disk.clone();
            tokio::spawn(async move {
                let offset = task as u64 * MIB as u64;
                for round in 0..4 {
                    let data = pattern(task * 31 + round, 48 * 1024);
                    disk.write_at(offset, data.clone()).await.unwrap();
                    assert!(disk.read_at(offset, data.len()).await.unwrap() == data);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn its_edges_and_refusals_are_told_as_they_are() {
    let tgtd = Tgtd::start(512);
    let disk = Disk::connect(config(&tgtd)).await.unwrap();
    let end = disk.capacity();
    assert!(disk.read_at(end, 0).await.unwrap().is_empty());
    assert!(matches!(disk.read_at(end, 512).await, Err(Error::OutOfRange { .. })));
    disk.write_at(end - 512, pattern(1, 512)).await.unwrap();
    assert!(disk.read_at(end - 512, 512).await.unwrap() == pattern(1, 512));
    assert!(matches!(disk.unmap(0, 4096).await, Err(Error::Unsupported("UNMAP"))));
    tgtd.set("readonly=1");
    let refused = disk.write_at(0, vec![1; 512]).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly), "{refused}");
    tgtd.set("readonly=0");
    disk.write_at(0, vec![1; 512]).await.unwrap();
}

#[tokio::test]
async fn what_is_unmapped_reads_as_zeros_where_it_says_so() {
    let tgtd = Tgtd::start(512);
    tgtd.set("thin_provisioning=1");
    let disk = Disk::connect(config(&tgtd)).await.unwrap();
    assert!(disk.geometry().unmap);
    disk.write_at(0, vec![0x5A; 4 * MIB]).await.unwrap();
    disk.unmap(MIB as u64, 2 * MIB as u64).await.unwrap();
    let read = disk.read_at(0, 4 * MIB).await.unwrap();
    let kept = |at: usize| !(MIB..3 * MIB).contains(&at);
    assert!(read.iter().enumerate().all(|(at, byte)| kept(at) == (*byte == 0x5A)));
    if disk.geometry().unmapped_reads_zeros {
        assert!(read[MIB..3 * MIB].iter().all(|byte| *byte == 0));
    }
}

#[tokio::test]
async fn both_sides_prove_themselves() {
    let host = Account { user: "host", secret: "the host's secret" };
    let unit = Account { user: "unit", secret: "the unit's secret" };
    let tgtd = Tgtd::start(512);
    tgtd.require(host, Some(unit));
    // tgt knows MD5, and calls SHA-1 by the number of SHA-256.
    let md5 = || config(&tgtd).chap_algorithms(&[Algorithm::Md5]);
    let right = || md5().chap(host.user, host.secret);
    let disk = Disk::connect(right()).await.unwrap();
    disk.write_at(0, pattern(1, 4096)).await.unwrap();
    disk.close().await.unwrap();
    let both = right().mutual_chap(unit.user, unit.secret);
    let disk = Disk::connect(both).await.unwrap();
    assert!(disk.read_at(0, 4096).await.unwrap() == pattern(1, 4096));
    disk.close().await.unwrap();

    let impostor = right().mutual_chap(unit.user, "another unit's secret");
    assert!(matches!(Disk::connect(impostor).await, Err(Error::Lost(_))));
    for wrong in [config(&tgtd), md5().chap(host.user, "not the host's secret")] {
        let error = Disk::connect(wrong).await.unwrap_err();
        let denied = [LoginStatus::AUTHENTICATION_FAILURE, LoginStatus::AUTHORIZATION_FAILURE];
        assert!(matches!(error, Error::Denied(status) if denied.contains(&status)), "{error}");
    }
    // Discovery is another kind of session, and tgt asks for no proof in it.
    let found = Discovery::new(tgtd.portal(), INITIATOR).run().await.unwrap();
    assert_eq!(found[0].name.as_str(), NAME);
}

#[tokio::test]
async fn writes_go_on_after_it_was_killed_and_started_anew() {
    let mut tgtd = Tgtd::start(512);
    let disk = Disk::connect(config(&tgtd).timing(impatient())).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let disk = disk.clone();
            tokio::spawn(async move {
                let offset = writer as u64 * 16 * MIB as u64;
                for round in 0..60 {
                    let data = pattern(writer * 100 + round, 64 * 1024);
                    disk.write_at(offset + round as u64 * 65_536, data).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let first = disk.read_at(0, 512).await.unwrap();
        tgtd.kill();
        tgtd.start_again();
        assert!(disk.read_at(0, 512).await.unwrap().len() == first.len());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for writer in 0..4 {
        for round in 0..60 {
            let offset = (writer * 16 * MIB + round * 65_536) as u64;
            let read = disk.read_at(offset, 64 * 1024).await.unwrap();
            assert!(read == pattern(writer * 100 + round, 64 * 1024), "{writer}, {round}");
        }
    }
}

#[tokio::test]
async fn another_disk_behind_the_same_name_is_refused() {
    let mut tgtd = Tgtd::start(512);
    let disk = Disk::connect(config(&tgtd).timing(impatient())).await.unwrap();
    disk.write_at(0, vec![1; 512]).await.unwrap();
    tgtd.kill();
    tgtd.exchange();
    tgtd.start_again();
    // It may have been on its way to the first disk.
    let lost = disk.write_at(0, vec![2; 512]).await.unwrap_err();
    assert!(matches!(lost, Error::Unknown | Error::Replaced), "{lost}");
    let refused = disk.write_at(0, vec![2; 512]).await.unwrap_err();
    assert!(matches!(refused, Error::Replaced), "{refused}");
    let fresh = Disk::connect(config(&tgtd)).await.unwrap();
    assert_eq!(fresh.read_at(0, 512).await.unwrap()[..], [0; 512]);
}

#[tokio::test]
async fn a_stopped_target_costs_no_more_than_the_deadline() {
    let mut tgtd = Tgtd::start(512);
    let timing = Timing { replacement: Duration::from_secs(60), ..impatient() };
    let config = config(&tgtd).timing(timing).command_timeout(Duration::from_millis(300));
    let disk = Disk::connect(config).await.unwrap();
    disk.write_at(0, vec![1; 512]).await.unwrap();
    tgtd.stop();
    assert!(matches!(disk.write_at(0, vec![2; 512]).await, Err(Error::TimedOut)));
    assert!(matches!(disk.read_at(0, 512).await, Err(Error::TimedOut)));
    tgtd.go_on();
    // It takes as many attempts as it has to wake up.
    for _ in 0..100 {
        match disk.write_at(0, vec![3; 512]).await {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, Error::TimedOut), "{error}"),
        }
    }
    assert_eq!(disk.read_at(0, 512).await.unwrap()[..], [3; 512]);
}

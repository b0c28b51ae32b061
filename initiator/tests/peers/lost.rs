//! Connections that are cut, targets that are killed, exchanged or do nothing any more.

use std::time::Duration;

use outband_initiator::{Disk, Error, Timing};

use crate::data::there_and_back;
use crate::path::Path;
use crate::peer::{Peer, Program, Setup};
use crate::{KIB, MIB, impatient, pattern};

pub(crate) async fn a_connection_cut_again_and_again_is_not_noticed(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let path = Path::to(peer.address()).await;
    // More than a login, the question who is there, and one read; and the end of no PDU.
    path.cut_each_after(150_001);
    let config = peer.config_by(path.address()).timing(impatient());
    let disk = Disk::connect(config).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let disk = disk.clone();
            tokio::spawn(async move {
                for round in 0..8 {
                    there_and_back(&disk, task * MIB, (60 + round) * KIB).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // So much was read, and no connection carried more than that.
    assert!(path.connections() > 8 * 8 * 60 * KIB / 150_001, "{}", path.connections());
    path.cut_no_more();
    for task in 0..8 {
        let last = 67 * KIB;
        let read = disk.read_at((task * MIB) as u64, last).await.unwrap();
        assert!(read == pattern(last, last), "task {task}");
    }
}

pub(crate) async fn writes_go_on_after_the_target_was_killed_and_started_anew(program: Program) {
    let mut peer = Peer::start(program, Setup::default());
    let disk = Disk::connect(peer.config().timing(impatient())).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let disk = disk.clone();
            tokio::spawn(async move {
                let offset = writer as u64 * 16 * MIB as u64;
                for round in 0..60 {
                    let data = pattern(writer * 100 + round, 64 * KIB);
                    disk.write_at(offset + round as u64 * 65_536, data).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..3 {
        disk.read_at(0, 512).await.unwrap();
        peer.kill();
        peer.start_again();
        disk.read_at(0, 512).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for writer in 0..4 {
        for round in 0..60 {
            let offset = (writer * 16 * MIB + round * 65_536) as u64;
            let read = disk.read_at(offset, 64 * KIB).await.unwrap();
            assert!(read == pattern(writer * 100 + round, 64 * KIB), "{writer}, {round}");
        }
    }
}

pub(crate) async fn another_disk_behind_the_same_name_is_refused(program: Program) {
    let mut peer = Peer::start(program, Setup::default());
    let disk = Disk::connect(peer.config().timing(impatient())).await.unwrap();
    disk.write_at(0, vec![1; 512]).await.unwrap();
    peer.kill();
    peer.exchange();
    peer.start_again();
    // It may have been on its way to the first disk.
    let lost = disk.write_at(0, vec![2; 512]).await.unwrap_err();
    assert!(matches!(lost, Error::Unknown | Error::Replaced), "{lost}");
    let refused = disk.write_at(0, vec![2; 512]).await.unwrap_err();
    assert!(matches!(refused, Error::Replaced), "{refused}");
    let fresh = Disk::connect(peer.config()).await.unwrap();
    assert_eq!(fresh.read_at(0, 512).await.unwrap()[..], [0; 512]);
}

pub(crate) async fn a_stopped_target_costs_no_more_than_the_deadline(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let timing = Timing { replacement: Duration::from_secs(60), ..impatient() };
    let config = peer.config().timing(timing).command_timeout(Duration::from_millis(300));
    let disk = Disk::connect(config).await.unwrap();
    disk.write_at(0, vec![1; 512]).await.unwrap();
    peer.stop();
    assert!(matches!(disk.write_at(0, vec![2; 512]).await, Err(Error::TimedOut)));
    assert!(matches!(disk.read_at(0, 512).await, Err(Error::TimedOut)));
    peer.go_on();
    // It takes as many attempts as it has to wake up.
    for _ in 0..100 {
        match disk.write_at(0, vec![3; 512]).await {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, Error::TimedOut), "{error}"),
        }
    }
    assert_eq!(disk.read_at(0, 512).await.unwrap()[..], [3; 512]);
}

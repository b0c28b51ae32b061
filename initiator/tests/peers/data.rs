//! What is written is read back: sizes, places, digests, many at once.

use outband_initiator::{DigestWish, Disk, Error, Offer};

use crate::path::{COMMAND, Path};
use crate::peer::{LEN, Peer, Program, Setup};
use crate::{KIB, MIB, pattern};

/// Writes and reads `len` bytes at `offset`.
#[track_caller]
pub(crate) fn there_and_back(
    disk: &Disk,
    offset: usize,
    len: usize,
) -> impl Future<Output = ()> + use<> {
    let disk = disk.clone();
    let caller = std::panic::Location::caller();
    async move {
        let (data, offset) = (pattern(len, len), offset as u64);
        disk.write_at(offset, data.clone()).await.unwrap();
        let read = disk.read_at(offset, len).await.unwrap();
        assert!(read == data, "{len} bytes at {offset}, from {caller}");
    }
}

pub(crate) async fn what_is_written_is_read_back_at_every_size(program: Program) {
    for block_size in [512, 4096] {
        let peer = Peer::start(program, Setup { block_size, ..Setup::default() });
        let disk = Disk::connect(peer.config()).await.unwrap();
        let block = block_size as usize;
        assert_eq!((disk.capacity(), disk.block_size()), (LEN, block_size));
        assert!(!disk.serial_number().await.unwrap().is_empty());
        for len in [block, 8 * block, 64 * KIB, 256 * KIB + block, MIB, MIB + block, 17 * MIB] {
            there_and_back(&disk, 3 * block, len).await;
        }
        disk.write_through(0, pattern(1, block)).await.unwrap();
        disk.flush().await.unwrap();
        let mut room = vec![0; block];
        disk.read_into(0, &mut room).await.unwrap();
        assert!(room == pattern(1, block));
        disk.close().await.unwrap();
    }
}

pub(crate) async fn what_is_written_is_read_back_with_each_combination_of_digests(
    program: Program,
) {
    let peer = Peer::start(program, Setup::default());
    let wishes = [DigestWish::Never, DigestWish::Require];
    for (header_digest, data_digest) in wishes.iter().flat_map(|a| wishes.map(|b| (*a, b))) {
        let chap_algorithms = program.algorithms.to_vec();
        let offer = Offer { header_digest, data_digest, chap_algorithms, ..Offer::default() };
        let disk = Disk::connect(peer.config().offer(offer)).await.unwrap();
        for len in [512, 4 * KIB, 64 * KIB + 512, MIB + 512] {
            there_and_back(&disk, 1536, len).await;
        }
        disk.flush().await.unwrap();
        disk.close().await.unwrap();
    }
}

pub(crate) async fn many_tasks_use_one_disk_at_once(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let path = Path::to(peer.address()).await;
    let disk = Disk::connect(peer.config_by(path.address())).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let disk = disk.clone();
            tokio::spawn(async move {
                for round in 0..6 {
                    there_and_back(&disk, task * MIB, (16 + round * 8) * KIB).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(path.connections(), 1);
}

pub(crate) async fn the_edges_of_the_disk_are_told_as_they_are(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let path = Path::to(peer.address()).await;
    let config = peer.config_by(path.address()).digests(DigestWish::Never);
    let disk = Disk::connect(config).await.unwrap();
    let commands = || path.sent().iter().filter(|pdu| pdu.opcode == COMMAND).count();
    let before = commands();
    let end = disk.capacity();
    let misaligned = |result| matches!(result, Err(Error::Misaligned { block_size: 512 }));
    assert!(misaligned(disk.read_at(1, 512).await.map(drop)));
    assert!(misaligned(disk.write_at(0, vec![1; 100]).await));
    let outside = |result| matches!(result, Err(Error::OutOfRange { capacity }) if capacity == LEN);
    assert!(outside(disk.read_at(end, 512).await.map(drop)));
    assert!(outside(disk.write_at(end - 512, vec![1; 1024]).await));
    assert!(disk.read_at(end, 0).await.unwrap().is_empty());
    assert_eq!(commands(), before, "a mistake of the caller's was sent");

    there_and_back(&disk, usize::try_from(end).unwrap() - 512, 512).await;
    let refreshed = disk.refresh().await.unwrap();
    assert_eq!((refreshed.capacity(), refreshed), (end, disk.geometry()));
}

pub(crate) async fn a_disk_that_cannot_be_written_says_so(program: Program) {
    let peer = Peer::start(program, Setup { read_only: true, ..Setup::default() });
    let disk = Disk::connect(peer.config()).await.unwrap();
    let refused = disk.write_at(0, vec![1; 4096]).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly), "{refused}");
    let refused = disk.write_at(0, vec![1; 4 * MIB]).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly), "{refused}");
    assert!(disk.read_at(0, 4 * MIB).await.unwrap().iter().all(|byte| *byte == 0));
}

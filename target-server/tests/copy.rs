//! EXTENDED COPY between volumes of one unit, which live on different shards: who may, and that a
//! fence of either side stops it.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(clippy::cast_possible_truncation, reason = "patterns of bytes wrap, and are to")]

mod common;

use common::{Target, eventually, host, memory};
use outband_control::access::Epoch;
use outband_initiator::{Disk, Error};
use outband_protocol::scsi::sense;

fn pattern(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 512 * 13 + at + salt) as u8).collect()
}

fn name(volume: &str) -> String {
    format!("iqn.2026-11.local.outband:test:{volume}")
}

/// Ends a grant as control does it: the gate, the table, the drain.
async fn fence(target: &mut Target, volume: &str, of: &str, epoch: u64) {
    let epoch = Epoch(epoch);
    target.server.close_gate(name(volume), Some(host(of)), epoch).await;
    target.access.fence(&volume.parse().unwrap(), &host(of), epoch);
    target.server.publish(target.access.clone()).await;
    target.server.drain(name(volume), Some(host(of)), epoch).await;
}

#[track_caller]
fn refused(copied: Result<(), Error>, expected: sense::Sense) {
    match copied {
        Err(Error::Command { sense: Some(told), .. }) => assert!(told.is(&expected), "{told}"),
        other => panic!("not refused: {other:?}"),
    }
}

async fn same(disk: &Disk, at: u64, expected: &[u8]) {
    let read = disk.read_at(at, expected.len()).await.unwrap();
    assert!(read == expected, "{} bytes at {at} differ", expected.len());
}

#[tokio::test]
async fn blocks_come_from_one_volume_to_another_and_onto_itself() {
    let mut target = Target::start(|_| {});
    for volume in ["u", "v"] {
        target.volume(volume, 16).await;
        target.grant(volume, "a", 1).await;
    }
    let (from, to) = (target.disk("u", "a").await.unwrap(), target.disk("v", "a").await.unwrap());
    let data = pattern((5 << 20) + 512, 1);
    from.write_at(4096, data.clone()).await.unwrap();
    to.write_at(0, vec![9; 16 << 20]).await.unwrap();
    from.copy_to(4096, data.len() as u64, &to, 512).await.unwrap();
    same(&to, 512, &data).await;
    same(&to, 0, &[9; 512]).await;
    same(&to, 512 + data.len() as u64, &[9; 4096]).await;
    for at in [4096 + 512, 512, 3 << 20] {
        from.write_at(4096, data.clone()).await.unwrap();
        from.copy_to(4096, data.len() as u64, &from, at).await.unwrap();
        same(&from, at, &data).await;
    }
}

#[tokio::test]
async fn blocks_of_4096_bytes_take_those_of_512() {
    let mut target = Target::start(|_| {});
    target.volume("u", 8).await;
    let mut large = memory("v", 8);
    (large.block_size, large.blocks) = (4096, large.blocks / 8);
    target.server.attach(&large).await.unwrap();
    for volume in ["u", "v"] {
        target.grant(volume, "a", 1).await;
    }
    let (small, large) =
        (target.disk("u", "a").await.unwrap(), target.disk("v", "a").await.unwrap());
    let data = pattern(3 << 20, 2);
    small.write_at(512, data.clone()).await.unwrap();
    small.copy_to(512, data.len() as u64, &large, 4096).await.unwrap();
    same(&large, 4096, &data).await;
    large.copy_to(4096, data.len() as u64, &small, 1024).await.unwrap();
    same(&small, 1024, &data).await;
}

#[tokio::test]
async fn a_volume_without_a_grant_is_not_there_for_a_copy() {
    let mut target = Target::start(|_| {});
    for (volume, to) in [("u", "a"), ("v", "b")] {
        target.volume(volume, 4).await;
        target.grant(volume, to, 1).await;
    }
    let (own, other) = (target.disk("u", "a").await.unwrap(), target.disk("v", "b").await.unwrap());
    other.write_at(0, pattern(4096, 3)).await.unwrap();
    let unreachable = sense::COPY_TARGET_NOT_REACHABLE;
    refused(own.copy_to(0, 4096, &other, 0).await, unreachable);
    // By its own session a host cannot name what is another's as the source, either.
    refused(other.copy_to(0, 4096, &own, 0).await, unreachable);
    same(&other, 0, &pattern(4096, 3)).await;
    same(&own, 0, &[0; 4096]).await;
}

#[tokio::test]
async fn after_a_fence_of_either_side_nothing_of_a_copy_lands() {
    for fenced in ["u", "v"] {
        let mut target = Target::start(|_| {});
        for volume in ["u", "v", "w"] {
            target.volume(volume, 64).await;
            target.grant(volume, "a", 1).await;
        }
        let from = target.disk("u", "a").await.unwrap();
        let to = target.disk("v", "a").await.unwrap();
        from.write_at(0, vec![7; 64 << 20]).await.unwrap();
        let copying = {
            let (from, to) = (from.clone(), to.clone());
            tokio::spawn(async move { from.copy_to(0, 64 << 20, &to, 0).await })
        };
        // Somewhere in the middle, wherever that is.
        let begun = || async { to.read_at(1 << 20, 512).await.unwrap()[0] == 7 };
        eventually("the copy has begun", begun).await;
        fence(&mut target, fenced, "a", 1).await;
        // Whoever comes next finds what it wrote, although the copy may not know yet.
        target.grant(fenced, "b", 2).await;
        let (watched, of) = if fenced == "v" { ("v", "b") } else { ("v", "a") };
        let watched = target.disk(watched, of).await.unwrap();
        let last = (64 << 20) - 4096;
        watched.write_at(last, vec![1; 4096]).await.unwrap();
        // A copy that was done before the fence is no proof; then there is nothing to see either.
        let _ = copying.await.unwrap();
        same(&watched, last, &[1; 4096]).await;
    }
}

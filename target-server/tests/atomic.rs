//! WRITE ATOMIC through the whole target: never torn for readers, of the same session or another, nor by
//! a kill.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(clippy::cast_possible_truncation, reason = "tags wrap, and are to")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use common::unit::{Served, Unit};
use common::{Target, eventually, memory};
use outband_initiator::{Config, Disk};
use outband_target_server::media::{Media, RawDevice, Sidecar};

const LEN: usize = 128 << 10;

/// All of a range is one write's.
#[track_caller]
fn whole(bytes: &[u8]) -> u8 {
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn: {} and others", bytes[0]);
    bytes[0]
}

/// Writers and readers of overlapping ranges, all at once.
async fn contend(disk: &Disk) {
    let writers: Vec<_> = (0..6u8)
        .map(|tag| {
            let disk = disk.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    disk.write_atomic(4096, vec![tag + 1; LEN]).await.unwrap();
                    // One that overlaps in part, beside the range that is read below.
                    disk.write_atomic(LEN as u64 + 4096 - 512, vec![round; 512]).await.unwrap();
                    disk.write_atomic(4096, vec![tag + 101; LEN]).await.unwrap();
                }
            })
        })
        .collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        whole(&disk.read_at(4096, LEN - 512).await.unwrap());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(disk.write_atomic(0, vec![0; LEN + 512]).await.is_err(), "more than is offered");
}

#[tokio::test]
async fn readers_never_see_a_part_of_an_atomic_write() {
    let mut target = Target::start(|_| {});
    target.volume("memory", 4).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let raw = RawDevice::open(&path, Some(4 << 20)).unwrap();
    let mut spec = memory("file", 4);
    let sidecar = Sidecar::open(&path, &raw, spec.id).unwrap().unwrap();
    spec.journal = Some(sidecar.spec().clone());
    spec.pieces[0].device = sidecar.spec().device;
    spec.pieces[0].media = Media::File(Arc::clone(&raw.fd));
    spec.volatile = false;
    target.server.attach(&spec).await.unwrap();
    for volume in ["memory", "file"] {
        target.grant(volume, "a", 1).await;
        contend(&target.disk(volume, "a").await.unwrap()).await;
    }
    target.server.stop().await;
    sidecar.remove_if_empty().unwrap();
    assert!(!dir.path().join("file.journal").exists(), "something was left in the journal");
}

async fn connect(url: &str) -> Disk {
    let config = Config::from_url(url).unwrap().initiator(common::host("a"));
    Disk::connect(config).await.unwrap()
}

/// Sessions that write, and as many that read.
const SESSIONS: u8 = 3;
/// States of the blocks that the readers want to have seen.
const SEEN: usize = 40;
/// Rounds in which they must have.
const ROUNDS: u32 = 500;
/// Where two ranges of `LEN` bytes begin that share a half.
#[derive(Clone, Copy)]
struct Ranges(u64);

impl Ranges {
    /// Both, and whether it is the second.
    fn both(self) -> [(u64, bool); 2] {
        [(self.0, false), (self.0 + LEN as u64 / 2, true)]
    }
}

/// What one write of one session puts everywhere: to which range, who, and in which round.
fn mark(second: bool, writer: u8, round: u32) -> u32 {
    u32::from(second) << 31 | u32::from(writer) << 24 | round
}

/// Every four bytes are the same mark.
#[track_caller]
fn mark_of(bytes: &[u8]) -> u32 {
    let (marks, _) = bytes.as_chunks::<4>();
    assert!(marks.iter().all(|mark| *mark == marks[0]), "torn: {:x?} and others", marks[0]);
    u32::from_be_bytes(marks[0])
}

/// Writes both ranges in turns until the readers have seen enough.
async fn write_both(disk: Disk, ranges: Ranges, writer: u8, seen: Arc<AtomicUsize>) {
    for round in 1..ROUNDS {
        for (at, second) in ranges.both() {
            let data = mark(second, writer, round).to_be_bytes().repeat(LEN / 4);
            disk.write_atomic(at, data).await.unwrap();
        }
        if seen.load(Ordering::Relaxed) >= SEEN * usize::from(SESSIONS) {
            return;
        }
    }
    panic!("the readers have seen {seen:?} states");
}

/// Reads both ranges at once. What they share is of the write that came last, so that all of what that
/// write put down is still there.
async fn read_both(disk: Disk, ranges: Ranges, seen: Arc<AtomicUsize>) {
    let (half, mut last) = (LEN / 2, [0; 3]);
    for _ in 0..SEEN {
        loop {
            let bytes = disk.read_at(ranges.0, 3 * half).await.unwrap();
            let thirds = [&bytes[..half], &bytes[half..2 * half], &bytes[2 * half..]].map(mark_of);
            let [first, shared, second] = thirds;
            let whole = if shared >> 31 == 1 { second } else { first };
            assert_eq!(shared, whole, "a part of {shared:x} is not there: {first:x}, {second:x}");
            if std::mem::replace(&mut last, thirds) != thirds {
                break;
            }
        }
        seen.fetch_add(1, Ordering::Relaxed);
    }
}

async fn contend_in_sessions(url: &str, ranges: Ranges) {
    let seen = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for writer in 0..SESSIONS {
        let (writes, reads) = (connect(url).await, connect(url).await);
        tasks.push(tokio::spawn(write_both(writes, ranges, writer, Arc::clone(&seen))));
        tasks.push(tokio::spawn(read_both(reads, ranges, Arc::clone(&seen))));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_in_other_sessions_never_see_a_part_of_an_atomic_write() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    for volume in [&["--memory", "4MiB"][..], &[file.to_str().unwrap(), "--size", "4MiB"]] {
        let sessions = (2 * SESSIONS).to_string();
        let served = Served::start(&[volume, &["--sessions-per-portal", &sessions]].concat());
        contend_in_sessions(&served.url, Ranges(4096)).await;
    }
}

/// Two operations of the kernel, so that nothing but the claim of the range holds them together.
#[tokio::test(flavor = "multi_thread")]
async fn nor_where_two_devices_meet() {
    let dir = tempfile::tempdir().unwrap();
    let unit = Unit::on_devices(dir.path(), 2, (2 * SESSIONS).into());
    unit.outband("volume create v 40M --allow-volatile");
    let told: serde_json::Value =
        serde_json::from_str(&unit.outband("volume ls --output json")).unwrap();
    let extents = told[0]["extents"].as_array().unwrap();
    assert_eq!(extents.len(), 2, "{told:#}");
    let seam = extents[0]["len"].as_u64().unwrap();
    contend_in_sessions(&unit.url(), Ranges(seam - 3 * LEN as u64 / 4)).await;
}

#[tokio::test]
async fn a_kill_leaves_all_of_an_atomic_write_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    let args = [file.to_str().unwrap(), "--size", "4MiB"];
    let mut tag = 0u8;
    for round in 0..8 {
        let mut served = Served::start(&args);
        let disk = connect(&served.url).await;
        // What the kill before this one has left.
        let found = whole(&disk.read_at(4096, LEN).await.unwrap());
        assert!(found == tag || found == tag.wrapping_add(1), "{found} after {tag}");
        tag = found;
        let acknowledged = Arc::new(AtomicU8::new(tag));
        let writer = tokio::spawn({
            let (disk, acknowledged) = (disk.clone(), Arc::clone(&acknowledged));
            async move {
                loop {
                    let next = acknowledged.load(Ordering::SeqCst).wrapping_add(1);
                    disk.write_atomic(4096, vec![next; LEN]).await.unwrap();
                    acknowledged.store(next, Ordering::SeqCst);
                }
            }
        });
        let first = tag;
        let begun = || async { acknowledged.load(Ordering::SeqCst).wrapping_sub(first) >= round };
        eventually("some were written", begun).await;
        served.process.kill();
        writer.abort();
        // It may have been told of one more while it was being aborted.
        let _ = writer.await;
        tag = acknowledged.load(Ordering::SeqCst);
        drop(disk);
    }
}

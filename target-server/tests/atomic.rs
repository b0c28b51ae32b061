//! WRITE ATOMIC through the whole target: never torn for readers, nor by a kill.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(clippy::cast_possible_truncation, reason = "tags wrap, and are to")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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

/// `outband-target serve` of a file, and its URL.
fn serve(file: &Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outband-target"))
        .arg("serve")
        .arg(file)
        .args(["--size", "4MiB", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (child, url.trim().to_owned())
}

async fn connect(url: &str) -> Disk {
    let config = Config::from_url(url).unwrap().initiator(common::host("a"));
    Disk::connect(config).await.unwrap()
}

#[tokio::test]
async fn a_kill_leaves_all_of_an_atomic_write_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    let mut tag = 0u8;
    for round in 0..8 {
        let (mut child, url) = serve(&file);
        let disk = connect(&url).await;
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
        child.kill().unwrap();
        child.wait().unwrap();
        writer.abort();
        // It may have been told of one more while it was being aborted.
        let _ = writer.await;
        tag = acknowledged.load(Ordering::SeqCst);
        drop(disk);
    }
}

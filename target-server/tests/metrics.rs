//! Figures of a target at work: as shards tell them, and as a monitoring system fetches them.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use common::{Target, eventually};
use outband_initiator::{Config, Disk};
use outband_protocol::initiator::Data;
use outband_target_server::metrics::sample::TargetSample;
use outband_target_server::metrics::{Failure, Operation};

async fn sample(target: &Target) -> TargetSample {
    let shards = target.server.measure().await;
    let mut targets: Vec<_> = shards.into_iter().flat_map(|shard| shard.targets).collect();
    assert_eq!(targets.len(), 1);
    targets.remove(0)
}

#[tokio::test]
async fn commands_are_counted_by_kind_and_outlive_their_session() {
    let mut target = Target::start(|_| {});
    target.volume("a", 8).await;
    target.grant("a", "h", 1).await;
    let disk = target.disk("a", "h").await.unwrap();
    for block in 0..10 {
        disk.write_at(block * 4096, vec![7; 4096]).await.unwrap();
    }
    for block in 0..5 {
        disk.read_at(block * 4096, 8192).await.unwrap();
    }
    let at_work = sample(&target).await;
    let of = |sample: &TargetSample, one: Operation| {
        let tally = &sample.tally.operations[one as usize];
        (tally.duration.count(), tally.in_store.count(), tally.bytes)
    };
    assert_eq!(of(&at_work, Operation::Write), (10, 10, 40_960));
    assert_eq!(of(&at_work, Operation::Read), (5, 5, 40_960));
    assert_eq!((at_work.sessions, at_work.queue_depth), (1, 0));
    let writes = &at_work.tally.operations[Operation::Write as usize];
    assert!(writes.duration.seconds() > 0.0);
    assert!(writes.duration.seconds() >= writes.in_store.seconds());
    drop(disk);
    eventually("the session to end", async || sample(&target).await.sessions == 0).await;
    let after = sample(&target).await;
    assert_eq!(of(&after, Operation::Write), of(&at_work, Operation::Write));
    assert!(after.tally.past.commands >= 15);
    assert_eq!((after.tally.past.written_bytes, after.queue_depth), (40_960, 0));
    target.server.stop().await;
}

#[tokio::test]
async fn failures_are_counted_by_what_the_host_was_told() {
    let mut target = Target::start(|_| {});
    let spec = common::memory("a", 1);
    let mut host = target.open(&spec).await;
    // READ(10) far beyond the end.
    let mut cdb = [0; 16];
    cdb[..10].copy_from_slice(&[0x28, 0, 0x7F, 0, 0, 0, 0, 0, 1, 0]);
    host.command(cdb, Data::In(512), &[]);
    let failures = sample(&target).await.tally.failures;
    let mut told = BTreeMap::new();
    for (index, count) in failures.iter().enumerate().filter(|(_, count)| **count > 0) {
        told.insert(Failure::labels(index), *count);
    }
    assert_eq!(told.get(&("check_condition", "illegal_request")), Some(&1), "{told:?}");
    target.server.stop().await;
}

/// `outband-target serve --metrics`, which ends with the test.
struct Serving {
    child: Child,
    volume: String,
    figures: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serving(path: &str) -> Serving {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outband-target"))
        .args(["serve", path, "--size", "8M", "--any-host", "--listen", "127.0.0.1:0"])
        .args(["--metrics", "127.0.0.1:0", "--shards", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    Serving { volume: next(), figures: next(), child }
}

fn fetch(url: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    answer
}

fn figure(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
}

#[tokio::test]
async fn a_page_of_figures_follows_the_work_of_a_served_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    let serving = serving(path.to_str().unwrap());
    let config = Config::from_url(&serving.volume).unwrap();
    let disk = Disk::connect(config.initiator("iqn.2026-11.local.host:t")).await.unwrap();
    let before = fetch(&serving.figures);
    for block in 0..20 {
        disk.write_at(block * 65536, vec![1; 65536]).await.unwrap();
    }
    disk.flush().await.unwrap();
    let after = fetch(&serving.figures);
    let grew = |series: &str| figure(&after, series) - figure(&before, series);
    let close = |found: f64, due: f64| assert!((found - due).abs() < 0.5, "{found}, not {due}");
    close(grew("outband_volume_bytes_total{volume=\"disk\",operation=\"write\"}"), 1_310_720.0);
    let labels = "{volume=\"disk\",operation=\"write\"}";
    close(grew(&format!("outband_volume_command_duration_seconds_count{labels}")), 20.0);
    let command = grew(&format!("outband_volume_command_duration_seconds_sum{labels}"));
    let store = grew(&format!("outband_volume_store_duration_seconds_sum{labels}"));
    assert!(store > 0.0 && command >= store, "{command} s, and the store {store} s of them");
    close(figure(&after, "outband_volume_sessions{volume=\"disk\"}"), 1.0);
    assert!(after.contains(
        "outband_volume_command_duration_seconds_bucket{volume=\"disk\",\
                            operation=\"flush\",le=\"+Inf\"} 1"
    ));
    assert!(after.contains("outband_device_operation_duration_seconds_count{device="));
    assert!(figure(&after, "outband_shard_cpu_seconds_total{shard=\"0\"}") >= 0.0);
}

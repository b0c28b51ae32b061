use std::time::{Duration, Instant};

use outband_control::api::TargetNames;
use outband_protocol::scsi::sense::LBA_OUT_OF_RANGE;
use outband_protocol::scsi::{Status, cdb::opcode};

use super::sample::{DeviceSample, SessionSample, ShardSample, TargetSample, UnitSample};
use super::*;

#[test]
fn a_time_lies_in_the_bucket_whose_bound_it_does_not_exceed() {
    let table = [(0, 8e-6), (8_000, 8e-6), (8_001, 16e-6), (1_000_000, 1.024e-3)];
    for (nanoseconds, bound) in table {
        let mut times = Histogram::default();
        times.record(nanoseconds);
        let found = times.buckets().find(|(_, events)| *events == 1).unwrap().0;
        assert!((found - bound).abs() < 1e-9, "{nanoseconds} ns: {found} and not {bound}");
    }
    let mut times = Histogram::default();
    times.record(8_388_608_000);
    times.record(8_388_608_001);
    times.record(u64::MAX / 2);
    let last: Vec<_> = times.buckets().map(|(_, events)| events).collect();
    assert_eq!(last[last.len() - 2..], [1, 2]);
    assert_eq!(times.count(), 3);
}

#[test]
fn every_failure_has_labels_of_its_own() {
    let labels: std::collections::BTreeSet<_> = (0..Failure::COUNT).map(Failure::labels).collect();
    assert_eq!(labels.len(), Failure::COUNT);
    let of = |status, sense| Failure::of(status, sense).map(|one| Failure::labels(one.index()));
    let sense = Some(&LBA_OUT_OF_RANGE);
    assert_eq!(of(Status::CheckCondition, sense), Some(("check_condition", "illegal_request")));
    assert_eq!(of(Status::TaskSetFull, None), Some(("task_set_full", "")));
    assert_eq!(of(Status::Good, None), None);
}

/// A READ that came in the first turn, was with the store over the second, and ended in the third.
#[test]
fn a_command_lasts_until_its_turn_ends_and_the_store_has_its_share() {
    let born = Instant::now();
    let at = |milliseconds| born + Duration::from_millis(milliseconds);
    let mut meter = Meter::new(born, Some(Duration::from_millis(30)));
    meter.begin_turn(at(10));
    let mut clock = TaskClock::arrived(meter.tick());
    meter.begin_turn(at(15));
    clock.enters_store(meter.tick());
    meter.begin_turn(at(35));
    clock.leaves_store(meter.tick());
    let operation = Operation::of(opcode::READ_16);
    let ended = Ended { operation, failure: None, bytes: 4096, at: 0, clock };
    meter.end("read", ended);
    meter.end("again", ended);
    let mut tally = Tally::default();
    let mut named = Vec::new();
    meter.end_turn(at(40), |name, ended, took, slow| {
        tally.record(ended, took);
        named.extend(slow.map(|unsaid| (name, took, unsaid)));
    });
    assert_eq!(named, [("read", 30_000_000, 0)], "one line a second, however many are slow");
    assert!(!meter.is_owed());
    let reads = &tally.operations[Operation::Read as usize];
    assert_eq!((reads.duration.count(), reads.bytes), (2, 8192));
    assert!((reads.duration.seconds() - 0.06).abs() < 1e-9);
    assert!((reads.in_store.seconds() - 0.04).abs() < 1e-9);
    assert_eq!(clock.before_store(), 5_000_000);
}

fn unit() -> UnitSample {
    let names = TargetNames::new("iqn.2026-11.local.outband", "main");
    let target = names.target(&"db\u{2d}1".parse().unwrap());
    let counts = SessionCounts { commands: 7, window_stalls: 2, ..SessionCounts::default() };
    let session = SessionSample {
        target: target.clone(),
        host: "iqn.2026-11.example:\"quoted\"".to_owned(),
        source: "192.0.2.1:40000".parse().unwrap(),
        portal: "192.0.2.9:3260".parse().unwrap(),
        counts,
        queue_depth: 1,
        window: 8,
    };
    let mut tally = Box::<Tally>::default();
    tally.past.add(&counts);
    let target = TargetSample {
        target,
        tally,
        queue_depth: 1,
        sessions: 2,
        size: 1 << 20,
        unsynced: 0,
        faulted: false,
    };
    let id = uuid::Uuid::from_u128(5);
    let mut device = DeviceTally::default();
    device.record(MediumOperation::Write, true, 1000);
    let shard = ShardSample {
        targets: vec![target],
        sessions: vec![session.clone(), session],
        devices: vec![(id, device)],
        ..ShardSample::default()
    };
    let device = DeviceSample { id, path: "/dev/sdb".to_owned(), size: 10, free: 5, healthy: true };
    UnitSample {
        shards: vec![shard],
        devices: vec![device],
        grants: vec![("db-1".to_owned(), "iqn.2026-11.example:a".to_owned(), 4)],
        fences: Some(1),
    }
}

#[test]
fn sessions_that_look_the_same_are_one_series_and_none_is_told_twice() {
    let names = TargetNames::new("iqn.2026-11.local.outband", "main");
    let text = text::page(&unit(), &names).into_text();
    let mut series: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all);
    let line = "outband_session_commands_total{volume=\"db-1\",\
                host=\"iqn.2026-11.example:\\\"quoted\\\"\",source=\"192.0.2.1\",\
                portal=\"192.0.2.9:3260\"} 14";
    assert!(text.lines().any(|found| found == line), "{text}");
    for line in [
        "outband_volume_window_stalls_total{volume=\"db-1\"} 2",
        "outband_grant_epoch{volume=\"db-1\",host=\"iqn.2026-11.example:a\"} 4",
        "outband_fences_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn the_station_is_told_counters_by_volume_and_session_and_of_nothing_foreign() {
    let names = TargetNames::new("iqn.2026-11.local.outband", "main");
    let mut shards = unit().shards;
    let ended = Ended {
        operation: Operation::Write,
        failure: Failure::of(Status::TaskSetFull, None),
        bytes: 4096,
        at: 0,
        clock: TaskClock::arrived(0),
    };
    // The third bucket ends at 32 µs.
    shards[0].targets[0].tally.record(&ended, 20_000);
    let foreign = TargetSample { target: "iqn.x:y".into(), ..shards[0].targets[0].clone() };
    shards[0].targets.push(foreign);
    let told = counts::counts(&shards, &names, 9);
    assert_eq!((told.at_micros, told.volumes.len(), told.sessions.len()), (9, 1, 2));
    assert_eq!((told.bounds_micros[0], told.bounds_micros[2]), (8, 32));
    let volume = &told.volumes[0];
    assert_eq!((volume.subject.to_string(), volume.failed), ("db-1".to_owned(), 1));
    assert_eq!((volume.queue_depth, volume.sessions), (1, 2));
    assert_eq!((volume.write.bytes, volume.write.times.as_slice()), (4096, &[0, 0, 1][..]));
    assert_eq!((volume.read.bytes, volume.read.times.len()), (0, 0));
    let session = &told.sessions[0];
    assert_eq!((session.commands, session.queue_depth, session.window), (7, 1, 8));
}

//! SANITIZE and FORMAT UNIT through the whole target: they outlive their session, and a stop leaves them
//! failed.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::raw::Raw;
use common::scsi::{Answer, ScsiHost};
use common::{Target, memory, memory_of};
use outband_protocol::ids::Itt;
use outband_protocol::pdu::{Request, ScsiCommand, TaskAttribute, TaskManagementFunction};
use outband_protocol::scsi::cdb::Sanitize;
use outband_protocol::scsi::sanitize::{Overwrite, action};
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_LIST, NO_SENSE, SANITIZE_IN_PROGRESS,
};
use outband_protocol::scsi::{Cdb, Sense};
use outband_target_server::media::{Media, RawDevice, Sidecar, VolumeSpec};

const NAME: &str = "iqn.2026-11.local.outband:test:v";

/// A file as a volume whose hosts may ask for SANITIZE, and its journal.
fn volume(path: &Path, like: &VolumeSpec) -> (VolumeSpec, Sidecar) {
    let raw = RawDevice::open(path, Some(like.pieces[0].len)).unwrap();
    let mut spec = like.clone();
    let sidecar = Sidecar::open(path, &raw, spec.id).unwrap().unwrap();
    spec.journal = Some(sidecar.spec().clone());
    spec.pieces[0].device = sidecar.spec().device;
    spec.pieces[0].media = Media::File(Arc::clone(&raw.fd));
    (spec.volatile, spec.allow_sanitize) = (false, true);
    (spec, sidecar)
}

async fn serve(spec: &VolumeSpec) -> Target {
    let mut target = Target::start(|_| {});
    target.server.attach(spec).await.unwrap();
    target.grant("v", "a", 1).await;
    target
}

/// A session of its own thread: what it asks, and how each command ends.
async fn talk<T: Send + 'static>(target: &Target, talk: fn(&mut Raw) -> T) -> T {
    let portal = target.portal;
    let session = move || {
        let mut raw = Raw::to(portal, NAME, "a", 1);
        // The power on is told to the first command that can be told.
        let inquiry = raw.command(&[0x03, 0, 0, 0, 252, 0]);
        let inquiry = ScsiCommand { read: true, expected_len: 252, ..inquiry };
        raw.send(Request::Command(inquiry), &[]);
        raw.end();
        talk(&mut raw)
    };
    tokio::task::spawn_blocking(session).await.unwrap()
}

fn ends(raw: &mut Raw, cdb: &[u8], data: &[u8], how: &str) {
    let command = raw.command(cdb);
    let expected_len = u32::try_from(data.len()).unwrap();
    let command = ScsiCommand { write: !data.is_empty(), expected_len, ..command };
    raw.send(Request::Command(command), data);
    raw.ends(command.itt, how);
}

#[tokio::test]
async fn one_that_a_stop_cut_short_has_failed_and_never_looks_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let like = memory("v", 4);
    let (spec, sidecar) = volume(&path, &like);
    let target = serve(&spec).await;
    talk(&target, |raw| {
        // OVERWRITE, IMMED, one pass of a pattern of one byte; it takes its seconds.
        ends(raw, &[0x48, 0x81, 0, 0, 0, 0, 0, 0, 5, 0], &[1, 0, 0, 1, 0x5A], "00");
        ends(raw, &[0; 6], &[], "02 2/041b");
    })
    .await;
    // Another session finds it going on.
    talk(&target, |raw| ends(raw, &[0; 6], &[], "02 2/041b")).await;
    target.server.stop().await;
    drop((spec, target));
    sidecar.remove_if_empty().unwrap();

    let (spec, sidecar) = volume(&path, &like);
    assert!(sidecar.spec().marks.contains_key(&spec.id), "it looks done");
    let target = serve(&spec).await;
    talk(&target, |raw| {
        ends(raw, &[0; 6], &[], "02 3/3103");
        // It began without AUSE, so only a sanitize that succeeds helps.
        ends(raw, &[0x48, 0x1F, 0, 0, 0, 0, 0, 0, 0, 0], &[], "02 5/2400");
        ends(raw, &[0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0], &[], "00");
        ends(raw, &[0; 6], &[], "00");
        let read = raw.read(0, TaskAttribute::Simple);
        raw.ends(read, "00");
    })
    .await;
    target.server.stop().await;
    drop((spec, target));
    sidecar.remove_if_empty().unwrap();
    assert!(!dir.path().join("file.journal").exists(), "the mark stayed");
    assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0), "not erased");
}

#[tokio::test]
async fn a_format_that_a_stop_cut_short_leaves_the_medium_corrupted_until_it_is_formatted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let like = memory("v", 4);
    let (spec, sidecar) = volume(&path, &like);
    let target = serve(&spec).await;
    talk(&target, |raw| {
        // FOV, IP and IMMED, and a pattern of one byte; it takes its seconds.
        ends(raw, &[0x04, 0x10, 0, 0, 0, 0], &[0, 0x8A, 0, 0, 0, 1, 0, 1, 0x5A], "00");
        ends(raw, &[0; 6], &[], "02 2/0404");
    })
    .await;
    talk(&target, |raw| ends(raw, &[0; 6], &[], "02 2/0404")).await;
    target.server.stop().await;
    drop((spec, target));
    sidecar.remove_if_empty().unwrap();

    let (spec, sidecar) = volume(&path, &like);
    let target = serve(&spec).await;
    talk(&target, |raw| {
        ends(raw, &[0; 6], &[], "02 3/3100");
        ends(raw, &[0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[1; 512], "02 3/3100");
        // Without a list, and answered at its end.
        ends(raw, &[0x04, 0, 0, 0, 0, 0], &[], "00");
        ends(raw, &[0; 6], &[], "00");
        ends(raw, &[0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[1; 512], "00");
    })
    .await;
    target.server.stop().await;
    drop((spec, target));
    sidecar.remove_if_empty().unwrap();
    assert!(!dir.path().join("file.journal").exists(), "the mark stayed");
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes[..512].iter().all(|byte| *byte == 1), "written since");
    assert!(bytes[512..].iter().all(|byte| *byte == 0), "not formatted");
}

/// SANITIZE OVERWRITE with this list, of which the command block tells `len`.
fn overwrite(host: &mut ScsiHost, immed: bool, len: u16, list: &[u8]) -> Answer {
    let fields = Sanitize { action: action::OVERWRITE, immed, unrestricted: false, len };
    host.write(Cdb::Sanitize(fields), list)
}

/// An overwrite, and what the blocks of the volume begin with afterwards.
struct Passes {
    block_size: u32,
    invert: bool,
    count: u8,
    pattern_len: usize,
    leaves: fn(u8) -> u8,
}

impl Passes {
    /// Wipes all of a volume of 1 MiB, and looks at it as its host does.
    fn run(&self, host: &mut ScsiHost) -> Vec<u8> {
        let Self { block_size, invert, count, pattern_len, leaves } = *self;
        let blocks = (1 << 20) / block_size;
        let before = vec![0x77; 1 << 20];
        assert!(host.write(Cdb::write16(0, blocks, false), &before).is_good());
        let pattern: Vec<u8> = (0..pattern_len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let one: Vec<u8> = pattern.iter().cycle().copied().take(block_size as usize).collect();
        let list = Overwrite { invert, count, pattern }.build();
        assert!(overwrite(host, false, u16::try_from(list.len()).unwrap(), &list).is_good());
        let held = host.read(Cdb::read16(0, blocks), 1 << 20).data;
        let left: Vec<u8> = one.iter().copied().map(leaves).collect();
        let block = format!("{block_size}: {count} passes of {pattern_len} bytes");
        assert!(
            held.len() == 1 << 20 && held.chunks(left.len()).all(|each| each == left),
            "{block}"
        );
        held
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_leaves_its_pattern_from_the_start_of_each_block_as_its_last_pass_had_it() {
    let same: fn(u8) -> u8 = |byte| byte;
    let inverse: fn(u8) -> u8 = |byte| !byte;
    // With INVERT the first pass writes the pattern, and each one after it the inverse of the last.
    let all = [
        (512, true, 1, 1, same),
        (512, false, 2, 3, same),
        (512, true, 2, 511, inverse),
        (4096, true, 2, 512, inverse),
        (4096, true, 3, 4096, same),
        (512, true, 4, 512, inverse),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut target = Target::start(|_| {});
    let mut runs = Vec::new();
    for (at, (block_size, invert, count, pattern_len, leaves)) in all.into_iter().enumerate() {
        let name = format!("v{at}");
        let path = dir.path().join(&name);
        let (spec, sidecar) = volume(&path, &memory_of(&name, 1 << 20, block_size));
        let mut host = target.open(&spec).await;
        let passes = Passes { block_size, invert, count, pattern_len, leaves };
        // Each pass of so small a volume takes a second.
        let run = tokio::task::spawn_blocking(move || passes.run(&mut host));
        runs.push((run, path, sidecar));
    }
    let mut held = Vec::new();
    for (run, path, sidecar) in runs {
        held.push((run.await.unwrap(), path, sidecar));
    }
    target.server.stop().await;
    for (held, path, _sidecar) in held {
        assert!(std::fs::read(&path).unwrap() == held, "{} on the medium", path.display());
    }
}

#[tokio::test]
async fn an_overwrite_whose_pattern_cannot_be_is_refused_and_touches_nothing() {
    for block_size in [512u16, 4096] {
        let mut target = Target::start(|config| config.shards = 1);
        let mut spec = memory_of("v", 1 << 20, block_size.into());
        spec.allow_sanitize = true;
        let mut host = target.open(&spec).await;
        let block = vec![0x77; block_size.into()];
        assert!(host.write(Cdb::write16(0, 1, false), &block).is_good());
        let list = |head: u8, told: u16, sent: u16| {
            let [high, low] = told.to_be_bytes();
            let list = [&[head, 0, high, low][..], &vec![0x5A; sent.into()]].concat();
            (4 + sent, list)
        };
        let (longest, longer) = (block_size, block_size + 1);
        let refused = [
            // PARAMETER LIST LENGTH: room for no pattern, or for more than a block.
            (list(1, 0, 0), INVALID_FIELD_IN_CDB),
            (list(1, longer, longer), INVALID_FIELD_IN_CDB),
            (list(1, 2, u16::MAX - 4), INVALID_FIELD_IN_CDB),
            // INITIALIZATION PATTERN LENGTH: nothing, more than is sent, more than a block.
            (list(1, 0, 1), INVALID_FIELD_IN_LIST),
            (list(1, 3, 2), INVALID_FIELD_IN_LIST),
            (list(1, longer, longest), INVALID_FIELD_IN_LIST),
            (list(1, u16::MAX, longest), INVALID_FIELD_IN_LIST),
            // OVERWRITE COUNT of none, and TEST.
            (list(0, 2, 2), INVALID_FIELD_IN_LIST),
            (list(0x80, 2, 2), INVALID_FIELD_IN_LIST),
            (list(0x21, 2, 2), INVALID_FIELD_IN_LIST),
        ];
        for ((len, list), sense) in refused {
            let answer = overwrite(&mut host, false, len, &list);
            assert!(answer.says(&sense), "{:02x?}… of {len}: {answer:?}", &list[..4]);
            assert!(host.nothing(Cdb::TestUnitReady).is_good());
        }
        assert!(host.read(Cdb::read16(0, 1), block.len()).data == block);
        // The longest that can be.
        let (len, list) = list(1, longest, longest);
        assert!(overwrite(&mut host, false, len, &list).is_good());
        assert!(host.read(Cdb::read16(0, 1), block.len()).data == vec![0x5A; block.len()]);
    }
}

#[tokio::test]
async fn how_far_it_is_can_be_asked_for_and_moves() {
    let mut target = Target::start(|config| config.shards = 1);
    let mut spec = memory("v", 2);
    spec.allow_sanitize = true;
    let mut host = target.open(&spec).await;
    let mut other = ScsiHost::connect(target.portal, NAME, &common::host("other"));
    assert!(overwrite(&mut host, true, 6, &[2, 0, 0, 2, 1, 2]).is_good());
    let ask = Cdb::RequestSense { descriptors: false, allocation: 252 };
    let mut told = Vec::new();
    for _ in 0..1_000 {
        let sense = Sense::parse(&host.read(ask, 252).data).unwrap();
        if sense == NO_SENSE {
            break;
        }
        assert!(sense.is(&SANITIZE_IN_PROGRESS), "{sense}");
        told.extend(sense.progress);
        // So is a command that cannot run meanwhile.
        if let Some(sense) = other.nothing(Cdb::TestUnitReady).sense {
            assert!(sense.is(&SANITIZE_IN_PROGRESS), "{sense}");
            told.extend(sense.progress);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(told.is_sorted(), "{told:?}");
    told.dedup();
    // Twice 2 MiB, of which a second lets 1 MiB happen.
    for quarter in [0x4000, 0x8000, 0xC000] {
        assert!(told.contains(&quarter), "{told:x?}");
    }
    assert!(other.nothing(Cdb::TestUnitReady).is_good());
    let held = other.read(Cdb::read16(0, 4096), 2 << 20).data;
    assert!(held.chunks(2).all(|each| each == [1, 2]));
}

/// A command that brings a block nobody asked for, and whose data does not come.
fn never_whole(raw: &mut Raw) -> Itt {
    let erase = raw.command(&[0x48, 0x02]);
    let erase = ScsiCommand { write: true, last: false, expected_len: 512, ..erase };
    raw.send(Request::Command(erase), &[]);
    erase.itt
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ended_before_it_began_leaves_the_unit_usable() {
    let mut target = Target::start(|_| {});
    let mut spec = memory("v", 1);
    spec.allow_sanitize = true;
    target.server.attach(&spec).await.unwrap();
    target.grant_sessions("v", "a", 1, 8).await;
    let session = |isid| {
        let mut config = common::raw::config(Some(NAME), "a", isid);
        config.offer.initial_r2t = false;
        let mut raw = Raw::with(target.portal, config);
        raw.attentions();
        raw
    };
    let (mut aborted, mut lost, mut other) = (session(1), session(2), session(3));
    let itt = never_whole(&mut aborted);
    let function = aborted.manage(TaskManagementFunction::AbortTask, itt);
    aborted.managed(function);
    ends(&mut other, &[0; 6], &[], "00");
    never_whole(&mut lost);
    lost.is_silent();
    drop(lost);
    ends(&mut other, &[0; 6], &[], "00");
    ends(&mut other, &[0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0], &[], "00");
}

#[tokio::test(flavor = "multi_thread")]
async fn atomic_writes_that_it_refuses_give_back_what_they_hold() {
    /// More than the journal has slots.
    const WRITES: u8 = 40;
    let dir = tempfile::tempdir().unwrap();
    let (spec, _sidecar) = volume(&dir.path().join("file"), &memory("v", 3));
    let mut target = Target::start(|config| config.shards = 1);
    target.server.attach(&spec).await.unwrap();
    target.grant_sessions("v", "a", 1, 8).await;
    let mut writer = Raw::to(target.portal, NAME, "a", 1);
    let mut other = Raw::to(target.portal, NAME, "a", 2);
    writer.attentions();
    other.attentions();
    let atomic = |raw: &mut Raw, block: u8| {
        let command = raw.command(&[0x9C, 0, 0, 0, 0, 0, 0, 0, 0, block, 0, 0, 0, 1, 0, 0]);
        let command = ScsiCommand { write: true, expected_len: 512, ..command };
        raw.send(Request::Command(command), &[]);
        (command.itt, raw.r2t(command.itt))
    };
    let asked: Vec<_> = (0..WRITES).map(|block| atomic(&mut writer, block)).collect();
    ends(&mut other, &[0x48, 0x81, 0, 0, 0, 0, 0, 0, 5, 0], &[1, 0, 0, 1, 0x5A], "00");
    for (itt, ttt) in asked {
        writer.burst(itt, ttt, 0, &[1; 512]);
    }
    for _ in 0..WRITES {
        assert_eq!(writer.end().1, "02 2/041b");
    }
    let is_over = |raw: &mut Raw| {
        let command = raw.command(&[0; 6]);
        raw.send(Request::Command(command), &[]);
        raw.end().1 == "00"
    };
    for _ in 0..1_000 {
        if is_over(&mut other) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (itt, ttt) = atomic(&mut writer, 0);
    writer.burst(itt, ttt, 0, &[1; 512]);
    writer.ends(itt, "00");
}

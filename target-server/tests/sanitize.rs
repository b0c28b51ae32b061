//! SANITIZE and FORMAT UNIT through the whole target: they outlive their session, and a stop leaves them
//! failed.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::raw::Raw;
use common::{Target, memory};
use outband_protocol::pdu::{Request, ScsiCommand, TaskAttribute};
use outband_target_server::media::{Media, RawDevice, Sidecar, VolumeSpec};

/// A file of 4 MiB as a volume whose hosts may ask for SANITIZE, and its journal.
fn volume(path: &Path, like: &VolumeSpec) -> (VolumeSpec, Sidecar) {
    let raw = RawDevice::open(path, Some(4 << 20)).unwrap();
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
        let mut raw = Raw::to(portal, "iqn.2026-11.local.outband:test:v", "a", 1);
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

//! `outband cp` and `outband bench` on volumes of both block sizes, one beside the other.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use common::outband;
use outband_control::access::{ANY_HOST, AccessTable, Epoch, Grant};
use outband_control::api::TargetNames;
use outband_target_server::media::{Media, Piece, VolumeName, VolumeSpec, ZeroWith};
use outband_target_server::server::{Server, ServerConfig};
use uuid::Uuid;

const AT_MOST: Duration = Duration::from_secs(60);
const LEN: u64 = 8 << 20;
/// Ends within a block of either size.
const FILE_LEN: usize = 1_000_003;

/// A target with one volume in memory for each of `block_sizes`, open to everybody.
async fn volumes(block_sizes: &[u32]) -> (Server, Vec<String>) {
    let names = TargetNames::new("iqn.2026-11.local.outband", "test");
    let config = ServerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], names.clone());
    let server = Server::start(&config, None).unwrap();
    let mut access = AccessTable::new(names);
    let mut urls = Vec::new();
    for block_size in block_sizes {
        let spec = memory(&format!("v{block_size}"), *block_size);
        server.attach(&spec).await.unwrap();
        let grant = Grant {
            subject: spec.name.as_str().parse().unwrap(),
            host: ANY_HOST.to_owned(),
            chap: None,
            sources: Vec::new(),
            epoch: Epoch(1),
            sessions_per_portal: 4,
        };
        access.grant(grant).unwrap();
        let target = server.target_name(&spec, None);
        urls.push(format!("iscsi://{}/{target}/0", server.portals()[0]));
    }
    server.publish(access).await;
    (server, urls)
}

fn memory(name: &str, block_size: u32) -> VolumeSpec {
    let (device, media, zero) = (Uuid::new_v4(), Media::Memory, ZeroWith::Writes);
    let piece = Piece { device, media, offset: 0, len: LEN, zero };
    VolumeSpec {
        physical_block_size: 4096,
        volatile: true,
        ..VolumeSpec::new(Uuid::new_v4(), VolumeName::new(name).unwrap(), block_size, vec![piece])
    }
}

/// Runs a command line; the target of this process goes on meanwhile, on threads of its own.
fn run(arguments: &[&str]) -> Output {
    common::run(outband().args(arguments), AT_MOST)
}

fn succeeds(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_file_goes_from_volume_to_volume_whatever_their_blocks_and_comes_back() {
    let (server, urls) = volumes(&[512, 4096]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let bytes: Vec<u8> = (0..FILE_LEN).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    std::fs::write(path("source"), &bytes).unwrap();
    let length = FILE_LEN.to_string();
    let [small, large] = [urls[0].as_str(), &urls[1]];
    for (first, second, name) in [(large, small, "a"), (small, large, "b")] {
        succeeds(&["cp", &path("source"), first]);
        succeeds(&["cp", first, second, "--length", &length]);
        succeeds(&["cp", second, &path(name), "--length", &length]);
        assert!(std::fs::read(path(name)).unwrap() == bytes, "{first} to {second}");
    }
    // All of a volume, to its last block.
    succeeds(&["cp", large, &path("whole")]);
    assert_eq!(Path::new(&path("whole")).metadata().unwrap().len(), LEN);
    server.stop().await;
}

#[tokio::test]
async fn the_load_generator_asks_for_whole_blocks() {
    let (server, urls) = volumes(&[4096]).await;
    let bench = |bs, mode| {
        let short = ["--bs", bs, "--rw", mode, "--secs", "1s", "--depth", "4", "--yes-erase"];
        run(&[&["bench", &urls[0]], &short[..]].concat())
    };
    for (mode, bs) in [("randread", "4K"), ("randwrite", "64K"), ("write", "4K")] {
        let output = bench(bs, mode);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode} {bs}: {said}");
    }
    for bs in ["512", "6K"] {
        let refused = bench(bs, "randread");
        assert_eq!(refused.status.code(), Some(2));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("multiple of the volume's blocks of 4096 bytes"), "{said}");
    }
    server.stop().await;
}

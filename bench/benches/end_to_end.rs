//! Whole requests: the initiator crate, loopback, a target in this process, a volume in memory or in
//! a file of the page cache.
//!
//! One task waits for each answer, or 32 tasks keep 32 requests in flight. Initiator and target
//! share the machine, as they would not in earnest: `cargo xtask bench` keeps them apart.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use outband_bench::sample;
use outband_initiator::{Config, DigestWish, Disk};
use outband_target_server::media::{Media, RawDevice};
use outband_target_server::server::{Server, ServerConfig};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const VOLUME_LEN: u64 = 256 << 20;
/// Requests are spread over this much, so that they do not all meet in one cache line.
const REACH: u64 = 64 << 20;

#[derive(Clone, Copy)]
enum Work {
    Read,
    Write,
}

async fn serve(media: Media) -> (Server, String) {
    let portal = "127.0.0.1:0".parse().expect("an address");
    let mut config = ServerConfig::new(vec![portal], sample::names());
    config.shards = 1;
    let server = Server::start(&config, None).expect("io_uring works here");
    let spec = sample::volume(0, media, VOLUME_LEN);
    server.attach(&spec).await.expect("the shard takes it");
    server.publish(sample::access(1)).await;
    let url = format!("iscsi://{}/{}/0", server.portals()[0], server.target_name(&spec, None));
    (server, url)
}

async fn connect(url: &str) -> Disk {
    let config = Config::from_url(url)
        .expect("a URL of our own")
        .initiator("iqn.2026-11.local.outband:bench-host")
        .digests(DigestWish::Never);
    Disk::connect(config).await.expect("any host may log in")
}

/// `count` requests of `len` bytes, `depth` in flight; how long they took.
async fn load(disk: &Disk, work: Work, len: usize, depth: u64, count: u64) -> Duration {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for lane in 0..depth.min(count) {
        let (disk, data) = (disk.clone(), vec![0x5A; len]);
        tasks.spawn(async move {
            for index in (lane..count).step_by(usize::try_from(depth).expect("a small number")) {
                let offset = (index * 7919 * len as u64) % REACH;
                match work {
                    Work::Read => drop(disk.read_at(offset, len).await.expect("it is served")),
                    Work::Write => {
                        disk.write_at(offset, data.clone()).await.expect("it is served");
                    }
                }
            }
        });
    }
    while let Some(lane) = tasks.join_next().await {
        lane.expect("no lane panics");
    }
    start.elapsed()
}

fn end_to_end(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = RawDevice::open(&folder.path().join("volume"), Some(VOLUME_LEN));
    let file = file.expect("a file can be made");
    for (store, media) in [("memory", Media::Memory), ("file", Media::File(file.fd))] {
        measure(criterion, store, media);
    }
}

fn measure(criterion: &mut Criterion, store: &str, media: Media) {
    let runtime = Runtime::new().expect("threads can be had");
    let (server, url) = runtime.block_on(serve(media));
    let disk = runtime.block_on(connect(&url));
    // What was never written is not read from anywhere.
    let len = 1 << 20;
    runtime.block_on(load(&disk, Work::Write, len, 4, REACH / len as u64));
    for (name, work) in [("read", Work::Read), ("write", Work::Write)] {
        let mut group = criterion.benchmark_group(format!("end to end/{store}/{name}"));
        group.sample_size(20);
        for (len, depth) in [(4096usize, 1u64), (4096, 32), (131_072, 8)] {
            group.throughput(Throughput::Bytes(len as u64));
            let id = BenchmarkId::new(format!("{} KiB", len / 1024), format!("depth {depth}"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|count| runtime.block_on(load(&disk, work, len, depth, count)));
            });
        }
        group.finish();
    }
    runtime.block_on(async {
        disk.close().await.expect("it logs out");
        server.stop().await;
    });
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);

//! CRC32C over a header, a small read and a full segment.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use outband_protocol::digest;

fn crc32c(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for len in [48usize, 4096, 65_536, 262_144] {
        let bytes = vec![0x5A; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &bytes, |bencher, bytes| {
            bencher.iter(|| digest::wire(black_box(bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, crc32c);
criterion_main!(benches);

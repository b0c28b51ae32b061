//! From a command block to what the store has to do.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use outband_bench::sample::{HOST, logical_unit, request};

fn plans(criterion: &mut Criterion) {
    let read_10 = [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
    let write_16 = [0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    let inquiry = [0x12, 1, 0x83, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let cases: [(&str, &[u8], u32); 3] = [
        ("plan/READ(10)", &read_10, 0),
        ("plan/WRITE(16)", &write_16, 4096),
        ("plan/INQUIRY page 83h", &inquiry, 0),
    ];
    for (name, cdb, offered) in cases {
        let mut unit = logical_unit();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| unit.begin(HOST, &request(black_box(cdb), offered)));
        });
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);

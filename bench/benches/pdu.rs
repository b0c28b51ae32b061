//! Headers read and built, and a stream of them taken apart.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outband_protocol::Digests;
use outband_protocol::digest;
use outband_protocol::framer::Framer;
use outband_protocol::pdu::{Bhs, Request, Response};

/// A SCSI Command: READ(10) of 8 blocks.
fn read_command() -> Bhs {
    let mut bhs = Bhs::default();
    bhs.0[0] = 0x01;
    bhs.0[1] = 0xC1;
    bhs.0[22..24].copy_from_slice(&[0x10, 0x00]);
    bhs.0[32..42].copy_from_slice(&[0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    bhs
}

/// A Data-In with the status of its command.
fn data_in() -> Bhs {
    let mut bhs = Bhs::default();
    bhs.0[0] = 0x25;
    bhs.0[1] = 0x81;
    bhs.0[6] = 0x10;
    bhs
}

fn headers(criterion: &mut Criterion) {
    let command = read_command();
    criterion.bench_function("pdu/parse SCSI Command", |bencher| {
        bencher.iter(|| Request::parse(black_box(&command)));
    });
    let request = Request::parse(&command).expect("it is well formed");
    criterion.bench_function("pdu/build SCSI Command", |bencher| {
        bencher.iter(|| black_box(&request).build());
    });
    let data = data_in();
    criterion.bench_function("pdu/parse Data-In", |bencher| {
        bencher.iter(|| Response::parse(black_box(&data)));
    });
    let response = Response::parse(&data).expect("it is well formed");
    criterion.bench_function("pdu/build Data-In", |bencher| {
        bencher.iter(|| black_box(&response).build());
    });
}

/// What one receive of a busy connection brings.
const COMMANDS: u32 = 64;

fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pdu/take apart");
    group.throughput(Throughput::Elements(COMMANDS.into()));
    for (name, header) in [("64 commands", false), ("64 commands, header digest", true)] {
        let digests = Digests { header, data: false };
        let mut bytes = Vec::new();
        for _ in 0..COMMANDS {
            let bhs = read_command();
            bytes.extend_from_slice(&bhs.0);
            if header {
                bytes.extend_from_slice(&digest::wire(&bhs.0));
            }
        }
        group.bench_function(name, |bencher| {
            let mut framer = Framer::new(digests, 8192);
            bencher.iter(|| {
                let mut input = black_box(bytes.as_slice());
                while let Some(frame) = framer.next(&mut input).expect("it is well formed") {
                    black_box(frame);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, headers, stream);
criterion_main!(benches);

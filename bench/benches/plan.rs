//! From a command block to what the store has to do.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use outband_protocol::ids::Lun;
use outband_target_server::scsi::{
    LOCAL_COMPANY, LogicalUnit, LuConfig, NexusId, Request, TargetPort,
};
use uuid::Uuid;

const HOST: NexusId = NexusId(1);

fn logical_unit() -> LogicalUnit {
    let mut unit = LogicalUnit::new(LuConfig {
        uuid: Uuid::nil(),
        company: LOCAL_COMPANY,
        serial: "bench".to_owned(),
        port: TargetPort {
            target: "iqn.2026-11.local.outband:bench:volume".to_owned(),
            portal_group: 1,
            group: 1,
            relative: 1,
        },
        blocks: 1 << 31,
        block_size: 512,
        physical_block_size: 4096,
        write_cache: false,
        volatile: false,
        read_only: false,
        unmap: true,
        rotational: false,
    });
    unit.attach(HOST);
    // The first command of a session is told of the power on; it is not what is measured.
    unit.begin(HOST, &request(&[0; 6], 0));
    unit
}

fn request(cdb: &[u8], offered: u32) -> Request<'_> {
    Request { lun: Lun::ZERO, cdb, offered }
}

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

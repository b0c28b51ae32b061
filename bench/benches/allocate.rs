//! The station's choice of a unit, in small and large pools.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use outband_pool_api::Placement;
use outband_pool_manager::allocate::{IdleVolume, Pool, Request, UnitSpace, choose};
use uuid::Uuid;

/// `units` units, each with eight idle volumes.
fn pool(units: u32) -> Pool {
    let unit = |number: u32| {
        let idle = (0..8).map(|volume| IdleVolume {
            id: Uuid::from_u128(u128::from(number * 8 + volume)),
            name: format!("volume-{number}-{volume}"),
            size: u64::from(volume + 1) << 30,
            block_size: 512,
            volatile: false,
            allow_sanitize: false,
        });
        UnitSpace {
            id: Uuid::from_u128(u128::from(number)),
            name: format!("unit-{number}").into(),
            unfit: None,
            labels: Arc::default(),
            free: u64::from(number % 17 + 1) << 40,
            free_volatile: 0,
            volumes_of_host: number % 3,
            idle: idle.collect(),
        }
    };
    Pool { units: (0..units).map(unit).collect() }
}

fn allocate(criterion: &mut Criterion) {
    for (name, placement, reuse) in [
        ("a new volume, most free", Placement::MostFree, false),
        ("a new volume, spread", Placement::Spread, false),
        ("an idle volume that fits", Placement::MostFree, true),
    ] {
        let mut group = criterion.benchmark_group(format!("allocate/{name}"));
        for units in [3, 100, 1000] {
            let pool = pool(units);
            let request = Request { placement, reuse, ..Request::anywhere(3 << 29) };
            let id = BenchmarkId::new("units", units);
            group.bench_with_input(id, &pool, |bencher, pool| {
                bencher.iter(|| choose(black_box(pool), &request));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, allocate);
criterion_main!(benches);

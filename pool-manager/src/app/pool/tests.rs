//! What is said of a pool's space, and how much is looked at for that.

use outband_pool_api::{Duty, HostRequest, UnitChange};

use super::*;
use crate::{sample, visits};

const GIB: u64 = 1 << 30;

#[tokio::test]
async fn the_figures_of_capacity_are_of_the_same_media_and_add_up() {
    let station = sample::station().await;
    sample::host(&station, "a").await;
    let both = [sample::device(100 * GIB, false), sample::device(40 * GIB, true)];
    let one = sample::unit(&station, "one", &both).await;
    sample::granted(&station, one, "lasting", 30 * GIB, false, "a").await;
    sample::granted(&station, one, "scratch", 20 * GIB, true, "a").await;
    let status = station.pool_status(&Caller::ADMIN).await.unwrap();
    let figures = |status: &PoolStatus| [status.total, status.granted, status.free, status.largest];
    assert_eq!(figures(&status), [100 * GIB, 30 * GIB, 70 * GIB, 70 * GIB].map(Size));
    assert_eq!((status.used_percent, status.volumes), (30, 2));

    // What a unit has that is away counts nowhere.
    let two = sample::unit(&station, "two", &[sample::device(50 * GIB, false)]).await;
    sample::granted(&station, two, "away", 10 * GIB, false, "a").await;
    let status = station.pool_status(&Caller::ADMIN).await.unwrap();
    assert_eq!(figures(&status), [150 * GIB, 40 * GIB, 110 * GIB, 70 * GIB].map(Size));
    station.handle_shutdown(two, station.machine.now()).await.unwrap();
    let status = station.pool_status(&Caller::ADMIN).await.unwrap();
    assert_eq!(figures(&status), [100 * GIB, 30 * GIB, 70 * GIB, 70 * GIB].map(Size));

    // Its volumes stay granted, and nothing new comes to it.
    let change = UnitChange { duty: Some(Duty::Cordoned), ..UnitChange::default() };
    station.change_unit(&Caller::ADMIN, "one", &change).await.unwrap();
    let status = station.pool_status(&Caller::ADMIN).await.unwrap();
    assert_eq!(figures(&status), [100 * GIB, 30 * GIB, 0, 0].map(Size));
}

/// A pool of so many units with four volumes each, half of them draining; every host has eight.
async fn pool(units: usize) -> std::sync::Arc<Station> {
    let station = sample::station().await;
    for number in 0..units {
        let name = format!("unit-{number}");
        let unit = sample::unit(&station, &name, &[sample::device(100 * GIB, false)]).await;
        let host = format!("host-{}", number / 2);
        if number % 2 == 0 {
            let iqn = format!("iqn.2026-11.test:{host}");
            let ask = HostRequest { name: host.clone(), iqn, quota: None, mutual: false };
            station.add_host(&Caller::ADMIN, ask).await.unwrap();
            let change = UnitChange { duty: Some(Duty::Draining), ..UnitChange::default() };
            station.change_unit(&Caller::ADMIN, &name, &change).await.unwrap();
        }
        for volume in 0..4 {
            let name = format!("v-{number}-{volume}");
            sample::granted(&station, unit, &name, GIB, false, &host).await;
        }
    }
    station
}

/// What each of the passes over a pool looks at.
async fn looked_at(units: usize) -> Vec<(&'static str, u64)> {
    let station = pool(units).await;
    let who = &Caller::ADMIN;
    let mut counts = Vec::new();
    visits::taken();
    station.judge_capacity().await.unwrap();
    counts.push(("judge_capacity", visits::taken()));
    station.judge_health(station.machine.now()).await.unwrap();
    counts.push(("judge_health", visits::taken()));
    // A quarter of the hosts has failed, and their volumes wait for units that answer nobody.
    for number in (0..units / 2).step_by(4) {
        let (failed, spare) = (format!("host-{}", number + 2), format!("host-{number}"));
        station.take_over(who, &failed, &spare).await.unwrap();
    }
    station.advance_takeovers().await.unwrap();
    visits::taken();
    station.advance_takeovers().await.unwrap();
    counts.push(("advance_takeovers", visits::taken()));
    station.pool_status(who).await.unwrap();
    counts.push(("pool_status", visits::taken()));
    station.volumes(who).await.unwrap();
    counts.push(("volumes", visits::taken()));
    station.units(who).await.unwrap();
    counts.push(("units", visits::taken()));
    station.hosts(who).await.unwrap();
    counts.push(("hosts", visits::taken()));
    station.jobs(who).await.unwrap();
    counts.push(("jobs", visits::taken()));
    station.doctor(who).await.unwrap();
    counts.push(("doctor", visits::taken()));
    counts
}

#[tokio::test]
async fn a_pool_twice_as_large_is_twice_as_much_to_look_at() {
    let (small, large) = (looked_at(8).await, looked_at(16).await);
    for ((pass, few), (_, many)) in small.into_iter().zip(large) {
        assert!(many <= 2 * few, "{pass}: {few}, then {many}");
        // What has been moved on its way is the failed host's no more.
        let timer = pass.starts_with("judge") || pass == "advance_takeovers";
        assert_eq!(few == 0, timer, "{pass}: a timer looks at no volume, and a list at each");
    }
}

//! What the allocator gets to see: the units' reports, less what records have claimed and units do
//! not report yet.

use std::time::Instant;

use outband_pool_api::Duty;

use crate::allocate::{IdleVolume, Pool, Unfit, UnitSpace};
use crate::app::LiveUnit;
use crate::capacity::sum;
use crate::health::Health;
use crate::reconcile::find;
use crate::records::{Stored, UnitRecord, VolumeRecord, Wish};
use crate::unit::{Readiness, UnitView};

use super::Live;

pub(super) fn pool(
    units: &[Stored<UnitRecord>],
    volumes: &[Stored<VolumeRecord>],
    live: &Live,
    host: &str,
    (now, seconds): (Instant, u64),
) -> Pool {
    let live = live.all();
    let views: Vec<&UnitView> = live.values().filter_map(|unit| unit.view.as_ref()).collect();
    let space = |unit: &Stored<UnitRecord>| {
        let live = live.get(&unit.record.id);
        unit_space(&unit.record, live, volumes, &views, host, (now, seconds))
    };
    Pool { units: units.iter().map(space).collect() }
}

fn unit_space(
    unit: &UnitRecord,
    live: Option<&LiveUnit>,
    volumes: &[Stored<VolumeRecord>],
    views: &[&UnitView],
    host: &str,
    (now, seconds): (Instant, u64),
) -> UnitSpace {
    let health = live.map_or(Health::Down, |live| live.pulse.health(now));
    let seen = live.and_then(|live| live.view.as_ref());
    let unread = seen.is_none().then_some(Unfit::Unread);
    let none = UnitView::default();
    let view = seen.unwrap_or(&none);
    let here = || volumes.iter().map(|volume| &volume.record).filter(|v| v.unit == unit.id);
    let claimed = |volatile: bool| -> u64 {
        sum(here().filter(|volume| volume.volatile == volatile).map(|v| unreported(v, view)))
    };
    let held = |volume: &&VolumeRecord| {
        volume.holder.as_ref().is_some_and(|holder| holder.host == host)
            && volume.wish == Wish::Granted
    };
    UnitSpace {
        id: unit.id,
        name: unit.name.clone(),
        unfit: unfit(unit, health, seconds).or(unread),
        labels: unit.labels.clone(),
        free: free(view, false).saturating_sub(claimed(false)),
        free_volatile: free(view, true).saturating_sub(claimed(true)),
        volumes_of_host: u32::try_from(here().filter(held).count()).unwrap_or(u32::MAX),
        idle: idle(view, volumes, views),
    }
}

/// Why nothing new may be placed on a unit.
fn unfit(unit: &UnitRecord, health: Health, seconds: u64) -> Option<Unfit> {
    Some(match (health, unit.duty) {
        _ if !unit.approved => Unfit::Pending,
        _ if !unit.enrolled => Unfit::NotEnrolled,
        (Health::Left, _) => Unfit::Left,
        (Health::Down, _) => Unfit::Down,
        (Health::Suspect, _) => Unfit::Suspect,
        (Health::Up, Duty::Cordoned) => Unfit::Cordoned,
        (Health::Up, Duty::Draining) => Unfit::Draining,
        (Health::Up, Duty::Maintenance) => Unfit::Maintenance,
        (Health::Up, Duty::Spare) => Unfit::Spare,
        _ if unit.quarantined_until.is_some_and(|until| seconds < until) => Unfit::Quarantined,
        (Health::Up, Duty::Active) => return None,
    })
}

pub(super) fn free(view: &UnitView, volatile: bool) -> u64 {
    let devices = view.devices.iter();
    sum(devices.filter(|device| device.volatile == volatile && device.healthy).map(|d| d.free))
}

/// Space that a record claims and the unit still counts as free.
fn unreported(volume: &VolumeRecord, view: &UnitView) -> u64 {
    match (find(volume, view), volume.wish) {
        (_, Wish::Deleted) => 0,
        // It has been there: what is missing is not free space.
        (None, _) if volume.place.is_some() => 0,
        (None, _) => volume.size,
        (Some(seen), _) => volume.size.saturating_sub(seen.size),
    }
}

/// Volumes no host was ever given, which no record names and no other unit reports too.
fn idle(view: &UnitView, volumes: &[Stored<VolumeRecord>], views: &[&UnitView]) -> Vec<IdleVolume> {
    let known = |name: &str| volumes.iter().any(|volume| volume.record.name == name);
    let alone = |name: &str, id| {
        let all = views.iter().flat_map(|view| &view.volumes);
        all.filter(|other| other.name == name || other.id == id).count() == 1
    };
    let idle = view.volumes.iter().filter(|volume| {
        volume.is_untouched()
            && volume.readiness == Readiness::Online
            && !known(&volume.name)
            && alone(&volume.name, volume.id)
    });
    idle.map(|volume| IdleVolume {
        id: volume.id,
        name: volume.name.clone(),
        size: volume.size,
        block_size: volume.block_size,
        volatile: volume.volatile,
        allow_sanitize: volume.allow_sanitize,
    })
    .collect()
}

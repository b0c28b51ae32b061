//! What the allocator gets to see: the units' reports, less what records have claimed and units do
//! not report yet.

use std::time::Instant;

use outband_pool_api::Duty;

use super::index::{Recorded, Reported};
use super::{Live, LiveUnit};
use crate::allocate::{IdleVolume, Pool, Unfit, UnitSpace};
use crate::capacity::sum;
use crate::health::Health;
use crate::records::{Stored, UnitRecord, VolumeRecord, Wish};
use crate::unit::{Readiness, UnitView};
use crate::visits::visit;

pub(super) fn pool(
    units: &[Stored<UnitRecord>],
    volumes: &[Stored<VolumeRecord>],
    live: &Live,
    host: &str,
    times: (Instant, u64),
) -> Pool {
    let live = live.all();
    let (recorded, reported) = (Recorded::of(volumes), Reported::of(&live));
    let at = At { recorded, reported, host, times };
    let space = |unit: &Stored<UnitRecord>| at.unit(&unit.record, live.get(&unit.record.id));
    Pool { units: units.iter().map(space).collect() }
}

/// What the space of every unit is judged by.
struct At<'a> {
    recorded: Recorded<'a>,
    reported: Reported<'a>,
    /// Whose volumes are counted.
    host: &'a str,
    /// Of this machine and of the day.
    times: (Instant, u64),
}

impl<'a> At<'a> {
    fn unit(&self, unit: &UnitRecord, live: Option<&'a LiveUnit>) -> UnitSpace {
        let (now, seconds) = self.times;
        let health = live.map_or(Health::Down, |live| live.pulse.health(now));
        let view = live.and_then(|live| live.view.as_deref());
        let unread = view.is_none().then_some(Unfit::Unread);
        let free = |volatile| {
            let there = view.map_or(0, |view| free(view, volatile));
            there.saturating_sub(self.claimed(unit, volatile))
        };
        let held = |volume: &&VolumeRecord| {
            volume.holder.as_ref().is_some_and(|holder| holder.host == self.host)
                && volume.wish == Wish::Granted
        };
        let of_host = self.recorded.on(unit.id).filter(held).count();
        UnitSpace {
            id: unit.id,
            name: unit.name.clone(),
            unfit: unfit(unit, health, seconds).or(unread),
            labels: unit.labels.clone(),
            free: free(false),
            free_volatile: free(true),
            volumes_of_host: u32::try_from(of_host).unwrap_or(u32::MAX),
            idle: view.map(|view| self.idle(view)).unwrap_or_default(),
        }
    }

    fn claimed(&self, unit: &UnitRecord, volatile: bool) -> u64 {
        let here = self.recorded.on(unit.id).filter(|volume| volume.volatile == volatile);
        sum(here.map(|volume| self.unreported(volume)))
    }

    /// Space that a record claims and the unit still counts as free.
    fn unreported(&self, volume: &VolumeRecord) -> u64 {
        match (self.reported.find(volume), volume.wish) {
            (_, Wish::Deleted) => 0,
            // It has been there: what is missing is not free space.
            (None, _) if volume.place.is_some() => 0,
            (None, _) => volume.size,
            (Some(seen), _) => volume.size.saturating_sub(seen.size),
        }
    }

    /// Volumes no host was ever given, which no record names and no other unit reports too.
    fn idle(&self, view: &'a UnitView) -> Vec<IdleVolume> {
        let idle = view.volumes.iter().inspect(|volume| visit(*volume)).filter(|volume| {
            volume.is_untouched()
                && volume.readiness == Readiness::Online
                && self.recorded.named(&volume.name).is_none()
                && self.reported.is_alone(volume)
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

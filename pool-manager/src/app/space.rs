//! What the allocator gets to see: the units' reports, less what records have claimed and units do
//! not report yet. Each unit's is worked out anew only when its report or a record of a volume there
//! has changed, so that a placement in a large pool looks at no volume that has nothing to do with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use outband_pool_api::Duty;
use uuid::Uuid;

use super::Live;
use super::live::{LiveUnit, Reports};
use crate::allocate::{IdleVolume, Pool, Unfit, UnitSpace};
use crate::book::Pages;
use crate::capacity::sum;
use crate::health::Health;
use crate::reconcile::find_in;
use crate::records::{Stored, UnitRecord, VolumeRecord, Wish};
use crate::unit::{Readiness, UnitView, VolumeIndex};
use crate::visits::visit;

/// The pool as the host would see it, whose volumes are counted; nobody's without one.
pub(super) fn pool(pages: &Pages, live: &Live, host: Option<&str>, times: (Instant, u64)) -> Pool {
    let mut counts: BTreeMap<Uuid, u32> = BTreeMap::new();
    for volume in host.into_iter().flat_map(|host| pages.volumes_of(host)) {
        visit(&**volume);
        if volume.record.wish == Wish::Granted {
            *counts.entry(volume.record.unit).or_default() += 1;
        }
    }
    let mut reports = live.reports();
    let units = pages.units().all();
    let space = |unit: &Arc<Stored<UnitRecord>>| {
        let mut space = of_unit(pages, &mut reports, unit, times);
        space.volumes_of_host = counts.get(&space.id).copied().unwrap_or_default();
        space
    };
    Pool { units: units.map(space).collect() }
}

/// Free on one unit: lasting, and memory.
pub(super) fn room(pages: &Pages, live: &Live, unit: Uuid, times: (Instant, u64)) -> (u64, u64) {
    let space = pages.unit(unit).map(|unit| of_unit(pages, &mut live.reports(), unit, times));
    space.map_or((0, 0), |space| (space.free, space.free_volatile))
}

fn of_unit(
    pages: &Pages,
    reports: &mut Reports,
    stored: &Arc<Stored<UnitRecord>>,
    (now, seconds): (Instant, u64),
) -> UnitSpace {
    let unit = &stored.record;
    let live = reports.units.get_mut(&unit.id);
    let health = live.as_ref().map_or(Health::Down, |live| live.pulse.health(now));
    let space = match live {
        Some(live) => current(pages, live, stored),
        None => Arc::new(Space::of(pages, stored, None)),
    };
    let unread = space.view.is_none().then_some(Unfit::Unread);
    let is_free = |idle: &IdleVolume| {
        pages.volume(&idle.name).is_none() && reports.is_alone(idle.id, &idle.name)
    };
    UnitSpace {
        id: unit.id,
        name: Arc::clone(&space.name),
        unfit: unfit(unit, health, seconds).or(unread),
        labels: Arc::clone(&space.labels),
        free: space.free,
        free_volatile: space.free_volatile,
        volumes_of_host: 0,
        idle: match space.idle.iter().all(is_free) {
            true => Arc::clone(&space.idle),
            false => space.idle.iter().filter(|idle| is_free(idle)).cloned().collect(),
        },
    }
}

/// What was worked out before, if it is still so.
fn current(pages: &Pages, live: &mut LiveUnit, unit: &Arc<Stored<UnitRecord>>) -> Arc<Space> {
    let known = live.space.as_ref().filter(|space| space.is_of(pages, unit, live.view.as_ref()));
    if let Some(space) = known {
        return Arc::clone(space);
    }
    let space = Arc::new(Space::of(pages, unit, live.view.clone()));
    live.space = Some(Arc::clone(&space));
    space
}

/// The space of one unit, and what it was worked out from.
#[derive(Debug)]
pub(super) struct Space {
    /// Of the unit's record, and of those on it.
    revisions: (u64, u64),
    view: Option<Arc<UnitView>>,
    name: Arc<str>,
    labels: Arc<BTreeMap<String, String>>,
    free: u64,
    free_volatile: u64,
    /// Volumes no host was ever given. A record or another unit may still stand for one.
    idle: Arc<[IdleVolume]>,
}

impl Space {
    fn is_of(
        &self,
        pages: &Pages,
        unit: &Stored<UnitRecord>,
        view: Option<&Arc<UnitView>>,
    ) -> bool {
        let same_view = match (&self.view, view) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same_view && self.revisions == (unit.revision, pages.revision_on(unit.record.id))
    }

    fn of(pages: &Pages, unit: &Stored<UnitRecord>, view: Option<Arc<UnitView>>) -> Self {
        let id = unit.record.id;
        let reported = view.as_deref().map(VolumeIndex::of).unwrap_or_default();
        let claimed = |volatile| {
            let here = pages.volumes_on(id).map(|volume| &volume.record).inspect(|v| visit(*v));
            let here = here.filter(|volume| volume.volatile == volatile);
            sum(here.map(|volume| unreported(volume, &reported)))
        };
        let free = |volatile| {
            let there = view.as_deref().map_or(0, |view| free(view, volatile));
            there.saturating_sub(claimed(volatile))
        };
        Self {
            revisions: (unit.revision, pages.revision_on(id)),
            name: unit.record.name.as_str().into(),
            labels: Arc::new(unit.record.labels.clone()),
            free: free(false),
            free_volatile: free(true),
            idle: view.as_deref().map(idle).unwrap_or_default(),
            view,
        }
    }
}

/// Space that a record claims and the unit still counts as free.
fn unreported(volume: &VolumeRecord, reported: &VolumeIndex<'_>) -> u64 {
    match (find_in(volume, reported), volume.wish) {
        (_, Wish::Deleted) => 0,
        // It has been there: what is missing is not free space.
        (None, _) if volume.place.is_some() => 0,
        (None, _) => volume.size,
        (Some(seen), _) => volume.size.saturating_sub(seen.size),
    }
}

fn idle(view: &UnitView) -> Arc<[IdleVolume]> {
    let volumes = view.volumes.iter().inspect(|volume| visit(*volume));
    let idle = volumes
        .filter(|volume| volume.is_untouched() && volume.readiness == Readiness::Online)
        .map(|volume| IdleVolume {
            id: volume.id,
            name: volume.name.clone(),
            size: volume.size,
            block_size: volume.block_size,
            volatile: volume.volatile,
            allow_sanitize: volume.allow_sanitize,
        });
    idle.collect()
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

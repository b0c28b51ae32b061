//! What is known of units only while they say it: pulse, load, last inventory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use outband_pool_api::Load;
use uuid::Uuid;

use super::space::Space;
use crate::health::{Health, Pulse};
use crate::unit::{UnitView, VolumeView};

#[derive(Debug, Default)]
pub struct Live(Mutex<Reports>);

#[derive(Clone, Debug)]
pub struct LiveUnit {
    pub pulse: Pulse,
    /// Which start of the unit it was that was heard last.
    pub incarnation: u64,
    pub load: Option<Load>,
    /// As last pulled; absent until then. Shared: a pass over the pool copies none of it.
    pub(super) view: Option<Arc<UnitView>>,
    /// What was last told of its health, so that a change is told once.
    pub told: Option<Health>,
    /// What its report and the records make of its space, as long as both are the same.
    pub(super) space: Option<Arc<Space>>,
}

impl LiveUnit {
    pub fn view(&self) -> Option<&Arc<UnitView>> {
        self.view.as_ref()
    }

    pub fn handle_heard(&mut self, incarnation: u64, now: Instant) {
        self.pulse.handle_heard(now);
        self.incarnation = incarnation;
    }

    /// What it said of itself last, while it answers.
    pub fn load_at(&self, now: Instant) -> Option<Load> {
        self.load.filter(|_| self.pulse.health(now) == Health::Up)
    }
}

/// All units, and who reports what. A unit that reports a volume twice is counted twice.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) units: BTreeMap<Uuid, LiveUnit>,
    by_name: HashMap<String, Vec<Uuid>>,
    by_id: HashMap<Uuid, Vec<Uuid>>,
}

impl Reports {
    /// Units that report a volume of this name, in their order.
    pub(super) fn with_name(&self, name: &str) -> Vec<Uuid> {
        let mut units = self.by_name.get(name).cloned().unwrap_or_default();
        units.sort_unstable();
        units
    }

    /// Nothing else that is reported has its name or its id.
    pub(super) fn is_alone(&self, id: Uuid, name: &str) -> bool {
        let one = |units: Option<&Vec<Uuid>>| units.is_none_or(|units| units.len() < 2);
        one(self.by_id.get(&id)) && one(self.by_name.get(name))
    }

    fn add(&mut self, unit: Uuid, view: &UnitView) {
        for VolumeView { id, name, .. } in &view.volumes {
            self.by_id.entry(*id).or_default().push(unit);
            self.by_name.entry(name.clone()).or_default().push(unit);
        }
    }

    fn remove(&mut self, unit: Uuid, view: &UnitView) {
        for VolumeView { id, name, .. } in &view.volumes {
            if take_one(self.by_id.get_mut(id), unit) {
                self.by_id.remove(id);
            }
            if take_one(self.by_name.get_mut(name), unit) {
                self.by_name.remove(name);
            }
        }
    }
}

/// Whether none is left.
fn take_one(units: Option<&mut Vec<Uuid>>, unit: Uuid) -> bool {
    units.is_some_and(|units| {
        if let Some(place) = units.iter().position(|one| *one == unit) {
            units.swap_remove(place);
        }
        units.is_empty()
    })
}

impl Live {
    pub(super) fn reports(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A unit from the store, or one that was just heard for the first time.
    pub fn know(&self, id: Uuid, now: Instant, left: bool) {
        self.reports().units.entry(id).or_insert_with(|| LiveUnit {
            pulse: Pulse::unheard(now, left),
            incarnation: 0,
            load: None,
            view: None,
            told: None,
            space: None,
        });
    }

    pub fn forget(&self, id: Uuid) {
        let mut reports = self.reports();
        if let Some(view) = reports.units.remove(&id).and_then(|unit| unit.view) {
            reports.remove(id, &view);
        }
    }

    /// Does nothing to a unit that is not known.
    pub fn change(&self, id: Uuid, change: impl FnOnce(&mut LiveUnit)) {
        if let Some(unit) = self.reports().units.get_mut(&id) {
            change(unit);
        }
    }

    /// Takes in what a unit that is known reports, and answers whether it is its first report.
    pub fn report(&self, id: Uuid, view: &UnitView) -> bool {
        let mut reports = self.reports();
        let Some(unit) = reports.units.get_mut(&id) else {
            return false;
        };
        if unit.view.as_deref() == Some(view) {
            return false;
        }
        let before = unit.view.replace(Arc::new(view.clone()));
        if let Some(before) = &before {
            reports.remove(id, before);
        }
        reports.add(id, view);
        before.is_none()
    }

    pub fn get(&self, id: Uuid) -> Option<LiveUnit> {
        self.reports().units.get(&id).cloned()
    }

    pub fn all(&self) -> BTreeMap<Uuid, LiveUnit> {
        self.reports().units.clone()
    }

    /// A unit, and those that report the volume.
    pub(super) fn about(&self, unit: Uuid, volume: Option<Uuid>) -> BTreeMap<Uuid, LiveUnit> {
        let reports = self.reports();
        let with = volume.and_then(|volume| reports.by_id.get(&volume));
        let units = with.into_iter().flatten().chain([&unit]);
        units.filter_map(|unit| Some((*unit, reports.units.get(unit)?.clone()))).collect()
    }

    /// What is reported under this name, with the units that do, in their order.
    pub fn named(&self, name: &str) -> Vec<(Uuid, Arc<UnitView>)> {
        let reports = self.reports();
        let view = |unit: Uuid| Some((unit, Arc::clone(reports.units.get(&unit)?.view.as_ref()?)));
        let mut units = reports.with_name(name);
        units.dedup();
        units.into_iter().filter_map(view).collect()
    }

    /// What units that answer say of their load, together.
    pub fn load(&self, now: Instant) -> Load {
        self.reports().units.values().filter_map(|unit| unit.load_at(now)).sum()
    }

    pub fn health(&self, id: Uuid, now: Instant) -> Health {
        self.reports().units.get(&id).map_or(Health::Down, |unit| unit.pulse.health(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const KNOWN: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];

    #[test]
    fn who_reports_what_follows_the_reports() {
        let live = Live::default();
        for unit in KNOWN {
            live.know(unit, Instant::now(), false);
        }
        let [one, two] = KNOWN;
        let view = |names: &[&str]| UnitView {
            devices: Vec::new(),
            volumes: names.iter().map(|name| sample::seen(name)).collect(),
        };
        let both = view(&["a", "b"]);
        assert!(live.report(one, &both), "its first");
        assert!(!live.report(one, &both));
        assert!(live.report(two, &UnitView { devices: Vec::new(), ..both.clone() }));
        let alone = |name: &str| {
            let id = both.volume_named(name).unwrap().id;
            live.reports().is_alone(id, name)
        };
        let units = |name: &str| live.reports().with_name(name);
        assert_eq!((units("a"), alone("a")), (vec![one, two], false));
        // Another volume of the same name is a twin, too.
        live.report(two, &view(&["a"]));
        assert_eq!((units("a"), alone("a")), (vec![one, two], false));
        assert_eq!((units("b"), alone("b")), (vec![one], true));
        live.forget(two);
        assert_eq!((units("a"), alone("a")), (vec![one], true));
        live.report(one, &view(&[]));
        assert_eq!((units("a"), units("b")), (vec![], vec![]));
        assert!(!live.report(two, &both), "it is not known any more");
    }
}

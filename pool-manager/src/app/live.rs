//! What is known of units only while they say it: pulse, load, last inventory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use outband_pool_api::Load;
use uuid::Uuid;

use crate::health::{Health, Pulse};
use crate::unit::UnitView;

#[derive(Debug, Default)]
pub struct Live(Mutex<BTreeMap<Uuid, LiveUnit>>);

#[derive(Clone, Debug)]
pub struct LiveUnit {
    pub pulse: Pulse,
    pub load: Option<Load>,
    /// As last pulled; absent until then. Shared: a pass over the pool copies none of it.
    pub view: Option<Arc<UnitView>>,
    /// What was last told of its health, so that a change is told once.
    pub told: Option<Health>,
}

impl LiveUnit {
    /// What it said of itself last, while it answers.
    pub fn load_at(&self, now: Instant) -> Option<Load> {
        self.load.filter(|_| self.pulse.health(now) == Health::Up)
    }
}

impl Live {
    fn units(&self) -> MutexGuard<'_, BTreeMap<Uuid, LiveUnit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A unit from the store, or one that was just heard for the first time.
    pub fn know(&self, id: Uuid, now: Instant, left: bool) {
        self.units().entry(id).or_insert_with(|| LiveUnit {
            pulse: Pulse::unheard(now, left),
            load: None,
            view: None,
            told: None,
        });
    }

    pub fn forget(&self, id: Uuid) {
        self.units().remove(&id);
    }

    /// Does nothing to a unit that is not known.
    pub fn change(&self, id: Uuid, change: impl FnOnce(&mut LiveUnit)) {
        if let Some(unit) = self.units().get_mut(&id) {
            change(unit);
        }
    }

    pub fn get(&self, id: Uuid) -> Option<LiveUnit> {
        self.units().get(&id).cloned()
    }

    pub fn all(&self) -> BTreeMap<Uuid, LiveUnit> {
        self.units().clone()
    }

    /// What units that answer say of their load, together.
    pub fn load(&self, now: Instant) -> Load {
        self.units().values().filter_map(|unit| unit.load_at(now)).sum()
    }

    pub fn health(&self, id: Uuid, now: Instant) -> Health {
        self.units().get(&id).map_or(Health::Down, |unit| unit.pulse.health(now))
    }
}

//! Records and reports, read once for whatever is to be made of them.

use std::collections::BTreeMap;
use std::time::Instant;

use outband_pool_api::UnitState;
use uuid::Uuid;

use super::{LiveUnit, Station};
use crate::capacity::Space;
use crate::health::Health;
use crate::records::{
    HOSTS, HostRecord, Stored, UNITS, UnitRecord, VOLUMES, VolumeRecord, host_key, load, load_all,
    unit_key,
};
use crate::store::StoreError;

/// What is needed to show volumes and units, read once.
pub(super) struct Read {
    pub(super) units: Vec<Stored<UnitRecord>>,
    pub(super) volumes: Vec<Stored<VolumeRecord>>,
    pub(super) hosts: BTreeMap<String, HostRecord>,
    pub(super) live: BTreeMap<Uuid, LiveUnit>,
    pub(super) now: Instant,
    /// Time of day, since 1970.
    pub(super) seconds: u64,
}

impl Read {
    /// Of the whole pool.
    pub(super) async fn all(station: &Station) -> Result<Self, StoreError> {
        let units = load_all::<UnitRecord>(&station.store, UNITS).await?;
        let volumes = load_all::<VolumeRecord>(&station.store, VOLUMES).await?;
        let hosts = load_all::<HostRecord>(&station.store, HOSTS).await?;
        Ok(Self::of(station, units, volumes, hosts))
    }

    /// Of units alone.
    pub(super) async fn units(station: &Station) -> Result<Self, StoreError> {
        let units = load_all::<UnitRecord>(&station.store, UNITS).await?;
        Ok(Self::of(station, units, Vec::new(), Vec::new()))
    }

    /// Of as much as one volume needs.
    pub(super) async fn about(
        station: &Station,
        volume: Stored<VolumeRecord>,
    ) -> Result<Self, StoreError> {
        let VolumeRecord { id, unit: home, holder, .. } = &volume.record;
        let (id, home) = (*id, *home);
        let unit = load::<UnitRecord>(&station.store, &unit_key(home)).await?;
        let host = match holder {
            Some(holder) => load::<HostRecord>(&station.store, &host_key(&holder.host)).await?,
            None => None,
        };
        let (units, hosts) = (unit.into_iter().collect(), host.into_iter().collect());
        let mut read = Self::of(station, units, vec![volume], hosts);
        let reports = |live: &LiveUnit| Some(live.view.as_ref()?.volume(id?)?.id);
        read.live.retain(|unit, live| *unit == home || reports(live).is_some());
        Ok(read)
    }

    fn of(
        station: &Station,
        units: Vec<Stored<UnitRecord>>,
        volumes: Vec<Stored<VolumeRecord>>,
        hosts: Vec<Stored<HostRecord>>,
    ) -> Self {
        Self {
            units,
            volumes,
            hosts: hosts.into_iter().map(|host| (host.record.name.clone(), host.record)).collect(),
            live: station.live.all(),
            now: station.machine.now(),
            seconds: station.seconds(),
        }
    }

    pub(super) fn unit_state(&self, record: &UnitRecord) -> UnitState {
        let live = self.live.get(&record.id);
        let health = live.map_or(Health::Down, |live| live.pulse.health(self.now));
        let reported = live.is_some_and(|live| live.view.is_some());
        match health {
            _ if !record.approved => UnitState::Pending,
            Health::Left => UnitState::Left,
            Health::Down => UnitState::Down,
            Health::Suspect => UnitState::Suspect,
            Health::Up if !record.enrolled || !reported => UnitState::Pending,
            Health::Up => UnitState::Joined,
        }
    }

    pub(super) fn is_joined(&self, unit: &UnitRecord) -> bool {
        self.unit_state(unit) == UnitState::Joined
    }

    /// Lasting media of the units that are joined.
    pub(super) fn space(&self) -> Space {
        let joined = self.units.iter().filter(|unit| self.is_joined(&unit.record));
        let views = joined.filter_map(|unit| self.live.get(&unit.record.id)?.view.as_deref());
        views.map(Space::lasting).sum()
    }
}

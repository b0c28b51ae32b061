//! Records and reports, read once for whatever is to be made of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use outband_pool_api::UnitState;
use uuid::Uuid;

use super::{LiveUnit, Station};
use crate::capacity::Space;
use crate::health::Health;
use crate::records::{HostRecord, Stored, UnitRecord, VolumeRecord, load_all};
use crate::store::StoreError;

/// What is needed to show volumes and units, read once.
pub(super) struct Read {
    pub(super) units: Vec<Arc<Stored<UnitRecord>>>,
    pub(super) volumes: Vec<Arc<Stored<VolumeRecord>>>,
    pub(super) hosts: BTreeMap<String, Arc<Stored<HostRecord>>>,
    pub(super) live: BTreeMap<Uuid, LiveUnit>,
    pub(super) now: Instant,
    /// Time of day, since 1970.
    pub(super) seconds: u64,
}

impl Read {
    /// Of the whole pool.
    pub(super) async fn all(station: &Station) -> Result<Self, StoreError> {
        let units = load_all::<UnitRecord>(&station.store).await?;
        let volumes = load_all::<VolumeRecord>(&station.store).await?;
        let hosts = load_all::<HostRecord>(&station.store).await?;
        Ok(Self::of(station, units, volumes, hosts))
    }

    /// Of units alone.
    pub(super) async fn units(station: &Station) -> Result<Self, StoreError> {
        let units = load_all::<UnitRecord>(&station.store).await?;
        Ok(Self::of(station, units, Vec::new(), Vec::new()))
    }

    /// Of one unit and what is to be on it.
    pub(super) async fn unit(station: &Station, id: Uuid) -> Result<Self, StoreError> {
        let (unit, volumes) = {
            let pages = station.store.pages().await?;
            (pages.unit(id).cloned(), pages.volumes_on(id).cloned().collect())
        };
        let live = station.live.get(id).map(|live| (id, live)).into_iter().collect();
        Ok(Self::with(station, unit.into_iter().collect(), volumes, Vec::new(), live))
    }

    /// Of as much as one volume needs.
    pub(super) async fn about(
        station: &Station,
        volume: Stored<VolumeRecord>,
    ) -> Result<Self, StoreError> {
        let VolumeRecord { id, unit: home, holder, .. } = &volume.record;
        let (unit, host) = {
            let pages = station.store.pages().await?;
            let host = holder.as_ref().and_then(|holder| pages.host(&holder.host));
            (pages.unit(*home).cloned(), host.cloned())
        };
        let live = station.live.about(*home, *id);
        let (units, hosts) = (unit.into_iter().collect(), host.into_iter().collect());
        Ok(Self::with(station, units, vec![Arc::new(volume)], hosts, live))
    }

    fn of(
        station: &Station,
        units: Vec<Arc<Stored<UnitRecord>>>,
        volumes: Vec<Arc<Stored<VolumeRecord>>>,
        hosts: Vec<Arc<Stored<HostRecord>>>,
    ) -> Self {
        Self::with(station, units, volumes, hosts, station.live.all())
    }

    fn with(
        station: &Station,
        units: Vec<Arc<Stored<UnitRecord>>>,
        volumes: Vec<Arc<Stored<VolumeRecord>>>,
        hosts: Vec<Arc<Stored<HostRecord>>>,
        live: BTreeMap<Uuid, LiveUnit>,
    ) -> Self {
        Self {
            units,
            volumes,
            hosts: hosts.into_iter().map(|host| (host.record.name.clone(), host)).collect(),
            live,
            now: station.machine.now(),
            seconds: station.seconds(),
        }
    }

    pub(super) fn unit_state(&self, record: &UnitRecord) -> UnitState {
        let live = self.live.get(&record.id);
        let health = live.map_or(Health::Down, |live| live.pulse.health(self.now));
        let reported = live.is_some_and(|live| live.view().is_some());
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
        let views = joined.filter_map(|unit| Some(&**self.live.get(&unit.record.id)?.view()?));
        views.map(Space::lasting).sum()
    }
}

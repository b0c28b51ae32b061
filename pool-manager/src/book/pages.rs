//! What the book holds, and how a change gets into it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::table::Table;
use crate::records::{
    AuditHead, HOSTS, HostRecord, JOBS, JobRecord, JoinTokenRecord, RequestRecord, Stored,
    TokenRecord, UNITS, UnitRecord, VOLUMES, VolumeRecord, decode, host_key, unit_key, volume_key,
};
use crate::store::{Change, Entry, StoreError};

pub(super) const PREFIXES: [&str; 4] = [UNITS, VOLUMES, HOSTS, JOBS];

/// What is stored as a record of its own.
pub trait Record: DeserializeOwned + Clone {
    /// `None`: the book does not keep these.
    fn table(_: &Pages) -> Option<&Table<Self>> {
        None
    }
}

impl Record for UnitRecord {
    fn table(pages: &Pages) -> Option<&Table<Self>> {
        Some(&pages.units)
    }
}

impl Record for VolumeRecord {
    fn table(pages: &Pages) -> Option<&Table<Self>> {
        Some(&pages.volumes)
    }
}

impl Record for HostRecord {
    fn table(pages: &Pages) -> Option<&Table<Self>> {
        Some(&pages.hosts)
    }
}

impl Record for JobRecord {
    fn table(pages: &Pages) -> Option<&Table<Self>> {
        Some(&pages.jobs)
    }
}

impl Record for AuditHead {}
impl Record for JoinTokenRecord {}
impl Record for RequestRecord {}
impl Record for TokenRecord {}

#[derive(Debug, Default)]
pub struct Pages {
    units: Table<UnitRecord>,
    volumes: Table<VolumeRecord>,
    hosts: Table<HostRecord>,
    jobs: Table<JobRecord>,
    /// Volumes by the unit that they are to be on.
    on: BTreeMap<Uuid, Here>,
    /// Volumes by the host that they were last given to.
    held: BTreeMap<String, BTreeSet<String>>,
    concerned: BTreeSet<Uuid>,
}

#[derive(Debug, Default)]
struct Here {
    keys: BTreeSet<String>,
    /// The last change to any of them.
    revision: u64,
}

impl Pages {
    pub fn units(&self) -> &Table<UnitRecord> {
        &self.units
    }

    pub fn unit(&self, id: Uuid) -> Option<&Arc<Stored<UnitRecord>>> {
        self.units.get(&unit_key(id))
    }

    pub fn volume(&self, name: &str) -> Option<&Arc<Stored<VolumeRecord>>> {
        self.volumes.get(&volume_key(name))
    }

    pub fn host(&self, name: &str) -> Option<&Arc<Stored<HostRecord>>> {
        self.hosts.get(&host_key(name))
    }

    /// Those that are to be on the unit, in the order of their names.
    pub fn volumes_on(&self, unit: Uuid) -> impl Iterator<Item = &Arc<Stored<VolumeRecord>>> {
        let keys = self.on.get(&unit).into_iter().flat_map(|here| &here.keys);
        keys.filter_map(|key| self.volumes.get(key))
    }

    /// Differs whenever those on the unit differ.
    pub fn revision_on(&self, unit: Uuid) -> u64 {
        self.on.get(&unit).map_or(0, |here| here.revision)
    }

    /// All that is there may differ from what was there when another book was read.
    pub(super) fn revise(&mut self, revision: u64) {
        for here in self.on.values_mut() {
            here.revision = here.revision.max(revision);
        }
    }

    /// Those that were last given to the host, whether or not it still has them.
    pub fn volumes_of(&self, host: &str) -> impl Iterator<Item = &Arc<Stored<VolumeRecord>>> {
        let keys = self.held.get(host).into_iter().flatten();
        keys.filter_map(|key| self.volumes.get(key))
    }

    /// Takes in what was listed.
    pub(super) fn read(&mut self, entry: Entry) -> Result<(), StoreError> {
        match kind(&entry.key) {
            Some(Kind::Unit) => self.put_unit(decode(entry)?),
            Some(Kind::Volume) => self.put_volume(decode(entry)?),
            Some(Kind::Host) => self.hosts.put(Arc::new(decode(entry)?)),
            Some(Kind::Job) => self.jobs.put(Arc::new(decode(entry)?)),
            None => {}
        }
        Ok(())
    }

    /// Takes in a change. One that cannot be read stands for nothing.
    pub(super) fn take(&mut self, change: Change) {
        let Some(kind) = kind(&change.key) else {
            return;
        };
        // One that was listed after it had happened.
        if self.revision(&kind, &change.key).is_some_and(|known| known >= change.revision) {
            return;
        }
        self.remove(&kind, &change.key, change.revision);
        let Change { key, value, revision } = change;
        if let Some(value) = value
            && let Err(error) = self.read(Entry { key, value, revision })
        {
            tracing::error!(error = &error as &dyn std::error::Error, "a record is left out");
        }
    }

    fn revision(&self, kind: &Kind, key: &str) -> Option<u64> {
        match kind {
            Kind::Unit => self.units.get(key).map(|row| row.revision),
            Kind::Volume => self.volumes.get(key).map(|row| row.revision),
            Kind::Host => self.hosts.get(key).map(|row| row.revision),
            Kind::Job => self.jobs.get(key).map(|row| row.revision),
        }
    }

    fn remove(&mut self, kind: &Kind, key: &str, revision: u64) {
        match kind {
            Kind::Unit => {
                self.concerned.extend(self.units.remove(key).map(|row| row.record.id));
            }
            Kind::Volume => self.remove_volume(key, revision),
            Kind::Host => drop(self.hosts.remove(key)),
            Kind::Job => drop(self.jobs.remove(key)),
        }
    }

    fn put_unit(&mut self, row: Stored<UnitRecord>) {
        self.concerned.insert(row.record.id);
        self.units.put(Arc::new(row));
    }

    fn put_volume(&mut self, row: Stored<VolumeRecord>) {
        let unit = row.record.unit;
        let here = self.on.entry(unit).or_default();
        here.keys.insert(row.key.clone());
        here.revision = here.revision.max(row.revision);
        if let Some(holder) = &row.record.holder {
            self.held.entry(holder.host.clone()).or_default().insert(row.key.clone());
        }
        self.concerned.insert(unit);
        self.volumes.put(Arc::new(row));
    }

    fn remove_volume(&mut self, key: &str, revision: u64) {
        let Some(row) = self.volumes.remove(key) else {
            return;
        };
        let unit = row.record.unit;
        if let Some(here) = self.on.get_mut(&unit) {
            here.keys.remove(key);
            here.revision = revision;
        }
        if let Some(holder) = &row.record.holder
            && let Some(keys) = self.held.get_mut(&holder.host)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.held.remove(&holder.host);
            }
        }
        self.concerned.insert(unit);
    }

    pub(super) fn concerned(&mut self) -> BTreeSet<Uuid> {
        std::mem::take(&mut self.concerned)
    }

    /// What has changed is not known.
    pub(super) fn concern_all(&mut self) {
        self.concerned = self.units.all().map(|unit| unit.record.id).collect();
    }

    pub(super) fn concern_those_of(&mut self, before: &Self) {
        self.concerned.extend(&before.concerned);
        self.concerned.extend(before.units.all().map(|unit| unit.record.id));
    }
}

enum Kind {
    Unit,
    Volume,
    Host,
    Job,
}

fn kind(key: &str) -> Option<Kind> {
    let is = |prefix: &str| key.starts_with(prefix);
    Some(match () {
        () if is(UNITS) => Kind::Unit,
        () if is(VOLUMES) => Kind::Volume,
        () if is(HOSTS) => Kind::Host,
        () if is(JOBS) => Kind::Job,
        () => return None,
    })
}

//! Records and reports as the API shows them.

use std::collections::BTreeMap;
use std::time::Instant;

use outband_pool_api::{
    Connection, Device, Duty, Job, JobKind, JobState, Problem, Progress, Size, Unit, UnitState,
    Volume, VolumeState, WritePolicy,
};
use uuid::Uuid;

use super::volumes::is_reported;
use super::{Action, Caller, LiveUnit, Station};
use crate::capacity::sum;
use crate::health::Health;
use crate::records::{
    HOSTS, HostRecord, JobRecord, Stored, Task, UNITS, UnitRecord, VOLUMES, VolumeRecord, Wish,
    load_all, unit_key, volume_key,
};
use crate::unit::{UnitView, VolumeView};

/// All that is needed to show volumes and units, read once.
pub(super) struct Shown {
    units: BTreeMap<Uuid, UnitRecord>,
    volumes: Vec<VolumeRecord>,
    /// Revisions of records, by key.
    revisions: BTreeMap<String, u64>,
    hosts: BTreeMap<String, HostRecord>,
    live: BTreeMap<Uuid, LiveUnit>,
    now: Instant,
    seconds: u64,
}

impl Shown {
    pub(super) async fn load(station: &Station) -> Result<Self, Problem> {
        let units = load_all::<UnitRecord>(&station.store, UNITS).await?;
        let volumes = load_all::<VolumeRecord>(&station.store, VOLUMES).await?;
        let hosts = load_all::<HostRecord>(&station.store, HOSTS).await?;
        let plain = |volume: Stored<VolumeRecord>| volume.record;
        let units_at = units.iter().map(|unit| (unit.key.clone(), unit.revision));
        let volumes_at = volumes.iter().map(|volume| (volume.key.clone(), volume.revision));
        Ok(Self {
            revisions: units_at.chain(volumes_at).collect(),
            units: units.into_iter().map(|unit| (unit.record.id, unit.record)).collect(),
            volumes: volumes.into_iter().map(plain).collect(),
            hosts: hosts.into_iter().map(|host| (host.record.name.clone(), host.record)).collect(),
            live: station.live.all(),
            now: station.machine.now(),
            seconds: station.seconds(),
        })
    }

    /// Those of the station's records, and for who may see all those that only units know.
    pub(super) fn volumes(&self, who: &Caller) -> Vec<Volume> {
        let seen = self.volumes.iter().filter(|volume| who.may_see(volume));
        let mut all: Vec<Volume> = seen.map(|volume| self.volume(who, volume)).collect();
        if who.may(Action::SeeAnyVolume) {
            all.extend(self.unrecorded());
        }
        all.sort_by(|one, other| (&one.name, one.unit).cmp(&(&other.name, other.unit)));
        all
    }

    fn revision(&self, key: &str) -> u64 {
        self.revisions.get(key).copied().unwrap_or_default()
    }

    fn volume(&self, who: &Caller, record: &VolumeRecord) -> Volume {
        let place = record.place.as_ref();
        Volume {
            id: record.id.unwrap_or_default(),
            name: record.name.clone(),
            size: Size(record.size),
            state: self.state(record),
            unit: record.unit,
            unit_name: self.unit_name(record.unit),
            host: host_of(record),
            epoch: record.epoch,
            block_size: place.map_or(0, |place| place.block_size),
            write_policy: record.write_policy,
            job: record.job,
            revision: self.revision(&volume_key(&record.name)),
            connection: self.connection(record).filter(|_| who.may(Action::SeeSecrets)),
        }
    }

    fn state(&self, record: &VolumeRecord) -> VolumeState {
        let view = self.view(record.unit);
        let missing = view.is_some_and(|view| !is_reported(record, view));
        match (record.wish, record.settled) {
            (Wish::Deleted, _) => VolumeState::Deleting,
            // Until its unit has said how it is by now.
            _ if record.restored => VolumeState::Pending,
            _ if record.id.is_some_and(|id| self.is_twofold(id)) => VolumeState::Conflict,
            _ if record.place.is_some() && missing => VolumeState::Missing,
            (Wish::Granted, true) => VolumeState::Granted,
            (Wish::Granted, false) => VolumeState::Pending,
            (Wish::Free, true) => VolumeState::Free,
            (Wish::Free, false) => VolumeState::Releasing,
        }
    }

    fn view(&self, unit: Uuid) -> Option<&UnitView> {
        self.live.get(&unit)?.view.as_ref()
    }

    /// A disk was carried to another unit, or copied.
    fn is_twofold(&self, volume: Uuid) -> bool {
        let views = self.live.values().filter_map(|unit| unit.view.as_ref());
        views.filter(|view| view.volume(volume).is_some()).count() > 1
    }

    /// Once the unit has acknowledged: before that there is nothing to connect to.
    fn connection(&self, record: &VolumeRecord) -> Option<Connection> {
        if record.wish != Wish::Granted || !record.settled || record.restored {
            return None;
        }
        let place = record.place.as_ref()?;
        let holder = record.holder.as_ref()?;
        let host = self.hosts.get(&holder.host)?;
        let portals = &self.units.get(&record.unit)?.portals;
        Some(Connection {
            portals: portals.iter().map(ToString::to_string).collect(),
            target: place.target.clone(),
            lun: place.lun,
            start_lba: place.start_lba,
            end_lba: place.end_lba,
            blocks: place.blocks,
            block_size: place.block_size,
            initiator: holder.iqn.clone(),
            chap: host.chap(),
        })
    }

    fn unrecorded(&self) -> Vec<Volume> {
        let recorded = |unit: Uuid, seen: &VolumeView| {
            self.volumes.iter().any(|record| {
                record.id == Some(seen.id)
                    || (record.id.is_none() && record.unit == unit && record.name == seen.name)
            })
        };
        let mut found = Vec::new();
        for (unit, live) in &self.live {
            let volumes = live.view.iter().flat_map(|view| &view.volumes);
            let unknown = volumes.filter(|seen| !recorded(*unit, seen));
            found.extend(unknown.map(|seen| self.unrecorded_volume(*unit, seen)));
        }
        found
    }

    fn unrecorded_volume(&self, unit: Uuid, seen: &VolumeView) -> Volume {
        Volume {
            id: seen.id,
            name: seen.name.clone(),
            size: Size(seen.size),
            state: match () {
                () if self.is_twofold(seen.id) => VolumeState::Conflict,
                () if seen.grants.is_empty() && !seen.partitioned => VolumeState::Free,
                () => VolumeState::Foreign,
            },
            unit,
            unit_name: self.unit_name(unit),
            host: None,
            epoch: seen.floor,
            block_size: seen.block_size,
            write_policy: WritePolicy::Normal,
            job: None,
            revision: 0,
            connection: None,
        }
    }

    fn unit_name(&self, unit: Uuid) -> String {
        self.units.get(&unit).map(|unit| unit.name.clone()).unwrap_or_default()
    }

    /// `others` has at least the parts of a job that is made of several.
    pub(super) fn job(&self, who: &Caller, job: JobRecord, others: &[JobRecord]) -> Job {
        let current = self.volumes.iter().find(|volume| volume.job == Some(job.id));
        let current = current.filter(|volume| who.may_see(volume));
        let done = job.state == JobState::Done;
        let parts: Vec<&JobRecord> =
            others.iter().filter(|part| part.part_of == Some(job.id)).collect();
        let ended = parts.iter().filter(|part| part.state != JobState::Running).count();
        let progress = Progress { done: count(ended), total: count(parts.len()) };
        Job {
            id: job.id,
            kind: job.kind,
            state: job.state,
            volume: job.volume,
            host: job.host,
            phases: job.phases,
            error: job.error,
            created: job.created,
            ended: job.ended,
            actor: job.actor,
            reason: job.reason,
            deadline: job.deadline,
            to: job.task.as_ref().and_then(Task::to).map(str::to_owned),
            retry_of: job.retry_of,
            progress: (job.kind == JobKind::Takeover).then_some(progress),
            parts: parts.into_iter().map(|part| part.id).collect(),
            result: current.filter(|_| done).map(|volume| self.volume(who, volume)),
        }
    }

    pub(super) fn units(&self) -> Vec<Unit> {
        self.units.values().map(|unit| self.unit(unit)).collect()
    }

    fn unit(&self, record: &UnitRecord) -> Unit {
        let live = self.live.get(&record.id);
        let view = live.and_then(|live| live.view.as_ref());
        let devices = view.map(|view| view.devices.as_slice()).unwrap_or_default();
        let lasting = || devices.iter().filter(|device| !device.volatile);
        let heard = live.and_then(|live| live.pulse.heard_ago(self.now));
        let state = self.unit_state(record);
        Unit {
            id: record.id,
            name: record.name.clone(),
            state,
            approved: record.approved,
            portals: record.portals.iter().map(ToString::to_string).collect(),
            api: record.api.to_string(),
            version: record.version.clone(),
            incarnation: record.incarnation,
            total: Size(sum(lasting().map(|device| device.total))),
            free: Size(sum(lasting().map(|device| device.free))),
            volumes: view.map_or(0, |view| count(view.volumes.len())),
            duty: record.duty,
            labels: record.labels.clone(),
            quarantined_until: record.quarantined_until.filter(|until| self.seconds < *until),
            must_leave: self.must_leave(record),
            revision: self.revision(&unit_key(record.id)),
            devices: devices.iter().map(device).collect(),
            load: live.and_then(|live| live.load_at(self.now)),
            heard_seconds_ago: heard.map(|heard| heard.as_secs()),
        }
    }

    fn must_leave(&self, unit: &UnitRecord) -> Vec<String> {
        let here = self.volumes.iter().filter(|volume| volume.unit == unit.id);
        match unit.duty {
            Duty::Draining => here.map(|volume| volume.name.clone()).collect(),
            _ => Vec::new(),
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

    pub(super) fn records(&self) -> impl Iterator<Item = &UnitRecord> {
        self.units.values()
    }

    pub(super) fn host_count(&self) -> usize {
        self.hosts.len()
    }
}

fn device(device: &crate::unit::DeviceView) -> Device {
    Device {
        id: device.id,
        path: device.path.clone(),
        total: Size(device.total),
        free: Size(device.free),
        volatile: device.volatile,
        healthy: device.healthy,
    }
}

fn host_of(record: &VolumeRecord) -> Option<String> {
    let holder = record.holder.as_ref()?;
    let held = record.wish == Wish::Granted || !record.settled;
    held.then(|| holder.host.clone())
}

pub(super) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

//! Records and reports as the API shows them.

use std::collections::BTreeMap;

use outband_pool_api::{
    Connection, Device, Duty, Job, JobKind, JobState, Progress, Size, Unit, Volume, VolumeState,
    WritePolicy,
};
use uuid::Uuid;

use super::index::{Recorded, Reported};
use super::read::Read;
use super::{Action, Caller};
use crate::capacity::{Space, sum};
use crate::records::{JobRecord, Stored, Task, UnitRecord, VolumeRecord, Wish};
use crate::unit::VolumeView;

impl Read {
    pub(super) fn shown(&self) -> Shown<'_> {
        Shown {
            read: self,
            units: self.units.iter().map(|unit| (unit.record.id, &**unit)).collect(),
            recorded: Recorded::of(&self.volumes),
            reported: Reported::of(&self.live),
        }
    }
}

/// What was read, found by what is asked for.
pub(super) struct Shown<'a> {
    read: &'a Read,
    units: BTreeMap<Uuid, &'a Stored<UnitRecord>>,
    recorded: Recorded<'a>,
    reported: Reported<'a>,
}

impl<'a> Shown<'a> {
    /// Those of the station's records, and for who may see all those that only units know.
    pub(super) fn volumes(&self, who: &Caller) -> Vec<Volume> {
        let seen = self.recorded.all().filter(|stored| who.may_see(&stored.record));
        let mut all: Vec<Volume> = seen.map(|stored| self.volume(who, stored)).collect();
        if who.may(Action::SeeAnyVolume) {
            all.extend(self.unclaimed().map(|(unit, seen)| self.unrecorded(unit, seen)));
        }
        all.sort_by(|one, other| (&one.name, one.unit).cmp(&(&other.name, other.unit)));
        all
    }

    /// How many who may see all of them sees.
    pub(super) fn volume_count(&self) -> usize {
        self.recorded.all().count() + self.unclaimed().count()
    }

    /// What units report and no record stands for.
    fn unclaimed(&self) -> impl Iterator<Item = (Uuid, &'a VolumeView)> {
        self.reported.all().filter(|(unit, seen)| !self.recorded.claims(*unit, seen))
    }

    /// The one of the station's records; for who may see all, else one that only a unit knows.
    pub(super) fn volume_named(&self, who: &Caller, name: &str) -> Option<Volume> {
        let stored = self.recorded.named(name).filter(|stored| who.may_see(&stored.record));
        if let Some(stored) = stored {
            return Some(self.volume(who, stored));
        }
        let mut unknown =
            self.reported.named(name).filter(|(unit, seen)| !self.recorded.claims(*unit, seen));
        let (unit, seen) = unknown.next().filter(|_| who.may(Action::SeeAnyVolume))?;
        Some(self.unrecorded(unit, seen))
    }

    /// Bytes on lasting media of joined units that hosts may use.
    pub(super) fn granted(&self) -> u64 {
        let granted = self.recorded.all().filter(|stored| {
            let record = &stored.record;
            !record.volatile
                && self.state(record) == VolumeState::Granted
                && self
                    .units
                    .get(&record.unit)
                    .is_some_and(|unit| self.read.is_joined(&unit.record))
        });
        sum(granted.map(|stored| stored.record.size))
    }

    fn volume(&self, who: &Caller, stored: &Stored<VolumeRecord>) -> Volume {
        let record = &stored.record;
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
            revision: stored.revision,
            connection: self.connection(record).filter(|_| who.may(Action::SeeSecrets)),
        }
    }

    fn state(&self, record: &VolumeRecord) -> VolumeState {
        let is_read = self.read.live.get(&record.unit).is_some_and(|live| live.view().is_some());
        let missing = is_read && self.reported.find(record).is_none();
        match (record.wish, record.settled) {
            (Wish::Deleted, _) => VolumeState::Deleting,
            // Until its unit has said how it is by now.
            _ if record.restored => VolumeState::Pending,
            _ if record.id.is_some_and(|id| self.reported.is_twofold(id)) => VolumeState::Conflict,
            _ if record.place.is_some() && missing => VolumeState::Missing,
            (Wish::Granted, true) => VolumeState::Granted,
            (Wish::Granted, false) => VolumeState::Pending,
            (Wish::Free, true) => VolumeState::Free,
            (Wish::Free, false) => VolumeState::Releasing,
        }
    }

    /// Once the unit has acknowledged: before that there is nothing to connect to.
    fn connection(&self, record: &VolumeRecord) -> Option<Connection> {
        if record.wish != Wish::Granted || !record.settled || record.restored {
            return None;
        }
        let place = record.place.as_ref()?;
        let holder = record.holder.as_ref()?;
        let host = self.read.hosts.get(&holder.host)?;
        let portals = &self.units.get(&record.unit)?.record.portals;
        Some(Connection {
            portals: portals.iter().map(ToString::to_string).collect(),
            target: place.target.clone(),
            lun: place.lun,
            start_lba: place.start_lba,
            end_lba: place.end_lba,
            blocks: place.blocks,
            block_size: place.block_size,
            initiator: holder.iqn.clone(),
            chap: host.record.chap(),
        })
    }

    fn unrecorded(&self, unit: Uuid, seen: &VolumeView) -> Volume {
        Volume {
            id: seen.id,
            name: seen.name.clone(),
            size: Size(seen.size),
            state: match () {
                () if self.reported.is_twofold(seen.id) => VolumeState::Conflict,
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
        self.units.get(&unit).map(|unit| unit.record.name.clone()).unwrap_or_default()
    }

    /// The volume as it is, when the job that made it so is done.
    pub(super) fn result(&self, who: &Caller, job: &JobRecord) -> Option<Volume> {
        let current = self.recorded.of_job(job.id).filter(|_| job.state == JobState::Done);
        let seen = current.filter(|stored| who.may_see(&stored.record))?;
        Some(self.volume(who, seen))
    }

    pub(super) fn units(&self) -> Vec<Unit> {
        self.units.values().map(|unit| self.unit_of(unit)).collect()
    }

    pub(super) fn unit(&self, id: Uuid) -> Option<Unit> {
        self.units.get(&id).map(|unit| self.unit_of(unit))
    }

    fn unit_of(&self, stored: &Stored<UnitRecord>) -> Unit {
        let record = &stored.record;
        let live = self.read.live.get(&record.id);
        let view = live.and_then(|live| live.view().map(|view| &**view));
        let devices = view.map(|view| view.devices.as_slice()).unwrap_or_default();
        let space = view.map(Space::lasting).unwrap_or_default();
        let heard = live.and_then(|live| live.pulse.heard_ago(self.read.now));
        let state = self.read.unit_state(record);
        Unit {
            id: record.id,
            name: record.name.clone(),
            state,
            approved: record.approved,
            portals: record.portals.iter().map(ToString::to_string).collect(),
            api: record.api.to_string(),
            version: record.version.clone(),
            incarnation: record.incarnation,
            total: Size(space.total),
            free: Size(space.free),
            volumes: view.map_or(0, |view| count(view.volumes.len())),
            duty: record.duty,
            labels: record.labels.clone(),
            quarantined_until: record.quarantined_until.filter(|until| self.read.seconds < *until),
            must_leave: self.must_leave(record),
            revision: stored.revision,
            devices: devices.iter().map(device).collect(),
            load: live.and_then(|live| live.load_at(self.read.now)),
            heard_seconds_ago: heard.map(|heard| heard.as_secs()),
        }
    }

    fn must_leave(&self, unit: &UnitRecord) -> Vec<String> {
        match unit.duty {
            Duty::Draining => self.recorded.on(unit.id).map(|volume| volume.name.clone()).collect(),
            _ => Vec::new(),
        }
    }
}

/// `parts`: those of a job that is made of several.
pub(super) fn job(job: &JobRecord, parts: &[&JobRecord], result: Option<Volume>) -> Job {
    let ended = parts.iter().filter(|part| part.state != JobState::Running).count();
    let progress = Progress { done: count(ended), total: count(parts.len()) };
    Job {
        id: job.id,
        kind: job.kind,
        state: job.state,
        volume: job.volume.clone(),
        host: job.host.clone(),
        phases: job.phases.clone(),
        error: job.error.clone(),
        created: job.created,
        sequence: job.sequence,
        ended: job.ended,
        actor: job.actor.clone(),
        reason: job.reason.clone(),
        deadline: job.deadline,
        to: job.task.as_ref().and_then(Task::to).map(str::to_owned),
        retry_of: job.retry_of,
        progress: (job.kind == JobKind::Takeover).then_some(progress),
        parts: parts.iter().map(|part| part.id).collect(),
        result,
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

//! Volumes: grown, given, released, deleted. Each change is one transaction over the
//! volume's record and a job; the reconciler brings it about.

use outband_pool_api::{JobState, Problem, Size, Volume};
use uuid::Uuid;

use super::adopt::unrecorded;
use super::audit::{Change, must_match};
use super::hosts::{may_have_more, within_quota};
use super::jobs::{self, About, Begun};
use super::read::Read;
use super::request::placements;
use super::{Action, Caller, Station, space};
use crate::allocate::{self, EXTENT};
use crate::book::Pages;
use crate::problems;
use crate::reconcile::find;
use crate::records::{
    ATTEMPTS, Holder, HostRecord, JobRecord, PLACEMENTS, Task, Undo, VolumeRecord, Wish, encode,
    host_key, job_key, load, volume_key,
};
use crate::store::{Compare, StoreError, Transaction};
use crate::unit::{UnitView, VolumeView};

impl Station {
    pub(super) fn seen(&self, unit: Uuid, volume: Uuid) -> Option<VolumeView> {
        self.live.get(unit)?.view?.volume(volume).cloned()
    }

    /// The size is the new one, not what is added.
    pub async fn grow_volume(&self, who: &Caller, name: &str, size: Size) -> Result<Uuid, Problem> {
        possible(size)?;
        self.change(who, name, Task::Grow { size: size.0 }, |station, seen| {
            let record = seen.record;
            let size = size.0.checked_next_multiple_of(EXTENT).unwrap_or(u64::MAX);
            if size == record.size {
                return Ok(None);
            }
            if size < record.size {
                return Err(problems::conflict(format!(
                    "\"{}\" has {} already, and volumes do not shrink",
                    record.name,
                    Size(record.size)
                )));
            }
            if !record.settled {
                return Err(problems::busy(&record.name));
            }
            if let Some(host) = seen.holder.filter(|_| record.wish == Wish::Granted) {
                within_quota(host, seen.pages, Some(&record.name), size)?;
            }
            station.must_fit(record, size, station.room_beside(record, seen.pages))?;
            let undo = Undo::Shrink(record.size);
            Ok(Some(VolumeRecord { size, undo, ..record.clone() }))
        })
        .await
    }

    fn must_fit(&self, record: &VolumeRecord, size: u64, room: u64) -> Result<(), Problem> {
        let largest = record.size.saturating_add(room / EXTENT * EXTENT);
        if size <= largest {
            return Ok(());
        }
        let why = allocate::Why::TooLarge { largest, pinned: true };
        Err(problems::no_place(&why, size))
    }

    /// Takes the volume from its host; the volume and its data stay.
    pub async fn release_volume(&self, who: &Caller, name: &str) -> Result<Uuid, Problem> {
        self.change(who, name, Task::Release, |_, seen| match seen.record.wish {
            Wish::Free => Ok(None),
            Wish::Deleted => Err(problems::busy(&seen.record.name)),
            Wish::Granted => {
                let undo = keeping(seen.record);
                Ok(Some(VolumeRecord { wish: Wish::Free, undo, ..seen.record.clone() }))
            }
        })
        .await
    }

    pub async fn delete_volume(&self, who: &Caller, name: &str) -> Result<Uuid, Problem> {
        self.change(who, name, Task::Delete, |_, seen| match seen.record.wish {
            Wish::Deleted => Ok(None),
            Wish::Granted | Wish::Free => {
                let undo = keeping(seen.record);
                Ok(Some(VolumeRecord { wish: Wish::Deleted, undo, ..seen.record.clone() }))
            }
        })
        .await
    }

    /// Gives a free volume, with the data it holds, to a host. That is not a host's to judge.
    pub async fn assign_volume(
        &self,
        who: &Caller,
        name: &str,
        host: &str,
    ) -> Result<Uuid, Problem> {
        who.must(Action::GiveVolumes)?;
        self.change(who, name, Task::Assign { host: host.to_owned() }, |station, seen| {
            match (seen.record.wish, seen.record.settled) {
                (Wish::Granted, _) if seen.is_held_by(host) => Ok(None),
                (Wish::Free, true) => station.given(seen, Undo::Free).map(Some),
                (Wish::Granted, true) => Err(problems::conflict(format!(
                    "\"{0}\" has a host already; release it first, or use outband volume move-host \
                     {0} {host}",
                    seen.record.name
                ))),
                _ => Err(problems::busy(&seen.record.name)),
            }
        })
        .await
    }

    /// Gives a volume to another host. The one that has it is fenced first: a unit that does not
    /// answer is never taken for fenced, and the job waits for it.
    pub async fn move_volume(&self, who: &Caller, name: &str, host: &str) -> Result<Uuid, Problem> {
        who.must(Action::GiveVolumes)?;
        self.change(who, name, Task::Move { host: host.to_owned() }, |station, seen| {
            let record = seen.record;
            match (record.wish, record.settled, &record.holder) {
                (Wish::Granted, ..) if seen.is_held_by(host) => Ok(None),
                (Wish::Granted, true, Some(before)) => {
                    station.given(seen, Undo::Return(before.clone())).map(Some)
                }
                (Wish::Free, true, _) => station.given(seen, Undo::Free).map(Some),
                _ => Err(problems::busy(&record.name)),
            }
        })
        .await
    }

    /// As [`Self::move_volume`], but only what the host `from` still has.
    pub(super) async fn move_volume_from(
        &self,
        who: &Caller,
        name: &str,
        (from, to): (&str, &str),
    ) -> Result<Uuid, Problem> {
        who.must(Action::GiveVolumes)?;
        self.change(who, name, Task::Move { host: to.to_owned() }, |station, seen| {
            let record = seen.record;
            match (record.wish, record.settled, &record.holder) {
                (Wish::Granted, true, Some(before)) if before.host == from => {
                    station.given(seen, Undo::Return(before.clone())).map(Some)
                }
                _ => Err(problems::busy(&record.name)),
            }
        })
        .await
    }

    /// The record once the host that is to have the volume has it.
    fn given(&self, seen: &Seen<'_>, undo: Undo) -> Result<VolumeRecord, Problem> {
        let (record, host) = (seen.record, seen.receiver);
        let host = host.ok_or_else(|| problems::bad_request("say which host is to have it"))?;
        may_have_more(host)?;
        within_quota(host, seen.pages, Some(&record.name), record.size)?;
        let floor = record.id.and_then(|id| self.seen(record.unit, id));
        let floor = floor.map_or(0, |seen| seen.floor);
        Ok(VolumeRecord {
            wish: Wish::Granted,
            holder: Some(Holder { host: host.name.clone(), iqn: host.iqn.clone() }),
            // After a restore of the station the unit may know a higher one.
            epoch: record.epoch.max(floor) + 1,
            undo,
            ..record.clone()
        })
    }

    /// One change to one volume, with its job. `decide` may run several times.
    async fn change(
        &self,
        who: &Caller,
        name: &str,
        task: Task,
        decide: impl Fn(&Self, &Seen<'_>) -> Decision,
    ) -> Result<Uuid, Problem> {
        who.must(Action::ChangeVolumes)?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let (record, compare) = self.volume_record(who, name).await?;
            if record.restored {
                return Err(problems::not_recognised(name));
            }
            let receiver = match &task {
                Task::Assign { host } | Task::Move { host } => Some(self.registered(host).await?),
                _ => None,
            };
            let holder = match &record.holder {
                Some(holder) => self.registered(&holder.host).await.ok(),
                None => None,
            };
            let (holder, receiver) = (holder.as_ref(), receiver.as_ref());
            let changed = {
                let pages = &*self.store.pages().await?;
                decide(self, &Seen { record: &record, pages, holder, receiver })?
            };
            let Some(changed) = changed else {
                return self.job_that_did(&record, &task).await;
            };
            let holder = record.holder.as_ref().or(changed.holder.as_ref());
            let host = match &task {
                // Whoever had it last has nothing to do with it any more.
                Task::Assign { host } => Some(host.as_str()),
                _ => holder.map(|holder| holder.host.as_str()),
            };
            let about = About {
                task: task.clone(),
                volume: name,
                host,
                phase: "accepted",
                sequence: placed.sequence,
            };
            let begun = Begun::new(self, who, about, None);
            let job = Some(begun.id());
            let changed = VolumeRecord { job, settled: false, failure: None, ..changed };
            let mut transaction = Transaction::new()
                .when(compare)
                .when(placed.compare)
                .put(PLACEMENTS, placed.next)
                .put(volume_key(name), encode(&changed));
            if let Some(whole) = who.part_of {
                transaction = transaction.when(self.running_job(whole).await?.unchanged());
            }
            let now = self.seconds();
            transaction = jobs::supersede(&self.store, record.job, now, transaction).await?;
            transaction = begun.write(transaction);
            let entry = Change::new(audited(&task), name).before(&record).after(&changed);
            if self.commit_audited(who, entry, transaction).await? {
                return Ok(begun.id());
            }
        }
        Err(StoreError::Contended.into())
    }

    /// It is as asked for already, or is about to be: the job that made it so.
    async fn job_that_did(&self, record: &VolumeRecord, task: &Task) -> Result<Uuid, Problem> {
        let job = match record.job {
            Some(id) => load::<JobRecord>(&self.store, &job_key(id)).await?,
            None => None,
        };
        match job.map(|job| job.record) {
            Some(job)
                if job.kind == task.kind()
                    && matches!(job.state, JobState::Running | JobState::Done) =>
            {
                Ok(job.id)
            }
            Some(job) if job.state == JobState::Running => Err(problems::busy(&record.name)),
            _ => Err(problems::conflict("it is as asked for already")),
        }
    }

    pub(super) async fn registered(&self, host: &str) -> Result<HostRecord, Problem> {
        let stored = load::<HostRecord>(&self.store, &host_key(host)).await?;
        Ok(stored.ok_or_else(|| problems::not_found("host", host))?.record)
    }

    fn room_beside(&self, record: &VolumeRecord, pages: &Pages) -> u64 {
        let (lasting, memory) = space::room(pages, &self.live, record.unit, self.times());
        if record.volatile { memory } else { lasting }
    }

    /// The record, or for who may see all volumes one made up for a volume that only its unit knows.
    async fn volume_record(
        &self,
        who: &Caller,
        name: &str,
    ) -> Result<(VolumeRecord, Compare), Problem> {
        let key = volume_key(name);
        let stored = load::<VolumeRecord>(&self.store, &key).await?;
        if let Some(stored) = stored.filter(|stored| who.may_see(&stored.record)) {
            must_match(who, &stored)?;
            let compare = stored.unchanged();
            return Ok((stored.record, compare));
        }
        who.must(Action::SeeAnyVolume).map_err(|_| problems::not_found("volume", name))?;
        let live = self.live.named(name);
        let mut found =
            live.iter().filter_map(|(unit, view)| Some((*unit, view.volume_named(name)?)));
        match (found.next(), found.next()) {
            (Some((unit, seen)), None) if seen.grants.is_empty() && !seen.partitioned => {
                Ok((unrecorded(unit, seen), Compare::Absent(key)))
            }
            (Some(_), _) => Err(problems::foreign(name)),
            (None, _) => Err(problems::not_found("volume", name)),
        }
    }

    pub async fn volumes(&self, who: &Caller) -> Result<Vec<Volume>, Problem> {
        who.must(Action::SeeVolumes)?;
        Ok(Read::all(self).await?.shown().volumes(who))
    }

    pub async fn volume(&self, who: &Caller, name: &str) -> Result<Volume, Problem> {
        who.must(Action::SeeVolumes)?;
        let stored = load::<VolumeRecord>(&self.store, &volume_key(name)).await?;
        let read = match stored.filter(|stored| who.may_see(&stored.record)) {
            Some(stored) => Read::about(self, stored).await?,
            None if who.may(Action::SeeAnyVolume) => Read::all(self).await?,
            None => return Err(problems::not_found("volume", name)),
        };
        let found = read.shown().volume_named(who, name);
        found.ok_or_else(|| problems::not_found("volume", name))
    }
}

/// The record changed; or `None`: it is so already, and the answer is the job that made it so.
type Decision = Result<Option<VolumeRecord>, Problem>;

/// What a change to a volume is decided by.
struct Seen<'a> {
    record: &'a VolumeRecord,
    pages: &'a Pages,
    /// The host that has it or had it last.
    holder: Option<&'a HostRecord>,
    /// The host that is to have it.
    receiver: Option<&'a HostRecord>,
}

impl Seen<'_> {
    fn is_held_by(&self, host: &str) -> bool {
        self.record.holder.as_ref().is_some_and(|holder| holder.host == host)
    }
}

/// Of a volume at rest it is known what it goes back to when its job is cancelled.
fn keeping(record: &VolumeRecord) -> Undo {
    if record.settled { Undo::Keep(record.wish) } else { Undo::Nothing }
}

fn audited(task: &Task) -> &'static str {
    match task {
        Task::Create(_) => "volume-create",
        Task::Grow { .. } => "volume-grow",
        Task::Release => "volume-release",
        Task::Assign { .. } => "volume-assign",
        Task::Move { .. } => "volume-move-host",
        Task::Delete => "volume-delete",
        Task::Takeover { .. } => "host-takeover",
    }
}

pub(super) fn possible(size: Size) -> Result<(), Problem> {
    size.of_volume().map(drop).map_err(|bad| problems::bad_request(bad.to_string()))
}

/// Whether the unit reports what the record says it acknowledged.
pub(super) fn is_reported(record: &VolumeRecord, view: &UnitView) -> bool {
    find(record, view).is_some()
}

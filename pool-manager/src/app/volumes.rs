//! Volumes: asked for, grown, given, released, deleted. Each change is one transaction over the
//! volume's record and a job; the reconciler brings it about.

use outband_pool_api::{JobState, Problem, Size, Volume, VolumeRequest};
use uuid::Uuid;

use super::audit::{Change, must_match};
use super::jobs::{self, About, Begun};
use super::{Action, Caller, Station, place, space, view};
use crate::allocate::{self, Chosen, EXTENT, choose};
use crate::recognise::{Recognised, recognise};
use crate::reconcile::{find, place as place_of};
use crate::records::{
    ATTEMPTS, HOSTS, Holder, HostRecord, JobRecord, PLACEMENTS, RequestRecord, Stored, Task, UNITS,
    Undo, UnitRecord, VOLUMES, VolumeRecord, Wish, encode, host_key, job_key, load, load_all,
    volume_key,
};
use crate::store::{Compare, Shared, StoreError, Transaction};
use crate::unit::{UnitView, VolumeView};
use crate::{names, problems, random};

impl Station {
    /// Answers the job's id. The same key by the same principal always answers the same job.
    pub async fn request_volume(
        &self,
        who: &Caller,
        ask: VolumeRequest,
        key: Option<&str>,
    ) -> Result<Uuid, Problem> {
        let host = who.host_asked_for(ask.host.as_deref())?;
        if ask.pool.as_ref().is_some_and(|pool| *pool != self.pool) {
            return Err(problems::conflict(format!("this station keeps the pool {}", self.pool)));
        }
        if let Some(name) = &ask.name {
            names::check("volume", name)?;
        }
        possible(ask.size)?;
        let asked = key.map(|key| jobs::Asked::new(who, key, &ask)).transpose()?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            if let Some(asked) = &asked
                && let Some(job) = self.asked_before(asked).await?
            {
                return Ok(job);
            }
            if let Some(job) = self.try_to_place(who, &ask, &host, asked.as_ref()).await? {
                return Ok(job);
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn asked_before(&self, asked: &jobs::Asked) -> Result<Option<Uuid>, Problem> {
        match load::<RequestRecord>(&self.store, &asked.key).await? {
            Some(before) if before.record.digest == asked.digest => Ok(Some(before.record.job)),
            Some(_) => Err(problems::key_reused()),
            None => Ok(None),
        }
    }

    /// `None`: somebody else changed the pool meanwhile.
    async fn try_to_place(
        &self,
        who: &Caller,
        ask: &VolumeRequest,
        host: &str,
        asked: Option<&jobs::Asked>,
    ) -> Result<Option<Uuid>, Problem> {
        let placed = placements(&self.store).await?;
        let host = load::<HostRecord>(&self.store, &host_key(host))
            .await?
            .ok_or_else(|| problems::not_found("host", host))?;
        may_have_more(&host.record)?;
        let (record, why) = self.record_for(who, ask, &host.record).await?;
        let about = About {
            task: Task::Create(Box::new(ask.clone())),
            volume: &record.name,
            host: Some(&host.record.name),
            phase: &why,
            sequence: placed.sequence,
        };
        let begun = Begun::new(self, who, about, asked);
        let record = VolumeRecord { job: Some(begun.id()), ..record };
        let mut transaction = Transaction::new()
            .when(host.unchanged())
            .when(placed.compare)
            .put(PLACEMENTS, placed.next)
            .when(Compare::Absent(volume_key(&record.name)))
            .put(volume_key(&record.name), encode(&record));
        transaction = begun.write(transaction);
        let change = Change::new("volume-create", &record.name).after(&record);
        let committed = self.commit_audited(who, change, transaction).await?;
        Ok(committed.then(|| begun.id()))
    }

    async fn record_for(
        &self,
        who: &Caller,
        ask: &VolumeRequest,
        host: &HostRecord,
    ) -> Result<(VolumeRecord, String), Problem> {
        let units = load_all::<UnitRecord>(&self.store, UNITS).await?;
        let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
        if let Some(name) = &ask.name {
            self.must_be_new(name, &volumes)?;
        }
        let request = place::request(ask, &units, &place::own(who, &volumes))?;
        let pool = space::pool(&units, &volumes, &self.live, &host.name, self.times());
        let chosen = choose(&pool, &request).map_err(|why| problems::no_place(&why, ask.size.0))?;
        let size = match &chosen {
            Chosen::Existing { volume, .. } => volume.size,
            Chosen::New { size, .. } => *size,
        };
        within_quota(host, &volumes, None, size)?;
        Ok(self.record_of(ask, host, &units, chosen))
    }

    fn must_be_new(&self, name: &str, volumes: &[Stored<VolumeRecord>]) -> Result<(), Problem> {
        let live = self.live.all();
        let mut views = live.values().filter_map(|unit| unit.view.as_ref());
        let taken = volumes.iter().any(|volume| volume.record.name == name)
            || views.any(|view| view.volume_named(name).is_some());
        if taken { Err(problems::name_taken("volume", name)) } else { Ok(()) }
    }

    fn record_of(
        &self,
        ask: &VolumeRequest,
        host: &HostRecord,
        units: &[Stored<UnitRecord>],
        chosen: Chosen,
    ) -> (VolumeRecord, String) {
        let holder = Holder { host: host.name.clone(), iqn: host.iqn.clone() };
        let (unit, why) = match &chosen {
            Chosen::Existing { unit, why, .. } | Chosen::New { unit, why, .. } => (*unit, why),
        };
        let why = format!("placed on {} ({why})", super::units::name(units, unit));
        let seen = match &chosen {
            Chosen::Existing { volume, .. } => self.seen(unit, volume.id),
            Chosen::New { .. } => None,
        };
        let new = VolumeRecord {
            id: None,
            name: ask
                .name
                .clone()
                .unwrap_or_else(|| format!("vol-{}", random::suffix(&*self.machine))),
            unit,
            size: ask.size.0.checked_next_multiple_of(EXTENT).unwrap_or(ask.size.0),
            block_size: ask.block_size,
            write_policy: ask.write_policy,
            volatile: ask.volatile,
            allow_sanitize: ask.allow_sanitize,
            wish: Wish::Granted,
            holder: Some(holder),
            epoch: 1,
            settled: false,
            place: None,
            job: None,
            undo: Undo::Delete,
            failure: None,
            restored: false,
        };
        match seen {
            Some(seen) => {
                (VolumeRecord { undo: Undo::Free, epoch: 1, ..taken_up(&seen, new) }, why)
            }
            None => (new, why),
        }
    }

    fn seen(&self, unit: Uuid, volume: Uuid) -> Option<VolumeView> {
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
                within_quota(host, seen.volumes, Some(&record.name), size)?;
            }
            station.must_fit(record, size, seen.room)?;
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

    /// The record once the host that is to have the volume has it.
    fn given(&self, seen: &Seen<'_>, undo: Undo) -> Result<VolumeRecord, Problem> {
        let (record, host) = (seen.record, seen.receiver);
        let host = host.ok_or_else(|| problems::bad_request("say which host is to have it"))?;
        may_have_more(host)?;
        within_quota(host, seen.volumes, Some(&record.name), record.size)?;
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
            let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
            let room = self.room_beside(&record, &volumes).await?;
            let receiver = match &task {
                Task::Assign { host } | Task::Move { host } => Some(self.registered(host).await?),
                _ => None,
            };
            let holder = match &record.holder {
                Some(holder) => self.registered(&holder.host).await.ok(),
                None => None,
            };
            let (holder, receiver) = (holder.as_ref(), receiver.as_ref());
            let seen = Seen { record: &record, room, volumes: &volumes, holder, receiver };
            let Some(changed) = decide(self, &seen)? else {
                return self.job_that_did(&record, &task).await;
            };
            let holder = record.holder.as_ref().or(changed.holder.as_ref());
            let about = About {
                task: task.clone(),
                volume: name,
                host: holder.map(|holder| holder.host.as_str()),
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

    /// Takes up a volume that no record claims, as its unit reports it: with the grant it has, if that
    /// is to a host of this station.
    pub async fn adopt_volume(&self, who: &Caller, name: &str) -> Result<Volume, Problem> {
        who.must(Action::AdmitUnits)?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let key = volume_key(name);
            if self.store.get(&key).await?.is_some() {
                return Err(problems::name_taken("volume", name));
            }
            let (unit, view) = self.only_unit_with(name)?;
            let seen = view.volume_named(name).filter(|seen| !seen.partitioned);
            let seen = seen.ok_or_else(|| problems::foreign(name))?;
            let hosts = load_all::<HostRecord>(&self.store, HOSTS).await?;
            let host_of = |iqn: &str| {
                let host = hosts.iter().find(|host| host.record.iqn == iqn)?;
                Some(host.record.name.clone())
            };
            let unclaimed = unrecorded(unit, seen);
            let Recognised::Keep(record) = recognise(&unclaimed, &view, host_of) else {
                return Err(problems::foreign(name));
            };
            let put = Transaction::new()
                .when(placed.compare)
                .put(PLACEMENTS, placed.next)
                .when(Compare::Absent(key.clone()))
                .put(&key, encode(&*record));
            let change = Change::new("volume-adopt", name).after(&*record);
            if self.commit_audited(who, change, put).await? {
                return self.volume(who, name).await;
            }
        }
        Err(StoreError::Contended.into())
    }

    /// The unit that reports a volume of this name, if it is one, and what it reports.
    fn only_unit_with(&self, name: &str) -> Result<(Uuid, UnitView), Problem> {
        let mut found = self.live.all().into_iter().filter_map(|(unit, live)| {
            let view = live.view.filter(|view| view.volume_named(name).is_some())?;
            Some((unit, view))
        });
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => Err(problems::foreign(name)),
            (None, _) => Err(problems::not_found("volume", name)),
        }
    }

    async fn room_beside(
        &self,
        record: &VolumeRecord,
        volumes: &[Stored<VolumeRecord>],
    ) -> Result<u64, Problem> {
        let units = load_all::<UnitRecord>(&self.store, UNITS).await?;
        let pool = space::pool(&units, volumes, &self.live, "", self.times());
        let unit = pool.units.iter().find(|unit| unit.id == record.unit);
        Ok(unit.map_or(0, |unit| if record.volatile { unit.free_volatile } else { unit.free }))
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
        let live = self.live.all();
        let mut found = live
            .iter()
            .filter_map(|(unit, live)| Some((*unit, live.view.as_ref()?.volume_named(name)?)));
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
        let shown = view::Shown::load(self).await?;
        Ok(shown.volumes(who))
    }

    pub async fn volume(&self, who: &Caller, name: &str) -> Result<Volume, Problem> {
        who.must(Action::SeeVolumes)?;
        let shown = view::Shown::load(self).await?;
        let found = shown.volumes(who).into_iter().find(|volume| volume.name == name);
        found.ok_or_else(|| problems::not_found("volume", name))
    }
}

/// The record changed; or `None`: it is so already, and the answer is the job that made it so.
type Decision = Result<Option<VolumeRecord>, Problem>;

/// What a change to a volume is decided by.
struct Seen<'a> {
    record: &'a VolumeRecord,
    /// Free space of its unit.
    room: u64,
    volumes: &'a [Stored<VolumeRecord>],
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

fn may_have_more(host: &HostRecord) -> Result<(), Problem> {
    match &host.replaced_by {
        Some(by) => Err(problems::replaced(&host.name, by)),
        None => Ok(()),
    }
}

/// Whether a host may have a volume of `size` beside the others that it has.
fn within_quota(
    host: &HostRecord,
    volumes: &[Stored<VolumeRecord>],
    except: Option<&str>,
    size: u64,
) -> Result<(), Problem> {
    let Some(quota) = host.quota else {
        return Ok(());
    };
    let others = volumes.iter().map(|volume| &volume.record);
    let others = others.filter(|volume| Some(volume.name.as_str()) != except);
    let used = super::hosts::used(&host.name, others);
    match used.saturating_add(size) <= quota {
        true => Ok(()),
        false => Err(problems::quota(&host.name, quota, used)),
    }
}

fn possible(size: Size) -> Result<(), Problem> {
    size.of_volume().map(drop).map_err(|bad| problems::bad_request(bad.to_string()))
}

/// A record for a volume that is on its unit already.
fn taken_up(seen: &VolumeView, like: VolumeRecord) -> VolumeRecord {
    VolumeRecord {
        id: Some(seen.id),
        name: seen.name.clone(),
        size: seen.size,
        volatile: seen.volatile,
        allow_sanitize: seen.allow_sanitize,
        epoch: seen.floor,
        place: Some(place_of(seen)),
        ..like
    }
}

fn unrecorded(unit: Uuid, seen: &VolumeView) -> VolumeRecord {
    let like = VolumeRecord {
        id: None,
        name: String::new(),
        unit,
        size: 0,
        block_size: None,
        write_policy: outband_pool_api::WritePolicy::Normal,
        volatile: false,
        allow_sanitize: false,
        wish: Wish::Free,
        holder: None,
        epoch: 0,
        settled: true,
        place: None,
        job: None,
        undo: Undo::Nothing,
        failure: None,
        restored: false,
    };
    taken_up(seen, like)
}

/// What a transaction says so that of two placements at once one has to look again.
pub(super) struct Placed {
    pub(super) compare: Compare,
    pub(super) next: Vec<u8>,
    /// How many came before.
    pub(super) sequence: u64,
}

pub(super) async fn placements(store: &Shared) -> Result<Placed, StoreError> {
    let entry = store.get(PLACEMENTS).await?;
    let compare = match &entry {
        Some(entry) => Compare::Unchanged(PLACEMENTS.to_owned(), entry.revision),
        None => Compare::Absent(PLACEMENTS.to_owned()),
    };
    let count = entry.and_then(|entry| String::from_utf8(entry.value).ok()?.parse::<u64>().ok());
    let sequence = count.unwrap_or(0);
    Ok(Placed { compare, next: (sequence + 1).to_string().into_bytes(), sequence })
}

/// Whether the unit reports what the record says it acknowledged.
pub(super) fn is_reported(record: &VolumeRecord, view: &UnitView) -> bool {
    find(record, view).is_some()
}

//! Volumes: asked for, grown, given, released, deleted. Each change is one transaction over the
//! volume's record and a job; the reconciler brings it about.

use outband_pool_api::{JobKind, Problem, Size, Volume, VolumeRequest};
use uuid::Uuid;

use super::jobs::{self, Begun};
use super::{Principal, Station, space, view};
use crate::allocate::{self, Chosen, EXTENT, choose};
use crate::reconcile::{find, place};
use crate::records::{
    ATTEMPTS, Holder, HostRecord, PLACEMENTS, RequestRecord, Stored, UNITS, Undo, UnitRecord,
    VOLUMES, VolumeRecord, Wish, encode, host_key, load, load_all, volume_key,
};
use crate::store::{Compare, Outcome, Shared, StoreError, Transaction};
use crate::unit::VolumeView;
use crate::{names, problems, random};

impl Station {
    /// Answers the job's id. The same key by the same principal always answers the same job.
    pub async fn request_volume(
        &self,
        who: &Principal,
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
        for _ in 0..ATTEMPTS {
            if let Some(asked) = &asked
                && let Some(job) = self.asked_before(asked).await?
            {
                return Ok(job);
            }
            if let Some(job) = self.try_to_place(&ask, &host, asked.as_ref()).await? {
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
        ask: &VolumeRequest,
        host: &str,
        asked: Option<&jobs::Asked>,
    ) -> Result<Option<Uuid>, Problem> {
        let placed = placements(&self.store).await?;
        let host = load::<HostRecord>(&self.store, &host_key(host))
            .await?
            .ok_or_else(|| problems::not_found("host", host))?;
        let (record, why) = self.record_for(ask, &host.record).await?;
        let begun =
            Begun::new(&*self.machine, JobKind::Create, &record, &why, asked, placed.sequence);
        let record = VolumeRecord { job: Some(begun.id()), ..record };
        let mut transaction = Transaction::new()
            .when(host.unchanged())
            .when(placed.compare)
            .put(PLACEMENTS, placed.next)
            .when(Compare::Absent(volume_key(&record.name)))
            .put(volume_key(&record.name), encode(&record));
        transaction = begun.write(transaction);
        Ok(match self.store.commit(transaction).await? {
            Outcome::Committed { .. } => Some(begun.id()),
            Outcome::Conflict => None,
        })
    }

    async fn record_for(
        &self,
        ask: &VolumeRequest,
        host: &HostRecord,
    ) -> Result<(VolumeRecord, String), Problem> {
        let units = load_all::<UnitRecord>(&self.store, UNITS).await?;
        let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
        if let Some(name) = &ask.name {
            self.must_be_new(name, &volumes)?;
        }
        let request = allocate::Request {
            size: ask.size.0,
            block_size: ask.block_size,
            placement: ask.placement,
            pinned: ask.unit.as_ref().map(|unit| super::units::find(&units, unit)).transpose()?,
            volatile: ask.volatile,
            reuse: ask.name.is_none(),
        };
        let pool = space::pool(&units, &volumes, &self.live, &host.name, self.machine.now());
        let chosen = choose(&pool, &request).map_err(|why| problems::no_place(&why, ask.size.0))?;
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
            wish: Wish::Granted,
            holder: Some(holder),
            epoch: 1,
            settled: false,
            place: None,
            job: None,
            undo: Undo::Delete,
            failure: None,
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
    pub async fn grow_volume(
        &self,
        who: &Principal,
        name: &str,
        size: Size,
    ) -> Result<Uuid, Problem> {
        possible(size)?;
        self.change(who, name, JobKind::Grow, |station, record, room| {
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
            station.must_fit(record, size, room)?;
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
    pub async fn release_volume(&self, who: &Principal, name: &str) -> Result<Uuid, Problem> {
        self.change(who, name, JobKind::Release, |_, record, _| match record.wish {
            Wish::Free => Ok(None),
            Wish::Deleted => Err(problems::busy(&record.name)),
            Wish::Granted => {
                Ok(Some(VolumeRecord { wish: Wish::Free, undo: Undo::Nothing, ..record.clone() }))
            }
        })
        .await
    }

    pub async fn delete_volume(&self, who: &Principal, name: &str) -> Result<Uuid, Problem> {
        self.change(who, name, JobKind::Delete, |_, record, _| match record.wish {
            Wish::Deleted => Ok(None),
            Wish::Granted | Wish::Free => Ok(Some(VolumeRecord {
                wish: Wish::Deleted,
                undo: Undo::Nothing,
                ..record.clone()
            })),
        })
        .await
    }

    /// Gives a free volume, with the data it holds, to a host. That is the administrator's to judge.
    pub async fn assign_volume(
        &self,
        who: &Principal,
        name: &str,
        host: &str,
    ) -> Result<Uuid, Problem> {
        who.must_be_admin()?;
        let stored = load::<HostRecord>(&self.store, &host_key(host)).await?;
        let host = stored.ok_or_else(|| problems::not_found("host", host))?.record;
        self.change(who, name, JobKind::Assign, |station, record, _| {
            let held = record.holder.as_ref().is_some_and(|holder| holder.host == host.name);
            match (record.wish, record.settled) {
                (Wish::Granted, _) if held => return Ok(None),
                (Wish::Free, true) => {}
                (Wish::Granted, true) => {
                    return Err(problems::conflict(format!(
                        "\"{}\" has a host already; release it first",
                        record.name
                    )));
                }
                _ => return Err(problems::busy(&record.name)),
            }
            let floor = record.id.and_then(|id| station.seen(record.unit, id));
            let floor = floor.map_or(0, |seen| seen.floor);
            Ok(Some(VolumeRecord {
                wish: Wish::Granted,
                holder: Some(Holder { host: host.name.clone(), iqn: host.iqn.clone() }),
                // After a restore of the station the unit may know a higher one.
                epoch: record.epoch.max(floor) + 1,
                undo: Undo::Free,
                ..record.clone()
            }))
        })
        .await
    }

    /// One change to one volume, with its job. `decide` sees the record and the free space of its
    /// unit, and may run several times.
    async fn change(
        &self,
        who: &Principal,
        name: &str,
        kind: JobKind,
        decide: impl Fn(&Self, &VolumeRecord, u64) -> Decision,
    ) -> Result<Uuid, Problem> {
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let (record, compare) = self.volume_record(who, name).await?;
            let room = self.room_beside(&record).await?;
            let Some(changed) = decide(self, &record, room)? else {
                let already = || problems::conflict("it is as asked for already");
                return record.job.ok_or_else(already);
            };
            let begun =
                Begun::new(&*self.machine, kind, &changed, "accepted", None, placed.sequence);
            let job = Some(begun.id());
            let changed = VolumeRecord { job, settled: false, failure: None, ..changed };
            let mut transaction = Transaction::new()
                .when(compare)
                .when(placed.compare)
                .put(PLACEMENTS, placed.next)
                .put(volume_key(name), encode(&changed));
            transaction = jobs::supersede(&self.store, record.job, transaction).await?;
            transaction = begun.write(transaction);
            if self.store.commit(transaction).await? != Outcome::Conflict {
                return Ok(begun.id());
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn room_beside(&self, record: &VolumeRecord) -> Result<u64, Problem> {
        let units = load_all::<UnitRecord>(&self.store, UNITS).await?;
        let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
        let pool = space::pool(&units, &volumes, &self.live, "", self.machine.now());
        let unit = pool.units.iter().find(|unit| unit.id == record.unit);
        Ok(unit.map_or(0, |unit| if record.volatile { unit.free_volatile } else { unit.free }))
    }

    /// The record, or for the administrator one made up for a volume that only its unit knows.
    async fn volume_record(
        &self,
        who: &Principal,
        name: &str,
    ) -> Result<(VolumeRecord, Compare), Problem> {
        let key = volume_key(name);
        let stored = load::<VolumeRecord>(&self.store, &key).await?;
        if let Some(stored) = stored.filter(|stored| who.may_see(&stored.record)) {
            let compare = stored.unchanged();
            return Ok((stored.record, compare));
        }
        who.must_be_admin().map_err(|_| problems::not_found("volume", name))?;
        let live = self.live.all();
        let mut found = live
            .iter()
            .filter_map(|(unit, live)| Some((*unit, live.view.as_ref()?.volume_named(name)?)));
        match (found.next(), found.next()) {
            (Some((unit, seen)), None) if seen.grants.is_empty() && !seen.partitioned => {
                Ok((unrecorded(unit, seen), Compare::Absent(key)))
            }
            (Some(_), _) => Err(problems::conflict(format!(
                "\"{name}\" is on a unit with a grant or partition that this station knows \
                 nothing of, or on two units; settle it there"
            ))),
            (None, _) => Err(problems::not_found("volume", name)),
        }
    }

    pub async fn volumes(&self, who: &Principal) -> Result<Vec<Volume>, Problem> {
        let shown = view::Shown::load(self).await?;
        Ok(shown.volumes(who))
    }

    pub async fn volume(&self, who: &Principal, name: &str) -> Result<Volume, Problem> {
        let shown = view::Shown::load(self).await?;
        let found = shown.volumes(who).into_iter().find(|volume| volume.name == name);
        found.ok_or_else(|| problems::not_found("volume", name))
    }
}

/// The record changed; or `None`: it is so already, and the answer is the job that made it so.
type Decision = Result<Option<VolumeRecord>, Problem>;

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
        epoch: seen.floor,
        place: Some(place(seen)),
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
        wish: Wish::Free,
        holder: None,
        epoch: 0,
        settled: true,
        place: None,
        job: None,
        undo: Undo::Nothing,
        failure: None,
    };
    taken_up(seen, like)
}

/// What a transaction says so that of two placements at once one has to look again.
pub(super) struct Placed {
    pub(super) compare: Compare,
    pub(super) next: Vec<u8>,
    /// How many came before.
    sequence: u64,
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
pub(super) fn is_reported(record: &VolumeRecord, view: &crate::unit::UnitView) -> bool {
    find(record, view).is_some()
}

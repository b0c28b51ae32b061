//! A volume is asked for: one transaction writes its record, its job and what the request's key
//! stands for, and of two at once one looks again.

use outband_pool_api::{Problem, VolumeRequest};
use uuid::Uuid;

use super::adopt::taken_up;
use super::audit::Change;
use super::hosts::{may_have_more, within_quota};
use super::jobs::{self, About, Begun};
use super::volumes::possible;
use super::{Caller, Station, place, space};
use crate::allocate::{Chosen, EXTENT, choose};
use crate::book::{Book, Pages};
use crate::records::{
    ATTEMPTS, Holder, HostRecord, PLACEMENTS, RequestRecord, Task, Undo, VolumeRecord, Wish,
    encode, host_key, load, volume_key,
};
use crate::store::{Compare, StoreError, Transaction};
use crate::{names, problems, random};

/// Volumes or labels that one request names, at most.
const ASKED_MAX: usize = 64;

impl Station {
    /// Answers the job's id. The same key by the same principal always answers the same job.
    pub async fn request_volume(
        &self,
        who: &Caller,
        ask: VolumeRequest,
        key: Option<&str>,
    ) -> Result<Uuid, Problem> {
        let host = self.well_asked(who, &ask)?;
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

    /// What can be said of a request before anything is looked up; answers for whom it is.
    pub(super) fn well_asked(&self, who: &Caller, ask: &VolumeRequest) -> Result<String, Problem> {
        let host = who.host_asked_for(ask.host.as_deref())?;
        if ask.pool.as_ref().is_some_and(|pool| *pool != self.pool) {
            return Err(problems::conflict(format!("this station keeps the pool {}", self.pool)));
        }
        if let Some(name) = &ask.name {
            names::check("volume", name)?;
        }
        possible(ask.size)?;
        // All of it is kept, with the job.
        for (what, len) in
            [("near", ask.near.len()), ("apart", ask.apart.len()), ("labels", ask.labels.len())]
        {
            if len > ASKED_MAX {
                let detail = format!("\"{what}\" names {len}; {ASKED_MAX} are the most");
                return Err(problems::bad_request(detail));
            }
        }
        for (name, value) in &ask.labels {
            names::check_label(name, Some(value))?;
        }
        if let Some(domain) = &ask.domain {
            names::check_label(domain, None)?;
        }
        Ok(host)
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
            // Whoever tries it again need not be the host.
            task: Task::Create(Box::new(VolumeRequest {
                host: Some(host.record.name.clone()),
                ..ask.clone()
            })),
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
        let pages = self.store.pages().await?;
        if let Some(name) = &ask.name {
            self.must_be_new(name, &pages)?;
        }
        let request = place::request(who, ask, &pages)?;
        let pool = space::pool(&pages, &self.live, place::counted(ask, host), self.times());
        let chosen = choose(&pool, &request).map_err(|why| problems::no_place(&why, ask.size.0))?;
        within_quota(host, &pages, None, size_of(&chosen))?;
        Ok(self.record_of(ask, host, &pages, chosen))
    }

    pub(super) fn must_be_new(&self, name: &str, pages: &Pages) -> Result<(), Problem> {
        let taken = pages.volume(name).is_some() || !self.live.reports().with_name(name).is_empty();
        if taken { Err(problems::name_taken("volume", name)) } else { Ok(()) }
    }

    fn record_of(
        &self,
        ask: &VolumeRequest,
        host: &HostRecord,
        pages: &Pages,
        chosen: Chosen,
    ) -> (VolumeRecord, String) {
        let holder = Holder { host: host.name.clone(), iqn: host.iqn.clone() };
        let (unit, why) = match &chosen {
            Chosen::Existing { unit, why, .. } | Chosen::New { unit, why, .. } => (*unit, why),
        };
        let why = format!("placed on {} ({why})", super::units::name(pages, unit));
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
}

pub(super) fn size_of(chosen: &Chosen) -> u64 {
    match chosen {
        Chosen::Existing { volume, .. } => volume.size,
        Chosen::New { size, .. } => *size,
    }
}

/// What a transaction says so that of two placements at once one has to look again.
pub(super) struct Placed {
    pub(super) compare: Compare,
    pub(super) next: Vec<u8>,
    /// How many came before.
    pub(super) sequence: u64,
}

pub(super) async fn placements(store: &Book) -> Result<Placed, StoreError> {
    let entry = store.get(PLACEMENTS).await?;
    let compare = match &entry {
        Some(entry) => Compare::Unchanged(PLACEMENTS.to_owned(), entry.revision),
        None => Compare::Absent(PLACEMENTS.to_owned()),
    };
    let count = entry.and_then(|entry| String::from_utf8(entry.value).ok()?.parse::<u64>().ok());
    let sequence = count.unwrap_or(0);
    Ok(Placed { compare, next: (sequence + 1).to_string().into_bytes(), sequence })
}

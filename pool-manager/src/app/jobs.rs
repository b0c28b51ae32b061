//! Jobs: begun together with the record they change, ended by the reconciler together with it.

use std::time::Duration;

use outband_control::machine::Machine;
use outband_pool_api::{Job, JobKind, JobState, Phase, Problem};
use serde::Serialize;
use uuid::Uuid;

use super::{Principal, Station, view};
use crate::records::{
    JOBS, JobRecord, REQUESTS, RequestRecord, VolumeRecord, encode, job_key, load, load_all,
};
use crate::store::{Compare, Shared, StoreError, Transaction};
use crate::{problems, random};

/// Ended jobs that are remembered, with their idempotency keys.
const ENDED_KEPT: usize = 1000;
const KEY_MAX: usize = 255;

/// An idempotency key and what was asked for with it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) digest: String,
}

impl Asked {
    pub(super) fn new(who: &Principal, key: &str, ask: &impl Serialize) -> Result<Self, Problem> {
        if key.is_empty() || key.len() > KEY_MAX {
            let detail = format!("an idempotency key has 1 to {KEY_MAX} characters");
            return Err(problems::bad_request(detail));
        }
        let ask = String::from_utf8_lossy(&encode(ask)).into_owned();
        let key = random::digest(&format!("{}\n{key}", who.scope()));
        Ok(Self { key: format!("{REQUESTS}{key}"), digest: random::digest(&ask) })
    }
}

/// A job about to be written.
pub(super) struct Begun<'a> {
    job: JobRecord,
    asked: Option<&'a Asked>,
}

impl<'a> Begun<'a> {
    pub(super) fn new(
        machine: &dyn Machine,
        kind: JobKind,
        volume: &VolumeRecord,
        phase: &str,
        asked: Option<&'a Asked>,
        sequence: u64,
    ) -> Self {
        let created = machine.since_1970().as_secs();
        let job = JobRecord {
            id: machine.uuid(),
            kind,
            state: JobState::Running,
            volume: volume.name.clone(),
            host: volume.holder.as_ref().map(|holder| holder.host.clone()),
            phases: vec![Phase { name: phase.to_owned(), at: created }],
            error: None,
            created,
            sequence,
            request: asked.map(|asked| asked.key.clone()),
        };
        Self { job, asked }
    }

    pub(super) fn id(&self) -> Uuid {
        self.job.id
    }

    pub(super) fn write(&self, transaction: Transaction) -> Transaction {
        let transaction = transaction.put(job_key(self.job.id), encode(&self.job));
        let Some(asked) = self.asked else {
            return transaction;
        };
        let request = RequestRecord { job: self.job.id, digest: asked.digest.clone() };
        transaction.when(Compare::Absent(asked.key.clone())).put(&asked.key, encode(&request))
    }
}

/// A volume has one running job at most: the one before ends when a new one takes over.
pub(super) async fn supersede(
    store: &Shared,
    job: Option<Uuid>,
    transaction: Transaction,
) -> Result<Transaction, StoreError> {
    let Some(id) = job else {
        return Ok(transaction);
    };
    let job = load::<JobRecord>(store, &job_key(id)).await?;
    let Some(mut job) = job.filter(|job| job.record.state == JobState::Running) else {
        return Ok(transaction);
    };
    job.record.state = JobState::Failed;
    job.record.error = Some(problems::superseded());
    Ok(transaction.when(job.unchanged()).put(&job.key, encode(&job.record)))
}

impl Station {
    pub async fn jobs(&self, who: &Principal) -> Result<Vec<Job>, Problem> {
        let shown = view::Shown::load(self).await?;
        let jobs = load_all::<JobRecord>(&self.store, JOBS).await?;
        let seen = jobs.into_iter().map(|job| job.record).filter(|job| may_see(who, job));
        let mut seen: Vec<JobRecord> = seen.collect();
        seen.sort_by_key(age);
        Ok(seen.into_iter().map(|job| shown.job(who, job)).collect())
    }

    pub async fn job(&self, who: &Principal, id: Uuid) -> Result<Job, Problem> {
        let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
        let job = job.filter(|job| may_see(who, &job.record));
        let job = job.ok_or_else(|| problems::not_found("job", &id.to_string()))?;
        Ok(view::Shown::load(self).await?.job(who, job.record))
    }

    /// The job at its end, or as it is when the time is over.
    pub async fn wait_for_job(
        &self,
        who: &Principal,
        id: Uuid,
        at_most: Duration,
    ) -> Result<Job, Problem> {
        let deadline = self.machine.now() + at_most;
        loop {
            let revision = self.store.list(&job_key(id)).await?.revision;
            let job = self.job(who, id).await?;
            if job.state != JobState::Running || self.machine.now() >= deadline {
                return Ok(job);
            }
            let mut watch = self.store.watch(&job_key(id), revision);
            // Too far behind, or over time: the loop looks again either way.
            let left = deadline.saturating_duration_since(self.machine.now());
            let _ = self.machine.timeout(left, watch.next()).await;
        }
    }

    /// Keeps the list of jobs bounded.
    pub async fn forget_old_jobs(&self) -> Result<(), StoreError> {
        let mut jobs = load_all::<JobRecord>(&self.store, JOBS).await?;
        jobs.retain(|job| job.record.state != JobState::Running);
        let surplus = jobs.len().saturating_sub(ENDED_KEPT);
        jobs.sort_by_key(|job| age(&job.record));
        for job in jobs.into_iter().take(surplus) {
            let mut delete = Transaction::new().delete(&job.key);
            if let Some(request) = job.record.request {
                delete = delete.delete(request);
            }
            self.store.commit(delete).await?;
        }
        Ok(())
    }
}

/// The oldest is the least. Many jobs begin within one second.
fn age(job: &JobRecord) -> (u64, u64, Uuid) {
    (job.created, job.sequence, job.id)
}

fn may_see(who: &Principal, job: &JobRecord) -> bool {
    match who {
        Principal::Admin => true,
        Principal::Host(name) => job.host.as_ref() == Some(name),
    }
}

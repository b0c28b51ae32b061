//! Jobs: begun together with the record they change, ended by the reconciler together with it.

mod cancel;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use outband_pool_api::{Job, JobKind, JobState, Phase, Problem, Size};
use serde::Serialize;
use uuid::Uuid;

use super::read::Read;
use super::{Action, Caller, Station, view};
use crate::book::Book;
use crate::records::{
    JobRecord, REQUESTS, RequestRecord, Stored, Task, VolumeRecord, deadline_key, encode, job_key,
    load, load_all, volume_key,
};
use crate::store::{Compare, StoreError, Transaction};
use crate::{problems, random};

/// Ended jobs that are remembered, with their idempotency keys.
const ENDED_KEPT: usize = 1000;
/// So many more are no reason to look through all of them.
const BEGUN_MAX: usize = 100;
const KEY_MAX: usize = 255;

/// An idempotency key and what was asked for with it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) digest: String,
}

impl Asked {
    pub(super) fn new(who: &Caller, key: &str, ask: &impl Serialize) -> Result<Self, Problem> {
        if key.is_empty() || key.len() > KEY_MAX {
            let detail = format!("an idempotency key has 1 to {KEY_MAX} characters");
            return Err(problems::bad_request(detail));
        }
        let ask = String::from_utf8_lossy(&encode(ask)).into_owned();
        let key = random::digest(&format!("{}\n{key}", who.actor()));
        Ok(Self { key: format!("{REQUESTS}{key}"), digest: random::digest(&ask) })
    }
}

/// What a new job is about.
pub(super) struct About<'a> {
    pub(super) task: Task,
    /// Empty if it is about several.
    pub(super) volume: &'a str,
    pub(super) host: Option<&'a str>,
    pub(super) phase: &'a str,
    /// How many placements came before.
    pub(super) sequence: u64,
}

/// A job about to be written.
pub(super) struct Begun<'a> {
    job: JobRecord,
    asked: Option<&'a Asked>,
}

impl<'a> Begun<'a> {
    pub(super) fn new(
        station: &Station,
        who: &Caller,
        about: About<'_>,
        asked: Option<&'a Asked>,
    ) -> Self {
        let created = station.seconds();
        station.jobs_begun.fetch_add(1, Ordering::Relaxed);
        let job = JobRecord {
            id: station.machine.uuid(),
            kind: about.task.kind(),
            state: JobState::Running,
            volume: about.volume.to_owned(),
            host: about.host.map(str::to_owned),
            phases: vec![Phase { name: about.phase.to_owned(), at: created }],
            error: None,
            created,
            sequence: about.sequence,
            request: asked.map(|asked| asked.key.clone()),
            actor: who.actor(),
            reason: who.reason.clone(),
            deadline: who.deadline.map(|within| created.saturating_add(within.as_secs())),
            ended: None,
            task: Some(about.task),
            retry_of: who.retry_of,
            part_of: who.part_of,
        };
        Self { job, asked }
    }

    pub(super) fn id(&self) -> Uuid {
        self.job.id
    }

    /// It has ended before it could begin, and only tells why.
    pub(super) fn refused(mut self, why: Problem, transaction: Transaction) -> Transaction {
        let transaction = self.job.end(Some(why), self.job.created, transaction);
        transaction.put(job_key(self.job.id), encode(&self.job))
    }

    pub(super) fn write(&self, transaction: Transaction) -> Transaction {
        let mut transaction = transaction.put(job_key(self.job.id), encode(&self.job));
        if let Some(deadline) = self.job.deadline {
            let deadline = deadline.to_string().into_bytes();
            transaction = transaction.put(deadline_key(self.job.id), deadline);
        }
        let Some(asked) = self.asked else {
            return transaction;
        };
        let request = RequestRecord { job: self.job.id, digest: asked.digest.clone() };
        transaction.when(Compare::Absent(asked.key.clone())).put(&asked.key, encode(&request))
    }
}

/// A volume has one running job at most: the one before ends when a new one takes over.
pub(super) async fn supersede(
    store: &Book,
    job: Option<Uuid>,
    now: u64,
    transaction: Transaction,
) -> Result<Transaction, StoreError> {
    let Some(id) = job else {
        return Ok(transaction);
    };
    let job = load::<JobRecord>(store, &job_key(id)).await?;
    let Some(mut job) = job.filter(|job| job.record.state == JobState::Running) else {
        return Ok(transaction);
    };
    let transaction = transaction.when(job.unchanged());
    let transaction = job.record.end(Some(problems::superseded()), now, transaction);
    Ok(transaction.put(&job.key, encode(&job.record)))
}

impl Station {
    pub async fn jobs(&self, who: &Caller) -> Result<Vec<Job>, Problem> {
        who.must(Action::SeeJobs)?;
        let read = Read::all(self).await?;
        let jobs = load_all::<JobRecord>(&self.store).await?;
        let mut jobs: Vec<&JobRecord> = jobs.iter().map(|job| &job.record).collect();
        jobs.sort_by_key(|job| age(job));
        let mut parts: BTreeMap<Uuid, Vec<&JobRecord>> = BTreeMap::new();
        for job in jobs.iter().copied() {
            if let Some(whole) = job.part_of {
                parts.entry(whole).or_default().push(job);
            }
        }
        let shown = read.shown();
        let parts = |job: &JobRecord| parts.get(&job.id).map(Vec::as_slice).unwrap_or_default();
        let seen = jobs.iter().copied().filter(|job| who.may_see_job(job));
        Ok(seen.map(|job| view::job(job, parts(job), shown.result(who, job))).collect())
    }

    pub async fn job(&self, who: &Caller, id: Uuid) -> Result<Job, Problem> {
        let job = self.job_record(who, id).await?;
        let parts = match job.kind {
            JobKind::Takeover => self.parts_of(id).await?,
            _ => Vec::new(),
        };
        let parts: Vec<&JobRecord> = parts.iter().collect();
        let volume = load::<VolumeRecord>(&self.store, &volume_key(&job.volume)).await?;
        let result = match volume.filter(|_| job.state == JobState::Done) {
            Some(volume) => Read::about(self, volume).await?.shown().result(who, &job),
            None => None,
        };
        Ok(view::job(&job, &parts, result))
    }

    /// The jobs that a job is made of.
    pub(super) async fn parts_of(&self, id: Uuid) -> Result<Vec<JobRecord>, StoreError> {
        let jobs = load_all::<JobRecord>(&self.store).await?;
        let parts = jobs.iter().map(|job| &job.record).filter(|job| job.part_of == Some(id));
        let mut parts: Vec<JobRecord> = parts.cloned().collect();
        parts.sort_by_key(age);
        Ok(parts)
    }

    /// A job that has not ended.
    pub(super) async fn running_job(&self, id: Uuid) -> Result<Stored<JobRecord>, Problem> {
        let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
        let job = job.ok_or_else(|| problems::not_found("job", &id.to_string()))?;
        match job.record.state {
            JobState::Running => Ok(job),
            ended => Err(problems::job_ended(ended)),
        }
    }

    async fn job_record(&self, who: &Caller, id: Uuid) -> Result<JobRecord, Problem> {
        who.must(Action::SeeJobs)?;
        let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
        let job = job.filter(|job| who.may_see_job(&job.record));
        Ok(job.ok_or_else(|| problems::not_found("job", &id.to_string()))?.record)
    }

    /// The job at its end, or as it is when the time is over or the station stops.
    pub async fn wait_for_job(
        &self,
        who: &Caller,
        id: Uuid,
        at_most: Duration,
    ) -> Result<Job, Problem> {
        let deadline = self.machine.now() + at_most;
        loop {
            let revision = self.store.list(&job_key(id)).await?.revision;
            let job = self.job(who, id).await?;
            let over = self.machine.now() >= deadline || self.is_ending();
            if job.state != JobState::Running || over {
                return Ok(job);
            }
            let mut watch = self.store.watch(&job_key(id), revision);
            let news = async {
                tokio::select! {
                    () = self.ended() => {}
                    // Too far behind: the loop looks again either way.
                    _ = watch.next() => {}
                }
            };
            let left = deadline.saturating_duration_since(self.machine.now());
            let _ = self.machine.timeout(left, news).await;
        }
    }

    /// Asks once more for what a job was to bring about that failed or was cancelled.
    pub async fn retry_job(&self, who: &Caller, id: Uuid) -> Result<Uuid, Problem> {
        who.must(Action::ChangeJobs)?;
        let job = self.job_record(who, id).await?;
        match job.state {
            JobState::Running => return Err(problems::conflict("the job runs; wait for its end")),
            JobState::Done => return Err(problems::job_ended(job.state)),
            JobState::Failed | JobState::Cancelled => {}
        }
        let Some(task) = job.task else {
            return Err(problems::conflict("what this job was to do is not remembered; ask anew"));
        };
        let who = &Caller { retry_of: Some(id), ..who.clone() };
        let volume = &job.volume;
        match task {
            Task::Create(ask) => {
                let key = format!("retry {} of {id}", self.retries_ended(id).await?);
                self.request_volume(who, *ask, Some(&key)).await
            }
            Task::Grow { size } => self.grow_volume(who, volume, Size(size)).await,
            Task::Release => self.release_volume(who, volume).await,
            Task::Assign { host } => self.assign_volume(who, volume, &host).await,
            Task::Move { host } => self.move_volume(who, volume, &host).await,
            Task::Delete => self.delete_volume(who, volume).await,
            Task::Takeover { spare } => {
                self.take_over(who, job.host.as_deref().unwrap_or_default(), &spare).await
            }
        }
    }

    /// How often it was tried again in vain. A second request while one runs begins no second job.
    async fn retries_ended(&self, id: Uuid) -> Result<usize, StoreError> {
        let ended = |job: &JobRecord| matches!(job.state, JobState::Failed | JobState::Cancelled);
        let jobs = load_all::<JobRecord>(&self.store).await?;
        let retries = jobs.iter().filter(|job| job.record.retry_of == Some(id));
        Ok(retries.filter(|job| ended(&job.record)).count())
    }

    /// Whether so many jobs have begun since the last [`forget_old_jobs`](Self::forget_old_jobs) that it
    /// is not to wait for its time.
    pub(crate) fn has_many_new_jobs(&self) -> bool {
        self.jobs_begun.load(Ordering::Relaxed) >= BEGUN_MAX
    }

    /// Keeps the list of jobs bounded.
    pub async fn forget_old_jobs(&self) -> Result<(), StoreError> {
        self.jobs_begun.store(0, Ordering::Relaxed);
        let mut jobs = load_all::<JobRecord>(&self.store).await?;
        let runs = |job: &JobRecord| job.state == JobState::Running;
        let running: BTreeSet<Uuid> =
            jobs.iter().filter(|job| runs(&job.record)).map(|job| job.record.id).collect();
        // What a takeover has tried it does not try again, as long as that is remembered.
        let needed = |job: &JobRecord| job.part_of.is_some_and(|whole| running.contains(&whole));
        jobs.retain(|job| !runs(&job.record) && !needed(&job.record));
        let surplus = jobs.len().saturating_sub(ENDED_KEPT);
        jobs.sort_by_key(|job| age(&job.record));
        for job in jobs.into_iter().take(surplus) {
            let mut delete = Transaction::new().delete(&job.key);
            if let Some(request) = &job.record.request {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[tokio::test]
    async fn what_a_takeover_has_tried_is_remembered_as_long_as_it_runs() {
        let station = sample::station().await;
        for host in ["failed", "spare"] {
            sample::host(&station, host).await;
        }
        let whole = station.take_over(&Caller::ADMIN, "failed", "spare").await.unwrap();
        let mut job = station.running_job(whole).await.unwrap().record;
        (job.part_of, job.state) = (Some(whole), JobState::Failed);
        for number in 0..=ENDED_KEPT {
            job.id = Uuid::from_u128(number as u128);
            let put = Transaction::new().put(job_key(job.id), encode(&job));
            station.store.commit(put).await.unwrap();
        }
        station.forget_old_jobs().await.unwrap();
        assert_eq!(station.parts_of(whole).await.unwrap().len(), ENDED_KEPT + 1);
        station.cancel_job(&Caller::ADMIN, whole).await.unwrap();
        station.forget_old_jobs().await.unwrap();
        assert!(station.parts_of(whole).await.unwrap().len() <= ENDED_KEPT);
    }
}

//! Taking a job back: because somebody asks for that, or because its deadline is over. The record
//! then wants what it wanted before, and the job ends when the unit reports that.

use outband_pool_api::{JobState, Phase, Problem};
use uuid::Uuid;

use crate::app::audit::Change;
use crate::app::{Action, Caller, Station};
use crate::problems;
use crate::reconcile::taken_back;
use crate::records::{
    ATTEMPTS, DEADLINES, JobRecord, Stored, TAKEOVERS, VolumeRecord, encode, job_key, load,
    takeover_key, volume_key,
};
use crate::store::{Outcome, StoreError, Transaction};

/// What leads back from a running job.
enum Way {
    /// The volume's record, as it is and as it is to be.
    Volume(Box<(Stored<VolumeRecord>, VolumeRecord)>),
    /// There is nothing to take back on any unit.
    End,
    /// It is being taken back already.
    Under,
}

impl Station {
    /// Has a running job taken back. It runs on until all is as it was before.
    pub async fn cancel_job(&self, who: &Caller, id: Uuid) -> Result<Uuid, Problem> {
        who.must(Action::ChangeJobs)?;
        who.must_be_free_to_cancel(&self.job_record(who, id).await?)?;
        let why = problems::cancelled(&who.actor());
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
            let job = job.ok_or_else(|| problems::not_found("job", &id.to_string()))?;
            if job.record.state != JobState::Running {
                return Err(problems::job_ended(job.record.state));
            }
            let way = self.way_back(&job.record, &why).await?;
            let Some((_, after, transaction)) = self.back(job.clone(), way, &why) else {
                return Ok(id);
            };
            let change = Change::new("job-cancel", &id.to_string());
            let change = change.before(&job.record).after(&after);
            if self.commit_audited(who, change, transaction).await? {
                return Ok(id);
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn way_back(&self, job: &JobRecord, why: &Problem) -> Result<Way, Problem> {
        let volume = load::<VolumeRecord>(&self.store, &volume_key(&job.volume)).await?;
        let Some(volume) = volume.filter(|volume| volume.record.job == Some(job.id)) else {
            return Ok(Way::End);
        };
        if volume.record.failure.is_some() {
            return Ok(Way::Under);
        }
        let back = taken_back(&volume.record, why.clone()).ok_or_else(problems::not_cancellable)?;
        Ok(Way::Volume(Box::new((volume, back))))
    }

    /// The job before and after, and what makes it so.
    fn back(
        &self,
        job: Stored<JobRecord>,
        way: Way,
        why: &Problem,
    ) -> Option<(JobRecord, JobRecord, Transaction)> {
        let (now, before) = (self.seconds(), job.record.clone());
        let mut transaction = Transaction::new().when(job.unchanged());
        let mut after = job.record;
        match way {
            Way::Under => return None,
            Way::End => {
                transaction = transaction.delete(takeover_key(after.id));
                transaction = after.end(Some(why.clone()), now, transaction);
            }
            Way::Volume(found) => {
                let (volume, back) = *found;
                after.phases.push(Phase { name: "taken back".to_owned(), at: now });
                after.error = Some(why.clone());
                transaction = transaction.when(volume.unchanged()).put(&volume.key, encode(&back));
            }
        }
        let transaction = transaction.put(job_key(after.id), encode(&after));
        Some((before, after, transaction))
    }

    /// Takes back what was not done by its deadline. What cannot be taken back goes on.
    pub async fn enforce_deadlines(&self) -> Result<(), StoreError> {
        let now = self.seconds();
        for entry in self.store.list(DEADLINES).await?.entries {
            let due = String::from_utf8_lossy(&entry.value).parse::<u64>().unwrap_or(0);
            if due > now {
                continue;
            }
            let id = entry.key.strip_prefix(DEADLINES).and_then(|id| id.parse::<Uuid>().ok());
            if let Some(id) = id {
                self.expire(id).await?;
            }
            self.store.commit(Transaction::new().delete(&entry.key)).await?;
        }
        Ok(())
    }

    async fn expire(&self, id: Uuid) -> Result<(), StoreError> {
        let why = problems::too_late();
        for _ in 0..ATTEMPTS {
            let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
            let Some(job) = job.filter(|job| job.record.state == JobState::Running) else {
                return Ok(());
            };
            let Ok(way) = self.way_back(&job.record, &why).await else {
                return Ok(());
            };
            let name = job.record.volume.clone();
            let Some((_, _, transaction)) = self.back(job, way, &why) else {
                return Ok(());
            };
            if self.store.commit(transaction).await? != Outcome::Conflict {
                self.events.add("job-expired", &name, "not done by its deadline; taken back");
                return Ok(());
            }
        }
        Err(StoreError::Contended)
    }

    /// Takeovers that have not ended.
    pub(crate) async fn takeovers(&self) -> Result<Vec<Uuid>, StoreError> {
        let listed = self.store.list(TAKEOVERS).await?.entries;
        let ids = listed.iter().filter_map(|entry| entry.key.strip_prefix(TAKEOVERS)?.parse().ok());
        Ok(ids.collect())
    }
}

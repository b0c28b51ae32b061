//! A spare host takes the place of one that has failed: one job, made of a move for each volume.

use std::collections::BTreeMap;

use outband_pool_api::{Host, JobState, Problem};
use uuid::Uuid;

use super::audit::Change;
use super::jobs::{About, Begun};
use super::request::placements;
use super::{Action, Caller, Station};
use crate::problems;
use crate::records::{
    ATTEMPTS, HostRecord, JOBS, JobRecord, PLACEMENTS, Stored, Task, VOLUMES, VolumeRecord, encode,
    host_key, job_key, load, load_all, takeover_key,
};
use crate::store::{StoreError, Transaction};
use crate::takeover::{Step, step};
use crate::visits::visit;

impl Station {
    /// From now on the failed host gets nothing new; its volumes go to the spare one by one, each
    /// fenced first.
    pub async fn take_over(
        &self,
        who: &Caller,
        failed: &str,
        spare: &str,
    ) -> Result<Uuid, Problem> {
        who.must(Action::RunHosts)?;
        if failed == spare {
            return Err(problems::bad_request("a host cannot take over from itself"));
        }
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let host = self.host_record(failed).await?;
            let other = self.host_record(spare).await?;
            if let Some(by) = &other.record.replaced_by {
                return Err(problems::replaced(spare, by));
            }
            let replaced =
                HostRecord { replaced_by: Some(spare.to_owned()), ..host.record.clone() };
            let about = About {
                task: Task::Takeover { spare: spare.to_owned() },
                volume: "",
                host: Some(failed),
                phase: "accepted",
                sequence: placed.sequence,
            };
            let begun = Begun::new(self, who, about, None);
            let transaction = Transaction::new()
                .when(host.unchanged())
                .when(other.unchanged())
                .when(placed.compare)
                .put(PLACEMENTS, placed.next)
                .put(&host.key, encode(&replaced))
                .put(takeover_key(begun.id()), Vec::new());
            let change = Change::new("host-takeover", failed).before(&host.record).after(&replaced);
            if self.commit_audited(who, change, begun.write(transaction)).await? {
                self.events.add("host-takeover", failed, format!("{spare} takes over"));
                return Ok(begun.id());
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn host_record(&self, name: &str) -> Result<Stored<HostRecord>, Problem> {
        let stored = load::<HostRecord>(&self.store, &host_key(name)).await?;
        stored.ok_or_else(|| problems::not_found("host", name))
    }

    /// The host may have volumes again. What was given to the spare stays there.
    pub async fn resume_host(&self, who: &Caller, name: &str) -> Result<Host, Problem> {
        who.must(Action::RunHosts)?;
        let key = host_key(name);
        let resumed = |host: &HostRecord| {
            let change = HostRecord { replaced_by: None, ..host.clone() };
            Ok(host.replaced_by.is_some().then_some(change))
        };
        let host = self.change_record(who, "host-resume", name, &key, resumed).await?;
        host.ok_or_else(|| problems::not_found("host", name))?;
        self.host(who, name).await
    }

    /// One step of every takeover that has not ended. Read once for all of them.
    pub async fn advance_takeovers(&self) -> Result<(), StoreError> {
        let takeovers = self.takeovers().await?;
        if takeovers.is_empty() {
            return Ok(());
        }
        let mut held: BTreeMap<String, Vec<VolumeRecord>> = BTreeMap::new();
        for Stored { record, .. } in load_all::<VolumeRecord>(&self.store, VOLUMES).await? {
            visit(&record);
            if let Some(holder) = &record.holder {
                held.entry(holder.host.clone()).or_default().push(record);
            }
        }
        let mut parts: BTreeMap<Uuid, Vec<JobRecord>> = BTreeMap::new();
        for Stored { record, .. } in load_all::<JobRecord>(&self.store, JOBS).await? {
            if let Some(whole) = record.part_of {
                parts.entry(whole).or_default().push(record);
            }
        }
        for id in takeovers {
            let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
            let running = job.filter(|job| job.record.state == JobState::Running);
            let Some(job) = running else {
                self.store.commit(Transaction::new().delete(takeover_key(id))).await?;
                continue;
            };
            let failed = job.record.host.as_deref().unwrap_or_default();
            let held = held.get(failed).map(Vec::as_slice).unwrap_or_default();
            let parts = parts.get(&id).map(Vec::as_slice).unwrap_or_default();
            self.advance(&job, step(failed, held, parts)).await?;
        }
        Ok(())
    }

    async fn advance(&self, job: &Stored<JobRecord>, step: Step) -> Result<(), StoreError> {
        match step {
            Step::Wait => Ok(()),
            Step::Move(names) => self.move_each(&job.record, &names).await,
            Step::End(problem) => {
                let transaction =
                    Transaction::new().when(job.unchanged()).delete(takeover_key(job.record.id));
                let mut record = job.record.clone();
                let transaction = record.end(problem, self.seconds(), transaction);
                // After a conflict it is looked at again.
                self.store.commit(transaction.put(&job.key, encode(&record))).await.map(drop)
            }
        }
    }

    async fn move_each(&self, job: &JobRecord, names: &[String]) -> Result<(), StoreError> {
        let Some(Task::Takeover { spare }) = &job.task else {
            return Ok(());
        };
        let who = &Caller::behind(job);
        for name in names {
            // Refused, most likely because somebody else has just changed it: the next look says more.
            if let Err(problem) = self.move_volume(who, name, spare).await {
                tracing::debug!(volume = name, detail = problem.detail, "not taken over yet");
            }
        }
        Ok(())
    }
}

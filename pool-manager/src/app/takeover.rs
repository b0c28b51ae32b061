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
    ATTEMPTS, HostRecord, JobRecord, PLACEMENTS, Stored, Task, VolumeRecord, encode, host_key,
    job_key, load, load_all, takeover_key, update, volume_key,
};
use crate::store::{Outcome, StoreError, Transaction};
use crate::takeover::{Step, step};
use crate::visits::visit;

/// Moves that all takeovers together begin at once: the station has other work, too.
const MOVES_MAX: usize = 16;

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
        let mut parts: BTreeMap<Uuid, Vec<JobRecord>> = BTreeMap::new();
        for job in load_all::<JobRecord>(&self.store).await? {
            if let Some(whole) = job.record.part_of {
                parts.entry(whole).or_default().push(job.record.clone());
            }
        }
        let share = (MOVES_MAX / takeovers.len()).max(1);
        for id in takeovers {
            let job = load::<JobRecord>(&self.store, &job_key(id)).await?;
            let running = job.filter(|job| job.record.state == JobState::Running);
            let Some(job) = running else {
                self.store.commit(Transaction::new().delete(takeover_key(id))).await?;
                continue;
            };
            let failed = job.record.host.as_deref().unwrap_or_default();
            let held: Vec<VolumeRecord> = {
                let pages = self.store.pages().await?;
                let held = pages.volumes_of(failed).map(|volume| volume.record.clone());
                held.inspect(visit).collect()
            };
            let parts = parts.get(&id).map(Vec::as_slice).unwrap_or_default();
            self.advance(&job, step(failed, &held, parts), share).await?;
        }
        Ok(())
    }

    async fn advance(
        &self,
        job: &Stored<JobRecord>,
        step: Step,
        share: usize,
    ) -> Result<(), StoreError> {
        match step {
            Step::Wait => Ok(()),
            Step::Move(mut names) => {
                names.truncate(share);
                self.move_each(&job.record, &names).await
            }
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

    /// The names are from a picture of the pool that may be old by now: each is looked at anew.
    async fn move_each(&self, whole: &JobRecord, names: &[String]) -> Result<(), StoreError> {
        let (Some(Task::Takeover { spare }), Some(failed)) = (&whole.task, &whole.host) else {
            return Ok(());
        };
        let who = &Caller::behind(whole);
        let mut trouble = None;
        for name in names {
            let Some(volume) = load::<VolumeRecord>(&self.store, &volume_key(name)).await? else {
                continue;
            };
            let Err(problem) = self.move_volume_from(who, name, (failed, spare)).await else {
                continue;
            };
            match problem.kind() {
                // Cancelled meanwhile, it takes nothing more.
                "job-ended" => return Ok(()),
                // Somebody else has just changed it: the next look says more.
                "busy" => {}
                kind if is_lasting(kind) => {
                    self.give_up(whole, &volume, spare, problem.clone()).await?;
                    trouble = Some(problem);
                }
                _ => trouble = trouble.or(Some(problem)),
            }
        }
        self.tell_trouble(whole.id, trouble).await
    }

    /// Writes down that a volume is not moved, so that it is not tried for ever. Nothing, if it or the
    /// takeover is not any more as it was when it was refused.
    async fn give_up(
        &self,
        whole: &JobRecord,
        volume: &Stored<VolumeRecord>,
        spare: &str,
        why: Problem,
    ) -> Result<(), StoreError> {
        let _turn = self.turn().await;
        let placed = placements(&self.store).await?;
        let Ok(whole) = self.running_job(whole.id).await else {
            return Ok(());
        };
        let about = About {
            task: Task::Move { host: spare.to_owned() },
            volume: &volume.record.name,
            host: whole.record.host.as_deref(),
            phase: "refused",
            sequence: placed.sequence,
        };
        let text = format!("move: {}", why.detail);
        let part = Begun::new(self, &Caller::behind(&whole.record), about, None);
        let transaction = Transaction::new()
            .when(whole.unchanged())
            .when(volume.unchanged())
            .when(placed.compare)
            .put(PLACEMENTS, placed.next);
        let written = self.store.commit(part.refused(why, transaction)).await?;
        if written != Outcome::Conflict {
            self.events.add("job-failed", &volume.record.name, text);
        }
        Ok(())
    }

    /// On a takeover that runs, what last stood in its way.
    async fn tell_trouble(&self, id: Uuid, trouble: Option<Problem>) -> Result<(), StoreError> {
        let tell = |job: &mut JobRecord| {
            let news = job.state == JobState::Running && job.error != trouble;
            job.error.clone_from(&trouble);
            news
        };
        update::<JobRecord>(&self.store, &job_key(id), tell).await.map(drop)
    }
}

/// Whether asking again changes nothing until somebody does something about it: the spare is gone, has
/// itself been replaced, or may not have so much; or who began the takeover may do it no more.
fn is_lasting(kind: &str) -> bool {
    matches!(kind, "quota-exceeded" | "host-replaced" | "conflict" | "not-found" | "forbidden")
}

#[cfg(test)]
mod tests;

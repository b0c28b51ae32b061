//! Brings about on the units what the station's records want: `plan(want, seen)`, which is pure,
//! and `settle`, which carries the steps out until the unit *reports* what is wanted.
//!
//! Nothing is remembered between two steps but the record and the unit's own state, so a station
//! or a unit may be killed between any two of them: the next `settle` goes on from the reports.
//! What keeps that safe is the epoch. A grant is never sent with an epoch the volume has seen, and
//! a volume is free only once its unit's floor has reached the last epoch drawn: from then on even
//! a grant that was sent before and arrives late is refused.

use outband_control::machine::Machine;
use outband_pool_api::{JobState, Phase, Problem};
use outband_protocol::seeded::{self, Bug};

use crate::book::Book;
use crate::problems;
use crate::recognise::{Recognised, recognise};
use crate::records::{
    Holder, HostRecord, JobRecord, Place, Stored, Undo, VolumeRecord, Wish, encode, host_key,
    job_key, load, load_all, update, volume_key,
};
use crate::store::{Outcome, StoreError, Transaction};
use crate::unit::{
    Fence, NewGrant, NewVolume, Readiness, Refusal, UnitApi, UnitError, UnitView, VolumeIndex,
    VolumeView,
};
use uuid::Uuid;

/// One step from what is to what is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    // On the unit.
    Create,
    Grow,
    Fence {
        iqn: String,
        epoch: u64,
    },
    Grant,
    Delete {
        id: Uuid,
    },
    // In the station's store; the plan is made anew after each.
    /// Takes up the volume that the unit has made under this name.
    Adopt {
        id: Uuid,
    },
    /// The volume that was taken up is gone again, and nobody was told of it: another one will do.
    Disown,
    /// The name is another volume's on that unit.
    NameTaken,
    /// Takes the next epoch from the volume's counter.
    Draw {
        epoch: u64,
    },
    /// The unit reports all that is wanted: the job is done.
    Settle,
    /// The unit reports the volume no more: the record goes.
    Forget,
    /// The unit does not report a volume it once acknowledged. Nothing is made in its place.
    Lost,
    /// The unit is not ready for the next step.
    Wait,
}

/// What the unit reports of the wanted volume: by its id, or by its name until the id is known.
pub fn find<'a>(want: &VolumeRecord, view: &'a UnitView) -> Option<&'a VolumeView> {
    match want.id {
        Some(id) => view.volume(id),
        None => view.volume_named(&want.name),
    }
}

/// As [`find`], for who looks for many.
pub fn find_in<'a>(want: &VolumeRecord, index: &VolumeIndex<'a>) -> Option<&'a VolumeView> {
    match want.id {
        Some(id) => index.volume(id),
        None => index.volume_named(&want.name),
    }
}

/// What leads from `seen` to `want`. Empty when the unit reports all of it and the record says so.
pub fn plan(want: &VolumeRecord, seen: Option<&VolumeView>) -> Vec<Step> {
    let Some(seen) = seen else {
        return match want.wish {
            Wish::Deleted => vec![Step::Forget],
            Wish::Granted | Wish::Free if want.place.is_some() => vec![Step::Lost],
            Wish::Granted | Wish::Free if want.id.is_some() => vec![Step::Disown],
            Wish::Granted | Wish::Free => vec![Step::Create],
        };
    };
    let Some(id) = want.id else {
        return vec![adopt(want, seen)];
    };
    let mut steps = fences(want, seen);
    match want.wish {
        Wish::Deleted => steps.push(Step::Delete { id }),
        Wish::Free => grow(want, seen, &mut steps),
        Wish::Granted => {
            grow(want, seen, &mut steps);
            grant(want, seen, &mut steps);
        }
    }
    // Larger than wanted: a grow that was taken for lost has happened after all.
    if steps.is_empty() && (!want.settled || seen.size > want.size) {
        steps.push(Step::Settle);
    }
    steps
}

/// A volume under the wanted name, before its id is known. It is the one asked for only if nobody
/// was ever given it: grants are sent only after it was taken up.
fn adopt(want: &VolumeRecord, seen: &VolumeView) -> Step {
    match (seen.is_untouched(), want.wish) {
        (true, _) => Step::Adopt { id: seen.id },
        (false, Wish::Deleted) => Step::Forget,
        (false, _) => Step::NameTaken,
    }
}

fn is_wanted(want: &VolumeRecord, iqn: &str, epoch: u64) -> bool {
    let holder = want.holder.as_ref().is_some_and(|holder| holder.iqn == iqn);
    want.wish == Wish::Granted && holder && want.epoch == epoch
}

/// Every grant that is not the wanted one, and for a volume nobody may use the last epoch drawn,
/// whether or not its grant has arrived.
fn fences(want: &VolumeRecord, seen: &VolumeView) -> Vec<Step> {
    if seeded::is(Bug::ReleaseWithoutFence) && want.wish == Wish::Free {
        return Vec::new();
    }
    let others = seen.grants.iter().filter(|grant| !is_wanted(want, &grant.iqn, grant.epoch));
    let mut steps: Vec<Step> =
        others.map(|grant| Step::Fence { iqn: grant.iqn.clone(), epoch: grant.epoch }).collect();
    if let (Wish::Free, true, Some(Holder { iqn, .. })) =
        (want.wish, seen.floor < want.epoch, &want.holder)
    {
        let last = Step::Fence { iqn: iqn.clone(), epoch: want.epoch };
        if !steps.contains(&last) {
            steps.push(last);
        }
    }
    steps
}

fn grow(want: &VolumeRecord, seen: &VolumeView, steps: &mut Vec<Step>) {
    if seen.size < want.size {
        steps.push(Step::Grow);
    }
}

fn grant(want: &VolumeRecord, seen: &VolumeView, steps: &mut Vec<Step>) {
    if seen.grants.iter().any(|grant| is_wanted(want, &grant.iqn, grant.epoch)) {
        return;
    }
    let fenced = seen.grants.iter().map(|grant| grant.epoch).max().unwrap_or(0);
    let highest = seen.floor.max(fenced);
    steps.push(match seen.readiness {
        Readiness::Zeroing | Readiness::Incomplete => Step::Wait,
        _ if highest < want.epoch => Step::Grant,
        _ => Step::Draw { epoch: highest + 1 },
    });
}

/// The record when the unit refuses what it asks for: what was begun is taken back.
pub fn turned_back(record: &VolumeRecord, problem: Problem) -> Option<VolumeRecord> {
    match record.undo {
        Undo::Nothing | Undo::Keep(_) => None,
        _ => taken_back(record, problem),
    }
}

/// The record when its job is not to be done any more, for whatever reason.
pub fn taken_back(record: &VolumeRecord, problem: Problem) -> Option<VolumeRecord> {
    let mut back = record.clone();
    back.undo = Undo::Nothing;
    match &record.undo {
        Undo::Nothing => return None,
        Undo::Delete => back.wish = Wish::Deleted,
        Undo::Free => back.wish = Wish::Free,
        Undo::Shrink(size) => back.size = *size,
        Undo::Keep(wish) => back.wish = *wish,
        Undo::Return(holder) => back.holder = Some(holder.clone()),
    }
    if back.wish == Wish::Granted && !matches!(record.undo, Undo::Shrink(_)) {
        // The last epoch drawn may be another host's, and a fence of it may arrive late: this grant
        // is a new one.
        back.epoch += 1;
        back.undo = Undo::Free;
    }
    back.settled = false;
    back.failure = Some(problem);
    Some(back)
}

/// How a volume was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// The unit reports what is wanted.
    Settled,
    /// There is no such record of this unit (any more).
    Gone,
    /// The unit does not report the volume.
    Lost,
    /// The unit is not ready; look again soon.
    Waiting,
}

/// Why it could not be brought to rest now. The next `settle` goes on.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the unit's reports do not follow what it acknowledges")]
    Restless,
}

/// Plans made before giving up for now. The longest way (fence, draw, grant, refused, fence,
/// written down, delete, forget) takes eight.
const ROUNDS: u32 = 12;

/// Carries one volume of the unit `home` to rest. `view` is what the unit reported last, and is kept
/// fresh; `told` hears of each new report before anything is written that rests on it.
pub async fn settle<U: UnitApi>(
    machine: &dyn Machine,
    store: &Book,
    (home, unit): (Uuid, &U),
    view: &mut UnitView,
    told: &(dyn Fn(&UnitView) + Sync),
    name: &str,
) -> Result<Rest, Halt> {
    for _ in 0..ROUNDS {
        let stored = load::<VolumeRecord>(store, &volume_key(name)).await?;
        // Made anew meanwhile, it may be another unit's.
        let Some(stored) = stored.filter(|stored| stored.record.unit == home) else {
            return Ok(Rest::Gone);
        };
        let mut work = Work { machine, store, unit, stored, touched: false };
        if work.stored.record.restored {
            work.recognise(view).await?;
            continue;
        }
        let steps = plan(&work.stored.record, find(&work.stored.record, view));
        if steps.is_empty() {
            return Ok(Rest::Settled);
        }
        let rest = work.carry_out(steps, view).await?;
        if work.touched {
            *view = unit.inventory().await?;
            told(view);
        }
        if let Some(rest) = rest {
            return Ok(rest);
        }
    }
    Err(Halt::Restless)
}

struct Work<'a, U> {
    machine: &'a dyn Machine,
    store: &'a Book,
    unit: &'a U,
    stored: Stored<VolumeRecord>,
    /// The unit was asked to change something.
    touched: bool,
}

impl<U: UnitApi> Work<'_, U> {
    /// Stops where the plan has to be made anew.
    async fn carry_out(&mut self, steps: Vec<Step>, view: &UnitView) -> Result<Option<Rest>, Halt> {
        for step in steps {
            match &step {
                Step::Draw { epoch } => self.draw(*epoch).await?,
                Step::Settle => self.close(view).await?,
                Step::Forget => self.forget().await?,
                Step::Adopt { id } => self.adopt(Some(*id)).await?,
                Step::Disown => self.adopt(None).await?,
                Step::NameTaken => {
                    let problem = problems::name_taken("volume", &self.stored.record.name);
                    self.turn_back(problem).await?;
                }
                Step::Lost => return self.lost().await,
                Step::Wait => return Ok(Some(Rest::Waiting)),
                // Written down before it is asked for: from here on nobody can cancel it.
                Step::Delete { .. } if self.stored.record.undo != Undo::Nothing => {
                    let undo = Undo::Nothing;
                    self.put(VolumeRecord { undo, ..self.stored.record.clone() }).await?;
                    return Ok(None);
                }
                _ => {
                    self.touched = true;
                    if let Err(error) = self.on_unit(&step).await {
                        self.refused(&step, error).await?;
                        return Ok(None);
                    }
                    self.note(&step).await?;
                }
            }
        }
        Ok(None)
    }

    /// The record is from a backup: what the unit reports comes first.
    async fn recognise(&self, view: &UnitView) -> Result<(), Halt> {
        let hosts = load_all::<HostRecord>(self.store).await?;
        let host_of = |iqn: &str| {
            let host = hosts.iter().find(|host| host.record.iqn == iqn)?;
            Some(host.record.name.clone())
        };
        let transaction = Transaction::new().when(self.stored.unchanged());
        let transaction = match recognise(&self.stored.record, view, host_of) {
            Recognised::Keep(record) => transaction.put(&self.stored.key, encode(&*record)),
            Recognised::Drop => transaction.delete(&self.stored.key),
        };
        self.end_job(transaction, Some(problems::restored())).await
    }

    async fn on_unit(&self, step: &Step) -> Result<(), Halt> {
        let record = &self.stored.record;
        let volume = record.name.clone();
        let done = match step {
            Step::Create => self.unit.create(&new_volume(record)).await,
            Step::Grow => self.unit.grow(&volume, record.size).await,
            Step::Fence { iqn, epoch } => {
                let fence = Fence { volume, id: record.id, iqn: iqn.clone(), epoch: *epoch };
                self.unit.fence(&fence).await
            }
            Step::Grant => self.unit.grant(&self.new_grant().await?).await,
            Step::Delete { id } => self.unit.delete(&volume, *id).await,
            _ => Ok(()),
        };
        done.map_err(Halt::Unit)
    }

    async fn new_grant(&self) -> Result<NewGrant, Halt> {
        let record = &self.stored.record;
        let holder = record.holder.as_ref();
        let host = match holder {
            Some(holder) => load::<HostRecord>(self.store, &host_key(&holder.host)).await?,
            None => None,
        };
        // A host is not removed while a volume names it; without one the unit is asked nothing.
        let (Some(holder), Some(host)) = (holder, host) else {
            let detail = "its host is not registered".to_owned();
            return Err(UnitError::Refused { refusal: Refusal::Other, detail }.into());
        };
        Ok(NewGrant {
            volume: record.name.clone(),
            iqn: holder.iqn.clone(),
            chap: host.record.chap(),
            epoch: record.epoch,
        })
    }

    /// A refusal is final if the unit's fresh report asks for the same step again. Else the plan was
    /// made from an old one: an earlier answer was lost, or a request of a station that was stopped
    /// has only now arrived.
    async fn refused(&self, step: &Step, error: Halt) -> Result<(), Halt> {
        let Halt::Unit(UnitError::Refused { refusal, detail }) = &error else {
            return Err(error);
        };
        let record = &self.stored.record;
        let fresh = self.unit.inventory().await?;
        if plan(record, find(record, &fresh)).first() != Some(step) {
            return Ok(());
        }
        let problem = problems::unit_refused(&record.name, *refusal, detail);
        let asks = matches!(step, Step::Create | Step::Grow | Step::Grant);
        match asks && self.turn_back(problem).await? {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// Whether there was a way back.
    async fn turn_back(&self, problem: Problem) -> Result<bool, Halt> {
        let Some(back) = turned_back(&self.stored.record, problem) else {
            return Ok(false);
        };
        self.put(back).await?;
        Ok(true)
    }

    async fn adopt(&self, id: Option<Uuid>) -> Result<(), Halt> {
        self.put(VolumeRecord { id, ..self.stored.record.clone() }).await
    }

    async fn draw(&self, epoch: u64) -> Result<(), Halt> {
        self.put(VolumeRecord { epoch, settled: false, ..self.stored.record.clone() }).await
    }

    /// A conflict is no failure: the record has changed, and the plan is made anew anyway.
    async fn put(&self, record: VolumeRecord) -> Result<(), Halt> {
        let put =
            Transaction::new().when(self.stored.unchanged()).put(&self.stored.key, encode(&record));
        self.store.commit(put).await?;
        Ok(())
    }

    async fn close(&self, view: &UnitView) -> Result<(), Halt> {
        let mut record = self.stored.record.clone();
        if let Some(seen) = find(&record, view) {
            record.place = Some(place(seen));
            record.size = seen.size;
        }
        record.settled = true;
        record.undo = Undo::Nothing;
        let failure = record.failure.take();
        let transaction =
            Transaction::new().when(self.stored.unchanged()).put(&self.stored.key, encode(&record));
        self.end_job(transaction, failure).await
    }

    async fn forget(&self) -> Result<(), Halt> {
        let transaction = Transaction::new().when(self.stored.unchanged()).delete(&self.stored.key);
        self.end_job(transaction, self.stored.record.failure.clone()).await
    }

    /// In one transaction with the record, so that a job's end and its effect are never apart.
    async fn end_job(
        &self,
        mut transaction: Transaction,
        failure: Option<Problem>,
    ) -> Result<(), Halt> {
        if let Some(mut job) = self.job().await? {
            let now = self.machine.since_1970().as_secs();
            transaction = job.record.end(failure, now, transaction.when(job.unchanged()));
            transaction = transaction.put(&job.key, encode(&job.record));
        }
        match self.store.commit(transaction).await? {
            Outcome::Committed { .. } | Outcome::Conflict => Ok(()),
        }
    }

    /// The running job the record belongs to.
    async fn job(&self) -> Result<Option<Stored<JobRecord>>, Halt> {
        let Some(id) = self.stored.record.job else {
            return Ok(None);
        };
        let job = load::<JobRecord>(self.store, &job_key(id)).await?;
        Ok(job.filter(|job| job.record.state == JobState::Running))
    }

    async fn lost(&self) -> Result<Option<Rest>, Halt> {
        let record = &self.stored.record;
        let problem = problems::volume_lost(&record.name);
        if let Some(back) = turned_back(record, problem.clone()) {
            self.put(back).await?;
            return Ok(None);
        }
        let Some(mut job) = self.job().await? else {
            return Ok(Some(Rest::Lost));
        };
        // What is wanted stays written down, for the day on which the volume is found again.
        let transaction = Transaction::new().when(self.stored.unchanged()).when(job.unchanged());
        let now = self.machine.since_1970().as_secs();
        let transaction = job.record.end(Some(problem), now, transaction);
        self.store.commit(transaction.put(&job.key, encode(&job.record))).await?;
        Ok(Some(Rest::Lost))
    }

    /// For who watches the job. It decides nothing, so it may be lost.
    async fn note(&self, step: &Step) -> Result<(), Halt> {
        let Some(job) = self.job().await? else {
            return Ok(());
        };
        let name = match step {
            Step::Create => "volume made",
            Step::Grow => "volume grown",
            Step::Fence { .. } => "fenced",
            Step::Grant => "grant acknowledged",
            Step::Delete { .. } => "volume erased",
            _ => return Ok(()),
        };
        let phase = Phase { name: name.to_owned(), at: self.machine.since_1970().as_secs() };
        update::<JobRecord>(self.store, &job.key, |job| {
            job.error = None;
            job.phases.push(phase.clone());
            job.phases.len() <= PHASES_MAX
        })
        .await?;
        Ok(())
    }
}

/// A job that is cut short again and again notes no more than this.
const PHASES_MAX: usize = 64;

fn new_volume(record: &VolumeRecord) -> NewVolume {
    NewVolume {
        name: record.name.clone(),
        size: record.size,
        block_size: record.block_size,
        write_policy: record.write_policy,
        volatile: record.volatile,
        allow_sanitize: record.allow_sanitize,
    }
}

pub fn place(seen: &VolumeView) -> Place {
    Place {
        target: seen.target.clone(),
        lun: seen.lun,
        start_lba: seen.start_lba,
        end_lba: seen.end_lba,
        blocks: seen.blocks,
        block_size: seen.block_size,
    }
}

#[cfg(test)]
mod tests;

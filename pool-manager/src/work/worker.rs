//! The worker of one unit: enrols it, pulls its inventory, and brings its volumes to rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outband_pool_api::{JobState, Problem};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::{Connect, tell};
use crate::app::Station;
use crate::health::Health;
use crate::problems;
use crate::reconcile::{Halt, Rest, find_in, plan, settle};
use crate::records::{
    JobRecord, Stored, UnitRecord, VolumeRecord, job_key, load, unit_key, update,
};
use crate::store::StoreError;
use crate::unit::{UnitApi, UnitError, UnitView, VolumeIndex};

/// A look at a unit of which nothing is wanted: finds what changed there by itself.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Units of a large pool are looked at less often, so that all looks together cost no more than this.
const LOOKS_PER_SECOND: u32 = 100;
/// After a failure, doubled each time up to `LOOK_EVERY`.
const RETRY: Duration = Duration::from_millis(500);
/// While a unit clears new space.
const WAITING: Duration = Duration::from_millis(500);

pub(super) struct Worker<C: Connect> {
    station: Arc<Station>,
    connect: Arc<C>,
    looks: Arc<Semaphore>,
    id: Uuid,
    wake: Arc<Notify>,
    /// When the unit's whole report was last compared with the records.
    looked: Option<Instant>,
    failures: u32,
    /// The connection, and the record it was made from.
    link: Option<(UnitRecord, Arc<C::Unit>)>,
}

enum Next {
    /// The unit is no more in the store.
    End,
    Look(Duration),
    /// It did not succeed: soon, and later each time.
    Retry,
}

impl<C: Connect> Worker<C> {
    pub(super) fn new(
        station: Arc<Station>,
        connect: Arc<C>,
        looks: Arc<Semaphore>,
        id: Uuid,
        wake: Arc<Notify>,
    ) -> Self {
        Self { station, connect, looks, id, wake, looked: None, failures: 0, link: None }
    }

    pub(super) async fn run(mut self) {
        let machine = Arc::clone(&self.station.machine);
        loop {
            let pause = match self.pass().await {
                Ok(Next::End) => return,
                Ok(Next::Look(pause)) => {
                    self.failures = 0;
                    pause
                }
                Ok(Next::Retry) => self.back_off(),
                Err(error) => {
                    tell(&error);
                    self.back_off()
                }
            };
            // Woken, or over time: it looks again either way.
            let _ = machine.timeout(pause, self.wake.notified()).await;
        }
    }

    fn now(&self) -> Instant {
        self.station.machine.now()
    }

    fn back_off(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        (RETRY * 2_u32.pow(self.failures.min(6) - 1)).min(LOOK_EVERY)
    }

    /// One look at everything that concerns this unit.
    async fn pass(&mut self) -> Result<Next, StoreError> {
        let Some(unit) = load::<UnitRecord>(&self.station.store, &unit_key(self.id)).await? else {
            return Ok(Next::End);
        };
        let unit = unit.record;
        let health = self.station.live.health(self.id, self.now());
        let waiting = match health {
            _ if !unit.approved => Some("its unit waits for approval"),
            Health::Left => Some("its unit was stopped"),
            Health::Down => Some("its unit does not answer"),
            Health::Up | Health::Suspect => None,
        };
        if let Some(waiting) = waiting {
            self.note(&self.mine().await?, &problems::waiting(waiting)).await?;
            self.looked = None;
            // A unit that is heard again is looked at soon.
            return Ok(Next::Look(Duration::from_secs(1)));
        }
        match self.attend(&unit).await {
            Ok(next) => Ok(next),
            Err(Halt::Store(error)) => Err(error),
            Err(error) => self.failed(&unit, &error).await,
        }
    }

    async fn failed(&mut self, unit: &UnitRecord, error: &Halt) -> Result<Next, StoreError> {
        if self.failures == 0 {
            tracing::warn!(unit = unit.name, error = error as &dyn std::error::Error, "not yet");
        }
        self.looked = None;
        let problem = problems::waiting(error.to_string());
        self.note(&self.mine().await?, &problem).await?;
        Ok(Next::Retry)
    }

    async fn attend(&mut self, unit: &UnitRecord) -> Result<Next, Halt> {
        if !unit.enrolled {
            let Some(_look) = self.may_look().await else {
                return Ok(Next::Look(Duration::ZERO));
            };
            return self.enrol().await;
        }
        let every = self.look_every().await?;
        let mine = self.mine().await?;
        // A unit that started again may report something else.
        let now = self.now();
        let changed = self.link.as_ref().is_none_or(|(record, _)| record != unit);
        let due = changed || self.looked.is_none_or(|looked| now - looked >= every);
        let calm = mine.iter().all(|volume| volume.record.settled);
        if calm && !due {
            return Ok(Next::Look(every));
        }
        let look = if calm { self.may_look().await } else { None };
        if calm && look.is_none() {
            return Ok(Next::Look(Duration::ZERO));
        }
        let api = self.link(unit)?;
        let mut view = api.inventory().await?;
        self.station.handle_inventory(unit, &view);
        let volumes = self.restless(&view).await?;
        let pause = self.settle_each(&*api, &mut view, &volumes).await?;
        self.looked = Some(self.now());
        Ok(Next::Look(pause.unwrap_or(every)))
    }

    async fn look_every(&self) -> Result<Duration, StoreError> {
        let units = self.station.store.pages().await?.units().count();
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Ok(LOOK_EVERY.max(Duration::from_secs(1).saturating_mul(units) / LOOKS_PER_SECOND))
    }

    /// Waits for its turn among the looks that nobody waits for; `None`: there is news of this unit.
    async fn may_look(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            look = Arc::clone(&self.looks).acquire_owned() => look.ok(),
            () = self.wake.notified() => None,
        }
    }

    fn link(&mut self, unit: &UnitRecord) -> Result<Arc<C::Unit>, UnitError> {
        if let Some((record, api)) = &self.link
            && record == unit
        {
            return Ok(Arc::clone(api));
        }
        let api = Arc::new(self.connect.connect(unit)?);
        self.link = Some((unit.clone(), Arc::clone(&api)));
        Ok(api)
    }

    /// One volume's trouble does not hold up the others.
    async fn settle_each(
        &self,
        api: &C::Unit,
        view: &mut UnitView,
        volumes: &[Arc<Stored<VolumeRecord>>],
    ) -> Result<Option<Duration>, Halt> {
        // Before a job is done, so that whoever waited for it finds the volume there.
        let told = |view: &UnitView| {
            self.station.live.report(self.id, view);
        };
        let mut pause = None;
        let mut trouble = None;
        for volume in volumes {
            let name = &volume.record.name;
            let Station { machine, store, .. } = &*self.station;
            match settle(&**machine, store, (self.id, api), view, &told, name).await {
                Ok(Rest::Waiting) => pause = Some(WAITING),
                Ok(rest) => self.tell_rest(&volume.record, rest).await?,
                Err(error) => {
                    let problem = problems::waiting(error.to_string());
                    self.note(std::slice::from_ref(volume), &problem).await?;
                    trouble = Some(error);
                }
            }
        }
        trouble.map_or(Ok(pause), Err)
    }

    async fn tell_rest(&self, before: &VolumeRecord, rest: Rest) -> Result<(), StoreError> {
        let job = match before.job {
            Some(job) if !before.settled => {
                load::<JobRecord>(&self.station.store, &job_key(job)).await?
            }
            _ => None,
        };
        let events = &self.station.events;
        match (job, rest) {
            (Some(job), _) if job.record.state == JobState::Failed => {
                let why = job.record.error.map(|problem| problem.detail).unwrap_or_default();
                events.add("job-failed", &before.name, format!("{}: {why}", job.record.kind));
            }
            (Some(job), _) if job.record.state == JobState::Cancelled => {
                let text = format!("{} cancelled, and taken back", job.record.kind);
                events.add("job-cancelled", &before.name, text);
            }
            (Some(job), _) if job.record.state == JobState::Done => {
                let host = job.record.host.unwrap_or_default();
                let text = format!("{} done; host {host}, epoch {}", job.record.kind, before.epoch);
                events.add("job-done", &before.name, text);
            }
            (_, Rest::Lost) => tracing::warn!(volume = before.name, "its unit does not report it"),
            _ => {}
        }
        Ok(())
    }

    async fn enrol(&self) -> Result<Next, Halt> {
        let Some(unit) = self.station.secret_for(self.id).await? else {
            return Ok(Next::End);
        };
        let Some(token) = self.station.valid_join_token().await? else {
            let detail = "the join token has expired; make a new one for it".to_owned();
            return Err(UnitError::Failed(detail).into());
        };
        self.connect.enrol(&unit, token.token.expose()).await?;
        self.station.handle_enrolled(self.id).await?;
        Ok(Next::Look(Duration::ZERO))
    }

    /// The volumes that are to be on this unit.
    async fn mine(&self) -> Result<Vec<Arc<Stored<VolumeRecord>>>, StoreError> {
        let pages = self.station.store.pages().await?;
        Ok(pages.volumes_on(self.id).cloned().collect())
    }

    /// Those whose records want something that the unit does not report, as they are by now.
    async fn restless(
        &self,
        view: &UnitView,
    ) -> Result<Vec<Arc<Stored<VolumeRecord>>>, StoreError> {
        let index = VolumeIndex::of(view);
        let mut mine = self.mine().await?;
        mine.retain(|volume| {
            let record = &volume.record;
            record.restored || !plan(record, find_in(record, &index)).is_empty()
        });
        Ok(mine)
    }

    /// On the jobs that wait, what they wait for.
    async fn note(
        &self,
        volumes: &[Arc<Stored<VolumeRecord>>],
        problem: &Problem,
    ) -> Result<(), StoreError> {
        let unsettled = volumes.iter().filter(|volume| !volume.record.settled);
        for job in unsettled.filter_map(|volume| volume.record.job) {
            update::<JobRecord>(&self.station.store, &job_key(job), |job| {
                let news = job.state == JobState::Running && job.error.as_ref() != Some(problem);
                if news {
                    job.error = Some(problem.clone());
                }
                news
            })
            .await?;
        }
        Ok(())
    }
}

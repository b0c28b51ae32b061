//! The station's own work: one worker per unit, which enrols it, pulls its inventory and brings
//! its volumes to rest; and a clerk who starts workers, judges health and tidies up.
//!
//! Workers are woken by changes in the store and look again by themselves now and then, so that a
//! change nobody told of is found too. All changes to one unit go through its one worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outband_pool_api::{JobState, Problem};
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use crate::app::Station;
use crate::health::Health;
use crate::http::serve::stopped;
use crate::problems;
use crate::reconcile::{Halt, Rest, settle};
use crate::records::{
    JobRecord, Stored, UNITS, UnitRecord, VOLUMES, VolumeRecord, job_key, load, load_all, unit_key,
    update,
};
use crate::store::StoreError;
use crate::unit::{UnitApi, UnitError, UnitView};

/// How the station reaches a unit.
pub trait Connect: Send + Sync + 'static {
    type Unit: UnitApi;

    /// A client that presents the unit's own secret.
    fn connect(&self, unit: &UnitRecord) -> Result<Self::Unit, UnitError>;

    /// Gives the unit the secret in its record, with the join token as the proof of who asks.
    fn enrol(
        &self,
        unit: &UnitRecord,
        join_token: &str,
    ) -> impl Future<Output = Result<(), UnitError>> + Send;
}

/// A look at a unit of which nothing is wanted: finds what changed there by itself.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After a failure, doubled each time up to `LOOK_EVERY`.
const RETRY: Duration = Duration::from_millis(500);
/// While a unit clears new space.
const WAITING: Duration = Duration::from_millis(500);
const HEALTH_EVERY: Duration = Duration::from_millis(500);
const CAPACITY_EVERY: u32 = 20;
const TIDY_EVERY: u32 = 600;

/// Runs until `stop` turns true.
pub async fn run<C: Connect>(
    station: Arc<Station>,
    connect: Arc<C>,
    mut stop: watch::Receiver<bool>,
) {
    let machine = Arc::clone(&station.machine);
    let (ending, mut ended) = mpsc::unbounded_channel();
    let workers = BTreeMap::new();
    let mut clerk = Clerk { station, connect, workers, stop: stop.clone(), ending };
    let mut changes = clerk.station.store.watch("/", 0);
    let mut next = machine.now();
    let mut count = 0_u32;
    clerk.wake_all().await;
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            () = machine.sleep_until(next) => {
                next = machine.now() + HEALTH_EVERY;
                count = count.wrapping_add(1);
                clerk.tick(count).await;
            }
            Some(id) = ended.recv() => {
                clerk.workers.remove(&id);
            }
            change = changes.next() => match change {
                Ok(changed) => clerk.wake(changed.iter().map(|change| change.key.as_str())).await,
                Err(_) => {
                    let listed = clerk.station.store.list(UNITS).await;
                    let after = listed.map_or(0, |listing| listing.revision);
                    changes = clerk.station.store.watch("/", after);
                    clerk.wake_all().await;
                }
            },
        }
    }
    // Workers are cut short wherever they are: the next start goes on from there.
    drop(clerk);
    while ended.recv().await.is_some() {}
}

struct Clerk<C> {
    station: Arc<Station>,
    connect: Arc<C>,
    workers: BTreeMap<Uuid, Arc<Notify>>,
    stop: watch::Receiver<bool>,
    /// Hears of workers that have ended; closed when all of them have.
    ending: mpsc::UnboundedSender<Uuid>,
}

impl<C: Connect> Clerk<C> {
    /// Which units a change concerns is not worked out: a worker without work finds that out from
    /// the store alone, at no cost to its unit.
    async fn wake(&mut self, mut keys: impl Iterator<Item = &str>) {
        if keys.any(|key| key.starts_with(UNITS) || key.starts_with(VOLUMES)) {
            self.wake_all().await;
        }
    }

    async fn wake_all(&mut self) {
        let units = match load_all::<UnitRecord>(&self.station.store, UNITS).await {
            Ok(units) => units,
            Err(error) => return tell(&error),
        };
        for unit in units {
            self.worker(unit.record.id).notify_one();
        }
    }

    fn worker(&mut self, id: Uuid) -> Arc<Notify> {
        if let Some(wake) = self.workers.get(&id) {
            return Arc::clone(wake);
        }
        let wake = Arc::new(Notify::new());
        let worker = Worker {
            station: Arc::clone(&self.station),
            connect: Arc::clone(&self.connect),
            id,
            wake: Arc::clone(&wake),
            looked: None,
            failures: 0,
            link: None,
        };
        let (ending, mut stop) = (self.ending.clone(), self.stop.clone());
        self.station.machine.spawn(Box::pin(async move {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => {}
                () = worker.run() => {}
            }
            // The clerk may be gone.
            let _ = ending.send(id);
        }));
        self.workers.insert(id, Arc::clone(&wake));
        wake
    }

    async fn tick(&mut self, count: u32) {
        self.station.note_load(self.station.machine.now());
        if let Err(error) = self.station.judge_health(self.station.machine.now()).await {
            tell(&error);
        }
        for done in [self.station.enforce_deadlines().await, self.station.advance_takeovers().await]
        {
            if let Err(error) = done {
                tell(&error);
            }
        }
        if count.is_multiple_of(CAPACITY_EVERY)
            && let Err(problem) = self.station.judge_capacity().await
        {
            tracing::error!(detail = problem.detail, "how full the pool is cannot be told");
        }
        if count.is_multiple_of(TIDY_EVERY)
            && let Err(error) = self.station.forget_old_jobs().await
        {
            tell(&error);
        }
    }
}

fn tell(error: &StoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "the store failed");
}

struct Worker<C: Connect> {
    station: Arc<Station>,
    connect: Arc<C>,
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
    async fn run(mut self) {
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
            self.note(&self.unsettled().await?, &problems::waiting(waiting)).await?;
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
        self.note(&self.unsettled().await?, &problem).await?;
        Ok(Next::Retry)
    }

    async fn attend(&mut self, unit: &UnitRecord) -> Result<Next, Halt> {
        if !unit.enrolled {
            return self.enrol().await;
        }
        let unsettled = self.unsettled().await?;
        // A unit that started again may report something else.
        let now = self.now();
        let changed = self.link.as_ref().is_none_or(|(record, _)| record != unit);
        let due = changed || self.looked.is_none_or(|looked| now - looked >= LOOK_EVERY);
        if !due && unsettled.is_empty() {
            return Ok(Next::Look(LOOK_EVERY));
        }
        let api = self.link(unit)?;
        let mut view = api.inventory().await?;
        self.station.handle_inventory(unit, view.clone());
        let volumes = if due { self.here().await? } else { unsettled };
        let pause = self.settle_each(&*api, &mut view, &volumes).await?;
        self.looked = Some(self.now());
        Ok(Next::Look(pause))
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
        volumes: &[Stored<VolumeRecord>],
    ) -> Result<Duration, Halt> {
        // Before a job is done, so that whoever waited for it finds the volume there.
        let told = |view: &UnitView| {
            let view = Some(view.clone());
            self.station.live.change(self.id, |live| live.view = view);
        };
        let mut pause = LOOK_EVERY;
        let mut trouble = None;
        for volume in volumes {
            let name = &volume.record.name;
            let Station { machine, store, .. } = &*self.station;
            match settle(&**machine, store, api, view, &told, name).await {
                Ok(Rest::Waiting) => pause = WAITING,
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

    async fn here(&self) -> Result<Vec<Stored<VolumeRecord>>, StoreError> {
        let mut volumes = load_all::<VolumeRecord>(&self.station.store, VOLUMES).await?;
        volumes.retain(|volume| volume.record.unit == self.id);
        Ok(volumes)
    }

    async fn unsettled(&self) -> Result<Vec<Stored<VolumeRecord>>, StoreError> {
        let mut volumes = self.here().await?;
        volumes.retain(|volume| !volume.record.settled);
        Ok(volumes)
    }

    /// On the jobs that wait, what they wait for.
    async fn note(
        &self,
        volumes: &[Stored<VolumeRecord>],
        problem: &Problem,
    ) -> Result<(), StoreError> {
        for job in volumes.iter().filter_map(|volume| volume.record.job) {
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

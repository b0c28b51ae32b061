//! The station's own work: one worker per unit, which enrols it, pulls its inventory and brings
//! its volumes to rest; and a clerk who starts workers, judges health and tidies up.
//!
//! Workers are woken by changes in the store that concern their unit, and look again by themselves
//! now and then; the clerk wakes all of them now and then, so that a change nobody told it of is found
//! too. All changes to one unit go through its one worker.

mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use uuid::Uuid;

use crate::app::Station;
use crate::http::serve::stopped;
use crate::records::{PLACEMENTS, UnitRecord, load, unit_key};
use crate::store::{Change, StoreError, Watch, WatchError};
use crate::unit::{UnitApi, UnitError};
use worker::Worker;

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

const HEALTH_EVERY: Duration = Duration::from_millis(500);
const CAPACITY_EVERY: u32 = 20;
/// All are woken so often, whatever the watch has told.
const LIST_EVERY: u32 = 120;
const TIDY_EVERY: u32 = 600;

/// Runs until `stop` turns true.
pub async fn run<C: Connect>(
    station: Arc<Station>,
    connect: Arc<C>,
    mut stop: watch::Receiver<bool>,
) {
    let machine = Arc::clone(&station.machine);
    let (ending, mut ended) = mpsc::unbounded_channel();
    let (workers, looks) = (BTreeMap::new(), Arc::new(Semaphore::new(LOOKS_MAX)));
    let mut clerk = Clerk { station, connect, workers, looks, stop: stop.clone(), ending };
    let mut changes = clerk.begin().await;
    let mut next = machine.now();
    let mut count = 0_u32;
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(id) = ended.recv() => clerk.bury(id).await,
            changed = news(&mut changes) => match changed {
                Ok(_) => clerk.wake_concerned().await,
                Err(_) => changes = clerk.begin().await,
            },
            () = machine.sleep_until(next) => {}
        }
        // Neither holds up the other: a tick that is due comes behind at most one piece of news, and
        // behind a tick, however long, all that it has kept waiting comes first.
        if machine.now() >= next {
            count = count.wrapping_add(1);
            if changes.is_none() || count.is_multiple_of(LIST_EVERY) {
                changes = clerk.begin().await;
            }
            clerk.tick(count).await;
            next = machine.now() + HEALTH_EVERY;
        }
    }
    // Workers are cut short wherever they are: the next start goes on from there.
    drop(clerk);
    while ended.recv().await.is_some() {}
}

/// Waits for ever without a watch.
async fn news(watch: &mut Option<Watch>) -> Result<Vec<Change>, WatchError> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// Looks at units of which nothing is wanted, and enrolments, that are under way at once. What
/// somebody waits for is not held up by them.
const LOOKS_MAX: usize = 64;

struct Clerk<C> {
    station: Arc<Station>,
    connect: Arc<C>,
    workers: BTreeMap<Uuid, Arc<Notify>>,
    looks: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    /// Hears of workers that have ended; closed when all of them have.
    ending: mpsc::UnboundedSender<Uuid>,
}

impl<C: Connect> Clerk<C> {
    /// Wakes everybody, and watches from there on. `None`: the store has failed.
    async fn begin(&mut self) -> Option<Watch> {
        match self.wake_all().await {
            Ok(watch) => Some(watch),
            Err(error) => {
                tell(&error);
                None
            }
        }
    }

    async fn wake_all(&mut self) -> Result<Watch, StoreError> {
        let store = &self.station.store;
        let watch = store.watch("/", store.list(PLACEMENTS).await?.revision);
        let units: Vec<Uuid> = store.pages().await?.units().all().map(|u| u.record.id).collect();
        units.into_iter().for_each(|unit| self.wake(unit));
        Ok(watch)
    }

    /// Wakes the workers of those units that changes concern, and no other.
    async fn wake_concerned(&mut self) {
        match self.station.store.concerned().await {
            Ok(units) => units.into_iter().for_each(|unit| self.wake(unit)),
            Err(error) => tell(&error),
        }
    }

    fn wake(&mut self, id: Uuid) {
        self.worker(id).notify_one();
    }

    /// A worker has ended because its unit was gone. It may be back by now.
    async fn bury(&mut self, id: Uuid) {
        self.workers.remove(&id);
        match load::<UnitRecord>(&self.station.store, &unit_key(id)).await {
            Ok(Some(_)) => self.wake(id),
            Ok(None) => {}
            // The worker itself asks until the store answers.
            Err(error) => {
                tell(&error);
                self.wake(id);
            }
        }
    }

    fn worker(&mut self, id: Uuid) -> Arc<Notify> {
        if let Some(wake) = self.workers.get(&id) {
            return Arc::clone(wake);
        }
        let wake = Arc::new(Notify::new());
        let (station, connect) = (Arc::clone(&self.station), Arc::clone(&self.connect));
        let worker = Worker::new(station, connect, Arc::clone(&self.looks), id, Arc::clone(&wake));
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
            && let Err(error) = self.station.judge_capacity().await
        {
            tell(&error);
        }
        if (count.is_multiple_of(TIDY_EVERY) || self.station.has_many_new_jobs())
            && let Err(error) = self.station.forget_old_jobs().await
        {
            tell(&error);
        }
    }
}

fn tell(error: &StoreError) {
    tracing::error!(error = error as &dyn std::error::Error, "the store failed");
}

#[cfg(test)]
mod tests;

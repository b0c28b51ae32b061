//! The station's rules: who may ask for what, and what then becomes the record. No HTTP, no
//! storage engine; what is wanted of units is left to the reconciler.

mod access;
mod adopt;
mod audit;
mod backup;
mod doctor;
mod events;
mod forget;
mod history;
mod hosts;
mod index;
mod jobs;
mod live;
mod place;
mod pool;
mod rates;
mod read;
mod request;
mod services;
mod space;
mod takeover;
mod tokens;
mod units;
mod view;
mod volumes;

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use outband_control::machine::{Os, SharedMachine};
use outband_pool_api::{Event, Fullness, Problem};
use tokio::sync::watch;

pub use access::{Action, Caller, allows};
pub use events::Events;
pub use history::{History, KEPT};
pub use live::{Live, LiveUnit};
pub use rates::Watched;
pub use units::{Heard, Policy};

use crate::book::Book;
use crate::quarantine::Rules;
use crate::records::{UnitRecord, load_all};
use crate::store::{Shared, StoreError};

/// Everything the API and the announcements act on.
#[derive(Debug)]
pub struct Station {
    pub store: Book,
    pub live: Live,
    pub events: Events,
    pub history: History,
    pub watched: Watched,
    pub pool: String,
    pub policy: Policy,
    pub machine: SharedMachine,
    /// Held by whoever changes records that others change too.
    turns: tokio::sync::Mutex<()>,
    /// When a unit that keeps falling over gets nothing new.
    pub quarantine: Rules,
    /// Jobs since old ones were last forgotten.
    jobs_begun: AtomicUsize,
    /// What was last told of how full the pool is.
    fullness: tokio::sync::Mutex<Fullness>,
    /// Whether whoever waits for news is to wait no more.
    ending: watch::Sender<bool>,
}

impl Station {
    /// Takes up what the store knows.
    pub async fn open(store: Shared, pool: &str, policy: Policy) -> Result<Self, StoreError> {
        Self::open_on(Os::shared(), store, pool, policy).await
    }

    /// As [`Self::open`], on a machine that need not be this one.
    pub async fn open_on(
        machine: SharedMachine,
        store: Shared,
        pool: &str,
        policy: Policy,
    ) -> Result<Self, StoreError> {
        let live = Live::default();
        let now = machine.now();
        let store = Book::open(store).await?;
        for unit in load_all::<UnitRecord>(&store).await? {
            live.know(unit.record.id, now, unit.record.left);
        }
        let events = Events::new(SharedMachine::clone(&machine));
        let (pool, turns) = (pool.to_owned(), tokio::sync::Mutex::default());
        let (quarantine, fullness) = (Rules::default(), tokio::sync::Mutex::default());
        let (history, watched) = (History::default(), Watched::default());
        Ok(Self {
            store,
            live,
            events,
            history,
            watched,
            pool,
            policy,
            machine,
            turns,
            quarantine,
            jobs_begun: AtomicUsize::new(0),
            fullness,
            ending: watch::Sender::new(false),
        })
    }

    /// The station stops: whoever follows what happens, or waits for a job, is answered now.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Done when the station stops.
    pub async fn ended(&self) {
        let mut ending = self.ending.subscribe();
        // The sender lives as long as `self`.
        let _ = ending.wait_for(|ending| *ending).await;
    }

    pub(crate) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Time of day in whole seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.machine.since_1970().as_secs()
    }

    /// Of this machine and of the day.
    fn times(&self) -> (Instant, u64) {
        (self.machine.now(), self.seconds())
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.machine.since_1970().as_millis()).unwrap_or(u64::MAX)
    }

    /// Not for hosts: names of others are in them.
    pub fn events_after(&self, who: &Caller, after: u64) -> Result<Vec<Event>, Problem> {
        who.must(Action::SeeEvents)?;
        Ok(self.events.after(after))
    }
}

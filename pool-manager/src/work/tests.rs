//! What the clerk hears, however slow its store is and whatever that forgets to tell.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use outband_control::api::Counts;
use outband_control::machine::SharedMachine;

use super::*;
use crate::app::{Heard, Policy};
use crate::records::{DEADLINES, UNITS};
use crate::sample::Clock;
use crate::store::memory::MemoryStore;
use crate::store::{Answer, Entry, HISTORY, Listing, Outcome, Store, Transaction};
use crate::unit::{Fence, NewGrant, NewVolume, UnitView};

const UNIT: Uuid = Uuid::from_u128(1);

/// A store with whims.
#[derive(Debug)]
struct Odd {
    inner: MemoryStore,
    /// What its watchers watch instead of it, but for the first of them, which is the book.
    silence: Option<MemoryStore>,
    watchers: AtomicU32,
    clock: Arc<Clock>,
    /// What each tick of the clerk takes.
    slowness: Duration,
    ticks: AtomicU32,
    ticked: Notify,
    /// It fails once it is open, and its watchers have missed something.
    fails: bool,
    opened: AtomicBool,
}

impl Odd {
    fn new(clock: Arc<Clock>) -> Self {
        let (slowness, ticks, ticked) = (Duration::ZERO, AtomicU32::new(0), Notify::new());
        let (inner, silence, watchers) = (MemoryStore::default(), None, AtomicU32::new(0));
        let (fails, opened) = (false, AtomicBool::new(false));
        Self { inner, silence, watchers, clock, slowness, ticks, ticked, fails, opened }
    }
}

impl Store for Odd {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        Box::pin(async move {
            if prefix == DEADLINES {
                self.clock.pass(self.slowness);
                self.ticks.fetch_add(1, Ordering::Relaxed);
                self.ticked.notify_one();
                tokio::task::yield_now().await;
            }
            if prefix == UNITS && self.opened.swap(true, Ordering::Relaxed) && self.fails {
                return Err(StoreError::Stopped);
            }
            self.inner.list(prefix).await
        })
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        self.inner.commit(transaction)
    }

    fn watch(&self, prefix: &str, after: u64) -> Watch {
        let first = self.watchers.fetch_add(1, Ordering::Relaxed) == 0;
        match &self.silence {
            Some(silence) if !first => silence.watch(prefix, 0),
            _ => self.inner.watch(prefix, after),
        }
    }
}

/// Units of which nothing is known but that a worker has reached for them.
#[derive(Debug, Default)]
struct Reached(Notify);

struct Mute;

fn no_answer<T>() -> Result<T, UnitError> {
    Err(UnitError::Unreachable("it is mute".to_owned()))
}

impl UnitApi for Mute {
    async fn inventory(&self) -> Result<UnitView, UnitError> {
        no_answer()
    }

    async fn counts(&self) -> Result<Counts, UnitError> {
        no_answer()
    }

    async fn create(&self, _: &NewVolume) -> Result<(), UnitError> {
        no_answer()
    }

    async fn grow(&self, _: &str, _: u64) -> Result<(), UnitError> {
        no_answer()
    }

    async fn delete(&self, _: &str, _: Uuid) -> Result<(), UnitError> {
        no_answer()
    }

    async fn grant(&self, _: &NewGrant) -> Result<(), UnitError> {
        no_answer()
    }

    async fn fence(&self, _: &Fence) -> Result<(), UnitError> {
        no_answer()
    }
}

impl Connect for Reached {
    type Unit = Mute;

    fn connect(&self, _: &UnitRecord) -> Result<Mute, UnitError> {
        Ok(Mute)
    }

    async fn enrol(&self, _: &UnitRecord, _: &str) -> Result<(), UnitError> {
        self.0.notify_one();
        no_answer()
    }
}

async fn open(store: Arc<Odd>) -> Arc<Station> {
    let clock: SharedMachine = Arc::<Clock>::clone(&store.clock);
    let station = Station::open_on(clock, store, "main", Policy::Auto).await.unwrap();
    station.ensure_join_token().await.unwrap();
    Arc::new(station)
}

async fn join(station: &Station) {
    let heard = Heard {
        id: UNIT,
        name: "unit".to_owned(),
        portals: Vec::new(),
        api: "192.0.2.1:3261".parse().unwrap(),
        fingerprint: [1; 32],
        version: "0.1.0".to_owned(),
        incarnation: 1,
    };
    station.handle_startup(&heard, station.machine.now()).await.unwrap();
}

/// Ticks of the clerk until the unit that joins after the first one is reached for. `each` passes
/// whenever the others have had a turn.
async fn ticks_until_reached(store: Odd, each: Duration) -> u32 {
    let (store, reached) = (Arc::new(store), Arc::new(Reached::default()));
    let station = open(Arc::clone(&store)).await;
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(run(Arc::clone(&station), Arc::clone(&reached), stopped));
    store.ticked.notified().await;
    join(&station).await;
    let time = async {
        for rounds in 0_u32.. {
            assert!(rounds < 10_000, "nobody hears of it");
            store.clock.pass(each);
            // It goes on announcing itself, or it would be down by then.
            join(&station).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = reached.0.notified() => {}
        () = time => {}
    }
    stop.send_replace(true);
    working.await.unwrap();
    store.ticks.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_tick_slower_than_its_pace_keeps_no_news_waiting() {
    let store = Odd { slowness: 2 * HEALTH_EVERY, ..Odd::new(Clock::new()) };
    let ticks = ticks_until_reached(store, Duration::ZERO).await;
    assert!(ticks < 10, "{ticks}");
}

#[tokio::test]
async fn a_change_that_nobody_told_of_is_found_within_a_minute() {
    let store = Odd { silence: Some(MemoryStore::default()), ..Odd::new(Clock::new()) };
    let ticks = ticks_until_reached(store, HEALTH_EVERY).await;
    assert!((LIST_EVERY..2 * LIST_EVERY).contains(&ticks), "{ticks}");
}

#[tokio::test]
async fn a_unit_whose_record_cannot_be_read_keeps_a_worker() {
    let store = Odd { fails: true, ..Odd::new(Clock::new()) };
    let (stop, stopped) = watch::channel(false);
    let (ending, mut ended) = mpsc::unbounded_channel();
    let station = open(Arc::new(store)).await;
    // So much that the book must be read anew, which fails.
    for number in 0..=HISTORY {
        let put = Transaction::new().put(format!("/other/{number}"), Vec::new());
        station.store.commit(put).await.unwrap();
    }
    let mut clerk = Clerk {
        station,
        connect: Arc::new(Reached::default()),
        workers: BTreeMap::new(),
        looks: Arc::new(Semaphore::new(1)),
        stop: stopped,
        ending,
    };
    clerk.bury(UNIT).await;
    assert!(clerk.workers.contains_key(&UNIT), "one that asks until the store answers");
    stop.send_replace(true);
    assert_eq!(ended.recv().await, Some(UNIT));
}

//! What a station reads of its store for one change, whatever the size of the pool.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outband_pool_api::{HostRequest, JobState, UnitState, VolumeRequest};
use outband_pool_manager::app::{Caller, Heard, Policy, Station};
use outband_pool_manager::records::VOLUMES;
use outband_pool_manager::store::memory::MemoryStore;
use outband_pool_manager::store::{Answer, Entry, Listing, Outcome, Store, Transaction, Watch};
use outband_pool_manager::work;
use tokio::sync::watch;
use uuid::Uuid;
use world::{MIB, Units, ask_named};

const PATIENCE: Duration = Duration::from_secs(60);
const ADMIN: Caller = Caller::ADMIN;

/// Counts the records of volumes that are read.
#[derive(Debug, Default)]
struct Counted {
    inner: MemoryStore,
    volumes: AtomicUsize,
}

impl Counted {
    fn note(&self, entries: &[Entry]) {
        let volumes = entries.iter().filter(|entry| entry.key.starts_with(VOLUMES)).count();
        self.volumes.fetch_add(volumes, Ordering::Relaxed);
    }
}

impl Store for Counted {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let found = self.inner.get(key).await?;
            self.note(found.as_slice());
            Ok(found)
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        Box::pin(async move {
            let listing = self.inner.list(prefix).await?;
            self.note(&listing.entries);
            Ok(listing)
        })
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        self.inner.commit(transaction)
    }

    fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.inner.watch(prefix, after)
    }
}

async fn join(station: &Station, units: &Units, number: usize) {
    let id = Uuid::from_u128(number as u128 + 1);
    units.add(id, 100 * MIB);
    let heard = Heard {
        id,
        name: format!("unit-{number}"),
        portals: Vec::new(),
        api: "192.0.2.1:3261".parse().unwrap(),
        fingerprint: [1; 32],
        version: "0.1.0".to_owned(),
        incarnation: 1,
    };
    station.handle_startup(&heard, station.machine.now()).await.unwrap();
}

async fn give(station: &Station, name: &str, unit: usize) {
    let unit = Some(format!("unit-{unit}"));
    let ask = VolumeRequest { host: Some("a".into()), unit, ..ask_named(name, 1) };
    let job = station.request_volume(&ADMIN, ask, None).await.unwrap();
    let job = station.wait_for_job(&ADMIN, job, PATIENCE).await.unwrap();
    assert_eq!(job.state, JobState::Done, "{job:?}");
}

async fn until_all_are_joined(station: &Station, units: usize) {
    let all = async {
        loop {
            let shown = station.units(&ADMIN).await.unwrap();
            if shown.iter().filter(|unit| unit.state == UnitState::Joined).count() == units {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all units join");
}

/// Records of volumes that are read for one more of them.
async fn read_for_one_more(units: usize, volumes_each: usize) -> usize {
    let store = Arc::new(Counted::default());
    let shared = Arc::clone(&store);
    let station = Arc::new(Station::open(shared, "main", Policy::Auto).await.unwrap());
    station.ensure_join_token().await.unwrap();
    let iqn = "iqn.2026-11.test:a".to_owned();
    let host = HostRequest { name: "a".to_owned(), iqn, quota: None, mutual: false };
    station.add_host(&ADMIN, host).await.unwrap();
    let played = Units::default();
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(work::run(Arc::clone(&station), Arc::new(played.clone()), stopped));
    for number in 0..units {
        join(&station, &played, number).await;
    }
    until_all_are_joined(&station, units).await;
    for number in 0..units * volumes_each {
        give(&station, &format!("v{number}"), number % units).await;
    }
    store.volumes.store(0, Ordering::Relaxed);
    give(&station, "one-more", 0).await;
    let read = store.volumes.load(Ordering::Relaxed);
    stop.send_replace(true);
    working.await.unwrap();
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_reads_no_volume_from_the_store_however_many_units_there_are() {
    // The book follows the store's feed: what was changed has come that way.
    assert_eq!((read_for_one_more(6, 2).await, read_for_one_more(12, 2).await), (0, 0));
}

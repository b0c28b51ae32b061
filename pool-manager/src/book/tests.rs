use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::records::{HostRecord, Stored, UnitRecord, VolumeRecord, Wish, encode, load, load_all};
use crate::records::{VOLUMES, decode, volume_key};
use crate::sample;
use crate::store::memory::MemoryStore;
use crate::store::{Answer, Compare, HISTORY, Store};

const ONE: Uuid = Uuid::from_u128(1);
const TWO: Uuid = Uuid::from_u128(2);

fn record(name: &str, unit: Uuid, host: Option<&str>) -> VolumeRecord {
    VolumeRecord { wish: Wish::Free, ..sample::wanted(name, unit, host) }
}

fn put(record: &VolumeRecord) -> Transaction {
    Transaction::new().put(volume_key(&record.name), encode(record))
}

fn names<'a>(volumes: impl Iterator<Item = &'a Arc<Stored<VolumeRecord>>>) -> Vec<String> {
    volumes.map(|volume| volume.record.name.clone()).collect()
}

/// Never answers, whatever it has done; and changes something between a reader's listings.
#[derive(Debug, Default)]
struct Odd {
    inner: MemoryStore,
    lists: AtomicU32,
}

impl Store for Odd {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        Box::pin(async move {
            let count = self.lists.fetch_add(1, Ordering::Relaxed);
            let listing = self.inner.list(prefix).await;
            let unit = if count.is_multiple_of(2) { ONE } else { TWO };
            self.inner.commit(put(&record("between", unit, None))).await?;
            listing
        })
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        Box::pin(async move {
            self.inner.commit(transaction).await?;
            std::future::pending().await
        })
    }

    fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.inner.watch(prefix, after)
    }
}

#[tokio::test]
async fn what_was_committed_is_seen_though_nobody_waits_for_it() {
    let book = Book::open(Arc::new(Odd::default())).await.unwrap();
    let change = put(&record("data", ONE, None));
    tokio::select! {
        biased;
        _ = book.commit(change) => panic!("it answers"),
        () = std::future::ready(()) => {}
    }
    let seen = load::<VolumeRecord>(&book, &volume_key("data")).await.unwrap();
    assert_eq!(seen.unwrap().record.unit, ONE);
}

#[tokio::test]
async fn what_changes_while_all_is_read_is_there_once_and_as_it_is_last() {
    let book = Book::open(Arc::new(Odd::default())).await.unwrap();
    let pages = book.pages().await.unwrap();
    assert_eq!(names(pages.volumes_on(ONE)), [""; 0]);
    assert_eq!(names(pages.volumes_on(TWO)), ["between"], "as the last of four listings left it");
}

#[tokio::test]
async fn a_refused_change_is_never_seen() {
    let book = Book::open(Arc::new(MemoryStore::default())).await.unwrap();
    let refused = put(&record("data", ONE, None)).when(Compare::Unchanged("/none".into(), 1));
    assert_eq!(book.commit(refused).await.unwrap(), Outcome::Conflict);
    assert!(load_all::<VolumeRecord>(&book).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_book_that_was_not_opened_for_long_is_read_anew_and_all_are_concerned() {
    let store = Arc::new(MemoryStore::default());
    let station = sample::station_on(Arc::<MemoryStore>::clone(&store)).await;
    let unit = sample::unit(&station, "unit", &[]).await;
    station.store.concerned().await.unwrap();
    for number in 0..=HISTORY {
        let volume = record(&format!("v{number:05}"), TWO, Some("a"));
        store.commit(put(&volume)).await.unwrap();
    }
    let concerned = station.store.concerned().await.unwrap();
    assert!(concerned.contains(&unit), "nobody knows what has changed there");
    let pages = station.store.pages().await.unwrap();
    assert_eq!(
        (pages.volumes_on(TWO).count(), pages.volumes_of("a").count()),
        (HISTORY + 1, HISTORY + 1)
    );
}

#[tokio::test]
async fn a_book_read_anew_tells_a_unit_from_what_it_was_with_more_on_it() {
    let store = Arc::new(MemoryStore::default());
    let book = Book::open(Arc::<MemoryStore>::clone(&store) as Shared).await.unwrap();
    for name in ["older", "newer"] {
        store.commit(put(&record(name, ONE, None))).await.unwrap();
    }
    let before = book.pages().await.unwrap().revision_on(ONE);
    store.commit(Transaction::new().delete(volume_key("older"))).await.unwrap();
    for _ in 0..=HISTORY {
        store.commit(put(&record("other", TWO, None))).await.unwrap();
    }
    let pages = book.pages().await.unwrap();
    assert_eq!(names(pages.volumes_on(ONE)), ["newer"], "which is the last change that is left");
    assert_ne!(pages.revision_on(ONE), before);
}

#[tokio::test]
async fn what_cannot_be_read_stands_for_nothing() {
    let book = Book::open(Arc::new(MemoryStore::default())).await.unwrap();
    book.commit(put(&record("data", ONE, Some("a")))).await.unwrap();
    let garbled = Transaction::new().put(volume_key("data"), b"{".to_vec());
    book.commit(garbled).await.unwrap();
    let pages = book.pages().await.unwrap();
    assert!(pages.volume("data").is_none());
    assert_eq!((pages.volumes_on(ONE).count(), pages.volumes_of("a").count()), (0, 0));
}

#[tokio::test]
async fn a_store_with_a_record_that_cannot_be_read_is_not_opened() {
    let store = MemoryStore::default();
    store.commit(Transaction::new().put("/host/a", b"{".to_vec())).await.unwrap();
    let refused = Book::open(Arc::new(store)).await;
    assert!(matches!(refused, Err(StoreError::Record { key, .. }) if key == "/host/a"));
}

#[test]
fn kinds_are_told_apart_by_their_keys() {
    // A host's second key begins as its first one does not.
    assert!(!crate::records::HOST_NAMES.starts_with(crate::records::HOSTS));
    let mut pages = Pages::default();
    let key = "/host-iqn/iqn.2026-11.test:a".to_owned();
    pages.take(crate::store::Change { key, value: Some(b"a".to_vec()), revision: 1 });
    assert!(HostRecord::table(&pages).unwrap().all().next().is_none());
    assert!(UnitRecord::table(&pages).unwrap().all().next().is_none());
}

/// A volume put, with its unit and host, or deleted.
type Op = (u8, Option<(bool, Option<u8>)>);

proptest! {
    #[test]
    fn whatever_changes_the_book_is_what_the_store_lists(
        ops in proptest::collection::vec(any::<Op>(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agrees(ops));
    }
}

async fn agrees(ops: Vec<Op>) {
    let book = Book::open(Arc::new(MemoryStore::default())).await.unwrap();
    for (number, change) in ops {
        let name = format!("v{}", number % 6);
        let transaction = match change {
            Some((first, host)) => {
                let host = host.map(|host| format!("h{}", host % 3));
                put(&record(&name, if first { ONE } else { TWO }, host.as_deref()))
            }
            None => Transaction::new().delete(volume_key(&name)),
        };
        let unit_of = |pages: &Pages| pages.volume(&name).map(|volume| volume.record.unit);
        let before = unit_of(&book.pages().await.unwrap());
        let marks = |pages: &Pages| [ONE, TWO].map(|unit| pages.revision_on(unit));
        let marked = marks(&book.pages().await.unwrap());
        book.concerned().await.unwrap();
        book.commit(transaction).await.unwrap();
        let after = unit_of(&book.pages().await.unwrap());
        let concerned = book.concerned().await.unwrap();
        let units: BTreeSet<Uuid> = before.into_iter().chain(after).collect();
        assert_eq!(concerned, units);
        for (unit, before, after) in
            [0, 1].map(|n| ([ONE, TWO][n], marked[n], marks(&book.locked().pages)[n]))
        {
            assert_eq!(before != after, units.contains(&unit), "whoever remembers {unit} is told");
        }
    }
    let listed = book.list(VOLUMES).await.unwrap().entries;
    let listed: Vec<Stored<VolumeRecord>> =
        listed.into_iter().map(|e| decode(e).unwrap()).collect();
    let pages = book.pages().await.unwrap();
    let all: Vec<Stored<VolumeRecord>> =
        VolumeRecord::table(&pages).unwrap().all().map(|row| Stored::clone(row)).collect();
    assert_eq!(all, listed);
    let found = |is: &dyn Fn(&VolumeRecord) -> bool| -> Vec<String> {
        listed.iter().map(|row| &row.record).filter(|r| is(r)).map(|r| r.name.clone()).collect()
    };
    for unit in [ONE, TWO] {
        assert_eq!(names(pages.volumes_on(unit)), found(&|record| record.unit == unit));
    }
    for host in ["h0", "h1", "h2"] {
        let held = |record: &VolumeRecord| record.holder.as_ref().is_some_and(|h| h.host == host);
        assert_eq!(names(pages.volumes_of(host)), found(&held));
    }
}

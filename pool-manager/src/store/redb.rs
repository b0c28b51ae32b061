//! The embedded engine: one redb file in the state directory. Every commit is on stable storage
//! before it returns (redb's `Durability::Immediate`, its default). Transactions that come while
//! another is being written wait for it and are then written together: each is decided by itself, in
//! the order in which they came, and one sync stands for all.

use std::collections::VecDeque;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use tokio::sync::oneshot;

use super::feed::{Change, Feed, Watch};
use super::{Answer, Entry, Listing, Operation, Outcome, Store, StoreError, Transaction};

/// Key to (revision, value).
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";
/// Bytes of the file kept in memory. The book has the records; this is for what it has not.
const CACHE_LEN: usize = 64 << 20;
/// Transactions written together, at most: the first of them waits for the last.
const BATCH_MAX: usize = 256;

/// Cheap to clone; all clones are the same store.
#[derive(Clone, Debug)]
pub struct RedbStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    queue: Mutex<Queue>,
    feed: Feed,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Somebody writes, and will come back for what waits: one at a time, so that changes are
    /// published in the order of their revisions.
    busy: bool,
}

#[derive(Debug)]
struct Waiting {
    transaction: Transaction,
    answer: AnswerTo,
}

type AnswerTo = oneshot::Sender<Result<Outcome, StoreError>>;

impl RedbStore {
    /// Opens the file, or makes it. The file is locked: a second process gets `InUse`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE_LEN).create(path);
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
            error => engine(error),
        })?;
        let transaction = database.begin_write().map_err(engine)?;
        transaction.open_table(ENTRIES).map_err(engine)?;
        let revision = {
            let meta = transaction.open_table(META).map_err(engine)?;
            let stored = meta.get(REVISION).map_err(engine)?;
            stored.map_or(0, |revision| revision.value())
        };
        transaction.commit().map_err(engine)?;
        let feed = Feed::new(revision);
        Ok(Self(Arc::new(Inner { database, queue: Mutex::default(), feed })))
    }

    /// redb blocks on the disk; that must not hold up the station's other work.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(engine)?
    }
}

impl Inner {
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let transaction = self.database.begin_read().map_err(engine)?;
        let entries = transaction.open_table(ENTRIES).map_err(engine)?;
        let found = entries.get(key).map_err(engine)?;
        Ok(found.map(|found| entry(key, found.value())))
    }

    fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.page(prefix, None, usize::MAX)
    }

    fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        let transaction = self.database.begin_read().map_err(engine)?;
        let table = transaction.open_table(ENTRIES).map_err(engine)?;
        let meta = transaction.open_table(META).map_err(engine)?;
        let revision = meta.get(REVISION).map_err(engine)?.map_or(0, |value| value.value());
        let mut entries = Vec::new();
        let after = after.filter(|after| *after >= prefix);
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        for found in table.range::<&str>((from, Bound::Unbounded)).map_err(engine)? {
            let (key, value) = found.map_err(engine)?;
            if !key.value().starts_with(prefix) || entries.len() == limit {
                break;
            }
            entries.push(entry(key.value(), value.value()));
        }
        Ok(Listing { entries, revision })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has to begin to write.
    fn enqueue(&self, waiting: Waiting) -> bool {
        let mut queue = self.queue();
        queue.waiting.push_back(waiting);
        !std::mem::replace(&mut queue.busy, true)
    }

    fn next_batch(&self) -> (Vec<Transaction>, Vec<AnswerTo>) {
        let mut queue = self.queue();
        let length = queue.waiting.len().min(BATCH_MAX);
        let batch = queue.waiting.drain(..length);
        batch.map(|waiting| (waiting.transaction, waiting.answer)).unzip()
    }

    /// All of them with one sync, or none.
    fn write(&self, transactions: Vec<Transaction>) -> Result<Vec<Outcome>, redb::Error> {
        let write = self.database.begin_write()?;
        let (outcomes, changes) = decide(&write, transactions)?;
        match changes.is_empty() {
            true => write.abort()?,
            false => write.commit()?,
        }
        for changes in changes.chunk_by(|one, next| one.revision == next.revision) {
            self.feed.publish(changes[0].revision, changes.iter().cloned());
        }
        Ok(outcomes)
    }
}

/// Whoever writes, for all that waits.
struct Writer {
    inner: Arc<Inner>,
    /// The next one can begin.
    done: bool,
}

impl Writer {
    /// Until nothing waits. The last are answered when the store is let go: whoever has its answer may
    /// close the store and open it again.
    fn run(inner: Arc<Inner>) {
        let mut writer = Self { inner, done: false };
        loop {
            let (transactions, answers) = writer.inner.next_batch();
            let outcomes = writer.inner.write(transactions);
            writer.rest_if_idle();
            if writer.done {
                drop(writer);
                return answer(answers, &outcomes);
            }
            answer(answers, &outcomes);
        }
    }

    /// Said under the lock: whoever comes next begins anew.
    fn rest_if_idle(&mut self) {
        let mut queue = self.inner.queue();
        self.done = queue.waiting.is_empty();
        queue.busy = !self.done;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.done {
            self.inner.queue().busy = false;
        }
    }
}

fn answer(answers: Vec<AnswerTo>, outcomes: &Result<Vec<Outcome>, redb::Error>) {
    for (number, answer) in answers.into_iter().enumerate() {
        // Whoever does not wait any more finds out by reading.
        let _ = answer.send(match outcomes {
            Ok(outcomes) => Ok(outcomes[number]),
            Err(error) => Err(StoreError::Engine(error.to_string().into())),
        });
    }
}

/// What becomes of each, and what they change together.
fn decide(
    write: &WriteTransaction,
    transactions: Vec<Transaction>,
) -> Result<(Vec<Outcome>, Vec<Change>), redb::Error> {
    let mut entries = write.open_table(ENTRIES)?;
    let mut meta = write.open_table(META)?;
    let before = meta.get(REVISION)?.map_or(0, |value| value.value());
    let (mut revision, mut outcomes, mut changes) = (before, Vec::new(), Vec::new());
    for transaction in transactions {
        if !holds(&entries, &transaction)? {
            outcomes.push(Outcome::Conflict);
            continue;
        }
        let changed = apply(&mut entries, transaction.operations, revision + 1)?;
        revision += u64::from(!changed.is_empty());
        outcomes.push(Outcome::Committed { revision });
        changes.extend(changed);
    }
    if revision != before {
        meta.insert(REVISION, revision)?;
    }
    Ok((outcomes, changes))
}

type Entries<'a> = Table<'a, &'static str, (u64, &'static [u8])>;

fn holds(entries: &Entries<'_>, transaction: &Transaction) -> Result<bool, redb::Error> {
    for compare in &transaction.compares {
        let found = |key: &str| {
            let found = entries.get(key)?;
            Ok::<_, redb::Error>(found.map(|found| found.value().0))
        };
        if !compare.holds(found)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn apply(
    entries: &mut Entries<'_>,
    operations: Vec<Operation>,
    revision: u64,
) -> Result<Vec<Change>, redb::Error> {
    let mut changes = Vec::with_capacity(operations.len());
    for operation in operations {
        let (key, value) = match operation {
            Operation::Put(key, value) => {
                entries.insert(key.as_str(), (revision, value.as_slice()))?;
                (key, Some(value))
            }
            Operation::Delete(key) => {
                if entries.remove(key.as_str())?.is_none() {
                    continue;
                }
                (key, None)
            }
        };
        changes.push(Change { key, value, revision });
    }
    Ok(changes)
}

fn entry(key: &str, (revision, value): (u64, &[u8])) -> Entry {
    Entry { key: key.to_owned(), value: value.to_vec(), revision }
}

fn engine(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Engine(Box::new(error))
}

impl Store for RedbStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        let key = key.to_owned();
        Box::pin(self.blocking(move |inner| inner.get(&key)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        let prefix = prefix.to_owned();
        Box::pin(self.blocking(move |inner| inner.list(&prefix)))
    }

    fn page<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Answer<'a, Listing> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        Box::pin(self.blocking(move |inner| inner.page(&prefix, Some(&after), limit)))
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        Box::pin(async move {
            transaction.check()?;
            let (answer, answered) = oneshot::channel();
            if self.0.enqueue(Waiting { transaction, answer }) {
                let inner = Arc::clone(&self.0);
                tokio::task::spawn_blocking(move || Writer::run(inner));
            }
            answered.await.map_err(engine)?
        })
    }

    fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.0.feed.watch(prefix, after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compare, contract};
    use super::*;

    #[tokio::test]
    async fn the_redb_engine_keeps_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let mut number = 0;
        let open = || {
            number += 1;
            let path = directory.path().join(format!("{number}.redb"));
            Arc::new(RedbStore::open(&path).unwrap()) as _
        };
        contract::check(open).await;
    }

    #[tokio::test]
    async fn what_was_committed_is_there_after_opening_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("station.redb");
        let store = RedbStore::open(&path).unwrap();
        let put = Transaction::new().put("/a", b"1".to_vec());
        assert_eq!(store.commit(put).await.unwrap(), Outcome::Committed { revision: 1 });
        drop(store);

        // At once: whoever has been answered is the last to hold it.
        let store = RedbStore::open(&path).unwrap();
        assert_eq!(store.get("/a").await.unwrap().unwrap().value, b"1");
        let put = Transaction::new().put("/a", b"2".to_vec());
        assert_eq!(store.commit(put).await.unwrap(), Outcome::Committed { revision: 2 });
    }

    #[tokio::test]
    async fn what_waits_together_is_decided_in_turn_and_published_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&directory.path().join("station.redb")).unwrap();
        let mut watch = store.watch("/", 0);
        let put = |key: &str| Transaction::new().put(key, Vec::new());
        let claims = ["/a", "/b", "/a", "/c"].map(|key| {
            let (answer, answered) = oneshot::channel();
            let transaction = put(key).when(Compare::Absent(key.to_owned()));
            (store.0.enqueue(Waiting { transaction, answer }), answered)
        });
        let begins: Vec<bool> = claims.iter().map(|(begins, _)| *begins).collect();
        assert_eq!(begins, [true, false, false, false], "one writes for all");
        Writer::run(Arc::clone(&store.0));
        let mut outcomes = Vec::new();
        for (_, answered) in claims {
            outcomes.push(answered.await.unwrap().unwrap());
        }
        let at = |revision| Outcome::Committed { revision };
        assert_eq!(outcomes, [at(1), at(2), Outcome::Conflict, at(3)]);
        let told = watch.poll().unwrap();
        let told: Vec<_> = told.iter().map(|change| (&*change.key, change.revision)).collect();
        assert_eq!(told, [("/a", 1), ("/b", 2), ("/c", 3)]);
        assert_eq!(store.commit(put("/d")).await.unwrap(), at(4), "and the next one begins anew");
    }

    #[test]
    fn a_second_process_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("station.redb");
        let _first = RedbStore::open(&path).unwrap();
        assert!(matches!(RedbStore::open(&path), Err(StoreError::InUse)));
    }
}

//! The embedded engine: one redb file in the state directory. Every commit is on stable storage
//! before it returns (redb's `Durability::Immediate`, its default).

use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::feed::{Change, Feed, Watch};
use super::{Answer, Entry, Listing, Operation, Outcome, Store, StoreError, Transaction};

/// Key to (revision, value).
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";

/// Cheap to clone; all clones are the same store.
#[derive(Clone, Debug)]
pub struct RedbStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    /// Held from a commit's start until its changes are published, so that watchers see revisions
    /// in order. redb has one writer at a time anyway.
    writer: Mutex<()>,
    feed: Feed,
}

impl RedbStore {
    /// Opens the file, or makes it. The file is locked: a second process gets `InUse`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::create(path).map_err(|error| match error {
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
        Ok(Self(Arc::new(Inner { database, writer: Mutex::new(()), feed })))
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

    fn commit(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        transaction.check()?;
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let write = self.database.begin_write().map_err(engine)?;
        let committed = {
            let mut entries = write.open_table(ENTRIES).map_err(engine)?;
            let mut meta = write.open_table(META).map_err(engine)?;
            let before = meta.get(REVISION).map_err(engine)?.map_or(0, |value| value.value());
            if !holds(&entries, &transaction)? {
                return Ok(Outcome::Conflict);
            }
            let changes = apply(&mut entries, transaction.operations, before + 1)?;
            if changes.is_empty() {
                return Ok(Outcome::Committed { revision: before });
            }
            meta.insert(REVISION, before + 1).map_err(engine)?;
            (before + 1, changes)
        };
        write.commit().map_err(engine)?;
        let (revision, changes) = committed;
        self.feed.publish(revision, changes);
        Ok(Outcome::Committed { revision })
    }
}

type Entries<'a> = Table<'a, &'static str, (u64, &'static [u8])>;

fn holds(entries: &Entries<'_>, transaction: &Transaction) -> Result<bool, StoreError> {
    for compare in &transaction.compares {
        let found = |key: &str| {
            let found = entries.get(key).map_err(engine)?;
            Ok::<_, StoreError>(found.map(|found| found.value().0))
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
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::with_capacity(operations.len());
    for operation in operations {
        let (key, value) = match operation {
            Operation::Put(key, value) => {
                entries.insert(key.as_str(), (revision, value.as_slice())).map_err(engine)?;
                (key, Some(value))
            }
            Operation::Delete(key) => {
                if entries.remove(key.as_str()).map_err(engine)?.is_none() {
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
        Box::pin(self.blocking(move |inner| inner.commit(transaction)))
    }

    fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.0.feed.watch(prefix, after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
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

        let store = RedbStore::open(&path).unwrap();
        assert_eq!(store.get("/a").await.unwrap().unwrap().value, b"1");
        let put = Transaction::new().put("/a", b"2".to_vec());
        assert_eq!(store.commit(put).await.unwrap(), Outcome::Committed { revision: 2 });
    }

    #[test]
    fn a_second_process_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("station.redb");
        let _first = RedbStore::open(&path).unwrap();
        assert!(matches!(RedbStore::open(&path), Err(StoreError::InUse)));
    }
}

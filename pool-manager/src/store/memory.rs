//! The store without a disk: for tests and the simulator, where what survives is what the test
//! keeps.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::feed::{Change, Feed, Watch};
use super::{Answer, Entry, Listing, Operation, Outcome, Store, StoreError, Transaction};

#[derive(Debug)]
pub struct MemoryStore {
    data: Mutex<Data>,
    feed: Feed,
}

#[derive(Debug, Default)]
struct Data {
    entries: BTreeMap<String, (Vec<u8>, u64)>,
    revision: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { data: Mutex::default(), feed: Feed::new(0) }
    }
}

impl MemoryStore {
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        transaction.check()?;
        let mut data = self.data();
        for compare in &transaction.compares {
            let found = |key: &str| Ok(data.entries.get(key).map(|(_, revision)| *revision));
            if !compare.holds::<StoreError>(found)? {
                return Ok(Outcome::Conflict);
            }
        }
        let revision = data.revision + 1;
        let mut changes = Vec::new();
        for operation in transaction.operations {
            let (key, value) = match operation {
                Operation::Put(key, value) => {
                    data.entries.insert(key.clone(), (value.clone(), revision));
                    (key, Some(value))
                }
                Operation::Delete(key) if data.entries.remove(&key).is_some() => (key, None),
                Operation::Delete(_) => continue,
            };
            changes.push(Change { key, value, revision });
        }
        if changes.is_empty() {
            return Ok(Outcome::Committed { revision: data.revision });
        }
        data.revision = revision;
        // Published under the lock, so that watchers see revisions in order.
        self.feed.publish(revision, changes);
        Ok(Outcome::Committed { revision })
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        let found = self.data().entries.get(key).map(|(value, revision)| Entry {
            key: key.to_owned(),
            value: value.clone(),
            revision: *revision,
        });
        Box::pin(async move { Ok(found) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        let data = self.data();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let matching = data.entries.range::<str, _>(from);
        let entries = matching
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (value, revision))| Entry {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            })
            .collect();
        let listing = Listing { entries, revision: data.revision };
        Box::pin(async move { Ok(listing) })
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        Box::pin(async move { self.commit_now(transaction) })
    }

    fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.feed.watch(prefix, after)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    #[tokio::test]
    async fn the_memory_engine_keeps_the_contract() {
        super::super::contract::check(|| Arc::new(super::MemoryStore::default())).await;
    }
}

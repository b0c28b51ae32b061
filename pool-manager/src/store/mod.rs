//! What must survive the station: keys and values behind a trait shaped like etcd (list by
//! prefix, compare-and-put transactions, one revision for all, watch), so that one station with an
//! embedded store and several with etcd run the same rules.

mod feed;
pub mod memory;
pub mod redb;

#[cfg(test)]
mod contract;

use std::pin::Pin;
use std::sync::Arc;

#[cfg(test)]
pub(crate) use feed::HISTORY;
pub use feed::{Change, Watch, WatchError};

/// As many operations as one transaction may hold; etcd's default.
pub const OPERATIONS_MAX: usize = 128;

pub type Shared = Arc<dyn Store>;
/// What a store's methods return: a boxed future, because the engine is chosen when the station starts.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>>;

    /// All keys that start with `prefix`, in order, as of one revision.
    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing>;

    /// The first `limit` keys that start with `prefix` and come after `after`, in order.
    fn page<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Answer<'a, Listing> {
        Box::pin(async move {
            let mut listing = self.list(prefix).await?;
            listing.entries.retain(|entry| entry.key.as_str() > after);
            listing.entries.truncate(limit);
            Ok(listing)
        })
    }

    /// All of it or nothing; durable when it returns. The operations happen only if every
    /// comparison holds.
    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome>;

    /// Changes under `prefix` with a revision above `after`, none left out. A watch that has
    /// fallen too far behind is told so, and lists again.
    fn watch(&self, prefix: &str, after: u64) -> Watch;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    /// Of the transaction that wrote it last.
    pub revision: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Of the whole store, when the listing was made. Watch from here.
    pub revision: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compare {
    Absent(String),
    /// The key was last written at this revision.
    Unchanged(String, u64),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    Put(String, Vec<u8>),
    /// Deleting what is not there changes nothing.
    Delete(String),
}

impl Operation {
    fn key(&self) -> &str {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Committed {
        revision: u64,
    },
    /// Somebody else was faster: read again, decide again.
    Conflict,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transaction {
    compares: Vec<Compare>,
    operations: Vec<Operation>,
}

impl Transaction {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: Vec<u8>) -> Self {
        self.operations.push(Operation::Put(key.into(), value));
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.operations.push(Operation::Delete(key.into()));
        self
    }

    /// What etcd would refuse, every engine refuses.
    fn check(&self) -> Result<(), StoreError> {
        let count = self.compares.len().max(self.operations.len());
        if count > OPERATIONS_MAX {
            return Err(StoreError::TooManyOperations(count));
        }
        let mut keys: Vec<&str> = self.operations.iter().map(Operation::key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(StoreError::KeyTwice(pair[0].to_owned())),
            None => Ok(()),
        }
    }
}

impl Compare {
    /// `found` looks up the revision of a key.
    fn holds<E>(&self, found: impl FnOnce(&str) -> Result<Option<u64>, E>) -> Result<bool, E> {
        Ok(match self {
            Self::Absent(key) => found(key)?.is_none(),
            Self::Unchanged(key, revision) => found(key)? == Some(*revision),
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("a transaction of {0} operations; {OPERATIONS_MAX} are possible")]
    TooManyOperations(usize),
    #[error("a transaction changes the key {0} twice")]
    KeyTwice(String),
    #[error("another process uses the state directory's store")]
    InUse,
    #[error("the store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored under the key is not what this version writes there.
    #[error("the record {key} cannot be read")]
    Record {
        key: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("too many others change the same records at once; try again")]
    Contended,
    /// A test has stopped the station here.
    #[error("stopped")]
    Stopped,
}

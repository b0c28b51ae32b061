//! The station's book: units, volumes, hosts and jobs as the store has them, decoded once and found
//! by what is asked for.
//!
//! The store stays the truth. The book takes in what the store tells of committed changes, in their
//! order, and never a change that somebody only asked for: what is seen here is durable, and whoever
//! was answered finds here what the answer was about. It does not matter whether the one who
//! committed a change still waits, or was cut short.

mod pages;
mod table;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

pub use pages::{Pages, Record};
pub use table::Table;

use crate::store::{Entry, Listing, Outcome, Shared, StoreError, Transaction, Watch, WatchError};

#[derive(Debug)]
pub struct Book {
    store: Shared,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    pages: Pages,
    /// What the pages do not have yet.
    watch: Watch,
}

impl Book {
    /// Reads all there is.
    pub async fn open(store: Shared) -> Result<Self, StoreError> {
        let open = Mutex::new(read(&store).await?);
        Ok(Self { store, open })
    }

    /// The pages, with every change in them that was committed before this was called. Nothing is
    /// committed or awaited while they are held.
    pub async fn pages(&self) -> Result<OpenPages<'_>, StoreError> {
        loop {
            {
                let mut open = self.locked();
                match open.watch.poll() {
                    Ok(changes) => {
                        changes.into_iter().for_each(|change| open.pages.take(change));
                        return Ok(OpenPages(open));
                    }
                    Err(WatchError::Closed) => return Err(StoreError::Stopped),
                    Err(WatchError::Compacted) => {}
                }
            }
            // Nobody has looked for so long that the store has forgotten what happened meanwhile.
            let mut fresh = read(&self.store).await?;
            fresh.pages.concern_all();
            let mut open = self.locked();
            fresh.pages.concern_those_of(&open.pages);
            *open = fresh;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Units that changes since the last call concern: their own records, and those of volumes that
    /// were to be there or are now.
    pub async fn concerned(&self) -> Result<BTreeSet<Uuid>, StoreError> {
        let mut pages = self.pages().await?;
        Ok(pages.0.pages.concerned())
    }

    /// The store's own, which the book does not keep. See [`crate::store::Store`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    pub async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.store.list(prefix).await
    }

    pub async fn page(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Listing, StoreError> {
        self.store.page(prefix, after, limit).await
    }

    pub async fn commit(&self, transaction: Transaction) -> Result<Outcome, StoreError> {
        self.store.commit(transaction).await
    }

    pub fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.store.watch(prefix, after)
    }
}

/// Read access; short, because all others wait.
#[derive(Debug)]
pub struct OpenPages<'a>(MutexGuard<'a, Open>);

impl std::ops::Deref for OpenPages<'_> {
    type Target = Pages;

    fn deref(&self) -> &Pages {
        &self.0.pages
    }
}

/// The changes that come between the first listing and the last are told once more, and are known
/// by their revisions.
async fn read(store: &Shared) -> Result<Open, StoreError> {
    let mut pages = Pages::default();
    let mut from = None;
    for prefix in pages::PREFIXES {
        let listing = store.list(prefix).await?;
        from = from.or(Some(listing.revision));
        for entry in listing.entries {
            pages.read(entry)?;
        }
    }
    let from = from.unwrap_or_default();
    let watch = store.watch("/", from);
    pages.revise(from);
    pages.concerned();
    Ok(Open { pages, watch })
}

#[cfg(test)]
mod tests;

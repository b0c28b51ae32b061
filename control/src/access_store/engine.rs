//! The database under the store, opened anew after it failed: redb refuses everything once a read or
//! write has failed, although what made it fail may have been a moment without room.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use redb::Database;

use super::StoreError;

type Open = dyn Fn() -> Result<Database, StoreError> + Send + Sync;

/// A database, and the way to it.
pub(super) struct Engine {
    open: Option<Box<Open>>,
    state: Mutex<State>,
}

struct State {
    /// None while it cannot be opened.
    database: Option<Database>,
    failed: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// What `open` opens, now and after a failure.
    pub(super) fn by(
        open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let engine = Self::of(open()?);
        Ok(Self { open: Some(Box::new(open)), ..engine })
    }

    /// A database that cannot be opened a second time.
    pub(super) fn of(database: Database) -> Self {
        Self { open: None, state: Mutex::new(State { database: Some(database), failed: false }) }
    }

    /// Carries out one transaction.
    pub(super) fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = self.open.as_ref().filter(|_| state.failed) {
            // The file has one user at a time.
            state.database = None;
            state.database = Some(open()?);
            state.failed = false;
            tracing::info!("the state of control is open again after a failure");
        }
        let database = state.database.as_ref();
        let database =
            database.expect("only a failed opening leaves none, and is tried again first");
        let done = work(database);
        state.failed = done.is_err();
        Ok(done?)
    }
}

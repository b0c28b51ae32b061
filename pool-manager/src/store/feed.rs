//! Watching a store: a bounded history of changes that any number of watchers read at their own
//! pace. Shared by the engines that live in this process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Changes remembered: several batches of what one station writes at once. A watcher that is further
/// behind than that lists again.
pub(crate) const HISTORY: usize = 8192;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub key: String,
    /// `None`: the key was deleted.
    pub value: Option<Vec<u8>>,
    pub revision: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WatchError {
    #[error("the watch is too far behind")]
    Compacted,
    #[error("the store is closed")]
    Closed,
}

#[derive(Debug)]
pub(super) struct Feed {
    history: Arc<Mutex<History>>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct History {
    /// In order; those of one revision are neighbours.
    changes: VecDeque<Change>,
    /// Changes up to and including this revision are forgotten.
    forgotten: u64,
}

impl Feed {
    pub(super) fn new(revision: u64) -> Self {
        let history = History { changes: VecDeque::new(), forgotten: revision };
        Self { history: Arc::new(Mutex::new(history)), newest: watch::Sender::new(revision) }
    }

    /// Must be called in the order of revisions.
    pub(super) fn publish(&self, revision: u64, changes: impl IntoIterator<Item = Change>) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.changes.extend(changes);
        while history.changes.len() > HISTORY {
            if let Some(change) = history.changes.pop_front() {
                history.forgotten = change.revision;
            }
        }
        drop(history);
        self.newest.send_replace(revision);
    }

    pub(super) fn watch(&self, prefix: &str, after: u64) -> Watch {
        Watch {
            history: Arc::clone(&self.history),
            newest: self.newest.subscribe(),
            prefix: prefix.to_owned(),
            after,
        }
    }
}

#[derive(Debug)]
pub struct Watch {
    history: Arc<Mutex<History>>,
    newest: watch::Receiver<u64>,
    prefix: String,
    after: u64,
}

impl Watch {
    /// Waits for at least one change; safe to drop while it waits.
    pub async fn next(&mut self) -> Result<Vec<Change>, WatchError> {
        loop {
            let newest = *self.newest.borrow_and_update();
            let changes = self.take()?;
            self.after = self.after.max(newest);
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.newest.changed().await.map_err(|_| WatchError::Closed)?;
        }
    }

    /// What has changed since the last look, without waiting.
    pub fn poll(&mut self) -> Result<Vec<Change>, WatchError> {
        let newest = *self.newest.borrow();
        match newest > self.after {
            true => self.take(),
            false => Ok(Vec::new()),
        }
    }

    fn take(&mut self) -> Result<Vec<Change>, WatchError> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.forgotten > self.after {
            return Err(WatchError::Compacted);
        }
        let seen = history.changes.partition_point(|change| change.revision <= self.after);
        let fresh = history.changes.range(seen..);
        let changes: Vec<Change> =
            fresh.filter(|change| change.key.starts_with(&self.prefix)).cloned().collect();
        let last = history.changes.back().map_or(0, |last| last.revision);
        drop(history);
        self.after = self.after.max(last);
        Ok(changes)
    }
}

//! The redirects, and the grants that end with them, as the commands reach them: through the running
//! unit's keeper, or in the store itself when no unit runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outband_control::access::{Redirect, Subject};
use outband_control::access_store::{Store, StoreError};
use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_control::{Keeper, Unit};
use tokio::runtime::Handle;

use crate::media::VolumeName;

/// Whoever owns the redirect table. Blocking. An error says why not, for people.
pub trait Redirects: Send + Sync + fmt::Debug {
    /// From now on hosts with a grant on `subject` are sent elsewhere.
    fn set(&self, subject: &Subject, redirect: &Redirect) -> Result<(), String>;

    /// They are served here again; a grant on what `is_here` no more ends with it.
    fn clear(&self, subject: &Subject, is_here: bool) -> Result<(), String>;

    /// Ends all grants on a volume that is about to come from another unit.
    fn end_grants(&self, volume: &VolumeName) -> Result<(), String>;

    /// All of them.
    fn list(&self) -> Result<Vec<(Subject, Redirect)>, String>;
}

/// The running unit's.
#[derive(Debug)]
pub struct Kept<U> {
    keeper: Arc<Keeper<U>>,
    runtime: Handle,
}

impl<U: Unit> Kept<U> {
    /// By way of `runtime`, from threads that are not its own.
    pub fn new(keeper: Arc<Keeper<U>>, runtime: Handle) -> Self {
        Self { keeper, runtime }
    }
}

impl<U: Unit + fmt::Debug> Redirects for Kept<U> {
    fn set(&self, subject: &Subject, redirect: &Redirect) -> Result<(), String> {
        let done = self.keeper.set_redirect(subject.clone(), redirect.clone());
        self.runtime.block_on(done).map(drop).map_err(|error| error.to_string())
    }

    fn clear(&self, subject: &Subject, _is_here: bool) -> Result<(), String> {
        let done = self.keeper.clear_redirect(subject.clone());
        self.runtime.block_on(done).map_err(|error| error.to_string())
    }

    fn end_grants(&self, volume: &VolumeName) -> Result<(), String> {
        let done = self.keeper.end_grants(subject(volume));
        self.runtime.block_on(done).map_err(|error| error.to_string())
    }

    fn list(&self) -> Result<Vec<(Subject, Redirect)>, String> {
        let all = self.runtime.block_on(self.keeper.redirects());
        Ok(all.into_iter().map(|info| (info.subject, info.redirect)).collect())
    }
}

fn subject(volume: &VolumeName) -> Subject {
    volume.as_str().parse().expect("a checked volume name is a subject")
}

/// The store of a unit that does not run.
#[derive(Debug)]
pub(super) struct Stored {
    dir: PathBuf,
}

impl Stored {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn change<T>(
        &self,
        how: impl FnOnce(&mut outband_control::access::AccessTable) -> T,
    ) -> Result<T, StoreError> {
        let store = Store::open(&self.dir)?;
        // The names are of no account here: a table is stored by subjects.
        let old = store.table(TargetNames::new(TARGET_PREFIX, ""))?;
        let mut new = old.clone();
        let outcome = how(&mut new);
        if new != old {
            store.save(&old, &new)?;
        }
        Ok(outcome)
    }
}

impl Redirects for Stored {
    fn set(&self, subject: &Subject, redirect: &Redirect) -> Result<(), String> {
        let set = self.change(|table| table.set_redirect(subject.clone(), redirect.clone()));
        set.map_err(|error| error.to_string())
    }

    fn clear(&self, subject: &Subject, is_here: bool) -> Result<(), String> {
        let cleared = self.change(|table| {
            let grant = table.grant_on(subject).filter(|_| !is_here).cloned();
            if let Some(grant) = grant {
                table.fence(subject, &grant.host, grant.epoch);
            }
            table.clear_redirect(subject)
        });
        match cleared {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("there is no redirect of {subject}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn end_grants(&self, volume: &VolumeName) -> Result<(), String> {
        let ended = self.change(|table| {
            while let Some(grant) = table.any_grant_of(volume.as_str()).cloned() {
                table.fence(&grant.subject, &grant.host, grant.epoch);
            }
        });
        ended.map_err(|error| error.to_string())
    }

    fn list(&self) -> Result<Vec<(Subject, Redirect)>, String> {
        let all = self.change(|table| {
            table
                .redirects()
                .map(|(subject, redirect)| (subject.clone(), redirect.clone()))
                .collect()
        });
        all.map_err(|error| error.to_string())
    }
}

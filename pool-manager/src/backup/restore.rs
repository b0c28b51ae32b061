//! Putting a backup back. All of it is made ready beside the station; then one rename decides; then it
//! is moved into place. Who is killed before that rename has changed nothing; what is left after it,
//! the station's next start does, or the next restore.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use outband_control::machine::{Machine, Os};
use outband_pool_api::JobState;
use serde::de::DeserializeOwned;

use super::{Backup, BackupError, Entry, FILES};
use crate::problems;
use crate::records::{DEADLINES, JOBS, JobRecord, TAKEOVERS, VOLUMES, VolumeRecord, encode};
use crate::state_dir::StateDir;
use crate::station::STORE_FILE;
use crate::store::redb::RedbStore;
use crate::store::{OPERATIONS_MAX, Store, StoreError, Transaction};

/// Where it is made ready; worth nothing until it has its other name.
const UNDECIDED: &str = "restore.new";
/// What is whole, and is to be moved into place.
const DECIDED: &str = "restore";
/// Ends the names of what was there before.
const ASIDE: &str = "before-restore";

/// What was put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    pub records: usize,
    pub volumes: usize,
}

/// Before whatever changes the state directory: a test stops here as kill -9 would.
type Fuse<'a> = &'a mut dyn FnMut() -> io::Result<()>;

fn unbroken() -> io::Result<()> {
    Ok(())
}

impl Backup {
    /// Puts it into the state directory of the station of `pool`, whole or not at all. Volumes are
    /// marked: of each, the station first takes over what its unit reports by now. Jobs that ran have
    /// ended.
    pub async fn restore(
        self,
        state_dir: &Path,
        pool: &str,
        replace: bool,
    ) -> Result<Restored, BackupError> {
        self.restore_with(state_dir, pool, replace, &mut unbroken).await
    }

    async fn restore_with(
        self,
        state_dir: &Path,
        pool: &str,
        replace: bool,
        fuse: Fuse<'_>,
    ) -> Result<Restored, BackupError> {
        if self.pool != pool {
            return Err(BackupError::OtherPool { backup: self.pool, here: pool.to_owned() });
        }
        let state = StateDir::open(state_dir).map_err(BackupError::State)?;
        let _alone = state.lock().map_err(BackupError::State)?.ok_or(BackupError::Locked)?;
        let finished = finish_with(&state, fuse).map_err(BackupError::State)?;
        let store = state.path(STORE_FILE);
        let _before = match store.exists() {
            true if !replace && finished => return Err(BackupError::Finished),
            true if !replace => {
                return Err(BackupError::Occupied(state_dir.display().to_string()));
            }
            true => closed(&store)?,
            false => None,
        };
        let restored = self.make_ready(&state, fuse).await?;
        decide(&state, fuse).map_err(BackupError::State)?;
        put_in_place(&state, fuse).map_err(BackupError::Unfinished)?;
        Ok(restored)
    }

    async fn make_ready(&self, state: &StateDir, fuse: Fuse<'_>) -> Result<Restored, BackupError> {
        let fresh = state.path(UNDECIDED);
        remove(&fresh, fuse).map_err(BackupError::State)?;
        fuse().map_err(BackupError::State)?;
        let ready = StateDir::open(&fresh).map_err(BackupError::State)?;
        for (name, mode) in FILES {
            if let Some(text) = self.files.get(name) {
                fuse().map_err(BackupError::State)?;
                ready.write(name, text, mode).map_err(BackupError::State)?;
            }
        }
        fuse().map_err(BackupError::State)?;
        let restored = fill(&ready.path(STORE_FILE), &self.entries).await?;
        ready.sync().map_err(BackupError::State)?;
        Ok(restored)
    }
}

/// A store that no station uses; nobody can while it is held. One that cannot be read is a good reason
/// to put another in its place.
fn closed(store: &Path) -> Result<Option<RedbStore>, BackupError> {
    match RedbStore::open(store) {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::InUse) => Err(BackupError::Runs),
        Err(_) => Ok(None),
    }
}

/// From here on the station is the restored one.
fn decide(state: &StateDir, fuse: Fuse<'_>) -> io::Result<()> {
    fuse()?;
    fs::rename(state.path(UNDECIDED), state.path(DECIDED))
}

fn put_in_place(state: &StateDir, fuse: Fuse<'_>) -> io::Result<()> {
    fuse()?;
    state.sync()?;
    finish_with(state, fuse).map(drop)
}

/// Moves into place what a restore had decided. Answers whether there was any. Only for who has locked
/// the state directory.
pub(crate) fn finish(state: &StateDir) -> io::Result<bool> {
    finish_with(state, &mut unbroken)
}

fn finish_with(state: &StateDir, fuse: Fuse<'_>) -> io::Result<bool> {
    let decided = state.path(DECIDED);
    if !decided.try_exists()? {
        return Ok(false);
    }
    for name in FILES.map(|(name, _)| name).into_iter().chain([STORE_FILE]) {
        let from = decided.join(name);
        // Otherwise it is in its place already, or the backup has none.
        if from.try_exists()? {
            move_to(&from, state.path(name), fuse)?;
        }
    }
    state.sync()?;
    fuse()?;
    fs::remove_dir(&decided)?;
    fuse()?;
    state.sync()?;
    for name in FILES.map(|(name, _)| name).into_iter().chain([STORE_FILE]) {
        forget_older(&state.path(name), fuse)?;
    }
    Ok(true)
}

fn move_to(from: &Path, place: PathBuf, fuse: Fuse<'_>) -> io::Result<()> {
    if place.try_exists()? {
        fuse()?;
        fs::rename(&place, aside(&place)?)?;
    }
    fuse()?;
    fs::rename(from, place)
}

/// Where what was there goes: never in the place of what was put aside before, and behind all of it.
fn aside(place: &Path) -> io::Result<PathBuf> {
    let last = put_aside(place)?.last_key_value().map_or(0, |(number, _)| *number);
    let end = if last == 0 { format!(".{ASIDE}") } else { format!(".{ASIDE}.{}", last + 1) };
    let mut path = place.as_os_str().to_owned();
    path.push(end);
    Ok(path.into())
}

/// What was put aside of one file, by its number: the highest was there last.
fn put_aside(place: &Path) -> io::Result<BTreeMap<u32, PathBuf>> {
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else {
        return Ok(BTreeMap::new());
    };
    let begin = format!("{}.{ASIDE}", name.to_string_lossy());
    let number = |name: &str| match name.strip_prefix(&begin)? {
        "" => Some(1),
        end => end.strip_prefix('.')?.parse().ok(),
    };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = number(&entry.file_name().to_string_lossy()) {
            found.insert(number, entry.path());
        }
    }
    Ok(found)
}

/// Only what the last restore has put aside is kept: every one of these holds all secrets of a pool.
fn forget_older(place: &Path, fuse: Fuse<'_>) -> io::Result<()> {
    let mut older = put_aside(place)?;
    older.pop_last();
    for path in older.into_values() {
        fuse()?;
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Of a restore that was cut short.
fn remove(path: &Path, fuse: Fuse<'_>) -> io::Result<()> {
    fuse()?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn fill(path: &Path, entries: &[Entry]) -> Result<Restored, BackupError> {
    let store = RedbStore::open(path).map_err(BackupError::Store)?;
    let now = Os.since_1970().as_secs();
    let mut restored = Restored::default();
    for chunk in entries.chunks(OPERATIONS_MAX) {
        let mut transaction = Transaction::new();
        for entry in chunk.iter().filter(|entry| !goes_on(&entry.key)) {
            restored.records += 1;
            restored.volumes += usize::from(entry.key.starts_with(VOLUMES));
            transaction = transaction.put(&entry.key, put_back(entry, now)?);
        }
        store.commit(transaction).await.map_err(BackupError::Store)?;
    }
    Ok(restored)
}

/// What makes a job go on by itself. None does after a restore: it was begun for a pool that has
/// changed since, and a takeover would take volumes from a host that is long back.
fn goes_on(key: &str) -> bool {
    key.starts_with(TAKEOVERS) || key.starts_with(DEADLINES)
}

fn put_back(entry: &Entry, now: u64) -> Result<Vec<u8>, BackupError> {
    let Entry { key, value } = entry;
    Ok(match () {
        () if key.starts_with(VOLUMES) => {
            let record: VolumeRecord = read(value)?;
            encode(&VolumeRecord { restored: true, ..record })
        }
        () if key.starts_with(JOBS) => {
            let mut job: JobRecord = read(value)?;
            if job.state == JobState::Running {
                // Its deadline is not put back either; there is nothing else to write.
                let _ = job.end(Some(problems::restored()), now, Transaction::new());
            }
            encode(&job)
        }
        () => value.clone().into_bytes(),
    })
}

fn read<T: DeserializeOwned>(value: &str) -> Result<T, BackupError> {
    serde_json::from_str(value).map_err(BackupError::Malformed)
}

#[cfg(test)]
mod tests;

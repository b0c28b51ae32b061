//! One file with all that a station keeps: made while it runs, and put back into a state directory.
//! It holds every secret of the pool.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use outband_control::machine::{Machine, Os};
use outband_pool_api::JobState;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::records::{DEADLINES, JOBS, JobRecord, TAKEOVERS, VOLUMES, VolumeRecord, encode};
use crate::state_dir::StateDir;
use crate::station::{ADMIN_TOKEN_FILE, STORE_FILE};
use crate::store::redb::RedbStore;
use crate::store::{self, Listing, OPERATIONS_MAX, Store, StoreError, Transaction};
use crate::tls::{CA_FILE, KEY_FILE};
use crate::{problems, random};

const FORMAT: u32 = 1;
/// Files of the state directory that belong to a station as much as its store, with their modes.
const FILES: [(&str, u32); 3] = [(CA_FILE, 0o644), (KEY_FILE, 0o600), (ADMIN_TOKEN_FILE, 0o600)];

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backup {
    format: u32,
    pub pool: String,
    /// Of the station that made it.
    pub version: String,
    /// Seconds since 1970.
    pub made: u64,
    entries: Vec<Entry>,
    /// Files by name: filled in where the state directory is.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// SHA-256 over entries and files, in hexadecimal.
    #[serde(default)]
    digest: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Entry {
    key: String,
    /// Records are text, most of them JSON.
    value: String,
}

/// Why a backup cannot be made or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("this is no backup of a station")]
    Malformed(#[source] serde_json::Error),
    #[error("the backup has format {0}; this version reads format {FORMAT}")]
    Format(u32),
    #[error("the backup is damaged: its digest does not match")]
    Damaged,
    #[error("there is a station in {0} already; say --replace to put its store aside")]
    Occupied(String),
    #[error("the record {0} in the store is not text: it is damaged, and so would a copy be")]
    NotText(String),
    #[error("the station runs; stop it first")]
    Runs,
    #[error("cannot use the state directory")]
    State(#[source] io::Error),
    #[error("cannot write the store")]
    Store(#[source] StoreError),
}

/// What was put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    pub records: usize,
    pub volumes: usize,
}

impl Backup {
    /// Of a store at one moment.
    pub fn of(pool: &str, made: u64, listing: Listing) -> Result<Self, BackupError> {
        let entry = |store::Entry { key, value, .. }| match String::from_utf8(value) {
            Ok(value) => Ok(Entry { key, value }),
            Err(_) => Err(BackupError::NotText(key)),
        };
        let entries = listing.entries.into_iter().map(entry).collect::<Result<_, _>>()?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let (pool, files, digest) = (pool.to_owned(), BTreeMap::new(), String::new());
        Ok(Self { format: FORMAT, pool, version, made, entries, files, digest })
    }

    /// The file that is kept: what the station said, and the files beside its store.
    pub fn finish(said: &str, state_dir: &Path) -> Result<String, BackupError> {
        let mut backup: Self = serde_json::from_str(said).map_err(BackupError::Malformed)?;
        let state = StateDir::open(state_dir).map_err(BackupError::State)?;
        for (name, _) in FILES {
            if let Some(text) = state.read(name).map_err(BackupError::State)? {
                backup.files.insert(name.to_owned(), text);
            }
        }
        backup.digest = backup.sum();
        serde_json::to_string(&backup).map_err(BackupError::Malformed)
    }

    pub fn read(text: &str) -> Result<Self, BackupError> {
        let backup: Self = serde_json::from_str(text).map_err(BackupError::Malformed)?;
        match backup.format {
            FORMAT if backup.digest == backup.sum() => Ok(backup),
            FORMAT => Err(BackupError::Damaged),
            other => Err(BackupError::Format(other)),
        }
    }

    fn sum(&self) -> String {
        let all = (&self.pool, self.made, &self.entries, &self.files);
        random::digest(&String::from_utf8_lossy(&encode(&all)))
    }

    /// Puts it into the state directory; its store whole or not at all, and one that was cut short is
    /// run again. Volumes are marked: of each, the station first takes over what its unit reports by
    /// now. Jobs that ran have ended.
    pub async fn restore(self, state_dir: &Path, replace: bool) -> Result<Restored, BackupError> {
        let state = StateDir::open(state_dir).map_err(BackupError::State)?;
        let (store, fresh) = (state.path(STORE_FILE), state.path("station.redb.restoring"));
        if store.exists() {
            if !replace {
                return Err(BackupError::Occupied(state_dir.display().to_string()));
            }
            // One that cannot be read is a good reason to put another in its place.
            if let Err(StoreError::InUse) = RedbStore::open(&store) {
                return Err(BackupError::Runs);
            }
        }
        remove(&fresh)?;
        let restored = fill(&fresh, self.entries).await?;
        for (name, mode) in FILES {
            if let Some(text) = self.files.get(name) {
                state.write(name, text, mode).map_err(BackupError::State)?;
            }
        }
        if store.exists() {
            fs::rename(&store, aside(&state)).map_err(BackupError::State)?;
        }
        fs::rename(&fresh, &store).map_err(BackupError::State)?;
        File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(BackupError::State)?;
        Ok(restored)
    }
}

/// Where the store that was there goes: never in the place of one that was put aside before.
fn aside(state: &StateDir) -> PathBuf {
    let first = state.path("station.redb.before-restore");
    let more = (2_u32..).map(|number| state.path(&format!("station.redb.before-restore.{number}")));
    let mut names = iter::once(first).chain(more);
    names.find(|path| !path.exists()).expect("there are more numbers than files")
}

/// Of a restore that was cut short.
fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::State(error)),
        _ => Ok(()),
    }
}

async fn fill(path: &Path, entries: Vec<Entry>) -> Result<Restored, BackupError> {
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
mod tests {
    use super::*;
    use crate::records::TOKENS;

    async fn sample(directory: &Path) -> String {
        let store = RedbStore::open(&directory.join("there.redb")).unwrap();
        let key = format!("{TOKENS}x");
        store.commit(Transaction::new().put(&key, b"\"admin\"".to_vec())).await.unwrap();
        let said = Backup::of("main", 7, store.list("").await.unwrap()).unwrap();
        let state = directory.join("from");
        let files = StateDir::open(&state).unwrap();
        files.write(CA_FILE, "a certificate", 0o644).unwrap();
        Backup::finish(&serde_json::to_string(&said).unwrap(), &state).unwrap()
    }

    #[tokio::test]
    async fn a_backup_that_was_altered_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let text = sample(directory.path()).await;
        assert!(Backup::read(&text).is_ok());
        for (from, to) in [("admin", "adm1n"), ("a certificate", "a certificatf"), ("main", "mine")]
        {
            let altered = text.replace(from, to);
            assert!(matches!(Backup::read(&altered), Err(BackupError::Damaged)), "{from}");
        }
        let newer = text.replace("\"format\":1", "\"format\":2");
        assert!(matches!(Backup::read(&newer), Err(BackupError::Format(2))));
        assert!(matches!(Backup::read("{}"), Err(BackupError::Malformed(_))));
    }

    #[tokio::test]
    async fn a_station_is_replaced_only_if_that_is_said_and_never_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let backup = Backup::read(&sample(directory.path()).await).unwrap();
        let state = directory.path().join("to");
        let restored = backup.clone().restore(&state, false).await.unwrap();
        assert_eq!(restored, Restored { records: 1, volumes: 0 });
        assert_eq!(fs::read_to_string(state.join(CA_FILE)).unwrap(), "a certificate");
        let again = backup.clone().restore(&state, false).await;
        assert!(matches!(again, Err(BackupError::Occupied(_))));
        let running = RedbStore::open(&state.join(STORE_FILE)).unwrap();
        let under_it = backup.clone().restore(&state, true).await;
        assert!(matches!(under_it, Err(BackupError::Runs)));
        drop(running);
        backup.clone().restore(&state, true).await.unwrap();
        backup.restore(&state, true).await.unwrap();
        for aside in ["station.redb.before-restore", "station.redb.before-restore.2"] {
            assert!(state.join(aside).exists(), "{aside}");
        }
    }

    #[tokio::test]
    async fn a_record_that_is_not_text_is_not_copied_as_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&directory.path().join("there.redb")).unwrap();
        store.commit(Transaction::new().put("/unit/x", vec![0xff])).await.unwrap();
        let refused = Backup::of("main", 7, store.list("").await.unwrap());
        assert!(matches!(refused, Err(BackupError::NotText(key)) if key == "/unit/x"));
    }
}

//! One file with all that a station keeps: made while it runs, and put back into a state directory.
//! It holds every secret of the pool.

mod restore;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::random;
use crate::records::encode;
use crate::state_dir::StateDir;
use crate::station::ADMIN_TOKEN_FILE;
use crate::store::{self, Listing, StoreError};
use crate::tls::{CA_FILE, KEY_FILE};

pub use restore::Restored;
pub(crate) use restore::finish;

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
    #[error("there is a station in {0} already; say --replace to put it aside")]
    Occupied(String),
    #[error(
        "the restore that was cut short is complete now: start the station, or say --replace to put \
         this backup in its place"
    )]
    Finished,
    #[error(
        "the backup is of the pool \"{backup}\", and the configuration names \"{here}\"; say \
         pool = \"{backup}\" there"
    )]
    OtherPool { backup: String, here: String },
    #[error("the record {0} in the store is not text: it is damaged, and so would a copy be")]
    NotText(String),
    #[error("the station runs; stop it first")]
    Runs,
    #[error("another process starts a station or restores one here; wait for it")]
    Locked,
    #[error("cannot use the state directory")]
    State(#[source] io::Error),
    /// It was cut short behind the step that decides.
    #[error(
        "it is decided, and not all of it is in its place yet: start the station, which does the rest"
    )]
    Unfinished(#[source] io::Error),
    #[error("cannot write the store")]
    Store(#[source] StoreError),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::TOKENS;
    use crate::store::redb::RedbStore;
    use crate::store::{Store, Transaction};

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
    async fn a_record_that_is_not_text_is_not_copied_as_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&directory.path().join("there.redb")).unwrap();
        store.commit(Transaction::new().put("/unit/x", vec![0xff])).await.unwrap();
        let refused = Backup::of("main", 7, store.list("").await.unwrap());
        assert!(matches!(refused, Err(BackupError::NotText(key)) if key == "/unit/x"));
    }
}

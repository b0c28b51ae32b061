//! What control keeps over a restart: the access table, the unit's identity, its incarnation and the
//! secret that its station gave it. One redb file in the state directory, readable by its owner
//! alone; every change is one transaction, on stable storage before it is answered.

mod engine;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use outband_protocol::seeded::{self, Bug};
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::engine::Engine;
use crate::access::{AccessTable, Epoch, Grant, Redirect, Subject};
use crate::api::TargetNames;
use crate::machine::Machine;
use crate::secret::UnitSecret;

const FILE: &str = "control.redb";

/// Subject to grant, as JSON.
const GRANTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants");
/// Volume to epoch floor; `*` to that of all that have none of their own.
const FLOORS: TableDefinition<'_, &str, u64> = TableDefinition::new("floors");
/// Subject to redirect, as JSON.
const REDIRECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("redirects");
/// What there is one of; the names are below.
const UNIT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("unit");

const ID: &str = "id";
const INCARNATION: &str = "incarnation";
const CERTIFICATE: &str = "certificate";
const KEY: &str = "key";
const SECRET: &str = "secret";

/// Control's file.
#[derive(Debug)]
pub struct Store {
    engine: Engine,
    /// The last save failed: some of it may be stored all the same.
    unsure: AtomicBool,
}

/// The access table as it lies in the file.
struct Stored {
    grants: Vec<(String, Vec<u8>)>,
    redirects: Vec<(String, Vec<u8>)>,
    floors: BTreeMap<String, Epoch>,
}

/// Why the store did not open or did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It cannot be opened or made.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: redb::Error,
    },
    /// Reading or writing failed.
    #[error("reading or writing the state of control")]
    Engine(#[from] redb::Error),
    /// What was read is not what is written by any version of this.
    #[error("the state of control is damaged: {0}")]
    Damaged(String),
    /// A key or certificate could not be made.
    #[error("making the unit's certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Who this unit is. Made at the first start, the same ever after but for the incarnation.
#[derive(Debug)]
pub struct Identity {
    /// The unit's id.
    pub id: Uuid,
    /// Counted up by each start.
    pub incarnation: u64,
    /// What the unit API shows.
    pub certificate: CertificateDer<'static>,
    /// The key to that certificate.
    pub key: PrivateKeyDer<'static>,
    /// The unit's own secret, once it is enrolled.
    pub secret: Option<UnitSecret>,
}

impl Identity {
    /// SHA-256 of the certificate: what the station pins.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }
}

impl Store {
    /// Opens the store in the state directory `dir`, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process has it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        Self::by(move || {
            let failed = |source| StoreError::Open { path: path.clone(), source };
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(|error| failed(error.into()))?;
            Database::builder().create_file(file).map_err(|error| match error {
                DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.clone()),
                error => failed(error.into()),
            })
        })
    }

    /// A store on whatever `open` opens, once more after each failure.
    fn by(
        open: impl Fn() -> Result<Database, StoreError> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        Self::prepare(Engine::by(open)?)
    }

    /// A store that is gone with the process, for tests.
    ///
    /// # Errors
    /// As any transaction.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::on(InMemoryBackend::new())
    }

    /// A store on something like a file: the simulator's, which loses what was not synced.
    ///
    /// # Errors
    /// As any transaction.
    pub fn on(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let made = Database::builder().create_with_backend(backend);
        Self::prepare(Engine::of(made.map_err(redb::Error::from)?))
    }

    /// All tables exist from here on, so that reading needs no case for one that does not.
    fn prepare(engine: Engine) -> Result<Self, StoreError> {
        engine.run(|database| {
            let txn = database.begin_write()?;
            txn.open_table(GRANTS)?;
            txn.open_table(FLOORS)?;
            txn.open_table(REDIRECTS)?;
            txn.open_table(UNIT)?;
            Ok(txn.commit()?)
        })?;
        Ok(Self { engine, unsure: AtomicBool::new(false) })
    }

    /// The access table as it was last saved.
    ///
    /// # Errors
    /// When it cannot be read, or is not a table.
    pub fn table(&self, names: TargetNames) -> Result<AccessTable, StoreError> {
        let stored = self.engine.run(read_table)?;
        let damaged = |what: &str, error: &dyn std::fmt::Display| {
            StoreError::Damaged(format!("a {what}: {error}"))
        };
        let mut grants = BTreeMap::new();
        for (_, bytes) in stored.grants {
            let grant: Grant =
                serde_json::from_slice(&bytes).map_err(|error| damaged("grant", &error))?;
            grants.insert(grant.subject.clone(), grant);
        }
        let mut redirects = BTreeMap::new();
        for (subject, bytes) in stored.redirects {
            let subject: Subject = subject.parse().map_err(|error| damaged("redirect", &error))?;
            let redirect: Redirect =
                serde_json::from_slice(&bytes).map_err(|error| damaged("redirect", &error))?;
            redirects.insert(subject, redirect);
        }
        Ok(AccessTable::restore(names, grants, stored.floors, redirects))
    }

    /// Makes `new` of what is stored, which is `old`: durably and at once, or not at all.
    ///
    /// # Errors
    /// When that failed; then the next save finds out what is stored.
    pub fn save(&self, old: &AccessTable, new: &AccessTable) -> Result<(), StoreError> {
        // What failed may have reached the disk nevertheless, and must not come to life by a restart.
        let found = match self.unsure.swap(true, Ordering::Relaxed) {
            true => Some(self.table(new.names().clone())?),
            false => None,
        };
        self.save_change(found.as_ref().unwrap_or(old), new)?;
        self.unsure.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn save_change(&self, old: &AccessTable, new: &AccessTable) -> Result<(), StoreError> {
        let changed = new.grants().filter(|grant| old.grant_on(&grant.subject) != Some(*grant));
        let changed = changed.map(|grant| (&grant.subject, json(grant))).collect::<Vec<_>>();
        let gone = old.grants().map(|grant| &grant.subject);
        let gone = gone.filter(|subject| new.grant_on(subject).is_none()).collect::<Vec<_>>();
        let floors: BTreeMap<&str, Epoch> = old.floors().collect();
        let raised = new.floors().filter(|(volume, floor)| floors.get(volume) != Some(floor));
        let raised = raised.collect::<Vec<_>>();
        let now: BTreeMap<&str, Epoch> = new.floors().collect();
        let shared = floors.into_keys().filter(|volume| !now.contains_key(volume));
        let shared = shared.collect::<Vec<_>>();
        let moved = new.redirects().filter(|(subject, now)| old.redirect_on(subject) != Some(*now));
        let moved = moved.map(|(subject, now)| (subject, json(now))).collect::<Vec<_>>();
        let back = old.redirects().map(|(subject, _)| subject);
        let back = back.filter(|subject| new.redirect_on(subject).is_none()).collect::<Vec<_>>();
        self.engine.run(|database| {
            write_table(database, (&changed, &gone), (&moved, &back), (&raised, &shared))
        })
    }

    /// Who this unit is; makes that up at the first start, of `machine`'s randomness, and counts the
    /// incarnation up.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn start(&self, machine: &dyn Machine) -> Result<Identity, StoreError> {
        let incarnation = match self.load(INCARNATION)? {
            None => 0,
            Some(bytes) => u64::from_be_bytes(whole(bytes, INCARNATION)?),
        };
        let incarnation = incarnation + 1;
        if self.load(ID)?.is_none() {
            let id = machine.uuid();
            let (certificate, key) = self_signed(id)?;
            self.write_unit(&[
                (ID, id.as_bytes()),
                (CERTIFICATE, &certificate),
                (KEY, key.secret_pkcs8_der()),
            ])?;
        }
        self.write_unit(&[(INCARNATION, &incarnation.to_be_bytes())])?;
        let secret = match self.load(SECRET)? {
            None => None,
            Some(text) => Some(secret(text)?),
        };
        let key = PrivatePkcs8KeyDer::from(self.must_load(KEY)?);
        Ok(Identity {
            id: Uuid::from_bytes(whole(self.must_load(ID)?, ID)?),
            incarnation,
            certificate: self.must_load(CERTIFICATE)?.into(),
            key: key.into(),
            secret,
        })
    }

    /// Keeps the secret that the station gave.
    ///
    /// # Errors
    /// When it is not on stable storage.
    pub fn enrol(&self, secret: &UnitSecret) -> Result<(), StoreError> {
        let text = zeroize::Zeroizing::new(String::from(secret.clone()));
        self.write_unit(&[(SECRET, text.as_bytes())])
    }

    /// Forgets the station's secret, so that another station can enrol this unit. The grants stay:
    /// who holds a volume goes on holding it.
    ///
    /// # Errors
    /// When that is not on stable storage.
    pub fn leave_pool(&self) -> Result<(), StoreError> {
        self.engine.run(|database| {
            let txn = database.begin_write()?;
            txn.open_table(UNIT)?.remove(SECRET)?;
            Ok(txn.commit()?)
        })
    }

    fn write_unit(&self, entries: &[(&str, &[u8])]) -> Result<(), StoreError> {
        self.engine.run(|database| {
            let txn = database.begin_write()?;
            {
                let mut unit = txn.open_table(UNIT)?;
                for (name, value) in entries {
                    unit.insert(*name, *value)?;
                }
            }
            Ok(txn.commit()?)
        })
    }

    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.run(|database| {
            let value = database.begin_read()?.open_table(UNIT)?.get(name)?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    fn must_load(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        self.load(name)?.ok_or_else(|| StoreError::Damaged(format!("there is no {name}")))
    }
}

fn read_table(database: &Database) -> Result<Stored, redb::Error> {
    let txn = database.begin_read()?;
    let texts = |table| -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
        let entries = txn.open_table::<&str, &[u8]>(table)?;
        let entry = |(name, value): (redb::AccessGuard<'_, &str>, redb::AccessGuard<'_, &[u8]>)| {
            (name.value().to_owned(), value.value().to_vec())
        };
        let all = entries.iter()?.map(|each| each.map(entry)).collect::<Result<_, _>>()?;
        Ok(all)
    };
    let floors = txn
        .open_table(FLOORS)?
        .iter()?
        .map(|entry| entry.map(|(name, floor)| (name.value().to_owned(), Epoch(floor.value()))))
        .collect::<Result<_, _>>()?;
    Ok(Stored { grants: texts(GRANTS)?, redirects: texts(REDIRECTS)?, floors })
}

/// Each is what has changed and what is gone of them.
fn write_table(
    database: &Database,
    grants: (&[(&Subject, Vec<u8>)], &[&Subject]),
    redirects: (&[(&Subject, Vec<u8>)], &[&Subject]),
    (raised, shared): (&[(&str, Epoch)], &[&str]),
) -> Result<(), redb::Error> {
    let mut txn = database.begin_write()?;
    if seeded::is(Bug::StoreUnsynced) {
        txn.set_durability(Durability::None).expect("nothing was saved for later");
    }
    {
        for (table, (changed, gone)) in [(GRANTS, grants), (REDIRECTS, redirects)] {
            let mut table = txn.open_table(table)?;
            for subject in gone {
                table.remove(subject.to_string().as_str())?;
            }
            for (subject, value) in changed {
                table.insert(subject.to_string().as_str(), value.as_slice())?;
            }
        }
        let mut floors = txn.open_table(FLOORS)?;
        for volume in shared {
            floors.remove(*volume)?;
        }
        for (volume, floor) in raised {
            floors.insert(*volume, floor.0)?;
        }
    }
    Ok(txn.commit()?)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a grant, or a redirect, is texts and numbers")
}

fn whole<const N: usize>(bytes: Vec<u8>, name: &str) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged(format!("the {name} has a wrong length")))
}

fn secret(text: Vec<u8>) -> Result<UnitSecret, StoreError> {
    let text = String::from_utf8(text).map_err(|_| StoreError::Damaged("the secret".to_owned()))?;
    UnitSecret::try_from(text).map_err(|error| StoreError::Damaged(error.to_owned()))
}

fn self_signed(
    id: Uuid,
) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), rcgen::Error> {
    let key = rcgen::KeyPair::generate()?;
    let params = rcgen::CertificateParams::new([format!("{id}.unit.outband")])?;
    Ok((params.self_signed(&key)?.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der())))
}

#[cfg(test)]
mod tests;

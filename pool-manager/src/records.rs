//! The station's records and the keys they are under. JSON, so that an operator can read a backup.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use outband_pool_api::{
    BlockSize, Chap, Duty, JobKind, JobState, MutualChap, Phase, Problem, Scope, Secret,
    VolumeRequest, WritePolicy,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::book::{Book, Record};
use crate::problems;
use crate::store::{Compare, Entry, Outcome, StoreError, Transaction};

pub const UNITS: &str = "/unit/";
pub const VOLUMES: &str = "/volume/";
pub const HOSTS: &str = "/host/";
pub const HOST_NAMES: &str = "/host-iqn/";
pub const JOBS: &str = "/job/";
pub const REQUESTS: &str = "/request/";
pub const TOKENS: &str = "/token/";
/// The name of a token that was issued, to its key.
pub const TOKEN_NAMES: &str = "/token-name/";
pub const AUDIT: &str = "/audit/";
pub const AUDIT_HEAD: &str = "/pool/audit";
/// Jobs with a deadline that have not ended, each with it as its text.
pub const DEADLINES: &str = "/deadline/";
/// Takeovers that have not ended.
pub const TAKEOVERS: &str = "/takeover/";
pub const JOIN_TOKEN: &str = "/pool/join-token";
/// Written by whoever places a volume: two placements at once cannot both count the same space.
pub const PLACEMENTS: &str = "/pool/placements";

/// A unit that has announced itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnitRecord {
    pub id: Uuid,
    pub name: String,
    pub approved: bool,
    /// Stopped by its own word; the next STARTUP clears it.
    pub left: bool,
    pub portals: Vec<SocketAddr>,
    pub api: SocketAddr,
    /// SHA-256 of the certificate of its API, from the sealed STARTUP; in hexadecimal.
    pub fingerprint: String,
    pub version: String,
    pub incarnation: u64,
    /// The unit's own secret, in hexadecimal. Written here before the unit gets it, so that a
    /// station that stops in between offers the same one again.
    pub secret: Option<Secret>,
    /// The unit has acknowledged its secret; the join token no longer speaks for it.
    pub enrolled: bool,
    #[serde(default)]
    pub duty: Duty,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was last lost without a word, as far as that still counts.
    #[serde(default)]
    pub leaves: Vec<u64>,
    /// It is lost at the moment, and that has been counted.
    #[serde(default)]
    pub lost: bool,
    #[serde(default)]
    pub quarantined_until: Option<u64>,
}

/// What the station wants of a volume, and how far that has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The unit's choice; known once the unit has made the volume.
    pub id: Option<Uuid>,
    pub name: String,
    pub unit: Uuid,
    pub size: u64,
    /// As asked for; the unit's choice if nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<BlockSize>,
    pub write_policy: WritePolicy,
    pub volatile: bool,
    /// Its host may ask for SANITIZE.
    #[serde(default)]
    pub allow_sanitize: bool,
    pub wish: Wish,
    /// The host it was last given to: whose grant may still have to be fenced.
    pub holder: Option<Holder>,
    /// The last epoch drawn from the volume's counter.
    pub epoch: u64,
    /// The unit has acknowledged all of this record.
    pub settled: bool,
    /// Where it lies, as last acknowledged. Once there, a unit that does not report the volume has
    /// lost it, and an empty one is never made in its place.
    pub place: Option<Place>,
    /// The job that made the record what it is.
    pub job: Option<Uuid>,
    /// What becomes of it if the unit refuses.
    pub undo: Undo,
    /// Why the job was turned back; it fails with this once everything is taken back.
    pub failure: Option<Problem>,
    /// From a backup: the unit may know better.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// It came into being with this job: it goes again.
    Delete,
    /// It was there before: it stays, free.
    Free,
    /// Back to this size.
    Shrink(u64),
    /// There is no way back; it is tried until it succeeds.
    Nothing,
    /// Goes on by itself like `Nothing`; who cancels it has this wish again.
    Keep(Wish),
    /// Back to the host that had it.
    Return(Holder),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// The holder may use it.
    Granted,
    /// It exists, and nobody may use it.
    Free,
    Deleted,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holder {
    pub host: String,
    pub iqn: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    pub target: String,
    pub lun: u64,
    pub start_lba: u64,
    pub end_lba: u64,
    pub blocks: u64,
    pub block_size: u32,
}

/// By what name units prove themselves to hosts.
const UNITS_USER: &str = "outband";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostRecord {
    pub name: String,
    pub iqn: String,
    /// CHAP needs the secret itself; the store's file is readable by the station alone.
    pub secret: Secret,
    /// What its units prove to it (mutual CHAP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual: Option<Secret>,
    /// Key of its token under [`TOKENS`].
    pub token: String,
    pub created: u64,
    /// Bytes that its volumes may have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// The host that has taken over. Until it is resumed, this one gets nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
}

impl HostRecord {
    /// Its identity on every unit. The user is the host's name, which is unique.
    pub fn chap(&self) -> Chap {
        let ours =
            |secret: &Secret| MutualChap { user: UNITS_USER.to_owned(), secret: secret.clone() };
        Chap {
            user: self.name.clone(),
            secret: self.secret.clone(),
            mutual: self.mutual.as_ref().map(ours),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobRecord {
    pub id: Uuid,
    pub kind: JobKind,
    pub state: JobState,
    pub volume: String,
    pub host: Option<String>,
    pub phases: Vec<Phase>,
    pub error: Option<Problem>,
    pub created: u64,
    /// Grows with every job; tells those of one second apart.
    #[serde(default)]
    pub sequence: u64,
    /// The idempotency record to forget together with this job.
    pub request: Option<String>,
    #[serde(default)]
    pub actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// What was asked for: for who wants to try it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<Uuid>,
    /// The job that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Uuid>,
}

impl JobRecord {
    /// It ends, in whatever transaction brings that about.
    pub fn end(
        &mut self,
        failure: Option<Problem>,
        now: u64,
        transaction: Transaction,
    ) -> Transaction {
        self.state = problems::end_of(failure.as_ref());
        self.error = failure;
        self.ended = Some(now);
        self.phases.push(Phase { name: self.state.to_string(), at: now });
        match self.deadline {
            Some(_) => transaction.delete(deadline_key(self.id)),
            None => transaction,
        }
    }
}

/// What a job was begun for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Create(Box<VolumeRequest>),
    Grow { size: u64 },
    Release,
    Assign { host: String },
    Move { host: String },
    Delete,
    Takeover { spare: String },
}

impl Task {
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Create(_) => JobKind::Create,
            Self::Grow { .. } => JobKind::Grow,
            Self::Release => JobKind::Release,
            Self::Assign { .. } => JobKind::Assign,
            Self::Move { .. } => JobKind::Move,
            Self::Delete => JobKind::Delete,
            Self::Takeover { .. } => JobKind::Takeover,
        }
    }

    /// To whom volumes go.
    pub fn to(&self) -> Option<&str> {
        match self {
            Self::Move { host } | Self::Takeover { spare: host } => Some(host),
            _ => None,
        }
    }
}

/// An idempotency key that was used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RequestRecord {
    pub job: Uuid,
    /// SHA-256 of what was asked for, in hexadecimal.
    pub digest: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRecord {
    Admin,
    Host(String),
    Issued(IssuedToken),
}

/// A token that an administrator has made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IssuedToken {
    pub name: String,
    pub scope: Scope,
    pub host: Option<String>,
    /// Seconds since 1970, as all times here.
    pub created: u64,
    pub expires: Option<u64>,
    pub by: String,
}

/// Where the audit log ends.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AuditHead {
    pub number: u64,
    /// Of the last entry, in hexadecimal.
    pub hash: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JoinTokenRecord {
    pub token: Secret,
    pub expires: Option<u64>,
}

pub fn unit_key(id: Uuid) -> String {
    format!("{UNITS}{id}")
}

pub fn volume_key(name: &str) -> String {
    format!("{VOLUMES}{name}")
}

pub fn host_key(name: &str) -> String {
    format!("{HOSTS}{name}")
}

pub fn job_key(id: Uuid) -> String {
    format!("{JOBS}{id}")
}

/// In the order of the entries.
pub fn audit_key(number: u64) -> String {
    format!("{AUDIT}{number:020}")
}

pub fn deadline_key(job: Uuid) -> String {
    format!("{DEADLINES}{job}")
}

pub fn takeover_key(job: Uuid) -> String {
    format!("{TAKEOVERS}{job}")
}

/// A record with the revision it was read at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored<T> {
    pub record: T,
    pub key: String,
    pub revision: u64,
}

impl<T> Stored<T> {
    pub fn unchanged(&self) -> Compare {
        Compare::Unchanged(self.key.clone(), self.revision)
    }
}

pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have text keys and no fallible parts")
}

pub(crate) fn decode<T: DeserializeOwned>(entry: Entry) -> Result<Stored<T>, StoreError> {
    match serde_json::from_slice(&entry.value) {
        Ok(record) => Ok(Stored { record, key: entry.key, revision: entry.revision }),
        Err(source) => Err(StoreError::Record { key: entry.key, source }),
    }
}

/// The record under this key: as the book has it, or else from the store.
pub async fn load<T: Record>(book: &Book, key: &str) -> Result<Option<Stored<T>>, StoreError> {
    if let Some(table) = T::table(&*book.pages().await?) {
        return Ok(table.get(key).map(|row| Stored::clone(row)));
    }
    book.get(key).await?.map(decode).transpose()
}

/// All of a kind that the book keeps, in the order of their keys.
pub async fn load_all<T: Record>(book: &Book) -> Result<Vec<Arc<Stored<T>>>, StoreError> {
    let pages = book.pages().await?;
    Ok(T::table(&pages).into_iter().flat_map(|table| table.all().cloned()).collect())
}

/// Changes one record, however many others write at the same time. `change` says `false` when
/// there is nothing to do; it may run several times.
pub async fn update<T: Record + Serialize>(
    book: &Book,
    key: &str,
    mut change: impl FnMut(&mut T) -> bool,
) -> Result<Option<T>, StoreError> {
    for _ in 0..ATTEMPTS {
        let Some(mut stored) = load::<T>(book, key).await? else {
            return Ok(None);
        };
        if !change(&mut stored.record) {
            return Ok(Some(stored.record));
        }
        let put = Transaction::new().when(stored.unchanged()).put(key, encode(&stored.record));
        if book.commit(put).await? != Outcome::Conflict {
            return Ok(Some(stored.record));
        }
    }
    Err(StoreError::Contended)
}

/// How often a compare-and-put is tried before the caller is told to come back.
pub const ATTEMPTS: u32 = 16;

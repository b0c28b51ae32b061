//! A volume as the shards see it: where its blocks lie, and how it may be used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::journal::Mark;

/// Everything a shard needs to serve a volume.
#[derive(Clone, Debug)]
pub struct VolumeSpec {
    /// The identity; the SCSI designators come from it. Never reused.
    pub id: Uuid,
    pub name: VolumeName,
    pub block_size: u32,
    /// What the media does best; `block_size` or a multiple of it.
    pub physical_block_size: u32,
    /// Usable now. Space that is still being zeroed after a grow is not counted.
    pub blocks: u64,
    pub write_policy: WritePolicy,
    pub state: VolumeState,
    pub read_only: bool,
    /// The data does not outlive the machine: memory, tmpfs.
    pub volatile: bool,
    /// At least one of the media is a turning disk.
    pub rotational: bool,
    /// In volume order, without a gap; together `blocks` long or longer. A piece never changes: the last
    /// goes on past the volume's end, so that more of it can be used without another.
    pub pieces: Vec<Piece>,
    pub partitions: Vec<PartitionSpec>,
    /// No grant below or at this epoch is taken any more, except the same one repeated.
    pub epoch_floor: u64,
    pub place: Place,
    /// Where it can be written down what is about to be written; none for memory.
    pub journal: Option<JournalSpec>,
    /// SANITIZE and FORMAT UNIT may be asked for.
    pub allow_sanitize: bool,
}

/// The journal of a volume's first device.
#[derive(Clone, Debug)]
pub struct JournalSpec {
    /// Shared by all volumes that begin on this device.
    pub device: Uuid,
    pub file: Arc<OwnedFd>,
    /// Its first byte.
    pub at: u64,
    /// Targets whose SANITIZE or FORMAT UNIT had not ended when the device came, and where that is marked.
    pub marks: BTreeMap<Uuid, Mark>,
    /// Where it holds intents of volumes that could not be finished yet: they must not be written over.
    pub left: BTreeSet<u64>,
}

impl VolumeSpec {
    /// A volume of `pieces`, online, to be written with every write on stable storage. Whatever else
    /// there is to say of it takes `..VolumeSpec::new(…)`.
    #[must_use]
    pub fn new(id: Uuid, name: VolumeName, block_size: u32, pieces: Vec<Piece>) -> Self {
        let len: u64 = pieces.iter().map(|piece| piece.len).sum();
        Self {
            id,
            name,
            block_size,
            physical_block_size: block_size,
            blocks: len / u64::from(block_size),
            write_policy: WritePolicy::Normal,
            state: VolumeState::Online,
            read_only: false,
            volatile: false,
            rotational: false,
            pieces,
            partitions: Vec::new(),
            epoch_floor: 0,
            place: Place::default(),
            journal: None,
            allow_sanitize: false,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.blocks * u64::from(self.block_size)
    }

    /// True while no block can be used: the first extents are not zeroed yet, or a device is missing.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }
}

/// A run of bytes on one device.
#[derive(Clone, Debug)]
pub struct Piece {
    pub device: Uuid,
    pub media: Media,
    /// Bytes from the start of the device.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// The quickest way to make a range of this device read as zeros.
    pub zero: ZeroWith,
}

/// What holds the bytes of a device.
#[derive(Clone, Debug)]
pub enum Media {
    /// A file or block device. One descriptor for the life of the process, because the kernel reports
    /// a failed write-back once per open file.
    File(Arc<OwnedFd>),
    /// The shard's own memory, zero at first.
    Memory,
}

impl Media {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&OwnedFd> {
        match self {
            Self::File(fd) => Some(fd),
            Self::Memory => None,
        }
    }
}

/// How a range of a device is made to read as zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroWith {
    /// `fallocate(FALLOC_FL_ZERO_RANGE)`.
    Range,
    /// `fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)`.
    Punch,
    /// Neither is offered; zeros are written.
    Writes,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WritePolicy {
    /// Once it is on stable storage (WCE=0).
    #[default]
    Normal,
    /// Once it is in the write cache (WCE=1).
    High,
}

/// Whether a volume can be used, and if not, why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    Online,
    /// A sync failed: what was acknowledged may be lost. Stays so until the operator says `recover`.
    Faulted,
    /// Its first space is still being zeroed.
    Zeroing,
    /// A device is missing, or its devices do not agree about it.
    Incomplete,
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Online => "online",
            Self::Faulted => "faulted",
            Self::Zeroing => "zeroing",
            Self::Incomplete => "incomplete",
        })
    }
}

/// A named sub-range of a volume, with an identity of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionSpec {
    /// The `n` of `<volume>.p<n>`; from 1.
    pub number: u16,
    pub id: Uuid,
    /// First block within the volume.
    pub start: u64,
    pub blocks: u64,
}

impl PartitionSpec {
    /// The block after the last.
    pub fn end(&self) -> u64 {
        self.start + self.blocks
    }
}

/// Where this copy of the volume stands among all the places it may one day live at; unique across
/// units, given by the station.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    pub target_portal_group: u16,
    pub target_port_group: u16,
    pub relative_port: u16,
}

impl Default for Place {
    fn default() -> Self {
        Self { target_portal_group: 1, target_port_group: 1, relative_port: 1 }
    }
}

/// A volume's name. Immutable; it is the last part of the target name, so only what RFC 3722 leaves
/// unchanged is allowed: lower case, digits, `.` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// Longest name, in bytes.
    pub const MAX_LEN: usize = 63;

    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        if name.is_empty() || name.len() > Self::MAX_LEN || !name.bytes().all(allowed) {
            return Err(BadName::Characters(name));
        }
        if is_partition_name(&name) {
            return Err(BadName::LooksLikePartition(name));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `<volume>.p<n>` would be taken for a partition's target.
fn is_partition_name(name: &str) -> bool {
    name.rsplit_once(".p")
        .is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The operator chose a name that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
    #[error("`{0}` cannot be a volume name: use 1 to 63 of a-z, 0-9, `.` and `-`")]
    Characters(String),
    #[error("`{0}` cannot be a volume name: an ending like `.p1` names a partition")]
    LooksLikePartition(String),
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for VolumeName {
    type Err = BadName;
    fn from_str(name: &str) -> Result<Self, BadName> {
        Self::new(name)
    }
}

impl TryFrom<String> for VolumeName {
    type Error = BadName;
    fn try_from(name: String) -> Result<Self, BadName> {
        Self::new(name)
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_an_iscsi_name_leaves_unchanged() {
        for good in ["a", "db-1", "web.data", "0", "x.p", "x.p1a", &"a".repeat(63)] {
            assert!(VolumeName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Db", "a_b", "a/b", "ä", "a b", "a:b", &"a".repeat(64)] {
            assert!(matches!(VolumeName::new(bad), Err(BadName::Characters(_))), "{bad}");
        }
    }

    #[test]
    fn a_name_that_would_be_taken_for_a_partition_is_refused() {
        for bad in ["db.p1", "a.b.p12"] {
            assert!(matches!(VolumeName::new(bad), Err(BadName::LooksLikePartition(_))), "{bad}");
        }
    }
}

//! The unit API's nouns. Sizes are in bytes; LBAs are in blocks of the volume, and an end LBA is the
//! last one, not the one after it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::{Epoch, Grant, Redirect, Source, Subject};

/// Names of this API's routes. `{…}` is a path parameter.
pub mod routes {
    /// `GET`: [`Inventory`](super::Inventory).
    pub const INVENTORY: &str = "/v1/inventory";
    /// `GET`: a list of [`SessionInfo`](super::SessionInfo).
    pub const SESSIONS: &str = "/v1/sessions";
    /// `GET`: [`Counts`](super::Counts).
    pub const COUNTS: &str = "/v1/counts";
    /// `POST` [`VolumeCreate`](super::VolumeCreate).
    pub const VOLUMES: &str = "/v1/volumes";
    /// `PATCH` [`VolumeGrow`](super::VolumeGrow), `DELETE` [`Which`](super::Which).
    pub const VOLUME: &str = "/v1/volumes/{volume}";
    /// `POST` [`PartitionCreate`](super::PartitionCreate).
    pub const PARTITIONS: &str = "/v1/volumes/{volume}/partitions";
    /// `DELETE`.
    pub const PARTITION: &str = "/v1/volumes/{volume}/partitions/{number}";
    /// `PUT` [`Grant`](super::Grant) to give, `DELETE` to take whatever grant is there.
    pub const GRANT: &str = "/v1/grants/{subject}";
    /// `GET`: a list of [`RedirectInfo`](super::RedirectInfo).
    pub const REDIRECTS: &str = "/v1/redirects";
    /// `PUT` [`Redirect`](super::Redirect) to send hosts elsewhere, `DELETE` to serve them again.
    pub const REDIRECT: &str = "/v1/redirects/{subject}";
    /// `POST` [`Fence`](super::Fence), with [`Which`](super::Which).
    pub const FENCES: &str = "/v1/fences";
    /// `POST` [`Enrol`](super::Enrol).
    pub const ENROL: &str = "/v1/enrol";
}

/// Default of the prefix that every target name begins with.
pub const TARGET_PREFIX: &str = "iqn.2026-11.local.outband";

/// How the targets of one unit are named: `{prefix}:{pool}:{volume}` and `….p{n}` for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetNames {
    prefix: String,
}

impl TargetNames {
    /// Names under `prefix` (usually [`TARGET_PREFIX`]) in `pool`.
    #[must_use]
    pub fn new(prefix: &str, pool: &str) -> Self {
        Self { prefix: format!("{prefix}:{pool}:") }
    }

    /// The iSCSI target name that serves `subject`.
    #[must_use]
    pub fn target(&self, subject: &Subject) -> String {
        format!("{}{subject}", self.prefix)
    }

    /// The subject that `target` serves, if it is one of ours by name.
    #[must_use]
    pub fn subject(&self, target: &str) -> Option<Subject> {
        target.strip_prefix(&self.prefix)?.parse().ok()
    }
}

/// Everything a station asks of a unit that has just reported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inventory {
    /// Who answers.
    pub unit: UnitInfo,
    /// Devices, volumes and free space.
    #[serde(flatten)]
    pub storage: Storage,
    /// Who may use what. Never with secrets.
    pub grants: Vec<GrantInfo>,
}

/// A unit, as it names itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitInfo {
    /// Made once, at the first start on this state directory.
    pub id: Uuid,
    /// What its operator calls it.
    pub name: String,
    /// Software version.
    pub version: String,
    /// Advertised portals, never a wildcard.
    pub portals: Vec<SocketAddr>,
    /// Its network interfaces, for people to read.
    pub interfaces: Vec<String>,
    /// Whether a station has given it its own secret.
    pub enrolled: bool,
}

/// What a unit stores on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Its devices.
    pub devices: Vec<DeviceInfo>,
    /// Its volumes.
    pub volumes: Vec<VolumeInfo>,
    /// Free bytes over all devices.
    pub free: u64,
    /// The largest volume that could be made now.
    pub largest_free: u64,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Identity in its superblock.
    pub id: Uuid,
    /// Path, or `memory`.
    pub path: String,
    /// `file`, `block` or `memory`.
    pub kind: String,
    /// Bytes that can hold extents.
    pub size: u64,
    /// Bytes of those that no extent uses.
    pub free: u64,
    /// Its contents are gone after a restart: allocated only on request.
    pub volatile: bool,
    /// A sync or superblock write failed, or it is missing.
    pub faulted: bool,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    /// Never reused; the LUN identity comes from it.
    pub id: Uuid,
    /// Immutable.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Bytes of one block.
    pub block_size: u32,
    /// First LBA that a host may use.
    pub start_lba: u64,
    /// Last LBA that a host may use.
    pub end_lba: u64,
    /// Length in blocks.
    pub blocks: u64,
    /// Where it lies, in order.
    pub extents: Vec<ExtentInfo>,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionInfo>,
    /// Whether it can be used.
    pub state: VolumeState,
    /// No grant at or below this epoch is taken any more.
    pub epoch_floor: Epoch,
    /// No host was ever granted this volume or a part of it, so it reads as zeros. Its floor may be
    /// above 0 all the same: that of an earlier volume of its name stays.
    #[serde(default)]
    pub untouched: bool,
    /// iSCSI target name.
    pub target: String,
    /// Logical unit number under that target.
    pub lun: u16,
    /// When a write is acknowledged.
    pub write_policy: WritePolicy,
    /// Lies on memory.
    pub volatile: bool,
    /// Its hosts may ask for SANITIZE and FORMAT UNIT.
    #[serde(default)]
    pub allow_sanitize: bool,
}

/// A run of bytes on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentInfo {
    /// The device.
    pub device: Uuid,
    /// First byte on it.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// A part of a volume that can be granted by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// The `n` of `…:{volume}.p{n}`.
    pub number: u16,
    /// Its own identity, hence its own LUN identity.
    pub id: Uuid,
    /// First LBA within the volume.
    pub start_lba: u64,
    /// Last LBA within the volume.
    pub end_lba: u64,
    /// Length in blocks.
    pub blocks: u64,
    /// iSCSI target name.
    pub target: String,
}

/// Whether a volume can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeState {
    /// Reads and writes.
    Online,
    /// A sync failed: reads only, until `volume recover`.
    Faulted,
    /// New space is being cleared; it cannot be granted yet.
    Zeroing,
    /// A device of it is missing, or its copies disagree.
    Incomplete,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WritePolicy {
    /// When it is on stable storage.
    #[default]
    Normal,
    /// From the write cache.
    High,
}

/// A grant, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantInfo {
    /// The volume or partition.
    pub subject: Subject,
    /// The host's initiator name.
    pub host: String,
    /// Since which epoch.
    pub epoch: Epoch,
    /// From where; empty is from anywhere.
    pub sources: Vec<Source>,
    /// Sessions a host may have to one portal.
    pub sessions_per_portal: u16,
    /// iSCSI target name.
    pub target: String,
}

impl GrantInfo {
    /// What may be told of `grant` on `subject`.
    #[must_use]
    pub fn new(subject: &Subject, grant: &Grant, names: &TargetNames) -> Self {
        Self {
            subject: subject.clone(),
            host: grant.host.clone(),
            epoch: grant.epoch,
            sources: grant.sources.clone(),
            sessions_per_portal: grant.sessions_per_portal,
            target: names.target(subject),
        }
    }
}

/// A redirect, and what it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectInfo {
    /// The volume or partition that lives elsewhere.
    pub subject: Subject,
    /// iSCSI target name.
    pub target: String,
    /// Where hosts are sent.
    #[serde(flatten)]
    pub redirect: Redirect,
}

impl RedirectInfo {
    /// The redirect of `subject`.
    #[must_use]
    pub fn new(subject: &Subject, redirect: &Redirect, names: &TargetNames) -> Self {
        let (target, redirect) = (names.target(subject), redirect.clone());
        Self { subject: subject.clone(), target, redirect }
    }
}

/// Make a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeCreate {
    /// Its name, for ever.
    pub name: String,
    /// Bytes; rounded up to whole extents by the unit.
    pub size: u64,
    /// 512 or 4096; the unit's choice when absent.
    #[serde(default)]
    pub block_size: Option<u32>,
    /// When its writes are acknowledged.
    #[serde(default)]
    pub write_policy: WritePolicy,
    /// Devices to use; any that are not volatile when empty.
    #[serde(default)]
    pub devices: Vec<Uuid>,
    /// Memory devices will do.
    #[serde(default)]
    pub volatile: bool,
    /// Its hosts may ask for SANITIZE and FORMAT UNIT.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_sanitize: bool,
}

/// Make a volume larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeGrow {
    /// The new size in bytes, not what is added: a repeated request changes nothing.
    pub size: u64,
}

/// Which volume of a name is meant, in the query: a call may come late, when another has the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only the volume of this identity; whatever has the name when absent.
    #[serde(default)]
    pub id: Option<Uuid>,
}

/// Make a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionCreate {
    /// The lowest free number when absent.
    #[serde(default)]
    pub number: Option<u16>,
    /// The first gap that fits when absent.
    #[serde(default)]
    pub start_lba: Option<u64>,
    /// Bytes.
    pub size: u64,
}

/// End one host's use of a volume or partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// The volume or partition.
    pub subject: Subject,
    /// The host whose grant ends; no other host's grant is touched.
    pub host: String,
    /// The grant's epoch. An older grant of this host ends too; a newer one is not touched.
    pub epoch: Epoch,
}

/// Acknowledges a fence: no write of that grant can land any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// The volume's floor now.
    pub floor: Epoch,
}

/// The station gives a unit its own secret, over a connection that pins the unit's certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// Who it is for; another unit refuses it.
    pub unit: Uuid,
    /// The secret.
    pub secret: crate::secret::UnitSecret,
}

/// One session that is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Initiator name.
    pub host: String,
    /// Where it comes from.
    pub source: SocketAddr,
    /// The portal it came to.
    pub portal: SocketAddr,
    /// What it uses.
    pub subject: Subject,
    /// Under which grant.
    pub epoch: Epoch,
}

/// What a unit has counted by now. Its counters only grow while it serves a volume; the difference
/// between two looks is what happened between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Microseconds since the unit's start.
    pub at_micros: u64,
    /// Upper bounds of the buckets of [`Counted::times`], in microseconds, ascending. Commands that
    /// took longer are in one bucket more.
    pub bounds_micros: Vec<u64>,
    /// Of each volume and partition that is served.
    pub volumes: Vec<VolumeCounts>,
    /// Of each session.
    pub sessions: Vec<SessionCounts>,
}

/// What the commands to one volume or partition came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCounts {
    /// The volume or partition.
    pub subject: Subject,
    /// Reads.
    pub read: Counted,
    /// Writes.
    pub write: Counted,
    /// Commands that did not end well.
    pub failed: u64,
    /// Commands under way.
    pub queue_depth: u32,
    /// Sessions logged in.
    pub sessions: u32,
}

/// Commands of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Bytes between hosts and the volume.
    pub bytes: u64,
    /// How many took how long, by bucket, from a command's arrival until its response left. Empty
    /// buckets at the end are left out.
    pub times: Vec<u64>,
}

/// What one session did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCounts {
    /// The volume or partition.
    pub subject: Subject,
    /// Initiator name.
    pub host: String,
    /// Where it comes from.
    pub source: SocketAddr,
    /// The portal it came to.
    pub portal: SocketAddr,
    /// Commands answered.
    pub commands: u64,
    /// Bytes to the host.
    pub read_bytes: u64,
    /// Bytes from the host.
    pub written_bytes: u64,
    /// Commands under way.
    pub queue_depth: u32,
    /// Commands that it may have under way.
    pub window: u32,
}

/// An error body as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A word that programs can match on: `urn:outband:unit:{kind}`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// With `stale-epoch`: the floor that the epoch was not above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Epoch>,
    /// With `no-space`: the largest volume that would fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<u64>,
}

//! Volumes, how they are asked for, and how a host reaches one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{BlockSize, Secret, Size};

/// What a host asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeRequest {
    /// From 1 MiB to 8 EiB; rounded up to whole MiB.
    pub size: Size,
    /// The host's registered name. With a host's own token it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Lower case, digits, `.` and `-`, at most 63; never changes. Made up when left out, and only
    /// then an existing free volume may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Refused unless it is this station's pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Pins the volume to one unit, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Bytes in a logical block: 512 or 4096. The unit's choice when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, example = 4096)]
    pub block_size: Option<BlockSize>,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default)]
    pub write_policy: WritePolicy,
    /// Asks for memory: fast, and lost when its unit stops. Never chosen without being asked for.
    #[serde(default)]
    pub volatile: bool,
    /// Its host may wipe it (SCSI's SANITIZE and FORMAT UNIT), which nothing that it does can end. Where nobody asks
    /// for that, no host can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_sanitize: bool,
    /// Only units with all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Only the unit that these volumes are on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// Not in a failure domain with any of these volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<String>,
    /// The label whose value names a unit's failure domain, such as `rack`; each unit is one by
    /// itself when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Where a volume would be placed now, and why not elsewhere. Nothing is set aside by that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Placed {
    /// The unit's name; absent if none can take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The free volume that would be used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<String>,
    /// Why this one, or why none.
    pub why: String,
    /// For who may see units; empty for a host.
    pub units: Vec<Considered>,
}

/// What placement has to say of one unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Considered {
    pub unit: String,
    pub free: Size,
    /// Whether it could take the volume.
    pub fits: bool,
    pub why: String,
}

/// How a unit is chosen when none is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The unit with the most free space.
    #[default]
    MostFree,
    /// The unit with the fewest volumes of this host, then the most free space.
    Spread,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WritePolicy {
    /// When it is on stable storage.
    #[default]
    Normal,
    /// From the write cache; SYNCHRONIZE CACHE and FUA reach stable storage.
    High,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrowRequest {
    /// The new size, not what is added.
    pub size: Size,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignRequest {
    pub host: String,
}

/// Gives a volume to another host; the one that has it is fenced first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveHostRequest {
    pub host: String,
}

/// A named run of blocks on one unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Volume {
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    pub name: String,
    pub size: Size,
    pub state: VolumeState,
    #[schema(value_type = String, format = "uuid")]
    pub unit: Uuid,
    pub unit_name: String,
    /// Who may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The volume's counter: it grows with each grant and is never used twice.
    pub epoch: u64,
    pub block_size: u32,
    pub write_policy: WritePolicy,
    /// The job that is changing it, or that changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub job: Option<Uuid>,
    /// Of its record; as `If-Match` it makes a change happen only if nobody was faster. 0 if only
    /// its unit knows it.
    #[serde(default)]
    pub revision: u64,
    /// How its host reaches it; present once the unit has acknowledged the grant, and only for who
    /// may see the host's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VolumeState {
    /// Being made, grown or given to a host.
    Pending,
    /// Its host may use it: station, unit and host agree.
    Granted,
    /// Nobody may use it.
    Free,
    /// Being taken from its host.
    Releasing,
    Deleting,
    /// Its unit does not report it (any more).
    Missing,
    /// Two units report the same volume; the operator must choose.
    Conflict,
    /// On a unit, with a grant or a partition this station knows nothing of.
    Foreign,
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Free => "free",
            Self::Releasing => "releasing",
            Self::Deleting => "deleting",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Foreign => "foreign",
        })
    }
}

/// All that an iSCSI initiator needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Connection {
    /// `address:port`, every portal of the unit.
    pub portals: Vec<String>,
    pub target: String,
    pub lun: u64,
    /// Where the volume starts on its unit, in blocks; `end_lba` is the last one.
    pub start_lba: u64,
    pub end_lba: u64,
    pub blocks: u64,
    pub block_size: u32,
    /// The initiator name the unit expects.
    pub initiator: String,
    pub chap: Chap,
}

/// The host's identity on every unit; it follows the host's volumes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Chap {
    pub user: String,
    pub secret: Secret,
    /// What every unit proves to this host, if it asks (mutual CHAP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual: Option<MutualChap>,
}

/// The identity of a host's units towards it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MutualChap {
    pub user: String,
    pub secret: Secret,
}

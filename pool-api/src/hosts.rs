//! Hosts: machines that use volumes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Chap, Secret, Size};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRequest {
    /// Lower case, digits, `.` and `-`, at most 63.
    pub name: String,
    /// The host's iSCSI initiator name.
    pub iqn: String,
    /// Bytes that its volumes may have together; no bound without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Size>,
    /// Units prove themselves to this host too (mutual CHAP).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mutual: bool,
}

/// What is to change of a host; what is left out stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostChange {
    /// 0 takes the bound away. Volumes it has already stay, whatever their size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Size>,
}

/// A spare host takes the place of one that has failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeoverRequest {
    pub spare: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Host {
    pub name: String,
    pub iqn: String,
    /// Names of its volumes.
    pub volumes: Vec<String>,
    /// Seconds since 1970.
    pub created: u64,
    /// Bytes that its volumes may have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Size>,
    /// Bytes that they have.
    #[serde(default)]
    pub used: Size,
    /// The spare that has taken over; until it is resumed, this host gets nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// Of its record; as `If-Match` it makes a change happen only if nobody was faster.
    #[serde(default)]
    pub revision: u64,
}

/// The answer to adding a host. The token is shown this once: the station keeps only its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewHost {
    pub host: Host,
    /// Valid for this host alone.
    pub token: Secret,
    pub chap: Chap,
}

//! Hosts: machines that use volumes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Chap, Secret};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRequest {
    /// Lower case, digits, `.` and `-`, at most 63.
    pub name: String,
    /// The host's iSCSI initiator name.
    pub iqn: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Host {
    pub name: String,
    pub iqn: String,
    /// Names of its volumes.
    pub volumes: Vec<String>,
    /// Seconds since 1970.
    pub created: u64,
}

/// The answer to adding a host. The token is shown this once: the station keeps only its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewHost {
    pub host: Host,
    /// Valid for this host alone.
    pub token: Secret,
    pub chap: Chap,
}

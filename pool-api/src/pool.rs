//! The pool as a whole.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Secret, Severity, Size};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PoolStatus {
    pub name: String,
    /// Lasting media of the units that are joined. The other figures are parts of it.
    pub total: Size,
    /// Held by volumes that a host may use.
    pub granted: Size,
    /// Where a new volume can be: no failed device, no unit that takes nothing new, and nothing that
    /// is promised to a volume which its unit does not hold yet.
    pub free: Size,
    /// The largest volume a host could get now.
    pub largest: Size,
    /// Of the total, what volumes hold, whoever made them; rounded down.
    #[serde(default)]
    pub used_percent: u8,
    /// What the administrator should do something about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    pub units: UnitCounts,
    pub volumes: u32,
    pub hosts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UnitCounts {
    pub pending: u32,
    pub joined: u32,
    pub suspect: u32,
    pub down: u32,
    pub left: u32,
}

/// Lets a unit enrol, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    pub token: Secret,
    /// Seconds since 1970; absent when it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// Without it the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_seconds: Option<u64>,
}

/// Something that happened in the pool. The station remembers the last thousand since its start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows by one with each event; ask for those after the last one seen.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_millis: u64,
    #[serde(default)]
    pub severity: Severity,
    /// `unit-joined`, `volume-granted` …
    pub kind: String,
    /// Name of the unit, volume or host.
    pub subject: String,
    pub text: String,
}

/// Something in the pool that is not as it should be, and what can be done about it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// `volume-missing`, `volume-foreign`, `unit-down` …; programs decide by this.
    pub code: String,
    /// Name of the unit, volume or host.
    pub subject: String,
    pub detail: String,
    /// The command that leads on.
    pub next: String,
}

/// A destructive or final change asks for the name once more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    pub confirm: String,
}

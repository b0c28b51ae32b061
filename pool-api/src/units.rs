//! Units as the station sees them.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Size;

/// A storage machine that has announced itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Unit {
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    pub name: String,
    pub state: UnitState,
    /// iSCSI portals, as the unit advertises them.
    pub portals: Vec<String>,
    /// Where the unit's own API answers.
    pub api: String,
    pub version: String,
    /// Changes at each start of the unit.
    pub incarnation: u64,
    pub total: Size,
    pub free: Size,
    pub volumes: u32,
    /// Of its record; as `If-Match` it makes a change happen only if nobody was faster.
    #[serde(default)]
    pub revision: u64,
    pub devices: Vec<Device>,
    /// As of the last ALIVE; absent while the unit does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Seconds since the unit was last heard; absent when it was not heard since the station started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_seconds_ago: Option<u64>,
}

/// Storage media of a unit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Device {
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    pub path: String,
    pub total: Size,
    pub free: Size,
    /// Memory: its content ends with the unit's process.
    pub volatile: bool,
    pub healthy: bool,
}

/// What a unit says of itself with each ALIVE.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Load {
    pub sessions: u32,
    pub iops: u64,
    pub bytes_per_second: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Announced; waits for an operator's approval, or for the station to read its inventory.
    Pending,
    /// In the pool and heard within the last three seconds.
    Joined,
    /// Three ALIVE missed. Nothing new is placed there.
    Suspect,
    /// Ten ALIVE missed.
    Down,
    /// Stopped in order, by its own word.
    Left,
}

impl fmt::Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Joined => "joined",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        })
    }
}

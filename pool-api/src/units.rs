//! Units as the station sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

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
    /// Somebody, or the station's policy, has let it in; a pending one is otherwise yet to be.
    #[serde(default)]
    pub approved: bool,
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
    /// What it is used for.
    #[serde(default)]
    pub duty: Duty,
    /// What placement can ask for, such as `rack=r7` or `media=nvme`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Lost without a word too often: until then (seconds since 1970) it gets nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_until: Option<u64>,
    /// While it drains: names of the pool's volumes that are still there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_leave: Vec<String>,
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

/// What a unit is used for. Whatever it is, the volumes on it stay in use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// New volumes come here.
    #[default]
    Active,
    /// Nothing new comes here.
    Cordoned,
    /// Nothing new comes here, and what is here is to leave.
    Draining,
    /// Nothing new comes here, and that it goes away is expected.
    Maintenance,
    /// Held back until it has to replace another.
    Spare,
}

/// What is to change of a unit; what is left out stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duty: Option<Duty>,
    /// Labels by name; `null` takes one away.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// Ends a quarantine.
    #[serde(default)]
    pub trust: bool,
}

/// A label is `name=value`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Label(pub String, pub String);

/// This is no label.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is no label; write name=value")]
pub struct BadLabel(String);

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Self, BadLabel> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self(name.to_owned(), value.to_owned()))
            }
            _ => Err(BadLabel(text.to_owned())),
        }
    }
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

impl Load {
    /// Both together. A unit may say what it likes of itself: a sum stays at its largest.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            sessions: self.sessions.saturating_add(other.sessions),
            iops: self.iops.saturating_add(other.iops),
            bytes_per_second: self.bytes_per_second.saturating_add(other.bytes_per_second),
        }
    }
}

impl Sum for Load {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::default(), Self::plus)
    }
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

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Spare => "spare",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_add_up_to_their_largest_and_no_further() {
        let load = |sessions, iops| Load { sessions, iops, bytes_per_second: u64::MAX - 1 };
        let all: Load = [load(1, 2), load(3, u64::MAX)].into_iter().sum();
        let most = u64::MAX;
        assert_eq!(all, Load { sessions: 4, iops: most, bytes_per_second: most });
        assert_eq!(load(u32::MAX, 0).plus(load(1, 0)).sessions, u32::MAX);
    }

    #[test]
    fn a_label_is_a_name_and_a_value() {
        assert_eq!("rack=r7".parse(), Ok(Label("rack".into(), "r7".into())));
        assert_eq!("a=b=c".parse(), Ok(Label("a".into(), "b=c".into())));
        for text in ["", "rack", "=r7", "rack="] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }
}

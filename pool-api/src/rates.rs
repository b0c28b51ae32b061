//! How fast volumes and sessions are right now, as their units have counted it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What happens in the pool, or on one volume, from look to look.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    pub volumes: Vec<VolumeRates>,
    pub sessions: Vec<SessionRates>,
    /// Units in the pool that have not told what they have counted: what is on them is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}

/// One volume's, or one partition's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VolumeRates {
    /// The volume's name; of a partition with `.p` and its number behind it.
    pub volume: String,
    /// Name of its unit.
    pub unit: String,
    /// The time that the rates are of.
    pub over_millis: u64,
    pub read: Rate,
    pub write: Rate,
    /// Commands that did not end well, per second, rounded up.
    pub failed_per_second: u64,
    /// Commands under way.
    pub queue_depth: u32,
    /// Sessions logged in.
    pub sessions: u32,
    /// Since the unit serves the volume; only where one volume was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LatencyBucket>,
}

/// Commands of one kind, between two looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Rate {
    /// Commands per second.
    pub per_second: u64,
    pub bytes_per_second: u64,
    /// Half of the commands were faster, in microseconds from a command's arrival until its response
    /// left the unit. Absent if there was none. Times are counted in buckets, each twice as wide as
    /// the one before: what is said here lies in the right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_micros: Option<u64>,
    /// One command in a hundred was slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_micros: Option<u64>,
}

impl Rate {
    /// Both kinds together. A percentile of both lies between them: the worse one is told.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            per_second: self.per_second.saturating_add(other.per_second),
            bytes_per_second: self.bytes_per_second.saturating_add(other.bytes_per_second),
            p50_micros: self.p50_micros.max(other.p50_micros),
            p99_micros: self.p99_micros.max(other.p99_micros),
        }
    }
}

/// Commands that took longer than the bucket before says, and no longer than this one does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LatencyBucket {
    /// Absent: without a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_micros: Option<u64>,
    pub reads: u64,
    pub writes: u64,
}

/// One session's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionRates {
    /// As in [`VolumeRates`].
    pub volume: String,
    pub unit: String,
    /// The host's iSCSI initiator name.
    pub initiator: String,
    /// `address:port`, where it comes from.
    pub source: String,
    /// The portal that it came to.
    pub portal: String,
    pub commands_per_second: u64,
    pub read_bytes_per_second: u64,
    pub written_bytes_per_second: u64,
    /// Commands under way.
    pub queue_depth: u32,
    /// Commands that it may have under way (MaxCmdSN, RFC 7143 §4.2.2.1).
    pub window: u32,
}

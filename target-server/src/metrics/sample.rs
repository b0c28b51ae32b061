//! A unit's figures at one time, as plain data.

use serde::Serialize;
use uuid::Uuid;

use super::{DeviceTally, SessionCounts, Tally};

/// One shard's.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ShardSample {
    /// Which.
    pub index: usize,
    /// Turns of its loop since it began.
    pub turns: u64,
    /// Operations with the kernel.
    pub ring_operations: usize,
    /// Operations that the ring had no room for.
    pub backlog: usize,
    /// Bytes that tasks have.
    pub task_bytes: usize,
    /// Bytes that they may have.
    pub task_bytes_max: usize,
    /// Bytes that connections receive into.
    pub receive_bytes: usize,
    /// Bytes that they may have for that.
    pub receive_bytes_max: usize,
    /// Tasks that wait for a buffer.
    pub hungry: usize,
    /// Connections, in whatever phase.
    pub connections: usize,
    /// Connections that ended for a wrong header digest (§7.8): the stream behind one is lost.
    pub header_digest_errors: u64,
    /// Its targets.
    #[serde(skip)]
    pub targets: Vec<TargetSample>,
    /// Its sessions.
    pub sessions: Vec<SessionSample>,
    /// What devices did for its volumes.
    pub devices: Vec<(Uuid, DeviceTally)>,
}

/// One shard from inside.
#[derive(Clone, Debug, Serialize)]
pub struct ShardDump {
    /// Its figures.
    #[serde(flatten)]
    pub figures: ShardSample,
    /// Tasks under way, oldest first.
    pub tasks: Vec<TaskSample>,
    /// Those there was no room for.
    pub untold_tasks: usize,
}

/// One task under way.
#[derive(Clone, Debug, Serialize)]
pub struct TaskSample {
    /// What its session is logged in to.
    pub target: String,
    /// Where that comes from.
    pub source: std::net::SocketAddr,
    /// Initiator Task Tag.
    pub itt: u32,
    /// What it is about.
    pub operation: &'static str,
    /// Where it stands.
    pub stage: &'static str,
    /// First byte in the volume.
    pub at: u64,
    /// Bytes that it moves.
    pub bytes: u32,
    /// Since it came.
    pub age_micros: u64,
    /// That the store has had it, when it last gave it back.
    pub in_store_micros: u64,
}

/// One volume's, or one partition's.
#[derive(Clone, Debug)]
pub struct TargetSample {
    /// iSCSI name.
    pub target: String,
    /// What its commands came to.
    pub tally: Box<Tally>,
    /// Commands now under way, of all sessions.
    pub queue_depth: usize,
    /// Sessions now.
    pub sessions: usize,
    /// Bytes.
    pub size: u64,
    /// Writes of its volume that ended in a cache and that no sync has covered yet.
    pub unsynced: u64,
    /// Its volume is faulted.
    pub faulted: bool,
}

/// One session's.
#[derive(Clone, Debug, Serialize)]
pub struct SessionSample {
    /// What it is logged in to.
    pub target: String,
    /// The initiator's name.
    pub host: String,
    /// Where it comes from.
    pub source: std::net::SocketAddr,
    /// The portal that it came to.
    pub portal: std::net::SocketAddr,
    /// What it did.
    pub counts: SessionCounts,
    /// Commands now under way.
    pub queue_depth: usize,
    /// Commands that it may have under way.
    pub window: u32,
}

/// What a unit knows beside its shards.
#[derive(Clone, Debug, Default)]
pub struct UnitSample {
    /// Its shards.
    pub shards: Vec<ShardSample>,
    /// Its devices.
    pub devices: Vec<DeviceSample>,
    /// Who may use what: volume or partition, host, epoch.
    pub grants: Vec<(String, String, u64)>,
    /// Grants that it has ended by a fence since it started; `None` if it has no grants.
    pub fences: Option<u64>,
}

/// Space of one device.
#[derive(Clone, Debug)]
pub struct DeviceSample {
    /// Identity.
    pub id: Uuid,
    /// Where it is.
    pub path: String,
    /// Bytes for extents.
    pub size: u64,
    /// Bytes of those that no volume has.
    pub free: u64,
    /// It is there and works.
    pub healthy: bool,
}

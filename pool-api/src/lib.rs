//! The station's API as types, and a small client for it: what the command line, hosts and the
//! initiator library use.
//!
//! Deliberately absent: anything the station decides. The types say what can be asked and
//! answered; the rules are in `pool-manager/`.

#![forbid(unsafe_code)]

mod block_size;
mod client;
mod error;
mod hosts;
mod jobs;
mod pool;
mod problem;
mod secret;
mod size;
mod trust;
mod units;
mod volumes;

pub use block_size::{BadBlockSize, BlockSize};
pub use client::{Client, Wait};
pub use error::Error;
pub use hosts::{Host, HostRequest, NewHost};
pub use jobs::{Job, JobKind, JobState, Phase};
pub use pool::{Event, JoinToken, JoinTokenRequest, PoolStatus, UnitCounts};
pub use problem::Problem;
pub use secret::Secret;
pub use size::{BadSize, BadVolumeSize, Size};
pub use trust::{BadTrust, Trust};
pub use units::{Device, Load, Unit, UnitState};
pub use volumes::{
    AssignRequest, Chap, Connection, GrowRequest, Placement, Volume, VolumeRequest, VolumeState,
    WritePolicy,
};

/// Where the API's routes begin; the next incompatible API gets the next number.
pub const PREFIX: &str = "/v1";
/// Header that makes a repeated request find the job of the first one.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

//! The station's API as types, and a small client for it: what the command line, hosts and the
//! initiator library use.
//!
//! Deliberately absent: anything the station decides. The types say what can be asked and
//! answered; the rules are in `pool-manager/`.

#![forbid(unsafe_code)]

mod audit;
mod block_size;
mod client;
mod encoding;
mod error;
mod fullness;
mod hosts;
mod jobs;
mod pool;
mod problem;
mod rates;
mod secret;
mod services;
mod severity;
mod size;
mod tokens;
mod trust;
mod units;
mod upgrade;
mod verdict;
mod volumes;

pub use audit::{AuditEntry, Broken, verify_audit};
pub use block_size::{BadBlockSize, BlockSize};
pub use client::{Client, Wait};
pub use encoding::encoded;
pub use error::Error;
pub use fullness::Fullness;
pub use hosts::{Host, HostChange, HostRequest, NewHost, TakeoverRequest};
pub use jobs::{Job, JobKind, JobState, Phase, Progress};
pub use pool::{Confirm, Event, Finding, JoinToken, JoinTokenRequest, PoolStatus, UnitCounts};
pub use problem::Problem;
pub use rates::{LatencyBucket, Rate, Rates, SessionRates, VolumeRates};
pub use secret::Secret;
pub use services::{LogFilter, Service, ServiceHealth, ServiceKind};
pub use severity::{BadSeverity, Severity};
pub use size::{BadSize, BadVolumeSize, Size};
pub use tokens::{BadScope, NewToken, Scope, Token, TokenRequest};
pub use trust::{BadTrust, Trust};
pub use units::{BadLabel, Device, Duty, Label, Load, Unit, UnitChange, UnitState};
pub use upgrade::{UpgradePlan, UpgradeStep};
pub use verdict::{Grade, Need, Subject, Verdict};
pub use volumes::{
    AssignRequest, Chap, Connection, Considered, GrowRequest, MoveHostRequest, MutualChap, Placed,
    Placement, Volume, VolumeRequest, VolumeState, WritePolicy,
};

/// Where the API's routes begin; the next incompatible API gets the next number.
pub const PREFIX: &str = "/v1";
/// Header that makes a repeated request find the job of the first one.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header of a change: why, in the actor's own words (UTF-8). It goes to the job and the audit log.
pub const REASON: &str = "outband-reason";
/// Header of a change that starts a job: seconds after which it is taken back if it is not done.
pub const DEADLINE: &str = "outband-deadline";

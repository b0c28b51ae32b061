//! The programs that make up the pool.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One program, or what a program rests on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Service {
    pub kind: ServiceKind,
    /// The pool's name for its station and store; a unit's own.
    pub name: String,
    pub health: ServiceHealth,
    /// In a word: `runs`, `joined`, `down` …
    pub state: String,
    /// Of its software; empty if it has none of its own.
    pub version: String,
    /// Seconds since 1970, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// How often it has been started in its life, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<u64>,
    /// What is wrong with it, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    Station,
    /// Where the station keeps its records.
    Store,
    /// A storage machine's program.
    Unit,
}

/// What the station writes to its log, as tracing has it: `info`, or `info,outband_pool_manager=debug`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFilter {
    pub filter: String,
}

/// What a monitoring system is to make of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceHealth {
    Up,
    /// It works, or is expected not to; somebody should look.
    Look,
    Down,
}

impl std::fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Station => "station",
            Self::Store => "store",
            Self::Unit => "unit",
        })
    }
}

impl std::fmt::Display for ServiceHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Look => "look",
            Self::Down => "down",
        })
    }
}

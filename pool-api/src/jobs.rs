//! Jobs: what was asked for and takes a while.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Problem, Volume};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Job {
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    pub kind: JobKind,
    pub state: JobState,
    /// The name of the volume it is about.
    pub volume: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What has been reached, in order.
    pub phases: Vec<Phase>,
    /// Why it failed, or, while it runs, what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
    /// Seconds since 1970.
    pub created: u64,
    /// The volume as it is, when the job is done and the volume still exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Volume>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Phase {
    pub name: String,
    /// Seconds since 1970.
    pub at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    Create,
    Assign,
    Grow,
    Release,
    Delete,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Running,
    Done,
    Failed,
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Assign => "assign",
            Self::Grow => "grow",
            Self::Release => "release",
            Self::Delete => "delete",
        })
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        })
    }
}

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
    /// The name of the volume it is about; empty if it is about several.
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
    /// Grows with every job; tells those of one second apart.
    #[serde(default)]
    pub sequence: u64,
    /// Seconds since 1970; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// Who asked for it, such as `operator:alice`.
    #[serde(default)]
    pub actor: String,
    /// Why, in the actor's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds since 1970: what is not done by then is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// To whom volumes go: with `move` and `takeover`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The job that this one tries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub retry_of: Option<Uuid>,
    /// Of a job made of several: those begun so far, one a volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub parts: Vec<Uuid>,
    /// How far a job made of several has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The volume as it is, when the job is done and the volume still exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Volume>,
}

impl Job {
    /// The oldest is the least. Many jobs begin within one second.
    pub fn age(&self) -> (u64, u64, Uuid) {
        (self.created, self.sequence, self.id)
    }
}

/// Parts that have ended, of those known of now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    pub done: u32,
    pub total: u32,
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
    /// One volume to another host, whose host before is fenced first.
    Move,
    /// All volumes of a failed host to its spare.
    Takeover,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Running,
    Done,
    Failed,
    /// Taken back because somebody asked for that.
    Cancelled,
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Assign => "assign",
            Self::Grow => "grow",
            Self::Release => "release",
            Self::Delete => "delete",
            Self::Move => "move",
            Self::Takeover => "takeover",
        })
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

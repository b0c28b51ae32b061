//! What can go wrong for a caller of the station, by what the caller can do about it.

use uuid::Uuid;

use crate::Problem;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request as given can never work: its URL, trust or token is malformed.
    #[error("{0}")]
    Setup(String),
    /// Try again; with an idempotency key that is safe for every request.
    #[error("cannot reach the station at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// Somebody answers who is not the station that is trusted. Do not go on.
    #[error("the station at {url} does not show the certificate that is trusted")]
    Untrusted {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// The token is missing, wrong, or not allowed to do this.
    #[error("not allowed: {}", .0.detail)]
    NotAllowed(Box<Problem>),
    /// The station refuses; the detail says what to change.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The station has a fault of its own; try later.
    #[error("the station failed: {}", .0.detail)]
    Station(Box<Problem>),
    /// It was accepted, and then could not be done. Everything was taken back.
    #[error("{}", .problem.detail)]
    JobFailed { job: Uuid, problem: Box<Problem> },
    /// Not finished in the time given. The job goes on; ask for it again.
    #[error("job {job}{} is not finished yet{}", about(.volume), waiting(.reason))]
    StillRunning {
        job: Uuid,
        /// Empty if it is about several.
        volume: String,
        reason: Option<String>,
    },
    /// The answer is not one of this API's.
    #[error("unexpected answer from the station: {0}")]
    Unexpected(String),
}

fn about(volume: &str) -> String {
    if volume.is_empty() { String::new() } else { format!(" about {volume}") }
}

fn waiting(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl Error {
    /// The same call may succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Station(_) | Self::StillRunning { .. })
    }

    /// Nobody knows whether it was carried out.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Station(_))
    }

    /// The station's own words, if it said any.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::NotAllowed(problem) | Self::Refused(problem) | Self::Station(problem) => {
                Some(problem)
            }
            Self::JobFailed { problem, .. } => Some(problem),
            _ => None,
        }
    }

    pub(crate) fn from_problem(problem: Problem) -> Self {
        match problem.status {
            401 | 403 => Self::NotAllowed(Box::new(problem)),
            500.. => Self::Station(Box::new(problem)),
            _ => Self::Refused(Box::new(problem)),
        }
    }
}

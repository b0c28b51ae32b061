//! How bad what happened is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// In the order in which things get worse.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    #[default]
    Information,
    /// Storage works; somebody should look.
    Warning,
    /// Something does not work.
    Error,
}

/// There is no such severity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no such severity; say information, warning or error")]
pub struct BadSeverity;

impl Severity {
    /// Of events of this kind.
    pub fn of(kind: &str) -> Self {
        match kind {
            "unit-down" | "job-failed" => Self::Error,
            "unit-suspect" | "unit-quarantined" | "unit-pending" | "pool-capacity"
            | "job-expired" | "host-takeover" => Self::Warning,
            _ => Self::Information,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Information => "information",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl FromStr for Severity {
    type Err = BadSeverity;

    fn from_str(text: &str) -> Result<Self, BadSeverity> {
        match text {
            "information" => Ok(Self::Information),
            "warning" => Ok(Self::Warning),
            "error" => Ok(Self::Error),
            _ => Err(BadSeverity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_is_read_as_it_is_written_and_the_worst_is_the_greatest() {
        for severity in [Severity::Information, Severity::Warning, Severity::Error] {
            assert_eq!(severity.to_string().parse(), Ok(severity));
        }
        assert!(Severity::of("unit-down") > Severity::of("unit-suspect"));
        assert!(Severity::of("unit-suspect") > Severity::of("unit-joined"));
        assert_eq!("worst".parse::<Severity>(), Err(BadSeverity));
    }
}

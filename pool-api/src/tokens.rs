//! Tokens: who may do what at the station. A token's scope decides; see the station's one table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Secret;

/// What the bearer of a token may do, each in so many words and nothing else.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Sees everything but secrets, and changes nothing.
    Viewer,
    /// Runs the pool from day to day: volumes of every host, and what units are used for.
    Operator,
    /// Everything.
    Admin,
    /// Installs units: reads the join token.
    Unit,
    /// One host: its own volumes and jobs.
    Host,
}

/// There is no such scope.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is no scope; there are viewer, operator, admin, unit and host")]
pub struct BadScope(String);

impl Scope {
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Operator, Self::Admin, Self::Unit, Self::Host];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Unit => "unit",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| BadScope(text.to_owned()))
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What the audit log calls whoever has it; unique. Lower case, digits, `.` and `-`.
    pub name: String,
    pub scope: Scope,
    /// With the scope `host`, and only then: which host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Without it the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_seconds: Option<u64>,
}

/// A token without its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub name: String,
    pub scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970; absent when it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Who made it.
    pub by: String,
}

/// The answer to making a token. The secret is shown this once: the station keeps only its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    pub token: Token,
    pub secret: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.name());
        }
        assert!("root".parse::<Scope>().unwrap_err().to_string().contains("viewer, operator"));
    }
}

//! Everything that a unit API call can end in, and the one place that says which status and which
//! problem body each of them is.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::{BadSubject, Refused};
use crate::access_store::StoreError;
use crate::api::Problem;
use crate::unit::UnitError;

/// Media type of a problem body (RFC 9457).
const PROBLEM: &str = "application/problem+json";
/// Every kind of problem begins with this.
const KIND_PREFIX: &str = "urn:outband:unit:";

/// Why a unit did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The access table says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The unit says no, or failed.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The request cannot be read.
    #[error("{0}")]
    Request(String),
    /// The request is larger than any that makes sense.
    #[error("a request has at most {0} bytes")]
    TooLarge(usize),
    /// No key, or a wrong one.
    #[error("this is not the key that was derived from this unit's secret")]
    Unauthorized,
    /// The unit answers nothing but `/v1/enrol` yet.
    #[error("this unit is not enrolled")]
    NotEnrolled,
    /// Another secret was given before.
    #[error(
        "this unit has a secret already; stopped, it forgets it by `outband-target leave-pool`"
    )]
    Enrolled,
    /// No such route.
    #[error("there is no such route")]
    NoRoute,
    /// The route is there, the method is not.
    #[error("this route has no such method")]
    NoMethod,
    /// It takes longer than a request may; it goes on.
    #[error("not finished yet; it goes on, and the same request again waits for its end")]
    Unfinished,
    /// A mistake of ours.
    #[error("{0}")]
    Ours(String),
}

impl From<BadSubject> for Error {
    fn from(bad: BadSubject) -> Self {
        Self::Request(bad.to_string())
    }
}

impl Error {
    /// What is said of it on the wire.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (status, kind, title) = self.class();
        let mut problem = Problem {
            kind: format!("{KIND_PREFIX}{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            floor: None,
            largest: None,
        };
        match self {
            Self::Refused(Refused::StaleEpoch { floor, .. }) => problem.floor = Some(*floor),
            Self::Unit(UnitError::NoSpace { largest, .. }) => problem.largest = Some(*largest),
            _ => {}
        }
        problem
    }

    /// Status, the word programs match on, and its words for people.
    fn class(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Refused(Refused::StaleEpoch { .. }) => {
                (S::CONFLICT, "stale-epoch", "The epoch was used or passed over")
            }
            Self::Refused(Refused::Held { .. }) => (S::CONFLICT, "held", "Another host has it"),
            Self::Refused(Refused::WholeAndParts { .. }) => {
                (S::CONFLICT, "whole-and-parts", "Granted whole or by partitions, never both")
            }
            Self::Unit(UnitError::NotFound(_)) => (S::NOT_FOUND, "not-found", "Not found"),
            Self::Unit(UnitError::Exists(_)) => (S::CONFLICT, "exists", "The name is taken"),
            Self::Unit(UnitError::Conflict(_)) => (S::CONFLICT, "conflict", "Not as things stand"),
            Self::Unit(UnitError::NoSpace { .. }) => {
                (S::INSUFFICIENT_STORAGE, "no-space", "Not enough free space")
            }
            Self::Unit(UnitError::Invalid(_)) | Self::Request(_) => {
                (S::UNPROCESSABLE_ENTITY, "invalid", "The request makes no sense here")
            }
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::Unauthorized => (S::UNAUTHORIZED, "unauthorized", "Not authorized"),
            Self::NotEnrolled => (S::UNAUTHORIZED, "not-enrolled", "The unit is not enrolled"),
            Self::Enrolled => (S::CONFLICT, "enrolled", "The unit is enrolled"),
            Self::NoRoute => (S::NOT_FOUND, "no-route", "Not found"),
            Self::NoMethod => (S::METHOD_NOT_ALLOWED, "no-method", "Method not allowed"),
            Self::Unfinished => (S::SERVICE_UNAVAILABLE, "unfinished", "Not finished yet"),
            Self::Unit(UnitError::Failed(_)) | Self::Store(_) | Self::Ours(_) => {
                (S::INTERNAL_SERVER_ERROR, "failed", "The unit failed")
            }
        }
    }
}

impl Problem {
    /// The last part of the kind, such as `stale-epoch`: what programs match on.
    #[must_use]
    pub fn word(&self) -> &str {
        self.kind.strip_prefix(KIND_PREFIX).unwrap_or(&self.kind)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).expect("it was made from a StatusCode");
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = &self as &dyn std::error::Error, "a unit API call failed");
        }
        let mut response = (status, Json(problem)).into_response();
        let json = HeaderValue::from_static(PROBLEM);
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

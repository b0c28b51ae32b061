//! The one error body of the API (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Size;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:outband:problem:<kind>`; programs decide by this.
    pub r#type: String,
    pub title: String,
    pub status: u16,
    /// This occurrence, for a person, with what to change.
    pub detail: String,
    /// With `too-large`: the largest volume that could be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<Size>,
}

impl Problem {
    pub const MEDIA_TYPE: &str = "application/problem+json";
    const TYPE_PREFIX: &str = "urn:outband:problem:";

    pub fn new(kind: &str, status: u16, title: &str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("{}{kind}", Self::TYPE_PREFIX),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            largest: None,
        }
    }

    /// The last part of `type`, such as `too-large`.
    pub fn kind(&self) -> &str {
        self.r#type.strip_prefix(Self::TYPE_PREFIX).unwrap_or(&self.r#type)
    }
}

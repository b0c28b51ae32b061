//! Long lists in pages of a hundred: of ten thousand units nobody reads all at once, and a page that
//! follows what happens is asked for again and again.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use outband_pool_api::encoded;
use serde::Deserialize;

use super::Refused;
use crate::console::Console;
use crate::paging::{self, Cursor, Part};
use crate::problems;

/// Rows of a page.
const ROWS: usize = 100;

/// Behind what the page begins; at the beginning of the list without it.
#[derive(Debug, Default, Deserialize)]
pub(in crate::console) struct Behind {
    after: Option<String>,
}

/// Where the rest of a list is.
pub(super) struct Pager {
    /// The list's beginning, on every page but the first.
    pub(super) first: Option<&'static str>,
    pub(super) next: Option<String>,
}

impl FromRequestParts<Arc<Console>> for Behind {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, at: &Arc<Console>) -> Result<Self, Response> {
        match Query::<Self>::from_request_parts(parts, at).await {
            Ok(Query(behind)) => Ok(behind),
            Err(rejection) => Err((StatusCode::BAD_REQUEST, rejection.body_text()).into_response()),
        }
    }
}

impl Behind {
    /// Of `all`, which is in the order of its keys.
    pub(super) fn part<T, K: Cursor>(
        self,
        path: &'static str,
        all: Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Result<(Vec<T>, Pager), Refused> {
        let part = paging::part(all, self.after.as_deref(), Some(ROWS), key);
        let malformed = |_| problems::bad_request("this list has no such page; begin anew");
        let Part { entries, next } = part.map_err(malformed)?;
        let next = next.map(|next| format!("{path}?after={}", encoded(&next)));
        Ok((entries, Pager { first: self.after.map(|_| path), next }))
    }
}

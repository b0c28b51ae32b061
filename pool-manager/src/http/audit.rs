//! The audit log.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use outband_pool_api::{AuditEntry, Problem};
use serde::Deserialize;

use super::App;
use super::extract::{Answer, Who};
use crate::problems;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<u64>,
    #[serde(default = "hundred")]
    limit: u32,
}

fn hundred() -> u32 {
    100
}

/// Entries in the order in which they were written. To read all: begin with `after=0`, go on with the
/// number of the last entry seen.
#[utoipa::path(get, path = "/v1/audit", tag = "audit",
    params(
        ("after" = Option<u64>, Query, description = "Only later ones; the newest if left out"),
        ("limit" = Option<u32>, Query, description = "At most so many: 100, and never over 1000")),
    responses((status = 200, body = [AuditEntry]), (status = "4XX", body = Problem)))]
pub(super) async fn list(
    State(station): State<App>,
    Who(who): Who,
    query: Result<Query<Page>, QueryRejection>,
) -> Answer<Vec<AuditEntry>> {
    let Query(page) = query.map_err(|error| problems::bad_request(error.body_text()))?;
    Ok(Json(station.audit(&who, page.after, page.limit).await?))
}

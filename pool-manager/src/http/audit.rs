//! The audit log.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use outband_pool_api::{AuditEntry, Problem};
use serde::Deserialize;

use super::App;
use super::extract::{Answer, Who};
use crate::problems;
use crate::search::Search;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<u64>,
    #[serde(default = "hundred")]
    limit: u32,
    #[serde(default)]
    q: String,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    object: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

impl Page {
    /// What is looked for, if anything is.
    fn search(&self) -> Option<Search> {
        let (q, actor, object) = (self.q.clone(), self.actor.clone(), self.object.clone());
        let (from, to) = (self.from.clone(), self.to.clone());
        let search = Search { q, object, actor, severity: String::new(), from, to };
        (search != Search::default()).then_some(search)
    }
}

fn hundred() -> u32 {
    100
}

/// Entries in the order in which they were written. To read all: begin with `after=0`, go on with the
/// number of the last entry seen. With anything to look for: those of the last ten thousand that fit, the
/// newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit",
    params(
        ("after" = Option<u64>, Query, description = "Only later ones; the newest if left out"),
        ("limit" = Option<u32>, Query, description = "At most so many: 100, and never over 1000"),
        ("q" = Option<String>, Query, description = "Words, each in who, what, object or why"),
        ("actor" = Option<String>, Query, description = "Who, or how that begins"),
        ("object" = Option<String>, Query, description = "Name of what was changed"),
        ("from" = Option<String>, Query, description = "In UTC: 2026-11-21, 2026-11-21T13:05 or 2026-11-21T13:05:09Z"),
        ("to" = Option<String>, Query)),
    responses((status = 200, body = [AuditEntry]), (status = "4XX", body = Problem)))]
pub(super) async fn list(
    State(station): State<App>,
    Who(who): Who,
    query: Result<Query<Page>, QueryRejection>,
) -> Answer<Vec<AuditEntry>> {
    let Query(page) = query.map_err(|error| problems::bad_request(error.body_text()))?;
    let Some(search) = page.search() else {
        return Ok(Json(station.audit(&who, page.after, page.limit).await?));
    };
    if page.after.is_some() {
        let detail = "say what to look for, or after which entry to go on, and not both";
        return Err(problems::bad_request(detail).into());
    }
    let sought = search.understood().map_err(problems::bad_request)?;
    let most = usize::try_from(page.limit.min(1000)).unwrap_or(1000);
    Ok(Json(station.search_audit(&who, &sought, most).await?))
}

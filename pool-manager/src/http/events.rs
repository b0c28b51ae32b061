//! What happened since the station's start.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use outband_pool_api::Event;
use serde::Deserialize;

use super::App;
use super::extract::{Answer, Who};
use crate::problems;

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("after" = Option<u64>, Query, description = "The number of the last event seen")),
    responses((status = 200, body = [Event]), (status = "4XX", body = outband_pool_api::Problem)))]
pub(super) async fn list(
    State(station): State<App>,
    Who(who): Who,
    query: Result<Query<After>, QueryRejection>,
) -> Answer<Vec<Event>> {
    let Query(query) = query.map_err(|error| problems::bad_request(error.body_text()))?;
    Ok(Json(station.events_after(&who, query.after)?))
}

//! What happened since the station's start.

use axum::Json;
use axum::extract::{Query, State};
use outband_pool_api::Event;
use serde::Deserialize;

use super::App;
use super::extract::{Answer, Who};

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
    Query(query): Query<After>,
) -> Answer<Vec<Event>> {
    Ok(Json(station.events_after(&who, query.after)?))
}

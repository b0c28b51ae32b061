//! The programs that make up the pool, and the station's own log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use outband_pool_api::{LogFilter, Problem, Service};

use super::App;
use super::extract::{Answer, Body, Refused, Who};

/// This station, its store, and each unit.
#[utoipa::path(get, path = "/v1/services", tag = "services",
    responses((status = 200, body = [Service]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who) -> Answer<Vec<Service>> {
    Ok(Json(station.services(&who).await?))
}

/// Has the station's log say what the filter lets through, until the station starts anew.
#[utoipa::path(put, path = "/v1/log", tag = "services", request_body = LogFilter,
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn set_log(
    State(station): State<App>,
    Who(who): Who,
    Body(ask): Body<LogFilter>,
) -> Result<StatusCode, Refused> {
    station.set_log(&who, &ask.filter).await?;
    Ok(StatusCode::NO_CONTENT)
}

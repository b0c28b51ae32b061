//! Units. A unit is named by its name or its id.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use outband_pool_api::{Problem, Unit};

use super::App;
use super::extract::{Answer, Name, Refused, Tagged, Who, tagged};

#[utoipa::path(get, path = "/v1/units", tag = "units", responses(
    (status = 200, body = [Unit]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who) -> Answer<Vec<Unit>> {
    Ok(Json(station.units(&who).await?))
}

#[utoipa::path(get, path = "/v1/units/{unit}", tag = "units", params(("unit" = String, Path)),
    responses((status = 200, body = Unit), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    State(station): State<App>,
    Who(who): Who,
    Name(unit): Name,
) -> Tagged<Unit> {
    let unit = station.unit(&who, &unit).await?;
    tagged(unit.revision, unit)
}

/// Lets a pending unit join the pool.
#[utoipa::path(post, path = "/v1/units/{unit}/approve", tag = "units",
    params(("unit" = String, Path)),
    responses((status = 200, body = Unit), (status = "4XX", body = Problem)))]
pub(super) async fn approve(
    State(station): State<App>,
    Who(who): Who,
    Name(unit): Name,
) -> Answer<Unit> {
    Ok(Json(station.approve_unit(&who, &unit).await?))
}

/// Forgets a unit that holds no volume of the pool.
#[utoipa::path(delete, path = "/v1/units/{unit}", tag = "units", params(("unit" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(station): State<App>,
    Who(who): Who,
    Name(unit): Name,
) -> Result<StatusCode, Refused> {
    station.remove_unit(&who, &unit).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Units. A unit is named by its name or its id.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use outband_pool_api::{Confirm, Problem, Unit, UnitChange};

use super::App;
use super::extract::{Answer, Body, Listed, Name, Page, Refused, Tagged, Who, tagged};

#[utoipa::path(get, path = "/v1/units", tag = "units",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many; all if left out"),
        ("after" = Option<String>, Query, description = "Go on behind this one: see Link")),
    responses((status = 200, body = [Unit]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who, page: Page) -> Listed<Unit> {
    page.of("/v1/units", station.units(&who).await?, |unit| unit.id)
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

/// What the unit is used for, and its labels. Volumes on it stay in use, whatever that is.
#[utoipa::path(patch, path = "/v1/units/{unit}", tag = "units", params(("unit" = String, Path)),
    request_body = UnitChange,
    responses((status = 200, body = Unit), (status = "4XX", body = Problem)))]
pub(super) async fn change(
    State(station): State<App>,
    Who(who): Who,
    Name(unit): Name,
    Body(ask): Body<UnitChange>,
) -> Tagged<Unit> {
    let unit = station.change_unit(&who, &unit, &ask).await?;
    tagged(unit.revision, unit)
}

/// Forgets a unit that does not answer, with the records of its volumes. Nothing is erased.
#[utoipa::path(post, path = "/v1/units/{unit}/forget", tag = "units",
    params(("unit" = String, Path)), request_body = Confirm,
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn forget(
    State(station): State<App>,
    Who(who): Who,
    Name(unit): Name,
    Body(ask): Body<Confirm>,
) -> Result<StatusCode, Refused> {
    station.forget_unit(&who, &unit, &ask.confirm).await?;
    Ok(StatusCode::NO_CONTENT)
}

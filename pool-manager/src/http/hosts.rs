//! Hosts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use outband_pool_api::{Host, HostRequest, NewHost};

use super::App;
use super::extract::{Answer, Body, Name, Refused, Who};

#[utoipa::path(get, path = "/v1/hosts", tag = "hosts", responses(
    (status = 200, body = [Host]), (status = "4XX", body = outband_pool_api::Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who) -> Answer<Vec<Host>> {
    Ok(Json(station.hosts(&who).await?))
}

/// Registers a host. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/hosts", tag = "hosts", request_body = HostRequest, responses(
    (status = 201, body = NewHost), (status = "4XX", body = outband_pool_api::Problem)))]
pub(super) async fn add(
    State(station): State<App>,
    Who(who): Who,
    Body(ask): Body<HostRequest>,
) -> Result<(StatusCode, Json<NewHost>), Refused> {
    let host = station.add_host(&who, ask).await?;
    Ok((StatusCode::CREATED, Json(host)))
}

#[utoipa::path(get, path = "/v1/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 200, body = Host), (status = "4XX", body = outband_pool_api::Problem)))]
pub(super) async fn show(
    State(station): State<App>,
    Who(who): Who,
    Name(host): Name,
) -> Answer<Host> {
    Ok(Json(station.host(&who, &host).await?))
}

/// Removes a host that has no volume; its token is void from then on.
#[utoipa::path(delete, path = "/v1/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 204), (status = "4XX", body = outband_pool_api::Problem)))]
pub(super) async fn remove(
    State(station): State<App>,
    Who(who): Who,
    Name(host): Name,
) -> Result<StatusCode, Refused> {
    station.remove_host(&who, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Hosts.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use outband_pool_api::{Host, HostChange, HostRequest, Job, NewHost, Problem, TakeoverRequest};

use super::App;
use super::extract::{Answer, Body, Listed, Name, Page, Refused, Tagged, Who, tagged};
use super::jobs::{Started, started};

#[utoipa::path(get, path = "/v1/hosts", tag = "hosts",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many; all if left out"),
        ("after" = Option<String>, Query, description = "Go on behind this one: see Link")),
    responses((status = 200, body = [Host]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who, page: Page) -> Listed<Host> {
    page.of("/v1/hosts", station.hosts(&who).await?, |host| host.name.clone())
}

/// Registers a host. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/hosts", tag = "hosts", request_body = HostRequest, responses(
    (status = 201, body = NewHost), (status = "4XX", body = Problem)))]
pub(super) async fn add(
    State(station): State<App>,
    Who(who): Who,
    Body(ask): Body<HostRequest>,
) -> Result<(StatusCode, Json<NewHost>), Refused> {
    let host = station.add_host(&who, ask).await?;
    Ok((StatusCode::CREATED, Json(host)))
}

#[utoipa::path(get, path = "/v1/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 200, body = Host), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    State(station): State<App>,
    Who(who): Who,
    Name(host): Name,
) -> Tagged<Host> {
    let host = station.host(&who, &host).await?;
    tagged(host.revision, host)
}

/// Changes what is said of it; what is left out stays.
#[utoipa::path(patch, path = "/v1/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    request_body = HostChange,
    responses((status = 200, body = Host), (status = "4XX", body = Problem)))]
pub(super) async fn change(
    State(station): State<App>,
    Who(who): Who,
    Name(host): Name,
    Body(ask): Body<HostChange>,
) -> Tagged<Host> {
    let host = station.change_host(&who, &host, &ask).await?;
    tagged(host.revision, host)
}

/// Fences a failed host on every volume it has, and gives them to another. A volume on a unit that
/// does not answer is waited for; the others are not held up by that.
#[utoipa::path(post, path = "/v1/hosts/{host}/takeover", tag = "hosts",
    params(("host" = String, Path, description = "The failed one")),
    request_body = TakeoverRequest,
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn take_over(
    State(station): State<App>,
    Who(who): Who,
    Name(host): Name,
    headers: HeaderMap,
    Body(ask): Body<TakeoverRequest>,
) -> Result<Started, Refused> {
    let job = station.take_over(&who, &host, &ask.spare).await?;
    started(&station, &who, job, &headers).await
}

/// Lets a host that was taken over have volumes again.
#[utoipa::path(post, path = "/v1/hosts/{host}/resume", tag = "hosts",
    params(("host" = String, Path)),
    responses((status = 200, body = Host), (status = "4XX", body = Problem)))]
pub(super) async fn resume(
    State(station): State<App>,
    Who(who): Who,
    Name(host): Name,
) -> Answer<Host> {
    Ok(Json(station.resume_host(&who, &host).await?))
}

/// Removes a host that has no volume; its token is void from then on.
#[utoipa::path(delete, path = "/v1/hosts/{host}", tag = "hosts", params(("host" = String, Path)),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(station): State<App>,
    Who(who): Who,
    Name(host): Name,
) -> Result<StatusCode, Refused> {
    station.remove_host(&who, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}

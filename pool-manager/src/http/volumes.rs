//! Volumes. Whatever changes one answers 202 and a job; with `Prefer: wait` its end.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use outband_pool_api::{
    AssignRequest, Confirm, GrowRequest, Job, MoveHostRequest, Placed, Problem, Volume,
    VolumeRequest,
};

use super::App;
use super::extract::{
    Answer, Body, Listed, Name, Page, Refused, Tagged, Who, idempotency_key, tagged,
};
use super::jobs::{Started, started};

#[utoipa::path(get, path = "/v1/volumes", tag = "volumes",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many; all if left out"),
        ("after" = Option<String>, Query, description = "Go on behind this one: see Link")),
    responses((status = 200, body = [Volume]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who, page: Page) -> Listed<Volume> {
    // Two units may report volumes of one name.
    let key = |volume: &Volume| (volume.name.clone(), volume.unit);
    page.of("/v1/volumes", station.volumes(&who).await?, key)
}

#[utoipa::path(get, path = "/v1/volumes/{volume}", tag = "volumes",
    params(("volume" = String, Path)),
    responses((status = 200, body = Volume), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
) -> Tagged<Volume> {
    let volume = station.volume(&who, &volume).await?;
    tagged(volume.revision, volume)
}

/// Asks for a volume for a host.
#[utoipa::path(post, path = "/v1/volumes", tag = "volumes", request_body = VolumeRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header,
            description = "A repeated request with the same key is answered with the same job."),
        ("Prefer" = Option<String>, Header, description = "wait=SECONDS for the job's end")),
    responses((status = 200, description = "The job has ended.", body = Job),
        (status = 202, description = "The job runs.", body = Job),
        (status = "4XX", body = Problem)))]
pub(super) async fn request(
    State(station): State<App>,
    Who(who): Who,
    headers: HeaderMap,
    Body(ask): Body<VolumeRequest>,
) -> Result<Started, Refused> {
    let job = station.request_volume(&who, ask, idempotency_key(&headers)?).await?;
    started(&station, &who, job, &headers).await
}

#[utoipa::path(post, path = "/v1/volumes/{volume}/grow", tag = "volumes",
    params(("volume" = String, Path)), request_body = GrowRequest,
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn grow(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
    headers: HeaderMap,
    Body(ask): Body<GrowRequest>,
) -> Result<Started, Refused> {
    let job = station.grow_volume(&who, &volume, ask.size).await?;
    started(&station, &who, job, &headers).await
}

/// Takes the volume from its host. It stays, with its data, and nobody may use it.
#[utoipa::path(post, path = "/v1/volumes/{volume}/release", tag = "volumes",
    params(("volume" = String, Path)),
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn release(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
    headers: HeaderMap,
) -> Result<Started, Refused> {
    let job = station.release_volume(&who, &volume).await?;
    started(&station, &who, job, &headers).await
}

/// Gives a free volume, with the data it holds, to a host.
#[utoipa::path(post, path = "/v1/volumes/{volume}/assign", tag = "volumes",
    params(("volume" = String, Path)), request_body = AssignRequest,
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn assign(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
    headers: HeaderMap,
    Body(ask): Body<AssignRequest>,
) -> Result<Started, Refused> {
    let job = station.assign_volume(&who, &volume, &ask.host).await?;
    started(&station, &who, job, &headers).await
}

/// Gives the volume to another host. The one that has it is fenced first; a unit that does not answer
/// is never taken for fenced, and the job waits for it.
#[utoipa::path(post, path = "/v1/volumes/{volume}/move-host", tag = "volumes",
    params(("volume" = String, Path)), request_body = MoveHostRequest,
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn move_host(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
    headers: HeaderMap,
    Body(ask): Body<MoveHostRequest>,
) -> Result<Started, Refused> {
    let job = station.move_volume(&who, &volume, &ask.host).await?;
    started(&station, &who, job, &headers).await
}

/// Takes the volume from its host, and its data is gone.
#[utoipa::path(delete, path = "/v1/volumes/{volume}", tag = "volumes",
    params(("volume" = String, Path)),
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn delete(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
    headers: HeaderMap,
) -> Result<Started, Refused> {
    let job = station.delete_volume(&who, &volume).await?;
    started(&station, &who, job, &headers).await
}

/// Where a volume would be placed now, and why not elsewhere. Nothing is set aside by that.
#[utoipa::path(post, path = "/v1/placements", tag = "volumes", request_body = VolumeRequest,
    responses((status = 200, body = Placed), (status = "4XX", body = Problem)))]
pub(super) async fn place(
    State(station): State<App>,
    Who(who): Who,
    Body(ask): Body<VolumeRequest>,
) -> Answer<Placed> {
    Ok(Json(station.explain_placement(&who, &ask).await?))
}

/// Takes up a volume that no record claims, as its unit reports it.
#[utoipa::path(post, path = "/v1/volumes/{volume}/adopt", tag = "volumes",
    params(("volume" = String, Path)),
    responses((status = 200, body = Volume), (status = "4XX", body = Problem)))]
pub(super) async fn adopt(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
) -> Tagged<Volume> {
    let volume = station.adopt_volume(&who, &volume).await?;
    tagged(volume.revision, volume)
}

/// Forgets a volume that its unit does not report, or whose unit does not answer. Nothing is erased.
#[utoipa::path(post, path = "/v1/volumes/{volume}/forget", tag = "volumes",
    params(("volume" = String, Path)), request_body = Confirm,
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn forget(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
    Body(ask): Body<Confirm>,
) -> Result<StatusCode, Refused> {
    station.forget_volume(&who, &volume, &ask.confirm).await?;
    Ok(StatusCode::NO_CONTENT)
}

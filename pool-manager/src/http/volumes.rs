//! Volumes. Whatever changes one answers 202 and a job; with `Prefer: wait` its end.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use outband_pool_api::{
    AssignRequest, GrowRequest, Job, MoveHostRequest, Problem, Volume, VolumeRequest,
};

use super::App;
use super::extract::{Answer, Body, Name, Refused, Tagged, Who, idempotency_key, tagged};
use super::jobs::{Started, started};

#[utoipa::path(get, path = "/v1/volumes", tag = "volumes", responses(
    (status = 200, body = [Volume]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who) -> Answer<Vec<Volume>> {
    Ok(Json(station.volumes(&who).await?))
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

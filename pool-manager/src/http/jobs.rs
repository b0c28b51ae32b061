//! Jobs.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use outband_pool_api::{Job, JobState, PREFIX, Problem};
use uuid::Uuid;

use super::App;
use super::extract::{Answer, Listed, Name, Page, Refused, Who, preferred_wait};
use crate::app::Caller;
use crate::problems;

pub(super) type Started = (StatusCode, [(HeaderName, String); 1], Json<Job>);

/// 202 and the job as it is, or 200 and its end if the caller wanted to wait and it came in time.
pub(super) async fn started(
    station: &App,
    who: &Caller,
    id: Uuid,
    headers: &HeaderMap,
) -> Result<Started, Refused> {
    let wait = preferred_wait(headers).unwrap_or(Duration::ZERO);
    let job = station.wait_for_job(who, id, wait).await?;
    let status = match job.state {
        JobState::Running => StatusCode::ACCEPTED,
        _ if wait.is_zero() => StatusCode::ACCEPTED,
        JobState::Done | JobState::Failed | JobState::Cancelled => StatusCode::OK,
    };
    Ok((status, [(LOCATION, format!("{PREFIX}/jobs/{id}"))], Json(job)))
}

#[utoipa::path(get, path = "/v1/jobs", tag = "jobs",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many; all if left out"),
        ("after" = Option<String>, Query, description = "Go on behind this one: see Link")),
    responses((status = 200, body = [Job]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who, page: Page) -> Listed<Job> {
    page.of("/v1/jobs", station.jobs(&who).await?, Job::age)
}

/// A job; with `Prefer: wait` at its end, if that comes in time.
#[utoipa::path(get, path = "/v1/jobs/{job}", tag = "jobs",
    params(("job" = String, Path), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    State(station): State<App>,
    Who(who): Who,
    Name(job): Name,
    headers: HeaderMap,
) -> Answer<Job> {
    let id = id_of(&job)?;
    let wait = preferred_wait(&headers).unwrap_or(Duration::ZERO);
    Ok(Json(station.wait_for_job(&who, id, wait).await?))
}

/// Has a running job taken back. It runs on until all is as it was, and ends as cancelled.
#[utoipa::path(post, path = "/v1/jobs/{job}/cancel", tag = "jobs",
    params(("job" = String, Path), ("Prefer" = Option<String>, Header)),
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn cancel(
    State(station): State<App>,
    Who(who): Who,
    Name(job): Name,
    headers: HeaderMap,
) -> Result<Started, Refused> {
    let id = station.cancel_job(&who, id_of(&job)?).await?;
    started(&station, &who, id, &headers).await
}

/// Asks once more for what a job was to bring about that failed or was cancelled; a new job.
#[utoipa::path(post, path = "/v1/jobs/{job}/retry", tag = "jobs",
    params(("job" = String, Path), ("Prefer" = Option<String>, Header)),
    responses((status = 202, body = Job), (status = "4XX", body = Problem)))]
pub(super) async fn retry(
    State(station): State<App>,
    Who(who): Who,
    Name(job): Name,
    headers: HeaderMap,
) -> Result<Started, Refused> {
    let id = station.retry_job(&who, id_of(&job)?).await?;
    started(&station, &who, id, &headers).await
}

fn id_of(job: &str) -> Result<Uuid, Problem> {
    job.parse().map_err(|_| problems::not_found("job", job))
}

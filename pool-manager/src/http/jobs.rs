//! Jobs.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use outband_pool_api::{Job, JobState, PREFIX};
use uuid::Uuid;

use super::App;
use super::extract::{Answer, Name, Refused, Who, preferred_wait};
use crate::app::Principal;
use crate::problems;

pub(super) type Started = (StatusCode, [(HeaderName, String); 1], Json<Job>);

/// 202 and the job as it is, or 200 and its end if the caller wanted to wait and it came in time.
pub(super) async fn started(
    station: &App,
    who: &Principal,
    id: Uuid,
    headers: &HeaderMap,
) -> Result<Started, Refused> {
    let wait = preferred_wait(headers).unwrap_or(Duration::ZERO);
    let job = station.wait_for_job(who, id, wait).await?;
    let status = match job.state {
        JobState::Running => StatusCode::ACCEPTED,
        JobState::Done | JobState::Failed if wait.is_zero() => StatusCode::ACCEPTED,
        JobState::Done | JobState::Failed => StatusCode::OK,
    };
    Ok((status, [(LOCATION, format!("{PREFIX}/jobs/{id}"))], Json(job)))
}

#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", responses(
    (status = 200, body = [Job]), (status = "4XX", body = outband_pool_api::Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who) -> Answer<Vec<Job>> {
    Ok(Json(station.jobs(&who).await?))
}

/// A job; with `Prefer: wait` at its end, if that comes in time.
#[utoipa::path(get, path = "/v1/jobs/{job}", tag = "jobs",
    params(("job" = String, Path), ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = Job), (status = "4XX", body = outband_pool_api::Problem)))]
pub(super) async fn show(
    State(station): State<App>,
    Who(who): Who,
    Name(job): Name,
    headers: HeaderMap,
) -> Answer<Job> {
    let id: Uuid = job.parse().map_err(|_| problems::not_found("job", &job))?;
    let wait = preferred_wait(&headers).unwrap_or(Duration::ZERO);
    Ok(Json(station.wait_for_job(&who, id, wait).await?))
}

//! The pool and its join token.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use outband_pool_api::{Finding, JoinToken, JoinTokenRequest, PoolStatus, Problem};

use super::App;
use super::extract::{Answer, Body, Who};
use crate::backup::Backup;

#[utoipa::path(get, path = "/v1/pool", tag = "pool", responses(
    (status = 200, body = PoolStatus), (status = "4XX", body = Problem)))]
pub(super) async fn status(State(station): State<App>, Who(who): Who) -> Answer<PoolStatus> {
    Ok(Json(station.pool_status(&who).await?))
}

/// The token units enrol with.
#[utoipa::path(get, path = "/v1/pool/join-token", tag = "pool", responses(
    (status = 200, body = JoinToken), (status = "4XX", body = Problem)))]
pub(super) async fn join_token(State(station): State<App>, Who(who): Who) -> Answer<JoinToken> {
    Ok(Json(station.join_token(&who).await?))
}

/// Makes a new join token. The one before is void; units that joined stay.
#[utoipa::path(post, path = "/v1/pool/join-token", tag = "pool",
    request_body = JoinTokenRequest, responses(
    (status = 200, body = JoinToken), (status = "4XX", body = Problem)))]
pub(super) async fn new_join_token(
    State(station): State<App>,
    Who(who): Who,
    Body(ask): Body<JoinTokenRequest>,
) -> Answer<JoinToken> {
    let valid = ask.valid_seconds.map(Duration::from_secs);
    Ok(Json(station.new_join_token(&who, valid).await?))
}

/// What in the pool is not as it should be, and the command that leads on.
#[utoipa::path(get, path = "/v1/doctor", tag = "pool", responses(
    (status = 200, body = [Finding]), (status = "4XX", body = Problem)))]
pub(super) async fn doctor(State(station): State<App>, Who(who): Who) -> Answer<Vec<Finding>> {
    Ok(Json(station.doctor(&who).await?))
}

/// All that the station keeps, secrets too, as of one moment.
#[utoipa::path(get, path = "/v1/backup", tag = "pool", responses(
    (status = 200, description = "For outband-pool restore.", body = Object),
    (status = "4XX", body = Problem)))]
pub(super) async fn backup(State(station): State<App>, Who(who): Who) -> Answer<Backup> {
    Ok(Json(station.backup(&who).await?))
}

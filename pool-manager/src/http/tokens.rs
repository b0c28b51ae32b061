//! Tokens with a scope.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use outband_pool_api::{NewToken, Problem, Token, TokenRequest};

use super::App;
use super::extract::{Answer, Body, Name, Refused, Who};

#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", responses(
    (status = 200, body = [Token]), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who) -> Answer<Vec<Token>> {
    Ok(Json(station.tokens(&who).await?))
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenRequest, responses(
    (status = 201, body = NewToken), (status = "4XX", body = Problem)))]
pub(super) async fn create(
    State(station): State<App>,
    Who(who): Who,
    Body(ask): Body<TokenRequest>,
) -> Result<(StatusCode, Json<NewToken>), Refused> {
    Ok((StatusCode::CREATED, Json(station.new_token(&who, ask).await?)))
}

/// The token is void from then on. What it has begun goes on.
#[utoipa::path(delete, path = "/v1/tokens/{token}", tag = "tokens",
    params(("token" = String, Path, description = "Its name")),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn revoke(
    State(station): State<App>,
    Who(who): Who,
    Name(token): Name,
) -> Result<StatusCode, Refused> {
    station.revoke_token(&who, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}

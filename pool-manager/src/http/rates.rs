//! How fast volumes and sessions are right now.

use axum::Json;
use axum::extract::State;
use outband_pool_api::{Problem, Rates};

use super::App;
use super::extract::{Answer, Name, Who};

/// Of all volumes and sessions. Units are asked once a second while somebody asks here, and not
/// otherwise: the first answer takes about a second, and those after it are at most a second old.
#[utoipa::path(get, path = "/v1/rates", tag = "rates",
    responses((status = 200, body = Rates), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(station): State<App>, Who(who): Who) -> Answer<Rates> {
    Ok(Json(station.rates(&who).await?))
}

/// Of one volume, its partitions and their sessions, with how long its commands took since it is
/// served.
#[utoipa::path(get, path = "/v1/volumes/{volume}/rates", tag = "rates",
    params(("volume" = String, Path)),
    responses((status = 200, body = Rates), (status = "4XX", body = Problem)))]
pub(super) async fn of_volume(
    State(station): State<App>,
    Who(who): Who,
    Name(volume): Name,
) -> Answer<Rates> {
    Ok(Json(station.volume_rates(&who, &volume).await?))
}

//! The API over HTTP: routes to handlers. A handler parses, calls the app, and shows the answer;
//! nothing is decided here.

mod audit;
mod events;
mod extract;
mod hosts;
mod jobs;
mod openapi;
mod pool;
mod rates;
pub(crate) mod serve;
mod services;
mod tokens;
mod units;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};

use crate::app::Station;
use crate::problems;
use extract::Refused;

/// Requests here are small; the largest is a few names.
const BODY_MAX: usize = 64 * 1024;
/// Above the longest `Prefer: wait`.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

pub type App = Arc<Station>;

pub fn router(station: App) -> Router {
    let api = Router::new()
        .route("/pool", get(pool::status))
        .route("/pool/join-token", get(pool::join_token).post(pool::new_join_token))
        .route("/units", get(units::list))
        .route("/units/{unit}", get(units::show).patch(units::change).delete(units::remove))
        .route("/units/{unit}/forget", post(units::forget))
        .route("/units/{unit}/approve", post(units::approve))
        .route("/hosts", get(hosts::list).post(hosts::add))
        .route("/hosts/{host}", get(hosts::show).patch(hosts::change).delete(hosts::remove))
        .route("/hosts/{host}/takeover", post(hosts::take_over))
        .route("/hosts/{host}/resume", post(hosts::resume))
        .route("/volumes", get(volumes::list).post(volumes::request))
        .route("/volumes/{volume}", get(volumes::show).delete(volumes::delete))
        .route("/volumes/{volume}/grow", post(volumes::grow))
        .route("/volumes/{volume}/release", post(volumes::release))
        .route("/volumes/{volume}/assign", post(volumes::assign))
        .route("/volumes/{volume}/adopt", post(volumes::adopt))
        .route("/volumes/{volume}/forget", post(volumes::forget))
        .route("/volumes/{volume}/rates", get(rates::of_volume))
        .route("/rates", get(rates::list))
        .route("/services", get(services::list))
        .route("/log", put(services::set_log))
        .route("/placements", post(volumes::place))
        .route("/doctor", get(pool::doctor))
        .route("/backup", get(pool::backup))
        .route("/volumes/{volume}/move-host", post(volumes::move_host))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(jobs::show))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/jobs/{job}/retry", post(jobs::retry))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{token}", delete(tokens::revoke))
        .route("/audit", get(audit::list))
        .route("/events", get(events::list))
        .route("/openapi.json", get(openapi::show));
    Router::new()
        .merge(crate::console::router(Arc::clone(&station)))
        .nest(outband_pool_api::PREFIX, api)
        .fallback(async || Refused(problems::not_found("path", "that")))
        .method_not_allowed_fallback(async || Refused(problems::method_not_allowed()))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(in_time))
        .with_state(station)
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refused(problems::took_too_long()).into_response(),
    }
}

#[cfg(test)]
mod tests;

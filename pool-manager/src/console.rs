//! The console: pages for a browser, over the same application layer as the API, so that whatever a
//! page can do, the API can. Pages are whole without scripts; the script only brings them up to date.

mod actions;
mod assets;
mod live;
mod pages;
mod session;
#[cfg(test)]
mod tests;
mod units;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};

use crate::app::Station;
use session::Sessions;

/// What the pages act on.
#[derive(Debug)]
struct Console {
    station: Arc<Station>,
    sessions: Sessions,
}

/// Nothing but what this station serves itself: no frame, no plugin, no foreign request, no script
/// or style in a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

pub(crate) fn router<S: Clone + Send + Sync + 'static>(station: Arc<Station>) -> Router<S> {
    let console = Arc::new(Console { station, sessions: Sessions::default() });
    Router::new()
        .route("/", get(pages::overview))
        .route("/login", get(pages::login).post(actions::login))
        .route("/logout", post(actions::logout))
        .route("/units", get(pages::units))
        .route("/units/{unit}", get(pages::unit))
        .route("/units/{unit}/duty", post(units::duty))
        .route("/units/{unit}/label", post(units::label))
        .route("/units/{unit}/approve", post(units::approve))
        .route("/units/{unit}/forget", post(units::forget))
        .route("/volumes", get(pages::volumes).post(actions::create))
        .route("/volumes/preview", post(actions::preview))
        .route("/volumes/{volume}", get(pages::volume))
        .route("/volumes/{volume}/grow", post(actions::grow))
        .route("/volumes/{volume}/assign", post(actions::assign))
        .route("/volumes/{volume}/transfer", post(actions::transfer))
        .route("/volumes/{volume}/release", post(actions::release))
        .route("/volumes/{volume}/delete", post(actions::delete))
        .route("/hosts", get(pages::hosts).post(actions::add_host))
        .route("/hosts/{host}/remove", post(actions::remove_host))
        .route("/jobs", get(pages::jobs))
        .route("/jobs/{job}/cancel", post(actions::cancel))
        .route("/jobs/{job}/retry", post(actions::retry))
        .route("/events", get(pages::events))
        .route("/doctor", get(pages::doctor))
        .route("/audit", get(pages::audit))
        .route("/live", get(live::follow))
        .route("/console.css", get(assets::style))
        .route("/console.js", get(assets::script))
        .layer(middleware::from_fn(guarded))
        .with_state(console)
}

async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

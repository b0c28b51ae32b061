//! Figures in Prometheus' text format, and where a monitoring system fetches them. What they say is
//! for whoever can reach the address: they have no secrets, but names of volumes and hosts.

mod exposition;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use exposition::{Exposition, Family, Labels};

use crate::server;

/// Where the figures are.
pub const PATH: &str = "/metrics";
/// What [`Exposition`] writes (Prometheus' text format, version 0.0.4).
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Looks at a time: one is a question to every shard.
const LOOKS_MAX: usize = 4;

struct Source<F> {
    look: F,
    looks: Semaphore,
}

/// Answers `GET /metrics` in the clear on `listener` with what `look` finds, until `stop` turns
/// true.
pub async fn serve<F, T>(listener: TcpListener, look: F, stop: watch::Receiver<bool>)
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Exposition> + Send + 'static,
{
    let source = Arc::new(Source { look, looks: Semaphore::new(LOOKS_MAX) });
    let router = Router::new().route(PATH, get(show::<F, T>)).with_state(source);
    server::serve_plain(listener, router, stop).await;
}

async fn show<F, T>(State(source): State<Arc<Source<F>>>) -> Response
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Exposition> + Send + 'static,
{
    let Ok(_one) = source.looks.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "others are looking just now\n").into_response();
    };
    (source.look)().await.into_response()
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, MEDIA_TYPE)], self.into_text()).into_response()
    }
}

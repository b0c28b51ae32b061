//! The style and the script, a part of the binary.

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;

type Served = ([(HeaderName, &'static str); 2], &'static str);

const fn served(kind: &'static str, text: &'static str) -> Served {
    // A new version of the station must not meet the old one's files.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text)
}

pub(super) async fn style() -> impl IntoResponse {
    served("text/css; charset=utf-8", include_str!("assets/console.css"))
}

pub(super) async fn script() -> impl IntoResponse {
    served("text/javascript; charset=utf-8", include_str!("assets/console.js"))
}

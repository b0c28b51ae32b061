//! What every handler needs of a request, and the one way an answer says no.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, LINK, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use outband_pool_api::{DEADLINE, IDEMPOTENCY_KEY, Problem, REASON, encoded};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::App;
use crate::app::Caller;
use crate::paging::{self, Cursor, Part};
use crate::problems;

/// A problem as a response (RFC 9457).
#[derive(Debug)]
pub(super) struct Refused(pub(super) Problem);

pub(super) type Answer<T> = Result<Json<T>, Refused>;

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, Problem::MEDIA_TYPE.parse().expect("a media type is ASCII"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, "Bearer".parse().expect("a scheme is ASCII"));
        }
        response
    }
}

/// Who asks, and what the headers say of why, how long and on which condition. Every handler but the
/// description of the API takes it.
pub(super) struct Who(pub(super) Caller);

impl FromRequestParts<App> for Who {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, station: &App) -> Result<Self, Refused> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let token = token.ok_or_else(problems::unauthorized)?;
        let caller = station.authenticate(token).await?;
        Ok(Self(Caller {
            reason: reason(&parts.headers)?,
            deadline: deadline(&parts.headers)?,
            only_if: only_if(&parts.headers)?,
            ..caller
        }))
    }
}

/// As long as a line of a log should be.
const REASON_MAX: usize = 500;

fn reason(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get(REASON) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes()).ok().map(str::trim);
    match text {
        Some(text) if text.len() <= REASON_MAX && !text.contains(char::is_control) => {
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        }
        _ => {
            let detail = format!("a reason is one line of UTF-8, at most {REASON_MAX} bytes");
            Err(problems::bad_request(detail).into())
        }
    }
}

fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Refused> {
    let Some(value) = headers.get(DEADLINE) else {
        return Ok(None);
    };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    match seconds {
        Some(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(problems::bad_request("a deadline is a number of seconds, 1 or more").into()),
    }
}

/// The entity tag of a record is its revision. `*` is any that there is.
fn only_if(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    let value = headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim());
    match value {
        None | Some("*") => Ok(None),
        Some(tag) => {
            let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let revision = revision.and_then(|revision| revision.parse().ok());
            let malformed = || {
                problems::bad_request("If-Match takes one entity tag, such as \"17\" with quotes")
            };
            Ok(Some(revision.ok_or_else(malformed)?))
        }
    }
}

/// Which part of a list is wanted; all of it without `limit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    limit: Option<usize>,
    after: Option<String>,
}

/// As [`Paging`], with what is wrong with it said as a problem.
pub(super) struct Page(Paging);

impl FromRequestParts<App> for Page {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, station: &App) -> Result<Self, Refused> {
        match Query::<Paging>::from_request_parts(parts, station).await {
            Ok(Query(paging)) if paging.limit != Some(0) => Ok(Self(paging)),
            Ok(_) => Err(problems::bad_request("a page has at least one entry").into()),
            Err(rejection) => Err(problems::bad_request(rejection.body_text()).into()),
        }
    }
}

/// Part of a list; `Link` with `rel="next"` (RFC 8288) names the next one while there is more.
pub(super) type Listed<T> = Result<(HeaderMap, Json<Vec<T>>), Refused>;

impl Page {
    /// Of `all`, which is in the order of its keys.
    pub(super) fn of<T, K: Cursor>(
        self,
        path: &str,
        all: Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Listed<T> {
        let Paging { limit, after } = self.0;
        let part = paging::part(all, after.as_deref(), limit, key);
        let malformed =
            |_| problems::bad_request("\"after\" is not what a page of this list has named");
        let Part { entries, next } = part.map_err(malformed)?;
        let mut headers = HeaderMap::new();
        if let (Some(next), Some(limit)) = (next, limit) {
            let next = encoded(&next);
            let link = format!("<{path}?limit={limit}&after={next}>; rel=\"next\"");
            headers.insert(LINK, link.parse().expect("what is encoded is ASCII"));
        }
        Ok((headers, Json(entries)))
    }
}

/// One thing with its entity tag (RFC 9110 §8.8.3).
pub(super) type Tagged<T> = Result<([(HeaderName, String); 1], Json<T>), Refused>;

pub(super) fn tagged<T>(revision: u64, shown: T) -> Tagged<T> {
    Ok(([(ETAG, format!("\"{revision}\""))], Json(shown)))
}

/// The one parameter in a path.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<App> for Name {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, station: &App) -> Result<Self, Refused> {
        match Path::<String>::from_request_parts(parts, station).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => Err(problems::bad_request(rejection.body_text()).into()),
        }
    }
}

/// A JSON body; what is wrong with it is said as a problem.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, station: &App) -> Result<Self, Refused> {
        match Json::<T>::from_request(request, station).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(malformed(&rejection).into()),
        }
    }
}

fn malformed(rejection: &JsonRejection) -> Problem {
    let problem = problems::bad_request(rejection.body_text());
    Problem { status: rejection.status().as_u16(), ..problem }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().map_err(|_| {
        problems::bad_request("an idempotency key is made of visible ASCII characters")
    })?;
    Ok(Some(key))
}

/// `Prefer: wait` alone means this long.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long the caller wants to wait for the result (RFC 7240 §4.3). What is not understood is
/// ignored, as that RFC asks.
pub(super) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(',')).map(str::trim);
    preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let seconds = value.trim().trim_matches('"').parse().map(Duration::from_secs);
        Some(seconds.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_to_wait_is_understood_and_bounded() {
        let table = [
            ("wait", Some(30)),
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("Wait = 3", Some(3)),
            ("wait=9999", Some(30)),
            ("respond-async", None),
            ("waiting=3", None),
        ];
        for (value, seconds) in table {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", value.parse().unwrap());
            assert_eq!(preferred_wait(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}

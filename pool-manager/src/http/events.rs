//! What happened since the station's start: as a list, or as server-sent events that go on (WHATWG
//! HTML §9.2), with resume by Last-Event-ID.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use outband_pool_api::{Event, Problem};
use serde::Deserialize;

use super::App;
use super::extract::{Refused, Who};
use crate::problems;
use crate::search::{Search, Sought};

/// A stream ends after so long, or when the station stops, and its reader resumes: with a token that is
/// valid still.
const STREAM_MAX: Duration = Duration::from_secs(600);
const STREAM: &str = "text/event-stream";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    q: String,
    #[serde(default)]
    object: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

impl After {
    fn sought(&self) -> Result<Sought, Problem> {
        let (q, object, severity) = (self.q.clone(), self.object.clone(), self.severity.clone());
        let (from, to) = (self.from.clone(), self.to.clone());
        let search = Search { q, object, actor: String::new(), severity, from, to };
        search.understood().map_err(problems::bad_request)
    }
}

/// A list; or with `Accept: text/event-stream` a stream that goes on as things happen. A stream that
/// is asked for with the `Last-Event-ID` of an earlier one goes on behind it. Numbers begin anew when
/// the station starts; ids tell starts apart. Where anything is looked for, only what fits is told.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(
        ("after" = Option<u64>, Query, description = "The number of the last event seen"),
        ("q" = Option<String>, Query, description = "Words, each in kind, object or text"),
        ("object" = Option<String>, Query, description = "Name of what it happened to"),
        ("severity" = Option<String>, Query, description = "information, warning or error, and worse"),
        ("from" = Option<String>, Query, description = "In UTC: 2026-11-21, 2026-11-21T13:05 or 2026-11-21T13:05:09Z"),
        ("to" = Option<String>, Query),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen")),
    responses((status = 200, body = [Event]), (status = "4XX", body = Problem)))]
pub(super) async fn list(
    State(station): State<App>,
    Who(who): Who,
    headers: HeaderMap,
    query: Result<Query<After>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query.map_err(|error| problems::bad_request(error.body_text()))?;
    let sought = query.sought()?;
    let mut events = station.events_after(&who, query.after)?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.contains(STREAM) {
        events.retain(|event| sought.is_event(event));
        return Ok(Json(events).into_response());
    }
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let after = last.map_or(query.after, |id| after_of(id, station.events.start()));
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(going_on(station, after, sought)).keep_alive(keep_alive).into_response())
}

/// Of another start of the station nothing here has been seen.
fn after_of(id: &str, start: u64) -> u64 {
    let parts = id.split_once('.');
    let number = parts.filter(|(of, _)| of.parse() == Ok(start)).map(|(_, number)| number);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn going_on(
    station: App,
    after: u64,
    sought: Sought,
) -> impl Stream<Item = Result<sse::Event, Infallible>> + Send + 'static {
    let until = station.machine.now() + STREAM_MAX;
    // What is ready is told even when the station stops, but nobody reads on for ever: work that is ready
    // is done before a time that is over is seen.
    stream::unfold((station, after, sought), move |(station, mut after, sought)| async move {
        loop {
            let left = until.saturating_duration_since(station.machine.now());
            if left.is_zero() {
                return None;
            }
            let next = async {
                tokio::select! {
                    biased;
                    next = station.events.next(after) => Some(next),
                    () = station.ended() => None,
                }
            };
            let next = station.machine.timeout(left, next).await??;
            after = next.number;
            if sought.is_event(&next) {
                let shown = shown(&next, station.events.start());
                return Some((Ok(shown), (station, after, sought)));
            }
        }
    })
}

fn shown(event: &Event, start: u64) -> sse::Event {
    let text = serde_json::to_string(event).expect("an event has text keys and no fallible parts");
    sse::Event::default().id(format!("{start}.{}", event.number)).event(&event.kind).data(text)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use futures_util::StreamExt;
    use outband_control::machine::SharedMachine;

    use super::*;
    use crate::app::{Policy, Station};
    use crate::sample::{self, Clock};
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn what_has_happened_is_told_before_a_stream_ends_with_the_station() {
        let station = sample::station().await;
        let before = station.events.last();
        for text in ["one", "two"] {
            station.events.add("test", "subject", text);
        }
        station.end();
        assert_eq!(going_on(station, before, Sought::default()).count().await, 2);
    }

    #[tokio::test]
    async fn a_stream_tells_only_what_is_looked_for() {
        let station = sample::station().await;
        for kind in ["unit-joined", "unit-down", "unit-back", "job-failed"] {
            station.events.add(kind, "subject", "text");
        }
        station.end();
        let search = Search { severity: "error".to_owned(), ..Search::default() };
        let sought = search.understood().unwrap();
        assert_eq!(going_on(station, 0, sought).count().await, 2);
    }

    #[tokio::test]
    async fn a_stream_ends_in_time_even_for_a_reader_that_lags() {
        let clock = Clock::new();
        let machine: SharedMachine = Arc::<Clock>::clone(&clock);
        let store = Arc::new(MemoryStore::default());
        let station = Station::open_on(machine, store, "main", Policy::Auto).await.unwrap();
        for text in ["one", "two"] {
            station.events.add("test", "subject", text);
        }
        let mut stream = pin!(going_on(Arc::new(station), 0, Sought::default()));
        assert!(stream.next().await.is_some());
        clock.pass(STREAM_MAX);
        assert!(stream.next().await.is_none());
    }

    #[test]
    fn a_stream_goes_on_behind_the_last_event_of_the_same_start() {
        for (id, after) in [("7.41", 41), ("6.41", 0), ("41", 0), ("7.x", 0), ("", 0)] {
            assert_eq!(after_of(id, 7), after, "{id}");
        }
    }
}

//! The API below its client: what raw requests are answered.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use outband_pool_api::{Host, JobState, Problem, Size, VolumeRequest};
use serde_json::Value;
use tower::ServiceExt;
use utoipa::OpenApi;

use super::*;
use crate::app::Caller;
use crate::sample::{self, TOKEN};

const PATIENCE: Duration = Duration::from_secs(20);

async fn app() -> Router {
    router(sample::station().await)
}

fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.header("content-type", "application/json");
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn send(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.unwrap()
}

async fn problem(response: Response) -> Problem {
    assert_eq!(response.headers()["content-type"], Problem::MEDIA_TYPE);
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 100_000).await.unwrap();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.status, status);
    problem
}

/// Every operation that the description names.
fn operations() -> Vec<(Method, String)> {
    let api = serde_json::to_value(openapi::Description::openapi()).unwrap();
    let paths = api["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let path = path.replace(['{', '}'], "");
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase().parse().unwrap(), path.clone()))
    });
    operations.collect()
}

#[tokio::test]
async fn every_operation_asks_for_a_token_before_anything_else() {
    let app = app().await;
    let operations = operations();
    assert_eq!(operations.len(), 42);
    for (method, path) in operations {
        for token in [None, Some("obh_wrong")] {
            let response = send(&app, request(method.as_str(), &path, token, "{")).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{method} {path}");
            assert_eq!(problem(response).await.kind(), "unauthorized", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_description_is_for_everybody_and_names_its_types() {
    let app = app().await;
    let response = send(&app, request("GET", "/v1/openapi.json", None, "")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), 1_000_000).await.unwrap();
    let api: Value = serde_json::from_slice(&body).unwrap();
    for name in ["Volume", "VolumeRequest", "Job", "Unit", "Problem", "PoolStatus", "NewHost"] {
        assert!(api["components"]["schemas"][name].is_object(), "{name}");
    }
    assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let front = send(&app, request("GET", "/", None, "")).await;
    assert_eq!(front.headers()["location"], "/login", "the console is for who has logged in");
}

#[tokio::test]
async fn whatever_is_wrong_is_said_as_a_problem() {
    let app = app().await;
    let large = format!("{{\"size\": 1, \"name\": \"{}\"}}", "a".repeat(100_000));
    let table = [
        ("GET", "/v1/nothing", "", 404),
        ("PUT", "/v1/volumes", "", 405),
        ("POST", "/v1/volumes", "{", 400),
        ("POST", "/v1/volumes", "{\"size\": \"80X\"}", 422),
        ("POST", "/v1/volumes", "{\"size\": 1, \"hots\": \"a\"}", 422),
        ("POST", "/v1/volumes", &large, 413),
        ("GET", "/v1/jobs/1", "", 404),
        ("GET", "/v1/volumes/a%2Fb", "", 404),
        ("GET", "/v1/volumes/%ff", "", 400),
        ("GET", "/v1/events?after=x", "", 400),
        ("GET", "/v1/units/x", "", 404),
        ("DELETE", "/v1/hosts/x", "", 404),
    ];
    for (method, path, body, status) in table {
        let response = send(&app, request(method, path, Some(TOKEN), body)).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        problem(response).await;
    }
    let misspelt = request("POST", "/v1/volumes", Some(TOKEN), "{\"size\": 1, \"hots\": \"a\"}");
    let said = problem(send(&app, misspelt).await).await.detail;
    assert!(said.contains("hots") && said.contains("host"), "{said}");
}

#[tokio::test]
async fn a_change_with_an_old_entity_tag_does_not_happen() {
    let app = app().await;
    let body = "{\"name\": \"a\", \"iqn\": \"iqn.2026-11.test:a\"}";
    let made = send(&app, request("POST", "/v1/hosts", Some(TOKEN), body)).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let seen = send(&app, request("GET", "/v1/hosts/a", Some(TOKEN), "")).await;
    let tag = seen.headers()["etag"].to_str().unwrap().to_owned();
    let change = |tag: &str, quota: u64| {
        let body = format!("{{\"quota\": {quota}}}");
        let mut change = request("PATCH", "/v1/hosts/a", Some(TOKEN), &body);
        change.headers_mut().insert("if-match", tag.parse().unwrap());
        change
    };
    let changed = send(&app, change(&tag, 1 << 30)).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()["etag"], tag.as_str());
    let late = send(&app, change(&tag, 1 << 31)).await;
    assert_eq!(problem(late).await.kind(), "changed-meanwhile");
    assert_eq!(send(&app, change("*", 1 << 31)).await.status(), StatusCode::OK);
    assert_eq!(problem(send(&app, change("17", 1)).await).await.kind(), "bad-request");
}

#[tokio::test]
async fn what_the_headers_of_a_change_say_is_checked() {
    let app = app().await;
    let long = "x".repeat(501);
    for (name, value, fine) in [
        ("outband-reason", "because", true),
        ("outband-reason", "größer", true),
        ("outband-reason", long.as_str(), false),
        ("outband-deadline", "30", true),
        ("outband-deadline", "0", false),
        ("outband-deadline", "-1", false),
        ("outband-deadline", "soon", false),
    ] {
        let mut ask = request("GET", "/v1/jobs", Some(TOKEN), "");
        let value = axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        ask.headers_mut().insert(axum::http::HeaderName::from_static(name), value);
        let status = send(&app, ask).await.status();
        assert_eq!(status.is_success(), fine, "{name}: {status}");
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let app = app().await;
    for name in ["a", "b", "c", "d", "e"] {
        let body = format!("{{\"name\": \"{name}\", \"iqn\": \"iqn.2026-11.test:{name}\"}}");
        let made = send(&app, request("POST", "/v1/hosts", Some(TOKEN), &body)).await;
        assert_eq!(made.status(), StatusCode::CREATED);
    }
    let mut path = "/v1/hosts?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let response = send(&app, request("GET", &path, Some(TOKEN), "")).await;
        let next = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        let hosts: Vec<Host> = serde_json::from_slice(&body).unwrap();
        seen.push(hosts.into_iter().map(|host| host.name).collect::<Vec<_>>().concat());
        let Some(next) = next else { break };
        path = next.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(seen, ["ab", "cd", "e"]);
    // What the page before ended with is removed: the next one goes on behind where it was.
    let removed = send(&app, request("DELETE", "/v1/hosts/b", Some(TOKEN), "")).await;
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let response = send(&app, request("GET", "/v1/hosts?limit=2&after=b", Some(TOKEN), "")).await;
    assert!(response.headers()["link"].to_str().unwrap().contains("limit=2&after=d"));
    let body = to_bytes(response.into_body(), 100_000).await.unwrap();
    let hosts: Vec<Host> = serde_json::from_slice(&body).unwrap();
    assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<String>(), "cd");
    for path in [
        "/v1/hosts?limit=0",
        "/v1/hosts?limit=-1",
        "/v1/units?after=z",
        "/v1/volumes?after=z",
        "/v1/jobs?after=z",
        "/v1/jobs?x=1",
    ] {
        let response = send(&app, request("GET", path, Some(TOKEN), "")).await;
        assert_eq!(problem(response).await.kind(), "bad-request", "{path}");
    }
}

#[tokio::test]
async fn who_follows_events_or_waits_for_a_job_is_let_go_when_the_station_stops() {
    let station = sample::station().await;
    let app = router(Arc::clone(&station));
    let mut ask = request("GET", "/v1/events", Some(TOKEN), "");
    ask.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let response = send(&app, ask).await;
    station.events.add("unit-joined", "unit-1", "in the pool");
    station.end();
    let rest = tokio::time::timeout(PATIENCE, to_bytes(response.into_body(), 10_000));
    rest.await.expect("the stream ends").unwrap();

    sample::unit(&station, "one", &[sample::device(8 << 30, false)]).await;
    sample::host(&station, "a").await;
    let ask = VolumeRequest { host: Some("a".into()), size: Size(1 << 30), ..Default::default() };
    // Nobody works for this station: the job goes on for ever.
    let job = station.request_volume(&Caller::ADMIN, ask, None).await.unwrap();
    let who = Caller::ADMIN;
    let wait = station.wait_for_job(&who, job, PATIENCE * 10);
    let job = tokio::time::timeout(PATIENCE, wait).await.expect("it is answered").unwrap();
    assert_eq!(job.state, JobState::Running);
}

#[tokio::test]
async fn events_come_as_a_stream_that_can_be_resumed() {
    let station = sample::station().await;
    let app = router(Arc::clone(&station));
    station.events.add("unit-joined", "unit-1", "in the pool");
    station.events.add("unit-left", "unit-1", "stopped");
    let mut ask = request("GET", "/v1/events", Some(TOKEN), "");
    ask.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let first = format!("{}.1", station.events.start());
    ask.headers_mut().insert("last-event-id", first.parse().unwrap());
    let response = send(&app, ask).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let mut said = String::new();
    station.events.add("unit-back", "unit-1", "again");
    while !said.contains("unit-back") {
        let data = body.next().await.unwrap().unwrap();
        said.push_str(std::str::from_utf8(&data).unwrap());
    }
    assert!(!said.contains("unit-joined"), "it was seen before");
    let second = format!("id: {}.2", station.events.start());
    assert!(said.contains(&second) && said.contains("event: unit-left"), "{said}");
}

//! Pages and forms as a browser asks for them.

mod steer;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use outband_control::machine::{Machine, Os};
use outband_pool_api::{HostRequest, Load, Scope, Secret, TokenRequest};
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::app::{Heard, Policy};
use crate::records::{UnitRecord, load, unit_key};
use crate::store::memory::MemoryStore;
use crate::unit::{DeviceView, UnitView};

const TOKEN: &str = "oba_test";

/// A browser that keeps its cookie.
struct Browser {
    station: Arc<Station>,
    router: Router,
    cookie: Option<String>,
}

struct Page {
    status: StatusCode,
    leads_to: Option<String>,
    text: String,
    response: axum::http::response::Parts,
}

impl Browser {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let station = Station::open(store, "main", Policy::Approve).await.unwrap();
        station.add_admin_token(&Secret::new(TOKEN)).await.unwrap();
        let station = Arc::new(station);
        Self { router: router(Arc::clone(&station)), station, cookie: None }
    }

    async fn logged_in() -> Self {
        let mut browser = Self::new().await;
        let page = browser.post("/login", &format!("token={TOKEN}")).await;
        assert_eq!(page.leads_to.as_deref(), Some("/"));
        browser
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response: Response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        if let Some(cookie) = parts.headers.get(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let body = to_bytes(body, 1_000_000).await.unwrap();
        let leads_to = parts.headers.get(header::LOCATION);
        Page {
            status: parts.status,
            leads_to: leads_to.map(|to| to.to_str().unwrap().to_owned()),
            text: String::from_utf8(body.to_vec()).unwrap(),
            response: parts,
        }
    }

    async fn get(&mut self, path: &str) -> Page {
        self.ask("GET", path, "").await
    }

    async fn post(&mut self, path: &str, body: &str) -> Page {
        self.ask("POST", path, body).await
    }

    /// Fills a form that a page of this session has shown.
    async fn send(&mut self, path: &str, fields: &str) -> Page {
        let page = self.get("/units").await;
        let at = page.text.find("name=\"csrf\" value=\"").unwrap() + 19;
        let csrf: String = page.text[at..].chars().take_while(|c| *c != '"').collect();
        self.post(path, &format!("csrf={csrf}&{fields}")).await
    }

    /// A unit with 8 GiB starts and, once approved, tells what it has.
    async fn unit(&self, name: &str) -> Uuid {
        let id = Uuid::new_v4();
        let heard = Heard {
            id,
            name: name.to_owned(),
            portals: vec!["192.0.2.1:3260".parse().unwrap()],
            api: "192.0.2.1:3261".parse().unwrap(),
            fingerprint: [1; 32],
            version: "0.1.0".to_owned(),
            incarnation: 1,
        };
        self.station.handle_startup(&heard, Os.now()).await.unwrap();
        id
    }

    async fn joins(&self, id: Uuid) {
        self.station.handle_enrolled(id).await.unwrap();
        let store = &self.station.store;
        let record = load::<UnitRecord>(store, &unit_key(id)).await.unwrap().unwrap().record;
        let device = DeviceView {
            id: Uuid::new_v4(),
            path: "/dev/<b>sdb".to_owned(),
            total: 8 << 30,
            free: 8 << 30,
            volatile: false,
            healthy: true,
        };
        let view = UnitView { devices: vec![device], volumes: Vec::new() };
        self.station.handle_inventory(&record, &view);
    }
}

const PAGES: [&str; 7] = ["/", "/units", "/volumes", "/hosts", "/jobs", "/events", "/doctor"];

#[tokio::test]
async fn without_a_session_every_page_and_form_leads_to_the_login() {
    let mut browser = Browser::new().await;
    for path in PAGES.into_iter().chain(["/live", "/volumes/a", "/units/a", "/audit"]) {
        assert_eq!(browser.get(path).await.leads_to.as_deref(), Some("/login"), "{path}");
    }
    for path in [
        "/volumes",
        "/volumes/preview",
        "/hosts",
        "/units/a/approve",
        "/units/a/duty",
        "/volumes/a/delete",
        "/logout",
    ] {
        assert_eq!(
            browser.post(path, "csrf=x").await.leads_to.as_deref(),
            Some("/login"),
            "{path}"
        );
    }
    let refused = browser.post("/login", "token=oba_wrong").await;
    assert_eq!(
        (refused.status, refused.response.headers.get(header::SET_COOKIE)),
        (StatusCode::FORBIDDEN, None)
    );
    assert!(!refused.text.contains("oba_wrong"));
}

#[tokio::test]
async fn a_hosts_token_opens_no_page() {
    let mut browser = Browser::new().await;
    let admin = browser.station.authenticate(TOKEN).await.unwrap();
    let iqn = "iqn.2026-11.local.host:a".to_owned();
    let ask = HostRequest { name: "a".to_owned(), iqn, quota: None, mutual: false };
    let host = browser.station.add_host(&admin, ask).await.unwrap();
    let page = browser.post("/login", &format!("token={}", host.token.expose())).await;
    assert_eq!((page.status, browser.cookie), (StatusCode::FORBIDDEN, None));
}

#[tokio::test]
async fn a_viewer_sees_every_page_and_no_form_and_is_refused_all_the_same() {
    let mut browser = Browser::new().await;
    let admin = browser.station.authenticate(TOKEN).await.unwrap();
    let ask = TokenRequest {
        name: "eve".to_owned(),
        scope: Scope::Viewer,
        host: None,
        valid_seconds: None,
    };
    let token = browser.station.new_token(&admin, ask).await.unwrap().secret;
    browser.unit("one").await;
    browser.post("/login", &format!("token={}", token.expose())).await;
    for path in PAGES {
        let page = browser.get(path).await;
        let forms = page.text.matches("method=\"post\"").count();
        assert_eq!((page.status, forms), (StatusCode::OK, 1), "{path}: the logout alone");
    }
    browser.send("/hosts", "name=a&iqn=iqn.2026-11.local.host%3Aa").await;
    let hosts = browser.get("/hosts").await.text;
    assert!(hosts.contains("does not allow") && hosts.contains("There is none yet."), "{hosts}");
    browser.station.revoke_token(&admin, "eve").await.unwrap();
    assert_eq!(browser.get("/").await.leads_to.as_deref(), Some("/login"), "a revoked token");
}

#[tokio::test]
async fn pages_are_small_and_let_nothing_foreign_in() {
    let mut browser = Browser::logged_in().await;
    let cookie = browser.cookie.clone().unwrap();
    assert!(cookie.starts_with("__Host-outband=obs_"), "{cookie}");
    let mut weight = 0;
    for path in PAGES.into_iter().chain(["/console.css", "/console.js"]) {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let headers = &page.response.headers;
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!page.text.contains("style=\"") && !page.text.contains("onclick"), "{path}");
        assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{path}");
        weight += page.text.len();
    }
    assert!(weight < 60_000, "{weight} bytes over all pages");
}

#[tokio::test]
async fn approval_is_offered_until_a_unit_has_it() {
    let mut browser = Browser::logged_in().await;
    let id = browser.unit("one").await;
    assert!(browser.get("/units").await.text.contains("Approve one"));
    browser.send(&format!("/units/{id}/approve"), "").await;
    let page = browser.get("/units").await.text;
    assert!(page.contains("pending") && !page.contains("Approve one"), "{page}");
}

#[tokio::test]
async fn whatever_units_say_of_their_load_there_is_an_overview() {
    let mut browser = Browser::logged_in().await;
    let most = Load { sessions: u32::MAX, iops: u64::MAX, bytes_per_second: u64::MAX };
    for name in ["one", "two"] {
        let id = browser.unit(name).await;
        browser.station.live.change(id, |unit| unit.load = Some(most));
    }
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains(&u32::MAX.to_string()), "{}", page.text);
}

#[tokio::test]
async fn a_form_from_elsewhere_changes_nothing() {
    let mut browser = Browser::logged_in().await;
    for csrf in ["", "csrf=", "csrf=obc_guess"] {
        let page = browser.post("/hosts", &format!("{csrf}&name=a&iqn=iqn.2026-11.x:a")).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{csrf}");
    }
    assert!(browser.get("/hosts").await.text.contains("There is none yet."));
}

#[tokio::test]
async fn what_units_call_themselves_is_shown_as_text() {
    let mut browser = Browser::logged_in().await;
    let id = browser.unit("<script>alert(1)</script>").await;
    browser.send(&format!("/units/{id}/approve"), "").await;
    browser.joins(id).await;
    for path in PAGES {
        let page = browser.get(path).await;
        assert!(!page.text.contains("<script>alert"), "{path}");
        assert!(!page.text.contains("<b>sdb"), "{path}");
    }
    assert!(browser.get("/units").await.text.contains("alert(1)"));
    let page = browser.get("/events?q=%22%3E%3Cimg+src%3Dx%3E").await;
    assert!(!page.text.contains("<img"), "{}", page.text);
}

#[tokio::test]
async fn a_unit_is_approved_and_a_volume_made_by_forms() {
    let mut browser = Browser::logged_in().await;
    let id = browser.unit("one").await;
    assert!(browser.get("/").await.text.contains("Unit one waits for approval"));
    let page = browser.send(&format!("/units/{id}/approve"), "").await;
    assert_eq!(page.leads_to.as_deref(), Some("/units"));
    browser.joins(id).await;
    let units = browser.get("/units").await.text;
    assert!(units.contains("The unit is approved") && units.contains("joined"), "{units}");
    assert!(!browser.get("/units").await.text.contains("The unit is approved"), "said once");
    let page = browser.send("/hosts", "name=db&iqn=iqn.2026-11.local.host%3Adb").await;
    assert!(page.text.contains("obh_") && page.text.contains("CHAP secret"));
    assert!(!browser.get("/hosts").await.text.contains("obh_"), "a token is shown once");
    let wrong = browser.send("/volumes", "size=80X&host=db&name=data").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text.contains("value=\"80X\"") && wrong.text.contains("value=\"data\""));
    for _ in 0..2 {
        let page = browser.send("/volumes", "size=1G&host=db&name=data&key=same").await;
        assert_eq!(page.leads_to.as_deref(), Some("/volumes"));
    }
    let admin = browser.station.authenticate(TOKEN).await.unwrap();
    assert_eq!(browser.station.jobs(&admin).await.unwrap().len(), 1, "a form sent twice is one");
    assert!(browser.get("/volumes").await.text.contains("/volumes/data"));
    assert!(browser.get("/volumes/data").await.text.contains("Volume data"));
}

#[tokio::test]
async fn what_takes_away_needs_the_name() {
    let mut browser = Browser::logged_in().await;
    let id = browser.unit("one").await;
    for typed in ["", "confirm=two", "confirm=ONE"] {
        browser.send(&format!("/units/{id}/forget"), typed).await;
        let page = browser.get("/units").await.text;
        assert!(page.contains("to confirm") && page.contains(&id.to_string()), "{typed}");
    }
    browser.send(&format!("/units/{id}/forget"), "confirm=one").await;
    assert!(!browser.get("/units").await.text.contains(&id.to_string()));
}

#[tokio::test]
async fn after_the_logout_the_cookie_opens_nothing() {
    let mut browser = Browser::logged_in().await;
    let cookie = browser.cookie.clone();
    browser.send("/logout", "").await;
    browser.cookie = cookie;
    assert_eq!(browser.get("/").await.leads_to.as_deref(), Some("/login"));
}

#[test]
fn a_session_ends_unused_and_ends_of_age() {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let sessions = Sessions::default();
    let key = |id: &Secret| crate::random::digest(id.expose());
    let idle = key(&sessions.begin(&Os, "viewer:a".into(), Secret::new("a")));
    let used = key(&sessions.begin(&Os, "viewer:b".into(), Secret::new("b")));
    let born = Os.now();
    let visit = |key: &str, after, uses| sessions.visit(key, born + after, uses).is_some();
    assert!(visit(&idle, minutes(29), false) && visit(&used, minutes(29), true));
    assert!(!visit(&idle, minutes(31), true), "to be brought up to date is not to be used");
    let mut last = minutes(29);
    while last < minutes(12 * 60 - 21) {
        last += minutes(20);
        assert!(visit(&used, last, true), "{last:?}");
    }
    assert!(!visit(&used, minutes(12 * 60), true), "used or not, twelve hours are enough");
}

#[test]
fn who_logs_in_again_and_again_ends_sessions_of_his_own() {
    let sessions = Sessions::default();
    let begin = |actor: &str| {
        let id = sessions.begin(&Os, actor.to_owned(), Secret::new("t"));
        crate::random::digest(id.expose())
    };
    let is_there = |key: &str| sessions.visit(key, Os.now(), true).is_some();
    let admin = begin("admin");
    let first = begin("viewer:eve");
    for _ in 0..1000 {
        begin("viewer:eve");
    }
    assert!(is_there(&admin) && !is_there(&first));
    // Many users: whoever has the most gives one up, and nobody else.
    let others: Vec<String> = (0..300).map(|number| begin(&format!("viewer:{number}"))).collect();
    let kept = others.iter().filter(|key| is_there(key)).count();
    assert!(kept < others.len() && kept >= 239, "{kept}");
}

#[tokio::test]
async fn a_long_list_is_shown_in_pages_and_every_row_is_on_one() {
    let mut browser = Browser::logged_in().await;
    let mut names = Vec::new();
    for number in 0..230 {
        let name = format!("unit-{number:03}");
        browser.unit(&name).await;
        names.push(name);
    }
    let (mut path, mut seen) = ("/units".to_owned(), Vec::new());
    loop {
        let text = browser.get(&path).await.text;
        // The name is in a link to the unit's page.
        let name = |row: &str| row.split(['>', '<']).nth(1).unwrap_or_default().to_owned();
        let rows = text.split("<h2><a ").skip(1).map(name);
        let rows: Vec<String> = rows.collect();
        assert!(rows.len() <= 100, "{path}");
        assert_eq!(text.contains("From the beginning"), path != "/units");
        seen.extend(rows);
        let Some(next) = text.split("href=\"").find(|link| link.starts_with("/units?after="))
        else {
            break;
        };
        path = next.split('"').next().unwrap().to_owned();
    }
    assert_eq!(seen, names);
    let nowhere = browser.get("/units?after=nowhere").await;
    assert_eq!(nowhere.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn open_pages_end_when_the_station_stops() {
    let mut browser = Browser::logged_in().await;
    let request =
        Request::builder().uri("/live").header(header::COOKIE, browser.cookie.take().unwrap());
    let request = request.body(Body::empty()).unwrap();
    let response = browser.router.clone().oneshot(request).await.unwrap();
    browser.station.end();
    let rest = tokio::time::timeout(Duration::from_secs(20), to_bytes(response.into_body(), 1000));
    rest.await.expect("it ends").unwrap();
}

#[tokio::test]
async fn open_pages_hear_of_news() {
    let mut browser = Browser::logged_in().await;
    let request =
        Request::builder().uri("/live").header(header::COOKIE, browser.cookie.take().unwrap());
    let request = request.body(Body::empty()).unwrap();
    let response = browser.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
    browser.station.events.add("test", "a", "b");
    let mut body = response.into_body();
    let next = std::future::poll_fn(|context| {
        hyper::body::Body::poll_frame(std::pin::Pin::new(&mut body), context)
    });
    let frame =
        tokio::time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap().unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(text.starts_with("event: changed\ndata: "), "{text}");
}

//! What a person steers with: duties and labels of units, previews, jobs, and what is looked for.

use outband_pool_api::{Duty, JobState, UnitChange, VolumeRequest};

use super::*;
use crate::app::Caller;

/// With one unit that has joined, and a host `db`.
async fn pool() -> (Browser, Uuid) {
    let mut browser = Browser::logged_in().await;
    let id = browser.unit("one").await;
    browser.send(&format!("/units/{id}/approve"), "").await;
    browser.joins(id).await;
    crate::sample::host(&browser.station, "db").await;
    (browser, id)
}

async fn duty(browser: &Browser, unit: Uuid) -> Duty {
    browser.station.unit(&Caller::ADMIN, &unit.to_string()).await.unwrap().duty
}

async fn login_as(browser: &mut Browser, scope: Scope) {
    let ask = TokenRequest { name: format!("a-{scope}"), scope, host: None, valid_seconds: None };
    let token = browser.station.new_token(&Caller::ADMIN, ask).await.unwrap().secret;
    browser.cookie = None;
    browser.post("/login", &format!("token={}", token.expose())).await;
}

#[tokio::test]
async fn an_operator_gives_a_unit_another_duty_and_labels() {
    let (mut browser, id) = pool().await;
    login_as(&mut browser, Scope::Operator).await;
    let path = format!("/units/{id}");
    let page = browser.get(&path).await.text;
    assert!(page.contains(">Drain<") && !page.contains(">Resume<"), "{page}");
    let went = browser.send(&format!("{path}/duty"), "duty=draining").await;
    assert_eq!(went.leads_to, Some(path.clone()));
    let page = browser.get(&path).await.text;
    assert!(page.contains("It is draining now.") && page.contains(">Resume<"), "{page}");
    browser.send(&format!("{path}/label"), "name=rack&value=r7").await;
    assert!(browser.get(&path).await.text.contains("rack=r7"));
    browser.send(&format!("{path}/label"), "name=rack&value=").await;
    assert!(!browser.get(&path).await.text.contains("rack=r7"));
    browser.send(&format!("{path}/duty"), "duty=retired").await;
    assert!(browser.get(&path).await.text.contains("is no duty of a unit"));
    assert_eq!(duty(&browser, id).await, Duty::Draining);
}

#[tokio::test]
async fn a_form_about_a_unit_that_was_changed_meanwhile_is_refused() {
    let (mut browser, id) = pool().await;
    let unit = browser.station.unit(&Caller::ADMIN, "one").await.unwrap();
    let change = UnitChange { duty: Some(Duty::Cordoned), ..UnitChange::default() };
    browser.station.change_unit(&Caller::ADMIN, "one", &change).await.unwrap();
    let stale = format!("revision={}&duty=spare", unit.revision);
    browser.send(&format!("/units/{id}/duty"), &stale).await;
    assert_eq!(duty(&browser, id).await, Duty::Cordoned);
}

#[tokio::test]
async fn a_viewer_has_no_button_for_a_unit_or_a_job_and_is_refused_all_the_same() {
    let (mut browser, id) = pool().await;
    browser.send("/volumes", "size=1G&host=db&name=data").await;
    login_as(&mut browser, Scope::Viewer).await;
    let path = format!("/units/{id}");
    for page in [path.as_str(), "/jobs", "/volumes/data"] {
        let page = browser.get(page).await;
        let forms = page.text.matches("method=\"post\"").count();
        assert_eq!((page.status, forms), (StatusCode::OK, 1), "the logout alone");
    }
    assert!(!browser.get("/").await.text.contains("/audit"));
    assert_eq!(browser.get("/audit").await.status, StatusCode::FORBIDDEN);
    browser.send(&format!("{path}/duty"), "duty=draining").await;
    assert!(browser.get(&path).await.text.contains("does not allow"));
    assert_eq!(duty(&browser, id).await, Duty::Active);
    let job = browser.station.jobs(&Caller::ADMIN).await.unwrap()[0].id;
    browser.send(&format!("/jobs/{job}/cancel"), "").await;
    let job = browser.station.job(&Caller::ADMIN, job).await.unwrap();
    assert_eq!((job.state, job.error), (JobState::Running, None));
    let preview = browser.send("/volumes/preview", "size=1G&host=db").await;
    assert_eq!(preview.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_preview_says_where_a_volume_would_go_and_makes_none() {
    let (mut browser, _) = pool().await;
    let fields = "size=1G&host=db&name=data&policy=high";
    let page = browser.send("/volumes/preview", fields).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("It would go to <b>one</b>"), "{}", page.text);
    assert!(page.text.contains("value=\"data\""), "what was filled in stays");
    let page = browser.send("/volumes/preview", "size=900G&host=db").await.text;
    assert!(page.contains("No unit can take it"), "{page}");
    let page = browser.send("/volumes/preview", "size=many&host=db").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(browser.station.volumes(&Caller::ADMIN).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_is_taken_back_and_asked_for_again_by_buttons() {
    let (mut browser, _) = pool().await;
    let ask = VolumeRequest {
        size: "1G".parse().unwrap(),
        host: Some("db".to_owned()),
        name: Some("data".to_owned()),
        ..VolumeRequest::default()
    };
    let job = browser.station.request_volume(&Caller::ADMIN, ask, None).await.unwrap();
    assert!(browser.get("/jobs").await.text.contains(&format!("/jobs/{job}/cancel")));
    browser.send(&format!("/jobs/{job}/cancel"), "").await;
    assert!(browser.get("/jobs").await.text.contains("The job is being taken back."));
    let cancelled = browser.station.job(&Caller::ADMIN, job).await.unwrap();
    assert!(cancelled.error.is_some() || cancelled.state == JobState::Cancelled);
    browser.send(&format!("/jobs/{job}/retry"), "").await;
    let page = browser.get("/jobs").await.text;
    let went = page.contains("asked for once more") || page.contains("wait for its end");
    assert!(went, "{page}");
    let nobodys = Uuid::nil();
    browser.send(&format!("/jobs/{nobodys}/cancel"), "").await;
    assert!(browser.get("/jobs").await.text.contains("there is no job"));
}

#[tokio::test]
async fn events_and_changes_are_found_by_time_object_actor_and_severity() {
    let (mut browser, id) = pool().await;
    browser.station.events.add("unit-down", "one", "ten ALIVE missed");
    let page = browser.get("/events?severity=error").await.text;
    assert!(page.contains("ten ALIVE missed") && !page.contains("unit-joined"), "{page}");
    let page = browser.get("/events?object=db&severity=information&from=&to=").await.text;
    assert!(page.contains("host-added") && !page.contains("unit-down"), "{page}");
    assert!(browser.get("/events?to=1971-01-01").await.text.contains("None."));
    let wrong = browser.get("/events?from=yesterday").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text.contains("is no time") && wrong.text.contains("value=\"yesterday\""));

    login_as(&mut browser, Scope::Operator).await;
    browser.send(&format!("/units/{id}/duty"), "duty=cordoned").await;
    let page = browser.get("/audit?actor=operator").await.text;
    assert!(page.contains("unit-set") && !page.contains("unit-approve"), "{page}");
    let page = browser.get("/audit?q=host-add").await.text;
    assert!(page.contains("db") && !page.contains("unit-set"), "{page}");
    assert!(browser.get("/audit?to=1971-01-01").await.text.contains("None."));
}

#[tokio::test]
async fn the_doctor_says_what_to_do() {
    let mut browser = Browser::logged_in().await;
    assert!(browser.get("/doctor").await.text.contains("Nothing to complain of."));
    browser.unit("one").await;
    let page = browser.get("/doctor").await.text;
    assert!(page.contains("unit-pending") && page.contains("outband unit approve one"), "{page}");
}

//! What has happened and who has changed what, as far as it is looked for.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use outband_pool_api::{AuditEntry, Event, Finding, Severity};

use super::{Answer, Page, shown};
use crate::console::Console;
use crate::console::session::Visitor;
use crate::console::words::time;
use crate::search::Search;

/// Rows of these pages.
const ROWS: usize = 200;

struct EventRow {
    at: String,
    kind: String,
    class: &'static str,
    subject: String,
    text: String,
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    page: Page,
    events: Vec<EventRow>,
    form: Search,
    bad: Option<String>,
}

pub(in crate::console) async fn events(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    Query(form): Query<Search>,
) -> Answer {
    let all = at.station.events_after(&visitor.who, 0)?;
    let (events, bad) = match form.understood() {
        Ok(sought) => {
            let fit = all.iter().rev().filter(|event| sought.is_event(event));
            (fit.take(ROWS).map(event_row).collect(), None)
        }
        Err(why) => (Vec::new(), Some(why)),
    };
    let page = Page::new(&at, "/events", visitor);
    shown(status(bad.as_ref()), &EventsPage { events, form, bad, page })
}

fn status(bad: Option<&String>) -> StatusCode {
    if bad.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }
}

fn event_row(event: &Event) -> EventRow {
    EventRow {
        at: time(event.at_millis / 1000),
        kind: event.kind.clone(),
        class: match event.severity {
            Severity::Information => "",
            Severity::Warning => "warn",
            Severity::Error => "bad",
        },
        subject: event.subject.clone(),
        text: event.text.clone(),
    }
}

struct EntryRow {
    at: String,
    actor: String,
    action: String,
    subject: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    page: Page,
    entries: Vec<EntryRow>,
    form: Search,
    bad: Option<String>,
}

pub(in crate::console) async fn audit(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    Query(form): Query<Search>,
) -> Answer {
    let (entries, bad) = match form.understood() {
        Ok(sought) => (at.station.search_audit(&visitor.who, &sought, ROWS).await?, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let row = |entry: AuditEntry| EntryRow {
        at: time(entry.at_millis / 1000),
        actor: entry.actor,
        action: entry.action,
        subject: entry.subject,
        reason: entry.reason.unwrap_or_default(),
    };
    let entries = entries.into_iter().map(row).collect();
    let page = Page::new(&at, "/audit", visitor);
    shown(status(bad.as_ref()), &AuditPage { entries, form, bad, page })
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct DoctorPage {
    page: Page,
    findings: Vec<Finding>,
    more: usize,
}

pub(in crate::console) async fn doctor(State(at): State<Arc<Console>>, visitor: Visitor) -> Answer {
    let mut findings = at.station.doctor(&visitor.who).await?;
    let more = findings.len().saturating_sub(ROWS);
    findings.truncate(ROWS);
    let page = Page::new(&at, "/doctor", visitor);
    shown(StatusCode::OK, &DoctorPage { findings, more, page })
}

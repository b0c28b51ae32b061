//! One unit: what it is used for, what is said of it, and the forms that change that.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use outband_pool_api::{Duty, Unit};

use super::{Answer, Link, Page, UnitRow, shown, unit_row};
use crate::console::Console;
use crate::console::session::Visitor;
use crate::console::words::time;

/// A duty, and the button that leads to it.
struct Step {
    duty: Duty,
    words: &'static str,
    what: &'static str,
}

/// In the order of how much they change.
const STEPS: [(Duty, &str, &str); 5] = [
    (Duty::Active, "Resume", "new volumes come here; a quarantine ends"),
    (Duty::Cordoned, "Cordon", "nothing new comes here"),
    (Duty::Draining, "Drain", "nothing new comes here, and what is here is to leave"),
    (Duty::Maintenance, "Maintenance", "nothing new comes here, and that it goes away is expected"),
    (Duty::Spare, "Spare", "held back until it has to replace another"),
];

#[derive(Template)]
#[template(path = "unit.html")]
struct UnitPage {
    page: Page,
    unit: UnitRow,
    path: String,
    duty: Duty,
    revision: u64,
    quarantine: Option<String>,
    labels: Vec<(String, String)>,
    must_leave: Vec<Link>,
    steps: Vec<Step>,
}

pub(in crate::console) fn unit_path(id: &str) -> String {
    format!("/units/{id}")
}

pub(in crate::console) async fn unit(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    Path(unit): Path<String>,
) -> Answer {
    let unit = at.station.unit(&visitor.who, &unit).await?;
    let volumes = at.station.volumes(&visitor.who).await?;
    let own: Vec<_> = volumes.iter().filter(|volume| volume.unit == unit.id).collect();
    let page = UnitPage {
        path: unit_path(&unit.id.to_string()),
        duty: unit.duty,
        revision: unit.revision,
        quarantine: unit.quarantined_until.map(time),
        labels: unit.labels.clone().into_iter().collect(),
        must_leave: unit.must_leave.iter().cloned().map(Link::to_volume).collect(),
        steps: steps(&unit),
        unit: unit_row(unit, &own),
        page: Page::new(&at, "/units", visitor),
    };
    shown(StatusCode::OK, &page)
}

/// Those that lead elsewhere. From a quarantine, resuming does.
fn steps(unit: &Unit) -> Vec<Step> {
    let leads_on =
        |duty| duty != unit.duty || (duty == Duty::Active && unit.quarantined_until.is_some());
    let steps = STEPS.into_iter().filter(|(duty, ..)| leads_on(*duty));
    steps.map(|(duty, words, what)| Step { duty, words, what }).collect()
}

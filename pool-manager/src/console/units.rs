//! What the forms about units do.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use outband_pool_api::{Duty, Problem, UnitChange};

use super::Console;
use super::actions::{back, confirmed};
use super::pages::unit_path;
use super::session::Sent;
use crate::problems;

pub(super) async fn approve(
    State(at): State<Arc<Console>>,
    Path(unit): Path<String>,
    sent: Sent,
) -> Response {
    let went = at.station.approve_unit(&sent.visitor.who, &unit).await;
    back(&at, &sent, "/units", went, "The unit is approved and joins the pool.")
}

pub(super) async fn forget(
    State(at): State<Arc<Console>>,
    Path(unit): Path<String>,
    sent: Sent,
) -> Response {
    let who = &sent.visitor.who;
    let went = async {
        let known = at.station.unit(who, &unit).await?;
        confirmed(&sent, &known.name)?;
        at.station.remove_unit(who, &unit).await
    };
    let went = went.await;
    back(&at, &sent, "/units", went, "The unit is forgotten.")
}

/// Resuming a unit ends a quarantine, too.
pub(super) async fn duty(
    State(at): State<Arc<Console>>,
    Path(unit): Path<String>,
    sent: Sent,
) -> Response {
    let went = async {
        let duty = duty_of(sent.text("duty"))?;
        let trust = duty == Duty::Active;
        let change = UnitChange { duty: Some(duty), trust, ..UnitChange::default() };
        at.station.change_unit(&sent.visitor.who, &unit, &change).await.map(|_| duty)
    };
    let went = went.await;
    let well = went.as_ref().map_or_else(|_| String::new(), |duty| format!("It is {duty} now."));
    back(&at, &sent, &unit_path(&unit), went, &well)
}

fn duty_of(text: &str) -> Result<Duty, Problem> {
    let all = [Duty::Active, Duty::Cordoned, Duty::Draining, Duty::Maintenance, Duty::Spare];
    let found = all.into_iter().find(|duty| duty.to_string() == text);
    found.ok_or_else(|| problems::bad_request(format!("\"{text}\" is no duty of a unit")))
}

/// Without a value the label is taken away.
pub(super) async fn label(
    State(at): State<Arc<Console>>,
    Path(unit): Path<String>,
    sent: Sent,
) -> Response {
    let labels = BTreeMap::from([(sent.text("name").to_owned(), sent.some("value"))]);
    let change = UnitChange { labels, ..UnitChange::default() };
    let went = at.station.change_unit(&sent.visitor.who, &unit, &change).await;
    back(&at, &sent, &unit_path(&unit), went, "The labels are changed.")
}

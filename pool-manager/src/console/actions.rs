//! What the pages' forms do. Each calls the application as the API does, says how it went on the
//! next page, and leads back there.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use outband_pool_api::{HostRequest, Problem, Secret, Size, VolumeRequest, WritePolicy};
use uuid::Uuid;

use super::pages::{self, Answer, Behind, Filled, volume_path};
use super::session::{NAME, Said, Sent, key_of};
use super::{Console, session};
use crate::app::Action;
use crate::problems;

pub(super) async fn login(
    State(at): State<Arc<Console>>,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Answer {
    let token = fields.get("token").map(|token| token.trim()).unwrap_or_default();
    let refused = |why: &str| pages::login_again(&at, StatusCode::FORBIDDEN, Some(why.to_owned()));
    let actor = match at.station.authenticate(token).await {
        Ok(who) if who.may(Action::SeePool) => who.actor(),
        Ok(who) => {
            let scope = who.scope;
            return refused(&format!(
                "That token is of the scope {scope}, which has no page here."
            ));
        }
        Err(_) => return refused("That token is not valid."),
    };
    let id = at.sessions.begin(&*at.station.machine, actor, Secret::new(token));
    let cookie = format!("{NAME}={}; Path=/; Secure; HttpOnly; SameSite=Strict", id.expose());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

pub(super) async fn logout(
    State(at): State<Arc<Console>>,
    headers: HeaderMap,
    sent: Result<Sent, Response>,
) -> Response {
    if let Err(response) = sent {
        return response;
    }
    key_of(&headers).into_iter().for_each(|key| at.sessions.end(&key));
    let cookie = format!("{NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// Leads to `path`, where it is said how it went.
pub(super) fn back<T>(
    at: &Console,
    sent: &Sent,
    path: &str,
    went: Result<T, Problem>,
    well: &str,
) -> Response {
    let said = match went {
        Ok(_) => Said { text: well.to_owned(), is_problem: false },
        Err(problem) => said_of(&problem),
    };
    at.sessions.say(&sent.visitor.key, said);
    Redirect::to(path).into_response()
}

fn said_of(problem: &Problem) -> Said {
    Said { text: format!("{}: {}", problem.title, problem.detail), is_problem: true }
}

/// What takes something away is confirmed by its name.
pub(super) fn confirmed(sent: &Sent, name: &str) -> Result<(), Problem> {
    if sent.text("confirm") == name {
        return Ok(());
    }
    Err(problems::bad_request(format!("type the name \"{name}\" to confirm; nothing was changed")))
}

fn size(sent: &Sent) -> Result<Size, Problem> {
    let text = sent.text("size");
    text.parse().map_err(|error| problems::bad_request(format!("size \"{text}\": {error}")))
}

/// What the form for a new volume asks for.
fn asked(sent: &Sent) -> Result<VolumeRequest, Problem> {
    Ok(VolumeRequest {
        size: size(sent)?,
        host: sent.some("host"),
        name: sent.some("name"),
        unit: sent.some("unit"),
        write_policy: match sent.text("policy") {
            "high" => WritePolicy::High,
            _ => WritePolicy::Normal,
        },
        volatile: sent.has("volatile"),
        ..VolumeRequest::default()
    })
}

fn filled(sent: &Sent) -> Filled {
    Filled {
        size: sent.text("size").to_owned(),
        host: sent.text("host").to_owned(),
        name: sent.text("name").to_owned(),
        unit: sent.text("unit").to_owned(),
        high: sent.text("policy") == "high",
        volatile: sent.has("volatile"),
        placed: None,
    }
}

pub(super) async fn create(State(at): State<Arc<Console>>, sent: Sent) -> Answer {
    let key = sent.some("key");
    let went = match asked(&sent) {
        Ok(ask) => at.station.request_volume(&sent.visitor.who, ask, key.as_deref()).await,
        Err(problem) => Err(problem),
    };
    match went {
        Ok(_) => {
            let well = "The volume is being made.";
            Ok(back(&at, &sent, "/volumes", Ok(()), well))
        }
        Err(problem) => form_again(&at, sent, &problem).await,
    }
}

/// Where the volume would go, and why. Nothing is made by that.
pub(super) async fn preview(State(at): State<Arc<Console>>, sent: Sent) -> Answer {
    let who = &sent.visitor.who;
    let went = match asked(&sent) {
        Ok(ask) => at.station.explain_placement(who, &ask).await,
        Err(problem) => Err(problem),
    };
    match went {
        Ok(placed) => {
            let form = Filled { placed: Some(placed), ..filled(&sent) };
            let (visitor, status) = (sent.visitor, StatusCode::OK);
            pages::volumes_with(&at, visitor, status, form, Behind::default()).await
        }
        Err(problem) => form_again(&at, sent, &problem).await,
    }
}

/// With what was filled in, and why it was not taken.
async fn form_again(at: &Console, sent: Sent, problem: &Problem) -> Answer {
    let status = StatusCode::from_u16(problem.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let form = filled(&sent);
    let visitor = session::Visitor { said: Some(said_of(problem)), ..sent.visitor };
    pages::volumes_with(at, visitor, status, form, Behind::default()).await
}

pub(super) async fn grow(
    State(at): State<Arc<Console>>,
    Path(volume): Path<String>,
    sent: Sent,
) -> Response {
    let went = match size(&sent) {
        Ok(size) => at.station.grow_volume(&sent.visitor.who, &volume, size).await,
        Err(problem) => Err(problem),
    };
    back(&at, &sent, &volume_path(&volume), went, "The volume is being grown.")
}

pub(super) async fn assign(
    State(at): State<Arc<Console>>,
    Path(volume): Path<String>,
    sent: Sent,
) -> Response {
    let host = sent.text("host");
    let went = at.station.assign_volume(&sent.visitor.who, &volume, host).await;
    back(&at, &sent, &volume_path(&volume), went, "The volume is being given to the host.")
}

pub(super) async fn transfer(
    State(at): State<Arc<Console>>,
    Path(volume): Path<String>,
    sent: Sent,
) -> Response {
    let went = match confirmed(&sent, &volume) {
        Ok(()) => at.station.move_volume(&sent.visitor.who, &volume, sent.text("host")).await,
        Err(problem) => Err(problem),
    };
    back(&at, &sent, &volume_path(&volume), went, "The volume goes to the other host.")
}

pub(super) async fn release(
    State(at): State<Arc<Console>>,
    Path(volume): Path<String>,
    sent: Sent,
) -> Response {
    let went = match confirmed(&sent, &volume) {
        Ok(()) => at.station.release_volume(&sent.visitor.who, &volume).await,
        Err(problem) => Err(problem),
    };
    back(&at, &sent, &volume_path(&volume), went, "The volume is being taken from its host.")
}

pub(super) async fn delete(
    State(at): State<Arc<Console>>,
    Path(volume): Path<String>,
    sent: Sent,
) -> Response {
    let went = match confirmed(&sent, &volume) {
        Ok(()) => at.station.delete_volume(&sent.visitor.who, &volume).await,
        Err(problem) => Err(problem),
    };
    let path = if went.is_ok() { "/volumes".to_owned() } else { volume_path(&volume) };
    back(&at, &sent, &path, went, "The volume is being deleted.")
}

/// The one page that a form answers with itself: credentials are shown once and kept nowhere.
pub(super) async fn add_host(State(at): State<Arc<Console>>, sent: Sent) -> Answer {
    let (name, iqn) = (sent.text("name").to_owned(), sent.text("iqn").to_owned());
    let ask = HostRequest { name, iqn, quota: None, mutual: sent.has("mutual") };
    match at.station.add_host(&sent.visitor.who, ask).await {
        Ok(new) => pages::hosts_with(&at, sent.visitor, Some(new), Behind::default()).await,
        Err(problem) => Ok(back(&at, &sent, "/hosts", Err::<(), _>(problem), "")),
    }
}

pub(super) async fn remove_host(
    State(at): State<Arc<Console>>,
    Path(host): Path<String>,
    sent: Sent,
) -> Response {
    let went = match confirmed(&sent, &host) {
        Ok(()) => at.station.remove_host(&sent.visitor.who, &host).await,
        Err(problem) => Err(problem),
    };
    back(&at, &sent, "/hosts", went, "The host is removed.")
}

pub(super) async fn cancel(
    State(at): State<Arc<Console>>,
    Path(job): Path<Uuid>,
    sent: Sent,
) -> Response {
    let went = at.station.cancel_job(&sent.visitor.who, job).await;
    back(&at, &sent, "/jobs", went, "The job is being taken back.")
}

pub(super) async fn retry(
    State(at): State<Arc<Console>>,
    Path(job): Path<Uuid>,
    sent: Sent,
) -> Response {
    let went = at.station.retry_job(&sent.visitor.who, job).await;
    back(&at, &sent, "/jobs", went, "It is asked for once more, as a new job.")
}

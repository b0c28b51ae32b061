//! Who looks at a page: a session is made of a token at the login and lives in this process alone.
//! The token is asked for at every request, so what is revoked ends here too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Form, RequestExt};
use outband_control::machine::Machine;
use outband_pool_api::Secret;

use super::Console;
use crate::app::Caller;
use crate::random;

/// `__Host-`: for this very host, by TLS alone, and for all of its paths.
pub(super) const NAME: &str = "__Host-outband";
/// A session that nobody uses ends; a page that only follows what happens does not use it.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// And any session ends some time.
const AGE_MAX: Duration = Duration::from_secs(12 * 3600);
/// One more of the same user ends the one of his that was least used of late: nobody can end the
/// sessions of others by logging in again and again.
const SESSIONS_OF_USER_MAX: usize = 16;
/// Of all users.
const SESSIONS_MAX: usize = 256;
/// Sent by the script when it brings a page up to date.
const REFRESH: &str = "x-outband-refresh";

/// Said once, on the next page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) is_problem: bool,
}

/// Under the hash of the cookie's value.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<BTreeMap<String, Session>>);

#[derive(Debug)]
struct Session {
    /// Whose it is, as the audit log has it.
    actor: String,
    token: Secret,
    csrf: Secret,
    born: Instant,
    used: Instant,
    said: Option<Said>,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.used + IDLE_MAX || now >= self.born + AGE_MAX
    }
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cookie's value of a new session.
    pub(super) fn begin(&self, machine: &dyn Machine, actor: String, token: Secret) -> Secret {
        let (now, id) = (machine.now(), random::token(machine, "obs"));
        let csrf = random::token(machine, "obc");
        let mut all = self.all();
        all.retain(|_, session| !session.is_over(now));
        make_room(&mut all, &actor);
        let session = Session { actor, token, csrf, born: now, used: now, said: None };
        all.insert(random::digest(id.expose()), session);
        id
    }

    pub(super) fn end(&self, key: &str) {
        self.all().remove(key);
    }

    pub(super) fn say(&self, key: &str, said: Said) {
        if let Some(session) = self.all().get_mut(key) {
            session.said = Some(said);
        }
    }

    /// Token, CSRF token and what is to be said of a session that is not over.
    pub(super) fn visit(
        &self,
        key: &str,
        now: Instant,
        uses: bool,
    ) -> Option<(Secret, Secret, Option<Said>)> {
        let mut all = self.all();
        let session = all.get_mut(key)?;
        if session.is_over(now) {
            all.remove(key);
            return None;
        }
        let mut said = None;
        if uses {
            session.used = now;
            said = session.said.take();
        }
        Some((session.token.clone(), session.csrf.clone(), said))
    }
}

/// For one more session of `actor`: what goes was least used of late. When all users together have too
/// many, it is one of who has the most.
fn make_room(all: &mut BTreeMap<String, Session>, actor: &str) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for session in all.values() {
        *counts.entry(&session.actor).or_default() += 1;
    }
    let own = counts.get(actor).is_some_and(|count| *count >= SESSIONS_OF_USER_MAX);
    if !own && all.len() < SESSIONS_MAX {
        return;
    }
    let most = counts.values().max().copied().unwrap_or_default();
    let gives = |session: &Session| match own {
        true => session.actor == actor,
        false => counts.get(session.actor.as_str()) == Some(&most),
    };
    let givers = all.iter().filter(|(_, session)| gives(session));
    let oldest = givers.min_by_key(|(_, session)| session.used).map(|(key, _)| key.clone());
    if let Some(key) = oldest {
        all.remove(&key);
    }
}

/// Somebody with a session.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) who: Caller,
    pub(super) key: String,
    pub(super) csrf: Secret,
    pub(super) said: Option<Said>,
}

/// There is no session (any more).
#[derive(Debug)]
pub(super) struct ToLogin;

impl IntoResponse for ToLogin {
    fn into_response(self) -> Response {
        Redirect::to("/login").into_response()
    }
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = ToLogin;

    async fn from_request_parts(parts: &mut Parts, at: &Arc<Console>) -> Result<Self, ToLogin> {
        let key = key_of(&parts.headers).ok_or(ToLogin)?;
        let uses = !parts.headers.contains_key(REFRESH) && parts.uri.path() != "/live";
        let now = at.station.machine.now();
        let (token, csrf, said) = at.sessions.visit(&key, now, uses).ok_or(ToLogin)?;
        match at.station.authenticate(token.expose()).await {
            Ok(who) => Ok(Self { who, key, csrf, said }),
            Err(_) => {
                at.sessions.end(&key);
                Err(ToLogin)
            }
        }
    }
}

/// The key of the session that the cookie names, if any does.
pub(super) fn key_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).map(str::trim);
    let value = pairs.find_map(|pair| pair.strip_prefix(NAME)?.strip_prefix('='))?;
    Some(random::digest(value))
}

/// A form that a page of this very session has shown.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) visitor: Visitor,
    fields: BTreeMap<String, String>,
}

impl Sent {
    /// Without blanks around it; empty if it is not there.
    pub(super) fn text(&self, field: &str) -> &str {
        self.fields.get(field).map(|text| text.trim()).unwrap_or_default()
    }

    pub(super) fn some(&self, field: &str) -> Option<String> {
        Some(self.text(field).to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }
}

impl FromRequest<Arc<Console>> for Sent {
    type Rejection = Response;

    async fn from_request(mut request: Request, at: &Arc<Console>) -> Result<Self, Response> {
        let visitor = request.extract_parts_with_state::<Visitor, _>(at).await;
        let mut visitor = visitor.map_err(IntoResponse::into_response)?;
        let form = Form::<BTreeMap<String, String>>::from_request(request, at).await;
        let Form(fields) = form.map_err(IntoResponse::into_response)?;
        let shown = fields.get("csrf").map(|text| random::digest(text));
        // Hashes, so that the time of the comparison tells nothing.
        if shown != Some(random::digest(visitor.csrf.expose())) {
            let text = "This form is not of your session: go back, load the page and try again.";
            return Err((StatusCode::FORBIDDEN, text).into_response());
        }
        // What the form was made of: who was faster meanwhile is not undone (`If-Match`).
        visitor.who.only_if = fields.get("revision").and_then(|text| text.parse().ok());
        Ok(Self { visitor, fields })
    }
}

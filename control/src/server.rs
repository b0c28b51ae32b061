//! The unit API served. Nothing is decided here: handlers read the request, call the [`Keeper`] and
//! answer. Before the unit is enrolled, only `/v1/enrol` answers, and that only to who knows the join
//! token; after it, only who knows the unit's own secret is served.

#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, watch};

pub(crate) use tls::{acceptor, serve, serve_plain};

use crate::access::{ANY_HOST, Grant, Redirect, Subject};
use crate::access_store::Store;
use crate::api::{
    Counts, Enrol, Fence, Fenced, GrantInfo, Inventory, PartitionCreate, PartitionInfo,
};
use crate::api::{
    RedirectInfo, SessionInfo, UnitInfo, VolumeCreate, VolumeGrow, VolumeInfo, Which, routes,
};
use crate::error::Error;
use crate::keeper::{Keeper, ended_early};
use crate::machine::SharedMachine;
use crate::secret::{JoinToken, Secret, UnitSecret};
use crate::unit::Unit;

/// The largest body: a grant with many sources has a few hundred bytes each.
const BODY_LEN_MAX: usize = 64 * 1024;
/// A request that takes longer is told to ask again; what it has begun goes on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Api<U> {
    pub(crate) keeper: Arc<Keeper<U>>,
    pub(crate) unit: Arc<U>,
    pub(crate) store: Arc<Store>,
    pub(crate) info: UnitInfo,
    pub(crate) token: JoinToken,
    /// The unit's own secret; the announcer watches it too.
    pub(crate) secret: watch::Sender<Option<UnitSecret>>,
    /// Held while enrolling, so that of two stations one is first.
    pub(crate) enrolling: Mutex<()>,
    pub(crate) machine: SharedMachine,
}

type Shared<U> = State<Arc<Api<U>>>;

pub(crate) fn router<U: Unit>(api: Arc<Api<U>>) -> Router {
    Router::new()
        .route(routes::INVENTORY, get(inventory))
        .route(routes::SESSIONS, get(sessions))
        .route(routes::COUNTS, get(counts))
        .route(routes::VOLUMES, post(create_volume))
        .route(routes::VOLUME, patch(grow_volume).delete(delete_volume))
        .route(routes::PARTITIONS, post(create_partition))
        .route(routes::PARTITION, delete(delete_partition))
        .route(routes::GRANT, put(grant).delete(revoke))
        .route(routes::REDIRECTS, get(redirects))
        .route(routes::REDIRECT, put(set_redirect).delete(clear_redirect))
        .route(routes::FENCES, post(fence))
        .route(routes::ENROL, post(enrol))
        .fallback(async || Error::NoRoute)
        .method_not_allowed_fallback(async || Error::NoMethod)
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), bounded::<U>))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), authorized::<U>))
        .with_state(api)
}

async fn bounded<U: Unit>(State(api): Shared<U>, request: Request, next: Next) -> Response {
    let answer = api.machine.timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|| Error::Unfinished.into_response())
}

/// Looks at the key before anything else of the request.
async fn authorized<U: Unit>(
    State(api): Shared<U>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let key = if request.uri().path() == routes::ENROL {
        api.token.enrol_bearer(api.info.id)
    } else {
        let secret = api.secret.borrow();
        secret.as_ref().map(UnitSecret::bearer).ok_or(Error::NotEnrolled)?
    };
    if !bears(&request, &key) {
        return Err(Error::Unauthorized);
    }
    Ok(next.run(request).await)
}

fn bears(request: &Request, key: &Secret) -> bool {
    let header = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let shown = header.and_then(|value| value.strip_prefix(b"Bearer "));
    shown.is_some_and(|shown| shown.ct_eq(key.expose().as_bytes()).into())
}

async fn inventory<U: Unit>(State(api): Shared<U>) -> Result<Json<Inventory>, Error> {
    let enrolled = api.secret.borrow().is_some();
    let info = UnitInfo { enrolled, ..api.info.clone() };
    Ok(Json(api.keeper.inventory(info).await?))
}

async fn sessions<U: Unit>(State(api): Shared<U>) -> Json<Vec<SessionInfo>> {
    Json(api.unit.sessions().await)
}

async fn counts<U: Unit>(State(api): Shared<U>) -> Json<Counts> {
    Json(api.unit.counts().await)
}

async fn create_volume<U: Unit>(
    State(api): Shared<U>,
    Body(request): Body<VolumeCreate>,
) -> Result<(StatusCode, Json<VolumeInfo>), Error> {
    Ok((StatusCode::CREATED, Json(api.keeper.create_volume(request).await?)))
}

async fn grow_volume<U: Unit>(
    State(api): Shared<U>,
    Path(volume): Path<String>,
    Body(request): Body<VolumeGrow>,
) -> Result<Json<VolumeInfo>, Error> {
    Ok(Json(api.keeper.grow_volume(Subject::whole(&volume)?, request).await?))
}

async fn delete_volume<U: Unit>(
    State(api): Shared<U>,
    Path(volume): Path<String>,
    Query(which): Query<Which>,
) -> Result<StatusCode, Error> {
    api.keeper.delete_volume(Subject::whole(&volume)?, which.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn create_partition<U: Unit>(
    State(api): Shared<U>,
    Path(volume): Path<String>,
    Body(request): Body<PartitionCreate>,
) -> Result<(StatusCode, Json<PartitionInfo>), Error> {
    let volume = Subject::whole(&volume)?;
    Ok((StatusCode::CREATED, Json(api.keeper.create_partition(volume, request).await?)))
}

async fn delete_partition<U: Unit>(
    State(api): Shared<U>,
    Path((volume, number)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let number = number.parse().map_err(|_| Error::NoRoute)?;
    api.keeper.delete_partition(Subject::part(&volume, number)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn grant<U: Unit>(
    State(api): Shared<U>,
    Path(subject): Path<String>,
    Body(grant): Body<Grant>,
) -> Result<Json<GrantInfo>, Error> {
    if grant.subject != subject.parse()? {
        return Err(Error::Request(format!("a grant on {} was put at {subject}", grant.subject)));
    }
    if grant.host == ANY_HOST || grant.host.is_empty() {
        return Err(Error::Request("a grant is for one host, by its initiator name".to_owned()));
    }
    if grant.sessions_per_portal == 0 {
        return Err(Error::Request("sessions_per_portal is at least 1".to_owned()));
    }
    Ok(Json(api.keeper.grant(grant).await?))
}

async fn revoke<U: Unit>(
    State(api): Shared<U>,
    Path(subject): Path<String>,
) -> Result<Json<Fenced>, Error> {
    Ok(Json(api.keeper.revoke(subject.parse()?).await?))
}

async fn redirects<U: Unit>(State(api): Shared<U>) -> Json<Vec<RedirectInfo>> {
    Json(api.keeper.redirects().await)
}

async fn set_redirect<U: Unit>(
    State(api): Shared<U>,
    Path(subject): Path<String>,
    Body(redirect): Body<Redirect>,
) -> Result<Json<RedirectInfo>, Error> {
    Ok(Json(api.keeper.set_redirect(subject.parse()?, redirect).await?))
}

async fn clear_redirect<U: Unit>(
    State(api): Shared<U>,
    Path(subject): Path<String>,
) -> Result<StatusCode, Error> {
    api.keeper.clear_redirect(subject.parse()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fence<U: Unit>(
    State(api): Shared<U>,
    Query(which): Query<Which>,
    Body(fence): Body<Fence>,
) -> Result<Json<Fenced>, Error> {
    Ok(Json(api.keeper.fence(fence, which.id).await?))
}

/// Takes the unit's own secret, once. The same again is answered the same: its answer was lost.
async fn enrol<U: Unit>(
    State(api): Shared<U>,
    Body(request): Body<Enrol>,
) -> Result<StatusCode, Error> {
    if request.unit != api.info.id {
        return Err(Error::Request(format!("this is unit {}, not {}", api.info.id, request.unit)));
    }
    let _first = api.enrolling.lock().await;
    let present = api.secret.borrow().clone();
    match present {
        Some(secret) if secret == request.secret => return Ok(StatusCode::NO_CONTENT),
        Some(_) => return Err(Error::Enrolled),
        None => {}
    }
    let (store, secret) = (Arc::clone(&api.store), request.secret.clone());
    let stored = api.machine.blocking(move || store.enrol(&secret)).await;
    stored.ok_or_else(ended_early)??;
    api.secret.send_replace(Some(request.secret));
    tracing::info!("enrolled: the station has given this unit a secret of its own");
    Ok(StatusCode::NO_CONTENT)
}

/// A JSON body; what is wrong with it is said in a problem body.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| {
                match rejection.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge(BODY_LEN_MAX),
                    _ => Error::Request(rejection.body_text()),
                }
            })?;
        let value = serde_json::from_slice(&bytes);
        value.map(Self).map_err(|error| Error::Request(error.to_string()))
    }
}

//! The unit API called; what the station uses. A unit is believed by the fingerprint of its
//! certificate, which came in its sealed STARTUP, and by nothing else.

mod https;
mod pin;

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::access::{Grant, Redirect, Subject};
use crate::api::{
    Counts, Enrol, Fence, Fenced, GrantInfo, Inventory, PartitionCreate, PartitionInfo, Problem,
    RedirectInfo, SessionInfo, VolumeCreate, VolumeGrow, VolumeInfo, routes,
};
use crate::secret::{JoinToken, Secret, UnitSecret};

/// One request on its way to a unit.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// What proves who asks.
    pub bearer: Secret,
    /// JSON; empty when there is none.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// JSON.
    pub body: Vec<u8>,
}

/// What carries calls to one unit and answers back: HTTPS, or the simulator.
pub trait Carrier: fmt::Debug + Send + Sync + 'static {
    /// The unit's answer.
    fn carry(&self, call: Call) -> Carried<'_>;

    /// Where the unit should be, for messages.
    fn base(&self) -> &str;
}

/// What becomes of a call.
pub type Carried<'a> = Pin<Box<dyn Future<Output = Result<Answer, CarrierError>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// No connection to that unit, or it broke.
    #[error("the connection failed")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
    /// Something answered that is not a unit of this version.
    #[error("{0}")]
    Garbled(String),
}

/// Speaks to one unit. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    carrier: Arc<dyn Carrier>,
    bearer: Secret,
}

/// Why a call has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection to that unit, or none that showed its certificate, or it broke. What was asked
    /// may have happened or not.
    #[error("the unit at {base} does not answer")]
    Unreachable {
        /// Where it should be.
        base: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The unit says no. What was asked has not happened, unless the problem says otherwise.
    #[error("the unit says: {}", .0.detail)]
    Problem(Problem),
    /// Something answered that is not a unit of this version.
    #[error("the unit's answer cannot be understood: {0}")]
    Garbled(String),
    /// The client itself could not be made.
    #[error("cannot make an HTTPS client: {0}")]
    Setup(String),
}

impl Client {
    /// For the unit whose API is at `address` and whose certificate has `fingerprint`, of which the
    /// station keeps the secret.
    ///
    /// # Errors
    /// [`ClientError::Setup`].
    pub fn new(
        address: SocketAddr,
        fingerprint: [u8; 32],
        secret: &UnitSecret,
    ) -> Result<Self, ClientError> {
        let https = https::Https::new(address, fingerprint)?;
        Ok(Self::over(Arc::new(https), secret))
    }

    /// As [`Self::new`], by a way of its own.
    #[must_use]
    pub fn over(carrier: Arc<dyn Carrier>, secret: &UnitSecret) -> Self {
        Self { carrier, bearer: secret.bearer() }
    }

    /// Gives a unit its own secret, and returns the client that uses it. May be repeated with the same
    /// secret.
    ///
    /// # Errors
    /// As any call: the problem `enrolled` says that the unit belongs to another station.
    pub async fn enrol(
        address: SocketAddr,
        fingerprint: [u8; 32],
        unit: Uuid,
        token: &JoinToken,
        secret: &UnitSecret,
    ) -> Result<Self, ClientError> {
        let https = https::Https::new(address, fingerprint)?;
        Self::enrol_over(Arc::new(https), unit, token, secret).await
    }

    /// As [`Self::enrol`], by a way of its own.
    ///
    /// # Errors
    /// As any call.
    pub async fn enrol_over(
        carrier: Arc<dyn Carrier>,
        unit: Uuid,
        token: &JoinToken,
        secret: &UnitSecret,
    ) -> Result<Self, ClientError> {
        let client = Self { carrier, bearer: token.enrol_bearer(unit) };
        let body = Enrol { unit, secret: secret.clone() };
        client.done(client.with(Method::POST, routes::ENROL, &body)).await?;
        Ok(Self { bearer: secret.bearer(), ..client })
    }

    /// Devices, volumes, free space and grants.
    ///
    /// # Errors
    /// As any call.
    pub async fn inventory(&self) -> Result<Inventory, ClientError> {
        self.fetch(self.request(Method::GET, routes::INVENTORY)).await
    }

    /// The sessions that are logged in.
    ///
    /// # Errors
    /// As any call.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, ClientError> {
        self.fetch(self.request(Method::GET, routes::SESSIONS)).await
    }

    /// What the unit has counted by now.
    ///
    /// # Errors
    /// As any call.
    pub async fn counts(&self) -> Result<Counts, ClientError> {
        self.fetch(self.request(Method::GET, routes::COUNTS)).await
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// As any call.
    pub async fn create_volume(&self, request: &VolumeCreate) -> Result<VolumeInfo, ClientError> {
        self.fetch(self.with(Method::POST, routes::VOLUMES, request)).await
    }

    /// Makes a volume larger.
    ///
    /// # Errors
    /// As any call.
    pub async fn grow_volume(
        &self,
        volume: &Subject,
        request: &VolumeGrow,
    ) -> Result<VolumeInfo, ClientError> {
        let path = routes::VOLUME.replace("{volume}", volume.volume());
        self.fetch(self.with(Method::PATCH, &path, request)).await
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// As any call.
    pub async fn delete_volume(
        &self,
        volume: &Subject,
        id: Option<Uuid>,
    ) -> Result<(), ClientError> {
        let path = routes::VOLUME.replace("{volume}", volume.volume()) + &which(id);
        self.done(self.request(Method::DELETE, &path)).await
    }

    /// Makes a partition of `volume`.
    ///
    /// # Errors
    /// As any call.
    pub async fn create_partition(
        &self,
        volume: &Subject,
        request: &PartitionCreate,
    ) -> Result<PartitionInfo, ClientError> {
        let path = routes::PARTITIONS.replace("{volume}", volume.volume());
        self.fetch(self.with(Method::POST, &path, request)).await
    }

    /// Removes partition `number` of `volume`.
    ///
    /// # Errors
    /// As any call.
    pub async fn delete_partition(&self, volume: &Subject, number: u16) -> Result<(), ClientError> {
        let path = routes::PARTITION.replace("{volume}", volume.volume());
        let path = path.replace("{number}", &number.to_string());
        self.done(self.request(Method::DELETE, &path)).await
    }

    /// Puts a grant in force. Comes back when every shard knows it.
    ///
    /// # Errors
    /// As any call; `stale-epoch` and `held` are the access table's.
    pub async fn grant(&self, grant: &Grant) -> Result<GrantInfo, ClientError> {
        self.fetch(self.with(Method::PUT, &grant_path(&grant.subject), grant)).await
    }

    /// Fences whatever grant is on `subject`.
    ///
    /// # Errors
    /// As [`Self::fence`].
    pub async fn revoke(&self, subject: &Subject) -> Result<Fenced, ClientError> {
        self.fetch(self.request(Method::DELETE, &grant_path(subject))).await
    }

    /// Ends one grant. Comes back when no write of it can land any more. With an `id`, one that comes
    /// late leaves alone whatever volume has the name by then.
    ///
    /// # Errors
    /// As any call; `unfinished` asks to call again.
    pub async fn fence(&self, fence: &Fence, id: Option<Uuid>) -> Result<Fenced, ClientError> {
        let path = routes::FENCES.to_owned() + &which(id);
        self.fetch(self.with(Method::POST, &path, fence)).await
    }

    /// All redirects.
    ///
    /// # Errors
    /// As any call.
    pub async fn redirects(&self) -> Result<Vec<RedirectInfo>, ClientError> {
        self.fetch(self.request(Method::GET, routes::REDIRECTS)).await
    }

    /// Sends hosts with a grant on `subject` elsewhere from now on.
    ///
    /// # Errors
    /// As any call.
    pub async fn set_redirect(
        &self,
        subject: &Subject,
        redirect: &Redirect,
    ) -> Result<RedirectInfo, ClientError> {
        self.fetch(self.with(Method::PUT, &redirect_path(subject), redirect)).await
    }

    /// Serves those hosts here again.
    ///
    /// # Errors
    /// As any call.
    pub async fn clear_redirect(&self, subject: &Subject) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &redirect_path(subject))).await
    }

    fn request(&self, method: Method, path: &str) -> Call {
        let (path, bearer) = (path.to_owned(), self.bearer.clone());
        Call { method, path, bearer, body: Vec::new() }
    }

    fn with(&self, method: Method, path: &str, body: &impl Serialize) -> Call {
        let body = serde_json::to_vec(body).expect("requests are texts and numbers");
        Call { body, ..self.request(method, path) }
    }

    async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let body = self.call(call).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    async fn done(&self, call: Call) -> Result<(), ClientError> {
        self.call(call).await.map(drop)
    }

    /// The body of a good answer; any other is an error.
    async fn call(&self, call: Call) -> Result<Vec<u8>, ClientError> {
        let Answer { status, body } =
            self.carrier.carry(call).await.map_err(|error| self.failure(error))?;
        if status.is_success() {
            return Ok(body);
        }
        let problem = serde_json::from_slice(&body);
        Err(problem.map_or_else(|_| ClientError::Garbled(status.to_string()), ClientError::Problem))
    }

    fn failure(&self, error: CarrierError) -> ClientError {
        match error {
            CarrierError::Broken(source) => {
                ClientError::Unreachable { base: self.carrier.base().to_owned(), source }
            }
            CarrierError::Garbled(why) => ClientError::Garbled(why),
        }
    }
}

/// The query that names the volume that is meant.
fn which(id: Option<Uuid>) -> String {
    id.map(|id| format!("?id={id}")).unwrap_or_default()
}

fn grant_path(subject: &Subject) -> String {
    routes::GRANT.replace("{subject}", &subject.to_string())
}

fn redirect_path(subject: &Subject) -> String {
    routes::REDIRECT.replace("{subject}", &subject.to_string())
}

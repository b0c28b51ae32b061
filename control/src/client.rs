//! The unit API called; what the station uses. A unit is believed by the fingerprint of its
//! certificate, which came in its sealed STARTUP, and by nothing else.

mod pin;

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::access::{Grant, Subject};
use crate::api::{
    Enrol, Fence, Fenced, GrantInfo, Inventory, PartitionCreate, PartitionInfo, Problem,
    SessionInfo, VolumeCreate, VolumeGrow, VolumeInfo, routes,
};
use crate::secret::{JoinToken, Secret, UnitSecret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than a unit takes to say that it has not finished.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// The largest answer: an inventory of thousands of volumes.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;

/// Speaks to one unit. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
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
        source: reqwest::Error,
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
        Self::bearing(address, fingerprint, secret.bearer())
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
        let client = Self::bearing(address, fingerprint, token.enrol_bearer(unit))?;
        let body = Enrol { unit, secret: secret.clone() };
        client.done(client.with(Method::POST, routes::ENROL, &body)).await?;
        Ok(Self { bearer: secret.bearer(), ..client })
    }

    fn bearing(
        address: SocketAddr,
        fingerprint: [u8; 32],
        bearer: Secret,
    ) -> Result<Self, ClientError> {
        let tls =
            pin::config(fingerprint).map_err(|error| ClientError::Setup(error.to_string()))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| ClientError::Setup(error.to_string()))?;
        Ok(Self { http, base: format!("https://{address}"), bearer })
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
    pub async fn delete_volume(&self, volume: &Subject) -> Result<(), ClientError> {
        let path = routes::VOLUME.replace("{volume}", volume.volume());
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

    /// Ends one grant. Comes back when no write of it can land any more.
    ///
    /// # Errors
    /// As any call; `unfinished` asks to call again.
    pub async fn fence(&self, fence: &Fence) -> Result<Fenced, ClientError> {
        self.fetch(self.with(Method::POST, routes::FENCES, fence)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.bearer.expose())
    }

    fn with(&self, method: Method, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.request(method, path).json(body)
    }

    async fn fetch<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.call(request).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    async fn done(&self, request: RequestBuilder) -> Result<(), ClientError> {
        self.call(request).await.map(drop)
    }

    /// The body of a good answer; any other is an error.
    async fn call(&self, request: RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { base: self.base.clone(), source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = self.body(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        let problem = serde_json::from_slice(&body);
        Err(problem.map_or_else(|_| ClientError::Garbled(status.to_string()), ClientError::Problem))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { base: self.base.clone(), source };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER_LEN_MAX {
                return Err(ClientError::Garbled(format!("more than {ANSWER_LEN_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn grant_path(subject: &Subject) -> String {
    routes::GRANT.replace("{subject}", &subject.to_string())
}

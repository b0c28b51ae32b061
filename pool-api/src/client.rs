//! A small client of the station: one method per route, and waiting for jobs.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    AssignRequest, AuditEntry, Confirm, DEADLINE, Error, Event, Finding, GrowRequest, Host,
    HostChange, HostRequest, IDEMPOTENCY_KEY, Job, JobState, JoinToken, JoinTokenRequest,
    LogFilter, MoveHostRequest, NewHost, NewToken, PREFIX, Placed, PoolStatus, Problem, REASON,
    Rates, Secret, Service, Size, TakeoverRequest, Token, TokenRequest, Trust, Unit, UnitChange,
    Volume, VolumeRequest, encoded,
};

/// How long the station itself holds a request before it answers with a running job.
const STATION_WAIT: Duration = Duration::from_secs(20);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries of one request.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Speaks to one station as one principal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Secret,
    reason: Option<String>,
    deadline: Option<Duration>,
}

/// Whether a call that starts a job comes back at once or with its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    No,
    AtMost(Duration),
}

impl Client {
    /// `url` is the station's, such as `https://station.example:7443`.
    pub fn new(url: &str, token: Secret, trust: &Trust) -> Result<Self, Error> {
        if !url.starts_with("https://") {
            return Err(Error::Setup(format!("the station's URL must be https://…, not {url}")));
        }
        let tls = trust.tls_config().map_err(Error::Setup)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| Error::Setup(format!("cannot make an HTTPS client: {error}")))?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            token,
            reason: None,
            deadline: None,
        })
    }

    /// The same, with words for the jobs and the audit log on why things are changed.
    #[must_use]
    pub fn because(mut self, reason: Option<&str>) -> Self {
        self.reason = reason.map(str::to_owned);
        self
    }

    /// The same, for changes that are taken back if they are not done so soon.
    #[must_use]
    pub fn within(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn pool(&self) -> Result<PoolStatus, Error> {
        self.fetch(self.to(Method::GET, "/pool")).await
    }

    /// What in the pool is not as it should be.
    pub async fn doctor(&self) -> Result<Vec<Finding>, Error> {
        self.fetch(self.to(Method::GET, "/doctor")).await
    }

    /// All that the station keeps, secrets too, as of one moment.
    pub async fn backup(&self) -> Result<String, Error> {
        let response = self.send(self.to(Method::GET, "/backup")).await?;
        response.text().await.map_err(|error| Error::Unexpected(error.to_string()))
    }

    pub async fn join_token(&self) -> Result<JoinToken, Error> {
        self.fetch(self.to(Method::GET, "/pool/join-token")).await
    }

    /// Makes a new join token; the one before is void from now on. Units that joined stay.
    pub async fn new_join_token(&self, valid: Option<Duration>) -> Result<JoinToken, Error> {
        let body = JoinTokenRequest { valid_seconds: valid.map(|valid| valid.as_secs()) };
        self.fetch(self.to(Method::POST, "/pool/join-token").json(&body)).await
    }

    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        self.fetch(self.to(Method::GET, "/units")).await
    }

    /// By name or id.
    pub async fn unit(&self, unit: &str) -> Result<Unit, Error> {
        self.fetch(self.to(Method::GET, &format!("/units/{}", encoded(unit)))).await
    }

    pub async fn approve_unit(&self, unit: &str) -> Result<Unit, Error> {
        self.fetch(self.to(Method::POST, &format!("/units/{}/approve", encoded(unit)))).await
    }

    /// Forgets a unit that holds no volume of the pool.
    pub async fn remove_unit(&self, unit: &str) -> Result<(), Error> {
        self.send(self.to(Method::DELETE, &format!("/units/{}", encoded(unit)))).await.map(drop)
    }

    pub async fn change_unit(&self, unit: &str, change: &UnitChange) -> Result<Unit, Error> {
        let path = format!("/units/{}", encoded(unit));
        self.fetch(self.to(Method::PATCH, &path).json(change)).await
    }

    /// Forgets a unit that does not answer, with the records of its volumes; nothing is erased.
    /// `name` is the unit's, once more.
    pub async fn forget_unit(&self, unit: &str, name: &str) -> Result<(), Error> {
        let path = format!("/units/{}/forget", encoded(unit));
        let body = Confirm { confirm: name.to_owned() };
        self.send(self.to(Method::POST, &path).json(&body)).await.map(drop)
    }

    pub async fn hosts(&self) -> Result<Vec<Host>, Error> {
        self.fetch(self.to(Method::GET, "/hosts")).await
    }

    pub async fn host(&self, name: &str) -> Result<Host, Error> {
        self.fetch(self.to(Method::GET, &format!("/hosts/{}", encoded(name)))).await
    }

    pub async fn add_host(&self, name: &str, iqn: &str) -> Result<NewHost, Error> {
        let body =
            HostRequest { name: name.to_owned(), iqn: iqn.to_owned(), quota: None, mutual: false };
        self.register_host(&body).await
    }

    pub async fn register_host(&self, host: &HostRequest) -> Result<NewHost, Error> {
        self.fetch(self.to(Method::POST, "/hosts").json(host)).await
    }

    pub async fn change_host(&self, name: &str, change: &HostChange) -> Result<Host, Error> {
        let path = format!("/hosts/{}", encoded(name));
        self.fetch(self.to(Method::PATCH, &path).json(change)).await
    }

    /// Fences a failed host and gives all its volumes to another.
    pub async fn take_over(&self, failed: &str, spare: &str, wait: Wait) -> Result<Job, Error> {
        let path = format!("/hosts/{}/takeover", encoded(failed));
        let body = TakeoverRequest { spare: spare.to_owned() };
        self.start(self.to(Method::POST, &path).json(&body), wait).await
    }

    /// Lets a host that was taken over have volumes again.
    pub async fn resume_host(&self, name: &str) -> Result<Host, Error> {
        self.fetch(self.to(Method::POST, &format!("/hosts/{}/resume", encoded(name)))).await
    }

    pub async fn remove_host(&self, name: &str) -> Result<(), Error> {
        self.send(self.to(Method::DELETE, &format!("/hosts/{}", encoded(name)))).await.map(drop)
    }

    pub async fn volumes(&self) -> Result<Vec<Volume>, Error> {
        self.fetch(self.to(Method::GET, "/volumes")).await
    }

    pub async fn volume(&self, name: &str) -> Result<Volume, Error> {
        self.fetch(self.to(Method::GET, &volume_path(name))).await
    }

    /// Asks for a volume. The same `key` always leads to the same job, however often it is sent: so one
    /// whose answer is lost is sent again, for as long as `wait` says.
    pub async fn request_volume(
        &self,
        request: &VolumeRequest,
        key: &str,
        wait: Wait,
    ) -> Result<Job, Error> {
        let builder =
            || self.to(Method::POST, "/volumes").header(IDEMPOTENCY_KEY, key).json(request);
        let Wait::AtMost(at_most) = wait else {
            return self.start(builder(), wait).await;
        };
        let deadline = Instant::now() + at_most;
        let mut pause = PAUSE_FIRST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.start(builder(), Wait::AtMost(left)).await {
                Err(error) if error.is_unanswered() && Instant::now() + pause < deadline => {}
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Where a volume would be placed now, and why not elsewhere.
    pub async fn place(&self, request: &VolumeRequest) -> Result<Placed, Error> {
        self.fetch(self.to(Method::POST, "/placements").json(request)).await
    }

    /// Takes up a volume that no record claims, as its unit reports it.
    pub async fn adopt_volume(&self, name: &str) -> Result<Volume, Error> {
        self.fetch(self.to(Method::POST, &format!("{}/adopt", volume_path(name)))).await
    }

    /// Forgets a volume whose unit does not answer or does not report it; nothing is erased.
    pub async fn forget_volume(&self, name: &str) -> Result<(), Error> {
        let body = Confirm { confirm: name.to_owned() };
        let path = format!("{}/forget", volume_path(name));
        self.send(self.to(Method::POST, &path).json(&body)).await.map(drop)
    }

    pub async fn grow_volume(&self, name: &str, size: Size, wait: Wait) -> Result<Job, Error> {
        let path = format!("{}/grow", volume_path(name));
        self.start(self.to(Method::POST, &path).json(&GrowRequest { size }), wait).await
    }

    /// Takes the volume from its host; it stays, with its data, and nobody may use it.
    pub async fn release_volume(&self, name: &str, wait: Wait) -> Result<Job, Error> {
        self.start(self.to(Method::POST, &format!("{}/release", volume_path(name))), wait).await
    }

    /// Gives a free volume to a host, with the data it holds.
    pub async fn assign_volume(&self, name: &str, host: &str, wait: Wait) -> Result<Job, Error> {
        let path = format!("{}/assign", volume_path(name));
        let body = AssignRequest { host: host.to_owned() };
        self.start(self.to(Method::POST, &path).json(&body), wait).await
    }

    /// Gives the volume to another host. The one that has it is fenced first.
    pub async fn move_volume(&self, name: &str, host: &str, wait: Wait) -> Result<Job, Error> {
        let path = format!("{}/move-host", volume_path(name));
        let body = MoveHostRequest { host: host.to_owned() };
        self.start(self.to(Method::POST, &path).json(&body), wait).await
    }

    /// Takes the volume from its host and erases it.
    pub async fn delete_volume(&self, name: &str, wait: Wait) -> Result<Job, Error> {
        self.start(self.to(Method::DELETE, &volume_path(name)), wait).await
    }

    /// How fast volumes and sessions are right now. The first answer takes about a second.
    pub async fn rates(&self) -> Result<Rates, Error> {
        self.fetch(self.to(Method::GET, "/rates")).await
    }

    /// As [`Self::rates`], of one volume, with how long its commands took since it is served.
    pub async fn volume_rates(&self, name: &str) -> Result<Rates, Error> {
        self.fetch(self.to(Method::GET, &format!("{}/rates", volume_path(name)))).await
    }

    /// The programs that make up the pool.
    pub async fn services(&self) -> Result<Vec<Service>, Error> {
        self.fetch(self.to(Method::GET, "/services")).await
    }

    /// Has the station's log say what `filter` lets through, until the station starts anew.
    pub async fn set_log(&self, filter: &str) -> Result<(), Error> {
        let body = LogFilter { filter: filter.to_owned() };
        self.send(self.to(Method::PUT, "/log").json(&body)).await.map(drop)
    }

    pub async fn jobs(&self) -> Result<Vec<Job>, Error> {
        self.fetch(self.to(Method::GET, "/jobs")).await
    }

    pub async fn job(&self, id: Uuid) -> Result<Job, Error> {
        self.fetch(self.to(Method::GET, &format!("/jobs/{id}"))).await
    }

    /// Has a running job taken back. It goes on until all is as it was, and ends as cancelled.
    pub async fn cancel_job(&self, id: Uuid, wait: Wait) -> Result<Job, Error> {
        let request = self.to(Method::POST, &format!("/jobs/{id}/cancel"));
        match self.start(request, wait).await {
            // That it is cancelled is what was asked for.
            Err(Error::JobFailed { job, .. }) => self.job(job).await,
            done => done,
        }
    }

    /// Asks once more for what a job that failed or was cancelled was to bring about.
    pub async fn retry_job(&self, id: Uuid, wait: Wait) -> Result<Job, Error> {
        self.start(self.to(Method::POST, &format!("/jobs/{id}/retry")), wait).await
    }

    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        self.fetch(self.to(Method::GET, "/tokens")).await
    }

    pub async fn new_token(&self, token: &TokenRequest) -> Result<NewToken, Error> {
        self.fetch(self.to(Method::POST, "/tokens").json(token)).await
    }

    /// The token is void from then on.
    pub async fn revoke_token(&self, name: &str) -> Result<(), Error> {
        let path = format!("/tokens/{}", encoded(name));
        self.send(self.to(Method::DELETE, &path)).await.map(drop)
    }

    /// Entries of the audit log after number `after`, at most `limit`; without `after` the newest.
    pub async fn audit(&self, after: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        self.fetch(self.to(Method::GET, &format!("/audit?limit={limit}{after}"))).await
    }

    /// Events after number `after` (0: all that are remembered).
    pub async fn events(&self, after: u64) -> Result<Vec<Event>, Error> {
        self.fetch(self.to(Method::GET, &format!("/events?after={after}"))).await
    }

    /// Waits for a job's end, over a restart of the station too.
    pub async fn wait_for(&self, id: Uuid, at_most: Duration) -> Result<Job, Error> {
        let deadline = Instant::now() + at_most;
        let mut pause = PAUSE_FIRST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let request = self.to(Method::GET, &format!("/jobs/{id}"));
            match self.fetch::<Job>(prefer(request, left)).await {
                Ok(job) if job.state != JobState::Running => return finished(job),
                Ok(job) if left.is_zero() => return Err(still_running(job)),
                Err(error) if left.is_zero() || !error.is_retryable() => return Err(error),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn start(&self, request: RequestBuilder, wait: Wait) -> Result<Job, Error> {
        match wait {
            Wait::No => self.fetch(request).await,
            Wait::AtMost(at_most) => {
                let deadline = Instant::now() + at_most;
                let job: Job = self.fetch(prefer(request, at_most)).await?;
                if job.state != JobState::Running {
                    return finished(job);
                }
                self.wait_for(job.id, deadline.saturating_duration_since(Instant::now())).await
            }
        }
    }

    fn to(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{PREFIX}{path}", self.url);
        let changes = method != Method::GET;
        let mut request = self.http.request(method, url).bearer_auth(self.token.expose());
        if let Some(reason) = self.reason.as_ref().filter(|_| changes) {
            request = request.header(REASON, reason.as_bytes());
        }
        if let Some(deadline) = self.deadline.filter(|_| changes) {
            request = request.header(DEADLINE, deadline.as_secs().to_string());
        }
        request
    }

    async fn fetch<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let response = self.send(request).await?;
        response.json().await.map_err(|error| Error::Unexpected(error.to_string()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.classify(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.classify(error))?;
        Err(refusal(status, &body))
    }

    fn classify(&self, source: reqwest::Error) -> Error {
        let url = self.url.clone();
        match is_about_the_certificate(&source) {
            true => Error::Untrusted { url, source },
            false => Error::Unreachable { url, source },
        }
    }
}

/// Searches the causes. An I/O error hides what it wraps from `source`.
fn is_about_the_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match (wrapped, error.source()) {
        (Some(wrapped), _) => is_about_the_certificate(wrapped),
        (None, Some(source)) => is_about_the_certificate(source),
        (None, None) => false,
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Error::from_problem(problem),
        Err(_) => Error::Unexpected(format!("status {status} without a problem body")),
    }
}

fn finished(job: Job) -> Result<Job, Error> {
    match (job.state, job.error) {
        (JobState::Failed | JobState::Cancelled, Some(problem)) => {
            Err(Error::JobFailed { job: job.id, problem: Box::new(problem) })
        }
        (_, error) => Ok(Job { error, ..job }),
    }
}

fn still_running(job: Job) -> Error {
    let reason = job.error.map(|problem| problem.detail);
    Error::StillRunning { job: job.id, volume: job.volume, reason }
}

/// RFC 7240 `Prefer: wait=seconds`.
fn prefer(request: RequestBuilder, wait: Duration) -> RequestBuilder {
    match wait.min(STATION_WAIT).as_secs() {
        0 => request,
        seconds => request.header("prefer", format!("wait={seconds}")),
    }
}

fn volume_path(name: &str) -> String {
    format!("/volumes/{}", encoded(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_refused() {
        let made = Client::new("http://station", Secret::new("t"), &Trust::Fingerprint([0; 32]));
        assert!(matches!(made, Err(Error::Setup(_))));
    }
}

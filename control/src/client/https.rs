//! Calls over HTTPS, to a unit whose certificate is pinned.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::header;
use reqwest::Response;

use super::{Answer, Call, Carried, Carrier, CarrierError, ClientError, pin};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than a unit takes to say that it has not finished.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// The largest answer: an inventory of thousands of volumes.
const ANSWER_LEN_MAX: usize = 64 * 1024 * 1024;

/// The way to one unit.
#[derive(Debug)]
pub(super) struct Https {
    http: reqwest::Client,
    base: String,
}

impl Https {
    pub(super) fn new(address: SocketAddr, fingerprint: [u8; 32]) -> Result<Self, ClientError> {
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
        Ok(Self { http, base: format!("https://{address}") })
    }

    async fn call(&self, call: Call) -> Result<Answer, CarrierError> {
        let url = format!("{}{}", self.base, call.path);
        let mut request = self.http.request(call.method, url).bearer_auth(call.bearer.expose());
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json").body(call.body);
        }
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        Ok(Answer { status, body: body(response).await? })
    }
}

impl Carrier for Https {
    fn carry(&self, call: Call) -> Carried<'_> {
        Box::pin(self.call(call))
    }

    fn base(&self) -> &str {
        &self.base
    }
}

fn broken(error: reqwest::Error) -> CarrierError {
    CarrierError::Broken(error.into())
}

async fn body(mut response: Response) -> Result<Vec<u8>, CarrierError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > ANSWER_LEN_MAX {
            return Err(CarrierError::Garbled(format!("more than {ANSWER_LEN_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

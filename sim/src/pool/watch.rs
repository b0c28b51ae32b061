//! What is seen of the control plane from outside: every message, and what units and users say. The
//! world reads it after each step; secrets are looked for in all of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outband_control::access::Grant;
use outband_control::api::{Fence, routes};
use outband_control::client::{Answer, Call};
use outband_pool_api::Volume;
use uuid::Uuid;

/// Something that the world must know.
#[derive(Clone, Debug)]
pub enum News {
    /// For the trace.
    Note(String),
    /// What may not be.
    Wrong(String),
    /// A unit gives its shards these grants: subject, host, epoch.
    Publishing { unit: usize, grants: Vec<(String, String, u64)> },
    /// A unit has a volume; `cached` if its writes are acknowledged from the write cache.
    Made { unit: usize, id: Uuid, name: String, cached: bool },
    /// A unit's shards have nothing under way any more of a grant.
    Drained { unit: usize, fence: Fence },
    /// A unit has acknowledged a fence.
    Fenced { unit: usize, fence: Fence },
    /// A user has learnt that a host may use a volume.
    Granted(Box<Volume>),
    /// A unit's process has nothing left to do.
    Stopped { unit: usize },
}

/// Where a secret may be seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Nowhere.
    Nowhere,
    /// In a grant to this host.
    GrantTo(String),
    /// Where a unit is enrolled.
    Enrolment,
}

#[derive(Debug, Default)]
struct State {
    news: Vec<News>,
    /// Text of a secret, what it is, and where it may be.
    secrets: BTreeMap<String, (String, Place)>,
}

/// Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<State>>);

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has happened.
    pub fn tell(&self, news: News) {
        self.state().news.push(news);
    }

    /// The same for the trace.
    pub fn note(&self, what: String) {
        self.tell(News::Note(what));
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<News> {
        std::mem::take(&mut self.state().news)
    }

    /// A secret that must not be seen but at its place.
    pub fn keep_secret(&self, text: &str, what: &str, place: Place) {
        self.state().secrets.insert(text.to_owned(), (what.to_owned(), place));
    }

    fn look(&self, text: &str, raw: &[u8], place: &Place, at: &str) {
        let mut state = self.state();
        let mut wrong = Vec::new();
        for (secret, (what, allowed)) in &state.secrets {
            let bytes = unhex(secret);
            let seen = text.contains(secret.as_str())
                || !bytes.is_empty() && raw.windows(bytes.len()).any(|window| window == bytes);
            if seen && (allowed != place || *place == Place::Nowhere) {
                wrong.push(News::Wrong(format!("{what} is seen in {at}")));
            }
        }
        state.news.extend(wrong);
    }

    /// Anything that is shown to anybody.
    pub fn shown(&self, text: &str, at: &str) {
        self.look(text, &[], &Place::Nowhere, at);
    }

    /// A datagram goes out.
    pub fn letter(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.note(format!("{from} sends {} bytes to {to}", bytes.len()));
        self.look(&String::from_utf8_lossy(bytes), bytes, &Place::Nowhere, "a datagram");
    }

    /// A call goes out.
    pub fn call(&self, to: SocketAddr, call: &Call) {
        let body = String::from_utf8_lossy(&call.body);
        let grant: Option<Grant> = serde_json::from_slice(&call.body).ok();
        let place = match grant {
            Some(grant) => Place::GrantTo(grant.host),
            None if call.path == routes::ENROL => Place::Enrolment,
            None => Place::Nowhere,
        };
        let about: serde_json::Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let epoch = about.get("epoch").map(ToString::to_string).unwrap_or_default();
        if call.path == routes::ENROL
            && let Some(secret) = about.get("secret").and_then(serde_json::Value::as_str)
        {
            self.keep_secret(secret, "a unit's secret", Place::Enrolment);
        }
        self.note(format!("{} {} to {to} {epoch}", call.method, call.path));
        let at = format!("{} {}", call.method, call.path);
        self.look(&body, &[], &place, &at);
        self.look(&call.path, &[], &Place::Nowhere, &at);
        self.look(call.bearer.expose(), &[], &Place::Nowhere, "a bearer");
        self.look(&format!("{:?}", call.bearer), &[], &Place::Nowhere, "a debug text");
    }

    /// Its answer arrives.
    pub fn answer(&self, to: SocketAddr, call: &Call, answer: &Answer) {
        let Answer { status, body } = answer;
        self.note(format!("{} {} to {to}: {status}", call.method, call.path));
        let body = String::from_utf8_lossy(body);
        self.look(&body, &[], &Place::Nowhere, &format!("the answer to {}", call.path));
    }
}

/// Bytes of a secret that is written in hexadecimal; else none.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let digits: Option<Vec<u32>> = text.as_bytes().iter().map(digit).collect();
    let pairs = digits.filter(|digits| digits.len() == 64).unwrap_or_default();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits");
    pairs.chunks_exact(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_out_of_its_place_is_seen() {
        let watch = Watch::default();
        watch.keep_secret(&"ab".repeat(32), "the secret of a unit", Place::Enrolment);
        watch.keep_secret("topsecret", "a token", Place::Nowhere);
        watch.shown("nothing here", "a test");
        let address = "10.0.0.1:1".parse().unwrap();
        watch.letter(address, address, &[0xab; 40]);
        watch.shown("this is topsecret.", "a test");
        let wrong = |news: &&News| matches!(news, News::Wrong(_));
        assert_eq!(watch.take().iter().filter(wrong).count(), 2);
    }
}

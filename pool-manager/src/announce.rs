//! Announcements in: which key a datagram must be sealed by, whether it is a replay, what it
//! changes, and what is answered. The socket is `receive`'s; `Desk::handle` has none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outband_control::secret::{JoinToken, UnitSecret};
use outband_pool_api::Load;
use outband_protocol::announce::{
    DATAGRAM_LEN_MAX, Datagram, Envelope, Key, KeyId, Message, Refusal, Seen, Startup,
};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use uuid::Uuid;

use crate::app::{Heard, Station};
use crate::http::serve::stopped;
use crate::records::{JOIN_TOKEN, JoinTokenRecord, UnitRecord, load, unit_key};
use crate::store::StoreError;

/// Receives until `stop` turns true.
pub async fn receive(station: Arc<Station>, socket: UdpSocket, mut stop: watch::Receiver<bool>) {
    let mut desk = Desk::new(station);
    let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
    loop {
        let received = tokio::select! {
            () = stopped(&mut stop) => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                // An ICMP answer to one of ours, most likely.
                tracing::debug!(%error, "receiving announcements");
                continue;
            }
        };
        let now = desk.station.machine.now();
        match desk.handle(&buffer[..length], from, now).await {
            Ok(Some(answer)) => {
                if let Err(error) = socket.send_to(&answer, from).await {
                    tracing::debug!(%error, %from, "answering an announcement");
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
            }
        }
    }
}

/// What the station remembers of datagrams.
#[derive(Debug)]
pub struct Desk {
    station: Arc<Station>,
    seen: BTreeMap<Uuid, Seen>,
    refused: Throttle,
}

impl Desk {
    pub fn new(station: Arc<Station>) -> Self {
        Self { station, seen: BTreeMap::new(), refused: Throttle::default() }
    }

    /// The answer, if there is one to give.
    pub async fn handle(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let envelope = match Envelope::parse(bytes) {
            Ok(envelope) if envelope.key() != KeyId::None => envelope,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::debug!(%from, %error, "not an announcement");
                return Ok(None);
            }
        };
        let id = Uuid::from_bytes(envelope.unit());
        let unit = load::<UnitRecord>(&self.station.store, &unit_key(id)).await?;
        let unit = unit.map(|stored| stored.record);
        let opened = match self.key_of(&envelope, unit.as_ref()).await? {
            Ok(key) => envelope.open(&key).map(|datagram| (datagram, key)).map_err(|_| {
                match envelope.key() {
                    KeyId::Unit => Refusal::WrongSecret,
                    KeyId::None | KeyId::JoinToken => Refusal::WrongToken,
                }
            }),
            Err(refusal) => Err(refusal),
        };
        match opened {
            Ok((datagram, key)) => self.take(&datagram, unit, &key, from, now).await,
            Err(refusal) => {
                self.tell_refused(id, refusal, from, now);
                Ok(Some(envelope.refuse(refusal)))
            }
        }
    }

    /// The one key this unit's datagrams may be sealed by. The join token speaks for a unit only
    /// until that has its own secret: whoever has the token cannot speak for another's unit.
    async fn key_of(
        &self,
        envelope: &Envelope<'_>,
        unit: Option<&UnitRecord>,
    ) -> Result<Result<Key, Refusal>, StoreError> {
        let secret = unit.and_then(|unit| unit.secret.as_ref());
        if envelope.key() == KeyId::Unit {
            let secret = secret.and_then(|hex| UnitSecret::try_from(hex.expose().to_owned()).ok());
            return Ok(secret.map(|secret| secret.seal_key()).ok_or(Refusal::UnknownUnit));
        }
        if unit.is_some_and(|unit| unit.enrolled) {
            return Ok(Err(Refusal::WrongSecret));
        }
        let token = load::<JoinTokenRecord>(&self.station.store, JOIN_TOKEN).await?;
        let Some(token) = token.map(|stored| stored.record) else {
            return Ok(Err(Refusal::WrongToken));
        };
        let key = JoinToken::new(token.token.expose()).seal_key();
        // Only to who knows it is it told that the token has expired.
        let expired = token.expires.is_some_and(|expires| self.station.seconds() >= expires);
        if expired && envelope.open(&key).is_ok() {
            return Ok(Err(Refusal::ExpiredToken));
        }
        Ok(Ok(key))
    }

    async fn take(
        &mut self,
        datagram: &Datagram,
        unit: Option<UnitRecord>,
        key: &Key,
        from: SocketAddr,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let id = Uuid::from_bytes(datagram.unit);
        let stored = unit.as_ref().map_or(0, |unit| unit.incarnation);
        let seen = self.seen.entry(id).or_insert_with(|| Seen::of_incarnation(stored));
        if !seen.take(datagram) {
            tracing::debug!(%from, unit = %id, "a replayed announcement is not taken");
            return Ok(None);
        }
        if key.id() == KeyId::Unit && unit.as_ref().is_some_and(|unit| !unit.enrolled) {
            // It has its secret; only its answer was lost.
            self.station.handle_enrolled(id).await?;
        }
        let current = unit.filter(|unit| unit.incarnation == datagram.incarnation && !unit.left);
        let answer = match (&datagram.message, current) {
            (Message::Startup(startup), _) => {
                Some(self.on_startup(id, startup, datagram, from, now).await?)
            }
            (Message::Alive(load), Some(_)) => {
                self.on_alive(id, *load, now);
                None
            }
            (Message::Alive(_), None) => Some(Message::AnnounceAgain),
            (Message::Shutdown, Some(_)) => {
                self.station.handle_shutdown(id, now).await?;
                None
            }
            _ => None,
        };
        let answer = answer.and_then(|message| datagram.answer(message).build(Some(key)).ok());
        Ok(answer)
    }

    async fn on_startup(
        &self,
        id: Uuid,
        startup: &Startup,
        datagram: &Datagram,
        from: SocketAddr,
        now: Instant,
    ) -> Result<Message, StoreError> {
        let heard = Heard {
            id,
            name: startup.name.clone(),
            portals: startup.portals.clone(),
            api: reachable(startup.api, from),
            fingerprint: startup.fingerprint,
            version: startup.version.clone(),
            incarnation: datagram.incarnation,
        };
        Ok(match self.station.handle_startup(&heard, now).await? {
            true => Message::NeedInfo,
            false => Message::Pending,
        })
    }

    fn on_alive(&self, id: Uuid, load: outband_protocol::announce::Load, now: Instant) {
        let operations = load.reads_per_second.saturating_add(load.writes_per_second);
        let bytes = load.read_bytes_per_second.saturating_add(load.written_bytes_per_second);
        self.station.live.change(id, |unit| {
            unit.pulse.handle_heard(now);
            unit.load = Some(Load {
                sessions: load.sessions,
                iops: u64::from(operations),
                bytes_per_second: bytes,
            });
        });
    }

    fn tell_refused(&mut self, id: Uuid, refusal: Refusal, from: SocketAddr, now: Instant) {
        if let Some(untold) = self.refused.admit(now) {
            tracing::warn!(unit = %id, %from, untold, "an announcement is refused: {refusal}");
        }
    }
}

/// A wildcard means the address the datagram came from.
fn reachable(api: SocketAddr, from: SocketAddr) -> SocketAddr {
    if api.ip().is_unspecified() { SocketAddr::new(from.ip(), api.port()) } else { api }
}

/// Lets one of many through per minute, and counts the others.
#[derive(Debug, Default)]
struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// With how many were held back since the last one.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        const MINUTE: Duration = Duration::from_secs(60);
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < MINUTE) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests;

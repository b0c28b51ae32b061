//! Announcements in: which key a datagram must be sealed by, whether it is a replay, what it
//! changes, and what is answered. The socket is `receive`'s; `Desk::handle` has none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use outband_control::secret::{JoinToken, UnitSecret};
use outband_pool_api::Load;
use outband_protocol::announce::{
    self, DATAGRAM_LEN_MAX, Datagram, Envelope, Key, KeyId, Message, Refusal, Seen, Startup,
};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use uuid::Uuid;

use crate::app::{Heard, Station};
use crate::http::serve::stopped;
use crate::records::{JOIN_TOKEN, JoinTokenRecord, UnitRecord, load};
use crate::store::StoreError;

/// Datagrams whose change is being written, at most. One that comes then waits in the socket.
const UNDER_WAY_MAX: usize = 256;

/// Receives until `stop` turns true. Whatever has to be written down for one unit does not hold up the
/// others; of one unit's datagrams the next is looked at when the one before is done.
pub async fn receive(station: Arc<Station>, socket: UdpSocket, mut stop: watch::Receiver<bool>) {
    let machine = Arc::clone(&station.machine);
    let mut desk = Desk::new(station);
    let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
    let mut under_way =
        UnderWay { socket: &socket, all: FuturesUnordered::new(), units: BTreeSet::new() };
    loop {
        let received = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            true = under_way.finish_one() => continue,
            received = socket.recv_from(&mut buffer), if under_way.all.len() < UNDER_WAY_MAX => received,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                // An ICMP answer to one of ours, most likely.
                tracing::debug!(%error, "receiving announcements");
                continue;
            }
        };
        let Some(envelope) = sealed(&buffer[..length], from) else {
            continue;
        };
        let unit = Uuid::from_bytes(envelope.unit());
        while under_way.units.contains(&unit) {
            under_way.finish_one().await;
        }
        match desk.begin(&envelope, from, machine.now()).await {
            Ok(Begun::Done(answer)) => answer_to(&socket, from, Ok(answer)).await,
            Ok(Begun::Writes(tail)) => under_way.add(unit, from, tail),
            Err(error) => answer_to(&socket, from, Err(error)).await,
        }
    }
}

type Answer = Result<Option<Vec<u8>>, StoreError>;
type Tail = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Addressed = Pin<Box<dyn Future<Output = (Uuid, SocketAddr, Answer)> + Send>>;

/// What is being written, with whom it is for.
struct UnderWay<'a> {
    socket: &'a UdpSocket,
    all: FuturesUnordered<Addressed>,
    units: BTreeSet<Uuid>,
}

impl UnderWay<'_> {
    fn add(&mut self, unit: Uuid, from: SocketAddr, tail: Tail) {
        self.units.insert(unit);
        self.all.push(Box::pin(async move { (unit, from, tail.await) }));
    }

    /// Waits for the next that is done and answers it; `false` if there is none.
    async fn finish_one(&mut self) -> bool {
        let Some((unit, from, answer)) = self.all.next().await else {
            return false;
        };
        self.units.remove(&unit);
        answer_to(self.socket, from, answer).await;
        true
    }
}

async fn answer_to(socket: &UdpSocket, from: SocketAddr, answer: Answer) {
    match answer {
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

fn sealed(bytes: &[u8], from: SocketAddr) -> Option<Envelope<'_>> {
    match Envelope::parse(bytes) {
        Ok(envelope) => Some(envelope).filter(|envelope| envelope.key() != KeyId::None),
        Err(error) => {
            tracing::debug!(%from, %error, "not an announcement");
            None
        }
    }
}

/// What becomes of a datagram.
enum Begun {
    Done(Option<Vec<u8>>),
    /// What it changes lasts: the answer comes once it is written.
    Writes(Tail),
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
        let Some(envelope) = sealed(bytes, from) else {
            return Ok(None);
        };
        match self.begin(&envelope, from, now).await? {
            Begun::Done(answer) => Ok(answer),
            Begun::Writes(tail) => tail.await,
        }
    }

    async fn begin(
        &mut self,
        envelope: &Envelope<'_>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<Begun, StoreError> {
        let id = Uuid::from_bytes(envelope.unit());
        let unit = self.station.store.pages().await?.unit(id).cloned();
        let unit = unit.as_ref().map(|stored| &stored.record);
        let opened = match self.key_of(envelope, unit).await? {
            Ok(key) => envelope.open(&key).map(|datagram| (datagram, key)).map_err(|_| {
                match envelope.key() {
                    KeyId::Unit => Refusal::WrongSecret,
                    KeyId::None | KeyId::JoinToken => Refusal::WrongToken,
                }
            }),
            Err(refusal) => Err(refusal),
        };
        Ok(match opened {
            Ok((datagram, key)) => self.take(datagram, unit, key, from, now),
            Err(refusal) => {
                self.tell_refused(id, refusal, from, now);
                Begun::Done(Some(envelope.refuse(refusal)))
            }
        })
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

    fn take(
        &mut self,
        datagram: Datagram,
        unit: Option<&UnitRecord>,
        key: Key,
        from: SocketAddr,
        now: Instant,
    ) -> Begun {
        let id = Uuid::from_bytes(datagram.unit);
        let stored = unit.map_or(0, |unit| unit.incarnation);
        let seen = self.seen.entry(id).or_insert_with(|| Seen::of_incarnation(stored));
        if !seen.take(&datagram) {
            tracing::debug!(%from, unit = %id, "a replayed announcement is not taken");
            return Begun::Done(None);
        }
        // It has its secret; only its answer was lost.
        let enrolled = key.id() == KeyId::Unit && unit.is_some_and(|unit| !unit.enrolled);
        let is_current =
            unit.is_some_and(|unit| unit.incarnation == datagram.incarnation && !unit.left);
        if let (Message::Alive(load), true, false) = (&datagram.message, is_current, enrolled) {
            on_alive(&self.station, &datagram, *load, now);
            return Begun::Done(None);
        }
        let write = Write { station: Arc::clone(&self.station), datagram, key, from, now };
        Begun::Writes(Box::pin(write.carry_out(enrolled, is_current)))
    }

    fn tell_refused(&mut self, id: Uuid, refusal: Refusal, from: SocketAddr, now: Instant) {
        if let Some(untold) = self.refused.admit(now) {
            tracing::warn!(unit = %id, %from, untold, "an announcement is refused: {refusal}");
        }
    }
}

/// Touches what lasts only while a unit answers, and no store.
fn on_alive(station: &Station, datagram: &Datagram, load: announce::Load, now: Instant) {
    let operations = load.reads_per_second.saturating_add(load.writes_per_second);
    let bytes = load.read_bytes_per_second.saturating_add(load.written_bytes_per_second);
    station.live.change(Uuid::from_bytes(datagram.unit), |unit| {
        unit.handle_heard(datagram.incarnation, now);
        unit.load = Some(Load {
            sessions: load.sessions,
            iops: u64::from(operations),
            bytes_per_second: bytes,
        });
    });
}

/// A datagram that is taken, and what it changes that lasts.
struct Write {
    station: Arc<Station>,
    datagram: Datagram,
    key: Key,
    from: SocketAddr,
    now: Instant,
}

impl Write {
    async fn carry_out(self, enrolled: bool, is_current: bool) -> Answer {
        let Self { station, datagram, now, .. } = &self;
        let id = Uuid::from_bytes(datagram.unit);
        if enrolled {
            station.handle_enrolled(id).await?;
        }
        let answer = match (&datagram.message, is_current) {
            (Message::Startup(startup), _) => Some(self.on_startup(id, startup).await?),
            (Message::Alive(load), true) => {
                on_alive(station, datagram, *load, *now);
                None
            }
            (Message::Alive(_), false) => Some(Message::AnnounceAgain),
            (Message::Shutdown, true) => {
                station.handle_shutdown(id, *now).await?;
                None
            }
            _ => None,
        };
        Ok(answer.and_then(|message| datagram.answer(message).build(Some(&self.key)).ok()))
    }

    async fn on_startup(&self, id: Uuid, startup: &Startup) -> Result<Message, StoreError> {
        let heard = Heard {
            id,
            name: startup.name.clone(),
            portals: startup.portals.clone(),
            api: reachable(startup.api, self.from),
            fingerprint: startup.fingerprint,
            version: startup.version.clone(),
            incarnation: self.datagram.incarnation,
        };
        Ok(match self.station.handle_startup(&heard, self.now).await? {
            true => Message::NeedInfo,
            false => Message::Pending,
        })
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

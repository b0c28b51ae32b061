//! The announcer's socket, clock and log.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outband_protocol::announce::DATAGRAM_LEN_MAX;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::{Announcer, Heard};
use crate::control::stopped;
use crate::machine::SharedMachine;
use crate::secret::UnitSecret;
use crate::unit::Unit;

/// SHUTDOWNs that are sent, because none is answered.
const SHUTDOWNS: usize = 3;
/// The same refusal is logged again after this.
const REFUSED_LOG_EVERY: Duration = Duration::from_secs(60);

/// What takes datagrams to the station and back: a socket, or the simulator.
pub trait Wire: Send + 'static {
    /// Sends, after looking the station up anew when `look_up`. What is lost is lost.
    fn send(&mut self, bytes: &[u8], look_up: bool) -> impl Future<Output = ()> + Send;

    /// The length of the next datagram from the station. Safe to drop while it waits.
    fn receive(&mut self, buffer: &mut [u8]) -> impl Future<Output = usize> + Send;
}

/// Announces until `stop` changes, then says SHUTDOWN.
pub(crate) async fn run<U: Unit>(
    mut announcer: Announcer,
    mut wire: impl Wire,
    unit: Arc<U>,
    mut enrolled: watch::Receiver<Option<UnitSecret>>,
    machine: SharedMachine,
    mut stop: watch::Receiver<bool>,
) {
    let mut log = Log::default();
    let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
    loop {
        // In this order: a station that says much does not keep the unit from saying ALIVE.
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Ok(()) = enrolled.changed() => {
                if let Some(secret) = enrolled.borrow_and_update().as_ref() {
                    announcer.set_key(secret.seal_key());
                }
            }
            () = machine.sleep_until(announcer.poll_timeout()) => {
                let again = announcer.is_announcing();
                // Randomness only spreads load here.
                let random = u32::from_be_bytes(machine.random());
                let now = machine.now();
                if let Some(bytes) = announcer.poll_transmit(now, random, || unit.load()) {
                    wire.send(&bytes, again).await;
                }
            }
            len = wire.receive(&mut buffer) => {
                let now = machine.now();
                if let Some(heard) = announcer.handle_datagram(&buffer[..len], now) {
                    log.tell(heard, now);
                }
            }
        }
    }
    for _ in 0..SHUTDOWNS {
        wire.send(&announcer.shutdown(), false).await;
    }
}

/// The way to the station, which may be named by a host name that moves.
#[derive(Debug)]
pub(crate) struct Link {
    station: String,
    socket: Option<UdpSocket>,
}

impl Link {
    pub(crate) fn new(station: String) -> Self {
        Self { station, socket: None }
    }
}

impl Wire for Link {
    /// Looks the station up, too, when there is no socket yet. What is lost here is lost like any
    /// datagram: the announcer sends another.
    async fn send(&mut self, bytes: &[u8], look_up: bool) {
        if look_up || self.socket.is_none() {
            match connect(&self.station, self.socket.as_ref()).await {
                Ok(None) => {}
                Ok(socket) => self.socket = socket,
                Err(error) => {
                    tracing::warn!(station = self.station, %error, "no way to the station");
                }
            }
        }
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(bytes).await
        {
            tracing::debug!(station = self.station, %error, "announcing");
        }
    }

    async fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        loop {
            match socket.recv(buffer).await {
                Ok(len) => return len,
                // An ICMP "port unreachable": the station is down. The next ALIVE finds out when not.
                Err(error) => tracing::debug!(%error, "the station is not listening"),
            }
        }
    }
}

/// What was last said of the station.
#[derive(Debug, Default)]
struct Log {
    last: Option<(Heard, Instant)>,
}

impl Log {
    fn tell(&mut self, heard: Heard, now: Instant) {
        let known =
            self.last.is_some_and(|(last, at)| last == heard && now - at < REFUSED_LOG_EVERY);
        if known {
            return;
        }
        self.last = Some((heard, now));
        match heard {
            Heard::NeedInfo => tracing::info!("the station knows this unit"),
            Heard::Pending => {
                tracing::info!("waiting for `outband unit approve` on the station");
            }
            Heard::AnnounceAgain => tracing::info!("the station asks who this is"),
            Heard::Refused(refusal) => {
                tracing::warn!(%refusal, "the station refuses this unit; trying on");
            }
        }
    }
}

/// A socket to where `station` is now, or `None` when `present` already leads there.
async fn connect(station: &str, present: Option<&UdpSocket>) -> io::Result<Option<UdpSocket>> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let peer = tokio::net::lookup_host(station).await?.next().ok_or_else(unknown)?;
    if present.and_then(|socket| socket.peer_addr().ok()) == Some(peer) {
        return Ok(None);
    }
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    Ok(Some(socket))
}

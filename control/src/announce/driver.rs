//! The announcer's socket, clock and log.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outband_protocol::announce::DATAGRAM_LEN_MAX;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::{Announcer, Heard};
use crate::control::stopped;
use crate::secret::UnitSecret;
use crate::unit::Unit;

/// SHUTDOWNs that are sent, because none is answered.
const SHUTDOWNS: usize = 3;
/// The same refusal is logged again after this.
const REFUSED_LOG_EVERY: Duration = Duration::from_secs(60);

/// Announces until `stop` changes, then says SHUTDOWN.
pub(crate) async fn run<U: Unit>(
    mut announcer: Announcer,
    station: String,
    unit: Arc<U>,
    mut enrolled: watch::Receiver<Option<UnitSecret>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut link = Link { station, socket: None, last: None };
    let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Ok(()) = enrolled.changed() => {
                if let Some(secret) = enrolled.borrow_and_update().as_ref() {
                    announcer.set_key(secret.seal_key());
                }
            }
            len = link.receive(&mut buffer) => {
                if let Some(heard) = announcer.handle_datagram(&buffer[..len], Instant::now()) {
                    link.log(heard);
                }
            }
            () = tokio::time::sleep_until(announcer.poll_timeout().into()) => {
                let again = announcer.is_announcing();
                let now = Instant::now();
                if let Some(bytes) = announcer.poll_transmit(now, random(), || unit.load()) {
                    link.send(&bytes, again).await;
                }
            }
        }
    }
    for _ in 0..SHUTDOWNS {
        link.send(&announcer.shutdown(), false).await;
    }
}

/// Randomness only spreads load here, so none is as good as any.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

/// The way to the station, which may be named by a host name that moves.
struct Link {
    station: String,
    socket: Option<UdpSocket>,
    last: Option<(Heard, Instant)>,
}

impl Link {
    /// Sends, after looking the station up when `look_up` or when there is no socket yet. What is
    /// lost here is lost like any datagram: the machine sends another.
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

    /// The length of the next datagram from the station.
    async fn receive(&self, buffer: &mut [u8]) -> usize {
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

    fn log(&mut self, heard: Heard) {
        let now = Instant::now();
        let known =
            self.last.is_some_and(|(last, at)| last == heard && now - at < REFUSED_LOG_EVERY);
        if known {
            return;
        }
        self.last = Some((heard, now));
        let station = &self.station;
        match heard {
            Heard::NeedInfo => tracing::info!(station, "the station knows this unit"),
            Heard::Pending => {
                tracing::info!(station, "waiting for `outband unit approve` on the station");
            }
            Heard::AnnounceAgain => tracing::info!(station, "the station asks who this is"),
            Heard::Refused(refusal) => {
                tracing::warn!(station, %refusal, "the station refuses this unit; trying on");
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

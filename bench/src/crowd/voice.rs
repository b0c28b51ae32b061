//! The announcements of all units: one socket, one clock, and each unit's own announcer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use outband_control::announce::Announcer;
use outband_protocol::announce::{DATAGRAM_LEN_MAX, Envelope, Key, Load, Startup};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Crowd, Failure};

pub(super) struct Voice {
    crowd: Arc<Crowd>,
    socket: UdpSocket,
    announcers: Vec<Announcer>,
    /// When whose next datagram is due. Those that were put off are looked at once too often.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Spreads the STARTUPs; a sequence is as good as chance for that.
    random: u32,
}

impl Voice {
    pub(super) fn new(
        crowd: Arc<Crowd>,
        socket: UdpSocket,
        port: u16,
        fingerprint: [u8; 32],
    ) -> Result<Self, Failure> {
        let incarnation = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let now = Instant::now();
        let (mut announcers, mut due) = (Vec::new(), BinaryHeap::new());
        for unit in &crowd.units {
            let startup = Startup {
                fingerprint,
                api: SocketAddr::from((unit.address, port)),
                name: unit.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                portals: vec![SocketAddr::from((unit.address, 3260))],
                interfaces: Vec::new(),
            };
            let key = crowd.join_token.seal_key();
            let announcer = Announcer::new(unit.id, incarnation, startup, key, now)
                .map_err(|bad| format!("{bad:?}"))?;
            announcers.push(announcer);
            due.push(Reverse((now, unit.number)));
        }
        Ok(Self { crowd, socket, announcers, due, random: 1 })
    }

    pub(super) async fn run(mut self, mut keys: mpsc::UnboundedReceiver<(usize, Key)>) {
        let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
        loop {
            let next = self.due.peek().map_or_else(Instant::now, |Reverse((at, _))| *at);
            tokio::select! {
                Some((unit, key)) = keys.recv() => self.announcers[unit].set_key(key),
                // Refused while the station is away: the next datagram is sent all the same.
                received = self.socket.recv(&mut buffer) => {
                    if let Ok(length) = received {
                        self.hear(&buffer[..length]);
                    }
                }
                () = tokio::time::sleep_until(next.into()) => self.speak().await,
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Ok(envelope) = Envelope::parse(bytes) else {
            return;
        };
        let unit = Uuid::from_bytes(envelope.unit());
        if let Some(number) = self.crowd.by_id.get(&unit) {
            let announcer = &mut self.announcers[*number];
            announcer.handle_datagram(bytes, Instant::now());
            self.due.push(Reverse((announcer.poll_timeout(), *number)));
        }
    }

    async fn speak(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, number))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let announcer = &mut self.announcers[number];
            let Some(bytes) = announcer.poll_transmit(now, self.random, Load::default) else {
                continue;
            };
            self.due.push(Reverse((announcer.poll_timeout(), number)));
            if self.crowd.speaks(number, now) {
                // What is lost is lost.
                let _ = self.socket.send(&bytes).await;
            }
        }
    }
}

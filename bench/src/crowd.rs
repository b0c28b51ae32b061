//! Many units in one process, for measurements of the station: each announces itself by the real
//! announcer and answers the real unit API over TLS. Behind that is a list of volumes and no medium.

mod answers;
mod api;
pub mod seed;
pub mod station;
mod unit;
mod voice;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use outband_control::secret::JoinToken;
use outband_protocol::announce::Key;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use uuid::Uuid;

use api::Door;
use unit::Unit;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The unit that can be silenced.
const MORTAL: usize = 0;

/// All units of a process.
#[derive(Debug)]
pub struct Crowd {
    units: Vec<Unit>,
    by_address: HashMap<Ipv4Addr, usize>,
    by_id: HashMap<Uuid, usize>,
    join_token: JoinToken,
    /// Units whose inventory was read since this was last reset.
    read: AtomicUsize,
    /// One unit says nothing any more.
    silent: AtomicBool,
    /// When that unit said something last.
    last_words: Mutex<Option<Instant>>,
    /// Units that were enrolled, with their new keys.
    enrolled: mpsc::UnboundedSender<(usize, Key)>,
}

impl Crowd {
    /// Starts `count` units that announce themselves to `station`, and returns once they can be
    /// reached.
    pub async fn start(
        count: usize,
        volumes_each: usize,
        join_token: &str,
        station: SocketAddr,
    ) -> Result<Arc<Self>, Failure> {
        let (enrolled, keys) = mpsc::unbounded_channel();
        let units: Vec<Unit> = (0..count).map(|number| Unit::new(number, volumes_each)).collect();
        let by = |units: &[Unit]| units.iter().map(|unit| (unit.id, unit.number)).collect();
        let crowd = Arc::new(Self {
            by_address: units.iter().map(|unit| (unit.address, unit.number)).collect(),
            by_id: by(&units),
            units,
            join_token: JoinToken::new(join_token),
            read: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            last_words: Mutex::new(None),
            enrolled,
        });
        let door = Door::open().await?;
        let (port, fingerprint) = (door.port(), door.fingerprint());
        tokio::spawn(door.serve(Arc::clone(&crowd)));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(station).await?;
        let voice = voice::Voice::new(Arc::clone(&crowd), socket, port, fingerprint)?;
        tokio::spawn(voice.run(keys));
        Ok(crowd)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.units.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Nobody has been read from now on.
    pub fn forget_readers(&self) {
        self.units.iter().for_each(Unit::forget_reader);
        self.read.store(0, Ordering::Relaxed);
    }

    /// Units that the station has read since [`Self::forget_readers`].
    #[must_use]
    pub fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// From now on one unit says nothing. Answers its name.
    pub fn silence_one(&self) -> String {
        self.silent.store(true, Ordering::Relaxed);
        self.units[MORTAL].name.clone()
    }

    /// When that unit said something last.
    #[must_use]
    pub fn last_words(&self) -> Option<Instant> {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the unit may say something now.
    fn speaks(&self, unit: usize, now: Instant) -> bool {
        if unit == MORTAL {
            if self.silent.load(Ordering::Relaxed) {
                return false;
            }
            *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        true
    }
}

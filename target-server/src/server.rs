//! The target as a whole: its shards on their threads, its portals, and which volume lives where.
//! Everything here asks shards by message and waits for their replies; nothing here is in the way
//! of data.

mod bind;
mod volumes;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use outband_control::access::{AccessTable, Epoch};
use outband_control::api::TargetNames;
use outband_protocol::keys::Offer;
use outband_protocol::scsi::port_groups::PORTS_MAX;
use outband_ring::{Ring, RingError, UringConfig, UringRing, Wake};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::counters::{Counters, Totals};
use crate::exports::{DEFAULT_GROUP, Exports, Portal};
use crate::media::ReservationPlace;
use crate::metrics::sample::{ShardDump, ShardSample};
use crate::shard::mailbox::{Address, Gate, Message, Reply, SessionInfo, mailbox};
use crate::shard::{Settings, Shard};

/// Where messages to a shard go.
type ShardAddress<R = UringRing> = Address<<R as Ring>::Handle, <R as Ring>::Waker>;

/// What a target is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub portals: Vec<SocketAddr>,
    /// Portal group tag of each portal, by its place; [`DEFAULT_GROUP`] where none is given.
    pub groups: Vec<u16>,
    /// What SendTargets says; the bound addresses when empty, which then may not be wildcards.
    pub advertise: Vec<Portal>,
    /// Threads, one ring each.
    pub shards: usize,
    /// Memory for data in flight, over all shards.
    pub buffer_bytes: usize,
    /// Connections a shard takes at a time.
    pub connections: usize,
    /// What is offered at login.
    pub offer: Offer,
    /// How targets are named.
    pub names: TargetNames,
    /// Where reservations survive power loss; without it hosts are told that they do not.
    pub reservations: Option<ReservationPlace>,
    /// A login takes at most this long.
    pub login_deadline: Duration,
    /// A quiet session is pinged after this, and ended if no answer comes in four times as long; or
    /// if the peer's kernel does not acknowledge it in once as long.
    pub ping_after: Duration,
    /// Initiators that are asked to log out have this long; whole seconds.
    pub logout_wait: Duration,
    /// A command that takes this long or longer is named in the log; none without it.
    pub slow_io: Option<Duration>,
    /// A shard that has nothing to do looks for something for so long before it sleeps.
    pub busy_poll: Duration,
}

impl ServerConfig {
    /// Defaults for targets named by `names` at `portals`.
    pub fn new(portals: Vec<SocketAddr>, names: TargetNames) -> Self {
        Self {
            portals,
            groups: Vec::new(),
            advertise: Vec::new(),
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            buffer_bytes: 256 * 1024 * 1024,
            connections: 4096,
            offer: Offer::default(),
            names,
            reservations: None,
            login_deadline: Duration::from_secs(15),
            ping_after: Duration::from_secs(15),
            logout_wait: Duration::from_secs(3),
            slow_io: None,
            busy_poll: Duration::ZERO,
        }
    }
}

/// Why a target did not start. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This kernel or its settings do not let us.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}; choose another with {option}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What says which.
        option: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// No host could be told where to go.
    #[error(
        "{0} is a wildcard, which no host can connect to; say by --advertise which address \
         hosts are to use"
    )]
    Wildcard(SocketAddr),
    /// Each portal group is a target port, and REPORT TARGET PORT GROUPS counts them in a byte.
    #[error("the portals have more than {PORTS_MAX} portal groups; let some share a network")]
    Groups,
    /// Out of threads.
    #[error("cannot start a shard's thread")]
    Thread(#[source] io::Error),
}

/// A running target; its shards' rings are of the kernel, or the simulator's.
pub struct Server<R: Ring = UringRing> {
    shards: Vec<ShardAddress<R>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    counters: Vec<Arc<Counters>>,
    portals: Vec<SocketAddr>,
    /// Tags of the portals' groups, in ascending order.
    portal_groups: Vec<u16>,
    names: TargetNames,
    reservations: Option<ReservationPlace>,
    state: Mutex<State>,
    /// One change of the exports at a time: a later snapshot must not be overtaken by an earlier.
    publishing: tokio::sync::Mutex<()>,
}

impl<R: Ring> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("portals", &self.portals).finish_non_exhaustive()
    }
}

/// What the shards have been told.
#[derive(Debug)]
struct State {
    exports: Exports,
    /// Where each volume lives, and how much of it the shard has.
    homes: BTreeMap<Uuid, Home>,
}

#[derive(Clone, Copy, Debug)]
struct Home {
    shard: usize,
    segments: usize,
}

/// A fault that a shard has met: the volume, to be remembered by the catalog.
pub type Faults = tokio::sync::mpsc::UnboundedSender<Uuid>;

impl Server {
    /// Starts shards and listens. Nothing is served before [`attach`](Self::attach) and nobody is
    /// let in before [`publish`](Self::publish).
    pub fn start(config: &ServerConfig, faults: Option<Faults>) -> Result<Self, StartError> {
        outband_ring::probe()?;
        let (listeners, bound) = listen(&config.portals, config.ping_after)?;
        let group = |at: usize| config.groups.get(at).copied().unwrap_or(DEFAULT_GROUP);
        let bound: Vec<_> =
            (0..).zip(bound).map(|(at, address)| Portal { address, group: group(at) }).collect();
        let told = advertised(&bound, &config.advertise)?;
        if groups_of(&told).len() > PORTS_MAX {
            return Err(StartError::Groups);
        }
        let portals = told.iter().map(|portal| portal.address).collect();
        let exports = Exports::new(AccessTable::new(config.names.clone()), told);
        let shared = Arc::new(exports.clone());
        let mut starts = Vec::new();
        let mut shards = Vec::new();
        let mut threads = Vec::new();
        let mut counters = Vec::new();
        for index in 0..config.shards.max(1) {
            let listeners = listeners.iter().enumerate().skip(index).step_by(config.shards.max(1));
            let listeners: Vec<_> = listeners
                .map(|(at, listener)| Ok((OwnedFd::from(listener.try_clone()?), group(at))))
                .collect::<io::Result<_>>()
                .map_err(StartError::Thread)?;
            let (settings, busy_poll) = (settings(config, index), config.busy_poll);
            let (ready, is_ready) = sync_channel(1);
            let (start, started) = channel();
            let (shared, faults) = (Arc::clone(&shared), faults.clone());
            let counts = Arc::new(Counters::default());
            counters.push(Arc::clone(&counts));
            let thread = std::thread::Builder::new()
                .name(format!("shard-{index}"))
                .spawn(move || {
                    let Some((ring, receiver)) = open_ring(&ready, busy_poll) else {
                        return;
                    };
                    let Ok(shards) = started.recv() else {
                        return;
                    };
                    let mut shard =
                        Shard::new(ring, settings, receiver, shards, shared, Box::new(entropy));
                    shard.count_into(counts);
                    run(shard, listeners, faults);
                })
                .map_err(StartError::Thread)?;
            threads.push(thread);
            let ready = is_ready.recv().map_err(|_| {
                StartError::Thread(io::Error::other("the thread ended before its ring was ready"))
            })?;
            shards.push(ready?);
            starts.push(start);
        }
        for start in starts {
            // A shard that has ended by now is met at the first message to it.
            let _ = Sender::send(&start, shards.clone());
        }
        let names = config.names.clone();
        let server = Self::of_shards(shards, exports, portals, names);
        let reservations = config.reservations.clone();
        Ok(Self { threads: Mutex::new(threads), counters, reservations, ..server })
    }
}

impl<R: Ring> Server<R> {
    /// Of shards that somebody else has started, with these `exports`, and turns.
    pub fn of_shards(
        shards: Vec<ShardAddress<R>>,
        exports: Exports,
        portals: Vec<SocketAddr>,
        names: TargetNames,
    ) -> Self {
        let portal_groups = groups_of(&exports.portals);
        Self {
            shards,
            threads: Mutex::default(),
            counters: Vec::new(),
            portals,
            portal_groups,
            names,
            reservations: None,
            state: Mutex::new(State { exports, homes: BTreeMap::new() }),
            publishing: tokio::sync::Mutex::new(()),
        }
    }

    /// What all shards have done, as of their last turns.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        self.counters.iter().for_each(|counters| counters.add_to(&mut sum));
        sum
    }

    /// The portals as hosts are told of them.
    pub fn portals(&self) -> &[SocketAddr] {
        &self.portals
    }

    /// How targets are named.
    pub fn names(&self) -> &TargetNames {
        &self.names
    }

    /// Who may use what, from now on; returns when every shard goes by it.
    pub async fn publish(&self, access: AccessTable) {
        let _one = self.publishing.lock().await;
        self.lock().exports.access = access;
        self.tell_exports().await;
    }

    async fn tell_exports(&self) {
        let exports = Arc::new(self.lock().exports.clone());
        for shard in &self.shards {
            ask(shard, |reply| Message::Exports(Arc::clone(&exports), reply)).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// From now on no command of this grant reaches a medium.
    pub async fn close_gate(&self, target: String, host: Option<String>, epoch: Epoch) {
        if let Some(shard) = self.home_of(&target) {
            let gate = Gate { target, host, epoch: epoch.0 };
            ask(shard, |reply| Message::CloseGate(gate, reply)).await;
        }
    }

    /// Ends the sessions of this grant; returns when the last of their I/O is reaped.
    pub async fn drain(&self, target: String, host: Option<String>, epoch: Epoch) {
        if let Some(shard) = self.home_of(&target) {
            let gate = Gate { target, host, epoch: epoch.0 };
            ask(shard, |reply| Message::Drain(gate, reply)).await;
        }
    }

    fn home_of(&self, target: &str) -> Option<&ShardAddress<R>> {
        let route = self.lock().exports.targets.get(target).copied();
        route.and_then(|route| self.shards.get(route.shard))
    }

    /// Who is logged in.
    pub async fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions = Vec::new();
        for shard in &self.shards {
            sessions.extend(ask(shard, Message::Sessions).await.unwrap_or_default());
        }
        sessions
    }

    /// What each shard did so far. A shard is asked between two of its turns and keeps nothing
    /// for this.
    pub async fn measure(&self) -> Vec<ShardSample> {
        let mut samples = Vec::new();
        for shard in &self.shards {
            samples.extend(ask(shard, Message::Measure).await);
        }
        samples
    }

    /// What each shard is doing, in full: for support.
    pub async fn dump(&self) -> Vec<ShardDump> {
        let mut dumps = Vec::new();
        for shard in &self.shards {
            dumps.extend(ask(shard, Message::Dump).await);
        }
        dumps
    }

    /// Ends every session and every shard, in order; returns when their threads have ended.
    pub async fn stop(&self) {
        for shard in &self.shards {
            ask(shard, Message::Stop).await;
        }
        let threads = std::mem::take(&mut *self.threads.lock().expect("no panic holds this lock"));
        // A shard answers its stop in its last turn, so this does not wait for long.
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| {
                let _ = thread.join();
            });
        });
        let _ = joined.await;
    }
}

/// Sends a message and waits for its reply; `None` when the shard has ended.
async fn ask<H, W: Wake, T>(
    shard: &Address<H, W>,
    message: impl FnOnce(Reply<T>) -> Message<H>,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    if !shard.send(message(reply)) {
        return None;
    }
    answer.await.ok()
}

fn settings(config: &ServerConfig, index: usize) -> Settings {
    Settings {
        index,
        offer: config.offer.clone(),
        buffer_bytes: config.buffer_bytes / config.shards.max(1),
        receive_bytes: config.buffer_bytes / config.shards.max(1) / 2,
        tasks: 16 * 1024,
        connections: config.connections,
        login_deadline: config.login_deadline,
        drain_deadline: Duration::from_secs(10),
        logout_wait: config.logout_wait,
        ping_after: config.ping_after,
        slow_io: config.slow_io,
    }
}

type Ready = Result<ShardAddress, RingError>;

/// A ring lives and dies on its own thread.
fn open_ring(
    ready: &SyncSender<Ready>,
    busy_poll: Duration,
) -> Option<(UringRing, std::sync::mpsc::Receiver<Message<OwnedFd>>)> {
    match UringRing::new(UringConfig { busy_poll, ..UringConfig::default() }) {
        Ok(ring) => {
            let (address, receiver) = mailbox(ring.waker());
            ready.send(Ok(address)).ok()?;
            Some((ring, receiver))
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            None
        }
    }
}

fn run(mut shard: Shard<UringRing>, listeners: Vec<(OwnedFd, u16)>, faults: Option<Faults>) {
    if let Some(faults) = faults {
        shard.on_fault(Box::new(move |volume| {
            // Nobody listens any more when the unit is stopping.
            let _ = faults.send(volume);
        }));
    }
    listeners.into_iter().for_each(|(listener, group)| shard.listen(listener, group));
    loop {
        match shard.turn() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(%error, "the ring does not wait any more; the unit ends");
                std::process::abort();
            }
        }
    }
}

fn entropy(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel has random bytes once it is up");
}

fn listen(
    portals: &[SocketAddr],
    patience: Duration,
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    for address in portals {
        let error = |source| StartError::Listen { address: *address, option: "--listen", source };
        let listener = bind::bind(*address, bind::PATIENCE).map_err(error)?;
        bind::end_unacknowledged(&listener, patience).map_err(error)?;
        bound.push(listener.local_addr().map_err(error)?);
        listeners.push(listener);
    }
    Ok((listeners, bound))
}

/// Tags of the groups of these portals, in ascending order.
fn groups_of(portals: &[Portal]) -> Vec<u16> {
    let mut groups: Vec<u16> = portals.iter().map(|portal| portal.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// What hosts are told. A port of 0 in `advertise` means the port of the portal at its place.
fn advertised(bound: &[Portal], advertise: &[Portal]) -> Result<Vec<Portal>, StartError> {
    if advertise.is_empty() {
        return match bound.iter().find(|portal| portal.address.ip().is_unspecified()) {
            Some(wildcard) => Err(StartError::Wildcard(wildcard.address)),
            None => Ok(bound.to_vec()),
        };
    }
    let port =
        |index: usize| bound.get(index).or_else(|| bound.first()).map_or(0, |at| at.address.port());
    let fill = |(index, portal): (usize, &Portal)| match portal.address.port() {
        0 => {
            let address = SocketAddr::new(portal.address.ip(), port(index));
            Portal { address, ..*portal }
        }
        _ => *portal,
    };
    Ok(advertise.iter().enumerate().map(fill).collect())
}

impl State {
    /// The shard with the fewest volumes.
    fn emptiest(&self, shards: usize) -> usize {
        let count = |shard: &usize| self.homes.values().filter(|home| home.shard == *shard).count();
        (0..shards).min_by_key(count).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;

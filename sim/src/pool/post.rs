//! Messages of the control plane: datagrams, and calls with an answer. They are lost, doubled,
//! overtake each other and come late; what is on its way goes on when its sender has died.
//!
//! The cut is below HTTP: the unit API's real client makes the request, the real router answers it,
//! and what is between them (connections, TLS, HTTP/1.1) is this file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outband_control::announce::driver::Wire;
use outband_control::client::{Answer, Call, Carried, Carrier, CarrierError};
use outband_control::machine::SharedMachine;
use tokio::sync::{mpsc, oneshot};

use super::kernel::{Kernel, NETWORK};
use super::station::{Ask, Reply};
use super::watch::Watch;
use crate::rng::Rng;

/// The client gives up after this, as the real one.
const PATIENCE: Duration = Duration::from_secs(40);

/// A user gives the station this long before it asks again.
pub const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// How messages are treated, in times per thousand.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How long one travels.
    pub delay: Range<Duration>,
    /// Never arrives.
    pub lost: u32,
    /// Arrives twice.
    pub doubled: u32,
    /// Arrives much later, perhaps when nobody thinks of it any more.
    pub late: u32,
    /// How much later, at most.
    pub late_max: Duration,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        let delay = Duration::from_micros(50)..Duration::from_micros(500);
        Self { delay, lost: 0, doubled: 0, late: 0, late_max: Duration::ZERO }
    }
}

/// A datagram and who sent it.
pub type Letter = (Vec<u8>, SocketAddr);

/// A request that has arrived, and the way back for its answer.
#[derive(Debug)]
pub struct Request<Q, A> {
    /// What is asked.
    pub what: Q,
    /// Hears of the answer.
    pub reply: oneshot::Sender<A>,
    /// The connection breaks after this, and whoever works on the request is dropped.
    pub breaks: Option<Duration>,
}

/// Where calls to one unit go: its address, and the certificate that must be shown there.
type Door = mpsc::UnboundedSender<Request<Call, Answer>>;

struct State {
    faults: Faults,
    rng: Rng,
    /// Machines that are cut off from all others.
    cut: BTreeSet<IpAddr>,
    letterboxes: BTreeMap<SocketAddr, mpsc::UnboundedSender<Letter>>,
    doors: BTreeMap<SocketAddr, ([u8; 32], Door)>,
    /// Where users' requests to the station go.
    counter: Option<mpsc::UnboundedSender<Request<Ask, Reply>>>,
    calls: u64,
}

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Post {
    state: Arc<Mutex<State>>,
    kernel: Kernel,
    watch: Watch,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

impl Post {
    /// Between machines of `kernel`; `watch` sees every message.
    #[must_use]
    pub fn new(kernel: Kernel, faults: Faults, rng: Rng, watch: Watch) -> Self {
        let state = State {
            faults,
            rng,
            cut: BTreeSet::new(),
            letterboxes: BTreeMap::new(),
            doors: BTreeMap::new(),
            counter: None,
            calls: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), kernel, watch }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing goes wrong from now on.
    pub fn calm(&self) {
        let mut state = self.state();
        state.faults = Faults::none();
        state.cut.clear();
    }

    /// Cuts a machine off, or connects it again.
    pub fn cut(&self, machine: IpAddr, off: bool) {
        let mut state = self.state();
        match off {
            true => state.cut.insert(machine),
            false => state.cut.remove(&machine),
        };
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Datagrams to `at` come out of here from now on.
    #[must_use]
    pub fn letterbox(&self, at: SocketAddr) -> mpsc::UnboundedReceiver<Letter> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().letterboxes.insert(at, sender);
        receiver
    }

    /// Calls to the unit API at `at` come out of here from now on.
    #[must_use]
    pub fn door(
        &self,
        at: SocketAddr,
        fingerprint: [u8; 32],
    ) -> mpsc::UnboundedReceiver<Request<Call, Answer>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().doors.insert(at, (fingerprint, sender));
        receiver
    }

    /// Users' requests come out of here from now on.
    #[must_use]
    pub fn counter(&self) -> mpsc::UnboundedReceiver<Request<Ask, Reply>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state().counter = Some(sender);
        receiver
    }

    /// Asks the station. `None` when no answer comes.
    pub async fn ask(&self, from: IpAddr, station: IpAddr, ask: Ask) -> Option<Reply> {
        let fate = self.state().fate_of_call().while_it_waits();
        self.exchange((from, station), ask, fate, |post: &Self| post.state().counter.clone()).await
    }

    /// Sends a datagram.
    pub fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.watch.letter(from, to, bytes);
        for delay in self.state().fate() {
            let (post, bytes, pause) = (self.clone(), bytes.to_vec(), self.kernel.after(delay));
            self.kernel.spawn(NETWORK, async move {
                pause.await;
                let state = post.state();
                if !state.is_cut(from.ip(), to.ip())
                    && let Some(letterbox) = state.letterboxes.get(&to)
                {
                    // Whoever had it may be dead.
                    let _ = letterbox.send((bytes, from));
                }
            });
        }
    }

    /// Brings a request to whoever is behind the door that `find` finds on its arrival, and the
    /// answer back. `None`: there is none, and what was asked may have happened or not.
    pub async fn exchange<Q: Clone + Send + 'static, A: Send + 'static>(
        &self,
        ends: (IpAddr, IpAddr),
        what: Q,
        fate: Fate,
        find: impl Fn(&Self) -> Option<mpsc::UnboundedSender<Request<Q, A>>> + Clone + Send + 'static,
    ) -> Option<A> {
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        for (delay, breaks) in fate.copies {
            let (post, what, find, pause) =
                (self.clone(), what.clone(), find.clone(), self.kernel.after(delay));
            let tell = tell.take();
            self.kernel.spawn(NETWORK, async move {
                pause.await;
                post.arrive(ends, what, breaks, find, tell).await;
            });
        }
        if fate.silent {
            // Nobody says that it is lost: the caller finds out by waiting.
            let (kernel, held) = (self.kernel.clone(), tell.take());
            self.kernel.spawn(NETWORK, async move {
                kernel.after(2 * PATIENCE).await;
                drop(held);
            });
        }
        drop(tell);
        told.await.ok()
    }

    async fn arrive<Q, A: Send + 'static>(
        &self,
        ends: (IpAddr, IpAddr),
        what: Q,
        breaks: Option<Duration>,
        find: impl Fn(&Self) -> Option<mpsc::UnboundedSender<Request<Q, A>>>,
        tell: Option<oneshot::Sender<A>>,
    ) {
        let Some(door) = find(self) else {
            return;
        };
        if self.state().is_cut(ends.0, ends.1) {
            // Not even a refusal comes back.
            self.kernel.after(2 * PATIENCE).await;
            return;
        }
        let (reply, answer) = oneshot::channel();
        if door.send(Request { what, reply, breaks }).is_err() {
            return;
        }
        let Ok(answer) = answer.await else {
            return;
        };
        let Some(delay) = self.state().fate().into_iter().next() else {
            return;
        };
        self.kernel.after(delay).await;
        if let Some(tell) = tell
            && !self.state().is_cut(ends.0, ends.1)
        {
            let _ = tell.send(answer);
        }
    }
}

impl State {
    fn is_cut(&self, one: IpAddr, other: IpAddr) -> bool {
        self.cut.contains(&one) || self.cut.contains(&other)
    }

    fn delay(&mut self) -> Duration {
        let Faults { delay, late, late_max, .. } = self.faults.clone();
        let late = if self.rng.chance(late) { late_max } else { Duration::ZERO };
        self.rng.time(delay) + self.rng.time(Duration::ZERO..late)
    }

    /// When each copy of a message arrives.
    fn fate(&mut self) -> Vec<Duration> {
        if self.rng.chance(self.faults.lost) {
            return Vec::new();
        }
        let copies = if self.rng.chance(self.faults.doubled) { 2 } else { 1 };
        (0..copies).map(|_| self.delay()).collect()
    }

    fn fate_of_call(&mut self) -> Fate {
        self.calls += 1;
        let (lost, soon) = (self.faults.lost, Duration::from_millis(3));
        let mut copies = Vec::new();
        for delay in self.fate() {
            let breaks = self.rng.chance(lost).then(|| self.rng.time(Duration::ZERO..soon));
            copies.push((delay, breaks));
        }
        let silent = copies.is_empty() && self.rng.coin();
        Fate { copies, silent }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub struct Fate {
    /// When each copy arrives, and when its connection breaks.
    copies: Vec<(Duration, Option<Duration>)>,
    /// Nobody says that it was lost.
    silent: bool,
}

impl Fate {
    /// Of a user who repeats what is not answered. What it has given up must not happen after all: it
    /// would not know of it.
    fn while_it_waits(mut self) -> Self {
        self.copies.truncate(1);
        self.copies.retain(|(delay, _)| *delay < ASKED_AGAIN);
        self
    }
}

/// The way of calls from one machine to one unit.
#[derive(Debug)]
pub struct Line {
    /// What carries them.
    pub post: Post,
    /// Whose machine it is.
    pub machine: SharedMachine,
    /// Where it is.
    pub from: IpAddr,
    /// The unit API.
    pub to: SocketAddr,
    /// The certificate that it must show.
    pub fingerprint: [u8; 32],
    /// For messages.
    pub base: String,
}

impl Line {
    async fn call(&self, call: Call) -> Result<Answer, CarrierError> {
        let (to, fingerprint) = (self.to, self.fingerprint);
        self.post.watch.call(to, &call);
        let find = move |post: &Post| {
            let state = post.state();
            let (shown, door) = state.doors.get(&to)?;
            // Another certificate: the client does not speak to that one.
            (*shown == fingerprint).then(|| door.clone())
        };
        let broken = || CarrierError::Broken("the simulated connection broke".into());
        let fate = self.post.state().fate_of_call();
        let exchange = self.post.exchange((self.from, to.ip()), call.clone(), fate, find);
        let answer = self.machine.timeout(PATIENCE, exchange).await;
        let answer = answer.flatten().ok_or_else(broken)?;
        self.post.watch.answer(to, &call, &answer);
        Ok(answer)
    }
}

impl Carrier for Line {
    fn carry(&self, call: Call) -> Carried<'_> {
        Box::pin(self.call(call))
    }

    fn base(&self) -> &str {
        &self.base
    }
}

/// A unit's socket for announcements.
#[derive(Debug)]
pub struct Socket {
    /// What carries them.
    pub post: Post,
    /// Where the unit is.
    pub from: SocketAddr,
    /// Where the station is.
    pub to: SocketAddr,
    /// What has come.
    pub letterbox: mpsc::UnboundedReceiver<Letter>,
}

impl Wire for Socket {
    async fn send(&mut self, bytes: &[u8], _look_up: bool) {
        self.post.send(self.from, self.to, bytes);
    }

    async fn receive(&mut self, buffer: &mut [u8]) -> usize {
        match self.letterbox.recv().await {
            Some((bytes, _)) => {
                let len = bytes.len().min(buffer.len());
                buffer[..len].copy_from_slice(&bytes[..len]);
                len
            }
            None => std::future::pending().await,
        }
    }
}

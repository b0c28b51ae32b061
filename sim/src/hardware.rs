//! What the target runs on, and what connects it to its hosts: one clock, one network, disks, and
//! the operations that rings have under way. Shared by every [`SimRing`](crate::ring::SimRing) and
//! the world, in one `RefCell`: nothing here calls back.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outband_ring::{Errno, Op};

use crate::Moment;
use crate::disk::{Arrival, Asked, Disk, OpId};
use crate::net::{self, ConnId, ListenerId, Net, News, Side};
use crate::ring::{RingId, SimHandle};
use crate::rng::Rng;
use crate::slot::{Raw, Slot};
use crate::tag::Content;
use crate::trace::Trace;
use crate::world::Alarm;

/// A shard's turn comes at most this long after something is ready for it, so that sometimes one
/// turn sees many completions and sometimes one.
const TURN_DELAY_MAX: Duration = Duration::from_micros(15);

/// Shared by everything in one simulation.
pub type Shared = Rc<RefCell<Hardware>>;

/// Something that happens at its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// On the network.
    Net(net::Event),
    /// A part of a disk operation happens.
    Begin(RingId, OpId),
    /// A disk operation ends.
    End(RingId, OpId),
    /// A shard has something to do.
    Turn(RingId),
    /// A shard's wait times out.
    Deadline(RingId),
    /// The world asked to be called.
    Alarm(Alarm),
}

/// What one ring has with the hardware.
#[derive(Debug)]
pub(crate) struct RingState {
    /// Under way on disks.
    pub(crate) slots: BTreeMap<OpId, Slot>,
    /// Waiting for the network. Apart, because every segment looks for those that wait for it.
    waiting: BTreeMap<OpId, Slot>,
    /// Ended.
    pub(crate) ready: VecDeque<(Slot, Result<Raw, Errno>)>,
    pub(crate) bell: Arc<AtomicBool>,
    /// When its wait times out.
    pub(crate) deadline: Option<Moment>,
    turn_due: bool,
}

/// The machines and the wires.
#[derive(Debug)]
pub struct Hardware {
    /// An `Instant` cannot be made from a number. This one is read once, and only differences to
    /// it are ever looked at.
    base: Instant,
    now: Moment,
    queue: BTreeMap<(Moment, u64), Event>,
    queued: u64,
    ops: u64,
    rng: Rng,
    /// The network.
    pub net: Net,
    /// The disks.
    pub disks: Vec<Disk>,
    rings: BTreeMap<RingId, RingState>,
    next_ring: u32,
    /// What hosts have not been told yet.
    host_news: VecDeque<News>,
    trace: Trace,
    /// Disk operations that have ended.
    ios: u64,
    /// How many of them were over when they were asked for.
    spots: u64,
    /// What writes are about to change: disk, and what. Kept for whoever asked.
    arrivals: Option<Vec<(usize, Arrival)>>,
}

impl Hardware {
    /// Everything connected, nothing going on.
    #[must_use]
    pub fn new(rng: Rng, net: Net, disks: Vec<Disk>, trace: Trace) -> Self {
        Self {
            base: Instant::now(),
            now: Moment::ZERO,
            queue: BTreeMap::new(),
            queued: 0,
            ops: 0,
            rng,
            net,
            disks,
            rings: BTreeMap::new(),
            next_ring: 0,
            host_news: VecDeque::new(),
            trace,
            ios: 0,
            spots: 0,
            arrivals: None,
        }
    }

    /// To be shared.
    #[must_use]
    pub fn shared(self) -> Shared {
        Rc::new(RefCell::new(self))
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The same, as those have it that were not made for simulations.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// The moment of an instant.
    #[must_use]
    pub fn moment(&self, instant: Instant) -> Moment {
        instant.saturating_duration_since(self.base)
    }

    /// Disk operations so far.
    #[must_use]
    pub fn ios(&self) -> u64 {
        self.ios
    }

    /// Those that were over when they were asked for.
    #[must_use]
    pub fn spots(&self) -> u64 {
        self.spots
    }

    /// What writes that were submitted since the last call are about to change: disk, and what.
    pub fn take_arrivals(&mut self) -> Vec<(usize, Arrival)> {
        self.arrivals.replace(Vec::new()).unwrap_or_default()
    }

    /// What happened.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Notes what happens.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    /// Random numbers.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Has an event happen at `at`, or now if that is over.
    pub fn schedule(&mut self, at: Moment, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    /// The next event; its time is now.
    pub fn next_event(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = at;
        Some(event)
    }

    /// It is `now`, and nothing of the hardware happens before.
    pub fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    /// What a disk operation that is under way writes, block by block.
    #[must_use]
    pub fn writes_of(&self, ring: RingId, op: OpId, block_size: usize) -> Vec<Content> {
        let slot = self.rings.get(&ring).and_then(|ring| ring.slots.get(&op));
        match slot.map(|slot| &slot.op) {
            Some(Op::Write { buf, at, .. }) => {
                buf[at.clone()].chunks_exact(block_size).map(Content::of).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a write is under way that has some of these and would change something.
    #[must_use]
    pub fn still_lands(&self, is_meant: impl Fn(u64) -> bool) -> Option<Arrival> {
        let slots = self.rings.values().flat_map(|ring| ring.slots.values());
        let writes = slots.filter_map(|slot| match (&slot.op, slot.handle) {
            (Op::Write { buf, offset, at, .. }, SimHandle::Disk(disk)) => {
                Some((disk, *offset, &buf[at.clone()]))
            }
            _ => None,
        });
        let mut all = writes.flat_map(|(disk, offset, at)| self.disks[disk].arrivals(offset, at));
        all.find(|arrival| arrival.new.write().is_some_and(|id| is_meant(id.0)))
    }

    /// The same of all of them.
    #[must_use]
    pub fn writes_under_way(&self, block_size: usize) -> Vec<Content> {
        let all = self.rings.iter().flat_map(|(id, ring)| ring.slots.keys().map(|op| (*id, *op)));
        all.flat_map(|(ring, op)| self.writes_of(ring, op, block_size)).collect()
    }

    /// When the next event is.
    #[must_use]
    pub fn next_time(&self) -> Option<Moment> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// What hosts are to be told.
    pub fn next_news(&mut self) -> Option<News> {
        self.host_news.pop_front()
    }

    /// Calls on the network go through here, so that what follows from them happens.
    pub fn on_net<T>(&mut self, call: impl FnOnce(&mut Net, Moment, &mut Rng) -> T) -> T {
        let result = call(&mut self.net, self.now, &mut self.rng);
        for (due, event) in self.net.take_due() {
            self.schedule(due, Event::Net(event));
        }
        for news in self.net.take_news() {
            match news {
                News::Acceptable(listener) => self.retry(|slot| slot.waits_at(listener)),
                News::Readable(conn, Side::Target) | News::Writable(conn, Side::Target) => {
                    self.retry(|slot| slot.is_on(conn));
                }
                _ => self.host_news.push_back(news),
            }
        }
        result
    }

    /// A network event's time has come.
    pub fn on_net_event(&mut self, event: net::Event) {
        self.on_net(|net, now, rng| net.handle(event, now, rng));
    }

    // ---- rings ----

    pub(crate) fn add_ring(&mut self, bell: Arc<AtomicBool>) -> RingId {
        self.next_ring += 1;
        let id = RingId(self.next_ring);
        let state = RingState {
            slots: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            bell,
            deadline: None,
            turn_due: false,
        };
        self.rings.insert(id, state);
        id
    }

    pub(crate) fn remove_ring(&mut self, ring: RingId) {
        self.rings.remove(&ring);
    }

    pub(crate) fn ring(&mut self, ring: RingId) -> &mut RingState {
        self.rings.get_mut(&ring).expect("a ring is here until it is dropped")
    }

    /// Takes note of a turn that is about to be taken; false when the ring is gone or the turn
    /// was taken before.
    pub fn take_turn(&mut self, ring: RingId) -> bool {
        self.rings.get_mut(&ring).is_some_and(|ring| std::mem::take(&mut ring.turn_due))
    }

    /// Whether the timeout of a ring's wait is now.
    #[must_use]
    pub fn is_timed_out(&self, ring: RingId) -> bool {
        let deadline = self.rings.get(&ring).and_then(|ring| ring.deadline);
        deadline.is_some_and(|deadline| deadline <= self.now)
    }

    /// Gives turns to the rings that were rung for.
    pub fn hear_bells(&mut self) {
        let rung =
            |(id, ring): (&RingId, &RingState)| ring.bell.load(Ordering::Relaxed).then_some(*id);
        for ring in self.rings.iter().filter_map(rung).collect::<Vec<_>>() {
            self.want_turn(ring);
        }
    }

    /// A shard has something to do, soon.
    pub(crate) fn want_turn(&mut self, id: RingId) {
        let delay = self.rng.time(Duration::ZERO..TURN_DELAY_MAX);
        if let Some(ring) = self.rings.get_mut(&id)
            && !std::mem::replace(&mut ring.turn_due, true)
        {
            self.schedule(self.now + delay, Event::Turn(id));
        }
    }

    pub(crate) fn next_op(&mut self) -> OpId {
        self.ops += 1;
        OpId(self.ops)
    }

    /// Starts an operation.
    pub(crate) fn submit(&mut self, ring: RingId, op: OpId, mut slot: Slot) {
        if let SimHandle::Disk(disk) = slot.handle {
            let asked = slot.asked();
            let fate = self.disks[disk].submit(op, asked, &mut self.rng);
            let (begins, ends) = (self.now + fate.begins, self.now + fate.ends);
            self.trace.note(self.now, format_args!("disk {disk} {op:?} {}", Shown(&slot.op)));
            if let (Some(arrivals), Op::Write { buf, offset, at, .. }) =
                (&mut self.arrivals, &slot.op)
            {
                let found = self.disks[disk].arrivals(*offset, &buf[at.clone()]);
                arrivals.extend(found.map(|arrival| (disk, arrival)));
            }
            slot.begin(op, fate.result, &mut self.disks[disk]);
            self.ring(ring).slots.insert(op, slot);
            self.schedule(begins, Event::Begin(ring, op));
            self.schedule(ends, Event::End(ring, op));
        } else {
            self.try_socket(ring, op, slot);
        }
    }

    /// Starts a disk operation, and ends it.
    pub(crate) fn carry_out(&mut self, ring: RingId, op: OpId, slot: Slot) {
        self.submit(ring, op, slot);
        self.end(ring, op);
        self.spots += 1;
    }

    /// A part of a disk operation happens.
    pub fn begin(&mut self, ring: RingId, op: OpId) {
        let slot = self.rings.get_mut(&ring).and_then(|ring| ring.slots.get_mut(&op));
        if let Some(slot) = slot
            && let SimHandle::Disk(disk) = slot.handle
        {
            self.disks[disk].write_some(op, &mut self.rng);
            slot.read(&self.disks[disk], false, &mut self.rng);
        }
    }

    /// A disk operation ends.
    pub fn end(&mut self, ring: RingId, op: OpId) {
        let slot = self.rings.get_mut(&ring).and_then(|ring| ring.slots.remove(&op));
        let Some(mut slot) = slot else {
            return;
        };
        let SimHandle::Disk(disk) = slot.handle else {
            return;
        };
        let (asked, result) = (slot.asked(), slot.result);
        self.disks[disk].end(op, asked, result, &mut self.rng);
        slot.read(&self.disks[disk], true, &mut self.rng);
        slot.survey(&self.disks[disk]);
        self.trace.note(self.now, format_args!("disk {disk} {op:?} ends: {result:?}"));
        self.ios += 1;
        let counted = matches!(asked, Asked::Read { .. } | Asked::Write { .. });
        let raw = result.map(|len| if counted { Raw::Bytes(len) } else { Raw::Finished });
        self.complete(ring, slot, raw);
    }

    /// Whatever waits for the network and is meant tries again.
    fn retry(&mut self, which: impl Fn(&Slot) -> bool) {
        let waiting: Vec<_> = self
            .rings
            .iter()
            .flat_map(|(id, ring)| ring.waiting.iter().map(|(op, slot)| (*id, *op, slot)))
            .filter(|(_, _, slot)| which(slot))
            .map(|(ring, op, _)| (ring, op))
            .collect();
        for (ring, op) in waiting {
            if let Some(slot) = self.ring(ring).waiting.remove(&op) {
                self.try_socket(ring, op, slot);
            }
        }
    }

    fn try_socket(&mut self, ring: RingId, op: OpId, mut slot: Slot) {
        let result = self.on_net(|net, now, rng| slot.try_socket(net, now, rng));
        match result {
            Some(result) => self.complete(ring, slot, result),
            None => {
                self.ring(ring).waiting.insert(op, slot);
            }
        }
    }

    fn complete(&mut self, ring: RingId, slot: Slot, result: Result<Raw, Errno>) {
        self.ring(ring).ready.push_back((slot, result));
        self.want_turn(ring);
    }

    /// Ends the socket operations of a ring that are meant.
    pub(crate) fn cut_short(&mut self, ring: RingId, errno: Errno, which: impl Fn(&Slot) -> bool) {
        let ended: Vec<_> = self
            .ring(ring)
            .waiting
            .iter()
            .filter(|(_, slot)| which(slot))
            .map(|(op, _)| *op)
            .collect();
        for op in ended {
            if let Some(slot) = self.ring(ring).waiting.remove(&op) {
                let result = slot.when_cut(errno);
                self.complete(ring, slot, result);
            }
        }
    }

    /// The last descriptor of something is closed.
    pub(crate) fn close(&mut self, handle: SimHandle) {
        match handle {
            SimHandle::Disk(_) => {}
            SimHandle::Listener(listener) => self.net.close_listener(listener),
            SimHandle::Socket(conn) => {
                self.on_net(|net, now, rng| net.close(conn, Side::Target, now, rng));
            }
        }
    }

    /// A new listening socket.
    pub fn listen(&mut self, at: std::net::SocketAddr) -> ListenerId {
        self.net.listen(at)
    }

    /// A host connects.
    pub fn connect(&mut self, from: std::net::SocketAddr, to: std::net::SocketAddr) -> ConnId {
        self.on_net(|net, now, rng| net.connect(from, to, now, rng))
    }
}

/// An operation without its buffers.
struct Shown<'a>(&'a Op);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Op::Read { offset, at, .. } => write!(f, "read {}+{}", offset, at.len()),
            Op::Write { offset, at, dsync, .. } => {
                write!(f, "write {}+{}{}", offset, at.len(), if *dsync { " dsync" } else { "" })
            }
            Op::Sync { .. } => f.write_str("sync"),
            Op::Zero { offset, len, how, .. } => write!(f, "zero {offset}+{len} {how:?}"),
            Op::Survey { offset, len, .. } => write!(f, "survey {offset}+{len}"),
            _ => f.write_str("socket"),
        }
    }
}

//! What a connection works with: the ring, buffers, targets and volumes of its shard. Everything
//! but the connections themselves.

mod claiming;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use outband_protocol::ids::TaskId;
use outband_protocol::seeded::{self, Bug};
use outband_ring::{Completion, Op, Pool, Ring, Token};
use slotmap::SlotMap;
use uuid::Uuid;

use super::Settings;
use super::journal::Journal;
use super::ledger::Ledger;
use super::mailbox::{Address, Gate};
use super::measure::Slow;
use super::order::{Rank, Turn};
use super::reserve::Reserving;
use super::sanitize::{Job, Request};
use super::target::{Target, Volume};
use super::token::{ConnKey, IoKey, Owner, TargetKey, VisitKey, VolumeKey, Whose};
use super::visit::Visitor;
use crate::counters::Totals;
use crate::exports::Exports;
use crate::metrics::{MediumOperation, Meter};
use crate::scsi::NexusId;
use crate::store::{Io, IoDone, Step, StoreError};

/// An I/O on its way, and whose it is.
#[derive(Debug)]
struct Active {
    io: Io,
    volume: VolumeKey,
    owner: Whose,
    /// Writes of the volume that had ended when it began; a flush covers them.
    covers: u64,
    /// Its task has the range alone.
    claimed: bool,
    /// When the device was asked, by the meter.
    asked: u64,
}

/// Bytes that memory moves in one turn before the larger I/Os have to wait for the next: a session with
/// megabytes to read must not hold up those with a block.
const MOVED_MAX: u64 = 1 << 20;
/// I/O of at most so many bytes never waits for a turn.
const SMALL_LEN: u64 = 64 << 10;
/// Reads that memory answers in one go before the answers are sent, when one session alone is at work:
/// its initiator has something to do while the shard goes on. With several there is always one that
/// has (docs/performance.md).
const READY_MAX: u64 = 16;

impl Active {
    /// Bytes that are moved; zeroing moves none.
    fn len(&self) -> u64 {
        if self.io.moves_data() { self.io.range().end - self.io.range().start } else { 0 }
    }
}

/// What a connection cannot do alone; the shard does it before the turn ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// All blocks of a target are to be wiped.
    Sanitize(Box<Request>),
    /// A sanitize has its target for itself.
    SanitizeGranted(TargetKey),
    /// Its login is complete but for the last response.
    Admit(ConnKey),
    /// All tasks of the other sessions of its target end, as `by` asked; with `reset` the logical
    /// unit starts anew.
    EndTasks { target: TargetKey, by: ConnKey, reset: bool },
    /// A reservation has changed.
    Reserve(Reserving),
    /// A task of this target has drained: those who wait for that may go on.
    Settle(TargetKey),
    /// A task has the range that it asked for.
    Granted(ConnKey, TaskId),
}

/// A task that waits for a buffer of `room` bytes.
#[derive(Debug)]
pub(crate) struct Hungry {
    pub(crate) conn: ConnKey,
    pub(crate) task: TaskId,
    pub(crate) room: usize,
}

/// A command that waited for others of its task set and may run now.
#[derive(Debug)]
pub(crate) struct Released {
    /// Its task set.
    pub(crate) target: TargetKey,
    /// Whose.
    pub(crate) conn: ConnKey,
    /// Which.
    pub(crate) task: TaskId,
    /// As what.
    pub(crate) rank: Rank,
}

/// Makes random bytes: CHAP challenges, session handles.
pub type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// Told of a volume that became faulted.
pub type OnFault = Box<dyn Fn(Uuid) + Send>;

/// A shard without its connections.
pub(crate) struct Desk<R: Ring> {
    /// The I/O.
    pub(crate) ring: R,
    /// When this turn began.
    pub(crate) now: Instant,
    /// The same for figures, and the commands that end in it.
    pub(crate) meter: Meter<(TargetKey, ConnKey)>,
    /// Bounds and names.
    pub(crate) settings: Settings,
    /// Buffers for the data of tasks.
    pub(crate) buffers: Pool,
    /// Buffers that connections receive into.
    pub(crate) receive: Pool,
    /// The targets that live here.
    pub(crate) targets: SlotMap<TargetKey, Target>,
    /// The volumes that live here.
    pub(crate) volumes: SlotMap<VolumeKey, Volume>,
    /// Who may use what, on the whole unit.
    pub(crate) exports: Arc<Exports>,
    /// Every shard's mailbox, this one's too.
    pub(crate) shards: Vec<Address<R::Handle, R::Waker>>,
    /// What is left to the shard, in the order in which it came up: that tasks are to end stands before the
    /// look at whether they have.
    pub(crate) errands: VecDeque<Errand>,
    /// Ended I/O, for its connections.
    pub(crate) ended: VecDeque<(Whose, IoDone)>,
    /// Commands whose turn has come.
    pub(crate) released: VecDeque<Released>,
    /// Tasks that wait for a buffer, in the order they came.
    pub(crate) hungry: VecDeque<Hungry>,
    /// Atomic writes that wait for a slot of their device's journal. What they wait for no other does.
    pub(crate) slotless: VecDeque<(ConnKey, TaskId)>,
    /// Tasks that all sessions together may still be allowed.
    pub(crate) credit: u32,
    /// Random bytes.
    pub(crate) entropy: Entropy,
    /// Told when a volume becomes faulted, so that it stays so over a restart.
    pub(crate) on_fault: Option<OnFault>,
    /// Volumes whose sync failed and which nobody has told yet.
    pub(crate) faults: Vec<Uuid>,
    /// Grants that a fence has closed and that the table still has.
    pub(crate) gates: Vec<Gate>,
    /// Where volumes write down what they are about to write, by device.
    pub(crate) journals: BTreeMap<Uuid, Journal>,
    /// Targets that are being sanitized.
    pub(crate) jobs: BTreeMap<TargetKey, Job>,
    /// I/O here of copies that other targets do.
    pub(crate) visitors: SlotMap<VisitKey, Visitor>,
    /// Sessions now, and I/O so far.
    pub(crate) counts: Totals,
    ios: SlotMap<IoKey, Active>,
    /// Bytes that memory has moved in this turn.
    moved: u64,
    /// Reads whose data waits for the end of the turn.
    ready: u64,
    /// Several sessions were at work in the last turn.
    pub(crate) crowded: bool,
    /// Large I/O that waits for a turn in which less is moved, in the order in which it came.
    postponed: VecDeque<IoKey>,
    /// Operations that the ring had no room for.
    backlog: VecDeque<(Token, Op)>,
    nexus: u32,
}

impl<R: Ring> std::fmt::Debug for Desk<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("targets", &self.targets.len())
            .field("ios", &self.ios.len())
            .finish_non_exhaustive()
    }
}

impl<R: Ring> Desk<R> {
    /// An empty one.
    pub(crate) fn new(
        ring: R,
        settings: Settings,
        shards: Vec<Address<R::Handle, R::Waker>>,
        exports: Arc<Exports>,
        entropy: Entropy,
    ) -> Self {
        Self {
            now: ring.now(),
            meter: Meter::new(ring.now(), settings.slow_io),
            ring,
            buffers: Pool::new(settings.buffer_bytes),
            receive: Pool::new(settings.receive_bytes),
            credit: settings.tasks,
            settings,
            targets: SlotMap::with_key(),
            volumes: SlotMap::with_key(),
            exports,
            shards,
            on_fault: None,
            errands: VecDeque::new(),
            ended: VecDeque::new(),
            released: VecDeque::new(),
            hungry: VecDeque::new(),
            slotless: VecDeque::new(),
            entropy,
            faults: Vec::new(),
            gates: Vec::new(),
            journals: BTreeMap::new(),
            jobs: BTreeMap::new(),
            visitors: SlotMap::with_key(),
            counts: Totals::default(),
            ios: SlotMap::with_key(),
            moved: 0,
            ready: 0,
            crowded: false,
            postponed: VecDeque::new(),
            backlog: VecDeque::new(),
            nexus: 0,
        }
    }

    /// Pushes an operation, or keeps it until the ring has room. Bounded by one receive and one
    /// send a connection and one operation a task.
    pub(crate) fn push(&mut self, token: Token, op: Op) {
        if !self.backlog.is_empty() {
            self.backlog.push_back((token, op));
        } else if let Err(op) = self.ring.push(token, op) {
            self.backlog.push_back((token, op));
        }
    }

    /// Operations that the ring had no room for.
    pub(crate) fn backlog_len(&self) -> usize {
        self.backlog.len()
    }

    /// Pushes what had no room.
    pub(crate) fn push_backlog(&mut self) {
        while let Some((token, op)) = self.backlog.pop_front() {
            if let Err(op) = self.ring.push(token, op) {
                self.backlog.push_front((token, op));
                return;
            }
        }
    }

    /// A name for a new session.
    pub(crate) fn next_nexus(&mut self) -> NexusId {
        self.nexus = self.nexus.wrapping_add(1);
        NexusId(self.nexus)
    }

    /// Starts an I/O on the volume below `target`; its end comes to [`ended`](Self::ended).
    pub(crate) fn start(&mut self, owner: Whose, target: TargetKey, io: Io) {
        let volume = self.targets[target].volume;
        if self.volumes[volume].claims.is_empty() {
            self.start_now(owner, volume, io, false);
        } else {
            self.start_among_claims(owner, volume, io);
        }
    }

    fn start_now(&mut self, owner: Whose, volume: VolumeKey, io: Io, claimed: bool) {
        let covers = self.volumes[volume].written;
        let asked = self.meter.tick();
        let active = Active { io, volume, owner, covers, claimed, asked };
        if self.moved >= MOVED_MAX && active.len() > SMALL_LEN {
            let key = self.ios.insert(active);
            return self.postponed.push_back(key);
        }
        self.begin(active);
    }

    fn begin(&mut self, mut active: Active) {
        // Memory answers on the spot, and then nothing needs to be remembered.
        match active.io.step(&mut self.volumes[active.volume].layers) {
            Step::Done(done) => {
                let before = self.counts.reads;
                self.moved += active.len();
                self.end(&mut active, done);
                self.ready += self.counts.reads - before;
            }
            Step::Submit(op) => {
                let key = self.ios.insert(active);
                self.push(Owner::Store(key).token(), op);
            }
        }
    }

    /// A new turn: what had to wait for it begins, as far as it goes.
    pub(crate) fn begin_turn(&mut self) {
        self.now = self.ring.now();
        self.meter.begin_turn(self.now);
        self.moved = 0;
        self.ready = 0;
        while self.moved < MOVED_MAX
            && let Some(key) = self.postponed.pop_front()
        {
            if let Some(active) = self.ios.remove(key) {
                let volume = active.volume;
                self.begin(active);
                self.go_on(volume);
            }
        }
    }

    /// Whether this turn has read as much as it is to.
    pub(crate) fn is_full(&self) -> bool {
        self.ready >= READY_MAX && !self.crowded
    }

    /// As much again may be read in this turn.
    pub(crate) fn make_room(&mut self) {
        self.ready = 0;
    }

    /// Whether anything waits for the next turn and for nothing else.
    pub(crate) fn has_postponed(&self) -> bool {
        !self.postponed.is_empty()
    }

    /// An operation of an I/O has ended: the next one, or the end.
    pub(crate) fn on_store(&mut self, key: IoKey, completion: Completion) {
        let Some(mut active) = self.ios.remove(key) else {
            return;
        };
        let tick = self.meter.tick();
        let volume = &mut self.volumes[active.volume];
        if let Some((operation, file)) = MediumOperation::of(&completion.op) {
            let took = tick.saturating_sub(active.asked);
            volume.note(operation, file, completion.result.is_err(), took);
        }
        active.asked = tick;
        let layers = &mut volume.layers;
        let step = match active.io.completed(completion.result, completion.op, layers) {
            Ok(()) => active.io.step(layers),
            Err(error) => active.io.end(Err(error)),
        };
        match step {
            Step::Done(done) => {
                self.end(&mut active, done);
                self.go_on(active.volume);
            }
            Step::Submit(op) => {
                let key = self.ios.insert(active);
                self.push(Owner::Store(key).token(), op);
            }
        }
    }

    fn end(&mut self, active: &mut Active, mut done: IoDone) {
        if let Some(slot) = active.io.take_slot() {
            self.give_slot(slot);
        }
        let volume = &mut self.volumes[active.volume];
        if !volume.claims.is_empty() && !active.claimed {
            volume.claims.ended(&active.io.range());
        }
        // A sync that was under way when another one failed says nothing: the kernel tells of a
        // failure once, to whoever asks first (P5).
        let faulted = volume.faulted || self.faults.contains(&volume.id);
        let believed = seeded::is(Bug::BelieveOtherSync);
        if faulted && !believed && done.result.is_ok() && active.io.promises_durability() {
            done.result = Err(StoreError::Faulted);
        }
        match &done.result {
            Ok(()) if active.io.is_flush() => volume.synced = volume.synced.max(active.covers),
            Ok(()) if active.io.leaves_unsynced() => volume.written += 1,
            Err(error) if error.is_final() => {
                tracing::error!(volume = %volume.id, %error, "volume faulted: a sync failed, \
                    acknowledged writes may be lost; `volume recover` after checking the device");
                if !seeded::is(Bug::ForgetFault) {
                    self.faults.push(volume.id);
                }
            }
            Err(error) => tracing::error!(volume = %volume.id, %error, "I/O error"),
            Ok(()) => {}
        }
        active.io.count(&mut self.counts);
        self.ended.push_back((active.owner, done));
    }

    /// The turn ends: commands whose responses leave with it are counted.
    pub(crate) fn settle_meter(&mut self, mut slow: impl FnMut(ConnKey, &Target, Slow<'_>)) {
        if !self.meter.is_owed() {
            return;
        }
        let (now, targets) = (self.ring.now(), &mut self.targets);
        self.meter.end_turn(now, |(target, conn), ended, took, unsaid| {
            // It went while its last command was answered.
            let Some(target) = targets.get_mut(target) else {
                return;
            };
            target.tally.record(ended, took);
            if let Some(unsaid) = unsaid {
                slow(conn, target, Slow { ended, took, unsaid });
            }
        });
    }

    /// What is to be shown of this shard.
    pub(crate) fn totals(&self) -> Totals {
        let in_flight = u32::try_from(self.ios.len()).unwrap_or(u32::MAX);
        Totals { in_flight, ..self.counts }
    }

    /// A command of `target` has left its task set; those that waited for it are released.
    pub(crate) fn end_turn(&mut self, target: TargetKey, turn: Turn, name: (ConnKey, TaskId)) {
        let Some(tasks) = self.targets.get_mut(target).map(|target| &mut target.tasks) else {
            return;
        };
        let released = &mut self.released;
        let release = |(conn, task), rank| {
            released.push_back(Released { target, conn, task, rank });
        };
        match turn {
            Turn::Out => {}
            Turn::Enabled(rank) => tasks.ended(rank, release),
            Turn::Dormant => tasks.forget(&name, release),
        }
    }

    /// Whether any I/O of this volume is on its way.
    pub(crate) fn has_io(&self, volume: VolumeKey) -> bool {
        self.ios.values().any(|active| active.volume == volume)
    }

    /// Whether any I/O is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        let is_writing = |target: &Target| target.ledger.as_ref().is_some_and(Ledger::is_writing);
        self.ios.is_empty() && self.ended.is_empty() && !self.targets.values().any(is_writing)
    }

    /// A socket's two ends.
    pub(crate) fn ends(&self, fd: outband_ring::Fd) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.ring.peer(fd)?, self.ring.local(fd)?))
    }
}

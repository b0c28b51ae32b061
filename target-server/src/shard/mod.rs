//! One core of the target. Read [`Shard::turn`] first: wait, hand completions to their owners until
//! the turn is full, do what was left over, flush every connection that was touched, and submit once.
//!
//! A request's way is in `conn.rs`. There is no lock anywhere below: a volume lives on one shard,
//! and what others want of it comes as a [`Message`].

mod claims;
mod conn;
mod desk;
mod discovery;
mod drain;
mod dump;
mod entrance;
mod inbound;
mod journal;
mod ledger;
pub mod mailbox;
mod measure;
mod order;
mod peer;
mod reserve;
mod sanitize;
mod serve;
mod target;
mod task;
mod timers;
mod token;
mod visit;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use outband_protocol::ids::TaskId;
use outband_protocol::keys::Offer;
use outband_ring::{Buf, Completion, Done, Fd, Op, Ring};
use slotmap::SlotMap;

use self::conn::Ending;
use self::desk::{Desk, Errand, Hungry, Released};
pub use self::desk::{Entropy, OnFault};
use self::drain::Pending;
use self::mailbox::{Address, Message};
use self::order::{Rank, Turn};
use self::peer::{Lost, Peer, Phase};
use self::token::{ConnKey, Owner, TargetKey, Whose};
use crate::counters::Counters;
use crate::exports::Exports;

/// Bounds and names of a shard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which of the unit's shards this is.
    pub index: usize,
    /// What is offered at login.
    pub offer: Offer,
    /// Memory for the data of tasks.
    pub buffer_bytes: usize,
    /// Memory that connections receive into.
    pub receive_bytes: usize,
    /// Tasks of all sessions together beyond the few that each starts with.
    pub tasks: u32,
    /// Connections at a time.
    pub connections: usize,
    /// A login takes at most this long, from accept to full feature phase.
    pub login_deadline: Duration,
    /// A session that is replaced drains within this, or the new one is told to come back.
    pub drain_deadline: Duration,
    /// Initiators that are asked to log out have this long, in whole seconds, before they are cut
    /// off.
    pub logout_wait: Duration,
    /// A session that has been quiet for this long is asked whether it is there, and after four
    /// times as long it is taken for dead.
    pub ping_after: Duration,
    /// A command that takes this long or longer is named in the log; none without it.
    pub slow_io: Option<Duration>,
}

/// One core of the target.
pub struct Shard<R: Ring> {
    desk: Desk<R>,
    peers: SlotMap<ConnKey, Peer>,
    /// Sockets, and the portal group of each.
    listeners: Vec<(Fd, u16)>,
    mailbox: Receiver<Message<R::Handle>>,
    touched: Vec<ConnKey>,
    /// Connections whose bytes the last turn had no room for, in the order in which they came.
    unread: VecDeque<ConnKey>,
    /// The last turn left completions for this one.
    cut_short: bool,
    returned: Vec<(u64, Buf)>,
    pending: Pending,
    timers: timers::Timers,
    stopping: bool,
    header_digest_errors: u64,
    counters: Option<Arc<Counters>>,
}

impl<R: Ring> std::fmt::Debug for Shard<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("index", &self.desk.settings.index)
            .field("connections", &self.peers.len())
            .finish_non_exhaustive()
    }
}

impl<R: Ring> Shard<R> {
    /// A shard with nothing to serve. `shards` are the addresses of all, this one's among them.
    pub fn new(
        ring: R,
        settings: Settings,
        mailbox: Receiver<Message<R::Handle>>,
        shards: Vec<Address<R::Handle, R::Waker>>,
        exports: Arc<Exports>,
        entropy: Entropy,
    ) -> Self {
        let desk = Desk::new(ring, settings, shards, exports, entropy);
        Self {
            timers: timers::Timers::new(desk.now),
            desk,
            peers: SlotMap::with_key(),
            listeners: Vec::new(),
            mailbox,
            touched: Vec::new(),
            unread: VecDeque::new(),
            cut_short: false,
            returned: Vec::new(),
            pending: Pending::default(),
            stopping: false,
            header_digest_errors: 0,
            counters: None,
        }
    }

    /// Calls `told` for every volume that becomes faulted.
    pub fn on_fault(&mut self, told: OnFault) {
        self.desk.on_fault = Some(told);
    }

    /// Shows what it does in `counters`, from now on.
    pub fn count_into(&mut self, counters: Arc<Counters>) {
        self.counters = Some(counters);
    }

    /// Takes connections from this listening socket, a portal of `group`, from now on.
    pub fn listen(&mut self, listener: R::Handle, group: u16) {
        let fd = self.desk.ring.adopt(listener);
        self.listeners.push((fd, group));
        self.accept(self.listeners.len() - 1);
    }

    /// One turn. False when the shard has been stopped and nothing of it is with the kernel.
    pub fn turn(&mut self) -> io::Result<bool> {
        let timeout = self.timeout();
        self.desk.ring.wait(timeout)?;
        self.desk.begin_turn();
        self.read_mailbox();
        let put_off = self.unread.len();
        // What has begun above must not keep the turn from hearing of others.
        self.desk.make_room();
        self.cut_short = true;
        while !self.desk.is_full() {
            let Some(completion) = self.desk.ring.next_completion() else {
                self.cut_short = false;
                break;
            };
            self.dispatch(completion);
        }
        self.read_on(put_off);
        self.check_timers();
        // An ending found while flushing may be what others wait for.
        let mut at_work = 0;
        while self.is_owed_work() {
            self.work_off();
            at_work = at_work.max(self.flush());
        }
        self.desk.crowded = at_work > 1;
        self.desk.push_backlog();
        self.settle_meter();
        if let Some(counters) = &self.counters {
            counters.show(&self.desk.totals());
        }
        let over = self.stopping && self.peers.is_empty() && self.desk.is_idle();
        if over && let Some(reply) = self.pending.stop.take() {
            let _ = reply.send(());
        }
        Ok(!over)
    }

    /// The ring, for whoever drives the shard.
    pub fn ring(&mut self) -> &mut R {
        &mut self.desk.ring
    }

    fn dispatch(&mut self, completion: Completion) {
        match Owner::from_token(completion.token) {
            Owner::Accept(portal) => self.on_accept(portal, completion),
            Owner::Recv(key) => self.on_recv(key, completion),
            Owner::Send(key) => self.on_sent(key, completion),
            Owner::Store(key) => self.desk.on_store(key, completion),
            Owner::Ledger(key) => self.on_kept(key, completion),
        }
    }

    fn accept(&mut self, portal: usize) {
        let token = Owner::Accept(u32::try_from(portal).expect("a few portals")).token();
        self.desk.push(token, Op::Accept { listener: self.listeners[portal].0 });
    }

    fn on_accept(&mut self, portal: u32, completion: Completion) {
        match completion.result {
            Ok(Done::Accepted(fd)) => self.open(fd, self.listeners[portal as usize].1),
            Ok(_) => {}
            Err(error) if self.stopping => tracing::debug!(%error, "listener closed"),
            Err(error) => tracing::warn!(%error, "accept failed"),
        }
        if !self.stopping {
            self.accept(portal as usize);
        }
    }

    fn open(&mut self, fd: Fd, group: u16) {
        if self.peers.len() >= self.desk.settings.connections {
            tracing::warn!(limit = self.desk.settings.connections, "too many connections");
            return self.desk.ring.close(fd);
        }
        let desk = &mut self.desk;
        let Some((peer, _)) = desk.ends(fd) else {
            return desk.ring.close(fd);
        };
        tracing::debug!(%peer, "connection accepted");
        let mut entered = true;
        let key = self.peers.insert_with_key(|key| {
            entrance::enter(key, fd, group, desk).unwrap_or_else(|| {
                entered = false;
                let nowhere = wire::Wire::new(key, fd, peer, peer);
                Peer::new(key, nowhere, group, Phase::Refused, desk.now)
            })
        });
        if entered {
            self.touch(key);
        } else {
            self.desk.ring.close(fd);
            self.peers.remove(key);
        }
    }

    fn on_sent(&mut self, key: ConnKey, completion: Completion) {
        let desk = &mut self.desk;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let failed = completion.result.as_ref().err().copied();
        let mut returned = std::mem::take(&mut self.returned);
        let alive = peer.wire.sent(completion.result, completion.op, desk, &mut returned);
        for (tag, buf) in returned.drain(..) {
            match &mut peer.phase {
                Phase::Inside(conn) => conn.on_body_sent(tag, buf, desk),
                _ => desk.buffers.give(buf),
            }
        }
        self.returned = returned;
        if !alive {
            peer.leave(&Lost(failed), desk);
        }
        self.touch(key);
    }

    /// What completions and messages have left to be done, until nothing is.
    fn work_off(&mut self) {
        loop {
            while let Some((owner, done)) = self.desk.ended.pop_front() {
                let (key, task) = match owner {
                    Whose::Task(key, task) => (key, task),
                    Whose::Visit(key) => {
                        self.on_visit_done(key, done);
                        continue;
                    }
                    Whose::Sanitize(target) => {
                        self.on_sanitize_done(target, done);
                        self.answer_drains();
                        continue;
                    }
                    Whose::Unit(number) => {
                        self.pending.flushed(number);
                        self.answer_drains();
                        continue;
                    }
                };
                let desk = &mut self.desk;
                match self.peers.get_mut(key).map(|peer| &mut peer.phase) {
                    Some(Phase::Inside(conn)) => conn.on_disk(task, done, desk),
                    Some(Phase::Leaving(leaving)) => {
                        leaving.ios -= 1;
                        if let Some(session) = &leaving.session {
                            desk.release((key, task), session.target);
                            if leaving.ios == 0 {
                                desk.errands.push_back(Errand::Settle(session.target));
                            }
                        }
                        done.buf.into_iter().for_each(|buf| desk.buffers.give(buf));
                    }
                    _ => done.buf.into_iter().for_each(|buf| desk.buffers.give(buf)),
                }
                self.touch(key);
            }
            while let Some(Released { target, conn, task, rank }) = self.desk.released.pop_front() {
                self.on_turn(target, conn, task, rank);
            }
            self.tell_faults();
            self.answer_reserving();
            let Some(errand) = self.desk.errands.pop_front() else {
                if self.feed_hungry() {
                    continue;
                }
                return;
            };
            match errand {
                Errand::Admit(key) => self.admit(key),
                Errand::EndTasks { target, by, reset } => self.end_tasks(target, by, reset),
                Errand::Settle(target) => {
                    self.settle(target);
                    self.answer_drains();
                }
                Errand::Reserve(change) => self.on_reserved(change),
                Errand::Sanitize(request) => self.sanitize(*request),
                Errand::SanitizeGranted(target) => self.on_sanitize_granted(target),
                Errand::Granted(key, task) => self.on_granted(key, task),
            }
        }
    }

    fn on_granted(&mut self, key: ConnKey, task: TaskId) {
        if let Some(Phase::Inside(conn)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) {
            conn.on_granted(task, &mut self.desk);
            self.touch(key);
        }
    }

    /// A command's turn has come; one that is gone passes it on.
    fn on_turn(&mut self, target: TargetKey, key: ConnKey, task: TaskId, rank: Rank) {
        let desk = &mut self.desk;
        let runs = match self.peers.get_mut(key).map(|peer| &mut peer.phase) {
            Some(Phase::Inside(conn)) => conn.on_turn(task, rank, desk),
            _ => false,
        };
        if !runs {
            desk.end_turn(target, Turn::Enabled(rank), (key, task));
        }
        self.touch(key);
    }

    /// Gives free buffers, and slots of journals, to those who wait, oldest first. True when anything went
    /// on.
    fn feed_hungry(&mut self) -> bool {
        let slotless = self.desk.slotless.len();
        for _ in 0..slotless {
            // Of another device there may be a slot, so all are asked; who still waits is behind again.
            if let Some((key, task)) = self.desk.slotless.pop_front() {
                self.offer_room(key, task);
            }
        }
        let mut fed = self.desk.slotless.len() < slotless;
        for _ in 0..self.desk.hungry.len() {
            let before = self.desk.hungry.len();
            let Some(Hungry { conn: key, task, .. }) = self.desk.hungry.pop_front() else {
                break;
            };
            self.offer_room(key, task);
            if self.desk.hungry.len() == before {
                // Still no room for the oldest: it keeps its place at the front.
                self.desk.hungry.rotate_right(1);
                break;
            }
            fed = true;
        }
        fed && !self.desk.ended.is_empty()
    }

    fn offer_room(&mut self, key: ConnKey, task: TaskId) {
        if let Some(Phase::Inside(conn)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) {
            conn.on_room(task, &mut self.desk);
            self.touch(key);
        }
    }

    fn touch(&mut self, key: ConnKey) {
        if let Some(peer) = self.peers.get_mut(key)
            && !peer.touched
        {
            peer.touched = true;
            self.touched.push(key);
        }
    }

    /// One send and one receive for every connection that something happened to; says how many.
    fn flush(&mut self) -> usize {
        // Endings on the way touch further connections, which then come at the end of the list.
        let mut next = 0;
        while let Some(key) = self.touched.get(next).copied() {
            next += 1;
            let desk = &mut self.desk;
            let Some(peer) = self.peers.get_mut(key) else {
                continue;
            };
            peer.touched = false;
            match &mut peer.phase {
                Phase::Inside(conn) => {
                    conn.flush(&mut peer.wire, desk);
                    if conn.has_ended() {
                        if peer.wire.is_drained() {
                            peer.leave(&Ending::Logout, desk);
                        }
                    } else {
                        conn.receive(&mut peer.wire, desk);
                    }
                }
                Phase::Entering(_) => peer.wire.receive(desk),
                Phase::Moving(_) => peer.try_move(desk),
                Phase::Refused if peer.wire.is_drained() => {
                    peer.leave(&"login refused", desk);
                }
                Phase::Leaving(_) => peer.close_when_sent(desk),
                Phase::Waiting(_) | Phase::Refused => {}
            }
            self.remove_if_gone(key);
        }
        self.touched.clear();
        next
    }

    fn is_owed_work(&self) -> bool {
        let desk = &self.desk;
        !(self.touched.is_empty()
            && desk.ended.is_empty()
            && desk.released.is_empty()
            && desk.errands.is_empty())
    }
}

//! The hallway: one logged-in connection. Every hop of a request starts and ends here: socket to
//! protocol, protocol to SCSI, SCSI to the store, and back.
//!
//! Read it in the order of a WRITE: `on_bytes`, `on_command`, `on_write_data`, `on_write_ready`,
//! `on_disk`, `flush`, `on_body_sent`.

mod atomic;
mod claim;
pub(crate) mod copy;
mod finish;
mod place;
mod reserve;
mod sanitize;
mod series;
mod share;
mod turn;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use outband_protocol::Body;
use outband_protocol::ids::{IscsiName, Itt, TaskId};
use outband_protocol::limits::TASKS_INITIAL;
use outband_protocol::scsi::Status;
use outband_protocol::seeded::{self, Bug};
use outband_protocol::target::{self, Command, DataFault, Event, Manage, PeerError, Targets};
use outband_ring::{Buf, Ring};

use super::desk::{Desk, Errand, Hungry};
use super::peer::Session;
use super::task::{Ahead, Stage, Task, Work};
use super::token::{ConnKey, TargetKey, Whose};
use super::wire::Wire;
use crate::metrics::{SessionCounts, TaskClock};
use crate::scsi::{NexusId, Plan, Reply, Request};
use crate::store::{self, Io, IoDone};

/// A connection in full feature phase.
#[derive(Debug)]
pub(crate) struct Conn {
    key: ConnKey,
    /// The protocol's side of it.
    pub(crate) core: target::Conn,
    /// What it is logged in to; `None` in a discovery session.
    pub(crate) target: Option<TargetKey>,
    /// The session as the logical unit knows it.
    pub(crate) nexus: NexusId,
    /// Who.
    pub(crate) host: IscsiName,
    /// From where.
    source: IpAddr,
    /// By which grant.
    pub(crate) epoch: u64,
    /// A fence is closing: nothing more of this session reaches the medium.
    pub(crate) fenced: bool,
    /// I/O in the store's hands.
    pub(crate) ios: u32,
    /// What the session did so far.
    pub(crate) counts: SessionCounts,
    /// Tasks that the session may have.
    pub(crate) credit: u32,
    pub(super) tasks: Vec<Option<Task>>,
    /// Slots of tasks whose buffers are attached to the gather of this turn.
    attached: Vec<u16>,
    /// The task whose buffer is with the kernel for a receive.
    lender: Option<TaskId>,
    /// Bytes of buffers that are with the kernel to be sent.
    sending: usize,
    /// Tasks that wait for a buffer until the session holds fewer, in the order in which they came.
    surplus: VecDeque<TaskId>,
    /// Aborted tasks that the medium still has.
    draining: u32,
    /// Task management that waits for them.
    managing: Vec<Itt>,
    /// Another connection takes the session over.
    pub(crate) goes_on: bool,
    /// It was asked to log out, and is cut off then.
    pub(crate) leave_by: Option<Instant>,
    /// A TARGET COLD RESET waits to be answered; it is the last of every session.
    cold: bool,
    leaving: Option<Itt>,
    answered_logout: bool,
    has_ended: bool,
}

/// How far the bytes of the stream were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// To their end.
    Through,
    /// The turn is full: the rest is for the next.
    PutOff,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    /// The initiator logged out.
    #[error("logged out")]
    Logout,
    /// It broke the protocol.
    #[error("protocol error: {0}")]
    Peer(#[from] PeerError),
}

impl Conn {
    /// A connection that was admitted.
    pub(crate) fn new(
        key: ConnKey,
        core: target::Conn,
        target: Option<TargetKey>,
        nexus: NexusId,
        source: IpAddr,
        epoch: u64,
    ) -> Self {
        let host = core.identity().initiator.clone();
        Self {
            key,
            core,
            target,
            nexus,
            host,
            source,
            epoch,
            fenced: false,
            ios: 0,
            counts: SessionCounts::default(),
            credit: TASKS_INITIAL,
            tasks: Vec::new(),
            attached: Vec::new(),
            lender: None,
            sending: 0,
            surplus: VecDeque::new(),
            draining: 0,
            managing: Vec::new(),
            goes_on: false,
            leave_by: None,
            cold: false,
            leaving: None,
            answered_logout: false,
            has_ended: false,
        }
    }

    /// Every complete PDU in the bytes of the stream, while the turn has room for what they ask for.
    pub(crate) fn on_bytes<R: Ring>(
        &mut self,
        input: &mut &[u8],
        desk: &mut Desk<R>,
    ) -> Result<Progress, Ending> {
        // Of no bytes comes only what was held back, and that this was all.
        while !desk.is_full() || input.is_empty() {
            let Some(event) = self.core.next_event(input)? else {
                return Ok(Progress::Through);
            };
            match event {
                Event::Command(command) => self.on_command(command, desk),
                Event::WriteData { task, offset, bytes } => {
                    self.on_write_data(task, offset, bytes);
                }
                Event::WriteReady(task) => self.on_write_ready(task, desk),
                Event::DataFailed { task, fault } => self.on_data_failed(task, fault, desk),
                Event::Manage(manage) => self.on_manage(&manage, desk),
                Event::SendTargets { itt, which } => self.on_send_targets(itt, &which, desk),
                Event::Logout { itt } => self.on_logout(itt, desk),
                Event::Pong => {}
                Event::Ended => return Err(Ending::Logout),
            }
        }
        Ok(Progress::PutOff)
    }

    /// A command: what does it mean, and does it need a buffer?
    fn on_command<R: Ring>(&mut self, command: Command, desk: &mut Desk<R>) {
        self.grow_credit(desk);
        let slot = usize::from(command.task.slot);
        if self.tasks.len() <= slot {
            self.tasks.resize_with(slot + 1, || None);
        }
        self.tasks[slot] = Some(Task::new(command, TaskClock::arrived(desk.meter.tick())));
        let (Some(target), false) = (self.target, self.fenced) else {
            let conflict = Reply { status: Status::ReservationConflict, ..Reply::good() };
            return self.reply(slot, conflict, desk);
        };
        if self.may_run(slot, target, desk) {
            self.run(slot, target, desk);
        }
    }

    /// Sets a task on its way.
    fn carry_out<R: Ring>(&mut self, slot: usize, plan: Plan, desk: &mut Desk<R>) {
        let Some(target) = self.target else {
            return;
        };
        let target = &desk.targets[target];
        let block = target.lu.block_size();
        let (start, write_cache) = (target.start, target.lu.write_cache());
        let task = self.task_at(slot);
        if task.command.unsolicited_len > 0 && plan.takes_no_data(block) {
            return self.begin(slot, Work::Aside(Box::new(plan)), 0, 0, desk);
        }
        let command = task.command;
        task.wanted = plan.wanted(block);
        task.base = 0;
        task.bound = 0;
        let expected = if command.read || command.write { command.expected_len } else { 0 };
        let at = |lba: u64| start + lba * u64::from(block);
        let cut =
            |wanted: u64| u32::try_from(wanted).map_or(expected, |wanted| wanted.min(expected));
        match plan {
            Plan::Reply(reply) => self.reply(slot, reply, desk),
            Plan::Read { lba, .. } => {
                let len = if command.read { cut(task.wanted) } else { 0 };
                self.begin(slot, Work::Read, at(lba), len, desk);
            }
            Plan::Write { lba, durable, blocks, .. } => {
                let len = cut(u64::from(blocks) * u64::from(block));
                self.begin(slot, Work::Write { durable }, at(lba), len, desk);
            }
            Plan::WriteAtomic { lba, .. } => {
                let len = cut(task.wanted);
                self.begin(slot, Work::Atomic, at(lba), len, desk);
            }
            Plan::Verify { lba, compare: true, .. } => {
                let len = cut(task.wanted);
                self.begin(slot, Work::Compare, at(lba), len, desk);
            }
            Plan::Verify { lba, blocks, compare: false } => {
                let len = blocks.saturating_mul(block);
                self.begin(slot, Work::Verify, at(lba), len, desk);
            }
            Plan::Reserved { barred, aborted } => self.reserved(slot, barred, aborted, desk),
            Plan::Parameters { cdb, len } => {
                let len = cut(u64::from(len));
                self.begin(slot, Work::Parameters(cdb), 0, len, desk);
            }
            Plan::Wipe { by, wipe, immediate, .. } => {
                self.begin_wipe(slot, by, wipe, immediate, desk);
            }
            Plan::Copy { list, .. } => self.begin_copy(slot, *list, desk),
            Plan::Flush => {
                task.work = Work::Flush;
                self.store(slot, Io::new(store::Work::Flush, 0, 0), desk);
            }
            Plan::Zero { ranges, unmap } => {
                let more = u64::from(seeded::is(Bug::UnmapOneMore));
                let bytes =
                    |(lba, blocks): &(u64, u64)| (at(*lba), (blocks + more) * u64::from(block));
                let ranges = ranges.iter().map(bytes).collect();
                let durable = !write_cache && !seeded::is(Bug::UnmapNotFlushed);
                task.work = Work::Zero { ranges, next: 0, unmap, durable };
                self.zero(slot, desk);
            }
            series => self.begin_series(slot, series, at, cut, desk),
        }
    }

    /// Starts a command that moves `len` bytes through buffers.
    fn begin<R: Ring>(&mut self, slot: usize, work: Work, at: u64, len: u32, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        task.work = work;
        task.at = at;
        task.len = len;
        // Data that comes with a command which takes none is dropped by the core.
        let takes_data = !matches!(task.work, Work::Read | Work::Verify);
        if len == 0 && !(takes_data && task.command.unsolicited_len > 0) {
            return self.moved_all(slot, desk);
        }
        self.feed(slot, desk);
    }

    /// Feeds a task that has not waited yet. Who waits for a large buffer would wait for ever behind small
    /// ones that go on coming, so what the oldest needs is left to it.
    fn feed<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let is_asked_for = self.task_at(slot).command.unsolicited_len == 0;
        let kept = desk.hungry.front().map_or(0, |oldest| oldest.room);
        let kept = if is_asked_for { kept } else { 0 };
        self.feed_beside(slot, kept, desk);
    }

    /// Gives a task its buffer and lets its next burst begin, or lets it wait for one, if less than `kept`
    /// bytes would be left.
    fn feed_beside<R: Ring>(&mut self, slot: usize, kept: usize, desk: &mut Desk<R>) {
        let key = self.key;
        let task = self.task_at(slot);
        let (due, room) = (task.burst_len(), task.room());
        let has_buffer = task.ahead != Ahead::No;
        let needs_one = task.buf.is_none() && !has_buffer;
        let is_within_share = !needs_one || self.is_within_share(room, desk);
        let task = self.task_at(slot);
        let is_left = kept == 0 || desk.buffers.has_both([room, kept]);
        if needs_one && is_within_share && is_left {
            task.buf = desk.buffers.take(room);
        }
        if task.buf.is_none() && !has_buffer {
            // What comes unasked cannot wait; what must be asked for can (design.md, rule 8).
            if task.command.unsolicited_len > 0 && task.base == 0 && task.stage == Stage::Ended {
                return self.finish(slot, Status::TaskSetFull, None, 0, desk);
            }
            let waits = task.command.write && task.stage != Stage::Hungry;
            task.stage = Stage::Hungry;
            let id = task.id;
            self.counts.r2t_waits += u64::from(waits);
            if is_within_share {
                desk.hungry.push_back(Hungry { conn: key, task: id, room });
            } else {
                self.surplus.push_back(id);
            }
            return;
        }
        task.bound = task.base + due;
        match task.work {
            Work::Read | Work::Verify => self.read_burst(slot, desk),
            Work::Fill { .. } | Work::VerifyEach { .. } => self.on_series_room(slot, desk),
            _ => {
                task.stage = Stage::Collecting;
                let (id, bound) = (task.id, task.bound);
                let is_here = task.has_all_ahead();
                task.ahead = Ahead::No;
                self.core.accept_data(id, bound);
                if is_here {
                    self.on_write_ready(id, desk);
                }
            }
        }
    }

    /// A buffer may be free for a task that has waited for one.
    pub(crate) fn on_room<R: Ring>(&mut self, id: TaskId, desk: &mut Desk<R>) {
        if self.task(id).is_some_and(|task| task.stage == Stage::Hungry) {
            let slot = usize::from(id.slot);
            let task = self.task_at(slot);
            let has_data = task.buf.is_some();
            match task.work {
                Work::Copy => self.copy_on(slot, desk),
                Work::Atomic if has_data => self.prepare_atomic(slot, desk),
                _ => self.feed_beside(slot, 0, desk),
            }
        }
    }

    /// Bytes of a write, copied once to where the medium will take them from.
    fn on_write_data(&mut self, id: TaskId, offset: u32, bytes: &[u8]) {
        let Some(task) = self.task(id) else {
            return;
        };
        let from = (offset - task.base) as usize;
        if let Some(buf) = &mut task.buf {
            buf[from..from + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Everything that was asked for is here: to the medium with it.
    fn on_write_ready<R: Ring>(&mut self, id: TaskId, desk: &mut Desk<R>) {
        let slot = usize::from(id.slot);
        let Some(task) = self.task(id) else {
            return;
        };
        if task.stage == Stage::Dormant {
            task.ahead = Ahead::Here;
            return;
        }
        // The grant is looked at again: it may have ended while the data was on its way (P12).
        // So are reservations: a preempted host leaves no write behind.
        if self.fenced || self.is_barred(slot, desk) {
            return self.finish(slot, Status::ReservationConflict, None, 0, desk);
        }
        let task = self.task_at(slot);
        if let Work::Aside(plan) = &task.work {
            let plan = Plan::clone(plan);
            return self.carry_out_then(slot, plan, desk);
        }
        let base = if seeded::is(Bug::BurstAtTheStart) { 0 } else { task.base };
        let at = task.at + u64::from(base);
        let len = task.bound.min(task.len).saturating_sub(task.base);
        if len == 0 {
            return self.moved_all(slot, desk);
        }
        match &task.work {
            Work::Write { durable } => {
                let durable = *durable;
                let Some(buf) = task.buf.take() else {
                    return self.lost_buffer(slot, desk);
                };
                let work = store::Work::Write { buf, durable };
                self.store(slot, Io::new(work, at, u64::from(len)), desk);
            }
            Work::Atomic => self.prepare_atomic(slot, desk),
            Work::Compare => self.read_beside(slot, at, len, desk),
            Work::Parameters(cdb) => {
                let cdb = *cdb;
                self.on_parameters(slot, &cdb, len, desk);
            }
            _ => self.on_series_data(slot, at, len, desk),
        }
    }

    /// What had to come before `plan` is here.
    fn carry_out_then<R: Ring>(&mut self, slot: usize, plan: Plan, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        task.command.unsolicited_len = 0;
        task.buf.take().into_iter().for_each(|buf| desk.buffers.give(buf));
        self.carry_out(slot, plan, desk);
    }

    /// A parameter list is whole.
    fn on_parameters<R: Ring>(
        &mut self,
        slot: usize,
        cdb: &outband_protocol::scsi::Cdb,
        len: u32,
        desk: &mut Desk<R>,
    ) {
        let nexus = self.nexus;
        let (Some(target), task) = (self.target, self.task_at(slot)) else {
            return;
        };
        let Some(buf) = &task.buf else {
            return;
        };
        let wanted = task.wanted;
        let plan = desk.targets[target].lu.with_parameters(nexus, cdb, &buf[..len as usize]);
        self.carry_out_then(slot, plan, desk);
        // What the command moved is its list, whatever the list brings about.
        if let Some(task) = &mut self.tasks[slot] {
            task.wanted = wanted;
        }
    }

    /// Reads the burst that is due into the task's buffer.
    fn read_burst<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let Some(target) = self.target else {
            return;
        };
        let block = desk.targets[target].lu.block_size();
        let task = self.task_at(slot);
        let at = task.at + u64::from(task.base);
        // The initiator may expect a part of a block; the medium gives whole ones.
        let len = (task.bound - task.base).next_multiple_of(block);
        if let Some(buf) = task.buf.take() {
            self.store(slot, Io::new(store::Work::Read(buf), at, u64::from(len)), desk);
        }
    }

    /// Reads what is on the medium, to be compared with what was sent.
    fn read_beside<R: Ring>(&mut self, slot: usize, at: u64, len: u32, desk: &mut Desk<R>) {
        match desk.buffers.take((len as usize).next_multiple_of(4096)) {
            Some(buf) => {
                self.store(slot, Io::new(store::Work::Read(buf), at, u64::from(len)), desk);
            }
            None => self.finish(slot, Status::TaskSetFull, None, 0, desk),
        }
    }

    /// Hands an I/O to the medium.
    fn store<R: Ring>(&mut self, slot: usize, io: Io, desk: &mut Desk<R>) {
        let Some(target) = self.target else {
            return;
        };
        // One that began before a SANITIZE or FORMAT UNIT does not reach the medium after it.
        if let Some(sense) = desk.targets[target].lu.unsanitized() {
            io.into_buf().into_iter().for_each(|buf| desk.buffers.give(buf));
            return self.finish(slot, Status::CheckCondition, Some(sense), 0, desk);
        }
        let task = self.task_at(slot);
        task.stage = Stage::Storing;
        task.clock.enters_store(desk.meter.tick());
        let id = task.id;
        self.ios += 1;
        desk.start(Whose::Task(self.key, id), target, io);
    }

    /// The medium has done its part, or could not.
    pub(crate) fn on_disk<R: Ring>(&mut self, id: TaskId, done: IoDone, desk: &mut Desk<R>) {
        self.ios -= 1;
        let slot = usize::from(id.slot);
        let Some(task) = self.task(id) else {
            return done.buf.into_iter().for_each(|buf| desk.buffers.give(buf));
        };
        task.clock.leaves_store(desk.meter.tick());
        if task.stage == Stage::Draining {
            return self.drained(slot, done.buf, desk);
        }
        if let Err(error) = done.result {
            done.buf.into_iter().for_each(|buf| desk.buffers.give(buf));
            return self.finish(slot, Status::CheckCondition, Some(error.sense()), 0, desk);
        }
        match &task.work {
            Work::Read => {
                task.buf = done.buf;
                self.on_read(slot, desk);
            }
            Work::Compare => self.on_beside(slot, done.buf, desk),
            Work::Zero { .. } => self.zero(slot, desk),
            Work::Write { .. } | Work::Atomic | Work::Verify => {
                task.buf = done.buf;
                self.burst_moved(slot, desk);
            }
            Work::Update { .. }
            | Work::WriteAndVerify { .. }
            | Work::Fill { .. }
            | Work::VerifyEach { .. } => self.on_series_io(slot, done.buf, desk),
            Work::Survey { .. } => self.on_survey(slot, &done.found, desk),
            _ => self.moved_all(slot, desk),
        }
    }

    /// A burst of a read is in its buffer.
    fn on_read<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        if task.bound >= task.len {
            return self.moved_all(slot, desk);
        }
        task.stage = Stage::Sending;
        let (id, bound) = (task.id, task.bound);
        self.core.send_data(id, bound);
    }

    /// A burst is where it belongs and its buffer is free: the next one, or the end.
    fn burst_moved<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        task.base = task.bound;
        if task.base >= task.len { self.moved_all(slot, desk) } else { self.feed(slot, desk) }
    }

    /// A buffer is wholly in the socket's hands.
    pub(crate) fn on_body_sent<R: Ring>(&mut self, tag: u64, buf: Buf, desk: &mut Desk<R>) {
        self.sending -= buf.len();
        let id = Task::from_tag(tag);
        match self.task(id) {
            Some(task) if task.stage == Stage::Sending && task.body.is_none() => {
                task.buf = Some(buf);
                self.burst_moved(usize::from(id.slot), desk);
            }
            _ => desk.buffers.give(buf),
        }
    }

    /// Everything due goes into one send.
    pub(crate) fn flush<R: Ring>(&mut self, wire: &mut Wire, desk: &mut Desk<R>) {
        self.feed_surplus(desk);
        while let Some(transmit) = self.core.poll_transmit() {
            wire.out().head(transmit.head());
            match &transmit.body {
                Body::None => {}
                Body::Bytes(bytes) => {
                    wire.out().head(bytes);
                    wire.out().head(&transmit.tail(bytes));
                }
                Body::Task { task: id, offset, len } => {
                    let Some(Some(task)) = self.tasks.get_mut(usize::from(id.slot)) else {
                        continue;
                    };
                    debug_assert_eq!(task.id, *id, "a slot is used anew only once it was named");
                    let from = (offset - task.base) as usize;
                    let at = from..from + *len as usize;
                    if task.payload.is_empty() {
                        if let Some(buf) = task.buf.take() {
                            self.sending += buf.len();
                            task.body = Some(wire.out().attach(Task::tag(*id), buf));
                            self.attached.push(id.slot);
                        }
                        let body = task.body.expect("named data is in the task's buffer");
                        wire.body(body, at, |bytes| Tail(transmit.tail(bytes)));
                    } else {
                        let bytes = &task.payload[at];
                        wire.out().head(bytes);
                        wire.out().head(&transmit.tail(bytes));
                    }
                }
            }
        }
        self.forget_bodies();
        wire.send(desk);
    }

    /// What its target knows it by.
    pub(crate) fn session(&self) -> Option<Session> {
        let (nexus, epoch, host) = (self.nexus, self.epoch, self.host.to_string());
        self.target.map(|target| Session { target, nexus, host, epoch })
    }

    fn task(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(usize::from(id.slot))?.as_mut().filter(|task| task.id == id)
    }

    fn task_at(&mut self, slot: usize) -> &mut Task {
        self.tasks[slot].as_mut().expect("the slot was filled when its command arrived")
    }
}

/// Lets a tail be passed on as bytes.
struct Tail(outband_protocol::Tail);

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

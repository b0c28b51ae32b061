//! SANITIZE or FORMAT UNIT on its way. It belongs to the logical unit, not to the command that asked for it: no
//! abort, reset, logout or fence ends it. A mark in the journal says that it has begun, durably
//! before the first block is touched, and goes, durably, after the last; so one that a cut ended is
//! found in the failed state, and never looks done.

use outband_protocol::ids::TaskId;
use outband_protocol::scsi::Status;
use outband_ring::{Buf, Ring};

use super::Shard;
use super::desk::Desk;
use super::peer::Phase;
use super::token::{ConnKey, TargetKey, VolumeKey, Whose};
use crate::scsi::{Wipe, Wiping};
use crate::store::{Io, IoDone, Work};

/// Bytes overwritten at a time, and erased at a time.
const PIECE: u64 = 1 << 20;
const ERASE_PIECE: u64 = 1 << 30;
/// An overwrite has nobody who waits for each block, and others share its device: a second's look at
/// the timers lets it go on by an eighth of it all, and by no more than this.
const SHARE: u64 = 8;
const PER_TICK_MAX: u64 = 256 << 20;

/// What a host asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) target: TargetKey,
    pub(crate) by: Wiping,
    pub(crate) wipe: Wipe,
    /// The command, if it waits for the end.
    pub(crate) waiter: Option<(ConnKey, TaskId)>,
}

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Marking,
    /// The range is asked for alone: what began before has to end.
    Claiming,
    Wiping,
    Syncing,
    Unmarking,
}

/// A sanitize, or a format, on its way.
#[derive(Debug)]
pub(crate) struct Job {
    volume: VolumeKey,
    by: Wiping,
    wipe: Wipe,
    waiter: Option<(ConnKey, TaskId)>,
    step: Step,
    /// Bytes of the target in the volume, and how far this pass is.
    start: u64,
    len: u64,
    at: u64,
    pass: u8,
    /// Bytes that may be written before the next look at the timers.
    budget: u64,
    buf: Option<Buf>,
    /// The medium has something of it.
    busy: bool,
}

impl Job {
    fn passes(&self) -> u8 {
        match &self.wipe {
            Wipe::Overwrite(overwrite) => overwrite.count,
            Wipe::Erase => 1,
            Wipe::Exit => 0,
        }
    }

    fn total(&self) -> u64 {
        self.len.saturating_mul(self.passes().into()).max(1)
    }

    fn progress(&self) -> u16 {
        let done = u128::from(self.len) * u128::from(self.pass) + u128::from(self.at);
        u16::try_from(done * 65_536 / u128::from(self.total())).unwrap_or(u16::MAX)
    }

    /// Whether it uses a volume.
    pub(crate) fn is_at(&self, volume: VolumeKey) -> bool {
        self.volume == volume
    }
}

impl<R: Ring> Shard<R> {
    /// A host has asked for it, and the logical unit refuses everything else by now.
    pub(super) fn sanitize(&mut self, request: Request) {
        let Request { target, by, wipe, waiter } = request;
        let Some(held) = self.desk.targets.get(target) else {
            return;
        };
        let len = held.lu.blocks() * u64::from(held.lu.block_size());
        let (volume, start, id) = (held.volume, held.start, held.id);
        let exit = wipe == Wipe::Exit;
        let job = Job {
            volume,
            by,
            wipe,
            waiter,
            step: if exit { Step::Unmarking } else { Step::Marking },
            start,
            len,
            at: 0,
            pass: 0,
            budget: 0,
            buf: None,
            busy: true,
        };
        self.desk.jobs.insert(target, job);
        tracing::info!(target = %id, ?by, "the whole of it is wiped");
        let mark = if exit { None } else { Some(by) };
        self.write_mark(target, mark);
    }

    /// Writes or removes the mark of a target, where it has a place for one.
    fn write_mark(&mut self, target: TargetKey, mark: Option<Wiping>) {
        let Some(held) = self.desk.targets.get(target) else {
            return;
        };
        let (id, volume) = (held.id, held.volume);
        match self.desk.mark(volume, id, mark) {
            Some(Ok(io)) => self.desk.start(Whose::Sanitize(target), target, io),
            // Memory forgets its marks with everything else.
            None => self.on_wiped(target, Ok(())),
            Some(Err(())) => self.sanitize_ends(target, false),
        }
    }

    /// Something of it has ended.
    pub(super) fn on_sanitize_done(&mut self, target: TargetKey, done: IoDone) {
        if let Some(job) = self.desk.jobs.get_mut(&target) {
            job.buf = done.buf.or_else(|| job.buf.take());
        }
        self.on_wiped(target, done.result.map_err(drop));
    }

    fn on_wiped(&mut self, target: TargetKey, result: Result<(), ()>) {
        let Some(job) = self.desk.jobs.get_mut(&target) else {
            return;
        };
        job.busy = false;
        if result.is_err() {
            return self.sanitize_ends(target, false);
        }
        match job.step {
            Step::Marking => {
                job.step = Step::Claiming;
                job.busy = true;
                let range = job.start..job.start + job.len;
                if self.desk.claim_for(Whose::Sanitize(target), target, range) {
                    self.on_sanitize_granted(target);
                }
            }
            Step::Claiming => {}
            Step::Wiping => self.wipe_on(target),
            Step::Syncing => {
                job.step = Step::Unmarking;
                job.busy = true;
                self.write_mark(target, None);
            }
            Step::Unmarking => self.sanitize_ends(target, true),
        }
    }

    /// Nothing that began before is on its way any more.
    pub(super) fn on_sanitize_granted(&mut self, target: TargetKey) {
        if let Some(job) = self.desk.jobs.get_mut(&target) {
            job.step = Step::Wiping;
            job.busy = false;
            job.budget = job.allowance();
        }
        self.wipe_on(target);
    }

    /// A second has gone by.
    pub(super) fn sanitize_on(&mut self) {
        for target in self.desk.jobs.keys().copied().collect::<Vec<_>>() {
            let Some(job) = self.desk.jobs.get_mut(&target) else {
                continue;
            };
            job.budget = job.allowance();
            if job.step == Step::Wiping && !job.busy {
                self.wipe_on(target);
            }
        }
    }

    /// The next piece, if there is one and it may be done now.
    fn wipe_on(&mut self, target: TargetKey) {
        let stopping = self.stopping;
        let Some(job) = self.desk.jobs.get_mut(&target) else {
            return;
        };
        if job.at == job.len {
            (job.at, job.pass) = (0, job.pass + 1);
        }
        let now = job.progress();
        if let Some(held) = self.desk.targets.get_mut(target) {
            held.lu.sanitize_moved(now);
        }
        // At a stop the mark stays, and the next start finds it failed.
        if stopping {
            return;
        }
        let io = if job.pass == job.passes() {
            job.step = Step::Syncing;
            Io::new(Work::Flush, 0, 0)
        } else {
            let Some(io) = job.next_piece(&self.desk.targets, target) else {
                return;
            };
            io
        };
        job.busy = true;
        self.desk.start(Whose::Sanitize(target), target, io);
    }

    /// It is over, or has failed.
    fn sanitize_ends(&mut self, target: TargetKey, done: bool) {
        let Some(job) = self.desk.jobs.remove(&target) else {
            return;
        };
        self.desk.release_for(Whose::Sanitize(target), target);
        let id = self.desk.targets.get(target).map(|held| held.id);
        if let Some(id) = id.filter(|_| done) {
            self.desk.unmarked(job.volume, id);
        }
        if let Some(held) = self.desk.targets.get_mut(target) {
            held.lu.sanitize_ended(done);
            tracing::info!(target = %held.id, by = ?job.by, done, "wiping ended");
        }
        let Some((key, task)) = job.waiter else {
            return;
        };
        let (status, sense) = if done {
            (Status::Good, None)
        } else {
            (Status::CheckCondition, Some(job.by.failed()))
        };
        let desk = &mut self.desk;
        if let Some(Phase::Inside(conn)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) {
            conn.on_sanitized(task, status, sense, desk);
        }
        self.touch(key);
    }

    /// A volume goes: what is being done with it goes no further. True while the medium has
    /// something of it.
    pub(super) fn drop_jobs(&mut self, volume: VolumeKey) -> bool {
        self.desk.jobs.retain(|_, job| !job.is_at(volume) || job.busy);
        self.desk.jobs.values().any(|job| job.is_at(volume))
    }
}

impl Job {
    fn allowance(&self) -> u64 {
        match self.wipe {
            Wipe::Overwrite(_) => (self.total() / SHARE).clamp(PIECE, PER_TICK_MAX),
            _ => u64::MAX,
        }
    }

    fn next_piece(
        &mut self,
        targets: &slotmap::SlotMap<TargetKey, super::target::Target>,
        target: TargetKey,
    ) -> Option<Io> {
        let at = self.start + self.at;
        let left = self.len - self.at;
        let Wipe::Overwrite(overwrite) = &self.wipe else {
            let len = left.min(ERASE_PIECE);
            self.at += len;
            return Some(Io::new(Work::Zero { unmap: true }, at, len));
        };
        let len = left.min(PIECE);
        if self.budget < len {
            return None;
        }
        let block_size = targets.get(target)?.lu.block_size();
        let mut buf =
            self.buf.take().unwrap_or_else(|| Buf::zeroed(usize::try_from(PIECE).expect("a MiB")));
        if self.at == 0 {
            let block = overwrite.block(self.pass, block_size);
            buf.chunks_mut(block.len()).for_each(|part| part.copy_from_slice(&block[..part.len()]));
        }
        self.budget -= len;
        self.at += len;
        Some(Io::new(Work::Write { buf, durable: false }, at, len))
    }
}

impl<R: Ring> Desk<R> {
    /// Whether any sanitize is on its way.
    pub(crate) fn is_sanitizing(&self) -> bool {
        !self.jobs.is_empty()
    }
}

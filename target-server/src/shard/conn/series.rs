//! Commands that are a series of reads and writes: COMPARE AND WRITE and ORWRITE, with nobody
//! between; WRITE AND VERIFY; WRITE SAME; VERIFY with one block for all. And GET LBA STATUS.

use outband_protocol::ids::TaskId;
use outband_protocol::scsi::sense::MISCOMPARE_DURING_VERIFY;
use outband_protocol::scsi::{Sense, Status};
use outband_protocol::seeded::{self, Bug};
use outband_ring::{Buf, Stretch};

use super::{Conn, Desk, Io, Plan, Ring, Stage, Work, store};
use crate::scsi::lba_status;
use crate::shard::task::Update;
use crate::store::StoreError;

impl Conn {
    /// Sets a task on its way through a series; `at` is where its blocks begin. `cut` is what the
    /// initiator offers of a length.
    pub(super) fn begin_series<R: Ring>(
        &mut self,
        slot: usize,
        plan: Plan,
        at: impl Fn(u64) -> u64,
        cut: impl Fn(u64) -> u32,
        desk: &mut Desk<R>,
    ) {
        let Some(target) = self.target else {
            return;
        };
        let block = desk.targets[target].lu.block_size();
        let durable_later = !desk.targets[target].lu.write_cache();
        let bytes = |blocks: u32| u64::from(blocks) * u64::from(block);
        let whole = |blocks: u32| blocks.saturating_mul(block);
        let (work, lba, len) = match plan {
            Plan::CompareAndWrite { lba, blocks, durable } => {
                let how = Update::IfEqual;
                (Work::Update { how, durable, was_read: false }, lba, cut(2 * bytes(blocks)))
            }
            Plan::OrWrite { lba, blocks, durable, .. } => {
                let how = Update::Or;
                (Work::Update { how, durable, was_read: false }, lba, cut(bytes(blocks)))
            }
            Plan::WriteAndVerify { lba, blocks, compare, .. } => {
                (Work::WriteAndVerify { compare, written: false }, lba, cut(bytes(blocks)))
            }
            Plan::Fill { lba, blocks, block } => {
                (Work::Fill { block, durable: durable_later }, lba, whole(blocks))
            }
            Plan::VerifyEach { lba, blocks, block } => {
                (Work::VerifyEach { block }, lba, whole(blocks))
            }
            Plan::Survey { lba, blocks, stretches, allocation } => {
                self.task_at(slot).work = Work::Survey { lba, allocation };
                let work = store::Work::Survey { at_most: stretches };
                return self.go_on(slot, Io::new(work, at(lba), blocks * u64::from(block)), desk);
            }
            _ => return,
        };
        self.begin(slot, work, at(lba), len, desk);
    }

    /// The next range of a command that makes zeros.
    pub(super) fn zero<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        if self.is_barred(slot, desk) {
            return self.finish(slot, Status::ReservationConflict, None, 0, desk);
        }
        let task = self.task_at(slot);
        let Work::Zero { ranges, next, unmap, durable } = &mut task.work else {
            return;
        };
        if let Some((at, len)) = ranges.get(*next).copied() {
            *next += 1;
            let work = store::Work::Zero { unmap: *unmap };
            return self.go_on(slot, Io::new(work, at, len), desk);
        }
        if *durable {
            task.work = Work::Flush;
            return self.go_on(slot, Io::new(store::Work::Flush, 0, 0), desk);
        }
        self.moved_all(slot, desk);
    }

    /// A burst of data-out is whole. Whatever else the series needs is taken now, so that nothing
    /// waits for a buffer while others wait for its range.
    pub(super) fn on_series_data<R: Ring>(
        &mut self,
        slot: usize,
        at: u64,
        len: u32,
        desk: &mut Desk<R>,
    ) {
        let task = self.task_at(slot);
        let beside_len = match task.work {
            Work::Update { how: Update::IfEqual, .. } => len / 2,
            Work::Update { how: Update::Or, .. } | Work::WriteAndVerify { compare: true, .. } => {
                len
            }
            _ => 0,
        };
        if beside_len > 0 && task.beside.is_none() {
            task.beside = desk.buffers.take((beside_len as usize).next_multiple_of(4096));
            if task.beside.is_none() {
                return self.finish(slot, Status::TaskSetFull, None, 0, desk);
            }
        }
        match task.work {
            // Later bursts come when the whole range is its own already.
            Work::Update { .. } if task.claims => self.read_for_update(slot, desk),
            Work::Update { how, .. } => {
                let blocks = if how == Update::IfEqual { task.len / 2 } else { task.len };
                let range = task.at..task.at + u64::from(blocks);
                self.claim(slot, range, desk);
            }
            Work::WriteAndVerify { .. } => {
                if let Some(buf) = task.buf.take() {
                    let work = store::Work::Write { buf, durable: true };
                    self.go_on(slot, Io::new(work, at, len.into()), desk);
                }
            }
            _ => {}
        }
    }

    /// A task has the range that it asked for, unless it has ended meanwhile.
    pub(crate) fn on_granted<R: Ring>(&mut self, id: TaskId, desk: &mut Desk<R>) {
        if self.task(id).is_some_and(|task| task.stage == Stage::Claiming) {
            let slot = usize::from(id.slot);
            // A reservation may have come while it waited.
            if self.is_barred(slot, desk) {
                return self.finish(slot, Status::ReservationConflict, None, 0, desk);
            }
            match self.task_at(slot).work {
                Work::Atomic => self.write_atomically(slot, desk),
                _ => self.read_for_update(slot, desk),
            }
        }
    }

    /// Reads what the burst is about to change.
    fn read_for_update<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let (at, len) = self.update_place(slot);
        if let Some(buf) = self.task_at(slot).beside.take() {
            self.go_on(slot, Io::new(store::Work::Read(buf), at, len), desk);
        }
    }

    /// Where the burst of an update lies on the volume. COMPARE AND WRITE has one burst, of which
    /// one half is sent to be compared.
    fn update_place(&mut self, slot: usize) -> (u64, u64) {
        let task = self.task_at(slot);
        let len = task.bound.min(task.len) - task.base;
        let halves = matches!(task.work, Work::Update { how: Update::IfEqual, .. });
        let len = if halves { len / 2 } else { len };
        (task.at + u64::from(task.base), len.into())
    }

    /// Buffers are there: the burst of a series that takes no data from the initiator.
    pub(super) fn on_series_room<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        if self.is_barred(slot, desk) {
            return self.finish(slot, Status::ReservationConflict, None, 0, desk);
        }
        let task = self.task_at(slot);
        let (at, len) = (task.at + u64::from(task.base), u64::from(task.bound - task.base));
        let Some(mut buf) = task.buf.take() else {
            return;
        };
        let work = match &task.work {
            Work::Fill { block, .. } => {
                // The buffer stays with the task, so that later bursts find it filled.
                if task.base == 0 {
                    buf.chunks_exact_mut(block.len()).for_each(|each| each.copy_from_slice(block));
                }
                store::Work::Write { buf, durable: false }
            }
            _ => store::Work::Read(buf),
        };
        self.go_on(slot, Io::new(work, at, len), desk);
    }

    /// The medium has done its part of a series.
    pub(super) fn on_series_io<R: Ring>(
        &mut self,
        slot: usize,
        buf: Option<Buf>,
        desk: &mut Desk<R>,
    ) {
        let task = self.task_at(slot);
        match &mut task.work {
            Work::Update { was_read: was_read @ false, .. } => {
                *was_read = true;
                task.beside = buf;
                self.update(slot, desk);
            }
            Work::Update { was_read, .. } => {
                *was_read = false;
                task.buf = buf;
                self.burst_moved(slot, desk);
            }
            Work::WriteAndVerify { compare, written: written @ false } => {
                *written = true;
                let compare = *compare;
                task.buf = buf;
                self.read_back(slot, compare, desk);
            }
            Work::WriteAndVerify { compare: true, written } => {
                *written = false;
                self.on_beside(slot, buf, desk);
            }
            Work::WriteAndVerify { written, .. } => {
                *written = false;
                task.buf = buf;
                self.burst_moved(slot, desk);
            }
            Work::VerifyEach { .. } => {
                task.buf = buf;
                self.on_each(slot, desk);
            }
            _ => {
                task.buf = buf;
                self.filled(slot, desk);
            }
        }
    }

    /// What was sent and what the medium holds are both here: what is to be written?
    fn update<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let (at, len) = self.update_place(slot);
        let count = usize::try_from(len).expect("a burst is at most 1 MiB");
        let task = self.task_at(slot);
        let Work::Update { how, durable, .. } = task.work else {
            return;
        };
        let (Some(mut buf), Some(held)) = (task.buf.take(), &task.beside) else {
            return;
        };
        match how {
            Update::IfEqual => {
                let (sent, held) = (&buf[..count], &held[..count]);
                let differs = sent.iter().zip(held).position(|(sent, held)| sent != held);
                if let Some(at) = differs.filter(|_| !seeded::is(Bug::SwapUncompared)) {
                    desk.buffers.give(buf);
                    let error = StoreError::Miscompare(at as u64);
                    return self.check(slot, error.sense(), desk);
                }
                buf.copy_within(count..2 * count, 0);
            }
            Update::Or => {
                for (sent, held) in buf[..count].iter_mut().zip(&held[..]) {
                    *sent |= held;
                }
            }
        }
        self.go_on(slot, Io::new(store::Work::Write { buf, durable }, at, len), desk);
    }

    /// The store has told where it has room.
    pub(super) fn on_survey<R: Ring>(
        &mut self,
        slot: usize,
        found: &[Stretch],
        desk: &mut Desk<R>,
    ) {
        let (Some(target), task) = (self.target, self.task_at(slot)) else {
            return;
        };
        let Work::Survey { lba, allocation } = task.work else {
            return;
        };
        let found: Vec<_> = found.iter().map(|stretch| (stretch.len, stretch.mapped)).collect();
        let block = desk.targets[target].lu.block_size();
        self.reply(slot, lba_status(lba, block, &found, allocation), desk);
    }

    /// What was just written is read again, beside what was sent if that is to be compared.
    fn read_back<R: Ring>(&mut self, slot: usize, compare: bool, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        let at = task.at + u64::from(task.base);
        let len = task.bound.min(task.len) - task.base;
        let buf = if compare { task.beside.take() } else { task.buf.take() };
        if let Some(buf) = buf {
            self.go_on(slot, Io::new(store::Work::Read(buf), at, len.into()), desk);
        }
    }

    /// A burst is here of which every block must be the one.
    fn on_each<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        let (Work::VerifyEach { block }, Some(held)) = (&task.work, &task.buf) else {
            return;
        };
        let held = &held[..(task.bound - task.base) as usize];
        if held.chunks_exact(block.len()).all(|each| each == block) {
            self.burst_moved(slot, desk);
        } else {
            self.check(slot, MISCOMPARE_DURING_VERIFY, desk);
        }
    }

    /// A burst of WRITE SAME is written. After the last, one flush makes all of it durable.
    fn filled<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        if task.bound >= task.len && matches!(task.work, Work::Fill { durable: true, .. }) {
            task.work = Work::Flush;
            return self.go_on(slot, Io::new(store::Work::Flush, 0, 0), desk);
        }
        self.burst_moved(slot, desk);
    }

    /// The next step of a series, unless the grant has ended since the last (P12).
    pub(super) fn go_on<R: Ring>(&mut self, slot: usize, io: Io, desk: &mut Desk<R>) {
        if self.fenced {
            io.into_buf().into_iter().for_each(|buf| desk.buffers.give(buf));
            return self.finish(slot, Status::ReservationConflict, None, 0, desk);
        }
        self.store(slot, io, desk);
    }

    fn check<R: Ring>(&mut self, slot: usize, sense: Sense, desk: &mut Desk<R>) {
        self.finish(slot, Status::CheckCondition, Some(sense), 0, desk);
    }
}

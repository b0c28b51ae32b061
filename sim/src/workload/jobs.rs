//! What a host's application asks for, and what must be true of each answer.

use std::ops::Range;

use outband_protocol::ids::{Lun, TaskId};
use outband_protocol::initiator::{Data, Outcome, Replay, Request};
use outband_protocol::limits::BURST_LEN_MAX;
use outband_protocol::scsi::cdb::{ByteCheck, Transfer, Verify, WriteAtomic, WriteSame};
use outband_protocol::scsi::sense::SenseKey;
use outband_protocol::scsi::{Cdb, Sense, Status, unmap};
use outband_target_server::media::WritePolicy;

use super::{Ctx, HASTE, Host, Job, PATIENCE, What, word};
use crate::checker::{SAME, WriteId, tag_of};
use crate::tag::{Content, parts};
use crate::world::Failure;

/// MAXIMUM ATOMIC TRANSFER LENGTH, in bytes.
const ATOMIC_LEN_MAX: u32 = 128 << 10;

impl Host {
    /// Makes the next request, or one for each free place when there is no pause between them.
    pub(super) fn ask(&mut self, ctx: &mut Ctx<'_>) {
        while self.granted && self.jobs.len() < usize::from(self.setup.depth) {
            let Some(job) = self.next_job(ctx) else {
                return;
            };
            self.submit(job, ctx);
            let all_at_once = self.rival || self.sweep.is_some();
            if !all_at_once && self.rng.chance(1000 - self.setup.eager) {
                return self.think_later(self.setup.pause.end, ctx);
            }
        }
    }

    pub(super) fn next_job(&mut self, ctx: &mut Ctx<'_>) -> Option<Job> {
        let session = self.session.as_ref()?;
        if let Some((next, end)) = self.sweep {
            let blocks = self.setup.blocks_max.min(end - next);
            if blocks > 0 {
                self.sweep = Some((next + blocks, end));
                return Some(self.read(next, blocks, ctx));
            }
            if self.jobs.is_empty() {
                self.sweep = None;
            }
            return None;
        }
        // Before the first login there is nobody to ask.
        if self.quota == 0 || !session.is_up() && self.rng.coin() {
            return None;
        }
        if !self.setup.script.is_empty() {
            return self.planned(ctx);
        }
        self.quota -= 1;
        if std::mem::take(&mut self.rival) {
            return Some(self.any_swap(ctx));
        }
        if self.rng.chance(self.setup.reads) {
            return Some(self.any_read(ctx));
        }
        if self.rng.chance(self.setup.syncs) {
            return Some(a_sync(ctx));
        }
        let job = match self.rng.index(100) {
            0..36 => self.any_read(ctx),
            36..72 => self.any_write(ctx),
            72..80 => a_sync(ctx),
            80..83 => self.any_unmap(ctx),
            83..85 => self.any_verify(ctx),
            85 => self.beyond(ctx),
            86..90 => self.any_swap(ctx),
            90..92 => self.any_or(ctx),
            92..94 => self.any_same(ctx),
            94..99 => self.any_atomic(ctx),
            _ => Job { what: What::Look, issued: ctx.checker.tick(), bytes: vec![0; 96] },
        };
        Some(job)
    }

    fn run(&mut self, within: Range<u32>) -> (u32, u32) {
        let most = self.setup.blocks_max.min(within.end - within.start);
        let blocks = 1 + self.rng.within(0..u64::from(most));
        let blocks = u32::try_from(blocks).expect("at most blocks_max");
        let lba = self.rng.within(u64::from(within.start)..u64::from(within.end - blocks + 1));
        (u32::try_from(lba).expect("inside of the volume"), blocks)
    }

    fn any_read(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let (lba, blocks) = self.run(0..ctx.setup.volumes[self.setup.volume].blocks);
        self.read(lba, blocks, ctx)
    }

    fn read(&self, lba: u32, blocks: u32, ctx: &mut Ctx<'_>) -> Job {
        let block_size = ctx.setup.volumes[self.setup.volume].block_size;
        let bytes = vec![0xee; (blocks * block_size) as usize];
        Job { what: What::Read { lba, blocks }, issued: ctx.checker.tick(), bytes }
    }

    fn any_write(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let place = self.run(self.setup.writes.clone());
        let fua = self.rng.chance(self.setup.fua);
        self.write(place, fua, ctx)
    }

    pub(super) fn write(&mut self, (lba, blocks): (u32, u32), fua: bool, ctx: &mut Ctx<'_>) -> Job {
        let volume = self.setup.volume;
        let block_size = ctx.setup.volumes[volume].block_size as usize;
        let id = ctx.checker.write(volume, lba, blocks);
        let mut bytes = vec![0; block_size * blocks as usize];
        for (block, lba) in bytes.chunks_exact_mut(block_size).zip(lba..) {
            tag_of(volume, lba, id).fill(block);
        }
        ctx.hardware.note(format_args!("host {} writes {id:?} {lba}+{blocks}", self.index));
        self.written = Some((lba, bytes.clone()));
        Job { what: What::Write { id, lba, fua }, issued: ctx.checker.tick(), bytes }
    }

    /// A write that is there as a whole or not at all, where that is offered.
    fn any_atomic(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let volume = self.setup.volume;
        if !ctx.setup.volumes[volume].atomic || ctx.setup.loses_writes() {
            return self.any_write(ctx);
        }
        let (lba, blocks) = self.run(self.setup.writes.clone());
        let block_size = ctx.setup.volumes[volume].block_size;
        let blocks = blocks.min(ATOMIC_LEN_MAX / block_size);
        let id = ctx.checker.write_atomic(volume, lba, blocks);
        let mut bytes = vec![0; (block_size * blocks) as usize];
        for (block, lba) in bytes.chunks_exact_mut(block_size as usize).zip(lba..) {
            tag_of(volume, lba, id).fill(block);
        }
        ctx.hardware.note(format_args!("host {} writes {id:?} {lba}+{blocks} whole", self.index));
        self.written = Some((lba, bytes.clone()));
        Job { what: What::Atomic { id, lba }, issued: ctx.checker.tick(), bytes }
    }

    /// The same block all over a few, or zeros, which may be holes then.
    fn any_same(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let place = self.run(self.setup.writes.clone());
        let unmap = self.rng.coin();
        self.fill(place, unmap, ctx)
    }

    pub(super) fn fill(
        &mut self,
        (lba, blocks): (u32, u32),
        unmap: bool,
        ctx: &mut Ctx<'_>,
    ) -> Job {
        let volume = self.setup.volume;
        let mut bytes = vec![0; ctx.setup.volumes[volume].block_size as usize];
        let id = if unmap {
            // Zeros that are sent, or that go without saying (NDOB).
            bytes.truncate(if self.rng.coin() { bytes.len() } else { 0 });
            ctx.checker.unmap(volume, &[(lba, blocks)])
        } else {
            let id = ctx.checker.write_same(volume, lba, blocks);
            tag_of(volume, SAME, id).fill(&mut bytes);
            id
        };
        ctx.hardware.note(format_args!("host {} fills {id:?} {lba}+{blocks}", self.index));
        Job { what: What::Same { id, lba, blocks, unmap }, issued: ctx.checker.tick(), bytes }
    }

    fn any_or(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let (lba, blocks) = self.run(self.setup.writes.clone());
        let block_size = ctx.setup.volumes[self.setup.volume].block_size;
        ctx.hardware.note(format_args!("host {} rewrites {lba}+{blocks}", self.index));
        let bytes = vec![0; (blocks * block_size) as usize];
        Job { what: What::Or { lba }, issued: ctx.checker.tick(), bytes }
    }

    /// Asks for blocks behind the end, most often for one too many.
    fn beyond(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let setup = &ctx.setup.volumes[self.setup.volume];
        if setup.pieces.is_empty() {
            // In a pool hosts use only the beginning of their volumes.
            return self.any_read(ctx);
        }
        let blocks = 1 + u32::try_from(self.rng.within(0..4)).expect("a few");
        let lba = setup.blocks - self.rng.pick(&[0, 1, blocks - 1]).min(blocks - 1);
        let write = self.rng.coin();
        let fill = if write { 0xbb } else { 0xee };
        let bytes = vec![fill; (blocks * setup.block_size) as usize];
        Job { what: What::Beyond { lba, blocks, write }, issued: ctx.checker.tick(), bytes }
    }

    fn any_unmap(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let ranges: Vec<_> =
            (0..1 + self.rng.index(3)).map(|_| self.run(self.setup.writes.clone())).collect();
        self.unmap(&ranges, ctx)
    }

    pub(super) fn unmap(&mut self, ranges: &[(u32, u32)], ctx: &mut Ctx<'_>) -> Job {
        let id = ctx.checker.unmap(self.setup.volume, ranges);
        ctx.hardware.note(format_args!("host {} unmaps {id:?} {ranges:?}", self.index));
        let extents: Vec<_> = ranges
            .iter()
            .map(|(lba, blocks)| unmap::Extent { lba: u64::from(*lba), blocks: *blocks })
            .collect();
        Job { what: What::Unmap { id }, issued: ctx.checker.tick(), bytes: unmap::build(&extents) }
    }

    /// Compares the medium with what it should have, or only has it read.
    fn any_verify(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let issued = ctx.checker.tick();
        let compare = self.rng.chance(700);
        if let Some((lba, bytes)) = self.written.clone().filter(|_| compare) {
            let block_size = ctx.setup.volumes[self.setup.volume].block_size as usize;
            let blocks = u32::try_from(bytes.len() / block_size).expect("requests are small");
            return Job { what: What::Verify { lba, blocks }, issued, bytes };
        }
        let (lba, blocks) = self.run(0..ctx.setup.volumes[self.setup.volume].blocks);
        Job { what: What::Verify { lba, blocks }, issued, bytes: Vec::new() }
    }

    /// Writes if the medium has what this host wrote last, as it has unless somebody came between.
    fn any_swap(&mut self, ctx: &mut Ctx<'_>) -> Job {
        let Some((lba, mut bytes)) = self.written.clone() else {
            return self.any_write(ctx);
        };
        let volume = self.setup.volume;
        let block_size = ctx.setup.volumes[volume].block_size as usize;
        // Both halves have to fit a burst, and their blocks one byte of the CDB (SBC-4 5.3).
        let most = (BURST_LEN_MAX as usize / 2 / block_size).min(usize::from(u8::MAX));
        bytes.truncate(block_size * most);
        let blocks = u32::try_from(bytes.len() / block_size).expect("requests are small");
        let id = ctx.checker.write(volume, lba, blocks);
        let mut new = vec![0; bytes.len()];
        for (block, lba) in new.chunks_exact_mut(block_size).zip(lba..) {
            tag_of(volume, lba, id).fill(block);
        }
        ctx.hardware.note(format_args!("host {} swaps {id:?} {lba}+{blocks}", self.index));
        // A few ask for the same, and only one of them can have it.
        self.rival = self.rng.coin();
        if !self.rival {
            self.written = Some((lba, new.clone()));
        }
        bytes.extend(new);
        Job { what: What::Swap { id, lba }, issued: ctx.checker.tick(), bytes }
    }

    pub(super) fn submit(&mut self, job: Job, ctx: &mut Ctx<'_>) {
        let block_size = ctx.setup.volumes[self.setup.volume].block_size;
        let (cdb, data) = command(&job, block_size, self.rng.coin());
        let cdb = cdb.build();
        let replay = match job.what {
            What::Write { .. } if !self.setup.repeats => Replay::Never,
            What::Beyond { .. } => Replay::Never,
            _ => Replay::of(&cdb),
        };
        let hasty = self.sweep.is_none() && self.rng.chance(self.setup.hasty);
        let patience = if hasty { HASTE } else { PATIENCE };
        let deadline = ctx.hardware.instant() + patience;
        let request = Request { lun: Lun::ZERO, cdb, data, replay, deadline };
        let Some(session) = &mut self.session else {
            return;
        };
        match session.submit(request) {
            Ok(task) => {
                self.jobs.insert(task, job);
            }
            // A session that logs out takes no more: nothing of it was sent.
            Err(_) => job.write().into_iter().for_each(|id| ctx.checker.close(id)),
        }
    }

    pub(super) fn on_done(&mut self, task: TaskId, outcome: Outcome, up: bool, ctx: &mut Ctx<'_>) {
        let Some(job) = self.jobs.remove(&task) else {
            return ctx.fail(format!("host {}: {task:?} ended twice", self.index));
        };
        ctx.hardware.note(format_args!("host {} {:?}: {}", self.index, job.what, word(outcome)));
        self.done += 1;
        match outcome {
            Outcome::Good { received, .. } => self.on_good(&job, received, ctx),
            Outcome::Status { status, sense } => {
                self.check_status(&job, status, sense, ctx);
                job.write().into_iter().for_each(|id| ctx.checker.close(id));
            }
            Outcome::Refused => {
                if self.setup.damage == 0 {
                    ctx.fail(format!("host {}: {:?} was rejected", self.index, job.what));
                }
                job.write().into_iter().for_each(|id| ctx.checker.close(id));
            }
            Outcome::NotSent => job.write().into_iter().for_each(|id| ctx.checker.close(id)),
            // With the session up, the target has let go of it, or it is of a session before.
            Outcome::Unknown | Outcome::TimedOut if up => {
                job.write().into_iter().for_each(|id| ctx.checker.close(id));
            }
            Outcome::Unknown | Outcome::TimedOut => self.ghosts.extend(job.write()),
        }
        self.think_later(self.setup.pause.end, ctx);
    }

    fn on_good(&self, job: &Job, received: u32, ctx: &mut Ctx<'_>) {
        let volume = self.setup.volume;
        let setup = &ctx.setup.volumes[volume];
        let durable = setup.policy == WritePolicy::Normal;
        let keeps = !setup.memory;
        let promises = match job.what {
            What::Sync | What::Atomic { .. } => true,
            What::Write { fua, .. } => durable || fua,
            What::Unmap { .. } | What::Swap { .. } | What::Same { .. } | What::Or { .. } => durable,
            What::Read { .. } | What::Verify { .. } | What::Beyond { .. } | What::Look => false,
        };
        // A failed sync is final, until the operator says otherwise (P5).
        if promises && ctx.faulted.get(&volume).is_some_and(|since| *since < job.issued) {
            return ctx.fail(format!(
                "host {}: {:?} was called good on a faulted volume",
                self.index, job.what
            ));
        }
        match job.what {
            What::Read { lba, blocks } => {
                if received as usize != job.bytes.len() {
                    return ctx.fail(format!(
                        "host {}: {received} bytes of {} read, and that was called good",
                        self.index,
                        job.bytes.len()
                    ));
                }
                self.check_blocks(job, lba..lba + blocks, ctx);
            }
            // What equals the medium was read from it.
            What::Verify { lba, blocks } => self.check_blocks(job, lba..lba + blocks, ctx),
            What::Write { id, fua, .. } => ctx.checker.acknowledge(id, keeps && (durable || fua)),
            What::Atomic { id, .. } => ctx.checker.acknowledge(id, true),
            What::Unmap { id } | What::Same { id, .. } => ctx.checker.acknowledge(id, durable),
            What::Swap { id, lba } => {
                self.check_swapped(job, (lba, id), ctx);
                ctx.checker.acknowledge(id, durable);
            }
            What::Sync if keeps => ctx.checker.synced(volume, job.issued),
            What::Beyond { .. } => {
                ctx.fail(format!("host {}: {:?} was called good", self.index, job.what));
            }
            What::Or { .. } | What::Sync | What::Look => {}
        }
    }

    /// What was expected was there, and only one swap takes it away.
    fn check_swapped(&self, job: &Job, (lba, by): (u32, WriteId), ctx: &mut Ctx<'_>) {
        let volume = self.setup.volume;
        let block_size = ctx.setup.volumes[volume].block_size as usize;
        let expected = &job.bytes[..job.bytes.len() / 2];
        for (block, lba) in expected.chunks_exact(block_size).zip(lba..) {
            let content = Content::of(block);
            if let Err(violation) = ctx.checker.swap(volume, lba, job.issued, content, by) {
                ctx.failures.push(Failure::Data(violation));
            }
        }
    }

    fn check_blocks(&self, job: &Job, blocks: Range<u32>, ctx: &mut Ctx<'_>) {
        let volume = self.setup.volume;
        let block_size = ctx.setup.volumes[volume].block_size as usize;
        let found: Vec<_> = job.bytes.chunks_exact(block_size).map(Content::of).collect();
        // One burst is read at once; where two meet, something may come in between.
        if job.bytes.len() <= BURST_LEN_MAX as usize
            && let Err(violation) = ctx.checker.read_as_one(volume, blocks.start, &found)
        {
            ctx.failures.push(Failure::Data(violation));
        }
        for ((block, lba), content) in job.bytes.chunks_exact(block_size).zip(blocks).zip(found) {
            if content == Content::Mixed {
                ctx.hardware.note(format_args!("{volume}:{lba} has {}", parts(block)));
            }
            if let Err(violation) = ctx.checker.read(volume, lba, job.issued, content) {
                ctx.failures.push(Failure::Data(violation));
            }
        }
    }

    fn check_status(&self, job: &Job, status: Status, sense: Option<Sense>, ctx: &mut Ctx<'_>) {
        let fine = match (status, sense.map(|sense| sense.key)) {
            (Status::CheckCondition, Some(SenseKey::MediumError)) => ctx.faulty,
            (Status::CheckCondition, Some(SenseKey::Miscompare)) => {
                let compares = matches!(job.what, What::Verify { .. } | What::Swap { .. });
                compares && !job.bytes.is_empty()
            }
            (Status::CheckCondition, Some(SenseKey::IllegalRequest)) => {
                matches!(job.what, What::Beyond { .. })
            }
            // A data digest was wrong.
            (Status::CheckCondition, Some(SenseKey::AbortedCommand)) => self.setup.damage > 0,
            // An abort was under way already.
            (Status::CheckCondition, Some(SenseKey::UnitAttention))
            | (Status::TaskSetFull | Status::Busy, None) => self.setup.hasty > 0,
            (Status::ReservationConflict, None) => ctx.setup.chaos.fence > 0,
            _ => false,
        };
        if !fine {
            ctx.fail(format!(
                "host {}: {:?} ended with {status:?} {sense:?}",
                self.index, job.what
            ));
        }
    }
}

pub(super) fn a_sync(ctx: &mut Ctx<'_>) -> Job {
    Job { what: What::Sync, issued: ctx.checker.tick(), bytes: Vec::new() }
}

/// The command of a request; `wide` prefers the longer of two.
fn command(job: &Job, block_size: u32, wide: bool) -> (Cdb, Data) {
    let len = u32::try_from(job.bytes.len()).expect("requests are small");
    let transfer = |lba: u64, blocks, fua| Transfer { lba, blocks, fua, ..Transfer::default() };
    match job.what {
        What::Read { lba, blocks } => {
            let transfer = transfer(lba.into(), blocks, false);
            let cdb = if wide { Cdb::Read16(transfer) } else { Cdb::Read10(transfer) };
            (cdb, Data::In(len))
        }
        What::Write { lba, fua, .. } => {
            let transfer = transfer(lba.into(), len / block_size, fua);
            let cdb = if wide { Cdb::Write16(transfer) } else { Cdb::Write10(transfer) };
            (cdb, Data::Out(len))
        }
        What::Atomic { lba, .. } => {
            let blocks = u16::try_from(len / block_size).expect("at most 128 KiB");
            let write = WriteAtomic { lba: lba.into(), blocks, ..WriteAtomic::default() };
            (Cdb::WriteAtomic16(write), Data::Out(len))
        }
        What::Same { lba, blocks, unmap, .. } => {
            let no_data = len == 0;
            let same =
                WriteSame { lba: lba.into(), blocks, unmap, no_data, ..WriteSame::default() };
            let data = if no_data { Data::None } else { Data::Out(len) };
            let short = !wide && !no_data;
            (if short { Cdb::WriteSame10(same) } else { Cdb::WriteSame16(same) }, data)
        }
        What::Or { lba } => {
            (Cdb::OrWrite16(transfer(lba.into(), len / block_size, false)), Data::Out(len))
        }
        What::Beyond { lba, blocks, write } => {
            let transfer = transfer(lba.into(), blocks, false);
            let cdb = if write { Cdb::Write16(transfer) } else { Cdb::Read16(transfer) };
            (cdb, if write { Data::Out(len) } else { Data::In(len) })
        }
        What::Unmap { .. } => {
            let list = u16::try_from(len).expect("a few ranges");
            (Cdb::Unmap { anchor: false, len: list }, Data::Out(len))
        }
        What::Swap { lba, .. } => {
            let blocks = u8::try_from(len / block_size / 2).expect("cut when it was made");
            (Cdb::compare_and_write(lba.into(), blocks, false), Data::Out(len))
        }
        What::Verify { lba, blocks } => {
            let check = if len > 0 { ByteCheck::Compare } else { ByteCheck::Medium };
            let data = if len > 0 { Data::Out(len) } else { Data::None };
            let verify = Verify { lba: lba.into(), blocks, protect: 0, dpo: false, check };
            (if wide { Cdb::Verify16(verify) } else { Cdb::Verify10(verify) }, data)
        }
        What::Sync => (Cdb::flush(), Data::None),
        What::Look => (Cdb::inquiry(None, 96), Data::In(96)),
    }
}

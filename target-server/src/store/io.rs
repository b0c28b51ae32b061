//! One command's business with the medium, as a state machine: it says which operation comes next
//! and is told how it ended. Short transfers, extents and refused zeroing are all "go on from here".

use std::io::ErrorKind;
use std::ops::Range;

use outband_protocol::seeded::{self, Bug};
use outband_ring::{Buf, Done, Errno, Fd, Op, Stretch, Zero};

use uuid::Uuid;

use super::StoreError;
use super::atomic::{Atomic, Slot};
use crate::counters::Totals;
use crate::layer::{Linear, Media, Memory};
use crate::media::ZeroWith;
use crate::scsi::Wiping;

/// Times that one operation may be answered with EAGAIN or EINTR before that counts as an error.
pub(super) const RETRIES_MAX: u8 = 16;

/// Zeros written at a time where the device offers nothing better.
const ZERO_WRITE_LEN: usize = 1024 * 1024;

/// What is to be done at `at..at + len` of a volume.
#[derive(Debug)]
pub enum Work {
    /// Fill the buffer.
    Read(Buf),
    /// Write the buffer; `durable`: it is on stable storage before the end is told.
    Write { buf: Buf, durable: bool },
    /// Everything written and ended before is on stable storage; the range does not matter.
    Flush,
    /// The range reads as zeros; `unmap`: and its space may be given back.
    Zero { unmap: bool },
    /// Which parts of the range have space behind them, of so many stretches at most.
    Survey { at_most: usize },
}

/// One I/O on its way through the layers.
#[derive(Debug)]
pub struct Io {
    at: u64,
    len: u64,
    done: u64,
    kind: Kind,
    buf: Option<Buf>,
    survey: Option<Box<Survey>>,
    retries: u8,
    /// What makes it a write that happens as a whole.
    atomic: Option<Box<Atomic>>,
}

/// What a survey has found so far.
#[derive(Debug)]
struct Survey {
    at_most: usize,
    found: Vec<Stretch>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Write { durable: bool },
    Flush,
    Zero { unmap: bool, by_writing: bool },
    Survey,
}

/// What an [`Io`] wants next.
#[derive(Debug)]
pub enum Step {
    /// This, and then [`Io::completed`].
    Submit(Op),
    /// Nothing: it has ended.
    Done(IoDone),
}

/// An ended I/O and its buffer.
#[derive(Debug)]
pub struct IoDone {
    /// How it ended.
    pub result: Result<(), StoreError>,
    /// The buffer it was given.
    pub buf: Option<Buf>,
    /// What a survey has found, without gaps from where it began.
    pub found: Vec<Stretch>,
}

impl Io {
    /// `work` on the bytes `at..at + len` of a volume. A buffer is used from its start.
    pub fn new(work: Work, at: u64, len: u64) -> Self {
        let mut survey = None;
        let (kind, buf) = match work {
            Work::Read(buf) => (Kind::Read, Some(buf)),
            Work::Write { buf, durable } => (Kind::Write { durable }, Some(buf)),
            Work::Flush => (Kind::Flush, None),
            Work::Zero { unmap } => (Kind::Zero { unmap, by_writing: false }, None),
            Work::Survey { at_most } => {
                survey = Some(Box::new(Survey { at_most, found: Vec::new() }));
                (Kind::Survey, None)
            }
        };
        Self { at, len, done: 0, kind, buf, survey, retries: 0, atomic: None }
    }

    /// A write of the buffer's first `len` bytes that happens as a whole, by an intent in `slot`.
    /// `volume` is the identity of the volume, `layers` where its bytes are.
    pub(crate) fn atomic(
        buf: Buf,
        at: u64,
        len: u64,
        slot: Slot,
        volume: Uuid,
        layers: &Linear,
    ) -> Self {
        let places = layers.places(at, len);
        let atomic = Atomic::new(slot, volume, &places, &buf[..index(len)]);
        let io = Self::new(Work::Write { buf, durable: true }, at, len);
        Self { atomic: Some(Box::new(atomic)), ..io }
    }

    /// A mark in the journal, or its end; on stable storage.
    pub(crate) fn mark(device: Uuid, file: Fd, at: u64, mark: Option<(Uuid, Wiping)>) -> Self {
        let io = Self::new(Work::Flush, 0, 0);
        let atomic = Some(Box::new(Atomic::page(device, file, at, mark)));
        Self { kind: Kind::Write { durable: true }, atomic, ..io }
    }

    /// The slot that it had, when it can be used again.
    pub(crate) fn take_slot(&mut self) -> Option<Slot> {
        self.atomic.take().and_then(|atomic| atomic.into_slot())
    }

    /// The bytes it reads or changes; none for a flush or a survey.
    pub fn range(&self) -> Range<u64> {
        let len = if self.kind == Kind::Survey { 0 } else { self.len };
        self.at..self.at + len
    }

    /// Whether its bytes go through its buffer.
    pub fn moves_data(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::Write { .. })
    }

    /// Gives up before it began.
    pub fn into_buf(self) -> Option<Buf> {
        self.buf
    }

    /// Whether it leaves data behind that a power cut can take.
    pub fn leaves_unsynced(&self) -> bool {
        matches!(self.kind, Kind::Write { durable: false } | Kind::Zero { .. })
    }

    /// Adds itself to what was done.
    pub fn count(&self, totals: &mut Totals) {
        match self.kind {
            Kind::Read => {
                totals.reads += 1;
                totals.read_bytes += self.done;
            }
            Kind::Write { .. } => {
                totals.writes += 1;
                totals.written_bytes += self.done;
            }
            Kind::Flush | Kind::Zero { .. } | Kind::Survey => {}
        }
    }

    /// Whether its good end says that something is on stable storage.
    pub fn promises_durability(&self) -> bool {
        matches!(self.kind, Kind::Flush | Kind::Write { durable: true })
    }

    /// Whether it makes everything before it durable.
    pub fn is_flush(&self) -> bool {
        self.kind == Kind::Flush
    }

    /// The next operation. What memory holds is done on the spot.
    pub fn step(&mut self, volume: &mut Linear) -> Step {
        if let Some(op) = self.atomic.as_mut().and_then(|atomic| atomic.before()) {
            return Step::Submit(op);
        }
        loop {
            if self.kind == Kind::Flush {
                if seeded::is(Bug::AckBeforeFlush) {
                    return self.end(Ok(()));
                }
                return match volume.device_after(self.done) {
                    Some(file) => Step::Submit(Op::Sync { file }),
                    None => self.end(Ok(())),
                };
            }
            if self.done == self.len {
                if let Some(op) = self.atomic.as_mut().and_then(|atomic| atomic.after()) {
                    return Step::Submit(op);
                }
                return self.end(Ok(()));
            }
            let Some(run) = volume.run(self.at + self.done, self.len - self.done) else {
                return self.end(Err(self.past_the_end()));
            };
            let len = run.len;
            match run.media {
                Media::Memory { memory, at } => {
                    self.in_memory(memory, at, len);
                    if self.kind != Kind::Survey {
                        self.done += len;
                    }
                }
                Media::File { file, offset, zero } => return self.on_file(file, offset, len, zero),
            }
        }
    }

    /// The volume has no such bytes: its capacity was larger than what is under it.
    fn past_the_end(&self) -> StoreError {
        match self.kind {
            Kind::Read | Kind::Survey => StoreError::Truncated,
            Kind::Write { .. } | Kind::Flush | Kind::Zero { .. } => StoreError::NoSpace,
        }
    }

    fn in_memory(&mut self, memory: &mut Memory, at: u64, len: u64) {
        // A range to be zeroed may be far longer than any buffer.
        let here = || index(self.done)..index(self.done + len);
        match self.kind {
            Kind::Read => {
                let here = here();
                let buf = self.buf.as_mut().expect("a read has its buffer between operations");
                memory.read(at, &mut buf[here]);
            }
            Kind::Write { .. } => {
                let buf = self.buf.as_ref().expect("a write has its buffer between operations");
                memory.write(at, &buf[here()]);
            }
            Kind::Zero { .. } => memory.zero(at..at + len),
            Kind::Survey => {
                let found = memory.stretches(at..at + len, self.still_wanted());
                self.add_found(found);
            }
            Kind::Flush => {}
        }
    }

    /// Stretches that a survey may still find.
    fn still_wanted(&self) -> usize {
        self.survey.as_ref().map_or(0, |survey| survey.at_most - survey.found.len())
    }

    /// Adds stretches where they adjoin the last. With as many as were wanted, it is over.
    fn add_found(&mut self, more: Vec<Stretch>) {
        let Some(survey) = &mut self.survey else {
            return;
        };
        for stretch in more {
            match survey.found.last_mut() {
                Some(last) if last.mapped == stretch.mapped => last.len += stretch.len,
                _ => survey.found.push(stretch),
            }
        }
        self.done = survey.found.iter().map(|stretch| stretch.len).sum();
        if survey.found.len() >= survey.at_most {
            self.len = self.done;
        }
    }

    fn on_file(&mut self, file: Fd, offset: u64, len: u64, zero: ZeroWith) -> Step {
        let from = index(self.done);
        Step::Submit(match self.kind {
            Kind::Read => {
                let buf = self.buf.take().expect("a read has its buffer between operations");
                Op::Read { file, offset, buf, at: from..from + index(len) }
            }
            Kind::Write { durable } => {
                let buf = self.buf.take().expect("a write has its buffer between operations");
                Op::Write { file, offset, buf, at: from..from + index(len), dsync: durable }
            }
            Kind::Zero { by_writing, .. } if by_writing || zero == ZeroWith::Writes => {
                let buf = self.buf.take().unwrap_or_else(|| Buf::zeroed(ZERO_WRITE_LEN));
                let len = index(len).min(buf.len());
                Op::Write { file, offset, buf, at: 0..len, dsync: false }
            }
            Kind::Zero { unmap, .. } => {
                let how = if unmap || zero == ZeroWith::Punch { Zero::Punch } else { Zero::Range };
                Op::Zero { file, offset, len, how }
            }
            Kind::Flush => Op::Sync { file },
            Kind::Survey => {
                let at_most = self.still_wanted();
                Op::Survey { file, offset, len, at_most, found: Vec::new() }
            }
        })
    }

    /// The operation of the last [`step`](Self::step) has ended.
    pub fn completed(
        &mut self,
        result: Result<Done, Errno>,
        op: Op,
        volume: &Linear,
    ) -> Result<(), StoreError> {
        if let Some(atomic) = self.atomic.as_mut().filter(|atomic| atomic.is_at_journal()) {
            return atomic.completed(result, op);
        }
        let (len, asked) = match op {
            Op::Survey { len, found, .. } => {
                // What cannot be found out counts as mapped (SBC-4: "or has an unknown state").
                let unknown = || vec![Stretch { len, mapped: true }];
                self.add_found(if result.is_ok() { found } else { unknown() });
                return Ok(());
            }
            Op::Read { buf, at, .. } | Op::Write { buf, at, .. } => {
                self.buf = Some(buf);
                (at.len() as u64, at.len())
            }
            Op::Zero { len, .. } => (len, 0),
            _ => (0, 0),
        };
        match result {
            Ok(Done::Bytes(0)) if asked > 0 && self.kind == Kind::Read => {
                Err(StoreError::Truncated)
            }
            Ok(Done::Bytes(0)) if asked > 0 => self.no_space(Errno::NOSPC),
            Ok(Done::Bytes(count)) => {
                self.retries = 0;
                let short = seeded::is(Bug::ShortIsWhole);
                self.done += if short { len } else { u64::from(count) };
                Ok(())
            }
            Ok(_) if self.kind == Kind::Flush => {
                let all = seeded::is(Bug::FlushOneDevice);
                self.done = if all { u64::MAX } else { volume.devices_through(self.done) };
                Ok(())
            }
            Ok(_) => {
                self.done += len;
                Ok(())
            }
            Err(errno) => self.failed(errno, len),
        }
    }

    fn failed(&mut self, errno: Errno, len: u64) -> Result<(), StoreError> {
        if matches!(errno.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
            && self.retries < RETRIES_MAX
        {
            self.retries += 1;
            self.done += if seeded::is(Bug::AgainIsDone) { len } else { 0 };
            return Ok(());
        }
        match self.kind {
            Kind::Read => Err(StoreError::Read(errno)),
            Kind::Flush if seeded::is(Bug::RetryFailedSync) => Ok(()),
            // A flush that failed is never tried again: the kernel forgets what it lost (P5).
            Kind::Flush => Err(StoreError::Sync(errno)),
            Kind::Zero { unmap, by_writing: false } if (errno.kind() == ErrorKind::Unsupported) => {
                self.kind = Kind::Zero { unmap, by_writing: true };
                Ok(())
            }
            _ if errno.kind() == ErrorKind::StorageFull => self.no_space(errno),
            // The write or the sync in it: nobody can tell, so the worse is assumed.
            Kind::Write { durable: true } => Err(StoreError::Sync(errno)),
            Kind::Write { durable: false } | Kind::Zero { .. } | Kind::Survey => {
                Err(StoreError::Write(errno))
            }
        }
    }

    /// A part may be written. For a write that happens as a whole that is not an end one can go on
    /// from.
    fn no_space(&self, errno: Errno) -> Result<(), StoreError> {
        Err(if self.atomic.is_some() { StoreError::Sync(errno) } else { StoreError::NoSpace })
    }

    /// Ends it.
    pub fn end(&mut self, result: Result<(), StoreError>) -> Step {
        let buf = match self.kind {
            Kind::Zero { .. } => None,
            _ => self.buf.take(),
        };
        let found = self.survey.take().map_or_else(Vec::new, |survey| survey.found);
        Step::Done(IoDone { result, buf, found })
    }
}

/// A length inside a buffer.
fn index(len: u64) -> usize {
    usize::try_from(len).expect("a buffer is far below what usize holds")
}

#[cfg(test)]
mod tests;

//! Where a target's reservations are kept over power loss: a small file with two slots that are
//! written in turn. What the records mean is `scsi/reservations`' business; here they are only
//! written, one at a time, durably.

use outband_ring::{Buf, Completion, Fd, Op};
use uuid::Uuid;

use crate::layer::{Linear, Segment};
use crate::media::ZeroWith;
use crate::scsi::{LogicalUnit, SLOT_LEN, slot_at};
use crate::store::{Io, Step, StoreError, Work};

/// The kept reservations of one target.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Fd,
    layers: Linear,
    /// Number of the last record that is known to be good.
    number: u64,
    /// Which state of the reservations the file has.
    kept: u64,
    /// Which state could not be written.
    failed: Option<u64>,
    /// The record on its way, and of which state it is.
    writing: Option<(u64, Io)>,
}

impl Ledger {
    /// In `file`, whose newest good record is number `number` and holds the state of now.
    pub(crate) fn new(file: Fd, number: u64) -> Self {
        let len = 2 * SLOT_LEN as u64;
        let segment = Segment::file(Uuid::nil(), file, 0, len, ZeroWith::Writes);
        let layers = Linear::new(vec![segment]);
        Self { file, layers, number, kept: 0, failed: None, writing: None }
    }

    /// The file.
    pub(crate) const fn file(&self) -> Fd {
        self.file
    }

    /// Whether a record is on its way.
    pub(crate) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// How it went with this state of the reservations; `None` while that is not known.
    pub(crate) fn outcome(&self, version: u64) -> Option<Result<(), StoreError>> {
        if self.kept >= version {
            return Some(Ok(()));
        }
        self.failed.filter(|failed| *failed >= version).map(|_| Err(StoreError::NotKept))
    }

    /// Begins to write the state of now, unless the file has it or a record is on its way.
    pub(crate) fn write(&mut self, unit: &LogicalUnit) -> Option<Op> {
        let version = unit.reservations_version();
        if self.writing.is_some() || self.outcome(version).is_some() {
            return None;
        }
        // A record that failed left its slot in doubt: the next one goes there too, so that the good
        // one in the other slot is never at risk.
        let number = if self.failed.take().is_some() { self.number + 2 } else { self.number };
        self.number = number;
        let record = unit.reservations_record(number + 1);
        let mut buf = Buf::zeroed(record.len());
        buf[..record.len()].copy_from_slice(&record);
        let work = Work::Write { buf, durable: true };
        let mut io = Io::new(work, slot_at(number + 1), record.len() as u64);
        let step = io.step(&mut self.layers);
        self.writing = Some((version, io));
        self.go_on(step)
    }

    /// The operation of the last step has ended; the next one, if there is one.
    pub(crate) fn completed(&mut self, completion: Completion) -> Option<Op> {
        let (_, io) = self.writing.as_mut()?;
        let step = match io.completed(completion.result, completion.op, &self.layers) {
            Ok(()) => io.step(&mut self.layers),
            Err(error) => io.end(Err(error)),
        };
        self.go_on(step)
    }

    fn go_on(&mut self, step: Step) -> Option<Op> {
        let done = match step {
            Step::Submit(op) => return Some(op),
            Step::Done(done) => done,
        };
        let (version, _) = self.writing.take()?;
        match done.result {
            Ok(()) => {
                self.number += 1;
                self.kept = version;
            }
            Err(error) => {
                tracing::error!(%error, "reservations could not be kept for after a power loss");
                self.failed = Some(version);
            }
        }
        None
    }
}

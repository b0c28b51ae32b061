//! A write that happens as a whole or not at all (SBC-4, WRITE ATOMIC): it is written down in a slot
//! of the journal, then to its place, then struck out there; each is on stable storage before the
//! next begins. What is found in the journal after a cut is finished before the volume is served.

use std::io::ErrorKind;

use outband_ring::{Buf, Done, Errno, Fd, Op};
use uuid::Uuid;

use super::StoreError;
use super::io::RETRIES_MAX;
use crate::media::journal::{IntentPlace, PAGE_LEN, SLOT_LEN, encode_intent, encode_mark};
use crate::scsi::Wiping;

/// Room for one intent in a journal; who has it may write there, and nobody else does.
#[derive(Debug)]
pub struct Slot {
    /// The device of the journal.
    pub(crate) device: Uuid,
    file: Fd,
    at: u64,
    /// Elsewhere while the kernel has it.
    buf: Option<Buf>,
}

impl Slot {
    /// The one at byte `at` of `file`.
    pub(crate) fn new(device: Uuid, file: Fd, at: u64) -> Self {
        Self { device, file, at, buf: None }
    }
}

/// How far an atomic write is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The intent is being written down.
    Intent,
    /// The data goes to its place.
    Place,
    /// The intent is being struck out.
    Forget,
    Over,
}

/// What goes before and after the write itself.
#[derive(Debug)]
pub(super) struct Atomic {
    slot: Slot,
    phase: Phase,
    /// Bytes of this phase, and how many of them are written.
    len: usize,
    done: usize,
    retries: u8,
}

impl Atomic {
    /// For `data`, which belongs to these places of `volume`.
    pub(super) fn new(mut slot: Slot, volume: Uuid, places: &[IntentPlace], data: &[u8]) -> Self {
        let buf = slot.buf.get_or_insert_with(|| Buf::zeroed(SLOT_LEN));
        let len = encode_intent(buf, volume, places, data);
        Self { slot, phase: Phase::Intent, len, done: 0, retries: 0 }
    }

    /// One page of the journal, written by itself: a mark of `target`, or none any more.
    pub(super) fn page(device: Uuid, file: Fd, at: u64, mark: Option<(Uuid, Wiping)>) -> Self {
        let mut buf = Buf::zeroed(PAGE_LEN);
        match mark {
            Some((target, by)) => encode_mark(&mut buf, target, by),
            None => buf[..PAGE_LEN].fill(0),
        }
        let slot = Slot { device, file, at, buf: Some(buf) };
        Self { slot, phase: Phase::Forget, len: PAGE_LEN, done: 0, retries: 0 }
    }

    /// The data may not go to its place before this.
    pub(super) fn before(&mut self) -> Option<Op> {
        (self.phase == Phase::Intent).then(|| self.write())
    }

    /// The data is at its place; it has not happened before this.
    pub(super) fn after(&mut self) -> Option<Op> {
        if self.phase == Phase::Place {
            (self.phase, self.len, self.done) = (Phase::Forget, PAGE_LEN, 0);
            if let Some(buf) = &mut self.slot.buf {
                buf[..PAGE_LEN].fill(0);
            }
        }
        (self.phase == Phase::Forget).then(|| self.write())
    }

    fn write(&mut self) -> Op {
        let buf = self.slot.buf.take().expect("a slot has its buffer between operations");
        let (file, offset) = (self.slot.file, self.slot.at + self.done as u64);
        Op::Write { file, offset, buf, at: self.done..self.len, dsync: true }
    }

    /// Whether the journal is being written just now.
    pub(super) fn is_at_journal(&self) -> bool {
        matches!(self.phase, Phase::Intent | Phase::Forget)
    }

    /// A write to the journal has ended. One that failed leaves it open what is there, so nothing
    /// more may be written to the volume: the failure is that of a sync.
    pub(super) fn completed(
        &mut self,
        result: Result<Done, Errno>,
        op: Op,
    ) -> Result<(), StoreError> {
        if let Op::Write { buf, .. } = op {
            self.slot.buf = Some(buf);
        }
        match result {
            Ok(Done::Bytes(count)) if count > 0 => self.done += count as usize,
            Ok(_) => return Err(StoreError::Sync(Errno::NOSPC)),
            Err(errno)
                if matches!(errno.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
                    && self.retries < RETRIES_MAX =>
            {
                self.retries += 1;
            }
            Err(errno) => return Err(StoreError::Sync(errno)),
        }
        if self.done == self.len {
            self.phase = match self.phase {
                Phase::Intent => Phase::Place,
                _ => Phase::Over,
            };
        }
        Ok(())
    }

    /// The slot, once nothing is in it any more. One whose content is not known is never used again;
    /// `volume recover` or the next start looks what it holds.
    pub(super) fn into_slot(self) -> Option<Slot> {
        let is_slot = self.slot.buf.as_ref().is_some_and(|buf| buf.len() >= SLOT_LEN);
        (self.phase == Phase::Over && is_slot).then_some(self.slot)
    }
}

#[cfg(test)]
mod tests;

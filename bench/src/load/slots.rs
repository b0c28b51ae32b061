//! The requests a session has in flight, each in a slot whose number is its tag on the wire.

use super::histogram::Histogram;
use super::ledger::Ledger;
use super::work::Ask;

/// A request in flight, or the last one.
#[derive(Clone, Debug, Default)]
struct Slot {
    busy: bool,
    ask: Ask,
    started_ns: u64,
    /// What was read, when it is to be verified.
    read: Vec<u8>,
    /// What is written, when it is to be verified.
    written: Vec<u8>,
}

/// What came of the requests of all sessions.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Counted only while this is set: not in the ramp and not while draining.
    pub(super) measuring: bool,
    pub(super) requests: u64,
    pub(super) reads: u64,
    pub(super) bytes: u64,
    /// Requests that the server failed.
    pub(super) failed: u64,
    /// Reads that brought other bytes than were written, and digests that did not fit.
    pub(super) wrong: u64,
    pub(super) latency: Histogram,
    /// What is on the volume, when reads are verified.
    pub(super) ledger: Option<Ledger>,
}

/// The slots of one session.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// The server answered a request that is not in flight, or with more than was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an answer to no request of ours, tag {0:#x}")]
pub(super) struct Stranger(pub(super) u64);

impl Slots {
    pub(super) fn new(depth: u32) -> Self {
        let slots = vec![Slot::default(); depth as usize];
        Self { slots, free: (0..depth).rev().collect() }
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts a request into a free slot.
    ///
    /// # Panics
    /// When there is none.
    pub(super) fn start(&mut self, ask: Ask, now_ns: u64, tally: &mut Tally) -> u32 {
        let index = self.free.pop().expect("a slot is free");
        let slot = &mut self.slots[index as usize];
        slot.busy = true;
        slot.ask = ask;
        slot.started_ns = now_ns;
        if let Some(ledger) = &mut tally.ledger {
            let len = ask.len as usize;
            if ask.write {
                slot.written.resize(len, 0);
                ledger.stamp(ask.offset, &mut slot.written);
            } else {
                slot.read.clear();
                slot.read.resize(len, 0);
            }
        }
        index
    }

    /// The request that a tag stands for.
    pub(super) fn ask(&self, tag: u64) -> Result<(u32, Ask), Stranger> {
        let index = usize::try_from(tag).ok();
        match index.and_then(|index| self.slots.get(index)) {
            Some(slot) if slot.busy => {
                Ok((u32::try_from(tag).expect("there is such a slot"), slot.ask))
            }
            _ => Err(Stranger(tag)),
        }
    }

    /// Bytes of a read that is to be verified.
    pub(super) fn data(&mut self, slot: u32, offset: usize, bytes: &[u8]) -> Result<(), Stranger> {
        let end = offset.checked_add(bytes.len());
        let slot_of = &mut self.slots[slot as usize];
        match end.and_then(|end| slot_of.read.get_mut(offset..end)) {
            Some(room) => room.copy_from_slice(bytes),
            None => return Err(Stranger(slot.into())),
        }
        Ok(())
    }

    /// What a slot writes, if that is verified later.
    pub(super) fn written(&self, slot: u32) -> &[u8] {
        &self.slots[slot as usize].written
    }

    /// The server's last word on a request.
    pub(super) fn done(&mut self, slot: u32, good: bool, now_ns: u64, tally: &mut Tally) {
        let done = &mut self.slots[slot as usize];
        done.busy = false;
        self.free.push(slot);
        if let Some(ledger) = &mut tally.ledger {
            let fits = done.ask.write || ledger.fits(done.ask.offset, &done.read);
            tally.wrong += u64::from(good && !fits);
            ledger.release(done.ask.offset);
        }
        tally.failed += u64::from(!good);
        if tally.measuring {
            tally.requests += 1;
            tally.reads += u64::from(!done.ask.write);
            tally.bytes += u64::from(done.ask.len);
            tally.latency.record(now_ns.saturating_sub(done.started_ns));
        }
    }
}

//! WRITE ATOMIC: with its data here, it takes a slot of the journal, then its range for itself alone,
//! and only then goes to the medium.

use outband_protocol::scsi::Status;
use outband_ring::Ring;

use super::{Conn, Desk, Stage};
use crate::store::{Io, Work};

impl Conn {
    /// All data is here: what else it needs until its end.
    pub(super) fn prepare_atomic<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let key = self.key;
        let Some(target) = self.target else {
            return;
        };
        let volume = desk.targets[target].volume;
        let task = self.task_at(slot);
        if !desk.volumes[volume].layers.is_memory() {
            let Some(journal_slot) = desk.take_slot(volume) else {
                task.stage = Stage::Hungry;
                let id = task.id;
                return desk.slotless.push_back((key, id));
            };
            task.intent = Some(Box::new(journal_slot));
        }
        let range = task.at..task.at + u64::from(task.len);
        self.claim(slot, range, desk);
    }

    /// Nobody else is on the range.
    pub(super) fn write_atomically<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let Some(target) = self.target else {
            return;
        };
        // Before the slot goes with the I/O: what is refused gives it back.
        if let Some(sense) = desk.targets[target].lu.unsanitized() {
            return self.finish(slot, Status::CheckCondition, Some(sense), 0, desk);
        }
        let volume = &desk.volumes[desk.targets[target].volume];
        let task = self.task_at(slot);
        let (at, len) = (task.at, u64::from(task.len));
        let Some(buf) = task.buf.take() else {
            return;
        };
        let io = match task.intent.take() {
            Some(journal_slot) => {
                Io::atomic(buf, at, len, *journal_slot, volume.id, &volume.layers)
            }
            // Memory is written on the spot, and nothing of it survives a cut.
            None => Io::new(Work::Write { buf, durable: true }, at, len),
        };
        self.store(slot, io, desk);
    }
}

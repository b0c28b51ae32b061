//! Tasks that want a range for themselves alone, and tasks whose I/O waits for such a range.

use std::ops::Range;

use outband_protocol::ids::TaskId;
use outband_protocol::scsi::Status;

use super::{Conn, Desk, Ring, Stage};

impl Conn {
    /// Asks for bytes of the volume for the task alone, and goes on once it has them. Whatever it
    /// needs until its end it must hold by now: nothing may wait for a buffer while others wait
    /// for it. The range is free again when the task ends.
    pub(super) fn claim<R: Ring>(&mut self, slot: usize, range: Range<u64>, desk: &mut Desk<R>) {
        let Some(target) = self.target else {
            return;
        };
        let task = self.task_at(slot);
        task.stage = Stage::Claiming;
        task.claims = true;
        let id = task.id;
        if desk.claim((self.key, id), target, range) {
            self.on_granted(id, desk);
        }
    }

    /// A task that ends gives up its range.
    pub(super) fn unclaim<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let key = self.key;
        let task = self.task_at(slot);
        if std::mem::take(&mut task.claims) {
            let owner = (key, task.id);
            if let Some(target) = self.target {
                desk.release(owner, target);
            }
        }
    }

    /// Takes back a task's I/O that waits for others. False when the medium has it.
    pub(super) fn withdraw<R: Ring>(&mut self, id: TaskId, desk: &mut Desk<R>) -> bool {
        let parked = self.target.and_then(|target| desk.withdraw((self.key, id), target));
        let Some(buf) = parked else {
            return false;
        };
        self.ios -= 1;
        buf.into_iter().for_each(|buf| desk.buffers.give(buf));
        true
    }

    /// A fence has closed: nothing that waits will reach the medium (P12).
    pub(crate) fn fence<R: Ring>(&mut self, desk: &mut Desk<R>) {
        self.fenced = true;
        for slot in 0..self.tasks.len() {
            let Some(task) = &self.tasks[slot] else {
                continue;
            };
            let waits = match task.stage {
                Stage::Claiming | Stage::Dormant => true,
                Stage::Storing => self.withdraw(task.id, desk),
                _ => false,
            };
            if waits {
                self.finish(slot, Status::ReservationConflict, None, 0, desk);
            }
        }
    }

    /// The session ends: what waits is dropped. A range that its task has I/O on stays claimed
    /// until that is reaped.
    pub(super) fn drop_waiting<R: Ring>(&mut self, desk: &mut Desk<R>) {
        for slot in 0..self.tasks.len() {
            let Some(task) = &self.tasks[slot] else {
                continue;
            };
            let (id, stage) = (task.id, task.stage);
            let with_medium = match stage {
                Stage::Storing => !self.withdraw(id, desk),
                stage => stage == Stage::Draining,
            };
            if !with_medium {
                self.task_at(slot).stage = Stage::Ended;
                self.unclaim(slot, desk);
            }
        }
    }
}

//! SANITIZE and FORMAT UNIT: the command hands it over, and waits for its end unless it was told not to (IMMED).

use outband_protocol::ids::TaskId;
use outband_protocol::scsi::{Sense, Status};
use outband_ring::Ring;

use super::{Conn, Desk, Errand, Stage, Work};
use crate::scsi::{Wipe, Wiping};
use crate::shard::sanitize::Request;

impl Conn {
    pub(super) fn begin_wipe<R: Ring>(
        &mut self,
        slot: usize,
        by: Wiping,
        wipe: Wipe,
        immediate: bool,
        desk: &mut Desk<R>,
    ) {
        let Some(target) = self.target else {
            return;
        };
        if let Err(sense) = desk.targets[target].lu.wipe_begins(by) {
            return self.finish(slot, Status::CheckCondition, Some(sense), 0, desk);
        }
        let owner = (self.key, self.task_at(slot).id);
        let waiter = (!immediate).then_some(owner);
        desk.errands.push_back(Errand::Sanitize(Box::new(Request { target, by, wipe, waiter })));
        let task = self.task_at(slot);
        task.work = Work::Reply;
        task.stage = Stage::Waiting;
        if immediate {
            self.finish(slot, Status::Good, None, 0, desk);
        }
    }

    /// It has ended, and the command may have before it.
    pub(crate) fn on_sanitized<R: Ring>(
        &mut self,
        id: TaskId,
        status: Status,
        sense: Option<Sense>,
        desk: &mut Desk<R>,
    ) {
        if self.task(id).is_some_and(|task| task.stage == Stage::Waiting) {
            self.finish(usize::from(id.slot), status, sense, 0, desk);
        }
    }
}

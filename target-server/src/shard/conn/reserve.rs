//! Commands under reservations: those that change them, and those that others' are in the way of.

use outband_protocol::ids::TaskId;
use outband_protocol::scsi::Status;

use super::{Conn, Desk, Errand, NexusId, Ring, Stage, Work};
use crate::shard::reserve::Reserving;
use crate::store::StoreError;

impl Conn {
    /// A reservation has changed; what that takes among the other sessions is the shard's to do.
    pub(super) fn reserved<R: Ring>(
        &mut self,
        slot: usize,
        barred: Vec<NexusId>,
        aborted: Vec<NexusId>,
        desk: &mut Desk<R>,
    ) {
        let (key, target) = (self.key, self.target);
        let task = self.task_at(slot);
        task.work = Work::Reply;
        task.stage = Stage::Reserving;
        let by = (key, task.id);
        if let Some(target) = target {
            desk.errands.push_back(Errand::Reserve(Reserving { by, target, barred, aborted }));
        }
    }

    /// It has been brought about.
    pub(crate) fn on_reserved<R: Ring>(
        &mut self,
        id: TaskId,
        outcome: Result<(), StoreError>,
        desk: &mut Desk<R>,
    ) {
        if self.task(id).is_none_or(|task| task.stage != Stage::Reserving) {
            return;
        }
        let slot = usize::from(id.slot);
        match outcome {
            Ok(()) => self.moved_all(slot, desk),
            Err(error) => {
                self.finish(slot, Status::CheckCondition, Some(error.sense()), 0, desk);
            }
        }
    }

    /// Whether a reservation that came after the command is in its way now.
    pub(super) fn is_barred<R: Ring>(&self, slot: usize, desk: &Desk<R>) -> bool {
        let (Some(target), Some(task)) = (self.target, &self.tasks[slot]) else {
            return false;
        };
        desk.targets[target].lu.is_barred(self.nexus, &task.command.cdb)
    }

    /// Whether it has a task that is not over.
    pub(crate) fn has_tasks(&self) -> bool {
        self.tasks.iter().flatten().any(|task| task.stage != Stage::Ended)
    }

    /// Tasks that the medium has.
    pub(crate) fn stored(&self) -> impl Iterator<Item = TaskId> + '_ {
        let is_stored =
            |task: &&super::Task| matches!(task.stage, Stage::Storing | Stage::Draining);
        self.tasks.iter().flatten().filter(is_stored).map(|task| task.id)
    }

    /// Whether the medium has this task.
    pub(crate) fn has_stored(&self, id: TaskId) -> bool {
        self.stored().any(|stored| stored == id)
    }
}

//! A command among the others of its logical unit (SAM-5 §8): it runs at once, or waits for its turn.

use outband_protocol::ids::TaskId;
use outband_protocol::limits::BURST_LEN_MAX;
use outband_protocol::pdu::TaskAttribute;
use outband_protocol::scsi::{Status, sense};
use outband_ring::Ring;

use super::{Ahead, Conn, Desk, Reply, Request, Stage, TargetKey, Task};
use crate::shard::order::{Rank, Turn};

impl Conn {
    /// Whether a command that has just come runs now. If not, it waits, or was refused.
    pub(super) fn may_run<R: Ring>(
        &mut self,
        slot: usize,
        target: TargetKey,
        desk: &mut Desk<R>,
    ) -> bool {
        let key = self.key;
        let task = self.task_at(slot);
        let rank = match task.command.attribute {
            TaskAttribute::Simple | TaskAttribute::Untagged => Rank::Simple,
            TaskAttribute::Ordered => Rank::Ordered,
            TaskAttribute::HeadOfQueue => Rank::Head,
            TaskAttribute::Aca => {
                // NACA is not offered, so there is never an ACA condition for it (SAM-5 §8.9).
                self.reply(slot, Reply::check(sense::INVALID_MESSAGE_ERROR), desk);
                return false;
            }
        };
        let id = task.id;
        task.turn = desk.targets[target].tasks.arrive(rank, || (key, id));
        if task.turn != Turn::Dormant {
            return true;
        }
        self.wait_for_turn(slot, desk);
        false
    }

    #[cold]
    fn wait_for_turn<R: Ring>(&mut self, slot: usize, desk: &mut Desk<R>) {
        let task = self.task_at(slot);
        task.stage = Stage::Dormant;
        let unsolicited = task.command.unsolicited_len;
        if unsolicited == 0 {
            return;
        }
        // Older commands may wait for a buffer, and this one for them: it takes none from them.
        let room = unsolicited.max(task.command.expected_len).min(BURST_LEN_MAX);
        if desk.hungry.is_empty() {
            task.buf = desk.buffers.take((room as usize).next_multiple_of(4096));
        }
        if task.buf.is_none() {
            return self.finish(slot, Status::TaskSetFull, None, 0, desk);
        }
        task.ahead = Ahead::Coming;
        let id = task.id;
        self.core.accept_data(id, unsolicited);
    }

    /// The command's turn has come, for most at once.
    pub(super) fn run<R: Ring>(&mut self, slot: usize, target: TargetKey, desk: &mut Desk<R>) {
        let command = self.task_at(slot).command;
        let request = Request {
            lun: command.lun,
            cdb: &command.cdb,
            offered: if command.write { command.expected_len } else { 0 },
        };
        let plan = desk.targets[target].lu.begin(self.nexus, &request);
        self.carry_out(slot, plan, desk);
    }

    /// Those that a command waited for have ended. False when it is not there any more.
    pub(crate) fn on_turn<R: Ring>(&mut self, id: TaskId, rank: Rank, desk: &mut Desk<R>) -> bool {
        let (Some(target), fenced) = (self.target, self.fenced) else {
            return false;
        };
        let Some(task) = self.task(id).filter(|task| task.turn == Turn::Dormant) else {
            return false;
        };
        task.turn = Turn::Enabled(rank);
        // Nothing of it has begun: as if it had come just now.
        task.stage = Stage::Ended;
        let slot = usize::from(id.slot);
        if fenced {
            self.finish(slot, Status::ReservationConflict, None, 0, desk);
        } else {
            self.run(slot, target, desk);
        }
        true
    }
}

impl Task {
    /// Whether all that the burst collects was here before its turn.
    pub(super) fn has_all_ahead(&self) -> bool {
        self.ahead == Ahead::Here && self.bound <= self.command.unsolicited_len
    }
}

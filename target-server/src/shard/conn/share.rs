//! How much of the shard's buffers one session may hold. Who asks for much and takes or sends nothing of it
//! must not leave the others without.

use outband_protocol::ids::TaskId;
use outband_ring::Ring;

use super::{Conn, Stage, Task};
use crate::shard::desk::Desk;

impl Conn {
    /// Whether the session may have `more` bytes: with them, it holds no more than is free then. So one
    /// alone gets half of what there is, two a third each, and some is left for another one. A session
    /// that holds nothing may always try.
    pub(super) fn is_within_share<R: Ring>(&self, more: usize, desk: &Desk<R>) -> bool {
        let used = desk.buffers.used() + more;
        let free = desk.buffers.limit().saturating_sub(used);
        // Mostly so, and then there is nothing to add up.
        if used <= free {
            return true;
        }
        let held = self.held();
        held == 0 || held + more <= free
    }

    /// Bytes of buffers that its tasks and what is being sent have.
    fn held(&self) -> usize {
        self.sending + self.tasks.iter().flatten().map(Task::held).sum::<usize>()
    }

    /// Tasks that wait until the session holds fewer.
    pub(crate) fn surplus(&self) -> usize {
        self.surplus.len()
    }

    /// A task waits for a buffer no more.
    pub(super) fn starve_no_more<R: Ring>(&mut self, id: TaskId, desk: &mut Desk<R>) {
        self.surplus.retain(|waits| *waits != id);
        desk.hungry.retain(|waits| (waits.conn, waits.task) != (self.key, id));
        desk.slotless.retain(|waits| *waits != (self.key, id));
    }

    /// Something of the session has happened: it may hold less now than when these had to wait.
    pub(super) fn feed_surplus<R: Ring>(&mut self, desk: &mut Desk<R>) {
        while let Some(id) = self.surplus.front().copied() {
            let waits = self.task(id).filter(|task| task.stage == Stage::Hungry);
            let more = waits.map_or(0, |task| task.room());
            if !self.is_within_share(more, desk) {
                return;
            }
            self.surplus.pop_front();
            self.on_room(id, desk);
        }
    }
}

impl Task {
    /// Bytes of the buffer for its next burst.
    pub(super) fn room(&self) -> usize {
        (self.burst_len() as usize).next_multiple_of(4096)
    }

    /// Bytes of its buffers, wherever they are, but for what is attached to be sent.
    fn held(&self) -> usize {
        let lent = match self.stage {
            Stage::Dormant | Stage::Hungry | Stage::Ended => 0,
            _ if self.body.is_some() => 0,
            _ => ((self.bound - self.base) as usize).next_multiple_of(4096),
        };
        let own = self.buf.as_ref().map_or(lent, |buf| buf.len());
        own + self.beside.as_ref().map_or(0, |buf| buf.len())
    }
}

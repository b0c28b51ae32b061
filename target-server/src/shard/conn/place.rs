//! Data that is received straight to where the medium takes it from.

use std::ops::Range;

use outband_ring::{Buf, Ring};

use super::Conn;
use crate::shard::desk::Desk;
use crate::shard::task::{Ahead, Stage, Task};
use crate::shard::wire::Wire;

/// A PDU's missing tail of at least this is received straight into its task's buffer.
const IN_PLACE_LEN_MIN: u32 = 8 * 1024;

impl Conn {
    /// Asks for the next bytes: straight into a task's buffer when a large piece of it is due.
    pub(crate) fn receive<R: Ring>(&mut self, wire: &mut Wire, desk: &mut Desk<R>) {
        if !wire.can_receive() {
            return;
        }
        if let Some(place) = self.core.placement()
            && place.len >= IN_PLACE_LEN_MIN
            && let Some(task) = self.task(place.task)
            && let Some(buf) = task.buf.take()
        {
            let from = (place.offset - task.base) as usize;
            self.lender = Some(place.task);
            return wire.receive_into(buf, from..from + place.len as usize, desk);
        }
        wire.receive(desk);
    }

    /// A buffer that was with the kernel for a receive in place.
    fn buf_back<R: Ring>(&mut self, buf: Buf, desk: &mut Desk<R>) {
        let collecting = |task: &&mut Task| {
            let ahead = task.stage == Stage::Dormant && task.ahead == Ahead::Coming;
            (task.stage == Stage::Collecting || ahead) && task.buf.is_none()
        };
        let lender = self.lender.take();
        match lender.and_then(|id| self.task(id)).filter(collecting) {
            Some(task) => task.buf = Some(buf),
            None => desk.buffers.give(buf),
        }
    }

    /// A receive has brought these bytes straight to where they belong.
    pub(crate) fn on_placed<R: Ring>(&mut self, buf: Buf, at: Range<usize>, desk: &mut Desk<R>) {
        self.core.placed(&buf[at]);
        self.buf_back(buf, desk);
    }
}

//! A read's data, cut into Data-Ins; and the status, which travels with the last one when it is
//! good (§11.7.3) and by itself otherwise.

use super::tasks::State;
use super::write::Held;
use super::{Conn, Due, Outcome, Terms};
use crate::ids::{Itt, Lun, TaskId, Ttt};
use crate::pdu::{DataIn, Residual, Sequence};
use crate::serial::Sn;

/// SCSI status GOOD.
const GOOD: u8 = 0;

/// Read data that the shell holds, on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) task: TaskId,
    /// The next byte to be sent.
    at: u32,
    end: u32,
    /// Bytes that still go into the current sequence, at most MaxBurstLength (§13.13).
    sequence_left: u32,
    /// Good status goes with the last PDU.
    status: Option<Residual>,
}

impl Burst {
    fn new(task: TaskId, at: u32, end: u32, status: Option<Residual>) -> Self {
        Self { task, at, end, sequence_left: 0, status }
    }

    /// Cuts off the next PDU: its header but for ITT and numbers, its length, and whether it is
    /// the last of the burst.
    pub(super) fn cut(&mut self, terms: &Terms) -> (DataIn, u32, bool) {
        if self.sequence_left == 0 {
            self.sequence_left = terms.burst_len_max.min(self.end - self.at);
        }
        let len = self.sequence_left.min(terms.peer_segment_len_max);
        let offset = self.at;
        self.at += len;
        self.sequence_left -= len;
        let finished = self.at == self.end;
        let pdu = DataIn {
            last: self.sequence_left == 0,
            acknowledge: false,
            status: self.status.filter(|_| finished).map(|residual| (GOOD, residual)),
            lun: Lun::ZERO,
            itt: Itt::NONE,
            ttt: Ttt::NONE,
            sequence: Sequence::default(),
            data_sn: Sn(0),
            offset,
        };
        (pdu, len, finished)
    }
}

impl Conn {
    /// The shell holds the data of a read below `up_to`, and more will follow: what has not been
    /// sent of it goes out as one burst. A lower bound than before changes nothing.
    pub fn send_data(&mut self, task: TaskId, up_to: u32) {
        let Some(entry) = self.tasks.get_mut(task) else {
            return;
        };
        let up_to = up_to.min(entry.readable());
        let State::Executing { sent } = &mut entry.state else {
            return;
        };
        if up_to > *sent {
            self.outbox.push(Due::Burst(Burst::new(task, *sent, up_to, None)));
            *sent = up_to;
        }
    }

    /// Ends a task: sends what read data is left, and the status, which waits for data of a write that
    /// is still on its way. Of an aborted task nothing is
    /// sent; its slot is free again. A task that has ended already is left alone.
    pub fn complete(&mut self, task: TaskId, outcome: Outcome) {
        let Some(entry) = self.tasks.get_mut(task) else {
            return;
        };
        let Outcome { status, sense, data_in, wanted } = outcome;
        let residual = Residual::between(entry.expected_len, wanted);
        let (sent, rest) = match &mut entry.state {
            State::Draining => return self.tasks.free(task),
            State::Executing { sent } => (*sent, None),
            State::Receiving(write) => (0, Some(write.expected())),
            State::Failing(rest) | State::Ending(rest) => (0, Some(rest.clone())),
            State::Free | State::Answering | State::Holding(_) => return,
        };
        // The initiator is heard out first (§11.4.2).
        if let Some(rest) = rest.filter(|rest| !rest.is_over()) {
            entry.state = State::Holding(Box::new(Held { rest, status, residual, sense }));
            return;
        }
        let end = data_in.min(entry.readable());
        self.tasks.answering(task);
        let with_data = end > sent && status == GOOD && sense.is_none();
        if end > sent {
            let status = with_data.then_some(residual);
            self.outbox.push(Due::Burst(Burst::new(task, sent, end, status)));
        }
        if !with_data {
            self.outbox.push(Due::Status { task, status, residual, sense });
        }
    }
}

//! A write's data: what comes unasked, what is asked for burst by burst, and what is neither.
//!
//! DataPDUInOrder and DataSequenceInOrder are always Yes, so the data of a task is one growing
//! prefix: `due` says how much of it is here.

use bytes::Bytes;

use super::tasks::State;
use super::{Conn, DataFault, Due, Event, PeerError, Reading, Terms};
use crate::ids::{TaskId, Ttt};
use crate::limits::OUTSTANDING_R2T_MAX;
use crate::pdu::{DataOut, Residual};
use crate::seeded::{self, Bug};
use crate::serial::Sn;

const BURSTS_MAX: usize = OUTSTANDING_R2T_MAX as usize;

/// A write whose data is not all here.
#[derive(Debug)]
pub(super) struct Write {
    expected_len: u32,
    /// Everything below has come.
    due: u32,
    /// The shell has room for everything below.
    accepted: u32,
    /// DataSN that the next Data-Out has.
    data_sn: Sn,
    source: Source,
}

/// Where the next bytes come from.
#[derive(Debug)]
enum Source {
    /// The initiator sends by itself, below `limit`, until a PDU says that it is the last.
    Unsolicited { limit: u32 },
    /// It answers R2Ts.
    Solicited(Bursts),
}

/// The R2Ts that are out; they adjoin each other.
#[derive(Clone, Debug)]
struct Bursts {
    /// Everything below has been asked for or has come unasked.
    asked: u32,
    /// Ends of those that are out, the oldest at `head`.
    ends: [u32; BURSTS_MAX],
    head: u8,
    count: u8,
    /// R2TSN of the oldest.
    first: u32,
}

impl Bursts {
    fn new(asked: u32) -> Self {
        Self { asked, ends: [0; BURSTS_MAX], head: 0, count: 0, first: 0 }
    }

    fn oldest(&self) -> Option<u32> {
        (self.count > 0).then(|| self.ends[usize::from(self.head)])
    }

    fn push(&mut self, end: u32) {
        let at = (usize::from(self.head) + usize::from(self.count)) % BURSTS_MAX;
        self.ends[at] = end;
        self.count += 1;
        self.asked = end;
    }

    fn pop(&mut self) {
        self.head = (self.head + 1) % OUTSTANDING_R2T_MAX.to_be_bytes()[1];
        self.count -= 1;
        self.first = self.first.wrapping_add(1);
    }
}

/// Sequences of a write without a future that are still on their way. Its task is answered, or ended,
/// when each has had its last PDU (§11.4.2, §11.17.1, §4.2.3.3).
#[derive(Clone, Debug)]
pub(super) struct Rest {
    unsolicited: bool,
    bursts: Bursts,
}

impl Rest {
    pub(super) fn is_over(&self) -> bool {
        !self.unsolicited && self.bursts.count == 0
    }

    /// The sequence that is under way has had its last PDU.
    fn end(&mut self) {
        if self.unsolicited {
            self.unsolicited = false;
        } else if self.bursts.count > 0 {
            self.bursts.pop();
        }
    }

    /// Whether an R2T of it is out.
    pub(super) fn is_asked_for(&self) -> bool {
        self.bursts.count > 0
    }

    /// Takes note of a Data-Out. True when nothing more is to come behind it.
    fn take(&mut self, task: TaskId, data: &DataOut) -> bool {
        if data.last && self.unsolicited && data.ttt == Ttt::NONE {
            self.unsolicited = false;
        } else if data.last && self.bursts.count > 0 && data.ttt == ttt(task, self.bursts.first) {
            self.bursts.pop();
        }
        self.is_over()
    }
}

/// How a task has ended whose data is still on its way.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rest: Rest,
    pub(super) status: u8,
    pub(super) residual: Residual,
    pub(super) sense: Option<Bytes>,
}

/// What the end of a data PDU brings about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Everything accepted is here.
    ready: bool,
    /// An R2T may go out.
    ask: bool,
}

/// The name under which the data of an R2T comes back. Slots stay below 0xfe, so that it is never
/// [`Ttt::NONE`] nor the name of a ping or of a text exchange.
fn ttt(task: TaskId, r2t_sn: u32) -> Ttt {
    let [.., slot] = task.slot.to_be_bytes();
    let [.., generation] = task.generation.to_be_bytes();
    let [.., high, low] = r2t_sn.to_be_bytes();
    Ttt(u32::from_be_bytes([slot, generation, high, low]))
}

impl Write {
    /// `unsolicited` bytes may come by themselves; `None` when the command's PDU was the last.
    pub(super) fn new(expected_len: u32, unsolicited: Option<u32>) -> Self {
        let source = match unsolicited {
            Some(limit) => Source::Unsolicited { limit },
            None => Source::Solicited(Bursts::new(0)),
        };
        Self { expected_len, due: 0, accepted: 0, data_sn: Sn(0), source }
    }

    /// Checks the header of a Data-Out with `len` bytes.
    fn begin(&mut self, task: TaskId, data: &DataOut, len: u32) -> Result<(), DataFault> {
        let (limit, exact) = match &self.source {
            Source::Unsolicited { limit } if data.ttt == Ttt::NONE => (*limit, false),
            Source::Solicited(bursts) if data.ttt == ttt(task, bursts.first) => {
                (bursts.oldest().ok_or(DataFault::Unexpected)?, true)
            }
            _ => return Err(DataFault::Unexpected),
        };
        if data.data_sn != self.data_sn || data.offset != self.due {
            return Err(DataFault::OutOfOrder);
        }
        let end = data.offset.checked_add(len).ok_or(DataFault::Amount)?;
        // The last PDU of a burst, and only that one, reaches its end (§11.7.1).
        if end > limit || exact && data.last != (end == limit) {
            return Err(DataFault::Amount);
        }
        self.data_sn = self.data_sn.next();
        Ok(())
    }

    /// Whether the shell has room for `len` more bytes.
    pub(super) fn has_room(&self, len: u32) -> bool {
        len <= self.accepted - self.due
    }

    /// `len` bytes have come, for which there is room. Their offset.
    pub(super) fn arrived(&mut self, len: u32) -> u32 {
        let offset = self.due;
        self.due += len;
        if seeded::is(Bug::SecondBurstMisplaced) {
            let second = matches!(&self.source, Source::Solicited(bursts) if bursts.first > 0);
            return offset - if second { offset.min(512) } else { 0 };
        }
        offset
    }

    pub(super) fn due(&self) -> u32 {
        self.due
    }

    /// The end of a PDU, intact; the last of its sequence or not.
    fn end(&mut self, last: bool) -> Step {
        if last {
            self.data_sn = Sn(0);
            match &mut self.source {
                Source::Unsolicited { .. } => {
                    self.source = Source::Solicited(Bursts::new(self.due));
                }
                Source::Solicited(bursts) => bursts.pop(),
            }
        }
        Step { ready: last && self.due == self.accepted, ask: self.may_ask() }
    }

    /// What R2Ts have asked for and is still to come.
    pub(super) fn asked_for(&mut self) -> Rest {
        Rest { unsolicited: false, ..self.rest(false) }
    }

    /// What is still to come, unasked or asked for.
    pub(super) fn expected(&mut self) -> Rest {
        self.rest(false)
    }

    /// What is still to come when a PDU, the `last` of its sequence or not, was damaged.
    fn rest(&mut self, last: bool) -> Rest {
        match &mut self.source {
            Source::Unsolicited { .. } => Rest { unsolicited: !last, bursts: Bursts::new(0) },
            Source::Solicited(bursts) => {
                let mut bursts = std::mem::replace(bursts, Bursts::new(0));
                if last && bursts.count > 0 {
                    bursts.pop();
                }
                Rest { unsolicited: false, bursts }
            }
        }
    }

    fn may_ask(&self) -> bool {
        matches!(&self.source, Source::Solicited(bursts) if bursts.asked < self.accepted)
    }

    fn is_whole(&self) -> bool {
        self.due == self.expected_len
    }

    /// There is room below `up_to`. True when an R2T may go out for it.
    fn accept(&mut self, up_to: u32) -> bool {
        self.accepted = self.accepted.max(up_to.min(self.expected_len));
        self.may_ask()
    }

    /// The next R2T, as (TTT, offset, length); `r2t_sn` is its number.
    pub(super) fn ask(
        &mut self,
        task: TaskId,
        r2t_sn: u32,
        terms: &Terms,
    ) -> Option<(Ttt, u32, u32)> {
        let Source::Solicited(bursts) = &mut self.source else {
            return None;
        };
        if bursts.count >= terms.outstanding_r2t || bursts.asked >= self.accepted {
            return None;
        }
        let offset = bursts.asked;
        let len = terms.burst_len_max.min(self.accepted - offset);
        bursts.push(offset + len);
        Some((ttt(task, r2t_sn), offset, len))
    }
}

impl Conn {
    /// There is room for the data of `task` below `up_to`, so that it may be asked for. The bound
    /// only grows; a lower one changes nothing. When everything below it is here,
    /// [`Event::WriteReady`] says so. A command that expects no data is ready at once.
    pub fn accept_data(&mut self, task: TaskId, up_to: u32) {
        if let Some(write) = self.tasks.receiving(task) {
            if write.expected_len == 0 {
                self.ready.push_back(task);
            } else if write.accept(up_to) {
                self.outbox.push(Due::R2t(task));
            }
        }
    }

    pub(super) fn on_data_out(&mut self, data: &DataOut, len: u32) -> Result<(), PeerError> {
        // Late data of a task that was answered or aborted is as legal as it is useless.
        self.reading = Reading::Nothing;
        let Some(task) = self.tasks.find(data.itt) else {
            return Ok(());
        };
        let Some(entry) = self.tasks.get_mut(task) else {
            return Ok(());
        };
        match &mut entry.state {
            State::Failing(rest) => {
                let over = rest.take(task, data);
                if over {
                    self.reading = Reading::Unwanted { task, fault: DataFault::Digest };
                }
            }
            State::Ending(rest) => {
                rest.take(task, data);
            }
            State::Holding(held) => {
                let over = held.rest.take(task, data);
                if over {
                    self.reading = Reading::Unwanted { task, fault: DataFault::Amount };
                }
            }
            // With a tag goes the logical unit of its R2T (§4.2.5.3, §11.7.4).
            State::Receiving(_) if data.ttt != Ttt::NONE && data.lun != entry.lun => {
                return Err(PeerError::Data { task, fault: DataFault::Unexpected });
            }
            State::Receiving(write) => {
                write.begin(task, data, len).map_err(|fault| PeerError::Data { task, fault })?;
                self.reading = Reading::Write { task, last: data.last };
            }
            _ => {}
        }
        Ok(())
    }

    /// Bytes of the data segment that a write has under way.
    pub(super) fn on_write_bytes<'b>(
        &mut self,
        task: TaskId,
        bytes: &'b [u8],
    ) -> Result<Option<Event<'b>>, PeerError> {
        let Some(write) = self.tasks.receiving(task) else {
            return Ok(None);
        };
        let len = u32::try_from(bytes.len()).expect("a data segment is shorter than 2^24 bytes");
        if !write.has_room(len) {
            return Err(PeerError::Data { task, fault: DataFault::NoRoom });
        }
        Ok(Some(Event::WriteData { task, offset: write.arrived(len), bytes }))
    }

    /// The end of a PDU that carried data of a write, or could have.
    pub(super) fn on_write_end(&mut self, task: TaskId, last: bool) -> Option<Event<'static>> {
        let entry = self.tasks.get_mut(task)?;
        let State::Receiving(write) = &mut entry.state else {
            self.on_held_end(task, last);
            return None;
        };
        let step = write.end(last);
        if write.is_whole() && step.ready {
            entry.state = State::Executing { sent: 0 };
        }
        if step.ask {
            self.outbox.push(Due::R2t(task));
        }
        step.ready.then_some(Event::WriteReady(task))
    }

    /// A PDU with data of `task` was damaged. The shell is told when the last of what is still to
    /// come for it has come.
    pub(super) fn on_damaged_write(&mut self, task: TaskId, last: bool) -> Option<Event<'static>> {
        let Some(write) = self.tasks.receiving(task) else {
            self.on_held_end(task, last);
            return None;
        };
        let rest = write.rest(last);
        let is_over = rest.is_over();
        self.tasks.get_mut(task)?.state = State::Failing(rest);
        if is_over { self.fail_data(task, DataFault::Digest) } else { None }
    }

    /// The data of `task` is no use: what still comes is dropped, and the shell is told.
    pub(super) fn fail_data(&mut self, task: TaskId, fault: DataFault) -> Option<Event<'static>> {
        let entry = self.tasks.get_mut(task)?;
        match entry.state {
            State::Receiving(_) | State::Failing(_) => {}
            State::Holding(_) => {
                self.release(task);
                return None;
            }
            _ => return None,
        }
        entry.state = State::Executing { sent: 0 };
        Some(Event::DataFailed { task, fault })
    }

    /// A PDU that was under way when the shell completed its task is over.
    fn on_held_end(&mut self, task: TaskId, last: bool) {
        if let Some(State::Holding(held)) = self.tasks.get_mut(task).map(|entry| &mut entry.state)
            && last
        {
            held.rest.end();
            if held.rest.is_over() {
                self.release(task);
            }
        }
    }

    /// Nothing more is to come for a task: its answer is due.
    fn release(&mut self, task: TaskId) {
        if let Some(State::Holding(held)) = self.tasks.answering(task) {
            let Held { status, residual, sense, .. } = *held;
            self.outbox.push(Due::Status { task, status, residual, sense });
        }
    }
}

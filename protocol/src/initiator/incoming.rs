//! What the target sends in full feature phase, checked and turned into events.

use bytes::Bytes;

use super::error::PeerError;
use super::tasks::{Progress, Tag};
use super::{Conn, Logout};
use crate::framer::Frame;
use crate::ids::{Itt, TaskId, Ttt};
use crate::limits::{BHS_LEN, REPLIES_QUEUED_MAX, SENSE_LEN_MAX, TEXT_LEN_MAX, TEXT_PDUS_MAX};
use crate::pdu::{
    AsyncMessage, Bhs, DataIn, LogoutResponse, LogoutResult, NopIn, R2t, Reject, RejectReason,
    Request as Pdu, Residual, Response, ScsiResponse, Sequence, TaskManagementResponse,
    TaskManagementResult, TextRequest, TextResponse,
};
use crate::scsi::Sense;
use crate::serial::Sn;

/// Something that happened on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnEvent<'b> {
    /// A piece of a read's data. It is only good once the task has ended well.
    ReadData {
        /// Whose.
        task: TaskId,
        /// Where it belongs, from the start of the task's data.
        offset: u32,
        /// Never empty.
        bytes: &'b [u8],
    },
    /// A command has ended; its slot is free.
    Done {
        /// Which.
        task: TaskId,
        /// How.
        end: End,
    },
    /// The target has answered a request to abort. When it has done so, or knows no such task, the
    /// slot is free; else the task goes on.
    Aborted {
        /// Which.
        task: TaskId,
        /// The answer.
        result: TaskManagementResult,
    },
    /// The target has answered a ping.
    Pong,
    /// The whole answer to a text request.
    Text(Bytes),
    /// The target has answered a logout, or closes by itself.
    LoggedOut {
        /// How it went.
        result: LogoutResult,
        /// Seconds to wait before connecting again.
        time_to_wait: u16,
    },
    /// The target says something of its own accord.
    Notice {
        /// What.
        message: AsyncMessage,
        /// With a SCSI event.
        sense: Option<Sense>,
    },
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The logical unit answered.
    Status {
        /// The SCSI status byte.
        status: u8,
        /// With CHECK CONDITION.
        sense: Option<Sense>,
        /// Bytes that came, of a read.
        received: u32,
        /// What the target says was left over.
        residual: Residual,
    },
    /// The target could not do it, with this response code (§11.4.3).
    TargetFailure(u8),
    /// The target refused the PDU itself.
    Rejected(RejectReason),
}

/// The PDU that is coming in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Current {
    Nothing,
    DataIn { task: TaskId, pdu: DataIn, wanted: bool },
    Held(Response),
}

/// A text request that has no whole answer yet.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct TextExchange {
    answer: Vec<u8>,
    pdus: u32,
}

impl Conn {
    /// Takes bytes off the front of `input` up to the next event; `None` when more are needed.
    /// After an error the connection is of no more use.
    pub fn next_event<'b>(
        &mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<ConnEvent<'b>>, PeerError> {
        while let Some(frame) = self.framer.next(input)? {
            match frame {
                Frame::Header(bhs) => self.on_header(&bhs)?,
                Frame::Data { offset, bytes } => match self.current {
                    Current::DataIn { task, pdu, wanted: true } => {
                        let offset = pdu.offset + offset;
                        return Ok(Some(ConnEvent::ReadData { task, offset, bytes }));
                    }
                    Current::Held(response) => self.hold(&response, bytes)?,
                    Current::DataIn { .. } | Current::Nothing => {}
                },
                Frame::End { intact: false } => return Err(PeerError::DataDigest),
                Frame::End { intact: true } => {
                    let event = match std::mem::replace(&mut self.current, Current::Nothing) {
                        Current::DataIn { task, pdu, .. } => self.on_data_in_end(task, &pdu)?,
                        Current::Held(response) => self.on_response(response)?,
                        Current::Nothing => None,
                    };
                    if event.is_some() {
                        return Ok(event);
                    }
                }
            }
        }
        Ok(None)
    }

    fn on_header(&mut self, bhs: &Bhs) -> Result<(), PeerError> {
        let response = Response::parse(bhs)?;
        self.held.clear();
        self.current = match response {
            Response::DataIn(pdu) => self.on_data_in(&pdu, bhs.data_segment_len())?,
            Response::Login(_) => return Err(PeerError::Unexpected(bhs.opcode())),
            other => Current::Held(other),
        };
        Ok(())
    }

    fn on_data_in(&mut self, pdu: &DataIn, len: u32) -> Result<Current, PeerError> {
        let (id, task) = self.tasks.named(pdu.itt)?;
        let expected_len = task.expected_len;
        match &mut task.progress {
            Progress::Read(read) => read.take(id, pdu, len, expected_len)?,
            // Nothing but a status may come for other commands.
            _ if len == 0 && pdu.status.is_some() => {}
            _ => return Err(PeerError::DataInNotAsked(id)),
        }
        Ok(Current::DataIn { task: id, pdu: *pdu, wanted: !task.aborting })
    }

    fn on_data_in_end<'b>(
        &mut self,
        task: TaskId,
        pdu: &DataIn,
    ) -> Result<Option<ConnEvent<'b>>, PeerError> {
        let Some((status, residual)) = pdu.status else {
            self.window.update(&pdu.sequence);
            return Ok(None);
        };
        self.account(&pdu.sequence)?;
        Ok(Some(self.end(task, status, None, residual)))
    }

    /// Collects the data of a PDU that is for us, as far as anything is made of it.
    fn hold(&mut self, response: &Response, bytes: &[u8]) -> Result<(), PeerError> {
        let most = match response {
            Response::Command(_) | Response::Async(_) => 2 + SENSE_LEN_MAX,
            Response::Reject(_) => BHS_LEN,
            Response::Text(_) => {
                let before = self.text.as_ref().map_or(0, |text| text.answer.len());
                if before + self.held.len() + bytes.len() > TEXT_LEN_MAX {
                    return Err(PeerError::Flood("text"));
                }
                TEXT_LEN_MAX
            }
            _ => 0,
        };
        let room = most.saturating_sub(self.held.len());
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }

    fn on_response<'b>(&mut self, response: Response) -> Result<Option<ConnEvent<'b>>, PeerError> {
        match response {
            Response::Command(pdu) => self.on_command_response(&pdu).map(Some),
            Response::R2t(pdu) => self.on_r2t(&pdu).map(|()| None),
            Response::NopIn(pdu) => self.on_nop_in(&pdu),
            Response::TaskManagement(pdu) => self.on_task_management(&pdu).map(Some),
            Response::Text(pdu) => self.on_text(&pdu),
            Response::Logout(pdu) => self.on_logout(&pdu).map(Some),
            Response::Async(message) => {
                self.account(&message.sequence)?;
                let sense = sense_in(&self.held);
                Ok(Some(ConnEvent::Notice { message, sense }))
            }
            Response::Reject(pdu) => self.on_reject(&pdu),
            Response::DataIn(_) | Response::Login(_) => {
                unreachable!("a header of these is not held")
            }
        }
    }

    fn on_command_response<'b>(&mut self, pdu: &ScsiResponse) -> Result<ConnEvent<'b>, PeerError> {
        let (id, _) = self.tasks.named(pdu.itt)?;
        self.account(&pdu.sequence)?;
        if pdu.response != 0 {
            self.tasks.remove(id);
            return Ok(ConnEvent::Done { task: id, end: End::TargetFailure(pdu.response) });
        }
        let sense = sense_in(&self.held);
        Ok(self.end(id, pdu.status, sense, pdu.residual))
    }

    fn end<'b>(
        &mut self,
        id: TaskId,
        status: u8,
        sense: Option<Sense>,
        residual: Residual,
    ) -> ConnEvent<'b> {
        let received = match self.tasks.remove(id).map(|task| task.progress) {
            Some(Progress::Read(read)) => read.received,
            _ => 0,
        };
        ConnEvent::Done { task: id, end: End::Status { status, sense, received, residual } }
    }

    fn on_r2t(&mut self, pdu: &R2t) -> Result<(), PeerError> {
        self.window.update(&pdu.sequence);
        let terms = self.terms;
        let (id, task) = self.tasks.named(pdu.itt)?;
        let Progress::Write(write) = &mut task.progress else {
            return Err(PeerError::R2tNotAllowed(id));
        };
        if pdu.lun != task.lun {
            return Err(PeerError::R2tOfOtherUnit { task: id });
        }
        let burst = write.take(id, pdu, task.expected_len, &terms)?;
        if !task.aborting {
            self.bursts.push_back(burst);
        }
        Ok(())
    }

    fn on_nop_in<'b>(&mut self, pdu: &NopIn) -> Result<Option<ConnEvent<'b>>, PeerError> {
        if pdu.itt == Itt::NONE {
            // A ping of the target's own; its StatSN is only shown (§11.19).
            self.window.update(&pdu.sequence);
            if pdu.ttt != Ttt::NONE {
                self.pong(pdu.lun, pdu.ttt)?;
            }
            return Ok(None);
        }
        if self.unplug(pdu.itt) {
            self.account(&pdu.sequence)?;
            return Ok(None);
        }
        if !self.ping_due || Tag::of(pdu.itt) != Some(Tag::Ping(self.pings)) {
            return Err(PeerError::UnknownTask(pdu.itt));
        }
        self.account(&pdu.sequence)?;
        self.ping_due = false;
        Ok(Some(ConnEvent::Pong))
    }

    fn on_task_management<'b>(
        &mut self,
        pdu: &TaskManagementResponse,
    ) -> Result<ConnEvent<'b>, PeerError> {
        let task = self.take_abort(pdu.itt).ok_or(PeerError::UnknownTask(pdu.itt))?;
        self.account(&pdu.sequence)?;
        let result = pdu.result;
        if is_gone(result) {
            self.tasks.remove(task);
        }
        Ok(ConnEvent::Aborted { task, result })
    }

    fn take_abort(&mut self, itt: Itt) -> Option<TaskId> {
        let Some(Tag::Abort(task)) = Tag::of(itt) else {
            return None;
        };
        let at = self.aborts.iter().position(|abort| *abort == task)?;
        Some(self.aborts.swap_remove(at))
    }

    fn on_text<'b>(&mut self, pdu: &TextResponse) -> Result<Option<ConnEvent<'b>>, PeerError> {
        let ours = Tag::of(pdu.itt) == Some(Tag::Text(self.texts));
        let Some(mut exchange) = self.text.take().filter(|_| ours) else {
            return Err(PeerError::UnknownTask(pdu.itt));
        };
        self.account(&pdu.sequence)?;
        exchange.answer.extend_from_slice(&self.held);
        exchange.pdus += 1;
        if pdu.last && !pdu.more {
            return Ok(Some(ConnEvent::Text(exchange.answer.into())));
        }
        if exchange.pdus >= TEXT_PDUS_MAX || self.urgent.len() >= REPLIES_QUEUED_MAX {
            return Err(PeerError::Flood("text"));
        }
        self.text = Some(exchange);
        let request = TextRequest {
            order: self.immediate(),
            last: !pdu.more,
            more: false,
            lun: pdu.lun,
            itt: pdu.itt,
            ttt: pdu.ttt,
        };
        self.urgent.push_back((Pdu::Text(request), Bytes::new()));
        Ok(None)
    }

    fn on_logout<'b>(&mut self, pdu: &LogoutResponse) -> Result<ConnEvent<'b>, PeerError> {
        if self.logout != Logout::Sent || Tag::of(pdu.itt) != Some(Tag::Logout) {
            return Err(PeerError::UnknownTask(pdu.itt));
        }
        self.account(&pdu.sequence)?;
        let LogoutResponse { result, time_to_wait, .. } = *pdu;
        Ok(ConnEvent::LoggedOut { result, time_to_wait })
    }

    /// Finds what was rejected by the header that comes back with the Reject. It is the target's
    /// word: only what is really under way is ended by it.
    fn on_reject<'b>(&mut self, pdu: &Reject) -> Result<Option<ConnEvent<'b>>, PeerError> {
        self.account(&pdu.sequence)?;
        if pdu.reason == RejectReason::NegotiationReset {
            return Err(PeerError::NegotiationReset);
        }
        let Ok(header) = <[u8; BHS_LEN]>::try_from(self.held.as_slice()) else {
            return Ok(None);
        };
        let header = Bhs(header);
        let itt = header.itt();
        Ok(match (Pdu::parse(&header), Tag::of(itt)) {
            (Ok(Pdu::Command(_)), Some(Tag::Command(task))) => {
                let named = self.tasks.named(itt).is_ok();
                let rejected = named.then(|| self.tasks.remove(task)).flatten();
                // A command whose data was damaged has been received; any other has not.
                if let Some(rejected) = &rejected
                    && pdu.reason != RejectReason::DataDigestError
                {
                    self.plug(rejected.cmd_sn);
                }
                rejected.map(|_| ConnEvent::Done { task, end: End::Rejected(pdu.reason) })
            }
            (Ok(Pdu::NopOut(_)), Some(Tag::Plug(_))) => {
                self.unplug(itt);
                None
            }
            (Ok(Pdu::TaskManagement(_)), Some(Tag::Abort(_))) => {
                let result = TaskManagementResult::Rejected;
                self.take_abort(itt).map(|task| ConnEvent::Aborted { task, result })
            }
            (Ok(Pdu::NopOut(_)), Some(Tag::Ping(count)))
                if count == self.pings && self.ping_due =>
            {
                self.ping_due = false;
                Some(ConnEvent::Pong)
            }
            (Ok(Pdu::Text(_)), Some(Tag::Text(count))) if count == self.texts => {
                self.text.take().map(|_| ConnEvent::Text(Bytes::new()))
            }
            // A rejected Data-Out ends its command with a status of its own (§7.9).
            _ => None,
        })
    }

    /// Takes in a PDU that uses up a StatSN. Without recovery none can be missing (§7.9).
    fn account(&mut self, sequence: &Sequence) -> Result<(), PeerError> {
        let due = self.exp_stat_sn;
        if sequence.stat_sn != due {
            return Err(PeerError::StatSn { due, got: sequence.stat_sn });
        }
        self.exp_stat_sn = due.next();
        self.window.update(sequence);
        Ok(())
    }

    /// The number of the next status, as the target will be told.
    #[must_use]
    pub fn exp_stat_sn(&self) -> Sn {
        self.exp_stat_sn
    }
}

/// After these answers to ABORT TASK the target holds the task no more.
pub(super) fn is_gone(result: TaskManagementResult) -> bool {
    use TaskManagementResult::{Complete, LunDoesNotExist, TaskDoesNotExist};
    matches!(result, Complete | TaskDoesNotExist | LunDoesNotExist)
}

/// Sense data after its length field, cut to what is there (§11.4.7.2).
fn sense_in(segment: &[u8]) -> Option<Sense> {
    let (len, sense) = segment.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_be_bytes(*len)).min(sense.len());
    Sense::parse(&sense[..len]).ok()
}

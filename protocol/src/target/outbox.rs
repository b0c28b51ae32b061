//! What is due to be sent, in order, and the PDUs that it becomes. Sequence numbers are given here
//! and nowhere else, so that each PDU carries the state of the moment it leaves.

use std::collections::VecDeque;

use bytes::Bytes;

use super::read::Burst;
use super::tasks::State;
use super::text::Part;
use super::{Conn, PeerError, Phase};
use crate::Body;
use crate::Transmit;
use crate::ids::{Itt, Lun, TaskId, Ttt};
use crate::limits::{BHS_LEN, REPLIES_QUEUED_MAX, TASKS_MAX};
use crate::pdu::{
    AsyncEvent, AsyncMessage, Bhs, LogoutResponse, LogoutResult, NopIn, R2t, Reject, RejectReason,
    Residual, ScsiResponse, Sequence, TaskManagementResponse, TaskManagementResult, TextResponse,
};
use crate::serial::Sn;

/// Something to be sent. What concerns a task that is gone by then is passed over.
#[derive(Debug)]
pub(super) enum Due {
    /// Read data, perhaps with the status.
    Burst(Burst),
    /// As many R2Ts as the task may have out.
    R2t(TaskId),
    /// A status by itself.
    Status { task: TaskId, status: u8, residual: Residual, sense: Option<Bytes> },
    /// What no task is behind.
    Reply(Reply),
}

#[derive(Debug)]
pub(super) enum Reply {
    /// A ping comes back.
    Echo { itt: Itt, lun: Lun, data: Bytes },
    /// A PDU was not taken.
    Reject { reason: RejectReason, header: Bytes },
    /// A task management function was carried out, or not.
    Managed { itt: Itt, result: TaskManagementResult },
    /// Some of a text.
    Text(Part),
    /// Leave granted, or not.
    Logout { itt: Itt, result: LogoutResult },
    /// A ping of ours.
    Ping(Ttt),
    /// The initiator should leave.
    LogoutWanted { within_secs: u16 },
    /// The target leaves.
    Dropping { whole_session: bool },
}

/// The queue. Bursts and statuses are bounded by the task table, R2Ts by the window, replies by
/// [`REPLIES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Due>,
    replies: usize,
}

/// A window's worth of replies is legal; what immediate commands and offences bring is bounded.
pub(super) const REPLIES_MAX: usize = REPLIES_QUEUED_MAX + TASKS_MAX as usize;

impl Outbox {
    pub(super) fn push(&mut self, due: Due) {
        self.queue.push_back(due);
    }

    /// Queues what the peer has brought about.
    pub(super) fn reply(&mut self, reply: Reply) -> Result<(), PeerError> {
        self.check_room()?;
        self.answer(reply);
        Ok(())
    }

    /// Before the shell is asked for a reply.
    pub(super) fn check_room(&self) -> Result<(), PeerError> {
        if self.replies < REPLIES_MAX { Ok(()) } else { Err(PeerError::Flood) }
    }

    /// Queues what was bounded when it was asked for.
    pub(super) fn answer(&mut self, reply: Reply) {
        self.replies += 1;
        self.queue.push_back(Due::Reply(reply));
    }

    fn pop(&mut self) {
        if let Some(Due::Reply(_)) = self.queue.pop_front() {
            self.replies -= 1;
        }
    }
}

impl Conn {
    /// The next PDU to be sent. All Data-Ins of one burst come one after the other.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(last_of_login) = self.first.take() {
            return Some(last_of_login);
        }
        loop {
            let transmit = match self.outbox.queue.front_mut()? {
                Due::Burst(_) => self.poll_burst(),
                &mut Due::R2t(task) => self.poll_r2t(task),
                Due::Status { task, status, residual, sense } => {
                    let (task, status, residual, sense) = (*task, *status, *residual, sense.take());
                    self.outbox.pop();
                    self.response(task, status, residual, sense)
                }
                // An answer that must not leave before all earlier ones are acknowledged holds back
                // what is behind it, too (§11.6.1, §4.2.3.3 d). Any header tells ExpStatSN.
                Due::Reply(Reply::Managed { itt, .. })
                    if self.managing.is_fenced(*itt)
                        && self.stat_sn.after(self.header.exp_stat_sn()) =>
                {
                    let itt = *itt;
                    return self.ask_for_acknowledgement(itt);
                }
                Due::Reply(_) => self.poll_reply(),
            };
            if transmit.is_some() {
                return transmit;
            }
        }
    }

    /// The next Data-In of the burst at the front; `None`, and the burst is gone, if its task is.
    fn poll_burst(&mut self) -> Option<Transmit> {
        let Some(Due::Burst(burst)) = self.outbox.queue.front_mut() else {
            return None;
        };
        let task = burst.task;
        let entry = self.tasks.get_mut(task).filter(|entry| !entry.is_aborted());
        let Some(entry) = entry else {
            self.outbox.pop();
            return None;
        };
        let (mut pdu, len, finished) = burst.cut(&self.terms);
        pdu.itt = entry.itt;
        pdu.data_sn = Sn(entry.data_sn);
        entry.data_sn = entry.data_sn.wrapping_add(1);
        if finished {
            self.outbox.pop();
        }
        if pdu.status.is_some() {
            self.tasks.free(task);
        }
        pdu.sequence = self.sequence(pdu.status.is_some());
        let body = Body::Task { task, offset: pdu.offset, len };
        Some(Transmit::new(pdu.build(), body, self.terms.digests))
    }

    fn poll_r2t(&mut self, task: TaskId) -> Option<Transmit> {
        let asked = self.tasks.get_mut(task).and_then(|entry| {
            let State::Receiving(write) = &mut entry.state else {
                return None;
            };
            let r2t_sn = entry.data_sn;
            let (ttt, offset, len) = write.ask(task, r2t_sn, &self.terms)?;
            entry.data_sn = r2t_sn.wrapping_add(1);
            Some((entry.lun, entry.itt, Sn(r2t_sn), ttt, offset, len))
        });
        let Some((lun, itt, r2t_sn, ttt, offset, len)) = asked else {
            self.outbox.pop();
            return None;
        };
        let sequence = Sequence { stat_sn: self.stat_sn, ..self.sequence(false) };
        let pdu = R2t { lun, itt, ttt, sequence, r2t_sn, offset, len };
        Some(self.bare(pdu.build()))
    }

    /// A SCSI Response, after which the task is no more.
    fn response(
        &mut self,
        task: TaskId,
        status: u8,
        residual: Residual,
        sense: Option<Bytes>,
    ) -> Option<Transmit> {
        let entry = self.tasks.get(task)?;
        let (itt, exp_data_sn) = (entry.itt, Sn(entry.data_sn));
        self.tasks.free(task);
        let sequence = self.sequence(true);
        let pdu = ScsiResponse { response: 0, status, residual, itt, sequence, exp_data_sn };
        let body = sense.map_or(Body::None, |sense| Body::Bytes(with_length(&sense)));
        Some(Transmit::new(pdu.build(), body, self.terms.digests))
    }

    fn poll_reply(&mut self) -> Option<Transmit> {
        let Some(Due::Reply(reply)) = self.outbox.queue.pop_front() else {
            return None;
        };
        self.outbox.replies -= 1;
        Some(match reply {
            Reply::Echo { itt, lun, data } => {
                let sequence = self.sequence(true);
                let pdu = NopIn { lun, itt, ttt: Ttt::NONE, sequence };
                self.with_bytes(pdu.build(), data)
            }
            Reply::Reject { reason, header } => {
                let pdu = Reject { reason, sequence: self.sequence(true), data_sn: Sn(0) };
                self.with_bytes(pdu.build(), header)
            }
            Reply::Managed { itt, result } => {
                self.managing.forget(itt);
                let pdu = TaskManagementResponse { result, itt, sequence: self.sequence(true) };
                self.bare(pdu.build())
            }
            Reply::Text(part) => {
                let Part { itt, ttt, last, more, text } = part;
                let sequence = self.sequence(true);
                let pdu = TextResponse { last, more, lun: Lun::ZERO, itt, ttt, sequence };
                self.with_bytes(pdu.build(), text)
            }
            Reply::Logout { itt, result } => {
                if result == LogoutResult::Closed {
                    self.phase = Phase::Closed;
                }
                let sequence = self.sequence(true);
                let pdu =
                    LogoutResponse { result, itt, sequence, time_to_wait: 0, time_to_retain: 0 };
                self.bare(pdu.build())
            }
            Reply::Ping(ttt) => self.ping_pdu(ttt),
            Reply::LogoutWanted { within_secs } => {
                self.event(AsyncEvent::LogoutRequested, [0, 0, within_secs])
            }
            Reply::Dropping { whole_session } => {
                let seconds = |value: u32| u16::try_from(value).expect("at most 3600");
                let wait = seconds(self.params.time_to_wait);
                let retain = seconds(self.params.time_to_retain);
                if whole_session {
                    self.event(AsyncEvent::SessionDropped, [0, wait, retain])
                } else {
                    let cid = self.identity.cid.0;
                    self.event(AsyncEvent::ConnectionDropped, [cid, wait, retain])
                }
            }
        })
    }

    /// A ping, whose answer brings ExpStatSN (§4.2.2.3.3 b); `None` while one is under way, and for a
    /// function that has had its own.
    fn ask_for_acknowledgement(&mut self, itt: Itt) -> Option<Transmit> {
        let asked = self.managing.unasked(itt)?;
        let ttt = self.pings.begin()?;
        *asked = true;
        Some(self.ping_pdu(ttt))
    }

    fn ping_pdu(&mut self, ttt: Ttt) -> Transmit {
        let sequence = Sequence { stat_sn: self.stat_sn, ..self.sequence(false) };
        self.bare(NopIn { lun: Lun::ZERO, itt: Itt::NONE, ttt, sequence }.build())
    }

    fn event(&mut self, event: AsyncEvent, parameters: [u16; 3]) -> Transmit {
        let (lun, sequence) = (Lun::ZERO, self.sequence(true));
        self.bare(AsyncMessage { lun, sequence, event, vendor_code: 0, parameters }.build())
    }

    /// The numbers for a PDU that leaves now. One that brings a status uses up a StatSN; in the
    /// others the field is reserved, or says which one is next.
    fn sequence(&mut self, status: bool) -> Sequence {
        let stat_sn = if status { self.stat_sn } else { Sn(0) };
        if status {
            self.stat_sn = self.stat_sn.next();
        }
        let (exp_cmd_sn, max_cmd_sn) = self.window.advertise(self.tasks.len());
        Sequence { stat_sn, exp_cmd_sn, max_cmd_sn }
    }

    fn bare(&self, header: Bhs) -> Transmit {
        Transmit::new(header, Body::None, self.terms.digests)
    }

    fn with_bytes(&self, header: Bhs, bytes: Bytes) -> Transmit {
        let body = if bytes.is_empty() { Body::None } else { Body::Bytes(bytes) };
        Transmit::new(header, body, self.terms.digests)
    }

    /// Queues a Reject with the header of the PDU that was not taken.
    pub(super) fn reject(&mut self, reason: RejectReason, header: &Bhs) -> Result<(), PeerError> {
        const _: () = assert!(BHS_LEN <= 512, "a Reject fits whatever the peer takes");
        let header = Bytes::copy_from_slice(&header.0);
        self.outbox.reply(Reply::Reject { reason, header })
    }
}

/// Sense data as a SCSI Response carries it: its length first (§11.4.7).
fn with_length(sense: &[u8]) -> Bytes {
    let len = u16::try_from(sense.len()).expect("sense data has at most 254 bytes");
    let mut bytes = Vec::with_capacity(2 + sense.len());
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(sense);
    bytes.into()
}

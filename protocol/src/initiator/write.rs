//! A write's data: what may be sent without being asked, and what each R2T asks for.

use super::Terms;
use super::error::PeerError;
use crate::ids::{Lun, TaskId, Ttt};
use crate::limits::{OUTSTANDING_R2T_MAX, RECV_SEGMENT_LEN_MAX};
use crate::pdu::{DataOut, R2t};
use crate::serial::Sn;

/// How far a write has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Write {
    /// All bytes before this one were sent without being asked, or were asked for.
    asked: u32,
    /// R2Ts that are not answered in full.
    outstanding: u16,
    /// Number of the next R2T.
    r2t_sn: Sn,
}

/// Data-Out PDUs that belong together: the answer to one R2T, or a command's unsolicited data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Burst {
    pub(super) task: TaskId,
    lun: Lun,
    ttt: Ttt,
    next: u32,
    end: u32,
    data_sn: Sn,
}

/// What goes out with a command that writes `len` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Opening {
    /// Bytes in the command's own PDU.
    pub(super) immediate: u32,
    /// Unsolicited bytes after it.
    pub(super) unsolicited: Option<Burst>,
    pub(super) write: Write,
}

impl Terms {
    /// The longest data segment to send: what the target takes, and no more than we would.
    fn segment(&self) -> u32 {
        self.send_segment_len_max.clamp(1, RECV_SEGMENT_LEN_MAX)
    }

    /// Cuts the beginning of a write: all that may be sent unasked is sent unasked (§4.2.5.2).
    pub(super) fn open_write(&self, task: TaskId, lun: Lun, len: u32) -> Opening {
        let first_burst = len.min(self.first_burst_len);
        let immediate = if self.immediate_data { first_burst.min(self.segment()) } else { 0 };
        let asked = if self.initial_r2t { immediate } else { first_burst };
        let unsolicited = (asked > immediate).then_some(Burst {
            task,
            lun,
            ttt: Ttt::NONE,
            next: immediate,
            end: asked,
            data_sn: Sn(0),
        });
        Opening { immediate, unsolicited, write: Write { asked, outstanding: 0, r2t_sn: Sn(0) } }
    }
}

impl Write {
    /// Takes an R2T, or says what is wrong with it. The data is asked for in order, each byte once.
    pub(super) fn take(
        &mut self,
        task: TaskId,
        r2t: &R2t,
        expected_len: u32,
        terms: &Terms,
    ) -> Result<Burst, PeerError> {
        let most = terms.outstanding_r2t_max.min(OUTSTANDING_R2T_MAX);
        if self.outstanding >= most {
            return Err(PeerError::TooManyR2ts { task });
        }
        if r2t.offset != self.asked || r2t.r2t_sn != self.r2t_sn {
            return Err(PeerError::R2tOutOfOrder { task, due: self.asked, got: r2t.offset });
        }
        if r2t.len == 0 || r2t.len > terms.burst_len_max || r2t.len > expected_len - self.asked {
            return Err(PeerError::R2tLength { task, len: r2t.len });
        }
        if r2t.ttt == Ttt::NONE {
            return Err(PeerError::R2tWithoutTag { task });
        }
        self.outstanding += 1;
        self.r2t_sn = self.r2t_sn.next();
        let next = self.asked;
        self.asked += r2t.len;
        Ok(Burst { task, lun: r2t.lun, ttt: r2t.ttt, next, end: self.asked, data_sn: Sn(0) })
    }

    /// A burst that an R2T asked for has been handed out for sending.
    pub(super) fn answered(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }
}

impl Burst {
    /// Whether an R2T asked for it.
    pub(super) fn is_solicited(&self) -> bool {
        self.ttt != Ttt::NONE
    }

    pub(super) fn is_sent(&self) -> bool {
        self.next == self.end
    }

    /// The next PDU of it, and how many bytes it carries.
    pub(super) fn cut(&mut self, terms: &Terms, exp_stat_sn: Sn) -> (DataOut, u32) {
        let len = (self.end - self.next).min(terms.segment());
        let pdu = DataOut {
            last: self.next + len == self.end,
            lun: if self.is_solicited() { self.lun } else { Lun::default() },
            itt: super::tasks::itt(self.task),
            ttt: self.ttt,
            exp_stat_sn,
            data_sn: self.data_sn,
            offset: self.next,
        };
        self.next += len;
        self.data_sn = self.data_sn.next();
        (pdu, len)
    }
}

//! SCSI Data-Out and Data-In (§11.7), and Ready To Transfer (§11.8).

use super::command::Residual;
use super::{Bhs, FINAL, FieldError, Sequence, opcode};
use crate::ids::{Itt, Lun, Ttt};
use crate::serial::Sn;

/// A piece of a command's output data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataOut {
    /// The last PDU of its sequence: of one R2T, or of the unsolicited data.
    pub last: bool,
    /// Which logical unit; copied from the R2T.
    pub lun: Lun,
    /// Which task.
    pub itt: Itt,
    /// The R2T it answers, or [`Ttt::NONE`] when unsolicited.
    pub ttt: Ttt,
    /// All statuses below this have been received.
    pub exp_stat_sn: Sn,
    /// Counts from 0 in each sequence.
    pub data_sn: Sn,
    /// First byte, from the start of the command's data.
    pub offset: u32,
}

impl DataOut {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            last: bhs.flag(FINAL),
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
            exp_stat_sn: bhs.sn(28),
            data_sn: bhs.sn(36),
            offset: bhs.u32(40),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::DATA_OUT);
        bhs.put_flag(FINAL, self.last);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_u32(28, self.exp_stat_sn.0);
        bhs.put_u32(36, self.data_sn.0);
        bhs.put_u32(40, self.offset);
        bhs
    }
}

/// A piece of a command's input data; the last one may carry the status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataIn {
    /// The last PDU of its sequence, which is at most MaxBurstLength long.
    pub last: bool,
    /// The initiator is asked to acknowledge; only above error recovery level 0.
    pub acknowledge: bool,
    /// Status byte and residual, on the last PDU of a command that ended without sense (S bit).
    pub status: Option<(u8, Residual)>,
    /// Which logical unit; only meaningful with `acknowledge`.
    pub lun: Lun,
    /// Which task.
    pub itt: Itt,
    /// [`Ttt::NONE`] unless an acknowledgement is asked for.
    pub ttt: Ttt,
    /// Progress; StatSN is meaningful only with `status`.
    pub sequence: Sequence,
    /// Counts from 0 over the command.
    pub data_sn: Sn,
    /// First byte, from the start of the command's data.
    pub offset: u32,
}

const ACKNOWLEDGE: u8 = 0x40;
const STATUS: u8 = 0x01;

impl DataIn {
    pub(super) fn parse(bhs: &Bhs) -> Result<Self, FieldError> {
        let status = if bhs.flag(STATUS) {
            if !bhs.flag(FINAL) {
                return Err(FieldError("S without F"));
            }
            Some((bhs.0[3], Residual::parse(bhs)?))
        } else {
            None
        };
        Ok(Self {
            last: bhs.flag(FINAL),
            acknowledge: bhs.flag(ACKNOWLEDGE),
            status,
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
            sequence: bhs.sequence(),
            data_sn: bhs.sn(36),
            offset: bhs.u32(40),
        })
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::DATA_IN);
        bhs.put_flag(FINAL, self.last);
        bhs.put_flag(ACKNOWLEDGE, self.acknowledge);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_sequence(self.sequence);
        bhs.put_u32(36, self.data_sn.0);
        bhs.put_u32(40, self.offset);
        if let Some((status, residual)) = self.status {
            bhs.put_flag(STATUS, true);
            bhs.0[3] = status;
            residual.put(&mut bhs);
        }
        bhs
    }
}

/// The target is ready for a piece of a command's output data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct R2t {
    /// Which logical unit.
    pub lun: Lun,
    /// Which task.
    pub itt: Itt,
    /// The name that the data will carry.
    pub ttt: Ttt,
    /// Progress; StatSN is the next one, and not used up.
    pub sequence: Sequence,
    /// Counts from 0 over the command.
    pub r2t_sn: Sn,
    /// First byte wanted.
    pub offset: u32,
    /// How many bytes: Desired Data Transfer Length, at most MaxBurstLength.
    pub len: u32,
}

impl R2t {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
            sequence: bhs.sequence(),
            r2t_sn: bhs.sn(36),
            offset: bhs.u32(40),
            len: bhs.u32(44),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::R2T);
        bhs.put_flag(FINAL, true);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_sequence(self.sequence);
        bhs.put_u32(36, self.r2t_sn.0);
        bhs.put_u32(40, self.offset);
        bhs.put_u32(44, self.len);
        bhs
    }
}

//! Reject (§11.17): a PDU that could not be taken, sent back with its header as data.

use super::{Bhs, FINAL, Sequence, opcode};
use crate::ids::Itt;
use crate::serial::Sn;

/// Why (§11.17.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RejectReason {
    /// 02h.
    DataDigestError,
    /// 03h.
    SnackReject,
    /// 04h.
    ProtocolError,
    /// 05h.
    CommandNotSupported,
    /// 06h.
    TooManyImmediateCommands,
    /// 07h.
    TaskInProgress,
    /// 08h.
    InvalidDataAck,
    /// 09h.
    InvalidPduField,
    /// 0Ah.
    OutOfResources,
    /// 0Bh, which nobody sends any more.
    NegotiationReset,
    /// 0Ch.
    WaitingForLogout,
    /// Any other.
    Unknown(u8),
}

impl RejectReason {
    const fn value(self) -> u8 {
        match self {
            Self::DataDigestError => 0x02,
            Self::SnackReject => 0x03,
            Self::ProtocolError => 0x04,
            Self::CommandNotSupported => 0x05,
            Self::TooManyImmediateCommands => 0x06,
            Self::TaskInProgress => 0x07,
            Self::InvalidDataAck => 0x08,
            Self::InvalidPduField => 0x09,
            Self::OutOfResources => 0x0a,
            Self::NegotiationReset => 0x0b,
            Self::WaitingForLogout => 0x0c,
            Self::Unknown(value) => value,
        }
    }

    const fn parse(value: u8) -> Self {
        match value {
            0x02 => Self::DataDigestError,
            0x03 => Self::SnackReject,
            0x04 => Self::ProtocolError,
            0x05 => Self::CommandNotSupported,
            0x06 => Self::TooManyImmediateCommands,
            0x07 => Self::TaskInProgress,
            0x08 => Self::InvalidDataAck,
            0x09 => Self::InvalidPduField,
            0x0a => Self::OutOfResources,
            0x0b => Self::NegotiationReset,
            0x0c => Self::WaitingForLogout,
            other => Self::Unknown(other),
        }
    }
}

/// The header of a Reject; its data segment is the rejected header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// Progress.
    pub sequence: Sequence,
    /// For a rejected SNACK.
    pub data_sn: Sn,
}

impl Reject {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            reason: RejectReason::parse(bhs.0[2]),
            sequence: bhs.sequence(),
            data_sn: bhs.sn(36),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::REJECT);
        bhs.put_flag(FINAL, true);
        bhs.0[2] = self.reason.value();
        bhs.put_u32(16, Itt::NONE.0);
        bhs.put_sequence(self.sequence);
        bhs.put_u32(36, self.data_sn.0);
        bhs
    }
}

//! Protocol data units: the 48-byte Basic Header Segment and what each opcode makes of it (§11).
//!
//! A header says nothing about bytes it does not define: reserved fields are sent as 0 and not
//! looked at when received.

mod async_message;
mod command;
mod data;
mod login;
mod logout;
mod nop;
mod reject;
mod snack;
mod task;
#[cfg(test)]
mod tests;
mod text;

pub use async_message::{AsyncEvent, AsyncMessage};
pub use command::{Residual, ScsiCommand, ScsiResponse, TaskAttribute};
pub use data::{DataIn, DataOut, R2t};
pub use login::{LoginRequest, LoginResponse, LoginStatus, Stage};
pub use logout::{LogoutReason, LogoutRequest, LogoutResponse, LogoutResult};
pub use nop::{NopIn, NopOut};
pub use reject::{Reject, RejectReason};
pub use snack::SnackRequest;
pub use task::{
    TaskManagementFunction, TaskManagementRequest, TaskManagementResponse, TaskManagementResult,
};
pub use text::{TextRequest, TextResponse};

use crate::ids::{Itt, Lun, Ttt};
use crate::limits::BHS_LEN;
use crate::serial::Sn;

/// Opcodes (§11.2.1.2).
pub mod opcode {
    #![allow(missing_docs, reason = "the names are the standard's and say it all")]

    pub const NOP_OUT: u8 = 0x00;
    pub const SCSI_COMMAND: u8 = 0x01;
    pub const TASK_MANAGEMENT_REQUEST: u8 = 0x02;
    pub const LOGIN_REQUEST: u8 = 0x03;
    pub const TEXT_REQUEST: u8 = 0x04;
    pub const DATA_OUT: u8 = 0x05;
    pub const LOGOUT_REQUEST: u8 = 0x06;
    pub const SNACK_REQUEST: u8 = 0x10;
    pub const NOP_IN: u8 = 0x20;
    pub const SCSI_RESPONSE: u8 = 0x21;
    pub const TASK_MANAGEMENT_RESPONSE: u8 = 0x22;
    pub const LOGIN_RESPONSE: u8 = 0x23;
    pub const TEXT_RESPONSE: u8 = 0x24;
    pub const DATA_IN: u8 = 0x25;
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    pub const R2T: u8 = 0x31;
    pub const ASYNC_MESSAGE: u8 = 0x32;
    pub const REJECT: u8 = 0x3f;
}

const FINAL: u8 = 0x80;
const CONTINUE: u8 = 0x40;
const IMMEDIATE: u8 = 0x40;

/// A Basic Header Segment, as it is on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bhs(pub [u8; BHS_LEN]);

impl Default for Bhs {
    fn default() -> Self {
        Self([0; BHS_LEN])
    }
}

impl std::fmt::Debug for Bhs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bhs(opcode {:#04x}, data {})", self.opcode(), self.data_segment_len())
    }
}

impl Bhs {
    fn new(opcode: u8) -> Self {
        let mut bhs = Self::default();
        bhs.0[0] = opcode;
        bhs
    }

    /// The opcode, without the immediate bit.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.0[0] & 0x3f
    }

    /// Whether this is a command for immediate delivery (§11.2.1.1).
    #[must_use]
    pub const fn immediate(&self) -> bool {
        self.0[0] & IMMEDIATE != 0
    }

    /// TotalAHSLength in bytes.
    #[must_use]
    pub const fn ahs_len(&self) -> usize {
        self.0[4] as usize * 4
    }

    /// DataSegmentLength in bytes, without padding.
    #[must_use]
    pub const fn data_segment_len(&self) -> u32 {
        u32::from_be_bytes([0, self.0[5], self.0[6], self.0[7]])
    }

    /// Sets DataSegmentLength.
    pub(crate) fn set_data_segment_len(&mut self, len: u32) {
        let [high, bytes @ ..] = len.to_be_bytes();
        debug_assert_eq!(high, 0, "a data segment is shorter than 2^24 bytes");
        self.0[5..8].copy_from_slice(&bytes);
    }

    /// The Initiator Task Tag, which every PDU has at the same place.
    #[must_use]
    pub fn itt(&self) -> Itt {
        Itt(self.u32(16))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// ExpStatSN, which every initiator PDU has in this place.
    pub(crate) fn exp_stat_sn(&self) -> Sn {
        self.sn(28)
    }

    fn sn(&self, at: usize) -> Sn {
        Sn(self.u32(at))
    }

    fn lun(&self) -> Lun {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[8..16]);
        Lun(u64::from_be_bytes(bytes))
    }

    fn ttt(&self) -> Ttt {
        Ttt(self.u32(20))
    }

    fn flag(&self, mask: u8) -> bool {
        self.0[1] & mask != 0
    }

    fn put_flag(&mut self, mask: u8, on: bool) {
        if on {
            self.0[1] |= mask;
        }
    }

    fn put_u16(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    fn put_lun(&mut self, lun: Lun) {
        self.0[8..16].copy_from_slice(&lun.0.to_be_bytes());
    }

    fn put_order(&mut self, order: Order) {
        if order.immediate {
            self.0[0] |= IMMEDIATE;
        }
        self.put_u32(24, order.cmd_sn.0);
        self.put_u32(28, order.exp_stat_sn.0);
    }

    fn order(&self) -> Order {
        Order { immediate: self.immediate(), cmd_sn: self.sn(24), exp_stat_sn: self.sn(28) }
    }

    fn put_sequence(&mut self, sequence: Sequence) {
        self.put_u32(24, sequence.stat_sn.0);
        self.put_u32(28, sequence.exp_cmd_sn.0);
        self.put_u32(32, sequence.max_cmd_sn.0);
    }

    fn sequence(&self) -> Sequence {
        Sequence { stat_sn: self.sn(24), exp_cmd_sn: self.sn(28), max_cmd_sn: self.sn(32) }
    }
}

/// What every request says of its place in the session: commands are executed in the order of
/// CmdSN, unless they are immediate (§4.2.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Order {
    /// For immediate delivery: does not advance CmdSN.
    pub immediate: bool,
    /// Command sequence number.
    pub cmd_sn: Sn,
    /// All statuses below this have been received.
    pub exp_stat_sn: Sn,
}

/// What every response says of the session's progress (§4.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sequence {
    /// Status sequence number of this connection.
    pub stat_sn: Sn,
    /// The next command expected.
    pub exp_cmd_sn: Sn,
    /// The last command that may be sent.
    pub max_cmd_sn: Sn,
}

/// A field that has no meaning, by its name in the standard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("PDU field {0} has a value that the standard does not define")]
pub struct FieldError(pub &'static str);

/// What an initiator sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Opcode 00h.
    NopOut(NopOut),
    /// Opcode 01h.
    Command(ScsiCommand),
    /// Opcode 02h.
    TaskManagement(TaskManagementRequest),
    /// Opcode 03h.
    Login(LoginRequest),
    /// Opcode 04h.
    Text(TextRequest),
    /// Opcode 05h.
    DataOut(DataOut),
    /// Opcode 06h.
    Logout(LogoutRequest),
    /// Opcode 10h.
    Snack(SnackRequest),
}

/// What a target sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    /// Opcode 20h.
    NopIn(NopIn),
    /// Opcode 21h.
    Command(ScsiResponse),
    /// Opcode 22h.
    TaskManagement(TaskManagementResponse),
    /// Opcode 23h.
    Login(LoginResponse),
    /// Opcode 24h.
    Text(TextResponse),
    /// Opcode 25h.
    DataIn(DataIn),
    /// Opcode 26h.
    Logout(LogoutResponse),
    /// Opcode 31h.
    R2t(R2t),
    /// Opcode 32h.
    Async(AsyncMessage),
    /// Opcode 3Fh.
    Reject(Reject),
}

/// Why a header could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not an opcode of this direction.
    #[error("opcode {0:#04x} is not one that this side takes")]
    Opcode(u8),
    /// A field has an undefined value.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Request {
    /// Reads the header of a request.
    pub fn parse(bhs: &Bhs) -> Result<Self, HeaderError> {
        Ok(match bhs.opcode() {
            opcode::NOP_OUT => Self::NopOut(NopOut::parse(bhs)),
            opcode::SCSI_COMMAND => Self::Command(ScsiCommand::parse(bhs)?),
            opcode::TASK_MANAGEMENT_REQUEST => {
                Self::TaskManagement(TaskManagementRequest::parse(bhs))
            }
            opcode::LOGIN_REQUEST => Self::Login(LoginRequest::parse(bhs)?),
            opcode::TEXT_REQUEST => Self::Text(TextRequest::parse(bhs)),
            opcode::DATA_OUT => Self::DataOut(DataOut::parse(bhs)),
            opcode::LOGOUT_REQUEST => Self::Logout(LogoutRequest::parse(bhs)?),
            opcode::SNACK_REQUEST => Self::Snack(SnackRequest::parse(bhs)),
            other => return Err(HeaderError::Opcode(other)),
        })
    }

    /// The header, with a DataSegmentLength of 0.
    #[must_use]
    pub fn build(&self) -> Bhs {
        match self {
            Self::NopOut(pdu) => pdu.build(),
            Self::Command(pdu) => pdu.build(),
            Self::TaskManagement(pdu) => pdu.build(),
            Self::Login(pdu) => pdu.build(),
            Self::Text(pdu) => pdu.build(),
            Self::DataOut(pdu) => pdu.build(),
            Self::Logout(pdu) => pdu.build(),
            Self::Snack(pdu) => pdu.build(),
        }
    }
}

impl Response {
    /// Reads the header of a response.
    pub fn parse(bhs: &Bhs) -> Result<Self, HeaderError> {
        Ok(match bhs.opcode() {
            opcode::NOP_IN => Self::NopIn(NopIn::parse(bhs)),
            opcode::SCSI_RESPONSE => Self::Command(ScsiResponse::parse(bhs)?),
            opcode::TASK_MANAGEMENT_RESPONSE => {
                Self::TaskManagement(TaskManagementResponse::parse(bhs))
            }
            opcode::LOGIN_RESPONSE => Self::Login(LoginResponse::parse(bhs)?),
            opcode::TEXT_RESPONSE => Self::Text(TextResponse::parse(bhs)),
            opcode::DATA_IN => Self::DataIn(DataIn::parse(bhs)?),
            opcode::LOGOUT_RESPONSE => Self::Logout(LogoutResponse::parse(bhs)),
            opcode::R2T => Self::R2t(R2t::parse(bhs)),
            opcode::ASYNC_MESSAGE => Self::Async(AsyncMessage::parse(bhs)),
            opcode::REJECT => Self::Reject(Reject::parse(bhs)),
            other => return Err(HeaderError::Opcode(other)),
        })
    }

    /// The header, with a DataSegmentLength of 0.
    #[must_use]
    pub fn build(&self) -> Bhs {
        match self {
            Self::NopIn(pdu) => pdu.build(),
            Self::Command(pdu) => pdu.build(),
            Self::TaskManagement(pdu) => pdu.build(),
            Self::Login(pdu) => pdu.build(),
            Self::Text(pdu) => pdu.build(),
            Self::DataIn(pdu) => pdu.build(),
            Self::Logout(pdu) => pdu.build(),
            Self::R2t(pdu) => pdu.build(),
            Self::Async(pdu) => pdu.build(),
            Self::Reject(pdu) => pdu.build(),
        }
    }
}

//! What a peer can do wrong, and what RFC 7143 has us do about it.

use crate::framer::FrameError;
use crate::ids::{Itt, TaskId};
use crate::limits::{IMMEDIATE_MAX, REPLIES_QUEUED_MAX, TEXT_LEN_MAX, TEXT_PDUS_MAX};
use crate::pdu::{FieldError, HeaderError, RejectReason};
use crate::serial::Sn;

use super::DataFault;

/// An offence of the peer's. Those that `next_event` returns end the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerError {
    /// The stream cannot be followed any more.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A header without a meaning.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A data digest was wrong.
    #[error("data digest error")]
    DataDigest,
    /// A SNACK, which error recovery level 0 does not have.
    #[error("SNACK at error recovery level 0")]
    Snack,
    /// A login request after the login.
    #[error("login request in full feature phase")]
    Login,
    /// Neither text nor logout.
    #[error("opcode {0:#04x} in a discovery session")]
    Discovery(u8),
    /// The tag of a task that is still there.
    #[error("{0:?} is in use")]
    TaskInProgress(Itt),
    /// Too many immediate commands at once.
    #[error("more than {IMMEDIATE_MAX} immediate commands at once")]
    TooManyImmediate,
    /// All slots are taken, which a peer that respects MaxCmdSN does not bring about.
    #[error("more tasks than were allowed")]
    TooManyTasks,
    /// A write's data breaks the rules.
    #[error("the data of {task:?} breaks the rules: {fault:?}")]
    Data {
        /// Whose.
        task: TaskId,
        /// How.
        fault: DataFault,
    },
    /// A command with data came before its turn.
    #[error("a command with data has CmdSN {got:?} where {expected:?} is due")]
    CommandGap {
        /// ExpCmdSN.
        expected: Sn,
        /// Its CmdSN.
        got: Sn,
    },
    /// A text request that belongs to no exchange, or text that is none.
    #[error("text request out of place or malformed")]
    Text,
    /// A text exchange without an end.
    #[error("text of more than {TEXT_LEN_MAX} bytes or {TEXT_PDUS_MAX} requests")]
    TextTooLong,
    /// It asks on without reading the answers.
    #[error("more than {REPLIES_QUEUED_MAX} replies beyond the window wait to be read")]
    Flood,
}

/// What follows from an offence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Penalty {
    /// The PDU is dropped with a Reject. Its CmdSN does not count as received (§7.3).
    Reject(RejectReason),
    /// The task ends with CHECK CONDITION.
    FailTask(TaskId, DataFault),
    /// The connection ends.
    Close,
}

impl PeerError {
    /// What RFC 7143 has us do about it. The only place that decides.
    pub(super) const fn penalty(&self) -> Penalty {
        match *self {
            Self::Header(HeaderError::Opcode(_)) => {
                Penalty::Reject(RejectReason::CommandNotSupported)
            }
            Self::Header(HeaderError::Field(_)) => Penalty::Reject(RejectReason::InvalidPduField),
            Self::DataDigest => Penalty::Reject(RejectReason::DataDigestError),
            Self::Snack => Penalty::Reject(RejectReason::SnackReject),
            Self::Login | Self::Discovery(_) | Self::Text => {
                Penalty::Reject(RejectReason::ProtocolError)
            }
            Self::TaskInProgress(_) => Penalty::Reject(RejectReason::TaskInProgress),
            Self::TooManyImmediate => Penalty::Reject(RejectReason::TooManyImmediateCommands),
            Self::TooManyTasks => Penalty::Reject(RejectReason::OutOfResources),
            Self::Data { task, fault } => Penalty::FailTask(task, fault),
            Self::Frame(_) | Self::CommandGap { .. } | Self::TextTooLong | Self::Flood => {
                Penalty::Close
            }
        }
    }

    pub(super) const fn field(name: &'static str) -> Self {
        Self::Header(HeaderError::Field(FieldError(name)))
    }
}

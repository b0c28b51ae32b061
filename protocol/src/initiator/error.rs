//! What a target may do wrong. At error recovery level 0 there is one penalty: the connection
//! ends, and the session is made anew (§7.7 to §7.9).

use crate::framer::FrameError;
use crate::ids::{Itt, TaskId};
use crate::pdu::HeaderError;
use crate::serial::Sn;

/// An offence of the target's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerError {
    /// The stream cannot be taken apart any more.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A header that has no meaning.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The data arrived changed.
    #[error("data digest error")]
    DataDigest,
    /// A PDU that has no place in the full feature phase.
    #[error("opcode {0:#04x} has no place here")]
    Unexpected(u8),
    /// A status is missing, or came twice.
    #[error("StatSN {got:?} where {due:?} was due")]
    StatSn {
        /// The number that was due.
        due: Sn,
        /// The number that came.
        got: Sn,
    },
    /// It names a task that is not.
    #[error("no task is called {0:?}")]
    UnknownTask(Itt),
    /// Data-In for a command that reads nothing.
    #[error("data for {0:?}, which reads nothing")]
    DataInNotAsked(TaskId),
    /// Data-In with a gap, or twice.
    #[error("data of {task:?} at {got} where {due} was due")]
    DataInOutOfOrder {
        /// Whose.
        task: TaskId,
        /// The offset that was due.
        due: u32,
        /// The offset that came.
        got: u32,
    },
    /// More Data-In than the command has room for.
    #[error("data of {task:?} beyond its {expected_len} bytes")]
    DataInBeyondEnd {
        /// Whose.
        task: TaskId,
        /// The room it has.
        expected_len: u32,
    },
    /// An R2T for a command that writes nothing.
    #[error("R2T for {0:?}, which writes nothing")]
    R2tNotAllowed(TaskId),
    /// More R2Ts at once than MaxOutstandingR2T.
    #[error("too many R2Ts for {task:?}")]
    TooManyR2ts {
        /// Whose.
        task: TaskId,
    },
    /// An R2T with a gap before it, or that asks twice.
    #[error("R2T for {task:?} at {got} where {due} was due")]
    R2tOutOfOrder {
        /// Whose.
        task: TaskId,
        /// The offset that was due.
        due: u32,
        /// The offset that came.
        got: u32,
    },
    /// An R2T for nothing, for more than MaxBurstLength, or beyond the data's end.
    #[error("R2T for {len} bytes of {task:?}")]
    R2tLength {
        /// Whose.
        task: TaskId,
        /// What was asked for.
        len: u32,
    },
    /// An R2T without a target transfer tag.
    #[error("R2T for {task:?} without a tag")]
    R2tWithoutTag {
        /// Whose.
        task: TaskId,
    },
    /// An R2T that names another logical unit than its command.
    #[error("R2T for {task:?} of another logical unit")]
    R2tOfOtherUnit {
        /// Whose.
        task: TaskId,
    },
    /// The target wants to negotiate anew, by a code of RFC 3720 that means the end now (§11.17.1).
    #[error("Reject: negotiation reset")]
    NegotiationReset,
    /// More pings than anyone needs, or text without end.
    #[error("the target floods us with {0}")]
    Flood(&'static str),
}

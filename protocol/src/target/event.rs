//! What the machine tells the shell, and what the shell tells it of a task's end.

use bytes::Bytes;

use crate::ids::{IscsiName, Itt, Lun, TaskId};
use crate::pdu::{TaskAttribute, TaskManagementFunction};

/// Something has come. Data is borrowed from the input, never kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'b> {
    /// A command, in the order of CmdSN. Before the next call of `next_event` the shell calls
    /// `accept_data` for at least `min(unsolicited_len, 1 MiB)`, or `complete`: the data that the
    /// initiator sends unasked is right behind it.
    Command(Command),
    /// Bytes of a write, only of tasks that are neither completed nor aborted, only below the
    /// bound that was accepted, each once and in order.
    WriteData {
        /// Whose.
        task: TaskId,
        /// Of the first byte, from the start of the command's data.
        offset: u32,
        /// Never empty.
        bytes: &'b [u8],
    },
    /// Everything below the last bound accepted is here, and its digests were right.
    WriteReady(TaskId),
    /// The data is no use. The shell completes the task with CHECK CONDITION; what still comes for
    /// it is dropped.
    DataFailed {
        /// Whose.
        task: TaskId,
        /// Why.
        fault: DataFault,
    },
    /// Task management, once the data that its tasks have asked for is here (§4.2.3.3), for which
    /// `waits_for_peer` and `wait_no_longer` are. The shell drains the tasks, does what else the
    /// function asks for, and says `answer_management`.
    Manage(Manage),
    /// Which targets are there? To be answered with `answer_targets`.
    SendTargets {
        /// The exchange.
        itt: Itt,
        /// Which of them.
        which: Targets,
    },
    /// The initiator leaves. All tasks are marked aborted; once they are drained, `answer_logout`.
    Logout {
        /// The request.
        itt: Itt,
    },
    /// The answer to our ping.
    Pong,
    /// The logout response was handed out: nothing more comes or goes.
    Ended,
}

/// A SCSI command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its name between shell and machine.
    pub task: TaskId,
    /// Its name on the wire.
    pub itt: Itt,
    /// Which logical unit.
    pub lun: Lun,
    /// The command descriptor block; a longer one is cut, and its opcode says so.
    pub cdb: [u8; 16],
    /// How it is ordered among the others.
    pub attribute: TaskAttribute,
    /// Bytes that the initiator expects to be moved.
    pub expected_len: u32,
    /// It expects to read. Never together with `write`.
    pub read: bool,
    /// It expects to write.
    pub write: bool,
    /// Bytes that may come without being asked for, from offset 0 on.
    pub unsolicited_len: u32,
}

/// What is wrong with a write's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataFault {
    /// Its digest: sense 0B/47/05.
    Digest,
    /// Bytes or DataSN are not the ones due: sense 0B/4B/00.
    OutOfOrder,
    /// Unsolicited, against what was negotiated, or for an R2T that is not out: sense 0B/0C/0C.
    Unexpected,
    /// More or less than announced or asked for: sense 0B/0C/0D.
    Amount,
    /// The shell had accepted less than may come unasked: TASK SET FULL.
    NoRoom,
}

/// A task management request that concerns the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manage {
    /// The request.
    pub itt: Itt,
    /// What is to be done: ABORT TASK, ABORT TASK SET, CLEAR TASK SET or a reset. The others are
    /// answered by the machine itself.
    pub function: TaskManagementFunction,
    /// On which logical unit.
    pub lun: Lun,
    /// The affected tasks of this connection, already marked aborted.
    pub tasks: Vec<TaskId>,
}

/// Which targets an initiator asks for (Appendix C).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Targets {
    /// All that it may see; only in a discovery session.
    All,
    /// The one of this session.
    Own,
    /// That one.
    Name(IscsiName),
}

/// How a task ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// SCSI status code.
    pub status: u8,
    /// Sense data, without its length field.
    pub sense: Option<Bytes>,
    /// Bytes of read data from offset 0 on that the shell has sent or holds, at most the expected
    /// length.
    pub data_in: u32,
    /// Bytes that the command would have moved: the residual is its difference to those expected.
    pub wanted: u64,
}

/// Bytes of the stream that may be received in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Whose.
    pub task: TaskId,
    /// Where the next byte of the stream belongs.
    pub offset: u32,
    /// How many follow it.
    pub len: u32,
}

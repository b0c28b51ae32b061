//! One SCSI command in the hands of the shell: its buffer, and what is being done with it.

use outband_protocol::ids::TaskId;
use outband_protocol::limits::BURST_LEN_MAX;
use outband_protocol::scsi::Cdb;
use outband_protocol::target::{Command, DataFault};
use outband_ring::{Body, Buf};

use super::conn::copy::Copying;
use super::order::Turn;
use crate::metrics::TaskClock;
use crate::scsi::Plan;
use crate::store::Slot;

/// A command, from its arrival until its last byte is handed to the socket.
#[derive(Debug)]
pub(crate) struct Task {
    /// Its name on this connection.
    pub(crate) id: TaskId,
    /// As it arrived.
    pub(crate) command: Command,
    /// When what happened to it.
    pub(crate) clock: TaskClock,
    /// What it comes to.
    pub(crate) work: Work,
    /// Where it stands.
    pub(crate) stage: Stage,
    /// Whether it may run, by its attribute and those of the others (SAM-5 §8).
    pub(crate) turn: Turn,
    /// Data that came before its turn did.
    pub(crate) ahead: Ahead,
    /// Data being collected, stored or sent; elsewhere while the kernel has it.
    pub(crate) buf: Option<Buf>,
    /// The buffer's place in the outgoing bytes of this turn.
    pub(crate) body: Option<Body>,
    /// Byte of the volume that the command's data starts at.
    pub(crate) at: u64,
    /// Bytes that it moves to or from the medium, cut to what the initiator expects.
    pub(crate) len: u32,
    /// Bytes that it would have moved.
    pub(crate) wanted: u64,
    /// Offset, in the command's data, of the buffer's first byte.
    pub(crate) base: u32,
    /// Data below this offset is in hand, or has been asked for.
    pub(crate) bound: u32,
    /// Why it fails once the medium lets go of it.
    pub(crate) fault: Option<DataFault>,
    /// Parameter data to be sent.
    pub(crate) payload: Vec<u8>,
    /// What the medium holds, beside what was sent.
    pub(crate) beside: Option<Buf>,
    /// It has a range alone, or has asked for one.
    pub(crate) claims: bool,
    /// Room in the journal for a write that happens as a whole.
    pub(crate) intent: Option<Box<Slot>>,
    /// A copy, until it is over.
    pub(crate) copying: Option<Box<Copying>>,
}

/// What a command comes to, as far as it has to be remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// It has its answer.
    Reply,
    /// Medium to initiator.
    Read,
    /// Initiator to medium.
    Write { durable: bool },
    /// The medium is read and nothing is sent.
    Verify,
    /// Initiator beside medium.
    Compare,
    /// Initiator and medium together to the medium, with nobody between. `was_read`: what the
    /// medium holds is here.
    Update { how: Update, durable: bool, was_read: bool },
    /// Initiator to medium, and then the medium read again, beside what was sent or not.
    WriteAndVerify { compare: bool, written: bool },
    /// One block to all blocks; then a flush if `durable`.
    Fill { block: Vec<u8>, durable: bool },
    /// The medium beside one block.
    VerifyEach { block: Vec<u8> },
    /// Where the medium has room; the answer is for blocks from `lba` on.
    Survey { lba: u64, allocation: u32 },
    /// Everything to stable storage.
    Flush,
    /// Ranges to zeros, the one at `next` now; then a flush if `durable`.
    Zero { ranges: Vec<(u64, u64)>, next: usize, unmap: bool, durable: bool },
    /// A parameter list is being collected.
    Parameters(Cdb),
    /// Data that comes unasked with a command that takes none is let in and dropped; then this.
    Aside(Box<Plan>),
    /// Initiator to medium, as a whole or not at all.
    Atomic,
    /// Between volumes; the initiator sends and gets nothing.
    Copy,
}

/// What an update makes of the data that was sent and of what the medium holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Update {
    /// The second half of the data, if the first is what the medium holds (COMPARE AND WRITE).
    IfEqual,
    /// The bits of both (ORWRITE).
    Or,
}

/// Unsolicited data of a command whose turn has not come. It is right behind the command, so it is
/// collected at once; what becomes of it is decided later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ahead {
    /// None.
    No,
    /// The task has a buffer for it, or the kernel has that buffer.
    Coming,
    /// All of it is in the buffer.
    Here,
}

/// Where a task stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Commands of its task set must end first.
    Dormant,
    /// No buffer was free; it waits for one.
    Hungry,
    /// Data-out is on its way.
    Collecting,
    /// Others are on the range that it wants alone.
    Claiming,
    /// Something of its logical unit's is waited for, of which the task has no part.
    Waiting,
    /// The medium has it, or will have it when a claim of another task goes.
    Storing,
    /// A reservation of it is being brought about.
    Reserving,
    /// A piece of its data-in is on its way, and there is more to read.
    Sending,
    /// Answered. Its data-in, if any, is named by the core until it is in the socket's hands.
    Ended,
    /// Aborted while the medium has it: no answer is owed, but it is not over (P8).
    Draining,
}

impl Task {
    /// A command that has just arrived.
    pub(crate) fn new(command: Command, clock: TaskClock) -> Self {
        Self {
            id: command.task,
            command,
            clock,
            work: Work::Reply,
            stage: Stage::Ended,
            turn: Turn::Out,
            ahead: Ahead::No,
            buf: None,
            body: None,
            at: 0,
            len: 0,
            wanted: 0,
            base: 0,
            bound: 0,
            fault: None,
            payload: Vec::new(),
            beside: None,
            claims: false,
            intent: None,
            copying: None,
        }
    }

    /// Bytes of the burst that begins at `base`. Unsolicited data may be more than the command
    /// needs; it has to be taken all the same.
    pub(crate) fn burst_len(&self) -> u32 {
        let unsolicited = if self.base == 0 { self.command.unsolicited_len } else { 0 };
        (self.len - self.base.min(self.len)).max(unsolicited).min(BURST_LEN_MAX)
    }

    /// As carried through a gather with the task's buffer.
    pub(crate) fn tag(id: TaskId) -> u64 {
        u64::from(id.generation) << 16 | u64::from(id.slot)
    }

    /// The task whose buffer came back with `tag`.
    pub(crate) fn from_tag(tag: u64) -> TaskId {
        let half = |bits: u64| u16::try_from(bits & 0xffff).expect("masked to 16 bits");
        TaskId { slot: half(tag), generation: half(tag >> 16) }
    }
}

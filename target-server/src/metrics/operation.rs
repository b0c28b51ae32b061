//! The few kinds that commands are counted by.

use outband_protocol::scsi::cdb::opcode;
use outband_protocol::scsi::sense::SenseKey;
use outband_protocol::scsi::{Sense, Status};
use outband_ring::{Fd, Op};

/// What a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// READ.
    Read,
    /// WRITE, WRITE AND VERIFY and WRITE ATOMIC.
    Write,
    /// SYNCHRONIZE CACHE.
    Flush,
    /// UNMAP and WRITE SAME.
    Clear,
    /// COMPARE AND WRITE, which clusters take for their locks.
    CompareAndWrite,
    /// EXTENDED COPY.
    Copy,
    /// All others.
    Other,
}

impl Operation {
    /// Each, at its place.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::Clear,
        Self::CompareAndWrite,
        Self::Copy,
        Self::Other,
    ];

    /// Of a command with this operation code.
    pub const fn of(code: u8) -> Self {
        match code {
            opcode::READ_6 | opcode::READ_10 | opcode::READ_12 | opcode::READ_16 => Self::Read,
            opcode::WRITE_6
            | opcode::WRITE_10
            | opcode::WRITE_12
            | opcode::WRITE_16
            | opcode::WRITE_ATOMIC_16
            | opcode::WRITE_AND_VERIFY_10
            | opcode::WRITE_AND_VERIFY_12
            | opcode::WRITE_AND_VERIFY_16 => Self::Write,
            opcode::SYNCHRONIZE_CACHE_10 | opcode::SYNCHRONIZE_CACHE_16 => Self::Flush,
            opcode::UNMAP | opcode::WRITE_SAME_10 | opcode::WRITE_SAME_16 => Self::Clear,
            opcode::COMPARE_AND_WRITE => Self::CompareAndWrite,
            opcode::EXTENDED_COPY => Self::Copy,
            _ => Self::Other,
        }
    }

    /// As a label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Clear => "clear",
            Self::CompareAndWrite => "compare_and_write",
            Self::Copy => "copy",
            Self::Other => "other",
        }
    }
}

/// How a command failed: its status, and with CHECK CONDITION the sense key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure(u8);

impl Failure {
    const STATUSES: [&'static str; 4] =
        ["reservation_conflict", "task_set_full", "task_aborted", "busy"];
    const KEYS: [&'static str; 16] = [
        "no_sense",
        "recovered_error",
        "not_ready",
        "medium_error",
        "hardware_error",
        "illegal_request",
        "unit_attention",
        "data_protect",
        "blank_check",
        "vendor_specific",
        "copy_aborted",
        "aborted_command",
        "reserved",
        "volume_overflow",
        "miscompare",
        "completed",
    ];
    /// Kinds of failures.
    pub const COUNT: usize = Self::STATUSES.len() + Self::KEYS.len();

    /// Of a command that ended so; `None` when it ended well.
    pub const fn of(status: Status, sense: Option<&Sense>) -> Option<Self> {
        match (status, sense) {
            (Status::Good | Status::ConditionMet, _) => None,
            (Status::ReservationConflict, _) => Some(Self(0)),
            (Status::TaskSetFull, _) => Some(Self(1)),
            (Status::TaskAborted, _) => Some(Self(2)),
            (Status::CheckCondition, Some(sense)) => Some(Self::with(sense.key)),
            (Status::CheckCondition, None) => Some(Self::with(SenseKey::NoSense)),
            _ => Some(Self(3)),
        }
    }

    const fn with(key: SenseKey) -> Self {
        Self(key.code() + 4)
    }

    /// Its place among [`Self::COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether an alert goes by it, so that the figure is there before the first failure.
    pub fn is_grave(index: usize) -> bool {
        let graves = [SenseKey::MediumError, SenseKey::HardwareError, SenseKey::AbortedCommand];
        graves.iter().any(|key| Self::with(*key).index() == index)
    }

    /// Status and sense key of the failure at `index`, as labels. Without CHECK CONDITION the
    /// sense key is empty.
    pub fn labels(index: usize) -> (&'static str, &'static str) {
        match Self::STATUSES.get(index) {
            Some(status) => (status, ""),
            None => ("check_condition", Self::KEYS[index - Self::STATUSES.len()]),
        }
    }
}

/// What a device does for a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MediumOperation {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Makes durable.
    Sync,
    /// Makes zeros.
    Zero,
}

impl MediumOperation {
    /// Each, at its place.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Sync, Self::Zero];

    /// Which `op` is, and on which file; `None` if it is not a device's.
    pub const fn of(op: &Op) -> Option<(Self, Fd)> {
        match op {
            Op::Read { file, .. } => Some((Self::Read, *file)),
            Op::Write { file, .. } => Some((Self::Write, *file)),
            Op::Sync { file } => Some((Self::Sync, *file)),
            Op::Zero { file, .. } => Some((Self::Zero, *file)),
            _ => None,
        }
    }

    /// As a label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Zero => "zero",
        }
    }
}

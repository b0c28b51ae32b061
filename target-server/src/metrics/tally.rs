//! The counters that a shard keeps where the things are that they are about.

use serde::Serialize;

use super::{Ended, Failure, Histogram, MediumOperation, Operation};

/// What the commands of one target came to, since it is served.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// By [`Operation`].
    pub operations: [OperationTally; Operation::ALL.len()],
    /// By [`Failure`].
    pub failures: [u64; Failure::COUNT],
    /// Of the sessions that have ended.
    pub past: SessionCounts,
}

/// Commands of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OperationTally {
    /// Between the host and the volume, either way.
    pub bytes: u64,
    /// From the arrival of a command until its response went to the kernel.
    pub duration: Histogram,
    /// The part of that in which the store had it.
    pub in_store: Histogram,
}

/// What one session did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SessionCounts {
    /// Commands answered.
    pub commands: u64,
    /// Bytes to the host.
    pub read_bytes: u64,
    /// Bytes from the host.
    pub written_bytes: u64,
    /// Data segments whose digest was wrong (RFC 7143 §7.8).
    pub data_digest_errors: u64,
    /// Writes whose R2T had to wait for a free buffer.
    pub r2t_waits: u64,
    /// Commands after which the window was closed: the host could send no more (MaxCmdSN, §4.2.2.1).
    pub window_stalls: u64,
}

impl SessionCounts {
    /// Everything of `other` too.
    pub fn add(&mut self, other: &Self) {
        self.commands += other.commands;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.data_digest_errors += other.data_digest_errors;
        self.r2t_waits += other.r2t_waits;
        self.window_stalls += other.window_stalls;
    }
}

impl Tally {
    /// A command that has ended took so long.
    pub fn record(&mut self, ended: &Ended, nanoseconds: u64) {
        let tally = &mut self.operations[ended.operation as usize];
        tally.bytes += u64::from(ended.bytes);
        tally.duration.record(nanoseconds);
        tally.in_store.record(ended.clock.in_store());
        if let Some(failure) = ended.failure {
            self.failures[failure.index()] += 1;
        }
    }
}

/// What one device did for one volume, or for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DeviceTally {
    /// By [`MediumOperation`].
    pub operations: [Histogram; MediumOperation::ALL.len()],
    /// Operations that ended with an error.
    pub errors: u64,
}

impl DeviceTally {
    /// An operation more.
    pub fn record(&mut self, operation: MediumOperation, failed: bool, nanoseconds: u64) {
        self.operations[operation as usize].record(nanoseconds);
        self.errors += u64::from(failed);
    }

    /// Everything of `other` too.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.operations.iter_mut().zip(&other.operations) {
            mine.add(theirs);
        }
        self.errors += other.errors;
    }
}

//! One request of an application.

use crate::checker::{Tick, WriteId};

/// One request of the application's.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) what: What,
    /// When it was asked for.
    pub(super) issued: Tick,
    /// What goes out, or room for what comes.
    pub(super) bytes: Vec<u8>,
}

/// What it asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Read {
        lba: u32,
        blocks: u32,
    },
    Write {
        id: WriteId,
        lba: u32,
        fua: bool,
    },
    Unmap {
        id: WriteId,
    },
    /// WRITE ATOMIC.
    Atomic {
        id: WriteId,
        lba: u32,
    },
    /// WRITE SAME: one block, or zeros in its place.
    Same {
        id: WriteId,
        lba: u32,
        blocks: u32,
        unmap: bool,
    },
    /// ORWRITE of zeros, which writes what it has read: whatever comes in between would be lost.
    Or {
        lba: u32,
    },
    /// COMPARE AND WRITE: the blocks that must be there, and then those to be written.
    Swap {
        id: WriteId,
        lba: u32,
    },
    Sync,
    /// A read or a write of which some or all lies behind the end of the volume.
    Beyond {
        lba: u32,
        blocks: u32,
        write: bool,
    },
    /// VERIFY: with the bytes of an earlier write, or of the medium alone.
    Verify {
        lba: u32,
        blocks: u32,
    },
    Look,
}

impl Job {
    /// The write that it is, if it is one.
    pub(super) fn write(&self) -> Option<WriteId> {
        match self.what {
            What::Write { id, .. }
            | What::Atomic { id, .. }
            | What::Same { id, .. }
            | What::Unmap { id }
            | What::Swap { id, .. } => Some(id),
            _ => None,
        }
    }
}

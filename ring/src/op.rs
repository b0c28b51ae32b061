//! What can be asked of a ring, and what it answers.

use std::ops::Range;

use crate::{Buf, Errno, Fd, Gather, Stretch, Token};

/// One operation with everything it needs, owned. It comes back in its [`Completion`].
#[derive(Debug)]
pub enum Op {
    /// Takes one connection. It has `TCP_NODELAY` set and arrives as [`Done::Accepted`].
    Accept {
        /// A listening socket.
        listener: Fd,
    },
    /// Receives into `buf[at]`, whatever is there, at least one byte. 0 bytes: end of stream.
    Recv {
        /// A connected socket.
        socket: Fd,
        /// Where the bytes go.
        buf: Buf,
        /// Which part of it.
        at: Range<usize>,
    },
    /// Receives first into `task[at]`, what is beyond that into `buf` from its start: the
    /// missing tail of a large write lands in place and costs no second call.
    RecvInto {
        /// A connected socket.
        socket: Fd,
        /// The task's buffer.
        task: Buf,
        /// Its missing part.
        at: Range<usize>,
        /// For what follows.
        buf: Buf,
    },
    /// Sends what remains of `gather`, at most the first 1024 pieces. May be short: advance the
    /// gather by the bytes sent and push it again. Never raises `SIGPIPE`.
    Send {
        /// A connected socket.
        socket: Fd,
        /// Boxed, so that an operation stays small to move.
        gather: Box<Gather>,
    },
    /// Reads from `offset` into `buf[at]`. 0 bytes: end of file.
    Read {
        /// A file or block device.
        file: Fd,
        /// In bytes from its start.
        offset: u64,
        /// Where the bytes go.
        buf: Buf,
        /// Which part of it.
        at: Range<usize>,
    },
    /// Writes `buf[at]` at `offset`.
    Write {
        /// A file or block device.
        file: Fd,
        /// In bytes from its start.
        offset: u64,
        /// Where the bytes are.
        buf: Buf,
        /// Which part of it.
        at: Range<usize>,
        /// Completes only once these bytes are on stable storage (`RWF_DSYNC`).
        dsync: bool,
    },
    /// Everything completed on this file before is on stable storage afterwards (`fdatasync`).
    Sync {
        /// A file or block device.
        file: Fd,
    },
    /// Makes a range read as zeros without sending the zeros (`fallocate`).
    Zero {
        /// A file or block device.
        file: Fd,
        /// In bytes from its start.
        offset: u64,
        /// In bytes.
        len: u64,
        /// What happens to the space.
        how: Zero,
    },
    /// Finds out where a file holds data and where it has holes (`lseek`), by a thread beside the
    /// ring. On a block device everything is data.
    Survey {
        /// A file or block device.
        file: Fd,
        /// In bytes from its start.
        offset: u64,
        /// In bytes.
        len: u64,
        /// This many stretches are enough, at least one.
        at_most: usize,
        /// What was found, from `offset` on without gaps: all of `len`, or `at_most` stretches.
        found: Vec<Stretch>,
    },
}

impl Op {
    /// The descriptor this operation is on.
    #[must_use]
    pub const fn fd(&self) -> Fd {
        match self {
            Self::Accept { listener: fd }
            | Self::Recv { socket: fd, .. }
            | Self::RecvInto { socket: fd, .. }
            | Self::Send { socket: fd, .. }
            | Self::Read { file: fd, .. }
            | Self::Write { file: fd, .. }
            | Self::Sync { file: fd }
            | Self::Zero { file: fd, .. }
            | Self::Survey { file: fd, .. } => *fd,
        }
    }

    /// Refuses what no caller may ask: a range outside of its buffer, or nothing to transfer
    /// (0 bytes would read as end of stream). Both rings call it in `push`.
    ///
    /// # Panics
    ///
    /// On either.
    pub fn assert_sound(&self) {
        match self {
            Self::Recv { buf, at, .. }
            | Self::RecvInto { task: buf, at, .. }
            | Self::Read { buf, at, .. }
            | Self::Write { buf, at, .. } => {
                let len = buf.len();
                assert!(at.start < at.end && at.end <= len, "{at:?} of a buffer of {len} bytes");
            }
            Self::Send { gather, .. } => assert!(!gather.is_empty(), "nothing to send"),
            Self::Zero { len, .. } => assert!(*len > 0, "nothing to zero"),
            Self::Survey { len, at_most, .. } => {
                assert!(*len > 0 && *at_most > 0, "nothing to find");
            }
            Self::Accept { .. } | Self::Sync { .. } => {}
        }
    }
}

/// What [`Op::Zero`] does to the space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Zero {
    /// The space stays allocated (`FALLOC_FL_ZERO_RANGE`).
    Range,
    /// The space is given back; the file keeps its length
    /// (`FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`).
    Punch,
}

/// An operation that ended, however it ended.
#[derive(Debug)]
pub struct Completion {
    /// As given to `push`.
    pub token: Token,
    /// How it went.
    pub result: Result<Done, Errno>,
    /// The same operation, its buffers back.
    pub op: Op,
}

/// What an operation achieved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Done {
    /// Receives, sends, reads and writes: how many. May be fewer than asked for.
    Bytes(u32),
    /// The new connection, already in the ring's table.
    Accepted(Fd),
    /// Syncs, zeroing and surveys.
    Finished,
}

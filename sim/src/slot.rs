//! One operation of a ring, while the hardware has it.

use outband_ring::{Errno, Fd, Op, Token};

use crate::Moment;
use crate::disk::{Asked, Disk, OpId};
use crate::net::{ConnId, ListenerId, Net, Read, Side, Written};
use crate::ring::SimHandle;
use crate::rng::Rng;

/// What an operation achieved, before the ring has made a descriptor of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Raw {
    Bytes(usize),
    Accepted(ConnId),
    Finished,
}

/// An operation and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) token: Token,
    pub(crate) op: Op,
    /// The descriptor, when the operation counts as in flight on it.
    pub(crate) fd: Option<Fd>,
    pub(crate) handle: SimHandle,
    /// How a disk operation will end.
    pub(crate) result: Result<usize, Errno>,
    /// Sectors that a read has seen.
    seen: Vec<bool>,
}

impl Slot {
    pub(crate) fn new(token: Token, op: Op, fd: Option<Fd>, handle: SimHandle) -> Self {
        Self { token, op, fd, handle, result: Ok(0), seen: Vec::new() }
    }

    pub(crate) fn is_on(&self, conn: ConnId) -> bool {
        self.handle == SimHandle::Socket(conn)
    }

    pub(crate) fn waits_at(&self, listener: ListenerId) -> bool {
        self.handle == SimHandle::Listener(listener)
    }

    /// What it asks of a disk.
    pub(crate) fn asked(&self) -> Asked {
        match &self.op {
            Op::Read { at, .. } => Asked::Read { len: at.len() },
            Op::Write { at, dsync, .. } => Asked::Write { len: at.len(), dsync: *dsync },
            Op::Zero { .. } => Asked::Zero,
            Op::Survey { .. } => Asked::Survey,
            _ => Asked::Sync,
        }
    }

    /// Learns its fate. A write that is answered with EAGAIN and the like does nothing.
    pub(crate) fn begin(&mut self, op: OpId, result: Result<usize, Errno>, disk: &mut Disk) {
        self.result = result;
        let fails = result == Err(Errno::IO);
        if result.is_err() && !fails {
            return;
        }
        match &self.op {
            Op::Read { at, .. } => self.seen = vec![false; at.len() / disk.sector_len()],
            Op::Write { offset, buf, at, .. } => {
                let bytes = &buf[at.clone()];
                disk.begin_write(op, *offset, &bytes[..result.unwrap_or(bytes.len())], fails);
            }
            Op::Zero { offset, len, .. } => disk.begin_zero(op, *offset, *len, fails),
            _ => {}
        }
    }

    /// A read looks at some sectors, or at all that are left.
    pub(crate) fn read(&mut self, disk: &Disk, all: bool, rng: &mut Rng) {
        if let (Op::Read { offset, buf, at, .. }, Ok(len)) = (&mut self.op, self.result) {
            let into = &mut buf[at.start..at.start + len];
            disk.read(*offset, into, &mut self.seen, all, rng);
        }
    }

    /// A survey ends: what it finds is as it is now.
    pub(crate) fn survey(&mut self, disk: &Disk) {
        if let (Op::Survey { offset, len, at_most, found, .. }, Ok(_)) = (&mut self.op, self.result)
        {
            *found = disk.stretches(*offset, *len, *at_most);
        }
    }

    /// What the network has for it; `None` while it has to wait.
    pub(crate) fn try_socket(
        &mut self,
        net: &mut Net,
        now: Moment,
        rng: &mut Rng,
    ) -> Option<Result<Raw, Errno>> {
        match (&mut self.op, self.handle) {
            (Op::Accept { .. }, SimHandle::Listener(listener)) => {
                net.accept(listener).map(|conn| Ok(Raw::Accepted(conn)))
            }
            (Op::Recv { buf, at, .. }, SimHandle::Socket(conn)) => {
                received(net.read(conn, Side::Target, &mut buf[at.clone()], rng))
            }
            (Op::RecvInto { task, at, buf, .. }, SimHandle::Socket(conn)) => {
                let first = &mut task[at.clone()];
                let room = first.len();
                match net.read(conn, Side::Target, first, rng) {
                    // More than the task's own may have come with it, and then goes on behind.
                    Read::Bytes(count) if count == room => {
                        match net.read(conn, Side::Target, buf, rng) {
                            Read::Bytes(more) => Some(Ok(Raw::Bytes(count + more))),
                            Read::Nothing | Read::Broken(_) => Some(Ok(Raw::Bytes(count))),
                        }
                    }
                    other => received(other),
                }
            }
            (Op::Send { gather, .. }, SimHandle::Socket(conn)) => {
                match net.write(conn, Side::Target, gather.slices(), now, rng) {
                    Written::Bytes(count) => Some(Ok(Raw::Bytes(count))),
                    Written::Full => None,
                    Written::Broken(errno) => Some(Err(errno)),
                }
            }
            _ => Some(Err(Errno::INVAL)),
        }
    }

    /// How it ends when its socket is shut down (`errno` says why), or it is cancelled.
    pub(crate) fn when_cut(&self, errno: Errno) -> Result<Raw, Errno> {
        match &self.op {
            Op::Recv { .. } | Op::RecvInto { .. } if errno == Errno::PIPE => Ok(Raw::Bytes(0)),
            Op::Accept { .. } if errno == Errno::PIPE => Err(Errno::INVAL),
            _ => Err(errno),
        }
    }
}

fn received(read: Read) -> Option<Result<Raw, Errno>> {
    match read {
        Read::Bytes(count) => Some(Ok(Raw::Bytes(count))),
        Read::Nothing => None,
        Read::Broken(errno) => Some(Err(errno)),
    }
}

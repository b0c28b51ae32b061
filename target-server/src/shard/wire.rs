//! A connection's socket: at most one receive and one send with the kernel, and what is to go out.

use std::net::SocketAddr;
use std::ops::Range;

use outband_protocol::seeded::{self, Bug};
use outband_ring::{Body, Buf, Done, Errno, Fd, Gather, Op, Ring};

use super::desk::Desk;
use super::token::{ConnKey, Owner};

/// What an idle connection holds for its next bytes.
const SMALL_LEN: usize = 16 * 1024;

/// What a busy one holds: one plain receive of this size was the fastest way (docs/performance.md).
const LARGE_LEN: usize = 256 * 1024;

/// The socket side of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    key: ConnKey,
    fd: Fd,
    /// The initiator's end.
    pub(crate) peer: SocketAddr,
    /// Our end.
    pub(crate) local: SocketAddr,
    receiving: bool,
    /// What is received goes into a task's buffer first.
    in_place: bool,
    sending: bool,
    large: bool,
    inbox: Option<Buf>,
    unread: Option<Unread>,
    out: Box<Gather>,
    spare: Option<Box<Gather>>,
}

/// What a receive brought.
#[derive(Debug)]
pub(crate) struct Received {
    /// The task's buffer, and which part of it was filled, when the receive went into place.
    pub(crate) placed: Option<(Buf, Range<usize>)>,
    /// What did not.
    pub(crate) unread: Unread,
}

/// Bytes that nobody has looked at yet: these, of the connection's buffer.
#[derive(Debug)]
pub(crate) struct Unread {
    inbox: Buf,
    at: Range<usize>,
}

impl Unread {
    /// Them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.inbox[self.at.clone()]
    }

    /// All but the last `left` have been read.
    pub(crate) fn advance_to(&mut self, left: usize) {
        self.at.start = self.at.end - left;
    }
}

impl Wire {
    /// For an accepted socket.
    pub(crate) fn new(key: ConnKey, fd: Fd, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            key,
            fd,
            peer,
            local,
            receiving: false,
            in_place: false,
            sending: false,
            large: false,
            inbox: None,
            unread: None,
            out: Box::default(),
            spare: None,
        }
    }

    /// The socket.
    pub(crate) fn fd(&self) -> Fd {
        self.fd
    }

    /// Whether the kernel has nothing of this connection.
    pub(crate) fn is_still(&self) -> bool {
        !self.receiving && !self.sending
    }

    /// Whether more may be received: never while a receive is with the kernel or what came before
    /// is not read, or the stream would lose its order.
    pub(crate) fn can_receive(&self) -> bool {
        !self.receiving && (self.unread.is_none() || seeded::is(Bug::UnreadOvertaken))
    }

    /// Whether everything has been handed to the kernel and taken by it.
    pub(crate) fn is_drained(&self) -> bool {
        !self.sending && self.out.is_empty()
    }

    /// Asks for the next bytes, whatever they are.
    pub(crate) fn receive<R: Ring>(&mut self, desk: &mut Desk<R>) {
        if !self.can_receive() {
            return;
        }
        let buf = self.take_inbox(desk);
        let at = 0..buf.len();
        self.receiving = true;
        desk.push(Owner::Recv(self.key).token(), Op::Recv { socket: self.fd, buf, at });
    }

    /// Asks for the next bytes, the first of which belong into `task[at]`.
    pub(crate) fn receive_into<R: Ring>(
        &mut self,
        task: Buf,
        at: Range<usize>,
        desk: &mut Desk<R>,
    ) {
        assert!(self.can_receive(), "one receive at a time");
        let buf = self.take_inbox(desk);
        self.receiving = true;
        self.in_place = true;
        let op = Op::RecvInto { socket: self.fd, task, at, buf };
        desk.push(Owner::Recv(self.key).token(), op);
    }

    /// A receive has ended. `None`: the peer is gone.
    pub(crate) fn received<R: Ring>(
        &mut self,
        result: Result<Done, Errno>,
        op: Op,
        desk: &mut Desk<R>,
    ) -> Option<Received> {
        self.receiving = false;
        self.in_place = false;
        let (placed, inbox) = match op {
            Op::Recv { buf, .. } => (None, buf),
            Op::RecvInto { task, at, buf, .. } => (Some((task, at)), buf),
            _ => return None,
        };
        let count = match result {
            Ok(Done::Bytes(count)) if count > 0 => count as usize,
            _ => {
                desk.receive.give(inbox);
                if let Some((task, _)) = placed {
                    desk.buffers.give(task);
                }
                return None;
            }
        };
        // A filled small buffer shows that this connection is busy.
        self.large |= count >= SMALL_LEN;
        let placed = placed.map(|(task, at)| {
            let filled = at.len().min(count);
            (task, at.start..at.start + filled)
        });
        let len = count - placed.as_ref().map_or(0, |(_, at)| at.len());
        Some(Received { placed, unread: Unread { inbox, at: 0..len } })
    }

    /// Keeps what the turn had no room for. Nothing is received before it was read.
    pub(crate) fn put_off(&mut self, unread: Unread) {
        self.unread = Some(unread);
    }

    /// What was put off.
    pub(crate) fn take_unread(&mut self) -> Option<Unread> {
        self.unread.take()
    }

    /// Everything was read: keeps the receive buffer for the next time.
    pub(crate) fn keep<R: Ring>(&mut self, Unread { inbox, .. }: Unread, desk: &mut Desk<R>) {
        if self.large == (inbox.len() >= LARGE_LEN) {
            self.inbox = Some(inbox);
        } else {
            desk.receive.give(inbox);
        }
    }

    /// The connection has been quiet: its large buffer goes back. The pending receive comes back
    /// cancelled, and the next one is small. Not while it goes into a task's buffer: the task would be
    /// left without one.
    pub(crate) fn shrink<R: Ring>(&mut self, desk: &mut Desk<R>) {
        if self.large && self.receiving && !self.in_place {
            self.large = false;
            desk.ring.cancel(Owner::Recv(self.key).token());
        }
    }

    fn take_inbox<R: Ring>(&mut self, desk: &mut Desk<R>) -> Buf {
        if let Some(inbox) = self.inbox.take() {
            return inbox;
        }
        let len = if self.large { LARGE_LEN } else { SMALL_LEN };
        // Reading never stops for want of a buffer: task management is behind it.
        desk.receive.take(len).unwrap_or_else(|| Buf::zeroed(SMALL_LEN))
    }

    /// The outgoing bytes of this turn.
    pub(crate) fn out(&mut self) -> &mut Gather {
        &mut self.out
    }

    /// Appends `at` of a buffer in this turn's outgoing bytes, and gives the bytes to `tail` for
    /// what follows them.
    pub(crate) fn body<T: AsRef<[u8]>>(
        &mut self,
        body: Body,
        at: Range<usize>,
        tail: impl FnOnce(&[u8]) -> T,
    ) {
        let tail = tail(&self.out.body_bytes(body)[at.clone()]);
        self.out.body(body, at);
        self.out.head(tail.as_ref());
    }

    /// Hands everything gathered to the kernel, unless it still has some.
    pub(crate) fn send<R: Ring>(&mut self, desk: &mut Desk<R>) {
        if self.sending || self.out.is_empty() {
            return;
        }
        let next = self.spare.take().unwrap_or_default();
        let gather = std::mem::replace(&mut self.out, next);
        self.sending = true;
        desk.push(Owner::Send(self.key).token(), Op::Send { socket: self.fd, gather });
    }

    /// A send has ended. The buffers that are wholly sent come to `returned`; false: the peer is gone.
    pub(crate) fn sent<R: Ring>(
        &mut self,
        result: Result<Done, Errno>,
        op: Op,
        desk: &mut Desk<R>,
        returned: &mut Vec<(u64, Buf)>,
    ) -> bool {
        self.sending = false;
        let Op::Send { mut gather, .. } = op else {
            return true;
        };
        let alive = match result {
            Ok(Done::Bytes(count)) => {
                gather.advance(count as usize);
                true
            }
            _ => false,
        };
        if alive && !gather.is_empty() {
            self.sending = true;
            desk.push(Owner::Send(self.key).token(), Op::Send { socket: self.fd, gather });
            return true;
        }
        returned.extend(gather.take_bodies());
        gather.clear();
        self.spare = Some(gather);
        alive
    }
}

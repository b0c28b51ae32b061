//! One session: its socket, what has come and not been understood yet, and what waits to be sent.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::outbox::Outbox;
use super::slots::{Slots, Stranger, Tally};
use super::work::{Ask, Stream};

/// Received at once by a session that works. Any PDU that must be whole fits in.
const INBOX_LEN: usize = 1 << 20;
/// By one that only answers pings.
const IDLE_INBOX_LEN: usize = 8192;
/// Claims tried before a session waits for the next answer.
const CLAIMS_MAX: u32 = 8;

/// What the server sent cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error("the server sent {0}")]
    Unexpected(String),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server says nothing any more")]
    Silent,
    #[error("the connection failed")]
    Socket(#[from] io::Error),
}

impl From<Errno> for Broken {
    fn from(error: Errno) -> Self {
        Self::Socket(error.into())
    }
}

/// What an answer is turned into.
pub(super) struct Desk<'d> {
    pub(super) slots: &'d mut Slots,
    pub(super) tally: &'d mut Tally,
    pub(super) out: &'d mut Outbox,
    /// What is written where nothing is verified.
    pub(super) payload: &'d [u8],
    pub(super) now_ns: u64,
}

impl Desk<'_> {
    /// The bytes that a slot writes.
    pub(super) fn payload_of(&self, slot: u32) -> &[u8] {
        if self.verifies() { self.slots.written(slot) } else { self.payload }
    }

    /// Reads are to be handed to their slot.
    pub(super) fn verifies(&self) -> bool {
        self.tally.ledger.is_some()
    }

    pub(super) fn done(&mut self, slot: u32, good: bool) {
        self.slots.done(slot, good, self.now_ns, self.tally);
    }
}

/// A protocol that moves blocks, as its client.
pub(super) trait Dialect {
    /// Whether the server would take another request.
    fn is_open(&self) -> bool;

    /// Sends a request with the slot's number as its tag.
    fn request(&mut self, slot: u32, ask: Ask, desk: &mut Desk<'_>);

    /// Takes one message off the front of `input`, and says how long it is, even if its end has not
    /// come yet and does not matter. `None`: more is needed to tell.
    fn answer(&mut self, input: &[u8], desk: &mut Desk<'_>) -> Result<Option<usize>, Broken>;
}

/// A session at work.
#[derive(Debug)]
pub(super) struct Lane<D> {
    pub(super) socket: TcpStream,
    dialect: D,
    slots: Slots,
    stream: Option<Stream>,
    out: Outbox,
    inbox: Vec<u8>,
    /// Bytes of the inbox that are the start of a message.
    kept: usize,
    /// Bytes still to come that nobody looks at.
    skip: usize,
}

impl<D: Dialect> Lane<D> {
    /// With no stream of requests, it only answers what the server asks.
    pub(super) fn new(socket: TcpStream, dialect: D, depth: u32, stream: Option<Stream>) -> Self {
        let len = if stream.is_some() { INBOX_LEN } else { IDLE_INBOX_LEN };
        Self {
            socket,
            dialect,
            slots: Slots::new(depth),
            stream,
            out: Outbox::default(),
            inbox: vec![0; len],
            kept: 0,
            skip: 0,
        }
    }

    /// No request is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.slots.in_flight() == 0
    }

    /// Everything was asked for, and answered.
    pub(super) fn is_through(&self) -> bool {
        self.is_quiet() && self.stream.as_ref().is_none_or(Stream::is_over)
    }

    /// Nothing waits to be sent.
    pub(super) fn has_sent(&self) -> bool {
        self.out.is_empty()
    }

    /// Fills the free slots, and sends what the socket takes.
    pub(super) fn ask(
        &mut self,
        payload: &[u8],
        tally: &mut Tally,
        now_ns: u64,
    ) -> Result<(), Broken> {
        if let Some(stream) = &mut self.stream {
            while self.slots.has_free() && self.dialect.is_open() && !stream.is_over() {
                let Some(ask) = claimed(stream, tally) else {
                    break;
                };
                let slot = self.slots.start(ask, now_ns, tally);
                let (slots, out) = (&mut self.slots, &mut self.out);
                let mut desk = Desk { slots, tally, out, payload, now_ns };
                self.dialect.request(slot, ask, &mut desk);
            }
        }
        self.send(payload, tally)
    }

    /// Sends what the socket takes.
    pub(super) fn send(&mut self, payload: &[u8], tally: &Tally) -> Result<(), Broken> {
        let (slots, verifies) = (&self.slots, tally.ledger.is_some());
        let of = |slot| if verifies { slots.written(slot) } else { payload };
        Ok(self.out.send(&self.socket, of)?)
    }

    /// Receives once, and handles every message that is there. `wait`: until something comes.
    pub(super) fn receive(
        &mut self,
        wait: bool,
        payload: &[u8],
        tally: &mut Tally,
        clock: impl Fn() -> u64,
    ) -> Result<(), Broken> {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let got = match recv(self.socket.as_fd(), &mut self.inbox[self.kept..], flags) {
            Ok((0, _)) => return Err(Broken::Closed),
            Ok((got, _)) => got,
            Err(Errno::INTR) => return Ok(()),
            Err(Errno::AGAIN) if wait => return Err(Broken::Silent),
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = self.kept + got;
        let mut at = self.skip.min(end);
        self.skip -= at;
        let (slots, out) = (&mut self.slots, &mut self.out);
        let mut desk = Desk { slots, tally, out, payload, now_ns: clock() };
        while at < end
            && let Some(len) = self.dialect.answer(&self.inbox[at..end], &mut desk)?
        {
            self.skip = (at + len).saturating_sub(end);
            at = (at + len).min(end);
        }
        self.inbox.copy_within(at..end, 0);
        self.kept = end - at;
        if self.kept == self.inbox.len() {
            return Err(Broken::Unexpected("a message that is too long".to_owned()));
        }
        Ok(())
    }
}

/// The next request, at a place that no other request is at if data is verified.
fn claimed(stream: &mut Stream, tally: &mut Tally) -> Option<Ask> {
    let Some(ledger) = &mut tally.ledger else {
        return Some(stream.next_ask());
    };
    (0..CLAIMS_MAX).map(|_| stream.next_ask()).find(|ask| ledger.claim(ask.offset))
}

//! Bytes on their way out: small ones copied together, large ones referenced, all sent in as few
//! writes as the kernel allows.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use outband_protocol::{Body, Transmit};
use tokio::net::TcpStream;

use crate::slots::Slots;

/// Bodies shorter than this are copied beside their headers.
const SMALL: usize = 1024;
/// More than this waits in the session, not here.
const FULL: usize = 1 << 20;
/// Pieces in one write; the kernel takes up to 1024.
const PIECES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    small: BytesMut,
    len: usize,
}

impl Outbox {
    pub(crate) fn has_room(&self) -> bool {
        self.len < FULL
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, transmit: &Transmit, slots: &mut Slots) {
        self.copy(transmit.head());
        let body = match &transmit.body {
            Body::None => return,
            Body::Bytes(bytes) => bytes.clone(),
            Body::Task { task, offset, len } => slots
                .data(*task, *offset, *len)
                .expect("a request's data is held until the session says that it is over"),
        };
        let tail = transmit.tail(&body);
        if body.len() < SMALL {
            self.copy(&body);
        } else {
            self.seal();
            self.len += body.len();
            self.pieces.push_back(body);
        }
        self.copy(&tail);
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    /// Sends what the kernel takes now.
    pub(crate) fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.seal();
        while self.len > 0 {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let count = self.pieces.len().min(PIECES_MAX);
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            match stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut sent: usize) {
        self.len -= sent;
        while let Some(front) = self.pieces.front_mut() {
            if sent < front.len() {
                front.advance(sent);
                return;
            }
            sent -= front.len();
            self.pieces.pop_front();
        }
    }
}

//! What a session has to send: headers, and payload by name, gathered into as few sends as can be.

use std::io::IoSlice;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// Pieces of one send. The kernel takes up to 1024.
const GATHERED_MAX: usize = 256;
/// Sent pieces that are kept before the rest moves to the front.
const SENT_MAX: usize = 4096;

/// A run of bytes to be sent.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// Of `heads`.
    Head { start: usize, end: usize },
    /// Of a slot's payload.
    Payload { slot: u32, start: usize, end: usize },
}

/// Bytes that wait to be sent, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    heads: Vec<u8>,
    pieces: Vec<Piece>,
    /// The first piece that is not sent.
    at: usize,
}

impl Outbox {
    /// Small bytes, kept here. Those of neighbours become one piece.
    pub(super) fn head(&mut self, bytes: &[u8]) {
        let start = self.heads.len();
        self.heads.extend_from_slice(bytes);
        let len = self.heads.len();
        if self.at < self.pieces.len()
            && let Some(Piece::Head { end, .. }) = self.pieces.last_mut()
        {
            *end = len;
            return;
        }
        self.pieces.push(Piece::Head { start, end: len });
    }

    /// `start..end` of what slot `slot` writes.
    pub(super) fn payload(&mut self, slot: u32, start: usize, end: usize) {
        self.pieces.push(Piece::Payload { slot, start, end });
    }

    /// Whether all has been sent.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.pieces.len()
    }

    /// Sends what the socket takes without waiting. `payload` gives the bytes of a slot.
    pub(super) fn send<'p>(
        &mut self,
        socket: impl AsFd,
        payload: impl Fn(u32) -> &'p [u8],
    ) -> Result<(), Errno> {
        while !self.is_empty() {
            let mut gathered = [IoSlice::new(&[]); GATHERED_MAX];
            let pieces = &self.pieces[self.at..];
            let count = pieces.len().min(GATHERED_MAX);
            for (slice, piece) in gathered.iter_mut().zip(pieces) {
                *slice = IoSlice::new(match *piece {
                    Piece::Head { start, end } => &self.heads[start..end],
                    Piece::Payload { slot, start, end } => &payload(slot)[start..end],
                });
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let mut nothing = SendAncillaryBuffer::default();
            match sendmsg(&socket, &gathered[..count], &mut nothing, flags) {
                Ok(sent) => self.forget(sent),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// `sent` bytes have left.
    fn forget(&mut self, mut sent: usize) {
        while sent > 0 {
            let (Piece::Head { start, end } | Piece::Payload { start, end, .. }) =
                &mut self.pieces[self.at];
            let taken = sent.min(*end - *start);
            *start += taken;
            sent -= taken;
            if start == end {
                self.at += 1;
            }
        }
        if self.is_empty() {
            self.pieces.clear();
            self.heads.clear();
            self.at = 0;
        } else if self.at > SENT_MAX {
            self.compact();
        }
    }

    fn compact(&mut self) {
        self.pieces.drain(..self.at);
        self.at = 0;
        let first = self.pieces.iter().find_map(|piece| match piece {
            Piece::Head { start, .. } => Some(*start),
            Piece::Payload { .. } => None,
        });
        let gone = first.unwrap_or(self.heads.len());
        self.heads.drain(..gone);
        for piece in &mut self.pieces {
            if let Piece::Head { start, end } = piece {
                *start -= gone;
                *end -= gone;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn neighbouring_headers_are_one_piece() {
        let mut out = Outbox::default();
        out.head(b"one");
        out.head(b"two");
        out.payload(0, 0, 4);
        out.head(b"three");
        assert_eq!(out.pieces.len(), 3);
    }

    #[test]
    fn what_a_slow_peer_takes_in_pieces_arrives_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let payload: Vec<u8> = (0..=250).cycle().take(5000).collect();
        let mut out = Outbox::default();
        let mut wanted = Vec::new();
        for number in 0..6000u32 {
            let head = number.to_be_bytes();
            let (start, end) = (number as usize % 1000, 1000 + number as usize % 4000);
            out.head(&head);
            out.payload(number, start, end);
            wanted.extend_from_slice(&head);
            wanted.extend_from_slice(&payload[start..end]);
        }
        let len = wanted.len();
        let reader = thread::spawn(move || {
            let mut got = vec![0; len];
            theirs.read_exact(&mut got).unwrap();
            got
        });
        while !out.is_empty() {
            out.send(&ours, |_| &payload).unwrap();
        }
        assert!(reader.join().unwrap() == wanted);
    }
}

//! Outgoing bytes of one turn: headers copied side by side, payload referenced where it lies.

use std::fmt;
use std::ops::Range;

use crate::Buf;

/// What one connection has to send this turn, in order. Small pieces (headers, digests, padding,
/// sense) are copied into one head area; payload stays in the buffers it was read into, which
/// the gather owns until [`take_bodies`](Self::take_bodies). Reused, it allocates nothing.
#[derive(Default)]
pub struct Gather {
    head: Vec<u8>,
    bodies: Vec<(u64, Buf)>,
    pieces: Vec<Piece>,
    /// The first piece not wholly sent, and how much of it was.
    first: usize,
    skip: usize,
    remaining: usize,
}

/// A buffer attached to a [`Gather`]. Good for that gather until its bodies are taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Body(usize);

struct Piece {
    source: Source,
    at: Range<usize>,
}

#[derive(PartialEq)]
enum Source {
    Head,
    Body(Body),
}

impl Gather {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything, and frees what is still attached.
    pub fn clear(&mut self) {
        self.forget_pieces();
        self.bodies.clear();
    }

    /// Appends a copy of `bytes`.
    pub fn head(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.head.len();
        self.head.extend_from_slice(bytes);
        self.remaining += bytes.len();
        // A head behind a head makes one longer piece, unless all of that piece is sent.
        match self.pieces[self.first..].last_mut() {
            Some(last) if last.source == Source::Head => last.at.end = self.head.len(),
            _ => self.pieces.push(Piece { source: Source::Head, at: start..self.head.len() }),
        }
    }

    /// Takes a buffer in, to be referenced by [`body`](Self::body). `tag` is the caller's, and
    /// comes back with it.
    pub fn attach(&mut self, tag: u64, buf: Buf) -> Body {
        self.bodies.push((tag, buf));
        Body(self.bodies.len() - 1)
    }

    /// Appends bytes of an attached buffer, without copying.
    ///
    /// # Panics
    ///
    /// When they are not inside the buffer.
    pub fn body(&mut self, body: Body, at: Range<usize>) {
        assert!(at.start <= at.end && at.end <= self.body_bytes(body).len(), "{at:?} of {body:?}");
        if at.is_empty() {
            return;
        }
        self.remaining += at.len();
        self.pieces.push(Piece { source: Source::Body(body), at });
    }

    /// The whole of an attached buffer, for instance to compute a digest over a part of it.
    ///
    /// # Panics
    ///
    /// When its bodies were taken since.
    #[must_use]
    pub fn body_bytes(&self, body: Body) -> &[u8] {
        &self.bodies[body.0].1
    }

    /// Nothing remains to be sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// Bytes still to be sent.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes note that the first `sent` bytes of what remained have left.
    ///
    /// # Panics
    ///
    /// When that is more than remained.
    pub fn advance(&mut self, sent: usize) {
        assert!(sent <= self.remaining, "sent {sent} of {}", self.remaining);
        self.remaining -= sent;
        self.skip += sent;
        while let Some(piece) = self.pieces.get(self.first)
            && self.skip >= piece.at.len()
        {
            self.skip -= piece.at.len();
            self.first += 1;
        }
    }

    /// What remains to be sent, in order. No slice is empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.skip;
        self.pieces[self.first..].iter().map(move |piece| {
            let from = match piece.source {
                Source::Head => &self.head,
                Source::Body(body) => self.body_bytes(body),
            };
            let at = piece.at.start + std::mem::take(&mut skip)..piece.at.end;
            &from[at]
        })
    }

    /// Gives the attached buffers back with their tags, in the order attached, and forgets what
    /// was not sent.
    pub fn take_bodies(&mut self) -> impl Iterator<Item = (u64, Buf)> {
        self.forget_pieces();
        self.bodies.drain(..)
    }

    fn forget_pieces(&mut self) {
        self.head.clear();
        self.pieces.clear();
        (self.first, self.skip, self.remaining) = (0, 0, 0);
    }
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("remaining", &self.remaining)
            .field("pieces", &(self.pieces.len() - self.first))
            .field("bodies", &self.bodies.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Appends to the gather and to a plain vector that says what should come out.
    fn append(gather: &mut Gather, model: &mut Vec<u8>, (is_body, at): &(bool, Range<usize>)) {
        let bytes: Vec<u8> = (0..=255u8).cycle().skip(model.len() % 251).take(at.end).collect();
        if *is_body {
            let mut buf = Buf::zeroed(at.end);
            buf[..at.end].copy_from_slice(&bytes);
            let body = gather.attach(7, buf);
            gather.body(body, at.clone());
        } else {
            gather.head(&bytes[at.clone()]);
        }
        model.extend_from_slice(&bytes[at.clone()]);
    }

    fn piece() -> impl Strategy<Value = (bool, Range<usize>)> {
        (any::<bool>(), 0..300usize, 0..300usize)
            .prop_map(|(is_body, start, len)| (is_body, start..start + len))
    }

    proptest! {
        #[test]
        fn what_remains_is_always_the_unsent_rest_of_what_was_appended(
            steps in vec((vec(piece(), 0..6), 0..1500usize), 1..8)
        ) {
            let (mut gather, mut model) = (Gather::new(), Vec::new());
            for (pieces, sent) in steps {
                pieces.iter().for_each(|piece| append(&mut gather, &mut model, piece));
                let sent = sent.min(model.len());
                gather.advance(sent);
                model.drain(..sent);
                prop_assert!(gather.slices().all(|slice| !slice.is_empty()));
                prop_assert_eq!(gather.slices().flatten().copied().collect::<Vec<_>>(), &model[..]);
                prop_assert_eq!(gather.remaining(), model.len());
                prop_assert_eq!(gather.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn headers_side_by_side_are_one_piece() {
        let mut gather = Gather::new();
        gather.head(b"bhs");
        gather.head(b"digest");
        let body = gather.attach(1, Buf::zeroed(8));
        gather.body(body, 0..4);
        gather.head(b"next");
        let slices: Vec<_> = gather.slices().collect();
        assert_eq!(slices, [&b"bhsdigest"[..], &[0; 4], b"next"]);
    }

    #[test]
    fn bodies_come_back_with_their_tags_and_the_rest_is_forgotten() {
        let mut gather = Gather::new();
        let body = gather.attach(5, Buf::zeroed(1));
        gather.attach(6, Buf::zeroed(1));
        gather.body(body, 0..4096);
        gather.advance(100);
        assert_eq!(gather.take_bodies().map(|(tag, _)| tag).collect::<Vec<_>>(), [5, 6]);
        assert!(gather.is_empty());
        gather.head(b"again");
        assert_eq!(gather.slices().collect::<Vec<_>>(), [b"again"]);
    }

    #[test]
    fn a_warm_gather_does_not_allocate() {
        let mut gather = Gather::new();
        let mut capacity = None;
        for _ in 0..3 {
            for tag in 0..32 {
                gather.head(&[1; 48]);
                let body = gather.attach(tag, Buf::zeroed(1));
                gather.body(body, 0..512);
            }
            gather.advance(gather.remaining());
            assert_eq!(gather.take_bodies().count(), 32);
            let now = (gather.head.capacity(), gather.pieces.capacity(), gather.bodies.capacity());
            assert_eq!(*capacity.get_or_insert(now), now);
        }
    }
}

//! Bytes to PDUs: header, additional header segments, data, padding and digests, cut anywhere.
//!
//! The framer holds a header until it is whole and never a data segment: those bytes are passed on
//! as they come, or received by the shell straight into their place ([`Framer::placed`]).

use crate::digest::{self, Crc};
use crate::limits::{AHS_LEN_MAX, BHS_LEN};
use crate::pdu::Bhs;
use crate::transmit::Digests;

/// A piece of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'b> {
    /// A header whose digest, if any, was right. Its data segment follows.
    Header(Bhs),
    /// Bytes of the data segment, `offset` from its start.
    Data {
        /// From the start of the segment.
        offset: u32,
        /// Never empty.
        bytes: &'b [u8],
    },
    /// The PDU is whole. `intact` is false when the data digest was wrong.
    End {
        /// The data digest was right, or there was none.
        intact: bool,
    },
}

/// After these the stream has no known boundaries, or the peer has lost its senses: the connection
/// ends (§7.7, §7.8 at error recovery level 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The header's digest is wrong.
    #[error("header digest error")]
    HeaderDigest,
    /// Additional header segments where none can be.
    #[error("additional header segments of {len} bytes where at most {max} are taken")]
    AhsTooLong {
        /// TotalAHSLength in bytes.
        len: usize,
        /// What is taken.
        max: usize,
    },
    /// A data segment longer than we said we take (§13.12).
    #[error("data segment of {len} bytes where at most {max} are taken")]
    SegmentTooLong {
        /// DataSegmentLength of the PDU.
        len: u32,
        /// MaxRecvDataSegmentLength.
        max: u32,
    },
}

#[derive(Clone, Debug)]
enum State {
    /// Collecting the header; `have` bytes of BHS_LEN are here.
    Header { have: usize },
    /// Passing over additional header segments; nothing that we take part in needs them.
    Ahs { left: usize },
    /// The header digest; `have` bytes are here.
    HeaderDigest { have: usize },
    /// Inside the data segment.
    Data { done: u32 },
    /// Inside the padding.
    Padding { left: usize },
    /// The data digest; `have` bytes are here.
    DataDigest { have: usize },
    /// Everything is here; `End` is due.
    End { intact: bool },
}

/// What a state made of the input.
enum Step<'b> {
    /// Another state, which may go on with the same input.
    On,
    /// A piece for the caller.
    Frame(Frame<'b>),
    /// More input is needed.
    More,
}

/// Takes a byte stream apart.
#[derive(Clone, Debug)]
pub struct Framer {
    digests: Digests,
    segment_len_max: u32,
    ahs_len_max: usize,
    state: State,
    header: Bhs,
    received_digest: [u8; digest::LEN],
    crc: Crc,
    ahs_crc: Crc,
}

impl Framer {
    /// For a connection that has agreed on `digests` and takes segments of up to `segment_len_max`.
    #[must_use]
    pub fn new(digests: Digests, segment_len_max: u32) -> Self {
        Self {
            digests,
            segment_len_max,
            ahs_len_max: AHS_LEN_MAX,
            state: State::Header { have: 0 },
            header: Bhs::default(),
            received_digest: [0; digest::LEN],
            crc: Crc::default(),
            ahs_crc: Crc::default(),
        }
    }

    /// For a login, whose PDUs have no additional header segments: whoever sends any does not speak
    /// iSCSI, and is told so by its first 48 bytes.
    #[must_use]
    pub fn without_ahs(mut self) -> Self {
        self.ahs_len_max = 0;
        self
    }

    /// Whether the stream stands between two PDUs.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Header { have: 0 })
    }

    /// Bytes of the current data segment still to come: offset of the next one, and how many.
    #[must_use]
    pub fn due(&self) -> Option<(u32, u32)> {
        match self.state {
            State::Data { done } => Some((done, self.header.data_segment_len() - done)),
            _ => None,
        }
    }

    /// The next piece, taken off the front of `input`; `None` when more bytes are needed.
    pub fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Frame<'b>>, FrameError> {
        loop {
            let step = match self.state {
                State::Header { have } => self.take_header(input, have)?,
                State::Ahs { left } => self.take_ahs(input, left)?,
                State::HeaderDigest { have } => self.take_header_digest(input, have)?,
                State::Data { done } => self.take_data(input, done),
                State::Padding { left } => self.take_padding(input, left),
                State::DataDigest { have } => {
                    if !self.take_digest(input, have, |have| State::DataDigest { have }) {
                        return Ok(None);
                    }
                    self.state = State::End { intact: self.crc.wire() == self.received_digest };
                    Step::On
                }
                State::End { intact } => {
                    self.state = State::Header { have: 0 };
                    Step::Frame(Frame::End { intact })
                }
            };
            match step {
                Step::On => {}
                Step::Frame(frame) => return Ok(Some(frame)),
                Step::More => return Ok(None),
            }
        }
    }

    fn take_header<'b>(
        &mut self,
        input: &mut &'b [u8],
        have: usize,
    ) -> Result<Step<'b>, FrameError> {
        let count = input.len().min(BHS_LEN - have);
        self.header.0[have..have + count].copy_from_slice(take(input, count));
        if have + count < BHS_LEN {
            self.state = State::Header { have: have + count };
            return Ok(Step::More);
        }
        let ahs_len = self.header.ahs_len();
        if ahs_len > self.ahs_len_max {
            return Err(FrameError::AhsTooLong { len: ahs_len, max: self.ahs_len_max });
        }
        if ahs_len > 0 && self.digests.header {
            self.ahs_crc = Crc::default();
            self.ahs_crc.update(&self.header.0);
        }
        self.state = State::Ahs { left: ahs_len };
        Ok(Step::On)
    }

    fn take_ahs<'b>(&mut self, input: &mut &'b [u8], left: usize) -> Result<Step<'b>, FrameError> {
        let ahs = take(input, left);
        if self.digests.header && !ahs.is_empty() {
            self.ahs_crc.update(ahs);
        }
        if ahs.len() < left {
            self.state = State::Ahs { left: left - ahs.len() };
            return Ok(Step::More);
        }
        if self.digests.header {
            self.state = State::HeaderDigest { have: 0 };
            return Ok(Step::On);
        }
        self.enter_data()
    }

    fn take_header_digest<'b>(
        &mut self,
        input: &mut &'b [u8],
        have: usize,
    ) -> Result<Step<'b>, FrameError> {
        if !self.take_digest(input, have, |have| State::HeaderDigest { have }) {
            return Ok(Step::More);
        }
        let right = if self.header.ahs_len() == 0 {
            digest::wire(&self.header.0)
        } else {
            self.ahs_crc.wire()
        };
        if right != self.received_digest {
            return Err(FrameError::HeaderDigest);
        }
        self.enter_data()
    }

    fn take_data<'b>(&mut self, input: &mut &'b [u8], done: u32) -> Step<'b> {
        let bytes = take(input, (self.header.data_segment_len() - done) as usize);
        if bytes.is_empty() {
            return Step::More;
        }
        self.placed(bytes);
        Step::Frame(Frame::Data { offset: done, bytes })
    }

    fn take_padding<'b>(&mut self, input: &mut &'b [u8], left: usize) -> Step<'b> {
        let padding = take(input, left);
        if self.digests.data {
            self.crc.update(padding);
        }
        if padding.len() < left {
            self.state = State::Padding { left: left - padding.len() };
            return Step::More;
        }
        self.state = if self.digests.data {
            State::DataDigest { have: 0 }
        } else {
            State::End { intact: true }
        };
        Step::On
    }

    /// The shell has received `bytes`, the next of the data segment, into their place by itself.
    ///
    /// # Panics
    ///
    /// When [`due`](Self::due) did not allow that many.
    pub fn placed(&mut self, bytes: &[u8]) {
        let State::Data { done } = self.state else {
            panic!("bytes were placed outside of a data segment");
        };
        if self.digests.data {
            self.crc.update(bytes);
        }
        let len = self.header.data_segment_len();
        let count = u32::try_from(bytes.len()).expect("a data segment is shorter than 2^24 bytes");
        assert!(count <= len - done, "more bytes placed than the data segment has");
        self.state = if done + count < len {
            State::Data { done: done + count }
        } else {
            State::Padding { left: (len.wrapping_neg() & 3) as usize }
        };
    }

    /// Takes what follows from the digests agreed on, from the next PDU on.
    pub fn set_digests(&mut self, digests: Digests) {
        debug_assert!(self.is_between(), "digests change between two PDUs");
        self.digests = digests;
    }

    /// Takes segments of up to `len` bytes from the next PDU on.
    pub fn set_segment_len_max(&mut self, len: u32) {
        self.segment_len_max = len;
    }

    fn enter_data<'b>(&mut self) -> Result<Step<'b>, FrameError> {
        let len = self.header.data_segment_len();
        if len > self.segment_len_max {
            return Err(FrameError::SegmentTooLong { len, max: self.segment_len_max });
        }
        self.state = if len == 0 {
            State::End { intact: true }
        } else {
            if self.digests.data {
                self.crc = Crc::default();
            }
            State::Data { done: 0 }
        };
        Ok(Step::Frame(Frame::Header(self.header)))
    }

    fn take_digest(&mut self, input: &mut &[u8], have: usize, state: fn(usize) -> State) -> bool {
        let bytes = take(input, digest::LEN - have);
        self.received_digest[have..have + bytes.len()].copy_from_slice(bytes);
        self.state = state(have + bytes.len());
        have + bytes.len() == digest::LEN
    }
}

/// Up to `count` bytes off the front of `input`.
fn take<'b>(input: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (front, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    front
}

#[cfg(test)]
mod tests;

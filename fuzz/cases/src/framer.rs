//! A byte stream, cut anywhere, gives the frames of the whole, and a data segment received in place
//! gives them too.
//!
//! The first byte chooses the digests; the second and third how the rest is cut.

use outband_protocol::Digests;
use outband_protocol::framer::{Frame, FrameError, Framer};

const SEGMENT_LEN_MAX: u32 = 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Header([u8; 48]),
    Segment(Vec<u8>, bool),
    Error(FrameError),
}

/// How a piece of the stream is handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All of it through `next`.
    Fed,
    /// Data segments by the shell itself, told by `placed`.
    Placed,
}

fn seen(digests: Digests, pieces: &[&[u8]], way: Way) -> Vec<Seen> {
    let mut framer = Framer::new(digests, SEGMENT_LEN_MAX);
    let (mut seen, mut segment) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        loop {
            if way == Way::Placed
                && let Some((offset, left)) = framer.due()
            {
                assert_eq!(offset as usize, segment.len());
                let (bytes, rest) = input.split_at(input.len().min(left as usize));
                if !bytes.is_empty() {
                    framer.placed(bytes);
                    segment.extend_from_slice(bytes);
                    input = rest;
                }
            }
            match framer.next(&mut input) {
                Ok(Some(Frame::Header(bhs))) => seen.push(Seen::Header(bhs.0)),
                Ok(Some(Frame::Data { offset, bytes })) => {
                    assert_eq!(offset as usize, segment.len());
                    assert!(!bytes.is_empty());
                    segment.extend_from_slice(bytes);
                }
                Ok(Some(Frame::End { intact })) => {
                    seen.push(Seen::Segment(std::mem::take(&mut segment), intact));
                }
                Ok(None) => break,
                Err(error) => {
                    seen.push(Seen::Error(error));
                    return seen;
                }
            }
        }
        assert!(input.is_empty(), "all input is taken before more is wanted");
    }
    seen
}

/// See the module.
pub fn run(input: &[u8]) {
    let [which, first, second, stream @ ..] = input else {
        return;
    };
    let digests = Digests { header: which & 1 != 0, data: which & 2 != 0 };
    let whole = seen(digests, &[stream], Way::Fed);

    let mut cuts = [*first, *second].map(|cut| usize::from(cut).min(stream.len()));
    cuts.sort_unstable();
    let [a, b] = cuts;
    let pieces = [&stream[..a], &stream[a..b], &stream[b..]];
    assert_eq!(seen(digests, &pieces, Way::Fed), whole);
    assert_eq!(seen(digests, &pieces, Way::Placed), whole);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(seen(digests, &bytes, Way::Fed), whole);
}

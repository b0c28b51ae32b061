//! Memory as a medium. It keeps only the chunks that something was written to: a volume may say
//! that it has 8 EiB, and what was never written or was given back takes no room and reads as zeros.

use std::collections::BTreeMap;
use std::ops::Range;

use outband_ring::{Buf, Stretch};

/// Bytes that are kept or given back together. Small beside what a volume holds, large beside what
/// it costs to look one up.
const CHUNK_LEN: usize = 256 * 1024;

/// The bytes of one piece of a volume.
#[derive(Debug, Default)]
pub struct Memory {
    /// By their number from the start; those that are not here read as zeros. Each starts with a page,
    /// as the buffers of tasks do: a copy to 16 bytes past where its source lies in a page takes
    /// several times as long on some processors (docs/performance.md).
    chunks: BTreeMap<u64, Buf>,
}

/// What an access means to one chunk.
#[derive(Clone, Debug)]
struct Part {
    /// Which chunk.
    chunk: u64,
    /// Where in the chunk.
    within: Range<usize>,
    /// Where in the buffer of the access.
    of: Range<usize>,
}

impl Memory {
    /// Fills `into` with what lies at `at`.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) {
        for part in parts(at, into.len()) {
            match self.chunks.get(&part.chunk) {
                Some(chunk) => into[part.of].copy_from_slice(&chunk[part.within]),
                None => into[part.of].fill(0),
            }
        }
    }

    /// Puts `bytes` at `at`.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        for part in parts(at, bytes.len()) {
            let chunk = self.chunks.entry(part.chunk).or_insert_with(|| Buf::zeroed(CHUNK_LEN));
            chunk[part.within].copy_from_slice(&bytes[part.of]);
        }
    }

    /// Makes `range` read as zeros, and gives back the chunks that lie within it.
    pub(crate) fn zero(&mut self, range: Range<u64>) {
        let first = range.start / CHUNK_LEN as u64;
        let last = range.end.div_ceil(CHUNK_LEN as u64);
        // Only what is there is looked at: the range may be as long as the volume.
        let held: Vec<u64> = self.chunks.range(first..last).map(|(chunk, _)| *chunk).collect();
        for chunk in held {
            let start = chunk * CHUNK_LEN as u64;
            let from = index(range.start.saturating_sub(start));
            let to = index((range.end - start).min(CHUNK_LEN as u64));
            if to - from == CHUNK_LEN {
                self.chunks.remove(&chunk);
            } else if let Some(bytes) = self.chunks.get_mut(&chunk) {
                bytes[from..to].fill(0);
            }
        }
    }

    /// Which parts of `range` are here: all of it, or `at_most` stretches from its start.
    pub(crate) fn stretches(&self, range: Range<u64>, at_most: usize) -> Vec<Stretch> {
        let (mut at, mut found) = (range.start, Vec::new());
        while at < range.end && found.len() < at_most {
            let first = at / CHUNK_LEN as u64;
            let mapped = self.chunks.contains_key(&first);
            let end = if mapped {
                let here = self.chunks.range(first..).map(|(chunk, _)| *chunk);
                (first..).zip(here).take_while(|(chunk, here)| chunk == here).count() as u64 + first
            } else {
                self.chunks.range(first..).next().map_or(u64::MAX, |(chunk, _)| *chunk)
            };
            let end = end.saturating_mul(CHUNK_LEN as u64).min(range.end);
            found.push(Stretch { len: end - at, mapped });
            at = end;
        }
        found
    }

    /// Bytes that it takes.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.chunks.len() * CHUNK_LEN
    }
}

/// Cuts `len` bytes at `at` where chunks meet.
fn parts(at: u64, len: usize) -> impl Iterator<Item = Part> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let here = at + done as u64;
        let from = index(here % CHUNK_LEN as u64);
        let part_len = (CHUNK_LEN - from).min(len - done);
        let of = done..done + part_len;
        done += part_len;
        Some(Part { chunk: here / CHUNK_LEN as u64, within: from..from + part_len, of })
    })
}

/// A place inside a chunk.
fn index(within: u64) -> usize {
    usize::try_from(within).expect("a chunk is far below what usize holds")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where the ranges of the property lie: over a few chunks, far out.
    const BASE: u64 = (1 << 63) - 4 * CHUNK_LEN as u64;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, usize, u8),
        Zero(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let range = || {
            let at = prop_oneof![Just(0), Just(CHUNK_LEN), 0..4 * CHUNK_LEN];
            (at, 0..3 * CHUNK_LEN)
                .prop_map(|(at, len): (usize, usize)| (at, len.min(4 * CHUNK_LEN - at)))
        };
        prop_oneof![
            (range(), 1u8..).prop_map(|((at, len), fill)| Step::Write(at, len, fill)),
            range().prop_map(|(at, len)| Step::Zero(at, len)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn it_reads_as_a_plain_vector_does(steps in prop::collection::vec(step(), 1..12)) {
            let mut memory = Memory::default();
            let mut plain = vec![0u8; 4 * CHUNK_LEN];
            for step in steps {
                match step {
                    Step::Write(at, len, fill) => {
                        memory.write(BASE + at as u64, &vec![fill; len]);
                        plain[at..at + len].fill(fill);
                    }
                    Step::Zero(at, len) => {
                        memory.zero(BASE + at as u64..BASE + (at + len) as u64);
                        plain[at..at + len].fill(0);
                    }
                }
                let mut seen = vec![1; plain.len()];
                memory.read(BASE, &mut seen);
                prop_assert!(seen == plain);
            }
        }
    }

    #[test]
    fn only_what_was_written_is_kept_and_what_is_zeroed_whole_is_given_back() {
        let mut memory = Memory::default();
        let end = 1 << 63;
        memory.write(0, &[1; 512]);
        memory.write(end - 512, &[2; 512]);
        assert_eq!(memory.held(), 2 * CHUNK_LEN);
        memory.zero(512..end - 512);
        assert_eq!(memory.held(), 2 * CHUNK_LEN, "parts of chunks are filled");
        let stretch = |len, mapped| Stretch { len, mapped };
        let chunk = CHUNK_LEN as u64;
        let all = [stretch(chunk, true), stretch(end - 2 * chunk, false), stretch(chunk, true)];
        assert_eq!(memory.stretches(0..end, 9), all);
        assert_eq!(
            memory.stretches(512..chunk + 512, 2),
            [stretch(chunk - 512, true), stretch(512, false)]
        );
        assert_eq!(memory.stretches(0..end, 1), all[..1]);
        memory.zero(0..end);
        assert_eq!(memory.held(), 0);
    }
}

//! What happened, as lines: the last ones are kept for whoever reads a failure, and all of them go
//! into one hash, by which two runs of a seed are compared.

use std::collections::VecDeque;
use std::fmt;
use std::fmt::Write;

use crate::Moment;

/// Lines kept.
const KEPT: usize = 400;

/// The record of one simulation.
#[derive(Debug)]
pub struct Trace {
    hash: Fnv,
    last: VecDeque<String>,
    lines: u64,
    aloud: bool,
}

/// After FNV-1a, over words of 64 bits: the same on every machine and in every version.
#[derive(Clone, Copy, Debug)]
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_be_bytes(*word));
        for word in words.chain(rest.iter().map(|byte| u64::from(*byte))) {
            self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        }
        Ok(())
    }
}

impl Trace {
    /// An empty one; `aloud` prints each line as it comes.
    #[must_use]
    pub fn new(aloud: bool) -> Self {
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), last: VecDeque::new(), lines: 0, aloud }
    }

    /// Notes what happens at `now`.
    pub fn note(&mut self, now: Moment, what: fmt::Arguments<'_>) {
        // A recycled String: there are millions of these.
        let mut line = if self.last.len() < KEPT {
            String::new()
        } else {
            self.last.pop_front().unwrap_or_default()
        };
        line.clear();
        let (millis, nanos) = (now.as_millis(), now.subsec_nanos() % 1_000_000);
        write!(line, "{millis:>6}.{nanos:06} {what}").expect("a String takes all");
        self.hash.write_str(&line).expect("a hash takes all");
        if self.aloud {
            eprintln!("{line}");
        }
        self.last.push_back(line);
        self.lines += 1;
    }

    /// The hash of every line so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How many lines there were.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The last `count` lines.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let skip = self.last.len().saturating_sub(count);
        self.last.iter().skip(skip).fold(String::new(), |all, line| all + line + "\n")
    }
}

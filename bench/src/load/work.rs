//! What a load asks for: reads or writes, where, how long.

use std::fmt;
use std::str::FromStr;

/// In which order blocks are asked for, and how many of the requests read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// Anywhere, or one block after the other.
    pub random: bool,
    /// Of a hundred requests.
    pub reads: u8,
}

/// The name is none of `read`, `write`, `rw:N`, with or without `rand` in front.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a pattern is read, write or rw:PERCENT of reads, and random with rand in front")]
pub struct BadPattern;

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let (random, rest) = match text.strip_prefix("rand") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let reads = match (rest, rest.strip_prefix("rw:")) {
            ("read", _) => 100,
            ("write", _) => 0,
            (_, Some(percent)) => {
                percent.parse().ok().filter(|percent| *percent <= 100).ok_or(BadPattern)?
            }
            _ => return Err(BadPattern),
        };
        Ok(Self { random, reads })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.random { "rand" } else { "" })?;
        match self.reads {
            100 => f.write_str("read"),
            0 => f.write_str("write"),
            percent => write!(f, "rw:{percent}"),
        }
    }
}

/// One request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ask {
    /// To the server, or from it.
    pub(super) write: bool,
    /// First byte on the volume.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: u32,
}

/// The requests of one session, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pattern: Pattern,
    len: u32,
    /// Places where a request may start.
    places: u64,
    next: u64,
    state: u64,
    /// Requests still to come.
    left: u64,
}

impl Stream {
    /// Requests of `len` bytes within the first `span`; `seed` makes sessions differ.
    ///
    /// # Panics
    /// When not even one request fits.
    #[must_use]
    pub(super) fn new(pattern: Pattern, len: u32, span: u64, seed: u64) -> Self {
        let places = span / u64::from(len);
        assert!(places > 0, "{len} bytes do not fit into {span}");
        let state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        // Sequential sessions start apart from each other.
        Self {
            pattern,
            len,
            places,
            next: seed.wrapping_mul(1_000_003) % places,
            state,
            left: u64::MAX,
        }
    }

    /// As many requests as there are places, then no more.
    #[must_use]
    pub(super) fn once(self) -> Self {
        Self { left: self.places, ..self }
    }

    /// Whether all was asked for.
    #[must_use]
    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// The next request.
    pub(super) fn next_ask(&mut self) -> Ask {
        self.left = self.left.saturating_sub(1);
        let place = if self.pattern.random { self.anywhere() } else { self.following() };
        let write = match self.pattern.reads {
            100 => false,
            0 => true,
            reads => self.draw() % 100 >= u64::from(reads),
        };
        Ask { write, offset: place * u64::from(self.len), len: self.len }
    }

    fn following(&mut self) -> u64 {
        let place = self.next;
        self.next = if place + 1 == self.places { 0 } else { place + 1 };
        place
    }

    /// Without a division: the upper half of a product is as even as the factor.
    fn anywhere(&mut self) -> u64 {
        let product = u128::from(self.draw()) * u128::from(self.places);
        u64::try_from(product >> 64).expect("half of it is left")
    }

    /// xorshift64*.
    fn draw(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_they_are_written() {
        for text in ["read", "write", "randread", "randwrite", "randrw:70", "rw:30"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["", "rand", "rw", "rw:101", "reads"] {
            assert_eq!(text.parse::<Pattern>(), Err(BadPattern));
        }
    }

    #[test]
    fn random_requests_are_everywhere_and_mixed_as_asked() {
        let pattern = "randrw:70".parse().unwrap();
        let mut stream = Stream::new(pattern, 4096, 16 * 4096, 3);
        let asks: Vec<_> = (0..4000).map(|_| stream.next_ask()).collect();
        let writes = asks.iter().filter(|ask| ask.write).count();
        assert!((1000..1400).contains(&writes), "{writes} writes of 4000");
        for place in 0..16 {
            let here = asks.iter().filter(|ask| ask.offset == place * 4096).count();
            assert!((150..350).contains(&here), "{here} at {place}");
        }
    }

    #[test]
    fn sequential_requests_follow_each_other_and_start_anew_at_the_end() {
        let mut stream = Stream::new("write".parse().unwrap(), 512, 3 * 512 + 100, 0);
        let offsets: Vec<_> = (0..5).map(|_| stream.next_ask().offset).collect();
        assert_eq!(offsets, [0, 512, 1024, 0, 512]);
    }
}

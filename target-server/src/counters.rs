//! What a shard has done, for others to look at. Written by one thread, once a turn.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// One shard's counters. Relaxed: each number is right by itself, not beside the others.
#[derive(Debug, Default)]
pub struct Counters {
    sessions: AtomicU32,
    in_flight: AtomicU32,
    reads: AtomicU64,
    writes: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

/// The same as plain numbers: a shard's own copy, or the sum over shards.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Logged in now.
    pub sessions: u32,
    /// I/O with a medium now.
    pub in_flight: u32,
    /// Since the start.
    pub reads: u64,
    /// Since the start.
    pub writes: u64,
    /// Since the start.
    pub read_bytes: u64,
    /// Since the start.
    pub written_bytes: u64,
}

/// By the second.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Reads.
    pub reads: u32,
    /// Writes.
    pub writes: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

impl Counters {
    /// Shows `totals` to others.
    pub fn show(&self, totals: &Totals) {
        self.sessions.store(totals.sessions, Ordering::Relaxed);
        self.in_flight.store(totals.in_flight, Ordering::Relaxed);
        self.reads.store(totals.reads, Ordering::Relaxed);
        self.writes.store(totals.writes, Ordering::Relaxed);
        self.read_bytes.store(totals.read_bytes, Ordering::Relaxed);
        self.written_bytes.store(totals.written_bytes, Ordering::Relaxed);
    }

    /// What was shown last, added to `sum`.
    pub fn add_to(&self, sum: &mut Totals) {
        sum.sessions += self.sessions.load(Ordering::Relaxed);
        sum.in_flight += self.in_flight.load(Ordering::Relaxed);
        sum.reads += self.reads.load(Ordering::Relaxed);
        sum.writes += self.writes.load(Ordering::Relaxed);
        sum.read_bytes += self.read_bytes.load(Ordering::Relaxed);
        sum.written_bytes += self.written_bytes.load(Ordering::Relaxed);
    }
}

impl Totals {
    /// How much more there is than at the last look.
    pub fn rates_since(&self, before: Option<(Instant, Self)>, now: Instant) -> Rates {
        let Some((then, before)) = before else {
            return Rates::default();
        };
        let millis = u64::try_from(now.duration_since(then).as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second =
            |now: u64, then: u64| now.saturating_sub(then).saturating_mul(1000) / millis;
        let count = |rate: u64| u32::try_from(rate).unwrap_or(u32::MAX);
        Rates {
            reads: count(per_second(self.reads, before.reads)),
            writes: count(per_second(self.writes, before.writes)),
            read_bytes: per_second(self.read_bytes, before.read_bytes),
            written_bytes: per_second(self.written_bytes, before.written_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_by_the_second_whatever_the_distance_of_the_looks() {
        let now = Instant::now();
        let then = now.checked_sub(Duration::from_millis(500)).unwrap();
        let before = Totals { reads: 100, ..Totals::default() };
        let after = Totals { reads: 600, read_bytes: 4096, ..before };
        let rates = after.rates_since(Some((then, before)), now);
        assert_eq!((rates.reads, rates.read_bytes, rates.writes), (1000, 8192, 0));
        assert_eq!(after.rates_since(None, now), Rates::default());
    }
}

//! Times in powers of two.

use serde::Serialize;

/// Upper bound of the first bucket, as a power of two of microseconds: 8 µs.
const FIRST: u32 = 3;
/// Upper bound of the last bucket that has one: 8.4 s.
const LAST: u32 = 23;
const BUCKETS: usize = (LAST - FIRST + 2) as usize;

/// How many events took how long, in buckets of 8, 16, 32 … microseconds up to 8.4 seconds, and
/// one for the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    nanoseconds: u64,
}

impl Histogram {
    /// One event more.
    pub fn record(&mut self, nanoseconds: u64) {
        // An event of exactly a bound's length belongs below it.
        let microseconds = nanoseconds.saturating_sub(1) / 1000;
        let power = u64::BITS - microseconds.leading_zeros();
        let bucket = (power.max(FIRST) - FIRST) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    /// Everything of `other` too.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
    }

    /// Events.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All their times together, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a sum of times is not exact to begin with")]
    pub fn seconds(&self) -> f64 {
        self.nanoseconds as f64 / 1e9
    }

    /// The upper bounds that there are, in microseconds.
    pub fn bounds_micros() -> Vec<u64> {
        (FIRST..=LAST).map(|power| 1 << power).collect()
    }

    /// Events by bucket, without the empty buckets at the end.
    pub fn events(&self) -> Vec<u64> {
        let used = self.buckets.iter().rposition(|events| *events > 0).map_or(0, |last| last + 1);
        self.buckets[..used].to_vec()
    }

    /// Each bucket's upper bound in seconds, and its own events. The last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bound = |power: u32| f64::from(1_u32 << power) / 1e6;
        let bounds = (FIRST..=LAST).map(bound).chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().copied())
    }
}

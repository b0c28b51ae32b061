//! Latencies, counted in buckets that are 1.6 % wide: any length of run in a fixed room.

/// Buckets for each power of two.
const STEPS: usize = 64;
/// 64-bit nanoseconds have at most so many powers of two above the exact ones.
const BUCKETS: usize = STEPS * 59;

/// How often each latency was seen.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// One more.
    pub fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// The latency that `part` of all (0 to 1) do not exceed, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, part: f64) -> f64 {
        let wanted = part * as_f64(self.total);
        let mut seen = 0u64;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && as_f64(seen) >= wanted {
                return as_f64(middle(index).min(self.max_ns)) / 1e3;
            }
        }
        as_f64(self.max_ns) / 1e3
    }

    /// The longest, exactly, in microseconds.
    #[must_use]
    pub fn max_us(&self) -> f64 {
        as_f64(self.max_ns) / 1e3
    }

    /// How many took longer than `ns`, to a bucket's width.
    #[must_use]
    pub fn longer_than(&self, ns: u64) -> u64 {
        self.counts[bucket(ns) + 1..].iter().sum()
    }

    /// For people: each power of two that occurred, its upper end in microseconds and the count.
    #[must_use]
    pub fn powers(&self) -> Vec<(f64, u64)> {
        let mut powers = Vec::new();
        for (index, counts) in self.counts.chunks(STEPS).enumerate() {
            let count: u64 = counts.iter().sum();
            if count > 0 {
                powers.push((as_f64(64u64 << index) / 1e3, count));
            }
        }
        powers
    }
}

/// Exact below 64 ns, then 64 buckets for each power of two.
fn bucket(ns: u64) -> usize {
    let Some(shift) = ns.checked_ilog2().and_then(|power| power.checked_sub(6)) else {
        return index(ns);
    };
    (shift as usize + 1) * STEPS + index((ns >> shift) & 63)
}

fn index(ns: u64) -> usize {
    usize::try_from(ns).expect("64 steps fit")
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let (row, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    match row {
        0 => step,
        row => ((64 + step) << (row - 1)) + ((1u64 << (row - 1)) / 2),
    }
}

/// Counts are far below the 2^53 that a float holds exactly.
#[allow(clippy::cast_precision_loss, reason = "counts and nanoseconds of one run are below 2^53")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lands_in_a_bucket_whose_middle_is_near() {
        for ns in (0..2000).chain([4095, 4096, 65_537, 1_000_000, 3_600_000_000_000, u64::MAX]) {
            let middle = middle(bucket(ns));
            assert!(middle.abs_diff(ns) <= ns / 64, "{ns} became {middle}");
        }
    }

    #[test]
    fn quantiles_and_the_tail_are_counted() {
        let mut histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.record(us * 1000);
        }
        assert!((histogram.quantile_us(0.5) - 500.0).abs() < 10.0);
        assert!((histogram.quantile_us(0.99) - 990.0).abs() < 20.0);
        assert!((histogram.max_us() - 1000.0).abs() < f64::EPSILON);
        assert!(histogram.longer_than(900_000).abs_diff(100) <= 16);
        assert_eq!(histogram.powers().iter().map(|(_, count)| count).sum::<u64>(), 1000);
    }
}

//! How long requests took, in buckets that are at most 1/16 wide: small, and quick to add to.

use std::time::Duration;

/// Buckets for each power of two.
const STEPS: u64 = 16;
const BUCKETS: usize = 64 * 16;

#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    /// Microseconds, logarithmic.
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, longest: Duration::ZERO }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.buckets[bucket(micros(took))] += 1;
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// The time within which `per_mille` of 1000 requests were done; never too low.
    pub(crate) fn percentile(&self, per_mille: u64) -> Duration {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(end(index)).min(self.longest);
            }
        }
        self.longest
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// Below `STEPS` exact; from there the leading bit chooses the power and the next four the step.
fn bucket(micros: u64) -> usize {
    let index = if micros < STEPS {
        micros
    } else {
        let power = u64::from(micros.ilog2());
        (power - 3) * STEPS + ((micros >> (power - 4)) & (STEPS - 1))
    };
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The longest time in a bucket, in microseconds.
fn end(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let (power, step) = (index / STEPS + 3, index % STEPS);
    ((STEPS + step + 1) << (power - 4)) - 1
}

/// In the unit that suits it, three digits.
pub(crate) fn show(took: Duration) -> String {
    match took.as_micros() {
        0..1_000 => format!("{} µs", took.as_micros()),
        1_000..10_000 => format!("{:.2} ms", took.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{:.0} ms", took.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", took.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_a_bucket_that_is_hardly_longer() {
        let mut micros = 0;
        while micros < 1 << 40 {
            let end = end(bucket(micros));
            assert!(end >= micros && end <= micros + micros / 16, "{micros} {end}");
            micros += micros / 7 + 1;
        }
    }

    #[test]
    fn percentiles_are_those_of_the_times_added() {
        let mut all = Latencies::default();
        for micros in 1..=1000 {
            let mut one = Latencies::default();
            one.add(Duration::from_micros(micros));
            all.merge(&one);
        }
        assert_eq!((all.count(), all.longest()), (1000, Duration::from_millis(1)));
        let p50 = all.percentile(500).as_micros();
        assert!((500..=532).contains(&p50), "{p50}");
        let p99 = all.percentile(990).as_micros();
        assert!((990..=1000).contains(&p99), "{p99}");
        assert_eq!(all.percentile(1000), Duration::from_millis(1));
        assert_eq!(Latencies::default().percentile(500), Duration::ZERO);
    }

    #[test]
    fn a_time_is_shown_in_its_unit() {
        for (micros, said) in
            [(7, "7 µs"), (1_234, "1.23 ms"), (56_789, "57 ms"), (1_500_000, "1.50 s")]
        {
            assert_eq!(show(Duration::from_micros(micros)), said);
        }
    }
}

//! What one run found, and what several say together.

use serde::{Deserialize, Serialize};

/// Processor time of others, in processors, above which a run is not believed.
pub(super) const NOISE_MAX: f64 = 0.25;

/// One run. The names are those of `outband-bench-load`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    #[serde(default)]
    pub(super) iops: f64,
    #[serde(default)]
    pub(super) mib_s: f64,
    #[serde(default)]
    pub(super) p50_us: f64,
    #[serde(default)]
    pub(super) p99_us: f64,
    #[serde(default)]
    pub(super) p999_us: f64,
    #[serde(default)]
    pub(super) max_us: f64,
    #[serde(default)]
    pub(super) over_50_ms: u64,
    /// For each power of two of microseconds, its upper end and how many requests.
    #[serde(default)]
    pub(super) histogram: Vec<(f64, u64)>,
    /// CPU of the client for a request, in microseconds.
    #[serde(default)]
    pub(super) own_us: f64,
    /// The same of the server.
    #[serde(default)]
    pub(super) server_us: f64,
    /// CPU of the server, in processors.
    #[serde(default)]
    pub(super) server_cpus: f64,
    /// CPU of anybody else, in processors.
    #[serde(default)]
    pub(super) other_cpus: f64,
}

impl Sample {
    pub(super) fn is_noisy(&self) -> bool {
        self.other_cpus > NOISE_MAX
    }
}

/// What several runs of the same say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Median {
    pub(super) iops: f64,
    pub(super) iops_least: f64,
    pub(super) iops_most: f64,
    pub(super) mib_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) client_us: f64,
    pub(super) server_us: f64,
    /// Runs that others disturbed, and were kept all the same.
    pub(super) noisy: usize,
}

impl Median {
    /// Of at least one run.
    pub(super) fn of(samples: &[Sample]) -> Self {
        let of = |field: fn(&Sample) -> f64| median(samples.iter().map(field));
        let iops = samples.iter().map(|sample| sample.iops);
        Self {
            iops: of(|sample| sample.iops),
            iops_least: iops.clone().fold(f64::INFINITY, f64::min),
            iops_most: iops.fold(0.0, f64::max),
            mib_s: of(|sample| sample.mib_s),
            p50_us: of(|sample| sample.p50_us),
            p99_us: of(|sample| sample.p99_us),
            client_us: of(|sample| sample.own_us),
            server_us: of(|sample| sample.server_us),
            noisy: samples.iter().filter(|sample| sample.is_noisy()).count(),
        }
    }
}

/// The middle one; of an even number, between the middle two. 0 of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_bad_run() {
        assert_eq!(median([3.0, 1.0, 900.0].into_iter()), 3.0);
        assert_eq!(median([4.0, 2.0].into_iter()), 3.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn spread_and_noise_are_told_with_the_median() {
        let sample = |iops, other_cpus| Sample { iops, other_cpus, ..Sample::default() };
        let median = Median::of(&[sample(10.0, 0.0), sample(30.0, 0.9), sample(20.0, 0.1)]);
        assert_eq!((median.iops_least, median.iops, median.iops_most), (10.0, 20.0, 30.0));
        assert_eq!(median.noisy, 1);
    }
}

//! The pool's load over the last hour.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use outband_pool_api::Load;

use super::Station;

/// Between two samples.
const EVERY: Duration = Duration::from_secs(5);
/// An hour of them.
pub const KEPT: usize = 720;

/// The loads of all units together, oldest first.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<(Instant, Load)>>);

impl History {
    /// Takes a sample, if one is due.
    fn note(&self, now: Instant, load: impl FnOnce() -> Load) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.back().is_some_and(|(at, _)| now < *at + EVERY) {
            return;
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((now, load()));
    }

    /// What is remembered, oldest first.
    pub fn samples(&self) -> Vec<Load> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(_, load)| *load).collect()
    }
}

impl Station {
    /// Remembers the load of now, if it is time to.
    pub(crate) fn note_load(&self, now: Instant) {
        self.history.note(now, || {
            let units = self.live.all();
            let loads = units.values().filter_map(|unit| unit.load);
            loads.fold(Load::default(), |sum, load| Load {
                sessions: sum.sessions + load.sessions,
                iops: sum.iops + load.iops,
                bytes_per_second: sum.bytes_per_second + load.bytes_per_second,
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_sample_comes_early() {
        let history = History::default();
        let born = Instant::now();
        for second in 0..4000_u32 {
            let now = born + Duration::from_secs(second.into());
            history.note(now, || Load { sessions: second, ..Load::default() });
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].sessions), (KEPT, 400));
        assert!(samples.windows(2).all(|pair| pair[1].sessions - pair[0].sessions == 5));
    }
}

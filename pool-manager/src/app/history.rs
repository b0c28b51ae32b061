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
        self.history.note(now, || self.live.load(now));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::app::Policy;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn loads_of_units_that_answer_add_up_whatever_they_say() {
        let store = Arc::new(MemoryStore::default());
        let station = Station::open(store, "main", Policy::Auto).await.unwrap();
        let born = station.machine.now();
        let most = Load { sessions: u32::MAX, iops: u64::MAX, bytes_per_second: u64::MAX };
        for unit in [1, 2, 3] {
            let unit = Uuid::from_u128(unit);
            station.live.know(unit, born, false);
            station.live.change(unit, |live| live.load = Some(most));
        }
        station.note_load(born);
        // All but one fall silent; what they said last counts no more.
        let later = born + Duration::from_secs(60);
        let little = Load { sessions: 1, iops: 2, bytes_per_second: 3 };
        station.live.change(Uuid::from_u128(1), |live| {
            live.pulse.handle_heard(later);
            live.load = Some(little);
        });
        station.note_load(later);
        assert_eq!(station.history.samples(), [most, little]);
    }

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

//! A unit that keeps falling over gets nothing new for a while: `on_leave`, a pure function over the
//! times at which it was lost without a word.

use std::time::Duration;

use serde::Deserialize;

/// As the configuration file has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// So many times; 0: never.
    pub leaves: usize,
    /// Within so many seconds.
    pub within_seconds: u64,
    /// Then it gets nothing new for so many seconds.
    pub lasts_seconds: u64,
}

impl Default for Rules {
    fn default() -> Self {
        let hour = Duration::from_secs(3600).as_secs();
        Self { leaves: 3, within_seconds: hour, lasts_seconds: 2 * hour }
    }
}

impl Rules {
    /// For whoever kills units on purpose.
    pub const NEVER: Self = Self { leaves: 0, within_seconds: 0, lasts_seconds: 0 };
}

/// The unit was lost at `now` (seconds since 1970, as all times here) without having said SHUTDOWN.
/// `leaves` has when that happened before and keeps what still counts. Answers until when it is to
/// have nothing new, if it has been too much now.
pub fn on_leave(leaves: &mut Vec<u64>, now: u64, rules: Rules) -> Option<u64> {
    // A clock that was set back does not make old times count for ever.
    leaves.retain(|at| *at <= now && now - at < rules.within_seconds);
    leaves.push(now);
    let too_many = rules.leaves > 0 && leaves.len() >= rules.leaves;
    if too_many {
        // What led here is paid for.
        leaves.clear();
    }
    too_many.then(|| now.saturating_add(rules.lasts_seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_times_within_an_hour_is_too_much() {
        let mut leaves = Vec::new();
        let rules = Rules::default();
        assert_eq!(on_leave(&mut leaves, 1000, rules), None);
        assert_eq!(on_leave(&mut leaves, 2000, rules), None);
        assert_eq!(on_leave(&mut leaves, 4600, rules), None, "the first is an hour ago");
        assert_eq!(on_leave(&mut leaves, 5000, rules), Some(5000 + 7200));
        assert_eq!(on_leave(&mut leaves, 5001, rules), None, "it begins anew");
        assert_eq!((0..9).find_map(|at| on_leave(&mut leaves, at, Rules::NEVER)), None);
    }

    proptest! {
        /// As an observer with all times on paper would say, on a clock that goes on.
        #[test]
        fn it_is_too_much_exactly_when_so_many_are_within_the_span(
            steps in proptest::collection::vec(0_u64..3000, 0..40),
        ) {
            let rules = Rules { leaves: 3, within_seconds: 3600, lasts_seconds: 10 };
            let (mut leaves, mut paper, mut now) = (Vec::new(), Vec::new(), 0);
            for step in steps {
                now += step;
                paper.push(now);
                let recent = paper.iter().filter(|at| now - **at < 3600).count();
                let told = on_leave(&mut leaves, now, rules);
                prop_assert_eq!(told.is_some(), recent >= 3);
                if told.is_some() {
                    paper.clear();
                }
                prop_assert!(leaves.len() < 3);
            }
        }
    }
}

//! Looks for defects that were put in on purpose ([`outband_protocol::seeded`]).

use outband_protocol::seeded::{self, Bug, World};

use crate::pool;
use crate::run::{Defeat, run_altered};

/// How a hunt ended.
#[derive(Clone, Debug)]
pub struct Hunted {
    /// What was looked for.
    pub bug: Bug,
    /// The first seed that failed, if any did, and how.
    pub defeat: Option<Box<Defeat>>,
    /// Disk operations, or calls of the control plane, of the seeds before.
    pub inner: u64,
}

/// Runs the seeds from 0 up to `most` with `bug` until one fails. All other simulations of this
/// process have the defect meanwhile.
#[must_use]
pub fn hunt(bug: Bug, seeds: std::ops::Range<u64>) -> Hunted {
    seeded::choose(Some(bug));
    let mut inner = 0;
    let defeat = seeds.into_iter().find_map(|seed| {
        let outcome = match bug.world() {
            World::Target => run_altered(seed, false, |_| {}).map(|report| report.ios),
            World::Pool => pool::run_altered(seed, false, |_| {}).map(|report| report.calls),
        };
        outcome.map(|done| inner += done).err()
    });
    seeded::choose(None);
    Hunted { bug, defeat, inner }
}

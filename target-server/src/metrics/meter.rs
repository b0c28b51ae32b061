//! A shard's clock in whole turns, and the commands that end in the present one.

use std::time::{Duration, Instant};

use super::{Failure, Operation};

/// When things happened to one command, in ticks of its shard's [`Meter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TaskClock {
    arrived: u64,
    /// When the store had it first; 0 before.
    first_stored: u64,
    storing_since: u64,
    in_store: u64,
}

impl TaskClock {
    /// It has come now.
    pub fn arrived(tick: u64) -> Self {
        Self { arrived: tick, ..Self::default() }
    }

    /// The store takes it.
    pub fn enters_store(&mut self, tick: u64) {
        if self.first_stored == 0 {
            self.first_stored = tick;
        }
        self.storing_since = tick;
    }

    /// The store has done with it, for now.
    pub fn leaves_store(&mut self, tick: u64) {
        self.in_store += tick.saturating_sub(self.storing_since);
    }

    /// Nanoseconds that the store had it.
    pub const fn in_store(&self) -> u64 {
        self.in_store
    }

    /// Nanoseconds before the store had it first: its turn, a buffer, its data were waited for.
    pub const fn before_store(&self) -> u64 {
        self.first_stored.saturating_sub(self.arrived)
    }

    /// Nanoseconds from its arrival until `tick`.
    pub const fn until(&self, tick: u64) -> u64 {
        tick.saturating_sub(self.arrived)
    }
}

/// A command whose response goes out with this turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// What it was.
    pub operation: Operation,
    /// How it failed, if it did.
    pub failure: Option<Failure>,
    /// Bytes between host and volume.
    pub bytes: u32,
    /// Its first byte in the volume.
    pub at: u64,
    /// Its times.
    pub clock: TaskClock,
}

/// A shard's clock. It is read once when a turn begins and once more at the end of a turn in which
/// a command ended; `K` names a command's target and connection.
#[derive(Debug)]
pub struct Meter<K> {
    born: Instant,
    tick: u64,
    turns: u64,
    ended: Vec<(K, Ended)>,
    slow: u64,
    next_word: u64,
    unsaid: u64,
}

/// Between two lines about slow commands.
const SILENCE: Duration = Duration::from_secs(1);

impl<K> Meter<K> {
    /// From now on. Commands that take `slow` or longer are named; none without it.
    pub fn new(now: Instant, slow: Option<Duration>) -> Self {
        let slow = slow.map_or(u64::MAX, nanoseconds);
        Self { born: now, tick: 0, turns: 0, ended: Vec::new(), slow, next_word: 0, unsaid: 0 }
    }

    /// Nanoseconds since the shard began, as of the beginning of this turn.
    pub const fn tick(&self) -> u64 {
        self.tick
    }

    /// Turns so far.
    pub const fn turns(&self) -> u64 {
        self.turns
    }

    /// A turn begins.
    pub fn begin_turn(&mut self, now: Instant) {
        self.tick = nanoseconds(now.saturating_duration_since(self.born));
        self.turns += 1;
    }

    /// A command's response is due.
    pub fn end(&mut self, of: K, ended: Ended) {
        self.ended.push((of, ended));
    }

    /// Whether any command ended in this turn, so that the time is wanted.
    pub const fn is_owed(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The turn ends: `tell` hears of each command and the nanoseconds that it took, and whether it
    /// is to be named as slow (with how many before it were not).
    pub fn end_turn(&mut self, now: Instant, mut tell: impl FnMut(K, &Ended, u64, Option<u64>)) {
        let tick = nanoseconds(now.saturating_duration_since(self.born));
        for (of, ended) in self.ended.drain(..) {
            let took = ended.clock.until(tick);
            let mut named = None;
            if took >= self.slow {
                if tick >= self.next_word {
                    self.next_word = tick + nanoseconds(SILENCE);
                    named = Some(std::mem::take(&mut self.unsaid));
                } else {
                    self.unsaid += 1;
                }
            }
            tell(of, &ended, took, named);
        }
    }
}

/// 584 years fit.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

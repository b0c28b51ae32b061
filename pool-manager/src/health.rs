//! Which units answer. Pure: time comes in.

use std::time::{Duration, Instant};

/// Units say ALIVE this often.
pub const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// ALIVE missed until a unit is suspect, and until it is down.
const SUSPECT_AFTER: u32 = 3;
const DOWN_AFTER: u32 = 10;

/// What the silence of a unit means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Health {
    Up,
    Suspect,
    Down,
    /// It said SHUTDOWN.
    Left,
}

/// One unit's signs of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pulse {
    /// When it was last heard; for a unit not heard since the station's start, that start: a
    /// station that was away does not blame its units for it.
    since: Instant,
    heard: bool,
    left: bool,
}

impl Pulse {
    /// A unit known from the store, at the station's start.
    pub fn unheard(now: Instant, left: bool) -> Self {
        Self { since: now, heard: false, left }
    }

    pub fn handle_heard(&mut self, now: Instant) {
        *self = Self { since: now, heard: true, left: false };
    }

    pub fn handle_shutdown(&mut self, now: Instant) {
        *self = Self { since: now, heard: true, left: true };
    }

    pub fn health(&self, now: Instant) -> Health {
        let silence = now.saturating_duration_since(self.since);
        match () {
            () if self.left => Health::Left,
            () if silence >= ALIVE_EVERY * DOWN_AFTER => Health::Down,
            () if silence >= ALIVE_EVERY * SUSPECT_AFTER => Health::Suspect,
            () => Health::Up,
        }
    }

    /// How long ago it was heard, if it was heard at all.
    pub fn heard_ago(&self, now: Instant) -> Option<Duration> {
        self.heard.then(|| now.saturating_duration_since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_are_suspect_and_ten_are_down() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pulse = Pulse::unheard(start, false);
        pulse.handle_heard(at(500));
        let table = [
            (500, Health::Up),
            (3_499, Health::Up),
            (3_500, Health::Suspect),
            (10_499, Health::Suspect),
            (10_500, Health::Down),
            (99_000, Health::Down),
        ];
        for (millis, health) in table {
            assert_eq!(pulse.health(at(millis)), health, "at {millis} ms");
        }
        pulse.handle_heard(at(99_000));
        assert_eq!(pulse.health(at(99_000)), Health::Up);
    }

    #[test]
    fn an_orderly_stop_counts_at_once_and_until_it_is_heard_again() {
        let start = Instant::now();
        let mut pulse = Pulse::unheard(start, false);
        pulse.handle_shutdown(start);
        assert_eq!(pulse.health(start), Health::Left);
        assert_eq!(pulse.health(start + Duration::from_secs(60)), Health::Left);
        pulse.handle_heard(start + Duration::from_secs(61));
        assert_eq!(pulse.health(start + Duration::from_secs(61)), Health::Up);
    }

    #[test]
    fn a_station_that_was_away_gives_its_units_time() {
        let start = Instant::now();
        let pulse = Pulse::unheard(start, false);
        assert_eq!(pulse.health(start), Health::Up);
        assert_eq!(pulse.heard_ago(start), None);
        assert_eq!(pulse.health(start + Duration::from_secs(10)), Health::Down);
    }
}

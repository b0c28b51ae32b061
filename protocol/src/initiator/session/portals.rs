//! Where to connect next, and when: the portals in turn, redirects with a bound, back-off with
//! jitter.

use std::time::Duration;

use super::Timing;

/// Redirects followed from one portal before that is called a failure.
const HOPS_MAX: u8 = 4;

#[derive(Clone, Debug)]
pub(super) struct Portals {
    list: Box<[String]>,
    /// Which of the list is in use.
    at: usize,
    /// Moved permanently: used before the list until it fails.
    moved: Option<String>,
    /// Moved for this login only.
    redirected: Option<String>,
    hops: u8,
    /// Attempts in a row that led to nothing.
    failures: u32,
    random: u64,
}

impl Portals {
    /// # Panics
    ///
    /// When `list` is empty.
    pub(super) fn new(list: Vec<String>, seed: u64) -> Self {
        assert!(!list.is_empty(), "a session needs a portal to connect to");
        Self {
            list: list.into(),
            at: 0,
            moved: None,
            redirected: None,
            hops: 0,
            failures: 0,
            random: seed,
        }
    }

    pub(super) fn address(&self) -> &str {
        self.redirected.as_deref().or(self.moved.as_deref()).unwrap_or(&self.list[self.at])
    }

    /// Whether the target is to be looked for elsewhere at once; false after too many hops.
    pub(super) fn on_redirect(&mut self, address: String, permanent: bool) -> bool {
        self.hops += 1;
        if self.hops > HOPS_MAX {
            return false;
        }
        if permanent {
            self.moved = Some(address);
            self.redirected = None;
        } else {
            self.redirected = Some(address);
        }
        true
    }

    /// Whether a redirect led here.
    pub(super) fn is_redirected(&self) -> bool {
        self.redirected.is_some() || self.moved.is_some()
    }

    /// The session works: the next loss is met without delay, at the same portal.
    pub(super) fn on_success(&mut self) {
        self.failures = 0;
        self.hops = 0;
    }

    /// A session that was up is lost. It is looked for where it was first: reinstatement there ends
    /// what it left behind.
    pub(super) fn on_lost(&mut self, timing: &Timing) -> Duration {
        self.redirected = None;
        self.hops = 0;
        self.delay(timing)
    }

    /// An attempt has failed: the next portal is due, after the time returned.
    pub(super) fn on_failure(&mut self, timing: &Timing) -> Duration {
        self.hops = 0;
        if self.redirected.take().is_none() && self.moved.take().is_none() {
            self.at = (self.at + 1) % self.list.len();
        }
        self.delay(timing)
    }

    /// Whether each portal has had its chance since the last success.
    pub(super) fn all_failed(&self) -> bool {
        usize::try_from(self.failures).is_ok_and(|failures| failures >= self.list.len())
    }

    /// Twice as long each time, of which a random half: many hosts lose a unit at the same moment.
    fn delay(&mut self, timing: &Timing) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return Duration::ZERO;
        }
        let doubled = timing.back_off_first.saturating_mul(1 << (failures - 1).min(16));
        let delay = doubled.min(timing.back_off_max);
        delay / 2 + (delay / 2).mul_f64(self.random_fraction())
    }

    /// In 0..1, from the seed that was handed in (SplitMix64).
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "53 bits are what a double holds"
    )]
    pub(super) fn random_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portals() -> Portals {
        Portals::new(vec!["a".into(), "b".into()], 7)
    }

    #[test]
    fn failures_go_round_the_portals_with_growing_bounded_jittered_delays() {
        let timing = Timing::default();
        let mut portals = portals();
        assert_eq!(portals.on_failure(&timing), Duration::ZERO);
        assert_eq!(portals.address(), "b");
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            last = portals.on_failure(&timing);
            assert!(last <= timing.back_off_max);
        }
        assert!(last >= timing.back_off_max / 2);
        assert_ne!(portals.on_failure(&timing), last, "it is jittered");
        portals.on_success();
        assert_eq!(portals.on_lost(&timing), Duration::ZERO);
    }

    #[test]
    fn a_temporary_redirect_serves_one_login_and_a_permanent_one_until_it_fails() {
        let timing = Timing::default();
        let mut portals = portals();
        assert!(portals.on_redirect("x".into(), false));
        assert_eq!(portals.address(), "x");
        portals.on_success();
        portals.on_lost(&timing);
        assert_eq!(portals.address(), "a");
        assert!(portals.on_redirect("y".into(), true));
        portals.on_success();
        portals.on_lost(&timing);
        assert_eq!(portals.address(), "y");
        portals.on_failure(&timing);
        assert_eq!(portals.address(), "a");
    }

    #[test]
    fn hops_are_bounded() {
        let mut portals = portals();
        let followed = (0..100).filter(|_| portals.on_redirect("x".into(), true)).count();
        assert_eq!(followed, usize::from(HOPS_MAX));
    }
}

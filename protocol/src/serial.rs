//! Sequence numbers on the serial circle (RFC 1982, RFC 7143 §4.2.2.1).

use std::fmt;

/// A 32-bit sequence number: CmdSN, StatSN, DataSN or R2TSN. It wraps; it has no total order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Sn(pub u32);

impl Sn {
    /// The number that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `count` further on.
    #[must_use]
    pub const fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// The number `count` back.
    #[must_use]
    pub const fn minus(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// Steps from `earlier` to here, forward on the circle.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether this comes after `other`. Two numbers half a circle apart are in neither order.
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        let distance = self.since(other);
        distance != 0 && distance < 1 << 31
    }

    /// Whether this lies in `first..=last`, going forward. An empty window has `last` before `first`.
    #[must_use]
    pub const fn within(self, first: Self, last: Self) -> bool {
        !first.after(last) && self.since(first) <= last.since(first)
    }
}

impl fmt::Debug for Sn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_number_after_the_last_is_zero() {
        assert_eq!(Sn(u32::MAX).next(), Sn(0));
        assert!(Sn(0).after(Sn(u32::MAX)));
        assert!(!Sn(u32::MAX).after(Sn(0)));
    }

    #[test]
    fn a_window_may_lie_across_the_wrap_and_may_be_empty() {
        let (first, last) = (Sn(u32::MAX - 1), Sn(2));
        for inside in [u32::MAX - 1, u32::MAX, 0, 1, 2] {
            assert!(Sn(inside).within(first, last), "{inside}");
        }
        assert!(!Sn(3).within(first, last));
        assert!(!Sn(u32::MAX - 2).within(first, last));
        assert!(!Sn(5).within(Sn(5), Sn(4)), "an empty window admits nothing");
    }

    proptest! {
        #[test]
        fn order_follows_distance(start: u32, step in 1u32..1 << 31) {
            prop_assert!(Sn(start).plus(step).after(Sn(start)));
            prop_assert!(!Sn(start).after(Sn(start).plus(step)));
            prop_assert_eq!(Sn(start).plus(step).minus(step), Sn(start));
        }
    }
}

//! Sums of space. Pure, and safe from what a unit says of itself: a sum stays at its largest.

use std::iter::Sum;

use crate::unit::UnitView;

/// In bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    pub total: u64,
    /// Held by no volume.
    pub free: u64,
}

impl Space {
    /// Of the media of a unit that outlast its process, failed ones too: what is on them is not gone
    /// for that.
    pub fn lasting(view: &UnitView) -> Self {
        let devices = view.devices.iter().filter(|device| !device.volatile);
        devices.map(|device| Self { total: device.total, free: device.free }).sum()
    }
}

impl Sum for Space {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |all, part| Self {
            total: all.total.saturating_add(part.total),
            free: all.free.saturating_add(part.free),
        })
    }
}

/// Of all parts, in bytes.
pub fn sum(parts: impl Iterator<Item = u64>) -> u64 {
    parts.fold(0, u64::saturating_add)
}

/// Used of `total` bytes, in percent, rounded down; 0 of nothing.
pub fn used_percent(total: u64, free: u64) -> u8 {
    let used = u128::from(total.saturating_sub(free));
    let percent = (used * 100).checked_div(u128::from(total)).unwrap_or(0);
    u8::try_from(percent).expect("a part is at most the whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_what_is_not_free_rounded_down() {
        let table = [
            (0, 0, 0),
            (100, 100, 0),
            (1000, 251, 74),
            (1000, 250, 75),
            (1000, 151, 84),
            (1000, 150, 85),
            (u64::MAX, 0, 100),
            (10, 20, 0),
        ];
        for (total, free, percent) in table {
            assert_eq!(used_percent(total, free), percent, "{free} free of {total}");
        }
        assert_eq!(sum([u64::MAX, 1, 2].into_iter()), u64::MAX);
        assert_eq!(sum([1, 2].into_iter()), 3);
    }
}

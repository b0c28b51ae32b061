//! How full a pool is, and from when on that is worth a word. Pure.

use std::fmt;

/// In the order of concern.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Level {
    #[default]
    Fine,
    /// 75 % is used: time to think of more.
    Filling,
    /// 85 % is used: a unit that fails leaves no room for what was on it.
    NearlyFull,
}

const FILLING: u8 = 75;
const NEARLY_FULL: u8 = 85;

impl Level {
    pub fn of(used_percent: u8) -> Self {
        match used_percent {
            ..FILLING => Self::Fine,
            FILLING..NEARLY_FULL => Self::Filling,
            _ => Self::NearlyFull,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "enough is free",
            Self::Filling => "75 % is used: add a unit or a device soon",
            Self::NearlyFull => "85 % is used: add a unit or a device now",
        })
    }
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
    fn a_word_is_said_from_75_and_from_85_percent_on() {
        let table = [
            (0, 0, 0, Level::Fine),
            (100, 100, 0, Level::Fine),
            (1000, 251, 74, Level::Fine),
            (1000, 250, 75, Level::Filling),
            (1000, 151, 84, Level::Filling),
            (1000, 150, 85, Level::NearlyFull),
            (u64::MAX, 0, 100, Level::NearlyFull),
            (10, 20, 0, Level::Fine),
        ];
        for (total, free, percent, level) in table {
            assert_eq!(used_percent(total, free), percent, "{free} free of {total}");
            assert_eq!(Level::of(percent), level);
        }
    }
}

//! How full a pool is, and from when on that is worth a word.

use std::fmt;

/// In the order of concern.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Fullness {
    #[default]
    Fine,
    /// 75 % is used: time to think of more.
    Filling,
    /// 85 % is used: a unit that fails leaves no room for what was on it.
    NearlyFull,
}

const FILLING: u8 = 75;
const NEARLY_FULL: u8 = 85;

impl Fullness {
    /// Of a pool that is used to so many percent.
    pub fn of(used_percent: u8) -> Self {
        match used_percent {
            ..FILLING => Self::Fine,
            FILLING..NEARLY_FULL => Self::Filling,
            _ => Self::NearlyFull,
        }
    }
}

impl fmt::Display for Fullness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "enough is free",
            Self::Filling => "75 % is used: add a unit or a device soon",
            Self::NearlyFull => "85 % is used: add a unit or a device now",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_said_from_75_and_from_85_percent_on() {
        let table = [
            (0, Fullness::Fine),
            (74, Fullness::Fine),
            (75, Fullness::Filling),
            (84, Fullness::Filling),
            (85, Fullness::NearlyFull),
            (100, Fullness::NearlyFull),
        ];
        for (percent, fullness) in table {
            assert_eq!(Fullness::of(percent), fullness, "{percent} %");
        }
    }
}

//! Sizes as people write them. `K`, `M`, `G`, `T`, `P` and `E`, alone or as `KiB` …, are powers of
//! 1024; `KB` … are powers of 1000; a bare number, or one with `B`, is bytes. On the wire a size
//! is a number of bytes, and strings are accepted.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A number of bytes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = u64, example = 85_899_345_920_u64)]
pub struct Size(pub u64);

/// Why a text is not a size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSize {
    #[error("\"{0}\" is not a size; write for example 80G, 256MiB or 10GB")]
    Malformed(String),
    #[error("unknown unit \"{0}\" in a size; known are B, K, KiB, KB, M, … up to E, EiB, EB")]
    UnknownUnit(String),
    #[error("\"{0}\" is larger than 16 EiB")]
    TooLarge(String),
}

/// No volume can have this size. The text says which can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a volume has from {} to {}, not {}",
    Size::VOLUME_MIN,
    Size::VOLUME_MAX,
    format_args!("{} bytes", .0.0)
)]
pub struct BadVolumeSize(pub Size);

impl Size {
    /// The smallest volume: volumes are made of whole MiB.
    pub const VOLUME_MIN: Self = Self(1 << 20);
    /// The largest volume: further out there are no offsets in files.
    pub const VOLUME_MAX: Self = Self(1 << 63);

    /// The size, if a volume can have it.
    pub fn of_volume(self) -> Result<Self, BadVolumeSize> {
        if (Self::VOLUME_MIN..=Self::VOLUME_MAX).contains(&self) {
            Ok(self)
        } else {
            Err(BadVolumeSize(self))
        }
    }
}

const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let text = text.trim();
        let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits_end);
        let multiplier = multiplier(unit.trim())?;
        bytes(number, multiplier, text).map(Self)
    }
}

fn multiplier(unit: &str) -> Result<u64, BadSize> {
    let upper = unit.to_ascii_uppercase();
    let (prefix, base) = match upper.strip_suffix("IB") {
        Some(prefix) if !prefix.is_empty() => (prefix, 1024),
        _ => match upper.strip_suffix('B') {
            Some(prefix) => (prefix, 1000),
            None => (upper.as_str(), 1024_u64),
        },
    };
    let power = UNITS.iter().position(|known| *known == prefix);
    let power = power.and_then(|power| u32::try_from(power).ok());
    power.map(|power| base.pow(power)).ok_or_else(|| BadSize::UnknownUnit(unit.to_owned()))
}

/// Exact for fractions too: "1.5G" is 1.5 * 2^30, and what is left of a byte is cut off.
fn bytes(number: &str, multiplier: u64, text: &str) -> Result<u64, BadSize> {
    let malformed = || BadSize::Malformed(text.to_owned());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.len() > 9 {
        return Err(malformed());
    }
    let scale = fraction.chars().fold(1_u128, |scale, _| scale * 10);
    let too_large = || BadSize::TooLarge(text.to_owned());
    let digits = |digits: &str| -> Result<u128, BadSize> {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        digits.parse::<u64>().map(u128::from).map_err(|_| too_large())
    };
    let scaled = digits(whole)? * scale + digits(fraction)?;
    let bytes = scaled.checked_mul(u128::from(multiplier)).map(|bytes| bytes / scale);
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(too_large)
}

/// In the largest binary unit that keeps at least one digit before the point.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut power = 0;
        while power + 1 < UNITS.len() && self.0 >> (10 * (power + 1)) > 0 {
            power += 1;
        }
        if power == 0 {
            return write!(f, "{} B", self.0);
        }
        let tenths = (u128::from(self.0) * 10) >> (10 * power);
        let unit = UNITS[power];
        match tenths % 10 {
            0 => write!(f, "{} {unit}iB", tenths / 10),
            tenth => write!(f, "{}.{tenth} {unit}iB", tenths / 10),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text such as \"80G\"")
            }
            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size is not negative"))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_alone_is_binary_and_a_letter_with_b_is_decimal() {
        let table = [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("80G", 80 << 30),
            ("80 GiB", 80 << 30),
            ("256MiB", 256 << 20),
            ("256m", 256 << 20),
            ("10GB", 10_000_000_000),
            ("1.5K", 1536),
            ("0.5kb", 500),
            ("15P", 15 << 50),
            ("8E", 1 << 63),
            ("1EB", 1_000_000_000_000_000_000),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_to_write() {
        for text in ["", "G", "-1G", "1.", ".5G", "1.2.3", "one", "1e9", "1.0000000001G"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert_eq!("1X".parse::<Size>(), Err(BadSize::UnknownUnit("X".into())));
        assert_eq!("1iB".parse::<Size>(), Err(BadSize::UnknownUnit("iB".into())));
        assert_eq!("99999P".parse::<Size>(), Err(BadSize::TooLarge("99999P".into())));
        assert_eq!("16384P".parse::<Size>(), Err(BadSize::TooLarge("16384P".into())));
        assert_eq!("16E".parse::<Size>(), Err(BadSize::TooLarge("16E".into())));
    }

    #[test]
    fn a_size_is_shown_as_it_would_be_written() {
        let table = [(0, "0 B"), (1023, "1023 B"), (1 << 30, "1 GiB"), (1536, "1.5 KiB")];
        for (bytes, text) in table {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(Size(u64::MAX).to_string(), "15.9 EiB");
    }

    #[test]
    fn a_volume_has_from_one_mebibyte_to_eight_exbibytes() {
        for bytes in [1 << 20, (1 << 20) + 1, 1 << 40, 1 << 63] {
            assert_eq!(Size(bytes).of_volume(), Ok(Size(bytes)));
        }
        for bytes in [0, 1, (1 << 20) - 1, (1 << 63) + 1, u64::MAX] {
            assert_eq!(Size(bytes).of_volume(), Err(BadVolumeSize(Size(bytes))));
        }
        let said = BadVolumeSize(Size(1000)).to_string();
        assert_eq!(said, "a volume has from 1 MiB to 8 EiB, not 1000 bytes");
    }

    #[test]
    fn the_wire_carries_bytes_and_accepts_texts() {
        assert_eq!(serde_json::to_string(&Size(1024)).unwrap(), "1024");
        assert_eq!(serde_json::from_str::<Size>("1024").unwrap(), Size(1024));
        assert_eq!(serde_json::from_str::<Size>("\"1K\"").unwrap(), Size(1024));
        assert!(serde_json::from_str::<Size>("-1").is_err());
        assert!(serde_json::from_str::<Size>("1.5").is_err());
    }
}

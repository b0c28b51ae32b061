//! The kinds of value that §6.1 names: numbers, booleans, lists and binary.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};

/// A decimal or `0x` number.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign, which no number of the standard has.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// `Yes` or `No`.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "Yes" => Some(true),
        "No" => Some(false),
        _ => None,
    }
}

/// The values of a list, first preference first.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|value| !value.is_empty())
}

/// `0x` hex or `0b` base64 of at most `len_max` bytes. The length is looked at before decoding.
#[must_use]
pub fn binary(text: &str, len_max: usize) -> Option<Vec<u8>> {
    let (prefix, digits) = text.split_at_checked(2)?;
    let bytes = match prefix {
        "0x" | "0X" if digits.len() <= 2 * len_max => {
            HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?
        }
        "0b" | "0B" if digits.len() <= len_max.div_ceil(3) * 4 => {
            let padded = digits.ends_with('=');
            let encoding = if padded { BASE64 } else { BASE64_NOPAD };
            encoding.decode(digits.as_bytes()).ok()?
        }
        _ => return None,
    };
    (!bytes.is_empty() && bytes.len() <= len_max).then_some(bytes)
}

/// Writes binary as `0x` hex, which every implementation reads.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'b>(pub &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An answer to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'v> {
    /// A number, in decimal.
    Number(u32),
    /// `Yes` or `No`.
    Flag(bool),
    /// Anything else.
    Text(&'v str),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(true) => f.write_str("Yes"),
            Self::Flag(false) => f.write_str("No"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

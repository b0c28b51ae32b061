//! Text: `key=value` pairs closed by NULs, as logins and Text Requests carry them (§6.1).
//!
//! [`TextBuffer`] collects what comes over several PDUs, [`Pairs`] reads it, [`TextQueue`] is
//! written to and cut into PDUs. What the keys mean is in [`TABLE`].

mod negotiate;
mod negotiation;
mod params;
mod send_targets;
mod value;

pub use negotiate::{
    By, Choice, Flag, Number, Row, Rule, Scope, TABLE, Used, and, choice, maximum, minimum, or,
};
pub(crate) use negotiation::is_answer;
pub use negotiation::{Negotiation, NegotiationError, Role};
pub use params::{DigestWish, Offer, Params, SessionType};
pub use send_targets::{
    AddressError, Asked, PortalAddress, TargetRecord, parse_targets, send_targets,
};
pub use value::{Hex, Value, binary, boolean, list, number};

use std::collections::HashSet;
use std::fmt::{Display, Write};

use bytes::{Bytes, BytesMut};
use nom::bytes::complete::{tag, take_till, take_while};
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Parser};

use crate::limits::{
    BINARY_LEN_MAX, KEY_LEN_MAX, PAIRS_MAX, TEXT_LEN_MAX, TEXT_PDUS_MAX, VALUE_LEN_MAX,
};

/// Longest spelling of a binary value: `0x` and two digits a byte.
const BINARY_TEXT_LEN_MAX: usize = 2 + 2 * BINARY_LEN_MAX;

/// Values with a meaning of their own in every negotiation (§6.2).
pub mod reserved {
    /// Nothing of the kind.
    pub const NONE: &str = "None";
    /// The value is not taken.
    pub const REJECT: &str = "Reject";
    /// The key means nothing here.
    pub const IRRELEVANT: &str = "Irrelevant";
    /// The key is unknown.
    pub const NOT_UNDERSTOOD: &str = "NotUnderstood";
}

/// Why a text cannot be read. The peer's fault, always.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextError {
    /// More bytes than one negotiation may have.
    #[error("text of more than {TEXT_LEN_MAX} bytes")]
    TooLong,
    /// The text went on over too many PDUs.
    #[error("text over more than {TEXT_PDUS_MAX} PDUs")]
    TooManyPdus,
    /// More pairs than one text may have.
    #[error("more than {PAIRS_MAX} keys in one text")]
    TooManyPairs,
    /// A pair has no `=`.
    #[error("text without a '='")]
    NoValue,
    /// A key that cannot be one.
    #[error("a key name is empty, too long or has a character that no key has")]
    Key,
    /// A value that is too long, is not UTF-8 or has control characters.
    #[error("key {0} has a value that is too long or is not text")]
    Value(String),
    /// The same key twice.
    #[error("key {0} came twice")]
    Duplicate(String),
}

/// One key and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair<'t> {
    /// The key's name, case as it came.
    pub key: &'t str,
    /// The value, uninterpreted.
    pub value: &'t str,
}

/// The pairs of `text` in their order; duplicates are passed on, as SendTargets answers need. After
/// an error there is no more.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = Result<Pair<'_>, TextError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // An initiator may count padding into its segment: NULs between pairs carry nothing.
        while let [0, tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return None;
        }
        let Ok((tail, (key, value))) = pair(rest) else {
            rest = &[];
            return Some(Err(TextError::NoValue));
        };
        let checked = check_pair(key, value);
        rest = if checked.is_ok() { tail } else { &[] };
        Some(checked)
    })
}

/// The closing NUL of the last pair is not insisted on: where the text ends is known without it.
fn pair(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    let key = take_till(|byte| byte == b'=' || byte == 0);
    let value = take_till(|byte| byte == 0);
    preceded(take_while(|byte| byte == 0), separated_pair(key, tag(&b"="[..]), value)).parse(input)
}

fn check_pair<'t>(key: &'t [u8], value: &'t [u8]) -> Result<Pair<'t>, TextError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+@_#".contains(byte);
    if key.is_empty() || key.len() > KEY_LEN_MAX || !key.iter().all(allowed) {
        return Err(TextError::Key);
    }
    let key = str::from_utf8(key).map_err(|_| TextError::Key)?;
    let binary = matches!(value, [b'0', b'x' | b'X' | b'b' | b'B', ..]);
    let len_max = if binary { BINARY_TEXT_LEN_MAX } else { VALUE_LEN_MAX };
    match str::from_utf8(value) {
        Ok(text) if value.len() <= len_max && !text.chars().any(char::is_control) => {
            Ok(Pair { key, value: text })
        }
        _ => Err(TextError::Value(key.to_owned())),
    }
}

/// A text that was read whole: no key comes twice in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pairs<'t>(Vec<Pair<'t>>);

impl<'t> Pairs<'t> {
    /// Reads `text`.
    pub fn parse(text: &'t [u8]) -> Result<Self, TextError> {
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for pair in pairs(text) {
            let pair = pair?;
            if all.len() == PAIRS_MAX {
                return Err(TextError::TooManyPairs);
            }
            if !seen.insert(pair.key) {
                return Err(TextError::Duplicate(pair.key.to_owned()));
            }
            all.push(pair);
        }
        Ok(Self(all))
    }

    /// The value of `key`, if it came.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'t str> {
        self.0.iter().find(|pair| pair.key == key).map(|pair| pair.value)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Pair<'t>> {
        self.0.iter().copied()
    }
}

/// Collects a text that may come in pieces and over several PDUs (C=1), within bounds.
#[derive(Clone, Debug, Default)]
pub struct TextBuffer {
    bytes: Vec<u8>,
    pdus: u32,
}

impl TextBuffer {
    /// Takes the next bytes of a data segment.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), TextError> {
        if self.bytes.len() + bytes.len() > TEXT_LEN_MAX {
            return Err(TextError::TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// A PDU is over. Gives the whole text unless `more` of it follows in the next PDU.
    pub fn end_of_pdu(&mut self, more: bool) -> Result<Option<Vec<u8>>, TextError> {
        if !more {
            self.pdus = 0;
            return Ok(Some(std::mem::take(&mut self.bytes)));
        }
        self.pdus += 1;
        if self.pdus >= TEXT_PDUS_MAX { Err(TextError::TooManyPdus) } else { Ok(None) }
    }

    /// Whether nothing has been collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Text on its way out: written pair by pair, taken PDU by PDU.
#[derive(Clone, Debug, Default)]
pub struct TextQueue(BytesMut);

impl TextQueue {
    /// Adds a pair.
    pub fn write(&mut self, key: &str, value: impl Display) {
        write!(self.0, "{key}={value}\0").expect("a BytesMut grows as needed");
    }

    /// The next piece, of up to `len_max` bytes, and whether more follows it.
    pub fn next_piece(&mut self, len_max: usize) -> (Bytes, bool) {
        let piece = self.0.split_to(len_max.min(self.0.len())).freeze();
        (piece, !self.0.is_empty())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;

//! Names and numbers that must not be mixed.

use std::fmt;

use crate::limits::NAME_LEN_MAX;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    };
}

number!(
    /// Initiator Task Tag: the initiator's name for a task (§11.2.1.8).
    Itt(u32)
);
number!(
    /// Target Transfer Tag: the target's name for what it asked for (§11.7.4).
    Ttt(u32)
);
number!(
    /// Target Session Identifying Handle; 0 asks for a new session (§11.12.6).
    Tsih(u16)
);
number!(
    /// Connection ID within a session (§11.12.7).
    Cid(u16)
);

impl Itt {
    /// "No task": a NOP that wants no answer, or a PDU of the target's own accord.
    pub const NONE: Self = Self(0xffff_ffff);
}

impl Ttt {
    /// "No transfer": unsolicited data, or a NOP that wants no answer.
    pub const NONE: Self = Self(0xffff_ffff);
}

/// Initiator part of a session identifier, six bytes (§11.12.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Isid(pub [u8; 6]);

/// A logical unit number as the wire has it, eight bytes (SAM-5 §4.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lun(pub u64);

impl Lun {
    /// LUN 0, the only one that a target of ours has.
    pub const ZERO: Self = Self(0);

    /// The number a person would say: peripheral or flat addressing of one level; `None` otherwise.
    #[must_use]
    pub const fn number(self) -> Option<u16> {
        let bytes = self.0.to_be_bytes();
        if self.0 & 0x0000_ffff_ffff_ffff != 0 {
            return None;
        }
        match bytes[0] >> 6 {
            0 if bytes[0] == 0 => Some(bytes[1] as u16),
            1 => Some(((bytes[0] & 0x3f) as u16) << 8 | bytes[1] as u16),
            _ => None,
        }
    }
}

impl fmt::Debug for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "Lun({number})"),
            None => write!(f, "Lun({:#018x})", self.0),
        }
    }
}

/// An iSCSI name in its normal form: `iqn.`, `eui.` or `naa.` (§4.2.7).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IscsiName(Box<str>);

/// Why a text is no iSCSI name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// It is empty or longer than 223 bytes.
    #[error("an iSCSI name has 1 to {NAME_LEN_MAX} bytes")]
    Length,
    /// It starts with none of the three known types.
    #[error("an iSCSI name starts with iqn., eui. or naa.")]
    Type,
    /// A character that a normalised name cannot have.
    #[error("an iSCSI name has only letters, digits, '-', '.' and ':'")]
    Character,
}

impl IscsiName {
    /// Checks `text` and folds it to lower case, which is what stringprep does to ASCII (§4.2.7.2).
    /// Characters beyond ASCII are kept as they come, except controls and white space.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > NAME_LEN_MAX {
            return Err(NameError::Length);
        }
        let allowed = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | ':' => true,
            _ => !c.is_ascii() && !c.is_control() && !c.is_whitespace(),
        };
        if !text.chars().all(allowed) {
            return Err(NameError::Character);
        }
        let folded: String = text.chars().map(|c| c.to_ascii_lowercase()).collect();
        let (kind, rest) = folded.split_at_checked(4).ok_or(NameError::Type)?;
        let hex = |len: &[usize]| {
            len.contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let right = match kind {
            "iqn." => !rest.is_empty(),
            "eui." => hex(&[16]),
            "naa." => hex(&[16, 32]),
            _ => false,
        };
        if right { Ok(Self(folded.into_boxed_str())) } else { Err(NameError::Type) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for IscsiName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// A task of one connection: a slot of its task table, and which use of that slot.
///
/// The shell may index its own table by `slot`; the generation tells a late answer from a live one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// Index, dense from 0, below `TASKS_MAX` plus `IMMEDIATE_MAX`.
    pub slot: u16,
    /// Counts the uses of the slot, modulo 2^16.
    pub generation: u16,
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}.{}", self.slot, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_folded() {
        let name = IscsiName::new("IQN.2026-11.Local.outband:pool:vol-1").unwrap();
        assert_eq!(name.as_str(), "iqn.2026-11.local.outband:pool:vol-1");
        assert!(IscsiName::new("eui.02004567A425678D").is_ok());
        assert!(IscsiName::new("naa.52004567BA64678D").is_ok());
        for (text, why) in [
            ("", NameError::Length),
            ("iqn.", NameError::Type),
            ("foo.2026", NameError::Type),
            ("eui.0200", NameError::Type),
            ("iqn.2026-11.a b", NameError::Character),
            ("iqn.2026-11.a\n", NameError::Character),
            ("iqn.2026-11.a/../b", NameError::Character),
        ] {
            assert_eq!(IscsiName::new(text), Err(why), "{text:?}");
        }
        assert_eq!(IscsiName::new(&format!("iqn.{}", "a".repeat(220))), Err(NameError::Length));
    }

    #[test]
    fn luns_of_one_level_have_a_number() {
        assert_eq!(Lun(0).number(), Some(0));
        assert_eq!(Lun(5 << 48).number(), Some(5));
        assert_eq!(Lun(0x4105 << 48).number(), Some(0x105));
        assert_eq!(Lun(0xc101_0000_0000_0000).number(), None);
        assert_eq!(Lun(1).number(), None);
    }
}

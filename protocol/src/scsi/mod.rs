//! SCSI formats (SAM-5, SPC-4, SBC-3): command blocks, sense, and the parameter data of the
//! commands a disk answers. Used by both ends. Nothing here decides what a command does.

pub mod capacity;
pub mod cdb;
pub mod copy;
pub mod format;
pub mod inquiry;
pub mod lba_status;
pub mod log;
pub mod luns;
pub mod mode;
pub mod port_groups;
pub mod reserve;
pub mod sanitize;
pub mod sense;
pub mod supported;
pub mod unmap;

pub use self::cdb::Cdb;
pub use self::sense::Sense;

/// How a command ended (SAM-5 §5.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// It did what was asked.
    Good,
    /// It did not, and sense data says why.
    CheckCondition,
    /// A PRE-FETCH found room.
    ConditionMet,
    /// Try again later.
    Busy,
    /// A reservation of another nexus is in the way.
    ReservationConflict,
    /// No room for one more command.
    TaskSetFull,
    /// Auto contingent allegiance; never sent by a unit, because NACA is refused.
    AcaActive,
    /// Ended by another nexus, with TAS set in the control mode page.
    TaskAborted,
}

impl Status {
    /// The status code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Good => 0x00,
            Self::CheckCondition => 0x02,
            Self::ConditionMet => 0x04,
            Self::Busy => 0x08,
            Self::ReservationConflict => 0x18,
            Self::TaskSetFull => 0x28,
            Self::AcaActive => 0x30,
            Self::TaskAborted => 0x40,
        }
    }

    /// The status of a code; obsolete and reserved codes have none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x00 => Self::Good,
            0x02 => Self::CheckCondition,
            0x04 => Self::ConditionMet,
            0x08 => Self::Busy,
            0x18 => Self::ReservationConflict,
            0x28 => Self::TaskSetFull,
            0x30 => Self::AcaActive,
            0x40 => Self::TaskAborted,
            _ => return None,
        })
    }
}

/// Parameter data that is too short or contradicts itself; the name says which.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

// Big-endian fields at a position. The caller has checked the length.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}

/// Sets the two-byte length at `at` to what follows it; for parameter data that was just built.
fn put_length_u16(data: &mut [u8], at: usize) {
    let len = u16::try_from(data.len() - at - 2).expect("parameter data built here is short");
    put(data, at, len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_come_back_as_what_they_were() {
        for code in 0..=u8::MAX {
            assert!(Status::from_code(code).is_none_or(|status| status.code() == code));
        }
        assert_eq!(Status::from_code(0x28), Some(Status::TaskSetFull));
        assert_eq!(Status::from_code(0x10), None);
    }
}

//! SANITIZE (SBC-3 §5.21): its fields. What is done with them is the logical unit's.

use crate::scsi::{put, u16_at};

/// The fields of SANITIZE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sanitize {
    /// SERVICE ACTION.
    pub action: u8,
    /// The answer comes when it has begun.
    pub immed: bool,
    /// AUSE: the failed state may be left without success.
    pub unrestricted: bool,
    /// PARAMETER LIST LENGTH.
    pub len: u16,
}

pub(super) fn parse(cdb: &[u8; 16]) -> Sanitize {
    Sanitize {
        action: cdb[1] & 0x1F,
        immed: cdb[1] & 0x80 != 0,
        unrestricted: cdb[1] & 0x20 != 0,
        len: u16_at(cdb, 7),
    }
}

pub(super) fn build(cdb: &mut [u8; 16], fields: &Sanitize) {
    cdb[1] =
        u8::from(fields.immed) << 7 | u8::from(fields.unrestricted) << 5 | fields.action & 0x1F;
    put(cdb, 7, fields.len.to_be_bytes());
}

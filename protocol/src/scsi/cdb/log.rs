//! LOG SENSE (SPC-4 §6.6): asks for what a device has counted and noted.

use super::{put, u16_at};

/// The fields of LOG SENSE.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogSense {
    /// SP: keep the values over power loss.
    pub save: bool,
    /// PC, two bits: thresholds or what was counted, now or by default.
    pub control: u8,
    /// PAGE CODE.
    pub page: u8,
    /// SUBPAGE CODE.
    pub subpage: u8,
    /// PARAMETER POINTER: the first parameter that is asked for.
    pub parameter: u16,
    /// At most this much is sent.
    pub allocation: u16,
}

impl LogSense {
    pub(super) fn parse(cdb: &[u8; 16]) -> Self {
        Self {
            save: cdb[1] & 0x01 != 0,
            control: cdb[2] >> 6,
            page: cdb[2] & 0x3F,
            subpage: cdb[3],
            parameter: u16_at(cdb, 5),
            allocation: u16_at(cdb, 7),
        }
    }

    pub(super) fn build(&self, cdb: &mut [u8; 16]) {
        cdb[1] = u8::from(self.save);
        cdb[2] = self.control << 6 | self.page & 0x3F;
        cdb[3] = self.subpage;
        put(cdb, 5, self.parameter.to_be_bytes());
        put(cdb, 7, self.allocation.to_be_bytes());
    }
}

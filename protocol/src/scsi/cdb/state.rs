//! START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL (SBC-3 §5.25, §5.14): the state of the medium.

use super::Cdb;

/// The fields of START STOP UNIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StartStop {
    /// IMMED: the answer may come before it is done.
    pub immed: bool,
    /// POWER CONDITION; 0 means that START and LOEJ say what is wanted.
    pub power_condition: u8,
    /// NO_FLUSH: a cache need not be written to the medium first.
    pub no_flush: bool,
    /// LOEJ: load or eject.
    pub load_eject: bool,
    /// START.
    pub start: bool,
}

/// Where POWER CONDITION, NO_FLUSH, LOEJ and START are.
pub const START_STOP_FLAGS_AT: u16 = 4;

pub(super) fn parse_start_stop(cdb: &[u8; 16]) -> Cdb {
    Cdb::StartStopUnit(StartStop {
        immed: cdb[1] & 0x01 != 0,
        power_condition: cdb[4] >> 4,
        no_flush: cdb[4] & 0x04 != 0,
        load_eject: cdb[4] & 0x02 != 0,
        start: cdb[4] & 0x01 != 0,
    })
}

pub(super) fn build_start_stop(cdb: &mut [u8; 16], fields: &StartStop) {
    cdb[1] = u8::from(fields.immed);
    cdb[4] = fields.power_condition << 4
        | u8::from(fields.no_flush) << 2
        | u8::from(fields.load_eject) << 1
        | u8::from(fields.start);
}

//! START STOP UNIT (SBC-3 §5.25) and SEND DIAGNOSTIC (SPC-4 §6.42): the state of the device.

use super::{Cdb, put, u16_at};

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

/// The fields of SEND DIAGNOSTIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendDiagnostic {
    /// SELF-TEST CODE; 0 leaves it to SELFTEST.
    pub code: u8,
    /// PF: the list is in the standard's format.
    pub page_format: bool,
    /// SELFTEST: the default self-test.
    pub self_test: bool,
    /// DEVOFFL and UNITOFFL: the test may disturb others.
    pub offline: u8,
    /// PARAMETER LIST LENGTH.
    pub len: u16,
}

pub(super) fn parse_diagnostic(cdb: &[u8; 16]) -> Cdb {
    Cdb::SendDiagnostic(SendDiagnostic {
        code: cdb[1] >> 5,
        page_format: cdb[1] & 0x10 != 0,
        self_test: cdb[1] & 0x04 != 0,
        offline: cdb[1] & 0x03,
        len: u16_at(cdb, 3),
    })
}

pub(super) fn build_diagnostic(cdb: &mut [u8; 16], fields: &SendDiagnostic) {
    cdb[1] = fields.code << 5
        | u8::from(fields.page_format) << 4
        | u8::from(fields.self_test) << 2
        | fields.offline & 0x03;
    put(cdb, 3, fields.len.to_be_bytes());
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

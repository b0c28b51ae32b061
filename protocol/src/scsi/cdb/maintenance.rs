//! MAINTENANCE IN: what a logical unit can do and how it is reached (SPC-4 §6.35 to §6.37).

use super::{Cdb, put, u16_at, u32_at};
use crate::scsi::sense::{INVALID_FIELD_IN_CDB, Sense};

/// Service actions of MAINTENANCE IN.
const REPORT_TARGET_PORT_GROUPS: u8 = 0x0A;
const REPORT_SUPPORTED_OPCODES: u8 = 0x0C;
const REPORT_SUPPORTED_TASK_MANAGEMENT: u8 = 0x0D;

/// PARAMETER DATA FORMAT 1 of REPORT TARGET PORT GROUPS, in byte 1.
const EXTENDED_HEADER: u8 = 0x20;

/// The fields of REPORT SUPPORTED OPERATION CODES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SupportedOpcodes {
    /// RCTD: with timeouts.
    pub timeouts: bool,
    /// REPORTING OPTIONS.
    pub which: Which,
    /// At most this much is sent.
    pub allocation: u32,
}

/// Which commands are asked about (REPORTING OPTIONS).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All.
    All,
    /// The one of this operation code, which has no service actions.
    Opcode(u8),
    /// The one of this operation code and service action.
    Action(u8, u16),
    /// The one of this operation code, and of this service action if the code has any (SPC-5).
    Either(u8, u16),
}

pub(super) fn parse(cdb: &[u8; 16]) -> Result<Cdb, Sense> {
    let allocation = u32_at(cdb, 6);
    let flag = cdb[2] & 0x80 != 0;
    match cdb[1] & 0x1F {
        REPORT_SUPPORTED_TASK_MANAGEMENT => {
            Ok(Cdb::ReportSupportedTaskManagement { extended: flag, allocation })
        }
        REPORT_TARGET_PORT_GROUPS => {
            let extended = cdb[1] & EXTENDED_HEADER != 0;
            Ok(Cdb::ReportTargetPortGroups { extended, allocation })
        }
        _ => {
            let (opcode, action) = (cdb[3], u16_at(cdb, 4));
            let which = match cdb[2] & 0x07 {
                0 => Which::All,
                1 => Which::Opcode(opcode),
                2 => Which::Action(opcode, action),
                3 => Which::Either(opcode, action),
                _ => return Err(INVALID_FIELD_IN_CDB.at_cdb(2, Some(2))),
            };
            Ok(Cdb::ReportSupportedOpcodes(SupportedOpcodes { timeouts: flag, which, allocation }))
        }
    }
}

pub(super) fn build_supported(cdb: &mut [u8; 16], fields: &SupportedOpcodes) {
    let (options, opcode, action) = match fields.which {
        Which::All => (0, 0, 0),
        Which::Opcode(opcode) => (1, opcode, 0),
        Which::Action(opcode, action) => (2, opcode, action),
        Which::Either(opcode, action) => (3, opcode, action),
    };
    cdb[1] = REPORT_SUPPORTED_OPCODES;
    cdb[2] = u8::from(fields.timeouts) << 7 | options;
    cdb[3] = opcode;
    put(cdb, 4, action.to_be_bytes());
    put(cdb, 6, fields.allocation.to_be_bytes());
}

pub(super) fn build_port_groups(cdb: &mut [u8; 16], extended: bool, allocation: u32) {
    cdb[1] = REPORT_TARGET_PORT_GROUPS | if extended { EXTENDED_HEADER } else { 0 };
    put(cdb, 6, allocation.to_be_bytes());
}

pub(super) fn build_task_management(cdb: &mut [u8; 16], extended: bool, allocation: u32) {
    cdb[1] = REPORT_SUPPORTED_TASK_MANAGEMENT;
    cdb[2] = u8::from(extended) << 7;
    put(cdb, 6, allocation.to_be_bytes());
}

//! The state of the medium and the way to it: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, SEND
//! DIAGNOSTIC, REPORT TARGET PORT GROUPS.

use outband_protocol::scsi::cdb::{START_STOP_FLAGS_AT, SendDiagnostic, StartStop, opcode};
use outband_protocol::scsi::port_groups::{self, ACTIVE_OPTIMIZED_KNOWN, AccessState, PortGroup};
use outband_protocol::scsi::sense::{INVALID_FIELD_IN_CDB, Sense};

use super::{LogicalUnit, Plan, Reply};

/// POWER CONDITION values that a medium without power conditions can be told: to go by START, to be
/// active, and to see to it itself (LU_CONTROL).
const START_VALID: u8 = 0x0;
const ACTIVE: u8 = 0x1;
const LU_CONTROL: u8 = 0x7;

/// What runs while the unit is stopped: commands that ask or change the device, not the medium
/// (SBC-3 §4.20.1). Whatever is not named here needs the medium.
pub(super) const fn runs_while_stopped(opcode: u8) -> bool {
    matches!(
        opcode,
        opcode::INQUIRY
            | opcode::REQUEST_SENSE
            | opcode::REPORT_LUNS
            | opcode::LOG_SENSE
            | opcode::MODE_SENSE_6
            | opcode::MODE_SENSE_10
            | opcode::MODE_SELECT_6
            | opcode::MODE_SELECT_10
            | opcode::RESERVE_6
            | opcode::RELEASE_6
            | opcode::PERSISTENT_RESERVE_IN
            | opcode::PERSISTENT_RESERVE_OUT
            | opcode::START_STOP_UNIT
            | opcode::PREVENT_ALLOW_MEDIUM_REMOVAL
            | opcode::READ_CAPACITY_10
            | opcode::SERVICE_ACTION_IN_16
            | opcode::MAINTENANCE_IN
    )
}

/// The medium cannot be removed anyway (RMB=0), so both values are granted; the others are obsolete.
pub(super) fn prevent_removal(prevent: u8) -> Result<Plan, Sense> {
    if prevent > 1 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(4, Some(1)));
    }
    Ok(Reply::good().into())
}

/// The default self-test finds nothing wrong: whatever is, commands are told of. There are no other tests,
/// and no pages to be sent (SPC-4 §6.42).
pub(super) fn send_diagnostic(fields: &SendDiagnostic) -> Result<Plan, Sense> {
    if fields.code != 0 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(7)));
    }
    if fields.len != 0 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(3, None));
    }
    Ok(Reply::good().into())
}

impl LogicalUnit {
    /// START STOP UNIT (SBC-3 §5.25). A medium that is fixed is neither loaded nor ejected.
    pub(super) fn start_stop(&mut self, fields: &StartStop) -> Result<Plan, Sense> {
        let at = |bit| INVALID_FIELD_IN_CDB.at_cdb(START_STOP_FLAGS_AT, Some(bit));
        let start = match fields.power_condition {
            START_VALID if fields.load_eject => return Err(at(1)),
            START_VALID => fields.start,
            // With a power condition, START and LOEJ are not looked at.
            ACTIVE | LU_CONTROL => true,
            _ => return Err(at(7)),
        };
        let stops = !start && !self.stopped;
        self.stopped = !start;
        // What the cache has is written before the medium stands still.
        Ok(if stops && !fields.no_flush { Plan::Flush } else { Reply::good().into() })
    }

    /// One group of all ports: every portal of the target leads to the same shard, equally well.
    pub(super) fn target_port_groups(&self, extended: bool, allocation: u32) -> Plan {
        let group = PortGroup {
            group: self.config.port.group,
            preferred: false,
            state: AccessState::ActiveOptimized,
            states: ACTIVE_OPTIMIZED_KNOWN,
            ports: self.ports().map(|port| port.relative).collect(),
        };
        Reply::data(port_groups::report(&[group], extended), allocation).into()
    }
}

//! REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 §6.35,
//! §6.36): the table of commands, without those this volume cannot carry out.

use outband_protocol::scsi::cdb::usage::{self, COMMANDS, Usage};
use outband_protocol::scsi::cdb::{SupportedOpcodes, Which, opcode};
use outband_protocol::scsi::sense::{INVALID_FIELD_IN_CDB, Sense};
use outband_protocol::scsi::supported;

use super::{LogicalUnit, Plan, Reply};

/// The functions are the transport's; which they are does not depend on the volume.
pub(super) fn task_management(extended: bool, allocation: u32) -> Result<Plan, Sense> {
    // Room for the fixed part is the least (SPC-4 §6.36).
    if allocation < 4 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(6, None));
    }
    Ok(Reply::data(supported::task_management(extended), allocation).into())
}

impl LogicalUnit {
    pub(super) fn supported_opcodes(&self, fields: &SupportedOpcodes) -> Result<Plan, Sense> {
        let offered = |usage: &&Usage| self.offers(usage);
        let one = |usage: Option<&'static Usage>| {
            supported::one_command(usage.filter(offered), fields.timeouts)
        };
        let has_actions =
            |opcode| usage::rows(opcode).next().is_some_and(|row| row.service_action.is_some());
        let has_none = |opcode| usage::find(opcode, None).is_some();
        let action = |action: u16| u8::try_from(action).ok();
        // An option that does not fit the operation code is refused (SPC-4 §6.35.1).
        let unfit = INVALID_FIELD_IN_CDB.at_cdb(2, Some(2));
        let data = match fields.which {
            Which::All => supported::all_commands(COMMANDS.iter().filter(offered), fields.timeouts),
            Which::Opcode(opcode) if has_actions(opcode) => return Err(unfit),
            Which::Opcode(opcode) => one(usage::find(opcode, None)),
            Which::Action(opcode, _) if has_none(opcode) => return Err(unfit),
            Which::Either(opcode, 0) if has_none(opcode) => one(usage::find(opcode, None)),
            Which::Action(opcode, wanted) | Which::Either(opcode, wanted) => {
                one(action(wanted).and_then(|wanted| usage::find(opcode, Some(wanted))))
            }
        };
        Ok(Reply::data(data, fields.allocation).into())
    }

    /// Whether this volume carries out a command that the table has.
    fn offers(&self, usage: &Usage) -> bool {
        match usage.opcode() {
            opcode::UNMAP => self.config.unmap,
            opcode::SANITIZE | opcode::FORMAT_UNIT => self.config.sanitize,
            opcode::WRITE_ATOMIC_16 => self.config.atomic,
            _ => true,
        }
    }
}

//! FORMAT UNIT (SBC-3 §5.3): all blocks of the medium, without defects and without protection
//! information, as they were when the volume was new or with the pattern that is sent.

use outband_protocol::scsi::cdb::{Cdb, FormatUnit};
use outband_protocol::scsi::format::{Format, list_len_max};
use outband_protocol::scsi::sanitize::Overwrite;
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_OPCODE, PARAMETER_LIST_LENGTH_ERROR, Sense,
};

use super::{LogicalUnit, Plan, Wipe, Wiping};

/// The first DEFECT LIST FORMAT that is the vendor's or reserved.
const FORMATS_END: u8 = 6;

impl LogicalUnit {
    pub(super) fn format_unit(
        &mut self,
        cdb: Cdb,
        fields: &FormatUnit,
        offered: u32,
    ) -> Result<Plan, Sense> {
        if !self.config.sanitize {
            return Err(INVALID_OPCODE);
        }
        if fields.protect != 0 {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(7)));
        }
        // Without a list it has no format; with one, which is empty, it does not matter which.
        if fields.defect_format >= if fields.has_list { FORMATS_END } else { 1 } {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(2)));
        }
        self.check_writable()?;
        if !fields.has_list {
            return Ok(plan(Format::default(), 0));
        }
        // Nothing in the command says how long the list is: it is what the host has, within bounds.
        let len = offered.min(list_len_max(self.config.block_size));
        if len < fields.header_len().into() {
            return Err(PARAMETER_LIST_LENGTH_ERROR);
        }
        Ok(Plan::Parameters { cdb, len })
    }

    pub(super) fn format_list(&mut self, fields: &FormatUnit, list: &[u8]) -> Result<Plan, Sense> {
        let (format, len) = Format::parse(list, fields, self.config.block_size)?;
        self.check_writable()?;
        Ok(plan(format, len as u64))
    }
}

fn plan(format: Format, wanted: u64) -> Plan {
    let wipe = match format.pattern {
        Some(pattern) => Wipe::Overwrite(Overwrite { invert: false, count: 1, pattern }),
        None => Wipe::Erase,
    };
    Plan::Wipe { by: Wiping::Format, wipe, immediate: format.immed, wanted }
}

//! Commands that change blocks by what they are (SBC-4): COMPARE AND WRITE, ORWRITE. Each is one
//! uninterrupted series of a read and a write.

use outband_protocol::scsi::cdb::{Cdb, Transfer};
use outband_protocol::scsi::sense::{INVALID_FIELD_IN_CDB, Sense};

use super::sbc::check_protect;
use super::{LogicalUnit, Plan, Reply};

/// Bytes of COMPARE AND WRITE's two halves together: one buffer.
const HALVES_MAX: u32 = 1 << 20;

impl LogicalUnit {
    /// MAXIMUM COMPARE AND WRITE LENGTH, in blocks: what its one byte counts, or fits a buffer.
    pub(super) fn compare_and_write_max(&self) -> u8 {
        u8::try_from(HALVES_MAX / 2 / self.config.block_size).unwrap_or(u8::MAX)
    }

    /// The blocks to compare with are sent first, and then as many to write. It is done whole or
    /// not at all, so that NUMBER OF LOGICAL BLOCKS must be exactly for what is offered.
    pub(super) fn compare_and_write(
        &self,
        cdb: &Cdb,
        fields: &Transfer,
        offered: u32,
    ) -> Result<Plan, Sense> {
        check_protect(fields.protect)?;
        if fields.blocks > self.compare_and_write_max().into() {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(cdb.length_at(), None));
        }
        self.check_range(cdb, fields.lba, fields.blocks)?;
        self.check_writable()?;
        let (lba, blocks) = (fields.lba, fields.blocks);
        let wanted = 2 * u64::from(blocks) * u64::from(self.config.block_size);
        if u64::from(offered) != wanted {
            let sense = INVALID_FIELD_IN_CDB.at_cdb(cdb.length_at(), None);
            return Ok(Reply { wanted, ..Reply::check(sense) }.into());
        }
        if blocks == 0 {
            return Ok(Reply::good().into());
        }
        Ok(Plan::CompareAndWrite { lba, blocks, durable: self.is_durable(fields.fua) })
    }

    pub(super) fn or_write(
        &self,
        cdb: &Cdb,
        fields: &Transfer,
        offered: u32,
    ) -> Result<Plan, Sense> {
        Ok(match self.write(cdb, fields, offered)? {
            Plan::Write { lba, blocks, durable, wanted } => {
                Plan::OrWrite { lba, blocks, durable, wanted }
            }
            ended => ended,
        })
    }
}

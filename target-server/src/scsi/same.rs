//! WRITE SAME (SBC-4): one block many times, and with it UNMAP's twin.

use outband_protocol::scsi::cdb::{Cdb, WriteSame};
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_INFORMATION_UNIT, Sense,
};

use super::sbc::{TRANSFER_MAX, check_protect};
use super::{LogicalUnit, Plan, Reply};

/// MAXIMUM WRITE SAME LENGTH in bytes: bounds how long one command keeps the device busy, to what a
/// WRITE may.
const BYTES_MAX: u64 = TRANSFER_MAX as u64;

impl LogicalUnit {
    /// MAXIMUM WRITE SAME LENGTH, in blocks.
    pub(super) fn write_same_max(&self) -> u64 {
        BYTES_MAX / u64::from(self.config.block_size)
    }

    pub(super) fn write_same(
        &self,
        cdb: &Cdb,
        fields: &WriteSame,
        offered: u32,
    ) -> Result<Plan, Sense> {
        check_protect(fields.protect)?;
        // Anchored blocks are not offered (ANC_SUP=0), with UNMAP or without.
        if fields.anchor {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(4)));
        }
        if fields.unmap && !self.config.unmap {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(3)));
        }
        let range = self.same_range(cdb, fields)?;
        self.check_writable()?;
        if fields.no_data {
            return Ok(Plan::Zero { ranges: vec![range], unmap: fields.unmap });
        }
        let len = self.config.block_size;
        if offered != len {
            // One block, neither a part of it nor more, is what there is to be repeated.
            let sense = INVALID_FIELD_IN_INFORMATION_UNIT;
            return Ok(Reply { wanted: len.into(), ..Reply::check(sense) }.into());
        }
        Ok(Plan::Parameters { cdb: *cdb, len })
    }

    /// The block is here. Zeros need not be written one by one; and only zeros are what unmapped
    /// blocks read as (LBPRZ), so that another block is written even with UNMAP.
    pub(super) fn write_same_block(
        &self,
        cdb: &Cdb,
        fields: &WriteSame,
        block: &[u8],
    ) -> Result<Plan, Sense> {
        self.check_writable()?;
        let range = self.same_range(cdb, fields)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Plan::Zero { ranges: vec![range], unmap: fields.unmap });
        }
        let blocks = u32::try_from(range.1).expect("at most MAXIMUM WRITE SAME LENGTH");
        Ok(Plan::Fill { lba: range.0, blocks, block: block.to_vec() })
    }

    /// No number of blocks would mean to the end of the medium, which is too much to ask for by
    /// leaving something out: it is refused, and WSNZ=1 says so.
    fn same_range(&self, cdb: &Cdb, fields: &WriteSame) -> Result<(u64, u64), Sense> {
        self.check_range(cdb, fields.lba, fields.blocks)?;
        let blocks = u64::from(fields.blocks);
        if blocks == 0 || blocks > self.write_same_max() {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(cdb.length_at(), None));
        }
        Ok((fields.lba, blocks))
    }
}

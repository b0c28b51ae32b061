//! VERIFY and WRITE AND VERIFY (SBC-4): is the medium readable, and does it hold what was sent?

use outband_protocol::scsi::cdb::{ByteCheck, Cdb, Transfer, Verify};
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_INFORMATION_UNIT, Sense,
};

use super::sbc::check_protect;
use super::{LogicalUnit, Plan, Reply};

/// BYTCHK.
const BYTE_CHECK: Sense = INVALID_FIELD_IN_CDB.at_cdb(1, Some(2));

impl LogicalUnit {
    pub(super) fn verify(&self, cdb: &Cdb, fields: &Verify, offered: u32) -> Result<Plan, Sense> {
        check_protect(fields.protect)?;
        if fields.check == ByteCheck::Reserved {
            return Err(BYTE_CHECK);
        }
        self.check_transfer(cdb, fields.lba, fields.blocks)?;
        let (lba, blocks) = (fields.lba, fields.blocks);
        if blocks == 0 {
            return Ok(Reply::good().into());
        }
        let block_size = self.config.block_size;
        let sent = match fields.check {
            ByteCheck::Medium | ByteCheck::Reserved => 0,
            ByteCheck::Compare => blocks,
            ByteCheck::CompareOne => 1,
        };
        let wanted = u64::from(sent) * u64::from(block_size);
        if u64::from(offered) < wanted {
            // There is no such thing as blocks that are partly equal.
            let sense = INVALID_FIELD_IN_INFORMATION_UNIT;
            return Ok(Reply { wanted, ..Reply::check(sense) }.into());
        }
        Ok(match fields.check {
            ByteCheck::CompareOne => Plan::Parameters { cdb: *cdb, len: block_size },
            check => Plan::Verify { lba, blocks, compare: check == ByteCheck::Compare },
        })
    }

    /// The one block that every block must equal is here.
    pub(super) fn verify_each(&self, fields: &Verify, block: &[u8]) -> Plan {
        let (lba, blocks) = (fields.lba, fields.blocks);
        Plan::VerifyEach { lba, blocks, block: block.to_vec() }
    }

    /// What cannot be written cannot be verified: everything that holds for a WRITE holds here.
    /// Nothing is to be said from a cache, so the blocks are on the medium before they are read.
    pub(super) fn write_and_verify(
        &self,
        cdb: &Cdb,
        fields: &Verify,
        offered: u32,
    ) -> Result<Plan, Sense> {
        let compare = match fields.check {
            ByteCheck::Medium => false,
            ByteCheck::Compare => true,
            ByteCheck::Reserved | ByteCheck::CompareOne => return Err(BYTE_CHECK),
        };
        let Verify { lba, blocks, protect, dpo, .. } = *fields;
        let transfer = Transfer { lba, blocks, protect, dpo, fua: true };
        Ok(match self.write(cdb, &transfer, offered)? {
            Plan::Write { lba, blocks, wanted, .. } => {
                Plan::WriteAndVerify { lba, blocks, compare, wanted }
            }
            ended => ended,
        })
    }
}

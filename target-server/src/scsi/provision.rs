//! GET LBA STATUS (SBC-4): which blocks have room behind them.

use outband_protocol::scsi::cdb::Cdb;
use outband_protocol::scsi::lba_status::{self, Descriptor, Provisioning};
use outband_protocol::scsi::sense::{LBA_OUT_OF_RANGE, Sense};

use super::{LogicalUnit, Plan, Reply};

impl LogicalUnit {
    pub(super) fn lba_status(&self, cdb: &Cdb, lba: u64, allocation: u32) -> Result<Plan, Sense> {
        if lba >= self.config.blocks {
            return Err(LBA_OUT_OF_RANGE.at_cdb(cdb.lba_at(), None));
        }
        let blocks = u32::try_from(self.config.blocks - lba).unwrap_or(u32::MAX);
        let all = Descriptor { lba, blocks, status: Provisioning::Mapped };
        Ok(Reply::data(lba_status::build(&[all]), allocation).into())
    }
}

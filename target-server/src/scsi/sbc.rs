//! Commands of a disk (SBC-3): READ, WRITE, SYNCHRONIZE CACHE, PRE-FETCH, UNMAP, READ CAPACITY.

use outband_protocol::scsi::capacity::Capacity;
use outband_protocol::scsi::cdb::{Cdb, Synchronize, Transfer, WriteAtomic};
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_INFORMATION_UNIT, INVALID_FIELD_IN_LIST, INVALID_OPCODE,
    LBA_OUT_OF_RANGE, Sense, WRITE_ERROR, WRITE_PROTECTED,
};
use outband_protocol::scsi::unmap;
use outband_protocol::seeded::{self, Bug};

use super::{LogicalUnit, Plan, Reply};

/// MAXIMUM TRANSFER LENGTH in bytes: what one command may hold of the buffer pool.
pub(super) const TRANSFER_MAX: u32 = 16 << 20;
/// OPTIMAL TRANSFER LENGTH in bytes: one burst, MaxBurstLength by default.
pub(super) const TRANSFER_OPTIMAL: u32 = 1 << 20;
/// MAXIMUM ATOMIC TRANSFER LENGTH in bytes: what an intent has room for.
pub(super) const ATOMIC_MAX: u32 = 128 << 10;
/// MAXIMUM UNMAP LBA COUNT: bounds how long one UNMAP keeps the device busy.
pub(super) const UNMAP_BLOCKS_MAX: u32 = 1 << 20;
/// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
pub(super) const UNMAP_EXTENTS_MAX: u32 = 256;

impl LogicalUnit {
    pub(super) fn capacity(&self) -> Capacity {
        let (physical, block) = (self.config.physical_block_size, self.config.block_size);
        let exponent = (physical / block).max(1).ilog2();
        Capacity {
            blocks: self.config.blocks,
            block_size: block,
            physical_exponent: u8::try_from(exponent).expect("a logarithm of 32 bits is small"),
            lowest_aligned: u16::try_from(self.first_aligned(physical)).unwrap_or(0),
            provisioned: self.config.unmap,
            unmapped_reads_zeros: self.config.unmap,
        }
    }

    /// The first block that begins a piece of `piece` bytes of the volume, which itself begins on
    /// a whole MiB of its device.
    pub(super) fn first_aligned(&self, piece: u32) -> u32 {
        let blocks = u64::from((piece / self.config.block_size).max(1));
        let past = self.config.first_block % blocks;
        u32::try_from((blocks - past) % blocks).expect("less than the blocks of a piece")
    }

    pub(super) fn read(&self, cdb: &Cdb, fields: &Transfer) -> Result<Plan, Sense> {
        check_protect(fields.protect)?;
        self.check_transfer(cdb, fields.lba, fields.blocks)?;
        Ok(match *fields {
            Transfer { blocks: 0, .. } => Reply::good().into(),
            Transfer { lba, blocks, .. } => Plan::Read { lba, blocks },
        })
    }

    pub(super) fn write(&self, cdb: &Cdb, fields: &Transfer, offered: u32) -> Result<Plan, Sense> {
        check_protect(fields.protect)?;
        self.check_transfer(cdb, fields.lba, fields.blocks)?;
        self.check_writable()?;

        let block_size = self.config.block_size;
        let wanted = u64::from(fields.blocks) * u64::from(block_size);
        // Less data was offered than the command is for: its whole blocks are written and the rest
        // is the residual (RFC 7143 §11.4.5.2). A part of a block is not a write at all.
        let blocks = fields.blocks.min(offered / block_size);
        if blocks < fields.blocks && !offered.is_multiple_of(block_size) {
            let sense = INVALID_FIELD_IN_INFORMATION_UNIT;
            return Ok(Reply { wanted, ..Reply::check(sense) }.into());
        }
        if blocks == 0 {
            return Ok(Reply { wanted, ..Reply::good() }.into());
        }
        let durable = self.is_durable(fields.fua);
        Ok(Plan::Write { lba: fields.lba, blocks, durable, wanted })
    }

    /// WRITE ATOMIC(16). Its blocks are never written in part, so all of its data must be offered.
    pub(super) fn write_atomic(
        &self,
        cdb: &Cdb,
        fields: &WriteAtomic,
        offered: u32,
    ) -> Result<Plan, Sense> {
        if !self.config.atomic {
            return Err(INVALID_OPCODE);
        }
        check_protect(fields.protect)?;
        let (lba, blocks) = (fields.lba, u32::from(fields.blocks));
        self.check_range(cdb, lba, blocks)?;
        // Every write is one atomic operation: there are no boundaries to break it at.
        if fields.boundary != 0 {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(10, None));
        }
        if blocks > ATOMIC_MAX / self.config.block_size {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(12, None));
        }
        self.check_writable()?;
        let wanted = u64::from(blocks) * u64::from(self.config.block_size);
        if u64::from(offered) < wanted {
            let sense = INVALID_FIELD_IN_INFORMATION_UNIT;
            return Ok(Reply { wanted, ..Reply::check(sense) }.into());
        }
        Ok(if blocks == 0 { Reply::good().into() } else { Plan::WriteAtomic { lba, blocks } })
    }

    /// Whether a write is on the medium before it is answered.
    pub(super) fn is_durable(&self, fua: bool) -> bool {
        fua && !seeded::is(Bug::ForgetFua) || !self.write_cache
    }

    /// IMMED is allowed to wait. The range only has to be there: the whole cache is flushed.
    pub(super) fn synchronize(&self, cdb: &Cdb, fields: &Synchronize) -> Result<Plan, Sense> {
        self.check_range(cdb, fields.lba, fields.blocks)?;
        self.check_fault()?;
        Ok(Plan::Flush)
    }

    /// No cache of ours keeps blocks to be read again. GOOD, where a larger one would have said
    /// CONDITION MET, tells so (SBC-4, PRE-FETCH).
    pub(super) fn pre_fetch(&self, cdb: &Cdb, fields: &Synchronize) -> Result<Plan, Sense> {
        self.check_range(cdb, fields.lba, fields.blocks)?;
        Ok(Reply::good().into())
    }

    pub(super) fn unmap(&self, cdb: Cdb, anchor: bool, len: u16) -> Result<Plan, Sense> {
        if !self.config.unmap {
            return Err(INVALID_OPCODE);
        }
        if anchor {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(0)));
        }
        self.check_writable()?;
        let len = u32::from(len);
        Ok(if len == 0 { Reply::good().into() } else { Plan::Parameters { cdb, len } })
    }

    pub(super) fn unmap_list(&self, list: &[u8]) -> Result<Plan, Sense> {
        self.check_writable()?;
        let extents = unmap::parse(list)?;
        let blocks: u64 = extents.iter().map(|extent| u64::from(extent.blocks)).sum();
        let too_many = u32::try_from(extents.len()).is_ok_and(|count| count > UNMAP_EXTENTS_MAX);
        if too_many || blocks > u64::from(UNMAP_BLOCKS_MAX) {
            return Err(INVALID_FIELD_IN_LIST);
        }
        // All are checked before any is unmapped.
        if !extents.iter().all(|extent| self.holds(extent.lba, extent.blocks)) {
            return Err(LBA_OUT_OF_RANGE);
        }
        let ranges = extents.iter().filter(|extent| extent.blocks > 0);
        let ranges: Vec<_> = ranges.map(|extent| (extent.lba, u64::from(extent.blocks))).collect();
        Ok(if ranges.is_empty() {
            Reply::good().into()
        } else {
            Plan::Zero { ranges, unmap: true }
        })
    }

    pub(super) const fn write_protected(&self) -> bool {
        self.config.read_only || self.write_protect
    }

    pub(super) fn check_writable(&self) -> Result<(), Sense> {
        if self.write_protected() {
            return Err(WRITE_PROTECTED);
        }
        self.check_fault()
    }

    fn check_fault(&self) -> Result<(), Sense> {
        if self.faulted { Err(WRITE_ERROR) } else { Ok(()) }
    }

    pub(super) fn check_transfer(&self, cdb: &Cdb, lba: u64, blocks: u32) -> Result<(), Sense> {
        self.check_range(cdb, lba, blocks)?;
        if blocks > TRANSFER_MAX / self.config.block_size {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(cdb.length_at(), None));
        }
        Ok(())
    }

    pub(super) fn check_range(&self, cdb: &Cdb, lba: u64, blocks: u32) -> Result<(), Sense> {
        if self.holds(lba, blocks) {
            Ok(())
        } else {
            Err(LBA_OUT_OF_RANGE.at_cdb(cdb.lba_at(), None))
        }
    }

    /// No blocks at the very end are on the medium; no blocks beyond it are not.
    pub(super) fn holds(&self, lba: u64, blocks: u32) -> bool {
        let capacity = self.config.blocks + u64::from(seeded::is(Bug::OneBlockTooMany));
        lba.checked_add(u64::from(blocks)).is_some_and(|end| end <= capacity)
    }
}

/// No protection information is kept with the blocks (PROTECT=0 in INQUIRY).
pub(super) fn check_protect(protect: u8) -> Result<(), Sense> {
    if protect == 0 { Ok(()) } else { Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(7))) }
}

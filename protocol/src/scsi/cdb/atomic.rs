//! WRITE ATOMIC(16) (SBC-4 §5.48), whose boundary and length share the place of a WRITE(16)'s length.

use crate::scsi::{put, u16_at, u64_at};

/// The fields of WRITE ATOMIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteAtomic {
    /// The first block.
    pub lba: u64,
    /// How many.
    pub blocks: u16,
    /// ATOMIC BOUNDARY: atomic between multiples of so many blocks, and not across; zero for the
    /// whole write.
    pub boundary: u16,
    /// WRPROTECT.
    pub protect: u8,
    /// Do not keep the blocks in a cache.
    pub dpo: bool,
    /// Force unit access. A write that is atomic over power loss is on the medium anyway.
    pub fua: bool,
}

pub(super) fn parse(cdb: &[u8; 16]) -> WriteAtomic {
    let flags = cdb[1];
    WriteAtomic {
        lba: u64_at(cdb, 2),
        blocks: u16_at(cdb, 12),
        boundary: u16_at(cdb, 10),
        protect: flags >> 5,
        dpo: flags & 0x10 != 0,
        fua: flags & 0x08 != 0,
    }
}

pub(super) fn build(cdb: &mut [u8; 16], write: &WriteAtomic) {
    cdb[1] = write.protect << 5 | u8::from(write.dpo) << 4 | u8::from(write.fua) << 3;
    put(cdb, 2, write.lba.to_be_bytes());
    put(cdb, 10, write.boundary.to_be_bytes());
    put(cdb, 12, write.blocks.to_be_bytes());
}

//! WRITE ATOMIC(16) (SBC-4 §5.48), whose boundary and length share the place of a WRITE(16)'s length.

use super::WriteAtomic;
use crate::scsi::{put, u16_at, u64_at};

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

//! Commands of a disk beside READ, WRITE and VERIFY whose blocks have a shape of their own:
//! COMPARE AND WRITE, WRITE SAME, GET LBA STATUS (SBC-4 §5).

use super::{Cdb, Transfer, length, put, put_range, range, u32_at, u64_at};

/// GET LBA STATUS(16) is a service action of SERVICE ACTION IN(16).
pub(super) const SERVICE_GET_LBA_STATUS: u8 = 0x12;

/// The fields of WRITE SAME.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteSame {
    /// The first block.
    pub lba: u64,
    /// How many; none means to the end of the medium.
    pub blocks: u32,
    /// WRPROTECT.
    pub protect: u8,
    /// ANCHOR: the blocks keep their room.
    pub anchor: bool,
    /// UNMAP: the blocks may lose their room, if they then read as what was sent.
    pub unmap: bool,
    /// NDOB: no block is sent, and zeros are written. Only the sixteen-byte command can say so.
    pub no_data: bool,
}

pub(super) fn parse_compare_and_write(cdb: &[u8; 16]) -> Transfer {
    let flags = cdb[1];
    Transfer {
        lba: u64_at(cdb, 2),
        blocks: cdb[13].into(),
        protect: flags >> 5,
        dpo: flags & 0x10 != 0,
        fua: flags & 0x08 != 0,
    }
}

pub(super) fn build_compare_and_write(cdb: &mut [u8; 16], transfer: &Transfer) {
    cdb[1] = transfer.flags();
    put(cdb, 2, transfer.lba.to_be_bytes());
    cdb[13] = u8::try_from(transfer.blocks).expect("the command compares 255 blocks");
}

pub(super) fn parse_write_same(cdb: &[u8; 16]) -> WriteSame {
    let (lba, blocks) = range(cdb);
    let flags = cdb[1];
    WriteSame {
        lba,
        blocks,
        protect: flags >> 5,
        anchor: flags & 0x10 != 0,
        unmap: flags & 0x08 != 0,
        no_data: flags & 0x01 != 0,
    }
}

/// # Panics
/// If the ten-byte command is to send no block: it has no bit to say so.
pub(super) fn build_write_same(cdb: &mut [u8; 16], same: &WriteSame) {
    let long = length(cdb[0]) == Some(16);
    assert!(long || !same.no_data, "NDOB needs the 16-byte command");
    cdb[1] = same.protect << 5
        | u8::from(same.anchor) << 4
        | u8::from(same.unmap) << 3
        | u8::from(same.no_data);
    put_range(cdb, same.lba, same.blocks);
}

pub(super) fn parse_lba_status(cdb: &[u8; 16]) -> Cdb {
    Cdb::GetLbaStatus { lba: u64_at(cdb, 2), allocation: u32_at(cdb, 10) }
}

pub(super) fn build_lba_status(cdb: &mut [u8; 16], lba: u64, allocation: u32) {
    cdb[1] = SERVICE_GET_LBA_STATUS;
    put(cdb, 2, lba.to_be_bytes());
    put(cdb, 10, allocation.to_be_bytes());
}

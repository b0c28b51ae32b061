//! Cuts a request into pieces that the volume takes.

use outband_protocol::limits::BURST_LEN_MAX;

use crate::Error;

/// What a volume is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Bytes in a block.
    pub block_size: u32,
    /// Blocks on the volume.
    pub blocks: u64,
    /// Bytes in a physical block: writes that are multiples of it are the fastest.
    pub physical_block_size: u32,
    /// Blocks can be unmapped.
    pub unmap: bool,
    /// Unmapped blocks read as zeros.
    pub unmapped_reads_zeros: bool,
    /// Most blocks in one COMPARE AND WRITE; none where it is not offered.
    pub compare_and_write_blocks_max: u8,
    /// Most blocks in one WRITE ATOMIC; none where it is not offered.
    pub atomic_blocks_max: u32,
    /// Most blocks in one request.
    pub(crate) transfer_blocks_max: u32,
    /// Most blocks in one UNMAP.
    pub(crate) unmap_blocks_max: u32,
}

/// A run of blocks of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) lba: u64,
    pub(crate) blocks: u32,
}

impl Geometry {
    /// Bytes on the volume.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.blocks * u64::from(self.block_size)
    }

    /// What one request may move: what the volume allows, and no more than a burst, so that one
    /// request does not hold up the others. `transfer_max` is 0 where there is no limit.
    pub(crate) fn transfer_limit(block_size: u32, transfer_max: u32) -> u32 {
        let burst = (BURST_LEN_MAX / block_size).max(1);
        if transfer_max == 0 { burst } else { burst.min(transfer_max) }
    }

    /// Bytes of a piece.
    pub(crate) fn bytes(&self, blocks: u32) -> usize {
        blocks as usize * self.block_size as usize
    }

    /// The pieces of `len` bytes at `offset`, each at most `blocks_max` long.
    pub(crate) fn pieces(
        &self,
        offset: u64,
        len: u64,
        blocks_max: u32,
    ) -> Result<impl Iterator<Item = Piece> + use<>, Error> {
        let block_size = u64::from(self.block_size);
        if !offset.is_multiple_of(block_size) || !len.is_multiple_of(block_size) {
            return Err(Error::Misaligned { block_size: self.block_size });
        }
        let end = offset.checked_add(len).filter(|end| *end <= self.capacity());
        let end = end.ok_or(Error::OutOfRange { capacity: self.capacity() })? / block_size;
        let mut lba = offset / block_size;
        Ok(std::iter::from_fn(move || {
            let left = u32::try_from(end - lba).unwrap_or(u32::MAX).min(blocks_max);
            let piece = Piece { lba, blocks: left };
            lba += u64::from(left);
            (left > 0).then_some(piece)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Geometry = Geometry {
        block_size: 512,
        blocks: 100,
        physical_block_size: 4096,
        unmap: true,
        unmapped_reads_zeros: true,
        compare_and_write_blocks_max: 1,
        atomic_blocks_max: 8,
        transfer_blocks_max: 16,
        unmap_blocks_max: 64,
    };

    fn pieces(offset: u64, len: u64) -> Result<Vec<(u64, u32)>, Error> {
        let pieces = DISK.pieces(offset, len, DISK.transfer_blocks_max)?;
        Ok(pieces.map(|piece| (piece.lba, piece.blocks)).collect())
    }

    #[test]
    fn a_request_is_cut_where_the_volume_wants_it() {
        assert_eq!(pieces(512, 20 * 512).unwrap(), [(1, 16), (17, 4)]);
        assert_eq!(pieces(0, 16 * 512).unwrap(), [(0, 16)]);
        assert_eq!(pieces(0, 0).unwrap(), []);
        assert_eq!(pieces(100 * 512, 0).unwrap(), []);
    }

    #[test]
    fn what_is_not_on_the_volume_or_not_whole_blocks_is_refused() {
        assert!(matches!(pieces(1, 512), Err(Error::Misaligned { block_size: 512 })));
        assert!(matches!(pieces(512, 7), Err(Error::Misaligned { .. })));
        let end = 100 * 512;
        assert!(matches!(pieces(end, 512), Err(Error::OutOfRange { capacity: 51_200 })));
        assert!(matches!(pieces(u64::MAX - 511, 512), Err(Error::OutOfRange { .. })));
    }

    #[test]
    fn a_piece_is_no_longer_than_a_burst() {
        assert_eq!(Geometry::transfer_limit(512, 0), 2048);
        assert_eq!(Geometry::transfer_limit(512, 100), 100);
        assert_eq!(Geometry::transfer_limit(4096, 1 << 30), 256);
        assert_eq!(Geometry::transfer_limit(1 << 30, 0), 1);
    }
}

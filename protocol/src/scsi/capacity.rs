//! READ CAPACITY (SBC-3 §5.15, §5.16): how many blocks, how large, and how they are provisioned.

use super::{Malformed, put, u16_at, u32_at, u64_at};

/// The largest LOWEST ALIGNED LOGICAL BLOCK ADDRESS that can be told.
const LOWEST_ALIGNED_MAX: u16 = 0x3FFF;

/// What READ CAPACITY tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Blocks on the medium, at least one.
    pub blocks: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// Two to this power blocks make one physical block.
    pub physical_exponent: u8,
    /// The first block that begins a physical one; 14 bits.
    pub lowest_aligned: u16,
    /// LBPME: blocks can be unmapped.
    pub provisioned: bool,
    /// LBPRZ: unmapped blocks read as zeros.
    pub unmapped_reads_zeros: bool,
}

impl Capacity {
    /// READ CAPACITY(10) parameter data. A last address that does not fit says FFFFFFFFh, which
    /// sends the host to READ CAPACITY(16).
    #[must_use]
    pub fn short(&self) -> [u8; 8] {
        let last = u32::try_from(self.last()).unwrap_or(u32::MAX);
        let mut data = [0; 8];
        put(&mut data, 0, last.to_be_bytes());
        put(&mut data, 4, self.block_size.to_be_bytes());
        data
    }

    /// READ CAPACITY(16) parameter data.
    #[must_use]
    pub fn long(&self) -> [u8; 32] {
        let mut data = [0; 32];
        put(&mut data, 0, self.last().to_be_bytes());
        put(&mut data, 8, self.block_size.to_be_bytes());
        data[13] = self.physical_exponent & 0x0F;
        let flags = u16::from(self.provisioned) << 15 | u16::from(self.unmapped_reads_zeros) << 14;
        put(&mut data, 14, (flags | self.lowest_aligned & LOWEST_ALIGNED_MAX).to_be_bytes());
        data
    }

    fn last(&self) -> u64 {
        self.blocks.saturating_sub(1)
    }

    /// Reads READ CAPACITY(10) data; `None` when the medium is too large for it.
    pub fn parse_short(data: &[u8]) -> Result<Option<Self>, Malformed> {
        let data = data.first_chunk::<8>().ok_or(Malformed("capacity data"))?;
        let last = u32_at(data, 0);
        let long = || Self::checked(u64::from(last), u32_at(data, 4));
        if last == u32::MAX { Ok(None) } else { long().map(Some) }
    }

    /// Reads READ CAPACITY(16) data, of which SBC-2 targets send only the first twelve bytes.
    pub fn parse_long(data: &[u8]) -> Result<Self, Malformed> {
        if data.len() < 12 {
            return Err(Malformed("capacity data"));
        }
        let mut capacity = Self::checked(u64_at(data, 0), u32_at(data, 8))?;
        if data.len() >= 16 {
            let flags = u16_at(data, 14);
            capacity.physical_exponent = data[13] & 0x0F;
            capacity.lowest_aligned = flags & LOWEST_ALIGNED_MAX;
            capacity.provisioned = flags & 0x8000 != 0;
            capacity.unmapped_reads_zeros = flags & 0x4000 != 0;
        }
        Ok(capacity)
    }

    /// Sizes a host can calculate with: the medium in bytes fits 64 bits.
    fn checked(last: u64, block_size: u32) -> Result<Self, Malformed> {
        let blocks = last.checked_add(1).ok_or(Malformed("capacity data"))?;
        blocks
            .checked_mul(u64::from(block_size))
            .filter(|bytes| *bytes != 0)
            .ok_or(Malformed("capacity data"))?;
        let (provisioned, unmapped_reads_zeros) = (false, false);
        let (physical_exponent, lowest_aligned) = (0, 0);
        Ok(Self {
            blocks,
            block_size,
            physical_exponent,
            lowest_aligned,
            provisioned,
            unmapped_reads_zeros,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DISK: Capacity = Capacity {
        blocks: 0x1_0000,
        block_size: 512,
        physical_exponent: 3,
        lowest_aligned: 0,
        provisioned: true,
        unmapped_reads_zeros: true,
    };

    #[test]
    fn the_last_address_is_told_not_the_count() {
        assert_eq!(DISK.short(), [0, 0, 0xFF, 0xFF, 0, 0, 2, 0]);
        let long = DISK.long();
        assert_eq!(long[..16], [0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 2, 0, 0, 3, 0xC0, 0]);
        assert_eq!(long[16..], [0; 16]);
    }

    #[test]
    fn a_medium_of_two_tebibytes_needs_the_long_form() {
        let large = Capacity { blocks: 1 << 32, ..DISK };
        assert_eq!(large.short()[..4], [0xFF; 4]);
        assert_eq!(Capacity::parse_short(&large.short()), Ok(None));
        assert_eq!(Capacity::parse_long(&large.long()), Ok(large));
    }

    #[test]
    fn sizes_nobody_can_calculate_with_are_malformed() {
        let mut data = DISK.long();
        assert!(Capacity::parse_long(&data[..11]).is_err());
        assert_eq!(Capacity::parse_long(&data[..12]).map(|disk| disk.physical_exponent), Ok(0));
        data[8..12].fill(0);
        assert!(Capacity::parse_long(&data).is_err());
        data[..12].fill(0xFF);
        assert!(Capacity::parse_long(&data).is_err());
    }

    proptest! {
        #[test]
        fn the_long_form_comes_back_as_what_it_was(
            blocks in 1u64..1 << 50, shift in 9u32..13, physical_exponent in 0u8..8,
            lowest_aligned in 0u16..1 << 14, provisioned: bool, unmapped_reads_zeros: bool,
        ) {
            let block_size = 1 << shift;
            let capacity = Capacity {
                blocks, block_size, physical_exponent, lowest_aligned, provisioned,
                unmapped_reads_zeros,
            };
            prop_assert_eq!(Capacity::parse_long(&capacity.long()), Ok(capacity));
        }
    }
}

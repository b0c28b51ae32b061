//! What is written to a block, so that a read says which write it saw: the same sixteen bytes all
//! over, each copy with its place in the block.

use std::fmt;

use crate::checker::WriteId;

/// Bytes of one copy.
const LEN: usize = 16;

/// Which write of which block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tag {
    /// The volume.
    pub volume: u8,
    /// The block.
    pub lba: u32,
    /// The write, unique in a simulation; from 1.
    pub write: u64,
}

/// What a block holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Content {
    /// Nothing was written, or it was unmapped.
    Zero,
    /// What this write wrote.
    Written(Tag),
    /// Parts of two things, or nothing that was ever written.
    Mixed,
}

impl Tag {
    /// The copy at one place of a block, as a number: 0xb1, volume, place, block and write.
    fn copy(self, place: u16) -> u128 {
        0xb1 << 120
            | u128::from(self.volume) << 112
            | u128::from(place) << 96
            | u128::from(self.lba) << 64
            | u128::from(self.write)
    }

    /// Fills a block.
    pub fn fill(self, block: &mut [u8]) {
        for (place, copy) in (0..).zip(block.chunks_exact_mut(LEN)) {
            copy.copy_from_slice(&self.copy(place).to_be_bytes());
        }
    }
}

impl Content {
    /// Reads a block.
    #[must_use]
    pub fn of(block: &[u8]) -> Self {
        // Every block of every read and write comes through here, and most are whole.
        let (copies, _) = block.as_chunks::<LEN>();
        let Some(tag) = copies.first().and_then(|copy| Self::of_copy(copy, 0)) else {
            let zero = block.iter().fold(0, |all, byte| all | byte) == 0;
            return if zero { Self::Zero } else { Self::Mixed };
        };
        let same = |(place, copy): (u16, &[u8; LEN])| tag.copy(place) == u128::from_be_bytes(*copy);
        if (0..).zip(copies).all(same) { Self::Written(tag) } else { Self::Mixed }
    }

    /// The write that it is of.
    #[must_use]
    pub const fn write(self) -> Option<WriteId> {
        match self {
            Self::Written(tag) => Some(WriteId(tag.write)),
            Self::Zero | Self::Mixed => None,
        }
    }

    /// Reads the copy at one place of a block.
    fn of_copy(copy: &[u8; LEN], place: u16) -> Option<Tag> {
        let [_, volume, _, _, a, b, c, d, write @ ..] = *copy;
        let lba = u32::from_be_bytes([a, b, c, d]);
        let tag = Tag { volume, lba, write: u64::from_be_bytes(write) };
        (u128::from_be_bytes(*copy) == tag.copy(place)).then_some(tag)
    }
}

/// What the parts of a mixed block look like, one after the other.
#[must_use]
pub fn parts(block: &[u8]) -> String {
    let mut all = Vec::new();
    for (place, copy) in (0..).zip(block.as_chunks::<LEN>().0) {
        let mut one = copy.to_vec();
        one[2..4].fill(0);
        let part = match Content::of_copy(copy, place) {
            Some(tag) => format!("w{} of {}:{}", tag.write, tag.volume, tag.lba),
            None => format!("{one:02x?}"),
        };
        if all.last().is_none_or(|(_, last)| *last != part) {
            all.push((place, part));
        }
    }
    let part =
        |(place, part): &(u16, String)| format!("{part} from byte {}", usize::from(*place) * LEN);
    all.iter().map(part).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("zeros"),
            Self::Written(tag) => write!(f, "w{} of {}:{}", tag.write, tag.volume, tag.lba),
            Self::Mixed => f.write_str("a mixture"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_tells_which_write_it_holds_and_when_it_is_torn() {
        let tag = Tag { volume: 1, lba: 77, write: 5 };
        let mut block = [0; 512];
        assert_eq!(Content::of(&block), Content::Zero);
        tag.fill(&mut block);
        assert_eq!(Content::of(&block), Content::Written(tag));
        Tag { write: 6, ..tag }.fill(&mut block[..256]);
        assert_eq!(Content::of(&block), Content::Mixed);
        tag.fill(&mut block);
        block.rotate_left(16);
        assert_eq!(Content::of(&block), Content::Mixed, "the right bytes at the wrong place");
    }
}

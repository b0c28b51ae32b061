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
    fn copy(self, place: usize) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0] = 0xb1;
        bytes[1] = self.volume;
        bytes[2..4].copy_from_slice(&u16::try_from(place).unwrap_or(u16::MAX).to_be_bytes());
        bytes[4..8].copy_from_slice(&self.lba.to_be_bytes());
        bytes[8..].copy_from_slice(&self.write.to_be_bytes());
        bytes
    }

    /// Fills a block.
    pub fn fill(self, block: &mut [u8]) {
        for (place, copy) in block.chunks_exact_mut(LEN).enumerate() {
            copy.copy_from_slice(&self.copy(place));
        }
    }
}

impl Content {
    /// Reads a block.
    #[must_use]
    pub fn of(block: &[u8]) -> Self {
        if block.iter().all(|byte| *byte == 0) {
            return Self::Zero;
        }
        let tag = Self::of_copy(&block[..LEN], 0);
        let same = |(place, copy): (usize, &[u8])| Self::of_copy(copy, place) == tag;
        match tag {
            Some(tag) if block.chunks_exact(LEN).enumerate().all(same) => Self::Written(tag),
            _ => Self::Mixed,
        }
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
    fn of_copy(copy: &[u8], place: usize) -> Option<Tag> {
        let [_, volume, _, _, a, b, c, d, write @ ..] = *copy.as_array::<LEN>()?;
        let lba = u32::from_be_bytes([a, b, c, d]);
        let tag = Tag { volume, lba, write: u64::from_be_bytes(write) };
        (*copy == tag.copy(place)).then_some(tag)
    }
}

/// What the parts of a mixed block look like, one after the other.
#[must_use]
pub fn parts(block: &[u8]) -> String {
    let mut all = Vec::new();
    for (place, copy) in block.chunks_exact(LEN).enumerate() {
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
    let part = |(place, part): &(usize, String)| format!("{part} from byte {}", place * LEN);
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

//! Bytes in a logical block: 512 or 4096, and nothing else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes in a logical block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum BlockSize {
    /// What every initiator takes.
    #[default]
    B512,
    /// A page: what media write at once anyway.
    B4096,
}

/// A block has no such size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a block has 512 or 4096 bytes")]
pub struct BadBlockSize;

impl BlockSize {
    /// In bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

impl From<BlockSize> for u32 {
    fn from(size: BlockSize) -> Self {
        size.bytes()
    }
}

impl TryFrom<u32> for BlockSize {
    type Error = BadBlockSize;

    fn try_from(bytes: u32) -> Result<Self, BadBlockSize> {
        match bytes {
            512 => Ok(Self::B512),
            4096 => Ok(Self::B4096),
            _ => Err(BadBlockSize),
        }
    }
}

/// As the command lines take it: `512`, `4096`, `4K` or `4KiB`.
impl FromStr for BlockSize {
    type Err = BadBlockSize;

    fn from_str(text: &str) -> Result<Self, BadBlockSize> {
        let bytes = text.parse::<crate::Size>().map_err(|_| BadBlockSize)?;
        u32::try_from(bytes.0).map_err(|_| BadBlockSize)?.try_into()
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_512_or_4096_bytes() {
        for (text, size) in [
            ("512", Ok(BlockSize::B512)),
            ("4096", Ok(BlockSize::B4096)),
            ("4K", Ok(BlockSize::B4096)),
            ("0", Err(BadBlockSize)),
            ("520", Err(BadBlockSize)),
            ("1024", Err(BadBlockSize)),
            ("4KB", Err(BadBlockSize)),
            ("8192", Err(BadBlockSize)),
            ("4294967808", Err(BadBlockSize)),
            ("-512", Err(BadBlockSize)),
        ] {
            assert_eq!(text.parse(), size, "{text}");
        }
    }

    #[test]
    fn the_wire_carries_bytes() {
        assert_eq!(serde_json::to_string(&BlockSize::B4096).unwrap(), "4096");
        assert_eq!(serde_json::from_str::<BlockSize>("512").unwrap(), BlockSize::B512);
        assert!(serde_json::from_str::<BlockSize>("1024").is_err());
        assert!(serde_json::from_str::<BlockSize>("\"512\"").is_err());
    }
}

//! CRC32C over headers and data (§13.1). It is little-endian on the wire, alone in the protocol.

#![allow(
    clippy::little_endian_bytes,
    reason = "the iSCSI digest goes out low byte first (RFC 3385)"
)]

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes a digest takes on the wire.
pub const LEN: usize = 4;

/// A CRC32C that grows piece by piece.
#[derive(Clone)]
pub struct Crc(Digest);

impl Default for Crc {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl std::fmt::Debug for Crc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crc({:08x})", self.value())
    }
}

impl Crc {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn value(&self) -> u32 {
        low_half(self.0.finalize())
    }

    /// What goes on the wire for all bytes taken in.
    #[must_use]
    pub fn wire(&self) -> [u8; LEN] {
        self.value().to_le_bytes()
    }
}

/// The digest of `bytes` as it goes on the wire.
#[must_use]
pub fn wire(bytes: &[u8]) -> [u8; LEN] {
    low_half(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes)).to_le_bytes()
}

fn low_half(value: u64) -> u32 {
    u32::try_from(value).expect("a 32-bit CRC has no upper half")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_7143_appendix_a_hold() {
        assert_eq!(wire(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(wire(&[0xff; 32]), [0x43, 0xab, 0xa8, 0x62]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_another_implementation_however_it_is_cut(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            cut in 0usize..600,
        ) {
            let cut = cut.min(bytes.len());
            let mut crc = Crc::default();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            prop_assert_eq!(crc.wire(), crc32c::crc32c(&bytes).to_le_bytes());
            prop_assert_eq!(wire(&bytes), crc.wire());
        }
    }
}

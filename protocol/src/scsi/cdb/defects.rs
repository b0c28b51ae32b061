//! READ DEFECT DATA (SBC-3 §5.16, §5.17): asks for lists of blocks that are no longer used.

use super::{put, u16_at, u32_at};

/// The fields of READ DEFECT DATA (10) and (12).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadDefects {
    /// REQ_PLIST: those found when the medium was made.
    pub primary: bool,
    /// REQ_GLIST: those found since.
    pub grown: bool,
    /// DEFECT LIST FORMAT, three bits.
    pub format: u8,
    /// ADDRESS DESCRIPTOR INDEX: the first that is sent. The ten-byte command has none.
    pub index: u32,
    /// At most this much is sent. The ten-byte command has two bytes for it.
    pub allocation: u32,
}

impl ReadDefects {
    pub(super) fn parse_10(cdb: &[u8; 16]) -> Self {
        Self { allocation: u16_at(cdb, 7).into(), ..Self::from_flags(cdb[2]) }
    }

    pub(super) fn parse_12(cdb: &[u8; 16]) -> Self {
        Self { index: u32_at(cdb, 2), allocation: u32_at(cdb, 6), ..Self::from_flags(cdb[1]) }
    }

    fn from_flags(flags: u8) -> Self {
        Self {
            primary: flags & 0x10 != 0,
            grown: flags & 0x08 != 0,
            format: flags & 0x07,
            ..Self::default()
        }
    }

    /// In the byte of the command as in that of its answer.
    #[must_use]
    pub fn flags(&self) -> u8 {
        u8::from(self.primary) << 4 | u8::from(self.grown) << 3 | self.format & 0x07
    }

    pub(super) fn build_10(&self, cdb: &mut [u8; 16]) {
        let short = u16::try_from(self.allocation);
        cdb[2] = self.flags();
        put(cdb, 7, short.expect("the ten-byte command was chosen").to_be_bytes());
    }

    pub(super) fn build_12(&self, cdb: &mut [u8; 16]) {
        cdb[1] = self.flags();
        put(cdb, 2, self.index.to_be_bytes());
        put(cdb, 6, self.allocation.to_be_bytes());
    }
}

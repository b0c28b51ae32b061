//! What may become of a command whose connection was lost: whether it can be issued again without
//! the application, or another reader of the medium, being able to tell.

use crate::scsi::Cdb;
use crate::scsi::cdb::ByteCheck;

/// How a command stands repetition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replay {
    /// Once or twice is the same: it reads, or makes durable what is written anyway.
    Always,
    /// It gives these blocks a content. Twice is as once, unless a write to some of them was
    /// acknowledged in between, which the second time would undo.
    Blocks {
        /// The first.
        first: u64,
        /// How many.
        count: u64,
    },
    /// Doing it twice may differ from once (COMPARE AND WRITE, PERSISTENT RESERVE OUT): it ends
    /// with an unknown outcome, and the application finds out by looking.
    Never,
}

impl Replay {
    /// What a command block says about itself. One that is not known here is never repeated; UNMAP
    /// neither, because its blocks are in its data: who issues it may know better.
    #[must_use]
    pub fn of(cdb: &[u8; 16]) -> Self {
        let Ok(cdb) = Cdb::parse(cdb) else {
            return Self::Never;
        };
        match cdb {
            Cdb::TestUnitReady
            | Cdb::RequestSense { .. }
            | Cdb::Inquiry { .. }
            | Cdb::ReportLuns { .. }
            | Cdb::ModeSense6(_)
            | Cdb::ModeSense10(_)
            | Cdb::ReadCapacity10
            | Cdb::ReadCapacity16 { .. }
            | Cdb::Read6(_)
            | Cdb::Read10(_)
            | Cdb::Read12(_)
            | Cdb::Read16(_)
            | Cdb::SynchronizeCache10(_)
            | Cdb::SynchronizeCache16(_) => Self::Always,
            Cdb::Verify10(verify) | Cdb::Verify12(verify) | Cdb::Verify16(verify) => {
                // Comparing changes nothing, but a repeated comparison may meet other content.
                if verify.check == ByteCheck::Medium { Self::Always } else { Self::Never }
            }
            Cdb::Write6(write)
            | Cdb::Write10(write)
            | Cdb::Write12(write)
            | Cdb::Write16(write) => Self::Blocks { first: write.lba, count: write.blocks.into() },
            _ => Self::Never,
        }
    }

    /// Whether both write to some block.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Blocks { first, count },
                Self::Blocks { first: other_first, count: other_count },
            ) => {
                *first < other_first.saturating_add(*other_count)
                    && *other_first < first.saturating_add(*count)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_flushes_are_repeated_writes_name_their_blocks_and_the_rest_is_not() {
        let of = |cdb: Cdb| Replay::of(&cdb.build());
        assert_eq!(of(Cdb::read16(5, 6)), Replay::Always);
        assert_eq!(of(Cdb::flush()), Replay::Always);
        assert_eq!(of(Cdb::write16(5, 6, true)), Replay::Blocks { first: 5, count: 6 });
        assert_eq!(of(Cdb::Unmap { anchor: false, len: 24 }), Replay::Never);
        let mut compare_and_write = [0; 16];
        compare_and_write[0] = 0x89;
        assert_eq!(Replay::of(&compare_and_write), Replay::Never);
        let mut reserve_out = [0; 16];
        reserve_out[0] = 0x5f;
        assert_eq!(Replay::of(&reserve_out), Replay::Never);
    }

    #[test]
    fn blocks_overlap_when_they_share_one() {
        let blocks = |first, count| Replay::Blocks { first, count };
        assert!(blocks(10, 5).overlaps(&blocks(14, 1)));
        assert!(!blocks(10, 5).overlaps(&blocks(15, 1)));
        assert!(!blocks(10, 5).overlaps(&blocks(9, 1)));
        assert!(blocks(u64::MAX - 1, 5).overlaps(&blocks(0, u64::MAX)));
        assert!(!Replay::Always.overlaps(&blocks(0, u64::MAX)));
    }
}

//! What may become of a command whose connection was lost: whether it can be issued again without
//! the application, or another reader of the medium, being able to tell; and what a command that was
//! acknowledged has changed, over which nothing may be issued again.

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

    /// Whether repeating it could undo what a command that was carried out has changed.
    pub(super) fn undoes(&self, changed: &Changed) -> bool {
        let Self::Blocks { first, count } = *self else {
            return false;
        };
        match *changed {
            Changed::Nothing => false,
            Changed::Blocks { first: theirs, count: of_theirs } => {
                first < theirs.saturating_add(of_theirs) && theirs < first.saturating_add(count)
            }
            Changed::Anything => true,
        }
    }
}

/// Which blocks a command has another content in once it was carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Changed {
    Nothing,
    Blocks {
        first: u64,
        count: u64,
    },
    /// Its block does not say which: they are in its data, or it is not known here.
    Anything,
}

impl Changed {
    /// By a command with this block, which stands repetition as `replay` says.
    pub(super) fn by(cdb: &[u8; 16], replay: Replay) -> Self {
        match replay {
            Replay::Always => Self::Nothing,
            // Whoever issued it knows, also where the blocks are in the data.
            Replay::Blocks { first, count } => Self::Blocks { first, count },
            Replay::Never => Self::by_block(cdb),
        }
    }

    fn by_block(cdb: &[u8; 16]) -> Self {
        let blocks = |first, count: u32| Self::Blocks { first, count: count.into() };
        match Cdb::parse(cdb) {
            Ok(Cdb::CompareAndWrite(write) | Cdb::OrWrite16(write)) => {
                blocks(write.lba, write.blocks)
            }
            Ok(
                Cdb::WriteAndVerify10(write)
                | Cdb::WriteAndVerify12(write)
                | Cdb::WriteAndVerify16(write),
            ) => blocks(write.lba, write.blocks),
            Ok(Cdb::WriteAtomic16(write)) => blocks(write.lba, write.blocks.into()),
            // No number of blocks means all that follow (SBC-3, WRITE SAME).
            Ok(Cdb::WriteSame10(same) | Cdb::WriteSame16(same)) if same.blocks == 0 => {
                Self::Blocks { first: same.lba, count: u64::MAX }
            }
            Ok(Cdb::WriteSame10(same) | Cdb::WriteSame16(same)) => blocks(same.lba, same.blocks),
            Ok(
                Cdb::Verify10(_)
                | Cdb::Verify12(_)
                | Cdb::Verify16(_)
                | Cdb::PersistentReserveIn { .. }
                | Cdb::PersistentReserveOut(_)
                | Cdb::Reserve6
                | Cdb::Release6,
            ) => Self::Nothing,
            _ => match Replay::of(cdb) {
                Replay::Always => Self::Nothing,
                Replay::Blocks { first, count } => Self::Blocks { first, count },
                Replay::Never => Self::Anything,
            },
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
    fn a_write_undoes_what_it_shares_a_block_with() {
        let write = |first, count| Replay::Blocks { first, count };
        let blocks = |first, count| Changed::Blocks { first, count };
        assert!(write(10, 5).undoes(&blocks(14, 1)));
        assert!(!write(10, 5).undoes(&blocks(15, 1)));
        assert!(!write(10, 5).undoes(&blocks(9, 1)));
        assert!(write(u64::MAX - 1, 5).undoes(&blocks(0, u64::MAX)));
        assert!(write(10, 5).undoes(&Changed::Anything));
        assert!(!write(10, 5).undoes(&Changed::Nothing));
        assert!(!Replay::Always.undoes(&Changed::Anything));
    }

    #[test]
    fn every_command_that_writes_says_which_blocks_or_that_it_may_be_any() {
        use crate::scsi::cdb::usage::COMMANDS;

        // Commands without an address in their block, and what one of them changes.
        const ANY: &[&str] = &["UNMAP", "EXTENDED COPY(LID1)", "FORMAT UNIT"];
        let mut writes = 0;
        for row in COMMANDS {
            let mut cdb = [0; 16];
            (cdb[0], cdb[1]) = (row.opcode(), row.service_action.unwrap_or(0));
            match row.data().len() {
                6 => cdb[3..5].copy_from_slice(&[7, 2]),
                _ if row.name == "COMPARE AND WRITE" => (cdb[9], cdb[13]) = (7, 2),
                _ if row.name == "WRITE ATOMIC(16)" => (cdb[9], cdb[13]) = (7, 2),
                10 => (cdb[5], cdb[8]) = (7, 2),
                12 => (cdb[5], cdb[9]) = (7, 2),
                _ => (cdb[9], cdb[13]) = (7, 2),
            }
            let changed = Changed::by(&cdb, Replay::Never);
            let name = row.name;
            if name.contains("WRITE") && !name.starts_with("SANITIZE") {
                writes += 1;
                assert_eq!(changed, Changed::Blocks { first: 7, count: 2 }, "{name}");
            } else if ANY.contains(&name) || name.starts_with("SANITIZE") {
                assert_eq!(changed, Changed::Anything, "{name}");
            } else if Replay::of(&cdb) == Replay::Always {
                assert_eq!(changed, Changed::Nothing, "{name}");
            }
        }
        assert_eq!(writes, 12);
        let mut same = Cdb::write16(7, 0, false).build();
        same[0] = 0x93;
        let all = Changed::Blocks { first: 7, count: u64::MAX };
        assert_eq!(Changed::by(&same, Replay::Never), all);
        // Its issuer knows better.
        let unmap = Cdb::Unmap { anchor: false, len: 24 }.build();
        let told = Changed::by(&unmap, Replay::Blocks { first: 3, count: 4 });
        assert_eq!(told, Changed::Blocks { first: 3, count: 4 });
        assert_eq!(Changed::by(&[0xC1; 16], Replay::Never), Changed::Anything);
    }
}

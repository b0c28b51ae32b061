//! GET LBA STATUS (SBC-4): which blocks have room behind them.

use outband_protocol::scsi::cdb::Cdb;
use outband_protocol::scsi::lba_status::{
    self, DESCRIPTOR_LEN, Descriptor, HEADER_LEN, Provisioning,
};
use outband_protocol::scsi::sense::{LBA_OUT_OF_RANGE, Sense};

use super::{LogicalUnit, Plan, Reply};

/// Descriptors in one answer; a host asks again from where it ends.
const DESCRIPTORS_MAX: usize = 256;

impl LogicalUnit {
    pub(super) fn lba_status(&self, cdb: &Cdb, lba: u64, allocation: u32) -> Result<Plan, Sense> {
        if lba >= self.config.blocks {
            return Err(LBA_OUT_OF_RANGE.at_cdb(cdb.lba_at(), None));
        }
        let blocks = self.config.blocks - lba;
        if !self.config.unmap {
            // Fully provisioned: every block is mapped.
            let all = [(blocks * u64::from(self.config.block_size), true)];
            return Ok(lba_status(lba, self.config.block_size, &all, allocation).into());
        }
        let room = usize::try_from(allocation).unwrap_or(usize::MAX);
        let at_most = room.saturating_sub(HEADER_LEN) / DESCRIPTOR_LEN;
        let stretches = at_most.clamp(1, DESCRIPTORS_MAX);
        Ok(Plan::Survey { lba, blocks, stretches, allocation })
    }
}

/// The answer for blocks from `first` on, of which the store has told, as (bytes, mapped).
pub(crate) fn lba_status(
    first: u64,
    block_size: u32,
    stretches: &[(u64, bool)],
    allocation: u32,
) -> Reply {
    let size = u64::from(block_size);
    let mut all = Vec::new();
    // Blocks that have been told of, and bytes that the store has.
    let (mut told, mut at) = (0, 0);
    for (len, mapped) in stretches {
        at += len;
        // A block of which any byte is mapped is mapped.
        let end = if *mapped { at.div_ceil(size) } else { at / size };
        if end > told {
            push(&mut all, first + told, end - told, *mapped);
            told = end;
        }
    }
    if all.is_empty() {
        push(&mut all, first, 1, true);
    }
    Reply::data(lba_status::build(&all), allocation)
}

/// Adds blocks behind the last descriptor's: to it, if they are alike and it has room to count them.
fn push(all: &mut Vec<Descriptor>, mut lba: u64, mut blocks: u64, mapped: bool) {
    let status = if mapped { Provisioning::Mapped } else { Provisioning::Deallocated };
    while blocks > 0 {
        if !all.last().is_some_and(|last| last.status == status && last.blocks < u32::MAX) {
            all.push(Descriptor { lba, blocks: 0, status });
        }
        let last = all.last_mut().expect("there is one now");
        let more = u32::try_from(blocks).unwrap_or(u32::MAX).min(u32::MAX - last.blocks);
        last.blocks += more;
        lba += u64::from(more);
        blocks -= u64::from(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPED: Provisioning = Provisioning::Mapped;
    const HOLE: Provisioning = Provisioning::Deallocated;

    fn told(first: u64, stretches: &[(u64, bool)]) -> Vec<(u64, u32, Provisioning)> {
        let reply = lba_status(first, 512, stretches, u32::MAX);
        let all = lba_status::parse(&reply.data).unwrap();
        all.iter().map(|each| (each.lba, each.blocks, each.status)).collect()
    }

    #[test]
    fn a_block_is_deallocated_only_if_all_of_it_is() {
        let whole = [(1024, true), (2048, false), (512, true)];
        assert_eq!(told(9, &whole), [(9, 2, MAPPED), (11, 4, HOLE), (15, 1, MAPPED)]);
        let parts = [(100, true), (2000, false), (460, true)];
        assert_eq!(told(0, &parts), [(0, 1, MAPPED), (1, 3, HOLE), (4, 1, MAPPED)]);
        // No block is a hole, and the two ends meet.
        assert_eq!(told(0, &[(100, true), (300, false), (624, true)]), [(0, 2, MAPPED)]);
        // The last hole was not followed to its end.
        assert_eq!(told(0, &[(512, true), (700, false)]), [(0, 1, MAPPED), (1, 1, HOLE)]);
        assert_eq!(told(7, &[(100, false)]), [(7, 1, MAPPED)], "at least one is told of");
    }

    #[test]
    fn more_blocks_than_a_field_counts_take_several_descriptors() {
        let most = u64::from(u32::MAX);
        let all = told(5, &[((2 * most + 3) * 512, false)]);
        let expected = [(5, u32::MAX, HOLE), (5 + most, u32::MAX, HOLE), (5 + 2 * most, 3, HOLE)];
        assert_eq!(all, expected);
    }
}

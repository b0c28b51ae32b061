//! The record area of a device: which copy is read, and in what order copies are written.
//!
//! Two superblocks, two ledger slots. A new ledger goes over the older slot, never over the only valid
//! one, and is synced before anybody is told; so after a cut the device holds the one before or this one.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::blocks::{ALIGN, Blocks};
use super::journal::JOURNAL_LEN;
use super::record::{BadRecord, Geometry, Ledger, SUPERBLOCK_LEN, Superblock};
use super::{MIB, ZeroWith};

/// Where the two superblocks are: apart, so that one bad spot does not take both.
const SUPERBLOCK_AT: [u64; 2] = [0, MIB / 2];

/// Why the records of a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AreaError {
    #[error("reading or writing its records")]
    Io(#[from] io::Error),
    #[error("no superblock of ours")]
    NotOurs,
    #[error("both copies of its {what} are damaged")]
    Damaged { what: &'static str, source: BadRecord },
    #[error("it is {has} bytes and was {was}")]
    Shrunk { has: u64, was: u64 },
    #[error("its volumes need more room than the {} bytes of a ledger", MIB)]
    Full,
    #[error("a newer version wrote to it; it is read only here")]
    ReadOnly,
    #[error(
        "an earlier write of its records failed, and what it holds is known only after a restart"
    )]
    Unsure,
}

/// A device's records, open for change.
#[derive(Debug)]
pub(crate) struct Area {
    blocks: Arc<dyn Blocks>,
    superblock: Superblock,
    /// The copy that holds `superblock`.
    superblock_copy: usize,
    ledger_generation: u64,
    /// The slot that holds the newest ledger.
    ledger_slot: usize,
    /// A failed write or sync is final: neither side of it can be told from the other.
    unsure: bool,
}

impl Area {
    /// Makes the device ours. Whatever it held before is gone once the old signatures are.
    pub(crate) fn format(
        blocks: Arc<dyn Blocks>,
        geometry: Geometry,
        unit: Uuid,
        ledger: &Ledger,
    ) -> Result<Self, AreaError> {
        wipe(&*blocks, geometry.size)?;
        blocks.zero(geometry.journal_at(), JOURNAL_LEN)?;
        let device = Uuid::new_v4();
        let superblock =
            Superblock { compat: 0, ro_compat: 0, device, unit, generation: 0, geometry };
        let mut area = Self {
            blocks,
            superblock,
            superblock_copy: 1,
            ledger_generation: 0,
            ledger_slot: 1,
            unsure: false,
        };
        // Both slots and both copies, the superblocks last: with them the device becomes ours.
        area.commit(ledger)?;
        area.commit(ledger)?;
        area.set_unit(unit)?;
        area.set_unit(unit)?;
        Ok(area)
    }

    /// Reads the newest whole copies.
    pub(crate) fn open(blocks: Arc<dyn Blocks>, size: u64) -> Result<(Self, Ledger), AreaError> {
        let (superblock, superblock_copy) = newest_superblock(&*blocks)?;
        let was = superblock.geometry.size;
        if size < was {
            return Err(AreaError::Shrunk { has: size, was });
        }
        let (ledger, ledger_generation, ledger_slot) = newest_ledger(&*blocks, &superblock)?;
        ledger
            .held_on(superblock.device, &superblock.geometry.data())
            .map_err(|source| AreaError::Damaged { what: "ledger", source })?;
        let area = Self {
            blocks,
            superblock,
            superblock_copy,
            ledger_generation,
            ledger_slot,
            unsure: false,
        };
        Ok((area, ledger))
    }

    pub(crate) fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The same device through another handle, once it is known how it zeroes.
    pub(crate) fn set_blocks(&mut self, blocks: Arc<dyn Blocks>) {
        self.blocks = blocks;
    }

    pub(crate) fn blocks(&self) -> &Arc<dyn Blocks> {
        &self.blocks
    }

    /// Puts `ledger` on the device, durably. After an error it may or may not be there.
    pub(crate) fn commit(&mut self, ledger: &Ledger) -> Result<(), AreaError> {
        self.check_writable()?;
        let generation = self.ledger_generation + 1;
        let mut bytes = ledger.encode(self.superblock.device, generation);
        if bytes.len() as u64 > self.superblock.geometry.ledger_len {
            return Err(AreaError::Full);
        }
        pad(&mut bytes);
        let slot = 1 - self.ledger_slot;
        self.write(self.superblock.geometry.ledger_at[slot], &bytes)?;
        (self.ledger_generation, self.ledger_slot) = (generation, slot);
        Ok(())
    }

    /// Hands the device to `unit`, durably.
    pub(crate) fn set_unit(&mut self, unit: Uuid) -> Result<(), AreaError> {
        self.check_writable()?;
        let mut superblock = self.superblock.clone();
        superblock.unit = unit;
        superblock.generation += 1;
        let copy = 1 - self.superblock_copy;
        self.write(SUPERBLOCK_AT[copy], &superblock.encode())?;
        (self.superblock, self.superblock_copy) = (superblock, copy);
        Ok(())
    }

    /// Whether a commit could succeed at all.
    pub(crate) fn check_writable(&self) -> Result<(), AreaError> {
        if self.superblock.is_read_only() {
            return Err(AreaError::ReadOnly);
        }
        if self.unsure { Err(AreaError::Unsure) } else { Ok(()) }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), AreaError> {
        let written = self.blocks.write_at(at, bytes).and_then(|()| self.blocks.sync());
        self.unsure = written.is_err();
        Ok(written?)
    }
}

/// Removes what other programs look for: the first MiB, and the last, where GPT and md keep copies.
fn wipe(blocks: &dyn Blocks, size: u64) -> io::Result<()> {
    blocks.zero(0, MIB)?;
    let tail = size.saturating_sub(MIB).next_multiple_of(ALIGN);
    let len = (size - tail) / ALIGN * ALIGN;
    if len > 0 {
        blocks.zero(tail, len)?;
    }
    blocks.sync()
}

fn pad(bytes: &mut Vec<u8>) {
    let page = usize::try_from(ALIGN).expect("a page");
    bytes.resize(bytes.len().next_multiple_of(page), 0);
}

fn newest_superblock(blocks: &dyn Blocks) -> Result<(Superblock, usize), AreaError> {
    let mut newest: Option<(Superblock, usize)> = None;
    let mut damage = None;
    for (copy, at) in SUPERBLOCK_AT.into_iter().enumerate() {
        let mut bytes = vec![0; SUPERBLOCK_LEN];
        blocks.read_at(at, &mut bytes)?;
        match Superblock::decode(&bytes) {
            // A newer format in either copy rules: an older one beside it may be out of date.
            Err(source @ BadRecord::Newer(_)) => {
                return Err(AreaError::Damaged { what: "superblock", source });
            }
            Ok(found) if newest.as_ref().is_none_or(|(n, _)| n.generation < found.generation) => {
                newest = Some((found, copy));
            }
            Ok(_) | Err(BadRecord::Absent) => {}
            Err(source) => damage = Some(source),
        }
    }
    match (newest, damage) {
        (Some(found), _) => Ok(found),
        (None, Some(source)) => Err(AreaError::Damaged { what: "superblock", source }),
        (None, None) => Err(AreaError::NotOurs),
    }
}

fn newest_ledger(
    blocks: &dyn Blocks,
    superblock: &Superblock,
) -> Result<(Ledger, u64, usize), AreaError> {
    let mut newest: Option<(Ledger, u64, usize)> = None;
    let mut damage = BadRecord::Absent;
    let len = usize::try_from(superblock.geometry.ledger_len).expect("check: a MiB");
    for (slot, at) in superblock.geometry.ledger_at.into_iter().enumerate() {
        let bytes = read_slot(blocks, at, len)?;
        match Ledger::decode(&bytes, superblock.device) {
            Ok((ledger, generation)) if newest.as_ref().is_none_or(|n| n.1 < generation) => {
                newest = Some((ledger, generation, slot));
            }
            Ok(_) => {}
            Err(source) => damage = source,
        }
    }
    newest.ok_or(AreaError::Damaged { what: "ledger", source: damage })
}

/// As much of a slot as its ledger takes; a length that is rotten fails the checksum later.
fn read_slot(blocks: &dyn Blocks, at: u64, slot_len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(ALIGN).expect("a page")];
    blocks.read_at(at, &mut bytes)?;
    let len = Ledger::encoded_len(&bytes).unwrap_or(0).min(slot_len);
    if len > bytes.len() {
        bytes.resize(len, 0);
        pad(&mut bytes);
        blocks.read_at(at, &mut bytes)?;
    }
    Ok(bytes)
}

/// The quickest way this device zeroes a range, found by trying it on the MiB the format keeps free.
pub(crate) fn try_zeroing(blocks: &super::blocks::FileBlocks) -> ZeroWith {
    use rustix::fs::{FallocateFlags, fallocate};
    let spare = 3 * MIB;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if fallocate(&blocks.fd, FallocateFlags::ZERO_RANGE, spare, MIB).is_ok() {
        ZeroWith::Range
    } else if fallocate(&blocks.fd, punch, spare, MIB).is_ok() {
        ZeroWith::Punch
    } else {
        ZeroWith::Writes
    }
}

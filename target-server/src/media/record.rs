//! What is written on a device, as bytes: the superblock, and the ledger of all volumes that have
//! extents there. Pure: where the bytes go, and in which order, is `area`'s.
//!
//! Every record ends in a CRC32C over all before it, so a torn or rotten one is never taken for whole.

mod codec;

use std::collections::BTreeMap;
use std::ops::Range;

use uuid::Uuid;

use super::journal::JOURNAL_LEN;
use super::{MIB, PartitionSpec, Place, VolumeName, WritePolicy};
use codec::{Reader, Writer};

/// One copy of the superblock, padding included. Never larger than what a disk writes in one go.
pub(crate) const SUPERBLOCK_LEN: usize = 4096;
/// Extents of one volume; a volume in more pieces than this wants defragmenting, not serving.
pub(crate) const EXTENTS_MAX: usize = 512;

/// The last letter counts formats: `2` has a journal.
const SUPERBLOCK_MAGIC: [u8; 8] = *b"OUTBAND2";
const JOURNAL_AT: u64 = 4 * MIB;
const LEDGER_MAGIC: [u8; 8] = *b"OBLEDGR\0";
const CRC_LEN: usize = 4;

/// Features in a device's format that this program knows. An unknown `incompat` bit: hands off; an
/// unknown `ro_compat` bit: read only; unknown `compat` bits do no harm.
const KNOWN_RO_COMPAT: u64 = 0;
const KNOWN_INCOMPAT: u64 = 0;

/// Bytes that are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadRecord {
    #[error("no record here")]
    Absent,
    #[error("the record is cut short")]
    Truncated,
    #[error("the checksum does not match")]
    Checksum,
    #[error("the record belongs to device {0}")]
    OtherDevice(Uuid),
    #[error(
        "the format has features (incompat {0:#x}) that this version does not know; use a newer one"
    )]
    Newer(u64),
    #[error("{0} makes no sense")]
    Nonsense(&'static str),
}

/// Who a device is, and how it is laid out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Superblock {
    pub(crate) compat: u64,
    pub(crate) ro_compat: u64,
    pub(crate) device: Uuid,
    /// The unit the device belongs to; changed by `device import`.
    pub(crate) unit: Uuid,
    pub(crate) generation: u64,
    pub(crate) geometry: Geometry,
}

/// Byte positions on the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    pub(crate) size: u64,
    pub(crate) ledger_at: [u64; 2],
    pub(crate) ledger_len: u64,
    pub(crate) data_at: u64,
}

impl Geometry {
    /// The first MiB holds the superblocks, the next two one ledger each, the fourth is kept free
    /// for what the format may still need (and for trying out how the device zeroes), and then
    /// comes the journal.
    pub(crate) fn of_size(size: u64) -> Option<Self> {
        let data_at = JOURNAL_AT + JOURNAL_LEN;
        let fits = size >= data_at + MIB && size / MIB <= u64::from(u32::MAX);
        fits.then_some(Self { size, ledger_at: [MIB, 2 * MIB], ledger_len: MIB, data_at })
    }

    /// The smallest device: room for one MiB of volumes.
    pub(crate) const LEAST: u64 = JOURNAL_AT + JOURNAL_LEN + MIB;

    /// Where the journal is.
    pub(crate) fn journal_at(&self) -> u64 {
        self.data_at - JOURNAL_LEN
    }

    /// The data area, in MiB from the start of the device.
    pub(crate) fn data(&self) -> Range<u32> {
        let mib = |bytes: u64| u32::try_from(bytes / MIB).unwrap_or(u32::MAX);
        mib(self.data_at)..mib(self.size)
    }

    fn check(&self) -> Result<(), BadRecord> {
        let [a, b] = self.ledger_at;
        let aligned = [a, b, self.ledger_len, self.data_at].iter().all(|at| at.is_multiple_of(MIB));
        let ordered = MIB <= a
            && a.checked_add(self.ledger_len).is_some_and(|end| end <= b)
            && b.checked_add(self.ledger_len + JOURNAL_LEN).is_some_and(|end| end <= self.data_at)
            && self.data_at < self.size
            && self.size / MIB <= u64::from(u32::MAX);
        if aligned && ordered && self.ledger_len == MIB {
            Ok(())
        } else {
            Err(BadRecord::Nonsense("the geometry"))
        }
    }
}

impl Superblock {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(&SUPERBLOCK_MAGIC);
        out.u64(self.compat);
        out.u64(self.ro_compat);
        out.u64(KNOWN_INCOMPAT);
        out.uuid(self.device);
        out.uuid(self.unit);
        out.u64(self.generation);
        out.u64(self.geometry.size);
        out.u64(self.geometry.ledger_at[0]);
        out.u64(self.geometry.ledger_at[1]);
        out.u64(self.geometry.ledger_len);
        out.u64(self.geometry.data_at);
        out.pad_to(SUPERBLOCK_LEN - CRC_LEN);
        out.seal()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let bytes = bytes.get(..SUPERBLOCK_LEN).ok_or(BadRecord::Truncated)?;
        let mut input = Reader::new(bytes);
        if input.array()? != SUPERBLOCK_MAGIC {
            return Err(BadRecord::Absent);
        }
        let mut input = Reader::unseal(bytes)?;
        input.skip(SUPERBLOCK_MAGIC.len())?;
        let (compat, ro_compat, incompat) = (input.u64()?, input.u64()?, input.u64()?);
        if incompat & !KNOWN_INCOMPAT != 0 {
            return Err(BadRecord::Newer(incompat));
        }
        let (device, unit, generation) = (input.uuid()?, input.uuid()?, input.u64()?);
        let geometry = Geometry {
            size: input.u64()?,
            ledger_at: [input.u64()?, input.u64()?],
            ledger_len: input.u64()?,
            data_at: input.u64()?,
        };
        geometry.check()?;
        Ok(Self { compat, ro_compat, device, unit, generation, geometry })
    }

    /// A newer program left something here that must not be written over.
    pub(crate) fn is_read_only(&self) -> bool {
        self.ro_compat & !KNOWN_RO_COMPAT != 0
    }
}

/// All that one device knows of volumes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ledger {
    /// MiB from here on were never given to a volume since the file was made, so they read as zeros.
    pub(crate) fresh_from: u32,
    pub(crate) volumes: BTreeMap<Uuid, VolumeRecord>,
}

/// A volume as each of its devices records it: all of it, so that the copies can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VolumeRecord {
    pub(crate) id: Uuid,
    pub(crate) name: VolumeName,
    pub(crate) block_size: u32,
    /// Bytes; the last extent may be longer than what is used of it.
    pub(crate) size: u64,
    pub(crate) write_policy: WritePolicy,
    pub(crate) faulted: bool,
    /// Hosts may ask for SANITIZE.
    pub(crate) allow_sanitize: bool,
    /// Being deleted: gone once the home device has forgotten it.
    pub(crate) leaving: bool,
    /// Grows by one with every change.
    pub(crate) generation: u64,
    pub(crate) epoch_floor: u64,
    pub(crate) place: Place,
    /// Never empty. The first one's device is the volume's home, whose record decides.
    pub(crate) extents: Vec<Extent>,
    pub(crate) partitions: Vec<PartitionSpec>,
}

/// A run of MiB on one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) device: Uuid,
    /// MiB from the start of the device.
    pub(crate) start: u32,
    /// MiB.
    pub(crate) len: u32,
    /// Reads as zeros where the volume has not written. Until then nobody sees it.
    pub(crate) zeroed: bool,
}

impl Extent {
    pub(crate) fn end(&self) -> u32 {
        self.start.saturating_add(self.len)
    }

    pub(crate) fn offset(&self) -> u64 {
        u64::from(self.start) * MIB
    }

    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.len) * MIB
    }
}

impl VolumeRecord {
    /// The device whose record decides between two generations.
    pub(crate) fn home(&self) -> Uuid {
        self.extents.first().expect("decode and create refuse a volume without extents").device
    }

    /// Every device once, the home first.
    pub(crate) fn members(&self) -> Vec<Uuid> {
        let mut members = Vec::new();
        for extent in &self.extents {
            if !members.contains(&extent.device) {
                members.push(extent.device);
            }
        }
        members
    }

    /// Bytes allocated, used or not.
    pub(crate) fn allocated(&self) -> u64 {
        self.extents.iter().map(Extent::bytes).sum()
    }

    /// Bytes a host may see: up to the first extent that is not zeroed yet.
    pub(crate) fn visible(&self) -> u64 {
        let zeroed: u64 = self.extents.iter().take_while(|e| e.zeroed).map(Extent::bytes).sum();
        let visible = zeroed.min(self.size);
        visible - visible % u64::from(self.block_size)
    }

    fn check(&self) -> Result<(), BadRecord> {
        if ![512, 1024, 2048, 4096].contains(&self.block_size) {
            return Err(BadRecord::Nonsense("the block size"));
        }
        if self.extents.is_empty() || self.extents.len() > EXTENTS_MAX {
            return Err(BadRecord::Nonsense("the number of extents"));
        }
        if self.extents.iter().any(|e| e.len == 0 || e.start.checked_add(e.len).is_none()) {
            return Err(BadRecord::Nonsense("an extent"));
        }
        let whole = self.size.is_multiple_of(u64::from(self.block_size));
        if self.size == 0 || !whole || self.size > self.allocated() {
            return Err(BadRecord::Nonsense("the size"));
        }
        check_partitions(&self.partitions, self.size / u64::from(self.block_size))
    }
}

/// Partitions lie within the volume, are told apart by number, and never overlap.
fn check_partitions(partitions: &[PartitionSpec], blocks: u64) -> Result<(), BadRecord> {
    for (i, p) in partitions.iter().enumerate() {
        let inside = p.start.checked_add(p.blocks).is_some_and(|end| end <= blocks);
        if !inside || p.blocks == 0 || p.number == 0 {
            return Err(BadRecord::Nonsense("a partition"));
        }
        let clash =
            |q: &PartitionSpec| q.number == p.number || (p.start < q.end() && q.start < p.end());
        if partitions[..i].iter().any(clash) {
            return Err(BadRecord::Nonsense("a partition"));
        }
    }
    Ok(())
}

impl Ledger {
    pub(crate) fn encode(&self, device: Uuid, generation: u64) -> Vec<u8> {
        let mut payload = Writer::new();
        payload.u32(self.fresh_from);
        payload.count32(self.volumes.len());
        for volume in self.volumes.values() {
            volume.encode(&mut payload);
        }
        let payload = payload.into_bytes();
        let mut out = Writer::new();
        out.bytes(&LEDGER_MAGIC);
        out.uuid(device);
        out.u64(generation);
        out.count32(payload.len());
        out.bytes(&payload);
        out.seal()
    }

    /// How many bytes the ledger takes that begins with `head`, if one does.
    pub(crate) fn encoded_len(head: &[u8]) -> Option<usize> {
        let mut input = Reader::new(head);
        input.skip(LEDGER_MAGIC.len() + 16 + 8).ok()?;
        let payload_len = input.u32().ok()? as usize;
        payload_len.checked_add(input.position() + CRC_LEN)
    }

    /// The ledger and its generation. `bytes` may go on after the record: a slot is larger.
    pub(crate) fn decode(bytes: &[u8], device: Uuid) -> Result<(Self, u64), BadRecord> {
        let mut input = Reader::new(bytes);
        if input.array()? != LEDGER_MAGIC {
            return Err(BadRecord::Absent);
        }
        let owner = input.uuid()?;
        let generation = input.u64()?;
        let payload_len = input.u32()? as usize;
        let end =
            input.position().checked_add(payload_len).and_then(|end| end.checked_add(CRC_LEN));
        let sealed = end.and_then(|end| bytes.get(..end)).ok_or(BadRecord::Truncated)?;
        let start = input.position();
        let mut input = Reader::unseal(sealed)?;
        if owner != device {
            return Err(BadRecord::OtherDevice(owner));
        }
        input.skip(start)?;
        let ledger = Self::decode_payload(&mut input)?;
        Ok((ledger, generation))
    }

    fn decode_payload(input: &mut Reader<'_>) -> Result<Self, BadRecord> {
        let fresh_from = input.u32()?;
        let count = input.u32()?;
        let mut volumes = BTreeMap::new();
        for _ in 0..count {
            let volume = VolumeRecord::decode(input)?;
            if volumes.insert(volume.id, volume).is_some() {
                return Err(BadRecord::Nonsense("a volume that is there twice"));
            }
        }
        input.finish()?;
        Ok(Self { fresh_from, volumes })
    }

    /// The runs that volumes hold on `device`; an error when two of them overlap, or one lies outside.
    pub(crate) fn held_on(
        &self,
        device: Uuid,
        data: &Range<u32>,
    ) -> Result<Vec<Range<u32>>, BadRecord> {
        let extents = self.volumes.values().flat_map(|v| &v.extents).filter(|e| e.device == device);
        let mut held: Vec<Range<u32>> = extents.map(|e| e.start..e.end()).collect();
        held.sort_by_key(|run| run.start);
        let inside = held.iter().all(|run| data.start <= run.start && run.end <= data.end);
        let apart = held.windows(2).all(|pair| pair[0].end <= pair[1].start);
        if inside && apart { Ok(held) } else { Err(BadRecord::Nonsense("an extent")) }
    }
}

#[cfg(test)]
mod tests;

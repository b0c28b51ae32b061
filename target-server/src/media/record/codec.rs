//! Big-endian fields in and out, and the layout of one volume. Reading never panics and never
//! allocates more than the bytes at hand justify.

use uuid::Uuid;

use super::{BadRecord, CRC_LEN, EXTENTS_MAX, Extent, VolumeRecord};
use crate::media::{PartitionSpec, Place, VolumeName, WritePolicy};

const FAULTED: u8 = 1;
const LEAVING: u8 = 2;
const SANITIZE: u8 = 4;

pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(4096))
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, id: Uuid) {
        self.bytes(id.as_bytes());
    }

    pub(super) fn count16(&mut self, count: usize) {
        self.u16(u16::try_from(count).expect("the catalog bounds what a volume may hold"));
    }

    pub(super) fn count32(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("a ledger is at most a MiB"));
    }

    pub(super) fn pad_to(&mut self, len: usize) {
        self.0.resize(len, 0);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Everything so far, and its checksum.
    pub(super) fn seal(mut self) -> Vec<u8> {
        let crc = crc_fast::crc32_iscsi(&self.0);
        self.u32(crc);
        self.0
    }
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A reader over what a checksum at the end vouches for.
    pub(super) fn unseal(bytes: &'a [u8]) -> Result<Self, BadRecord> {
        let (body, crc) = bytes.split_last_chunk::<CRC_LEN>().ok_or(BadRecord::Truncated)?;
        if crc_fast::crc32_iscsi(body) != u32::from_be_bytes(*crc) {
            return Err(BadRecord::Checksum);
        }
        Ok(Self::new(body))
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BadRecord> {
        let end = self.at.checked_add(len).ok_or(BadRecord::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(BadRecord::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, len: usize) -> Result<(), BadRecord> {
        self.take(len).map(|_| ())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        self.take(N)?.try_into().map_err(|_| BadRecord::Truncated)
    }

    pub(super) fn u8(&mut self) -> Result<u8, BadRecord> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, BadRecord> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, BadRecord> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, BadRecord> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, BadRecord> {
        self.array().map(Uuid::from_bytes)
    }

    pub(super) fn finish(&self) -> Result<(), BadRecord> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(BadRecord::Nonsense("the length")) }
    }
}

impl VolumeRecord {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.uuid(self.id);
        let name = self.name.as_str().as_bytes();
        out.u8(u8::try_from(name.len()).expect("a name has at most 63 bytes"));
        out.bytes(name);
        out.u32(self.block_size);
        out.u64(self.size);
        out.u8(match self.write_policy {
            WritePolicy::Normal => 0,
            WritePolicy::High => 1,
        });
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        out.u8(flag(self.faulted, FAULTED)
            | flag(self.leaving, LEAVING)
            | flag(self.allow_sanitize, SANITIZE));
        out.u64(self.generation);
        out.u64(self.epoch_floor);
        out.u16(self.place.target_portal_group);
        out.u16(self.place.target_port_group);
        out.u16(self.place.relative_port);
        out.count16(self.extents.len());
        for extent in &self.extents {
            out.uuid(extent.device);
            out.u32(extent.start);
            out.u32(extent.len);
            out.u8(u8::from(extent.zeroed));
        }
        out.count16(self.partitions.len());
        for partition in &self.partitions {
            out.u16(partition.number);
            out.uuid(partition.id);
            out.u64(partition.start);
            out.u64(partition.blocks);
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, BadRecord> {
        let id = input.uuid()?;
        let name_len = usize::from(input.u8()?);
        let name = name(input.take(name_len)?)?;
        let (block_size, size) = (input.u32()?, input.u64()?);
        let write_policy = match input.u8()? {
            0 => WritePolicy::Normal,
            1 => WritePolicy::High,
            _ => return Err(BadRecord::Nonsense("the write policy")),
        };
        let flags = input.u8()?;
        if flags & !(FAULTED | LEAVING | SANITIZE) != 0 {
            return Err(BadRecord::Nonsense("a flag"));
        }
        let (generation, epoch_floor) = (input.u64()?, input.u64()?);
        let place = Place {
            target_portal_group: input.u16()?,
            target_port_group: input.u16()?,
            relative_port: input.u16()?,
        };
        let extents = extents(input)?;
        let partitions = partitions(input)?;
        let (faulted, leaving) = (flags & FAULTED != 0, flags & LEAVING != 0);
        let allow_sanitize = flags & SANITIZE != 0;
        let volume = Self {
            id,
            name,
            block_size,
            size,
            write_policy,
            faulted,
            allow_sanitize,
            leaving,
            generation,
            epoch_floor,
            place,
            extents,
            partitions,
        };
        volume.check()?;
        Ok(volume)
    }
}

fn name(bytes: &[u8]) -> Result<VolumeName, BadRecord> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadRecord::Nonsense("the name"))?;
    VolumeName::new(text).map_err(|_| BadRecord::Nonsense("the name"))
}

fn extents(input: &mut Reader<'_>) -> Result<Vec<Extent>, BadRecord> {
    let count = usize::from(input.u16()?);
    if count > EXTENTS_MAX {
        return Err(BadRecord::Nonsense("the number of extents"));
    }
    let mut extents = Vec::with_capacity(count);
    for _ in 0..count {
        let (device, start, len) = (input.uuid()?, input.u32()?, input.u32()?);
        let zeroed = match input.u8()? {
            0 => false,
            1 => true,
            _ => return Err(BadRecord::Nonsense("an extent")),
        };
        extents.push(Extent { device, start, len, zeroed });
    }
    Ok(extents)
}

fn partitions(input: &mut Reader<'_>) -> Result<Vec<PartitionSpec>, BadRecord> {
    let mut partitions = Vec::new();
    for _ in 0..input.u16()? {
        partitions.push(PartitionSpec {
            number: input.u16()?,
            id: input.uuid()?,
            start: input.u64()?,
            blocks: input.u64()?,
        });
    }
    Ok(partitions)
}

//! Partitions: sub-ranges of a volume that can be given away by themselves. They never overlap, and
//! lie in space that is zeroed: what is not cannot be served yet.
//! Whether a volume is granted whole or by partitions is control's rule, not the catalog's.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Catalog;
use crate::media::record::VolumeRecord;
use crate::media::{MIB, MediaError, PartitionSpec, VolumeSpec};

/// What somebody asks for. Sizes are bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewPartition {
    /// The lowest free one, if not said.
    #[serde(default)]
    pub number: Option<u16>,
    /// First block; the first gap that is large enough, at a MiB, if not said.
    #[serde(default)]
    pub start: Option<u64>,
    /// The whole gap, if not said.
    #[serde(default)]
    pub size: Option<u64>,
}

impl Catalog {
    pub fn create_partition(
        &mut self,
        volume: &str,
        new: NewPartition,
    ) -> Result<PartitionSpec, MediaError> {
        let record = self.whole(volume)?;
        let number = free_number(record, new.number)?;
        let (start, blocks) = place(record, new)?;
        let partition = PartitionSpec { number, id: Uuid::new_v4(), start, blocks };
        check_free(record, &partition)?;
        self.change(volume, |record| {
            record.partitions.push(partition);
            record.partitions.sort_by_key(|p| p.number);
        })?;
        Ok(partition)
    }

    /// Moves a partition's end; its data and identity stay.
    pub fn grow_partition(
        &mut self,
        volume: &str,
        number: u16,
        size: u64,
    ) -> Result<VolumeSpec, MediaError> {
        let record = self.whole(volume)?;
        let mut grown = *partition(record, number)?;
        let blocks = blocks_of(record, size)?;
        if blocks < grown.blocks {
            let size = grown.blocks * u64::from(record.block_size);
            return Err(MediaError::Shrinks { name: record.name.clone(), size });
        }
        grown.blocks = blocks;
        check_free(record, &grown)?;
        self.change(volume, |record| {
            let same = record.partitions.iter_mut().find(|p| p.number == number);
            *same.expect("it was there a moment ago") = grown;
        })?;
        self.volume(volume)
    }

    /// Forgets a partition. What it held is still in the volume.
    pub fn remove_partition(
        &mut self,
        volume: &str,
        number: u16,
    ) -> Result<VolumeSpec, MediaError> {
        partition(self.whole(volume)?, number)?;
        self.change(volume, |record| record.partitions.retain(|p| p.number != number))?;
        self.volume(volume)
    }
}

fn partition(record: &VolumeRecord, number: u16) -> Result<&PartitionSpec, MediaError> {
    let found = record.partitions.iter().find(|p| p.number == number);
    found.ok_or_else(|| MediaError::NoSuchPartition { volume: record.name.clone(), number })
}

fn blocks_of(record: &VolumeRecord, size: u64) -> Result<u64, MediaError> {
    let block_size = record.block_size;
    let blocks = size.div_ceil(u64::from(block_size));
    if blocks == 0 { Err(MediaError::BadSize { block_size }) } else { Ok(blocks) }
}

fn free_number(record: &VolumeRecord, asked: Option<u16>) -> Result<u16, MediaError> {
    let taken = |n: &u16| record.partitions.iter().any(|p| p.number == *n);
    let number = asked.or_else(|| (1..=u16::MAX).find(|n| !taken(n))).unwrap_or(0);
    if number == 0 || taken(&number) {
        return Err(MediaError::PartitionTaken { volume: record.name.clone(), number });
    }
    Ok(number)
}

/// Where a new partition goes: as said, or the first gap that holds it.
fn place(record: &VolumeRecord, new: NewPartition) -> Result<(u64, u64), MediaError> {
    let wanted = new.size.map(|size| blocks_of(record, size)).transpose()?;
    let gaps = gaps(record);
    if let Some(start) = new.start {
        let gap_end =
            gaps.iter().find(|(from, end)| *from <= start && start < *end).map(|gap| gap.1);
        let rest = gap_end.map_or(1, |end| end - start);
        return Ok((start, wanted.unwrap_or(rest)));
    }
    let align = MIB / u64::from(record.block_size);
    let aligned = gaps.iter().map(|(from, end)| (from.next_multiple_of(align), *end));
    let holds = |(from, end): &(u64, u64)| *from < *end && end - from >= wanted.unwrap_or(1);
    let (start, end) = aligned.clone().find(holds).ok_or_else(|| {
        let largest = aligned.map(|(from, end)| end.saturating_sub(from)).max().unwrap_or(0);
        MediaError::PartitionSpace {
            volume: record.name.clone(),
            start: 0,
            end: record.size / u64::from(record.block_size) - 1,
            why: format!("the largest gap that is zeroed has {largest} blocks"),
        }
    })?;
    Ok((start, wanted.unwrap_or(end - start)))
}

/// Blocks that a host may see by now.
fn ready(record: &VolumeRecord) -> u64 {
    record.visible() / u64::from(record.block_size)
}

/// Runs of blocks outside of any partition: start and end.
fn gaps(record: &VolumeRecord) -> Vec<(u64, u64)> {
    let mut taken: Vec<(u64, u64)> = record.partitions.iter().map(|p| (p.start, p.end())).collect();
    taken.sort_unstable();
    let mut gaps = Vec::new();
    let mut from = 0;
    for (start, end) in taken {
        if from < start {
            gaps.push((from, start));
        }
        from = end;
    }
    let end = ready(record);
    if from < end {
        gaps.push((from, end));
    }
    gaps
}

/// Nothing but `asked` itself (it may be there already, smaller) is where it wants to be.
fn check_free(record: &VolumeRecord, asked: &PartitionSpec) -> Result<(), MediaError> {
    let ready = ready(record);
    let refuse = |end: u64, why: String| {
        let (volume, start) = (record.name.clone(), asked.start);
        Err(MediaError::PartitionSpace { volume, start, end, why })
    };
    let Some(end) = asked.start.checked_add(asked.blocks).filter(|end| *end <= ready) else {
        let end = asked.start.saturating_add(asked.blocks).saturating_sub(1);
        let total = record.size / u64::from(record.block_size);
        let zeroing =
            if ready < total { format!(", {ready} of them zeroed by now") } else { String::new() };
        return refuse(end, format!("the volume has {total} blocks{zeroing}"));
    };
    let others = record.partitions.iter().filter(|p| p.number != asked.number);
    match others.into_iter().find(|p| p.start < end && asked.start < p.end()) {
        Some(other) => refuse(end - 1, format!("partition {} is there", other.number)),
        None => Ok(()),
    }
}

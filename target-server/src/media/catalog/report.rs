//! What the unit has, for the inventory and for people.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Catalog;
use crate::media::assemble::Assembled;
use crate::media::device::{Device, DeviceKind};
use crate::media::{MIB, PartitionSpec, VolumeName, VolumeState, WritePolicy};

#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Report {
    pub devices: Vec<DeviceReport>,
    pub volumes: Vec<VolumeReport>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceReport {
    pub id: Uuid,
    pub path: PathBuf,
    /// None while it is missing.
    pub kind: Option<DeviceKind>,
    /// Bytes, all of it.
    pub size: u64,
    /// Bytes that volumes can have, taken or not.
    pub capacity: u64,
    pub free: u64,
    /// The longest free run, in bytes.
    pub largest_free: u64,
    pub logical_block_size: u32,
    pub volatile: bool,
    pub rotational: bool,
    pub read_only: bool,
    /// Why it is not open.
    pub missing: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeReport {
    pub id: Uuid,
    pub name: VolumeName,
    /// Bytes, space that is still being zeroed included.
    pub size: u64,
    pub block_size: u32,
    /// `size` in blocks.
    pub blocks: u64,
    /// On its first device, in blocks of the volume's size: where its first block lies.
    pub start_lba: u64,
    /// On its last device: where its last block lies. `end - start + 1 == blocks` for one extent.
    pub end_lba: u64,
    pub state: VolumeState,
    /// Why it is not online, where there is more to say.
    pub reason: Option<String>,
    pub write_policy: WritePolicy,
    pub epoch_floor: u64,
    pub volatile: bool,
    /// SANITIZE and FORMAT UNIT may be asked for.
    #[serde(default)]
    pub allow_sanitize: bool,
    pub extents: Vec<ExtentReport>,
    pub partitions: Vec<PartitionSpec>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExtentReport {
    pub device: Uuid,
    /// Bytes on the device.
    pub offset: u64,
    pub len: u64,
}

impl Catalog {
    pub fn report(&self) -> Report {
        let missing = self.missing.iter().map(|(id, (path, why))| absent(*id, path.clone(), why));
        let devices = self.devices.values().map(|device| self.device_report(device));
        let volumes = self.volumes.values().map(|volume| self.volume_report(volume));
        Report { devices: devices.chain(missing).collect(), volumes: volumes.collect() }
    }

    fn device_report(&self, device: &Device) -> DeviceReport {
        let space = self.space(device);
        DeviceReport {
            id: device.id,
            path: device.path.clone(),
            kind: Some(device.kind),
            size: device.size,
            capacity: u64::from(device.data.end - device.data.start) * MIB,
            free: space.free() * MIB,
            largest_free: u64::from(space.largest()) * MIB,
            logical_block_size: device.logical,
            volatile: device.volatile,
            rotational: device.rotational,
            read_only: device.read_only(),
            missing: None,
        }
    }

    fn volume_report(&self, volume: &Assembled) -> VolumeReport {
        let record = &volume.record;
        let block_size = u64::from(record.block_size);
        let (first, last) = (record.extents.first(), record.extents.last());
        let before_last = record.allocated() - last.map_or(0, |e| e.bytes());
        let end = last.map_or(0, |e| e.offset()) + record.size.saturating_sub(before_last);
        let extent = |e: &crate::media::record::Extent| ExtentReport {
            device: e.device,
            offset: e.offset(),
            len: e.bytes(),
        };
        VolumeReport {
            id: record.id,
            name: record.name.clone(),
            size: record.size,
            block_size: record.block_size,
            blocks: record.size / block_size,
            start_lba: first.map_or(0, |e| e.offset()) / block_size,
            end_lba: end / block_size - 1,
            state: self.state(volume),
            reason: volume.fault.as_ref().map(ToString::to_string),
            write_policy: record.write_policy,
            epoch_floor: record.epoch_floor,
            volatile: record.members().iter().any(|id| self.is_volatile(*id)),
            allow_sanitize: record.allow_sanitize,
            extents: record.extents.iter().map(extent).collect(),
            partitions: record.partitions.clone(),
        }
    }

    fn is_volatile(&self, device: Uuid) -> bool {
        self.devices.get(&device).is_some_and(|d| d.volatile)
    }
}

fn absent(id: Uuid, path: PathBuf, why: &str) -> DeviceReport {
    DeviceReport {
        id,
        path,
        kind: None,
        size: 0,
        capacity: 0,
        free: 0,
        largest_free: 0,
        logical_block_size: 0,
        volatile: false,
        rotational: false,
        read_only: false,
        missing: Some(why.to_owned()),
    }
}

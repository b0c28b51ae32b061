//! Volumes: made, grown, removed, and what is kept about them.

use std::collections::BTreeMap;

use outband_pool_api::Size;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use uuid::Uuid;

use super::Catalog;
use crate::media::assemble::Assembled;
use crate::media::device::{Device, DeviceKind};
use crate::media::extent::{Run, Space, plan};
use crate::media::record::{EXTENTS_MAX, Extent, VolumeRecord};
use crate::media::{
    MIB, MediaError, Piece, Place, VolumeName, VolumeSpec, VolumeState, WritePolicy,
};

/// What somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewVolume {
    pub name: VolumeName,
    /// Bytes; rounded up to whole blocks.
    pub size: u64,
    /// 512 where the devices can, else 4096.
    #[serde(default)]
    pub block_size: Option<u32>,
    #[serde(default)]
    pub write_policy: WritePolicy,
    /// Paths, memory names or ids. None named: any device whose data outlives the machine.
    #[serde(default)]
    pub on: Vec<String>,
    /// Memory and tmpfs will do, when nothing better has room.
    #[serde(default)]
    pub allow_volatile: bool,
    #[serde(default)]
    pub place: Place,
    /// Hosts may ask for SANITIZE, which wipes all of it.
    #[serde(default)]
    pub allow_sanitize: bool,
}

impl NewVolume {
    /// A volume of this name and size, and nothing special about it.
    pub fn new(name: VolumeName, size: u64) -> Self {
        Self {
            name,
            size,
            block_size: None,
            write_policy: WritePolicy::Normal,
            on: Vec::new(),
            allow_volatile: false,
            place: Place::default(),
            allow_sanitize: false,
        }
    }
}

/// Extents that a volume will get, and how far the devices are used then.
struct Allocation {
    extents: Vec<Extent>,
    fresh: BTreeMap<Uuid, u32>,
}

impl Catalog {
    /// Every volume, also those that cannot be served.
    pub fn volumes(&self) -> Vec<VolumeSpec> {
        self.volumes.values().map(|volume| self.spec(volume)).collect()
    }

    /// One volume, by name or id.
    pub fn volume(&self, name: &str) -> Result<VolumeSpec, MediaError> {
        Ok(self.spec(self.find(name)?))
    }

    /// Allocates and records a volume. Its space is visible once it reads as zeros: see
    /// [`begin_zeroing`](Self::begin_zeroing).
    pub fn create_volume(&mut self, new: &NewVolume) -> Result<VolumeSpec, MediaError> {
        if self.volumes.values().any(|v| v.record.name == new.name) {
            return Err(MediaError::NameTaken(new.name.clone()));
        }
        self.check_known(&new.name)?;
        let groups = self.candidates(new)?;
        let (allocation, block_size) = self.allocate_in(&groups, new)?;
        let size = round_up(new.size, block_size)?;
        let record = VolumeRecord {
            id: Uuid::new_v4(),
            name: new.name.clone(),
            block_size,
            size,
            write_policy: new.write_policy,
            allow_sanitize: new.allow_sanitize,
            faulted: false,
            leaving: false,
            generation: 1,
            epoch_floor: 0,
            place: new.place,
            extents: allocation.extents,
            partitions: Vec::new(),
        };
        self.put(&record, &allocation.fresh)?;
        info!(volume = %record.name, id = %record.id, size, "volume created");
        self.volume(&record.id.to_string())
    }

    /// Makes a volume larger; what it holds stays, what comes new reads as zeros.
    pub fn grow_volume(&mut self, name: &str, size: u64) -> Result<VolumeSpec, MediaError> {
        let mut record = self.whole(name)?.clone();
        let size = round_up(size, record.block_size)?;
        if size < record.size {
            return Err(MediaError::Shrinks { name: record.name, size: record.size });
        }
        let more = size.saturating_sub(record.allocated());
        let mut fresh = BTreeMap::new();
        if more > 0 {
            let allocation = self.allocate_more(&record, more)?;
            record.extents.extend(allocation.extents);
            fresh = allocation.fresh;
        }
        record.size = size;
        record.generation += 1;
        self.put(&record, &fresh)?;
        info!(volume = %record.name, size, "volume grown");
        self.volume(&record.id.to_string())
    }

    /// Forgets a volume; its space is free once that is durable. The caller has ended its sessions
    /// and seen every I/O of it complete. A volume that is not whole goes only with `force`.
    pub fn remove_volume(&mut self, name: &str, force: bool) -> Result<(), MediaError> {
        let volume = self.find(name)?;
        let id = volume.record.id;
        if self.busy.contains(&id) {
            return Err(MediaError::Zeroing(volume.record.name.clone()));
        }
        if volume.fault.is_some() && force {
            self.forget_copies(id)?;
        } else {
            self.remove_whole(&self.whole(name)?.clone())?;
        }
        info!(volume = name, %id, "volume removed");
        if self.listed.faulted.contains(&id) {
            let mut listed = self.listed.clone();
            listed.faulted.remove(&id);
            self.save(listed)?;
        }
        Ok(())
    }

    /// The home forgets it between the others' marking it and forgetting it: a cut in between leaves
    /// either the volume, or copies that say themselves that they are to go.
    fn remove_whole(&mut self, record: &VolumeRecord) -> Result<(), MediaError> {
        let mut leaving = record.clone();
        leaving.leaving = true;
        leaving.generation += 1;
        let home = record.home();
        let holders = self.devices.values().filter(|d| d.ledger.volumes.contains_key(&record.id));
        let holders: Vec<Uuid> = holders.map(|device| device.id).collect();
        self.check_writable(&holders)?;
        self.check_known(&record.name)?;
        let others: Vec<&Uuid> = holders.iter().filter(|id| **id != home).collect();
        for other in &others {
            let mut ledger = self.device(**other)?.ledger.clone();
            ledger.volumes.insert(leaving.id, leaving.clone());
            self.commit(**other, ledger)?;
        }
        self.forget_on(home, record.id)?;
        for other in others {
            // The volume is gone already; this copy goes at the next start, if not now.
            if let Err(error) = self.forget_on(*other, record.id) {
                warn!(device = %other, "space not free before the next start: {}", error.full());
            }
        }
        self.reassemble();
        Ok(())
    }

    /// After a failed write a device may hold a record of this name that we do not know of.
    fn check_known(&self, name: &VolumeName) -> Result<(), MediaError> {
        match self.devices.values().find(|d| d.doubtful.values().any(|doubtful| doubtful == name)) {
            Some(device) => Err(MediaError::Doubtful { name: name.clone(), device: device.name() }),
            None => Ok(()),
        }
    }

    fn forget_copies(&mut self, id: Uuid) -> Result<(), MediaError> {
        let holders: Vec<Uuid> = self
            .devices
            .values()
            .filter(|device| device.ledger.volumes.contains_key(&id))
            .map(|device| device.id)
            .collect();
        for device in holders {
            self.forget_on(device, id)?;
        }
        self.reassemble();
        Ok(())
    }

    fn forget_on(&mut self, device: Uuid, id: Uuid) -> Result<(), MediaError> {
        let mut ledger = self.device(device)?.ledger.clone();
        ledger.volumes.remove(&id);
        self.commit(device, ledger)
    }

    /// A sync failed under this volume. Recorded in the unit's list even if the device is past writing.
    pub fn set_faulted(&mut self, name: &str) -> Result<(), MediaError> {
        let id = self.find(name)?.record.id;
        if let Err(error) = self.change(name, |record| record.faulted = true) {
            warn!(
                volume = name,
                "the fault is recorded in the state directory only: {}",
                error.full()
            );
        }
        let mut listed = self.listed.clone();
        listed.faulted.insert(id);
        self.save(listed)
    }

    /// The operator has seen the fault and wants the volume back as it is.
    pub fn recover(&mut self, name: &str) -> Result<VolumeSpec, MediaError> {
        // A fault may have struck in the middle of an atomic write.
        let id = self.find(name)?.record.id;
        self.finish_intents(Some(id));
        if self.whole(name)?.faulted {
            self.change(name, |record| record.faulted = false)?;
        }
        let mut listed = self.listed.clone();
        listed.faulted.remove(&id);
        self.save(listed)?;
        self.volume(&id.to_string())
    }

    /// From now on, and over any restart, no grant below `epoch` is taken.
    pub fn raise_floor(&mut self, name: &str, epoch: u64) -> Result<(), MediaError> {
        let record = self.whole(name)?;
        let (volume, has) = (record.name.clone(), record.epoch_floor);
        match epoch.cmp(&has) {
            std::cmp::Ordering::Less => Err(MediaError::EpochBack { volume, asked: epoch, has }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => self.change(name, |record| record.epoch_floor = epoch),
        }
    }

    /// MODE SELECT with SP=1, or the operator.
    pub fn set_write_policy(&mut self, name: &str, policy: WritePolicy) -> Result<(), MediaError> {
        self.change(name, |record| record.write_policy = policy)
    }

    fn spec(&self, volume: &Assembled) -> VolumeSpec {
        let record = &volume.record;
        let state = self.state(volume);
        let devices: Vec<&Device> =
            record.members().iter().filter_map(|id| self.devices.get(id)).collect();
        let visible = if volume.fault.is_some() { 0 } else { record.visible() };
        let physical = devices.iter().map(|d| d.physical).max().unwrap_or(record.block_size);
        VolumeSpec {
            id: record.id,
            name: record.name.clone(),
            block_size: record.block_size,
            physical_block_size: physical.max(record.block_size),
            blocks: visible / u64::from(record.block_size),
            write_policy: record.write_policy,
            state,
            read_only: state == VolumeState::Incomplete || devices.iter().any(|d| d.read_only()),
            volatile: devices.iter().any(|d| d.volatile),
            rotational: devices.iter().any(|d| d.rotational),
            pieces: self.pieces(record, visible),
            partitions: record.partitions.clone(),
            epoch_floor: record.epoch_floor,
            place: record.place,
            allow_sanitize: record.allow_sanitize,
            journal: if visible > 0 { self.journal(record) } else { None },
        }
    }

    /// Whole extents, also the last one of a volume that ends within it: shards keep what they have of a
    /// volume that grows, and are told only of extents that are new.
    fn pieces(&self, record: &VolumeRecord, mut visible: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for extent in &record.extents {
            let device = self.devices.get(&extent.device).filter(|_| visible > 0);
            let Some(device) = device else { break };
            visible = visible.saturating_sub(extent.bytes());
            let media = device.media.clone();
            pieces.push(Piece {
                device: device.id,
                media,
                offset: extent.offset(),
                len: extent.bytes(),
                zero: device.zero,
            });
        }
        pieces
    }

    /// Devices to try, group by group: memory is never mixed with what lasts.
    fn candidates(&self, new: &NewVolume) -> Result<Vec<Vec<Uuid>>, MediaError> {
        let usable =
            |d: &&Device| !d.read_only() && new.block_size.is_none_or(|size| size >= d.logical);
        if !new.on.is_empty() {
            let mut named = Vec::new();
            for name in &new.on {
                named.push(self.device(self.device_named(name)?)?);
            }
            let memory = named.iter().filter(|d| d.kind == DeviceKind::Memory).count();
            if memory != 0 && memory != named.len() {
                return Err(MediaError::Mixed(new.name.clone()));
            }
            let possible = named.iter().map(|d| d.logical).max().unwrap_or(512);
            return match new.block_size {
                Some(asked) if asked < possible => Err(bad_block_size(asked, possible)),
                _ => Ok(vec![named.into_iter().filter(usable).map(|d| d.id).collect()]),
            };
        }
        let group = |wanted: fn(&Device) -> bool| -> Vec<Uuid> {
            self.devices.values().filter(usable).filter(|d| wanted(d)).map(|d| d.id).collect()
        };
        let mut groups = vec![group(|d| !d.volatile)];
        if new.allow_volatile {
            groups.push(group(|d| d.volatile && d.kind != DeviceKind::Memory));
            groups.push(group(|d| d.kind == DeviceKind::Memory));
        }
        Ok(groups)
    }

    fn allocate_in(
        &self,
        groups: &[Vec<Uuid>],
        new: &NewVolume,
    ) -> Result<(Allocation, u32), MediaError> {
        if let Some(asked) = new.block_size.filter(|size| ![512, 4096].contains(size)) {
            return Err(bad_block_size(asked, 512));
        }
        for group in groups {
            let logical = group.iter().map(|id| self.devices[id].logical).max().unwrap_or(512);
            let block_size = new.block_size.unwrap_or(logical).max(logical);
            let size = round_up(new.size, block_size)?;
            if let Some(allocation) = self.allocate(group, size) {
                return Ok((allocation, block_size));
            }
        }
        let tried: u64 = groups.iter().map(|g| self.free_on(g)).max().unwrap_or(0);
        let volatile =
            if new.on.is_empty() && !new.allow_volatile { self.volatile_free() } else { 0 };
        Err(MediaError::NoSpace { wanted: new.size, free: tried, volatile })
    }

    /// Room for a grow: on the devices the volume has, else on others of the same kind.
    fn allocate_more(&self, record: &VolumeRecord, more: u64) -> Result<Allocation, MediaError> {
        let members = record.members();
        let home = self.device(record.home())?;
        let alike: Vec<Uuid> = self
            .devices
            .values()
            .filter(|d| !d.read_only() && d.volatile == home.volatile)
            .filter(|d| (d.kind == DeviceKind::Memory) == (home.kind == DeviceKind::Memory))
            .filter(|d| d.logical <= record.block_size)
            .map(|d| d.id)
            .collect();
        let room = EXTENTS_MAX - record.extents.len();
        self.allocate(&members, more)
            .or_else(|| self.allocate(&alike, more))
            .filter(|allocation| allocation.extents.len() <= room)
            .ok_or_else(|| {
                let free = self.free_on(&alike);
                MediaError::NoSpace { wanted: more, free, volatile: 0 }
            })
    }

    fn allocate(&self, group: &[Uuid], bytes: u64) -> Option<Allocation> {
        let devices: Vec<&Device> = group.iter().filter_map(|id| self.devices.get(id)).collect();
        let spaces: Vec<Space> = devices.iter().map(|device| self.space(device)).collect();
        let runs = plan(&spaces, bytes.div_ceil(MIB), EXTENTS_MAX)?;
        let mut allocation = Allocation { extents: Vec::new(), fresh: BTreeMap::new() };
        for Run { space, range } in runs {
            let device = devices[space];
            let fresh =
                device.kind == DeviceKind::Memory || range.start >= device.ledger.fresh_from;
            let end = allocation.fresh.entry(device.id).or_insert(range.end);
            *end = range.end.max(*end);
            let len = range.end - range.start;
            allocation.extents.push(Extent {
                device: device.id,
                start: range.start,
                len,
                zeroed: fresh,
            });
        }
        Some(allocation)
    }

    fn free_on(&self, group: &[Uuid]) -> u64 {
        let devices = group.iter().filter_map(|id| self.devices.get(id));
        devices.map(|device| self.space(device).free() * MIB).sum()
    }

    fn volatile_free(&self) -> u64 {
        let volatile = self.devices.values().filter(|d| d.volatile && !d.read_only());
        volatile.map(|device| self.space(device).free() * MIB).sum()
    }
}

fn bad_block_size(asked: u32, least: u32) -> MediaError {
    let possible: Vec<String> =
        [512, 4096].iter().filter(|size| **size >= least).map(u32::to_string).collect();
    MediaError::BadBlockSize { asked, possible: possible.join(", ") }
}

/// To whole blocks, if a volume can have that size.
fn round_up(size: u64, block_size: u32) -> Result<u64, MediaError> {
    // The largest size of a volume is whole blocks of either size, so nothing overflows here.
    Ok(Size(size).of_volume()?.0.next_multiple_of(u64::from(block_size)))
}

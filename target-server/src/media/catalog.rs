//! The unit's devices and volumes. Every change is one transaction: whatever instant the process or
//! the power dies, the next `open` finds the state before it or after it.
//!
//! Order of a change: the volume's other devices, its home device (the commit), then the unit's list.

mod intents;
mod partitions;
mod report;
mod volumes;
mod zeroing;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tracing::{info, warn};
use uuid::Uuid;

use super::assemble::{Assembled, Repair, assemble};
use super::device::{
    AddOptions, Device, DeviceKind, adopt, examine, open_ours, open_path, use_page_cache,
};
use super::extent::Space;
use super::record::{Ledger, VolumeRecord};
use super::state_dir::{Listed, Registry, StateDir};
use super::{Broken, MediaError, VolumeName, VolumeState};

pub use partitions::NewPartition;
pub use report::{DeviceReport, ExtentReport, Report, VolumeReport};
pub use volumes::NewVolume;
pub use zeroing::ZeroJob;

/// All devices and volumes of one unit. One owner at a time: it holds the state directory's lock.
#[derive(Debug)]
pub struct Catalog {
    listed: Listed,
    registry: Box<dyn Registry>,
    devices: BTreeMap<Uuid, Device>,
    /// Listed devices that could not be opened, and why.
    missing: BTreeMap<Uuid, (PathBuf, String)>,
    volumes: BTreeMap<Uuid, Assembled>,
    /// Volumes whose extents somebody zeroes just now; they cannot be removed.
    busy: BTreeSet<Uuid>,
    /// Volumes with an atomic write that was cut short and cannot be finished.
    unfinished: BTreeSet<Uuid>,
}

impl Catalog {
    /// Opens the state directory and every device it lists. A device that cannot be opened takes its
    /// volumes out of service, not the unit.
    pub fn open(state_dir: &Path) -> Result<Self, MediaError> {
        let mut state = StateDir::open(state_dir)?;
        let listed = state.load()?;
        let opened = listed
            .devices
            .iter()
            .map(|(id, path)| (*id, open_listed(listed.unit, *id, path)))
            .collect();
        Ok(Self::assembled(Box::new(state), listed, opened))
    }

    fn assembled(
        registry: Box<dyn Registry>,
        listed: Listed,
        opened: Vec<(Uuid, Result<Device, MediaError>)>,
    ) -> Self {
        let mut catalog = Self {
            listed,
            registry,
            devices: BTreeMap::new(),
            missing: BTreeMap::new(),
            volumes: BTreeMap::new(),
            busy: BTreeSet::new(),
            unfinished: BTreeSet::new(),
        };
        for (id, opened) in opened {
            let opened = opened.and_then(|mut device| {
                Self::read_marks(&mut device)?;
                Ok(device)
            });
            match opened {
                Ok(device) => drop(catalog.devices.insert(id, device)),
                Err(error) => {
                    warn!(device = %id, "device left out: {}", error.full());
                    let path = catalog.listed.devices.get(&id).cloned().unwrap_or_default();
                    catalog.missing.insert(id, (path, error.full()));
                }
            }
        }
        catalog.reassemble_and_repair();
        catalog.finish_intents(None);
        catalog
    }

    /// The unit's identity, made with its state directory.
    pub fn unit_id(&self) -> Uuid {
        self.listed.unit
    }

    /// Memory that holds volumes until the process ends.
    pub fn add_memory(&mut self, name: &str, size: u64) -> Result<Uuid, MediaError> {
        if self.devices.values().any(|d| d.path == Path::new(name)) {
            return Err(MediaError::AlreadyHere(name.into()));
        }
        let device = Device::memory(name, size)?;
        let id = device.id;
        self.devices.insert(id, device);
        Ok(id)
    }

    /// Takes a file or block device, formatting it unless it is this unit's already.
    pub fn add_device(&mut self, path: &Path, options: AddOptions) -> Result<Uuid, MediaError> {
        self.check_new(path)?;
        let (fd, fresh) = open_path(path, options.size)?;
        self.add_opened(fd, path, fresh, options)
    }

    /// The same with a descriptor that somebody else opened; `fresh` if they made the file just now.
    pub fn add_opened(
        &mut self,
        fd: OwnedFd,
        path: &Path,
        fresh: bool,
        options: AddOptions,
    ) -> Result<Uuid, MediaError> {
        self.check_new(path)?;
        let device = adopt(examine(fd, path)?, fresh, self.listed.unit, options)?;
        self.enlist(device)
    }

    /// The device at `path` is read and written through the page cache from now on, until the unit
    /// stops.
    pub fn use_page_cache(&self, path: &Path) -> Result<(), MediaError> {
        let path = &std::path::absolute(path).map_err(MediaError::io(path, "finding it"))?;
        let fds = self.devices.values().filter(|device| device.path == *path);
        fds.filter_map(|device| device.media.file()).try_for_each(|fd| use_page_cache(fd, path))
    }

    /// Takes over a device of another unit, with its volumes and without that unit's grants.
    pub fn import_device(&mut self, path: &Path) -> Result<Uuid, MediaError> {
        self.check_new(path)?;
        let (fd, _) = open_path(path, None)?;
        let (device, _) = self.open_import(fd, path)?;
        self.import(device)
    }

    /// The same with a descriptor that somebody else opened: the device as it is, and which volumes come
    /// with it from another unit. Nothing has changed before [`import`](Self::import).
    pub(crate) fn open_import(
        &self,
        fd: OwnedFd,
        path: &Path,
    ) -> Result<(Device, Vec<VolumeName>), MediaError> {
        self.check_new(path)?;
        let device = open_ours(examine(fd, path)?)?;
        self.check_import(&device)?;
        let strange = device.unit().is_some_and(|unit| unit != self.listed.unit);
        let volumes = device.ledger.volumes.values().filter(|_| strange);
        let names = volumes.map(|volume| volume.name.clone()).collect();
        Ok((device, names))
    }

    /// Takes a device over that [`open_import`](Self::open_import) has opened.
    pub(crate) fn import(&mut self, mut device: Device) -> Result<Uuid, MediaError> {
        self.check_new(&device.path)?;
        self.check_import(&device)?;
        let name = device.name();
        let unit = self.listed.unit;
        if let Some(area) = device.area.as_mut().filter(|area| area.superblock().unit != unit) {
            area.set_unit(unit).map_err(MediaError::records(&name))?;
        }
        self.enlist(device)
    }

    /// Gives up a device that holds no volume, or one that is missing. Nothing is erased.
    pub fn remove_device(&mut self, name: &str) -> Result<(), MediaError> {
        let id = self.device_named(name)?;
        let holds = self.volumes.values().find(|v| v.record.members().contains(&id));
        if let Some(volume) = holds.filter(|_| self.devices.contains_key(&id)) {
            let by = format!("volume `{}`", volume.record.name);
            return Err(MediaError::InUse { path: name.into(), by });
        }
        let mut listed = self.listed.clone();
        listed.devices.remove(&id);
        self.save(listed)?;
        self.devices.remove(&id);
        self.missing.remove(&id);
        self.reassemble();
        Ok(())
    }

    fn check_new(&self, path: &Path) -> Result<(), MediaError> {
        let real = |p: &Path| std::fs::canonicalize(p).unwrap_or_else(|_| p.to_owned());
        let kept = self.devices.values().filter(|d| d.kind != DeviceKind::Memory);
        if kept.map(|d| real(&d.path)).any(|known| known == real(path)) {
            return Err(MediaError::AlreadyHere(path.to_owned()));
        }
        Ok(())
    }

    fn check_import(&self, device: &Device) -> Result<(), MediaError> {
        for volume in device.ledger.volumes.values() {
            let clash = self
                .volumes
                .values()
                .find(|known| known.record.name == volume.name && known.record.id != volume.id);
            if clash.is_some() {
                let why = format!("this unit has another volume named `{}`", volume.name);
                return Err(MediaError::Import { path: device.path.clone(), why });
            }
        }
        Ok(())
    }

    /// The device holds our superblock; now the unit's list names it, too.
    fn enlist(&mut self, mut device: Device) -> Result<Uuid, MediaError> {
        let id = device.id;
        if let Some(known) = self.devices.get(&id) {
            let why = format!("it is a copy of {}, which is here already", known.name());
            return Err(MediaError::Import { path: device.path.clone(), why });
        }
        let mut listed = self.listed.clone();
        listed.devices.insert(id, device.path.clone());
        self.save(listed)?;
        info!(device = %id, path = %device.name(), "device added");
        self.missing.remove(&id);
        Self::read_marks(&mut device)?;
        self.devices.insert(id, device);
        self.reassemble_and_repair();
        // Only volumes that were not whole without it can have anything to be finished.
        self.finish_intents_with(id);
        Ok(id)
    }

    fn save(&mut self, listed: Listed) -> Result<(), MediaError> {
        self.registry.save(&listed)?;
        self.listed = listed;
        Ok(())
    }

    /// By path, memory name or id.
    fn device_named(&self, name: &str) -> Result<Uuid, MediaError> {
        let known = self.devices.values().map(|d| (d.id, &d.path));
        let gone = self.missing.iter().map(|(id, (path, _))| (*id, path));
        known
            .chain(gone)
            .find(|(id, path)| path.as_path() == Path::new(name) || id.to_string() == name)
            .map(|(id, _)| id)
            .ok_or_else(|| MediaError::NoSuchDevice(name.to_owned()))
    }

    /// The free space of a device.
    fn space(&self, device: &Device) -> Space {
        let held = device.ledger.held_on(device.id, &device.data);
        let held = held.expect("checked when the ledger was read, and by every allocation since");
        Space::without(device.data.clone(), &held)
    }

    /// Puts `record` on all its devices, the home last. `fresh` is the new end of what was ever given
    /// out, per device.
    ///
    /// Nothing is begun when one of them cannot be written: the home's last write may have landed
    /// without our knowing, and then our next generation is not one ahead of it.
    fn put(
        &mut self,
        record: &VolumeRecord,
        fresh: &BTreeMap<Uuid, u32>,
    ) -> Result<(), MediaError> {
        self.check_writable(&record.members())?;
        let written = self.write_members(record, fresh);
        self.reassemble();
        written
    }

    fn write_members(
        &mut self,
        record: &VolumeRecord,
        fresh: &BTreeMap<Uuid, u32>,
    ) -> Result<(), MediaError> {
        let mut order = record.members();
        order.rotate_left(1);
        for member in order {
            let mut ledger = self.device(member)?.ledger.clone();
            ledger.volumes.insert(record.id, record.clone());
            if let Some(end) = fresh.get(&member) {
                ledger.fresh_from = ledger.fresh_from.max(*end);
            }
            self.commit(member, ledger)?;
        }
        Ok(())
    }

    fn check_writable(&self, devices: &[Uuid]) -> Result<(), MediaError> {
        for id in devices {
            let device = self.device(*id)?;
            if let Some(area) = &device.area {
                area.check_writable().map_err(MediaError::records(&device.name()))?;
            }
        }
        Ok(())
    }

    fn device(&self, id: Uuid) -> Result<&Device, MediaError> {
        self.devices.get(&id).ok_or_else(|| MediaError::NoSuchDevice(id.to_string()))
    }

    fn commit(&mut self, device: Uuid, ledger: Ledger) -> Result<(), MediaError> {
        let device = self
            .devices
            .get_mut(&device)
            .ok_or_else(|| MediaError::NoSuchDevice(device.to_string()))?;
        device.commit(ledger)
    }

    fn reassemble(&mut self) -> Vec<Repair> {
        let ledgers = self.devices.iter().map(|(id, device)| (*id, &device.ledger)).collect();
        let mut assembly = assemble(&ledgers);
        mark_name_clashes(&mut assembly.volumes);
        for unfinished in &self.unfinished {
            if let Some(volume) = assembly.volumes.get_mut(unfinished) {
                volume.fault.get_or_insert(Broken::Unfinished);
            }
        }
        self.volumes = assembly.volumes;
        assembly.repairs
    }

    /// Finishes or undoes what a cut left half done.
    fn reassemble_and_repair(&mut self) {
        for Repair { device, volume, put } in self.reassemble() {
            let Ok(held) = self.device(device) else { continue };
            let mut ledger = held.ledger.clone();
            match &put {
                Some(record) => drop(ledger.volumes.insert(volume, record.clone())),
                None => drop(ledger.volumes.remove(&volume)),
            }
            match self.commit(device, ledger) {
                Ok(()) => info!(%device, %volume, "record of an unfinished change put right"),
                Err(error) => warn!(%device, %volume, "not put right: {}", error.full()),
            }
        }
        self.reassemble();
    }

    fn state(&self, volume: &Assembled) -> VolumeState {
        if volume.fault.is_some() {
            VolumeState::Incomplete
        } else if volume.record.faulted || self.listed.faulted.contains(&volume.record.id) {
            VolumeState::Faulted
        } else if volume.record.visible() == 0 {
            VolumeState::Zeroing
        } else {
            VolumeState::Online
        }
    }

    /// By name or id. Names may clash after a device came back; ids never do.
    fn find(&self, name: &str) -> Result<&Assembled, MediaError> {
        if let Some(volume) = name.parse().ok().and_then(|id: Uuid| self.volumes.get(&id)) {
            return Ok(volume);
        }
        let mut named = self.volumes.values().filter(|v| v.record.name.as_str() == name);
        let volume = named.next().ok_or_else(|| MediaError::NoSuchVolume(name.to_owned()))?;
        match named.next() {
            None => Ok(volume),
            Some(other) => Err(MediaError::Ambiguous {
                name: volume.record.name.clone(),
                ids: [volume.record.id, other.record.id],
            }),
        }
    }

    /// A volume whose records agree; only such a one can be changed.
    fn whole(&self, name: &str) -> Result<&VolumeRecord, MediaError> {
        let volume = self.find(name)?;
        match &volume.fault {
            None => Ok(&volume.record),
            Some(broken) => Err(MediaError::NotWhole {
                name: volume.record.name.clone(),
                state: VolumeState::Incomplete,
                source: Some(broken.clone()),
            }),
        }
    }

    /// One change of one volume, as a transaction.
    fn change(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut VolumeRecord),
    ) -> Result<(), MediaError> {
        let mut record = self.whole(name)?.clone();
        change(&mut record);
        record.generation += 1;
        self.put(&record, &BTreeMap::new())
    }
}

fn open_listed(unit: Uuid, id: Uuid, path: &Path) -> Result<Device, MediaError> {
    let (fd, _) = open_path(path, None)?;
    let device = open_ours(examine(fd, path)?)?;
    if device.id != id {
        return Err(MediaError::Replaced { path: path.to_owned(), expected: id, found: device.id });
    }
    match device.unit() {
        Some(other) if other != unit => {
            Err(MediaError::OtherUnit { path: path.to_owned(), unit: other })
        }
        _ => Ok(device),
    }
}

/// Two volumes of one name would be one target: neither is served until the operator removes one.
fn mark_name_clashes(volumes: &mut BTreeMap<Uuid, Assembled>) {
    let mut seen = BTreeSet::new();
    let clashing: BTreeSet<_> = volumes
        .values()
        .filter(|v| !seen.insert(v.record.name.clone()))
        .map(|v| v.record.name.clone())
        .collect();
    for volume in volumes.values_mut().filter(|v| clashing.contains(&v.record.name)) {
        volume.fault.get_or_insert(Broken::NameClash);
    }
}

#[cfg(test)]
mod tests;

//! One device of the unit: opened, checked for what lives on it, and its ledger read.

mod open;
mod probe;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::area::{Area, AreaError, try_zeroing};
use super::blocks::{Blocks, FileBlocks};
use super::journal::Mark;
use super::record::{Geometry, Ledger};
use super::{MIB, Media, MediaError, VolumeName, ZeroWith};
pub(crate) use open::{Opened, examine, open_path, preallocate, sync_parent, use_page_cache};

/// What a device is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    File,
    Block,
    Memory,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Block => "block",
            Self::Memory => "memory",
        })
    }
}

/// How to take a device.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddOptions {
    /// Bytes of a file that is to be made.
    pub size: Option<u64>,
    /// Whatever is on it may be erased.
    pub yes_erase: bool,
    /// A network file system is good enough.
    pub allow_network: bool,
}

/// An open device and its ledger as it is on the media.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: Uuid,
    /// The path, or the name the configuration gives to memory.
    pub(crate) path: PathBuf,
    pub(crate) kind: DeviceKind,
    pub(crate) size: u64,
    pub(crate) logical: u32,
    pub(crate) physical: u32,
    pub(crate) volatile: bool,
    pub(crate) rotational: bool,
    pub(crate) media: Media,
    pub(crate) zero: ZeroWith,
    /// The data area, in MiB.
    pub(crate) data: Range<u32>,
    /// None for memory, which forgets.
    pub(crate) area: Option<Area>,
    pub(crate) ledger: Ledger,
    /// Volumes whose record here may be another one than the ledger's: its write failed.
    pub(crate) doubtful: BTreeMap<Uuid, VolumeName>,
    /// Marks in its journal as it was found, by target: positions within the journal.
    pub(crate) marks: BTreeMap<Uuid, Mark>,
    /// Where its journal holds what could not be finished yet, and of which volume.
    pub(crate) left: BTreeMap<u64, Uuid>,
}

impl Device {
    /// Memory: gone with the process, and another device at the next start.
    pub(crate) fn memory(name: &str, size: u64) -> Result<Self, MediaError> {
        let path = PathBuf::from(name);
        let end = u32::try_from(size / MIB).unwrap_or(u32::MAX);
        if end == 0 {
            return Err(MediaError::TooSmall { path, size, least: MIB });
        }
        Ok(Self {
            id: Uuid::new_v4(),
            path,
            kind: DeviceKind::Memory,
            size,
            logical: 512,
            physical: 4096,
            volatile: true,
            rotational: false,
            media: Media::Memory,
            zero: ZeroWith::Writes,
            data: 0..end,
            area: None,
            ledger: Ledger::default(),
            doubtful: BTreeMap::new(),
            marks: BTreeMap::new(),
            left: BTreeMap::new(),
        })
    }

    /// A device over any blocks, already formatted; what the tests cut the power of.
    pub(crate) fn over(
        path: &Path,
        blocks: Arc<dyn Blocks>,
        size: u64,
        media: Media,
    ) -> Result<Self, AreaError> {
        let (area, ledger) = Area::open(blocks, size)?;
        let (id, geometry) = (area.superblock().device, area.superblock().geometry);
        Ok(Self {
            id,
            path: path.to_owned(),
            kind: DeviceKind::File,
            size: geometry.size,
            logical: 512,
            physical: 4096,
            volatile: false,
            rotational: false,
            media,
            zero: ZeroWith::Writes,
            data: geometry.data(),
            area: Some(area),
            ledger,
            doubtful: BTreeMap::new(),
            marks: BTreeMap::new(),
            left: BTreeMap::new(),
        })
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn unit(&self) -> Option<Uuid> {
        self.area.as_ref().map(|area| area.superblock().unit)
    }

    pub(crate) fn read_only(&self) -> bool {
        self.area.as_ref().is_some_and(|area| area.superblock().is_read_only())
    }

    /// Writes the ledger down, and only then takes it for true.
    pub(crate) fn commit(&mut self, ledger: Ledger) -> Result<(), MediaError> {
        let written = match &mut self.area {
            Some(area) => area.commit(&ledger),
            None => Ok(()),
        };
        if let Err(error) = written {
            // Any other refusal came before the write.
            if matches!(error, AreaError::Io(_)) {
                let now = &self.ledger.volumes;
                let differing =
                    ledger.volumes.iter().filter(|(id, volume)| now.get(id) != Some(volume));
                self.doubtful.extend(differing.map(|(id, volume)| (*id, volume.name.clone())));
            }
            return Err(MediaError::records(&self.name())(error));
        }
        self.ledger = ledger;
        Ok(())
    }
}

/// A device that is ours already, of whichever unit.
pub(crate) fn open_ours(opened: Opened) -> Result<Device, MediaError> {
    let Opened { path, fd, kind, size, logical, physical, volatile, rotational, network: _ } =
        opened;
    let fd = Arc::new(fd);
    let blocks = FileBlocks { fd: fd.clone(), zero: ZeroWith::Writes };
    let media = Media::File(fd.clone());
    let device =
        Device::over(&path, Arc::new(blocks), size, media).map_err(|error| match error {
            AreaError::NotOurs => MediaError::NotOurs(path.clone()),
            other => MediaError::records(&path.display().to_string())(other),
        })?;
    let mut device = Device { kind, logical, physical, volatile, rotational, ..device };
    if !device.read_only() {
        device.zero = try_zeroing(&FileBlocks { fd, zero: ZeroWith::Writes });
    }
    if let (Some(area), Media::File(fd)) = (&mut device.area, &device.media) {
        area.set_blocks(Arc::new(FileBlocks { fd: fd.clone(), zero: device.zero }));
    }
    Ok(device)
}

/// Takes a device for `unit`: one that is the unit's already as it is, anything else by formatting
/// it, which wants `yes_erase` unless the file was made just now (`fresh`).
pub(crate) fn adopt(
    opened: Opened,
    fresh: bool,
    unit: Uuid,
    options: AddOptions,
) -> Result<Device, MediaError> {
    let path = opened.path.clone();
    if let Some(kind) = opened.network.filter(|_| !options.allow_network) {
        return Err(MediaError::Network { path, kind });
    }
    if fresh {
        return format(opened, true, unit);
    }
    if !options.yes_erase {
        return match occupant(&opened)? {
            Occupant::Unit(owner) if owner == unit => open_ours(opened),
            Occupant::Unit(unit) => Err(MediaError::OtherUnit { path, unit }),
            Occupant::Other(what) => Err(MediaError::Occupied { path, what }),
        };
    }
    let Opened { fd, kind, size, .. } = &opened;
    if *kind == DeviceKind::File {
        let size = options.size.unwrap_or(*size);
        check_size(&path, size)?;
        preallocate(fd, size).map_err(MediaError::io(&path, "allocating its space"))?;
        return format(Opened { size, ..opened }, true, unit);
    }
    format(opened, false, unit)
}

enum Occupant {
    Unit(Uuid),
    Other(String),
}

/// Who lives there. A device is never taken for empty: nothing known on it is not nothing.
fn occupant(opened: &Opened) -> Result<Occupant, MediaError> {
    let blocks = |fd: &OwnedFd| -> Result<Arc<dyn Blocks>, MediaError> {
        let fd = fd.try_clone().map_err(MediaError::io(&opened.path, "reading it"))?;
        Ok(Arc::new(FileBlocks { fd: Arc::new(fd), zero: ZeroWith::Writes }))
    };
    if opened.size >= Geometry::LEAST {
        match Area::open(blocks(&opened.fd)?, opened.size) {
            Ok((area, _)) => return Ok(Occupant::Unit(area.superblock().unit)),
            Err(AreaError::NotOurs) => {}
            Err(AreaError::Damaged { what, source }) => {
                let what = format!("a device of Outband whose {what} cannot be read ({source})");
                return Ok(Occupant::Other(what));
            }
            Err(error) => {
                return Err(MediaError::records(&opened.path.display().to_string())(error));
            }
        }
    }
    let found = buffered(opened, |read| probe::foreign(opened.size, read))
        .map_err(MediaError::io(&opened.path, "reading it"))?;
    let what = match (found, opened.kind, opened.size) {
        (Some(name), _, _) => name.to_owned(),
        (None, DeviceKind::File, 0) => "nothing, but it exists".to_owned(),
        (None, DeviceKind::File, _) => "data of an unknown kind".to_owned(),
        (None, _, _) => "nothing we know, which does not mean nothing".to_owned(),
    };
    Ok(Occupant::Other(what))
}

/// Probing reads at odd places, so O_DIRECT is off while it does.
fn buffered<T>(
    opened: &Opened,
    look: impl FnOnce(&dyn Fn(u64, &mut [u8]) -> std::io::Result<()>) -> std::io::Result<T>,
) -> std::io::Result<T> {
    use rustix::fs::{OFlags, fcntl_getfl};
    let direct = fcntl_getfl(&opened.fd)?.contains(OFlags::DIRECT);
    open::set_direct(&opened.fd, false)?;
    let read = |offset: u64, into: &mut [u8]| {
        let mut done = 0;
        while done < into.len() {
            match rustix::io::pread(&opened.fd, &mut into[done..], offset + done as u64)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(())
    };
    let seen = look(&read);
    open::set_direct(&opened.fd, direct)?;
    seen
}

fn check_size(path: &Path, size: u64) -> Result<Geometry, MediaError> {
    let least = Geometry::LEAST;
    Geometry::of_size(size).ok_or_else(|| MediaError::TooSmall {
        path: path.to_owned(),
        size,
        least,
    })
}

/// Lays our format over the device. `zeros` says that all of it reads as zeros.
fn format(opened: Opened, zeros: bool, unit: Uuid) -> Result<Device, MediaError> {
    let geometry = check_size(&opened.path, opened.size)?;
    let data = geometry.data();
    let ledger =
        Ledger { fresh_from: if zeros { data.start } else { data.end }, ..Ledger::default() };
    let fd = opened.fd.try_clone().map_err(MediaError::io(&opened.path, "opening it"))?;
    let blocks = Arc::new(FileBlocks { fd: Arc::new(fd), zero: ZeroWith::Range });
    Area::format(blocks, geometry, unit, &ledger)
        .map_err(MediaError::records(&opened.path.display().to_string()))?;
    open_ours(opened)
}

#[cfg(test)]
mod tests;

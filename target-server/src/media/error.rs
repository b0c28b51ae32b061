//! What can stand in an operator's way. Each message says what to change.

use std::io;
use std::path::PathBuf;

use outband_pool_api::BadVolumeSize;
use uuid::Uuid;

use super::area::AreaError;
use super::assemble::Broken;
use super::{VolumeName, volume::VolumeState};

/// Why a device, a volume or a partition is not as the operator asked.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("{}: {doing}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("{}: no such file or device; to create a file of that name, say how large with --size", .0.display())]
    Missing(PathBuf),
    #[error("{}: neither a file nor a block device", .0.display())]
    NotADevice(PathBuf),
    #[error("{}: {size} bytes are too few; a device needs at least {} MiB", path.display(), least / super::MIB)]
    TooSmall { path: PathBuf, size: u64, least: u64 },
    #[error("{}: in use by {by}; stop that first", path.display())]
    InUse { path: PathBuf, by: String },
    #[error("{}: holds {what}; to erase it, say --yes-erase", path.display())]
    Occupied { path: PathBuf, what: String },
    #[error("{}: on a network file system ({kind}), which may lose what it acknowledged; use a local one, or say --allow-network", path.display())]
    Network { path: PathBuf, kind: &'static str },
    #[error("{}: belongs to unit {unit}; take it over with `device import`, or erase it with --yes-erase", path.display())]
    OtherUnit { path: PathBuf, unit: Uuid },
    #[error("{}: not a device of Outband; add it with `device add`", .0.display())]
    NotOurs(PathBuf),
    #[error("{}: already a device of this unit", .0.display())]
    AlreadyHere(PathBuf),
    #[error("{}: this path now leads to device {found}, but {expected} was here; check the cabling or the path", path.display())]
    Replaced { path: PathBuf, expected: Uuid, found: Uuid },
    #[error("{}: cannot be imported: {why}", path.display())]
    Import { path: PathBuf, why: String },
    #[error("{device}: its records")]
    Records { device: String, source: AreaErrorBox },
    #[error("state directory {} is in use by {by}; one unit has one state directory", path.display())]
    StateInUse { path: PathBuf, by: String },
    #[error("{}: the list of devices is damaged ({why}); put a saved copy back, or remove it and import the devices again", path.display())]
    DamagedList { path: PathBuf, why: String },
    #[error("there is a volume named `{0}` already; choose another name")]
    NameTaken(VolumeName),
    #[error(
        "what {device} holds of volume `{name}` is not known since a write to it failed; restart the unit first"
    )]
    Doubtful { name: VolumeName, device: String },
    #[error("no volume is named `{0}`")]
    NoSuchVolume(String),
    #[error("two volumes are named `{name}`; say {} or {}", ids[0], ids[1])]
    Ambiguous { name: VolumeName, ids: [Uuid; 2] },
    #[error("no device is named `{0}`")]
    NoSuchDevice(String),
    #[error("{wanted} bytes do not fit; {free} bytes are free{}", hint(*volatile))]
    NoSpace { wanted: u64, free: u64, volatile: u64 },
    #[error(transparent)]
    VolumeSize(#[from] BadVolumeSize),
    #[error("a partition has at least one block of {block_size} bytes")]
    BadSize { block_size: u32 },
    #[error("blocks of {asked} bytes are not possible here; use one of {possible}")]
    BadBlockSize { asked: u32, possible: String },
    #[error("volume `{name}` has {size} bytes; a volume can grow, not shrink")]
    Shrinks { name: VolumeName, size: u64 },
    #[error("volume `{name}` is {state}; that must be mended first")]
    NotWhole { name: VolumeName, state: VolumeState, source: Option<Broken> },
    #[error("volume `{0}` is still being zeroed; wait until that is done")]
    Zeroing(VolumeName),
    #[error("volume `{volume}` has no partition {number}")]
    NoSuchPartition { volume: VolumeName, number: u16 },
    #[error("volume `{volume}` has a partition {number} already")]
    PartitionTaken { volume: VolumeName, number: u16 },
    #[error("blocks {start} to {end} of volume `{volume}` are not free: {why}")]
    PartitionSpace { volume: VolumeName, start: u64, end: u64, why: String },
    #[error(
        "epoch floor {asked} of volume `{volume}` is below the one it has, {has}; epochs only grow"
    )]
    EpochBack { volume: VolumeName, asked: u64, has: u64 },
    #[error("memory and lasting devices cannot be mixed in volume `{0}`; name devices of one kind")]
    Mixed(VolumeName),
    #[error("volume `{volume}` cannot be removed: {why}")]
    Held { volume: VolumeName, why: String },
}

/// The catalog's own errors about records, kept out of the public names.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AreaErrorBox(#[from] pub(crate) Box<AreaError>);

impl MediaError {
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, doing, source }
    }

    pub(crate) fn records(device: &str) -> impl FnOnce(AreaError) -> Self {
        let device = device.to_owned();
        move |source| Self::Records { device, source: AreaErrorBox(Box::new(source)) }
    }

    /// The message with all its causes, for people.
    pub fn full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

fn hint(volatile: u64) -> String {
    if volatile == 0 {
        return String::new();
    }
    format!(" ({volatile} more where data is lost with the power, which must be asked for)")
}

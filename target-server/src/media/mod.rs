//! Devices, extents, volumes and partitions of one unit, and the catalog that survives a kill at
//! any instant. Blocking I/O, run on control's threads, never on a shard. What a shard gets to know
//! of a volume is one value: [`VolumeSpec`].

mod area;
mod assemble;
pub(crate) mod blocks;
mod catalog;
mod device;
mod error;
mod extent;
mod holdings;
pub mod journal;
mod lock;
mod raw;
mod record;
#[doc(hidden)]
pub mod reread;
mod reservation_file;
mod sidecar;
mod state_dir;
mod volume;

pub use assemble::Broken;
pub use catalog::{
    Catalog, DeviceReport, ExtentReport, NewPartition, NewVolume, Report, VolumeReport, ZeroJob,
};
pub(crate) use device::open_path;
pub use device::{AddOptions, DeviceKind};
pub use error::{AreaErrorBox, MediaError};
pub use holdings::{Changes, Holdings};
pub use journal::Mark;
pub use raw::RawDevice;
pub use reservation_file::ReservationPlace;
pub use sidecar::Sidecar;
pub use state_dir::listed_devices;
pub use volume::{
    BadName, JournalSpec, Media, PartitionSpec, Piece, Place, VolumeName, VolumeSpec, VolumeState,
    WritePolicy, ZeroWith,
};

/// Everything on a device is aligned to this: records, extents, the data area.
pub const MIB: u64 = 1 << 20;

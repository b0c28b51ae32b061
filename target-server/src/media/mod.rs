//! Devices, extents, volumes and partitions of one unit, and the catalog that survives a kill at
//! any instant. Blocking I/O, run on control's threads, never on a shard. What a shard gets to know
//! of a volume is one value: [`VolumeSpec`].

mod volume;

pub use volume::{
    BadName, Media, PartitionSpec, Piece, Place, VolumeName, VolumeSpec, VolumeState, WritePolicy,
    ZeroWith,
};

/// Everything on a device is aligned to this: records, extents, the data area.
pub const MIB: u64 = 1 << 20;

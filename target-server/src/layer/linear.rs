//! Volume byte to device byte: pieces in a row.

use outband_protocol::seeded::{self, Bug};
use outband_ring::Fd;
use uuid::Uuid;

use super::Memory;
use crate::media::ZeroWith;
use crate::media::journal::IntentPlace;

/// One piece of a volume on one device, as a shard has it.
#[derive(Debug)]
pub struct Segment {
    /// Whose bytes.
    pub device: Uuid,
    /// Length in bytes.
    pub len: u64,
    /// Where they are.
    pub place: Place,
}

/// Where a segment's bytes are.
#[derive(Debug)]
pub enum Place {
    /// In a file or on a block device, from `offset` on.
    File { file: Fd, offset: u64, zero: ZeroWith },
    /// In this shard's memory.
    Memory(Memory),
}

/// A stretch of a volume that lies together.
#[derive(Debug)]
pub struct Run<'v> {
    /// Length in bytes.
    pub len: u64,
    /// Where.
    pub media: Media<'v>,
}

/// The bytes of a [`Run`].
#[derive(Debug)]
pub enum Media<'v> {
    /// From byte `at` of a piece in memory.
    Memory { memory: &'v mut Memory, at: u64 },
    /// On a device.
    File { file: Fd, offset: u64, zero: ZeroWith },
}

/// A volume as segments in a row.
#[derive(Debug, Default)]
pub struct Linear {
    segments: Vec<Segment>,
    /// Where each segment ends, in bytes of the volume.
    ends: Vec<u64>,
    /// The different devices, for a flush.
    files: Vec<Fd>,
}

impl Segment {
    /// `len` bytes of memory, zero.
    pub fn memory(device: Uuid, len: u64) -> Self {
        Self { device, len, place: Place::Memory(Memory::default()) }
    }

    /// `len` bytes of `file` from `offset` on.
    pub fn file(device: Uuid, file: Fd, offset: u64, len: u64, zero: ZeroWith) -> Self {
        Self { device, len, place: Place::File { file, offset, zero } }
    }
}

impl Linear {
    /// A volume of `segments`.
    pub fn new(segments: Vec<Segment>) -> Self {
        let mut volume = Self::default();
        volume.extend(segments);
        volume
    }

    /// Adds space at the end.
    pub fn extend(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            if let Place::File { file, .. } = segment.place
                && !self.files.contains(&file)
            {
                self.files.push(file);
            }
            self.ends.push(self.bytes() + segment.len);
            self.segments.push(segment);
        }
    }

    /// The descriptor that is already here for a device.
    pub fn file_on(&self, device: Uuid) -> Option<Fd> {
        self.segments.iter().find(|segment| segment.device == device).and_then(|segment| {
            match segment.place {
                Place::File { file, .. } => Some(file),
                Place::Memory(_) => None,
            }
        })
    }

    /// The device that a descriptor is of.
    pub fn device_of(&self, fd: Fd) -> Option<Uuid> {
        let is_it = |place: &Place| matches!(place, Place::File { file, .. } if *file == fd);
        self.segments.iter().find(|segment| is_it(&segment.place)).map(|segment| segment.device)
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether any of it is on `device`.
    pub fn uses(&self, device: Uuid) -> bool {
        self.segments.iter().any(|segment| segment.device == device)
    }

    /// The devices below, each once.
    pub fn devices(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.segments.iter().map(|segment| segment.device)
    }

    /// The files below, each once.
    pub fn files(&self) -> &[Fd] {
        &self.files
    }

    /// What lies at byte `at`, up to `len` bytes of it. Nothing does past the end: commands are checked
    /// against the capacity before they come here.
    pub fn run(&mut self, at: u64, len: u64) -> Option<Run<'_>> {
        let index = self.ends.partition_point(|end| *end <= at);
        let segment = self.segments.get_mut(index)?;
        let within = at - (self.ends[index] - segment.len);
        let len = if seeded::is(Bug::PastTheExtent) { len } else { len.min(segment.len - within) };
        let media = match &mut segment.place {
            Place::File { file, offset, zero } => {
                Media::File { file: *file, offset: *offset + within, zero: *zero }
            }
            Place::Memory(memory) => Media::Memory { memory, at: within },
        };
        Some(Run { len, media })
    }

    /// The devices and places that `len` bytes at `at` lie on. Nothing of it is in memory.
    ///
    /// # Panics
    ///
    /// Past the end: commands are checked against the capacity before they come here.
    pub(crate) fn places(&self, mut at: u64, len: u64) -> Vec<IntentPlace> {
        let end = at + len;
        let mut places = Vec::new();
        while at < end {
            let index = self.ends.partition_point(|end| *end <= at);
            let segment = &self.segments[index];
            let within = at - (self.ends[index] - segment.len);
            let len = (end - at).min(segment.len - within);
            if let Place::File { offset, .. } = segment.place {
                let len = u32::try_from(len).expect("an atomic write is at most 128 KiB");
                places.push(IntentPlace { device: segment.device, at: offset + within, len });
            }
            at += len;
        }
        places
    }

    /// Whether all of it is this shard's memory.
    pub(crate) fn is_memory(&self) -> bool {
        self.files.is_empty()
    }

    /// For a flush that has synced `done` files: the next one.
    pub(crate) fn device_after(&self, done: u64) -> Option<Fd> {
        self.files.get(usize::try_from(done).unwrap_or(usize::MAX)).copied()
    }

    /// For a flush: one more file is synced.
    pub(crate) fn devices_through(&self, done: u64) -> u64 {
        (done + 1).min(self.files.len() as u64)
    }
}

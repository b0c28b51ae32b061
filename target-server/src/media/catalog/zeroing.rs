//! New space reads as zeros before anybody sees it. The record says "not zeroed" until the zeros are
//! durable, so a cut in the middle only means doing it again at the next start.

use std::fmt;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::Catalog;
use crate::media::blocks::Blocks;
use crate::media::device::DeviceKind;
use crate::media::record::Extent;
use crate::media::{MIB, MediaError, VolumeSpec, ZeroWith};

/// How much is zeroed between two looks at whether to go on.
const STEP_FAST: u64 = 1024 * MIB;
const STEP_SLOW: u64 = 16 * MIB;

/// One extent to be zeroed; runs without the catalog.
pub struct ZeroJob {
    pub volume: Uuid,
    /// The device does it by itself, in a moment.
    pub fast: bool,
    extent: Extent,
    blocks: Arc<dyn Blocks>,
}

impl fmt::Debug for ZeroJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZeroJob({} on {})", self.volume, self.extent.device)
    }
}

impl ZeroJob {
    /// Zeroes the extent, durably. False: `go_on` said no before the end.
    pub fn run(&self, go_on: impl Fn() -> bool) -> io::Result<bool> {
        let step = if self.fast { STEP_FAST } else { STEP_SLOW };
        let (mut at, mut left) = (self.extent.offset(), self.extent.bytes());
        while left > 0 {
            if !go_on() {
                return Ok(false);
            }
            let len = left.min(step);
            self.blocks.zero(at, len)?;
            (at, left) = (at + len, left - len);
        }
        self.blocks.sync()?;
        Ok(true)
    }
}

impl Catalog {
    /// Volumes with space that is not zeroed yet: after a create or grow, and at start what a cut left.
    pub fn unzeroed(&self) -> Vec<Uuid> {
        let waiting = self.volumes.values().filter(|v| v.fault.is_none());
        waiting
            .filter(|v| v.record.extents.iter().any(|e| !e.zeroed))
            .map(|v| v.record.id)
            .collect()
    }

    /// What has to be zeroed for this volume. Until [`finish_zeroing`](Self::finish_zeroing) it cannot
    /// be removed, so its extents cannot become another's while a job still writes there.
    pub fn begin_zeroing(&mut self, volume: Uuid) -> Result<Vec<ZeroJob>, MediaError> {
        let record = self.whole(&volume.to_string())?;
        if self.busy.contains(&volume) {
            return Err(MediaError::Zeroing(record.name.clone()));
        }
        let mut jobs = Vec::new();
        for extent in record.extents.iter().filter(|extent| !extent.zeroed) {
            let device = self.device(extent.device)?;
            let Some(area) = &device.area else { continue };
            let blocks = area.blocks().clone();
            // A block device takes the request and may still write every zero: Linux does that for it
            // where the disk has no command for it.
            let fast = device.kind == DeviceKind::File && device.zero != ZeroWith::Writes;
            jobs.push(ZeroJob { volume, fast, extent: *extent, blocks });
        }
        self.busy.insert(volume);
        Ok(jobs)
    }

    /// The volume's jobs have ended; those in `done` to the end.
    pub fn finish_zeroing(
        &mut self,
        volume: Uuid,
        done: &[ZeroJob],
    ) -> Result<VolumeSpec, MediaError> {
        self.busy.remove(&volume);
        let name = volume.to_string();
        if !done.is_empty() {
            self.change(&name, |record| {
                for extent in &mut record.extents {
                    extent.zeroed |= done.iter().any(|job| job.extent == *extent);
                }
            })?;
        }
        self.volume(&name)
    }
}

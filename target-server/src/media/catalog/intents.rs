//! Atomic writes that a cut left half done are finished before their volume is served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::error;
use uuid::Uuid;

use super::Catalog;
use crate::media::assemble::Assembled;
use crate::media::blocks::Blocks;
use crate::media::device::Device;
use crate::media::journal::{self, Intent, IntentPlace, Verdict};
use crate::media::record::VolumeRecord;
use crate::media::{Broken, JournalSpec, Media, MediaError};

impl Catalog {
    /// Finishes what the journals of all devices hold, or only what they hold of one volume: shards
    /// may be writing intents of the others. A volume for which that fails is not served.
    pub(super) fn finish_intents(&mut self, only: Option<Uuid>) {
        let blocks = |device: &Device| device.area.as_ref().map(|area| area.blocks().clone());
        let all: BTreeMap<Uuid, Arc<dyn Blocks>> =
            self.devices.iter().filter_map(|(id, device)| Some((*id, blocks(device)?))).collect();
        let mut unfinished = BTreeSet::new();
        let mut held = Vec::new();
        for device in self.devices.values().filter(|device| !device.read_only()) {
            let Some(area) = &device.area else { continue };
            let at = area.superblock().geometry.journal_at();
            let judge = |intent: &Intent| self.judge(intent, only);
            match journal::replay(&**area.blocks(), at, &all, judge) {
                Ok(failed) => unfinished.extend(failed),
                Err(error) => {
                    error!(device = %device.id, %error, "its journal cannot be read");
                    unfinished.extend(self.at_home_on(device.id));
                }
            }
            if let Ok(intents) = journal::intents(&**area.blocks(), at) {
                held.push((device.id, intents));
            }
        }
        for (device, mut intents) in held {
            let Some(device) = self.devices.get_mut(&device) else { continue };
            // Of other volumes than `only`, what was not left before is a shard's, which writes it now.
            let is_left = |slot, volume| {
                only.is_none_or(|only| only == volume) || device.left.contains_key(&slot)
            };
            intents.retain(|slot, volume| is_left(*slot, *volume));
            device.left = intents;
        }
        match only {
            Some(volume) => drop(self.unfinished.remove(&volume)),
            None => self.unfinished.clear(),
        }
        self.unfinished.extend(unfinished);
        self.reassemble();
    }

    /// The same for volumes that a device has made whole which was not here before.
    pub(super) fn finish_intents_with(&mut self, device: Uuid) {
        let volumes = self.volumes.values().filter(|v| v.record.members().contains(&device));
        let volumes: Vec<Uuid> = volumes.map(|volume| volume.record.id).collect();
        volumes.into_iter().for_each(|volume| self.finish_intents(Some(volume)));
    }

    fn judge(&self, intent: &Intent, only: Option<Uuid>) -> Verdict {
        if only.is_some_and(|only| only != intent.volume) {
            return Verdict::Leave;
        }
        match self.volumes.get(&intent.volume) {
            // A device is missing: it is finished when that is back.
            Some(Assembled {
                fault: Some(Broken::DeviceMissing(_) | Broken::Disagreement),
                ..
            }) => Verdict::Leave,
            Some(volume) if intent.places.iter().all(|place| holds(&volume.record, place)) => {
                Verdict::Finish
            }
            _ => Verdict::Forget,
        }
    }

    fn at_home_on(&self, device: Uuid) -> impl Iterator<Item = Uuid> + '_ {
        let volumes = self.volumes.values().filter(move |v| v.record.home() == device);
        volumes.map(|volume| volume.record.id)
    }

    /// What a shard needs to know of the journal of a volume: that of its home device.
    pub(super) fn journal(&self, record: &VolumeRecord) -> Option<JournalSpec> {
        let device = self.devices.get(&record.home()).filter(|device| !device.read_only())?;
        let at = device.area.as_ref()?.superblock().geometry.journal_at();
        let Media::File(file) = &device.media else { return None };
        let (file, marks) = (file.clone(), device.marks.clone());
        let left = device.left.keys().copied().collect();
        Some(JournalSpec { device: device.id, file, at, marks, left })
    }

    /// Marks of targets whose SANITIZE or FORMAT UNIT has not ended, as they were when the device came.
    pub(super) fn read_marks(device: &mut Device) -> Result<(), MediaError> {
        let Some(area) = &device.area else { return Ok(()) };
        let at = area.superblock().geometry.journal_at();
        let marks = journal::marks(&**area.blocks(), at);
        device.marks = marks.map_err(MediaError::io(&device.path, "reading its journal"))?;
        Ok(())
    }
}

/// Whether a place is the volume's: it may have been removed, and the space given to another.
fn holds(record: &VolumeRecord, place: &IntentPlace) -> bool {
    let end = place.at.checked_add(place.len.into());
    record.extents.iter().filter(|extent| extent.device == place.device).any(|extent| {
        extent.offset() <= place.at
            && end.is_some_and(|end| end <= extent.offset() + extent.bytes())
    })
}

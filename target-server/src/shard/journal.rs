//! The journals of this shard's volumes: slots for intents, each in the hands of one task at a time.

use outband_ring::{Fd, Ring};
use uuid::Uuid;

use super::desk::Desk;
use super::mailbox::JournalConfig;
use super::token::VolumeKey;
use crate::store::Slot;

/// This shard's part of the journal of one device.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Fd,
    free: Vec<Slot>,
}

impl<R: Ring> Desk<R> {
    /// A volume comes with the journal of its device, which may be known from another volume.
    pub(crate) fn add_journal(&mut self, config: JournalConfig<R::Handle>) {
        let JournalConfig { device, file, slots } = config;
        if self.journals.contains_key(&device) {
            return;
        }
        let file = self.ring.adopt(file);
        let free = slots.into_iter().map(|at| Slot::new(device, file, at)).collect();
        self.journals.insert(device, Journal { file, free });
    }

    /// A volume has gone; the journal goes with the last one that uses it.
    pub(crate) fn drop_journal(&mut self, device: Uuid) {
        if self.volumes.values().any(|volume| volume.journal == Some(device)) {
            return;
        }
        if let Some(journal) = self.journals.remove(&device) {
            self.ring.close(journal.file);
        }
    }

    /// Room for an intent of a volume; none while others have it all.
    pub(crate) fn take_slot(&mut self, volume: VolumeKey) -> Option<Slot> {
        let device = self.volumes[volume].journal?;
        self.journals.get_mut(&device)?.free.pop()
    }

    /// A slot with nothing in it.
    pub(crate) fn give_slot(&mut self, slot: Slot) {
        if let Some(journal) = self.journals.get_mut(&slot.device) {
            journal.free.push(slot);
        }
    }
}

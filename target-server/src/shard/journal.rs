//! The journals of this shard's volumes: slots for intents, each in the hands of one task at a time.

use outband_ring::{Fd, Ring};
use std::collections::BTreeMap;

use uuid::Uuid;

use super::desk::Desk;
use super::mailbox::JournalConfig;
use super::token::VolumeKey;
use crate::scsi::Wiping;
use crate::store::{Io, Slot};

/// This shard's part of the journal of one device.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Fd,
    free: Vec<Slot>,
    /// Pages for marks that nobody has, and those that have one by target.
    pages: Vec<u64>,
    marked: BTreeMap<Uuid, u64>,
}

impl<R: Ring> Desk<R> {
    /// A volume comes with the journal of its device, which may be known from another volume.
    pub(crate) fn add_journal(&mut self, config: JournalConfig<R::Handle>) {
        let JournalConfig { device, file, slots, pages, marked } = config;
        if self.journals.contains_key(&device) {
            return;
        }
        let file = self.ring.adopt(file);
        let free = slots.into_iter().map(|at| Slot::new(device, file, at)).collect();
        self.journals.insert(device, Journal { file, free, pages, marked });
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

    /// Marks that the wiping of a target has begun, or that it has ended. `None` where there is
    /// nothing to write to, an error where there is no room.
    pub(crate) fn mark(
        &mut self,
        volume: VolumeKey,
        target: Uuid,
        begun: Option<Wiping>,
    ) -> Option<Result<Io, ()>> {
        let device = self.volumes[volume].journal?;
        let journal = self.journals.get_mut(&device)?;
        let known = match begun {
            Some(_) => journal.marked.get(&target).copied().or_else(|| journal.pages.pop()),
            None => journal.marked.get(&target).copied(),
        };
        let Some(at) = known else {
            // What was never marked need not be unmarked.
            return begun.map(|_| Err(()));
        };
        journal.marked.insert(target, at);
        Some(Ok(Io::mark(device, journal.file, at, begun.map(|by| (target, by)))))
    }

    /// The mark of a target is gone, durably.
    pub(crate) fn unmarked(&mut self, volume: VolumeKey, target: Uuid) {
        let device = self.volumes[volume].journal;
        if let Some(journal) = device.and_then(|device| self.journals.get_mut(&device)) {
            journal.pages.extend(journal.marked.remove(&target));
        }
    }

    /// A slot with nothing in it.
    pub(crate) fn give_slot(&mut self, slot: Slot) {
        if let Some(journal) = self.journals.get_mut(&slot.device) {
            journal.free.push(slot);
        }
    }
}

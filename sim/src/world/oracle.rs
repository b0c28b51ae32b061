//! What is looked at besides what hosts read: what comes to the disks, what is under way there when hosts
//! believe it over, and what a power cut would leave at the moment of a promise.

use super::*;
use crate::disk::Arrival;

/// Where the blocks of all volumes lie that are on disks.
pub(super) fn places(setup: &Setup) -> BTreeMap<(usize, u64), (usize, u32)> {
    let on_disk = setup.volumes.iter().enumerate().filter(|(_, volume)| !volume.memory);
    let blocks =
        on_disk.flat_map(|(index, volume)| (0..volume.blocks).map(move |lba| (index, lba)));
    blocks.map(|(volume, lba)| (setup.place(volume, lba), (volume, lba))).collect()
}

/// None of these is on its way to a disk.
pub(crate) fn none_lands(hardware: &Hardware, ended: &[WriteId]) -> Result<(), Failure> {
    if ended.is_empty() {
        return Ok(());
    }
    let landing = hardware.still_lands(|id| ended.contains(&WriteId(id)));
    landing.map_or(Ok(()), |Arrival { new, old, .. }| {
        Err(Failure::Conduct(format!("{new} is over, and on its way to the place of {old}")))
    })
}

impl World {
    /// No write begins on a disk that is over for its host (P8), and none is done a second time over what
    /// came after it (P9).
    pub(super) fn watch_arrivals(&mut self) -> Result<(), Failure> {
        let arrivals = self.hardware.borrow_mut().take_arrivals();
        arrivals.iter().try_for_each(|(disk, arrival)| self.check_arrival(*disk, arrival))
    }

    fn check_arrival(&self, disk: usize, arrival: &Arrival) -> Result<(), Failure> {
        let Arrival { at, new, old, again } = *arrival;
        let (Some((volume, lba)), Some(id)) = (self.places.get(&(disk, at)), new.write()) else {
            return Ok(());
        };
        let (volume, lba) = (*volume, *lba);
        let wrong = |why: &str| {
            let what = format!("{new} comes to {volume}:{lba} in place of {old}, and {why}");
            Err(Failure::Conduct(what))
        };
        if self.checker.is_over(volume, lba, id) {
            return wrong("it is over");
        }
        let sender = self.hosts.iter().find(|host| host.last_sent(id).is_some());
        let Some(sender) = sender.filter(|_| again) else {
            return Ok(());
        };
        if sender.holds(id) == Some(Held::Once) {
            return wrong("it was there already, and may not be done twice");
        }
        let newer = old.write().and_then(|old| self.checker.acknowledged_at(volume, lba, old));
        match newer.filter(|newer| Some(*newer) < sender.last_sent(id)) {
            Some(_) => {
                wrong("was there already, and that was acknowledged before it was sent again")
            }
            None => Ok(()),
        }
    }

    /// Nothing is under way of what a host was told is over: it would land afterwards (P8, P12).
    pub(super) fn watch_ended(&mut self) -> Result<(), Failure> {
        none_lands(&self.hardware.borrow(), &self.checker.take_ended())
    }

    /// A promise of stable storage holds from the moment at which it is made (P1 to P3): the power might
    /// go now.
    pub(super) fn watch_promises(&mut self) -> Result<(), Failure> {
        let promised = self.checker.take_promised();
        let on_disk = promised.iter().filter(|(volume, _)| !self.setup.volumes[*volume].memory);
        on_disk.copied().try_for_each(|(volume, lba)| self.cut_here(volume, lba))
    }

    /// Looks at every state that a power cut at this moment could leave a block in.
    pub(super) fn cut_here(&self, volume: usize, lba: u32) -> Result<(), Failure> {
        let (disk, at) = self.setup.place(volume, lba);
        let hardware = self.hardware.borrow();
        for content in hardware.disks[disk].survivors(at) {
            self.checker.may_survive(volume, lba, content)?;
        }
        Ok(())
    }
}

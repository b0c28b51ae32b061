//! Writes that happen as a whole or not at all: where one block of such a write was seen, no block may
//! be seen at the same time as it was before.

use super::{Block, Checker, Violation, WriteId};
use crate::tag::Content;

impl Checker {
    /// A write of these blocks is about to be issued, which happens as a whole or not at all.
    pub fn write_atomic(&mut self, volume: usize, lba: u32, blocks: u32) -> WriteId {
        let id = self.write(volume, lba, blocks);
        self.atomics.insert(id, (volume, lba, blocks));
        id
    }

    /// One read has brought this, from block `lba` on: all that it has to have of an atomic write is
    /// there, or none of it.
    pub fn read_as_one(&self, volume: usize, lba: u32, found: &[Content]) -> Result<(), Violation> {
        let seen = |at: u32| found.get(usize::try_from(at.checked_sub(lba)?).ok()?).copied();
        let mut ids: Vec<_> = found.iter().filter_map(|content| content.write()).collect();
        ids.dedup();
        ids.into_iter().try_for_each(|id| self.check_whole(volume, id, seen))
    }

    /// Where an atomic write was seen, nothing may be seen beside it that it must have replaced.
    fn check_whole(
        &self,
        volume: usize,
        id: WriteId,
        seen: impl Fn(u32) -> Option<Content>,
    ) -> Result<(), Violation> {
        let Some((_, first, blocks)) = self.atomics.get(&id) else {
            return Ok(());
        };
        for lba in *first..first + blocks {
            let Some(found) = seen(lba).filter(|found| found.write() != Some(id)) else {
                continue;
            };
            if self.blocks.get(&(volume, lba)).is_some_and(|block| block.is_before(found, id)) {
                let why = format!("torn: beside it w{} is there, which replaces it", id.0);
                return Err(Violation { volume, lba, found, why });
            }
        }
        Ok(())
    }

    /// The same of what a power cut has left on the volumes that were there.
    pub(super) fn check_whole_after_cut(
        &self,
        is_there: impl Fn(usize) -> bool,
        on_disk: impl Fn(usize, u32) -> Content,
    ) -> Result<(), Violation> {
        for (id, (volume, first, blocks)) in &self.atomics {
            let seen = |lba| Some(on_disk(*volume, lba));
            let holds_it = |lba| on_disk(*volume, lba).write() == Some(*id);
            if is_there(*volume) && (*first..first + blocks).any(holds_it) {
                self.check_whole(*volume, *id, seen)?;
            }
        }
        Ok(())
    }
}

impl Block {
    /// Whether whatever wrote `found` had ended before write `id` replaced it.
    fn is_before(&self, found: Content, id: WriteId) -> bool {
        let Some(write) = self.values.iter().rfind(|value| value.id == id) else {
            return false;
        };
        let mut same = self.values.iter().filter(|value| value.content == found).peekable();
        same.peek().is_some() && same.all(|value| value.before(write))
    }
}

//! COMPARE AND WRITE: what it has found was there until it took its place, and nothing in between.

use super::{Block, Checker, Interval, Tick, Value, Violation, WriteId};
use crate::tag::Content;

impl Checker {
    /// A COMPARE AND WRITE that was issued at `issued` has found this and put `by` in its place. So it
    /// has been read; and it cannot be found there by another one, unless it was written twice.
    pub fn swap(
        &mut self,
        volume: usize,
        lba: u32,
        issued: Tick,
        found: Content,
        by: WriteId,
    ) -> Result<(), Violation> {
        self.read(volume, lba, issued, found)?;
        let block = self.blocks.get_mut(&(volume, lba)).expect("inside of the volume");
        let is_it = |value: &Value| value.content == found && !value.repeated;
        let at = block.values.iter().position(is_it).filter(|_| found != Content::Zero);
        let Some(at) = at else {
            return Ok(());
        };
        let violation = |why| Violation { volume, lba, found, why };
        if std::mem::replace(&mut block.values[at].swapped, true) {
            return Err(violation("two swaps have found it there".to_owned()));
        }
        let new = block.values.iter_mut().rfind(|value| value.id == by);
        new.into_iter().for_each(|new| new.instead_of = Some(found));
        block.lost_to_a_swap().map_or(Ok(()), |why| Err(violation(why)))
    }
}

impl Block {
    /// A write that came after what a swap has found, and before what it has put there.
    pub(super) fn lost_to_a_swap(&self) -> Option<String> {
        let swaps = self.values.iter().filter_map(|new| Some((new, new.instead_of?)));
        swaps.into_iter().find_map(|(new, found)| {
            let old = self.values.iter().find(|old| old.content == found && !old.repeated)?;
            let others = self
                .values
                .iter()
                .filter(|other| other.content != old.content && other.content != new.content);
            let mut between = others.filter(|other| old.before(other) && other.before(new));
            between.next().map(|other| {
                let (found, old, new) = (Interval(other), Interval(old), Interval(new));
                format!("lost: {} in {found}, to a swap from {old} to {new}", other.content)
            })
        })
    }
}

//! What was in each sector and is not any more: a write that comes to a disk again, after something else
//! has taken its place, undoes that.

use std::collections::BTreeSet;

use super::{Disk, tag_of};
use crate::tag::Content;

/// Something that a write is about to change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// In bytes from the start of the disk.
    pub at: u64,
    /// What is to be there.
    pub new: Content,
    /// What is there.
    pub old: Content,
    /// The new was there before.
    pub again: bool,
}

/// Sectors and the writes that were in them.
#[derive(Debug, Default)]
pub(super) struct Past(BTreeSet<(u64, u64)>);

impl Past {
    /// Something else takes the place of this.
    pub(super) fn replaced(&mut self, sector: u64, content: Option<&[u8]>) {
        if let Some(Content::Written(tag)) = content.map(Content::of) {
            self.0.insert((sector, tag.write));
        }
    }
}

impl Disk {
    /// What a write of `bytes` at `offset` would change, sector by sector. What is there already, as
    /// when an ORWRITE writes what it has read, is no change.
    pub fn arrivals(&self, offset: u64, bytes: &[u8]) -> impl Iterator<Item = Arrival> {
        let len = self.sector_len();
        let at = (offset..).step_by(len);
        at.zip(bytes.chunks_exact(len)).filter_map(move |(at, bytes)| {
            let Content::Written(tag) = Content::of(bytes) else {
                return None;
            };
            let number = at / len as u64;
            let old = self.sectors.get(&number).map_or(Content::Zero, |old| tag_of(old.newest()));
            let (new, again) = (Content::Written(tag), self.past.0.contains(&(number, tag.write)));
            (old != new).then_some(Arrival { at, new, old, again })
        })
    }
}

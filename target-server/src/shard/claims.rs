//! Ranges of a volume that a task wants for itself alone: COMPARE AND WRITE and its like are an
//! uninterrupted series of reads and writes (SBC-4 §5.3). Pure: it says who may go on, and when.
//!
//! Claims and the I/O that waits for them stand in one queue, in the order in which they came. A
//! claim waits for the I/O that is under way on its range and for everything before it that
//! overlaps; I/O waits for the claims before it that overlap. So nobody is overtaken on his own
//! bytes, and those who have other bytes never wait.

use std::collections::VecDeque;
use std::ops::Range;

/// The claims on one volume, by bytes of the volume. `O` names tasks, `P` is I/O that can wait.
#[derive(Debug)]
pub(crate) struct Claims<O, P> {
    queue: VecDeque<Entry<O, P>>,
    ready: VecDeque<Ready<O, P>>,
}

#[derive(Debug)]
struct Entry<O, P> {
    owner: O,
    range: Range<u64>,
    /// How many are in its way: entries before it, and for a claim I/O under way.
    ahead: usize,
    wants: Wants<P>,
}

#[derive(Debug)]
enum Wants<P> {
    /// The range. Once nothing is ahead, it is its owner's until released.
    Claim,
    /// To be started.
    Start(P),
}

/// Who may go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ready<O, P> {
    /// The range that this task asked for is its own now.
    Granted(O),
    /// This I/O is to be started.
    Start(O, P),
}

/// What becomes of I/O that is about to begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entrance<P> {
    /// It may begin. Its end is told by [`Claims::ended`].
    Free(P),
    /// It may begin, because its task has the range. Its end is of no interest.
    Own(P),
    /// It waits, and comes back as [`Ready::Start`].
    Parked,
}

impl<O, P> Default for Claims<O, P> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), ready: VecDeque::new() }
    }
}

impl<O: Copy + PartialEq, P> Claims<O, P> {
    /// Nobody has or wants anything alone, so that any I/O may begin.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Asks for a range, while `active` I/Os that overlap it are under way. True: it is granted.
    /// Else the task does nothing on the volume until [`Ready::Granted`].
    pub(crate) fn ask(&mut self, owner: O, range: Range<u64>, active: usize) -> bool {
        let before = self.queue.iter().filter(|entry| overlap(&entry.range, &range)).count();
        let ahead = active + before;
        self.queue.push_back(Entry { owner, range, ahead, wants: Wants::Claim });
        ahead == 0
    }

    /// I/O is about to begin.
    pub(crate) fn enter(&mut self, owner: O, range: Range<u64>, io: P) -> Entrance<P> {
        let mut ahead = 0;
        for claim in self.queue.iter().filter(|entry| entry.is_claim()) {
            if claim.owner == owner && claim.ahead == 0 && contains(&claim.range, &range) {
                return Entrance::Own(io);
            }
            ahead += usize::from(overlap(&claim.range, &range));
        }
        if ahead == 0 {
            return Entrance::Free(io);
        }
        self.queue.push_back(Entry { owner, range, ahead, wants: Wants::Start(io) });
        Entrance::Parked
    }

    /// I/O that entered freely has ended.
    pub(crate) fn ended(&mut self, range: &Range<u64>) {
        // It began before any overlapping claim was asked for, or was parked before it: every such
        // claim has counted it.
        self.out_of_the_way(0, range, true);
    }

    /// A task gives up what it has or has asked for.
    pub(crate) fn release(&mut self, owner: O) {
        self.remove(|entry| entry.owner == owner && entry.is_claim());
    }

    /// A task takes back I/O that has not begun.
    pub(crate) fn withdraw(&mut self, owner: O) -> Option<P> {
        match self.remove(|entry| entry.owner == owner && !entry.is_claim())?.wants {
            Wants::Start(io) => Some(io),
            Wants::Claim => None,
        }
    }

    /// The next who may go on; to be asked until there is none, after anything was released,
    /// withdrawn or ended.
    pub(crate) fn next_ready(&mut self) -> Option<Ready<O, P>> {
        self.ready.pop_front()
    }

    fn remove(&mut self, which: impl Fn(&Entry<O, P>) -> bool) -> Option<Entry<O, P>> {
        let at = self.queue.iter().position(which)?;
        let gone = self.queue.remove(at)?;
        self.out_of_the_way(at, &gone.range, !gone.is_claim());
        Some(gone)
    }

    /// What those from `from` on that overlap `range` had counted is gone; I/O counts claims only.
    fn out_of_the_way(&mut self, from: usize, range: &Range<u64>, claims_only: bool) {
        let mut at = from;
        while let Some(entry) = self.queue.get_mut(at) {
            let waits = entry.ahead > 0 && (entry.is_claim() || !claims_only);
            if waits && overlap(&entry.range, range) {
                entry.ahead -= 1;
                if entry.ahead == 0 && self.make_ready(at) {
                    continue;
                }
            }
            at += 1;
        }
    }

    /// Nothing is ahead of the entry at `at`. True when it has left the queue.
    fn make_ready(&mut self, at: usize) -> bool {
        if self.queue[at].is_claim() {
            self.ready.push_back(Ready::Granted(self.queue[at].owner));
            return false;
        }
        if let Some(Entry { owner, wants: Wants::Start(io), .. }) = self.queue.remove(at) {
            // Claims behind it go on counting it: it is under way now, and its end will be told.
            self.ready.push_back(Ready::Start(owner, io));
        }
        true
    }
}

impl<O, P> Entry<O, P> {
    const fn is_claim(&self) -> bool {
        matches!(self.wants, Wants::Claim)
    }
}

/// Whether two ranges have a byte in common. An empty one, such as a flush's, has none.
pub(crate) fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start.max(other.start) < one.end.min(other.end)
}

fn contains(outer: &Range<u64>, inner: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests;

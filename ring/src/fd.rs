//! The descriptor table: who is open, how many operations are on it, and closing late.
//! Free of system calls, so that the simulator's ring uses the same table.

use crate::fd::Close::{Deferred, Now, Unknown};

/// A descriptor in a ring's table. A copy kept after the close names nothing any more, even when
/// its slot is in use again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fd {
    slot: u32,
    generation: u32,
}

/// What [`Descriptors::close`] found.
#[derive(Debug)]
pub enum Close<'a, H> {
    /// Nothing was in flight: here it is, to be dropped.
    Now(H),
    /// It goes with the last completion; until then no operation is accepted on it.
    Deferred(&'a H),
    /// Not in the table, or closed before.
    Unknown,
}

/// Maps [`Fd`] to a descriptor, with the number of operations in flight on it.
#[derive(Debug)]
pub struct Descriptors<H> {
    entries: Vec<Entry<H>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<H> {
    generation: u32,
    state: State<H>,
}

#[derive(Debug)]
enum State<H> {
    Free,
    /// `closing`: closed by the caller, and the kernel still works on it.
    Used {
        handle: H,
        in_flight: u32,
        closing: bool,
    },
}

impl<H> Default for Descriptors<H> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<H> Descriptors<H> {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a descriptor in.
    pub fn adopt(&mut self, handle: H) -> Fd {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, state: State::Free });
            u32::try_from(self.entries.len() - 1).expect("a process has fewer descriptors")
        });
        let entry = &mut self.entries[slot as usize];
        entry.state = State::Used { handle, in_flight: 0, closing: false };
        Fd { slot, generation: entry.generation }
    }

    /// The descriptor, unless closed.
    #[must_use]
    pub fn get(&self, fd: Fd) -> Option<&H> {
        match &self.entry(fd)?.state {
            State::Used { handle, closing: false, .. } => Some(handle),
            State::Used { .. } | State::Free => None,
        }
    }

    /// Counts one operation in and gives the descriptor to start it on. `None`: not open, and
    /// nothing was counted.
    pub fn begin(&mut self, fd: Fd) -> Option<&H> {
        match &mut self.entry_mut(fd)?.state {
            State::Used { handle, in_flight, closing: false } => {
                *in_flight += 1;
                Some(handle)
            }
            State::Used { .. } | State::Free => None,
        }
    }

    /// Counts one operation out. Gives the descriptor, to be dropped, when it was closed and
    /// this was the last.
    ///
    /// # Panics
    ///
    /// When none was in flight.
    pub fn end(&mut self, fd: Fd) -> Option<H> {
        let entry = self.entry_mut(fd).expect("an entry stays while an operation is on it");
        let State::Used { in_flight, closing, .. } = &mut entry.state else {
            return None;
        };
        *in_flight = in_flight.checked_sub(1).expect("each end has its begin");
        if *closing && *in_flight == 0 { self.remove(fd) } else { None }
    }

    /// Takes a descriptor out, if it is open and nothing is in flight on it.
    pub fn release(&mut self, fd: Fd) -> Option<H> {
        match self.entry(fd)?.state {
            State::Used { in_flight: 0, .. } => self.remove(fd),
            State::Used { .. } | State::Free => None,
        }
    }

    /// Closes now or with the last operation.
    pub fn close(&mut self, fd: Fd) -> Close<'_, H> {
        if let Some(handle) = self.release(fd) {
            return Now(handle);
        }
        match self.entry_mut(fd).map(|entry| &mut entry.state) {
            Some(State::Used { handle, closing, .. }) if !*closing => {
                *closing = true;
                Deferred(handle)
            }
            _ => Unknown,
        }
    }

    /// Every descriptor, the closing ones included.
    pub fn iter(&self) -> impl Iterator<Item = &H> {
        self.entries.iter().filter_map(|entry| match &entry.state {
            State::Used { handle, .. } => Some(handle),
            State::Free => None,
        })
    }

    fn entry(&self, fd: Fd) -> Option<&Entry<H>> {
        self.entries.get(fd.slot as usize).filter(|entry| entry.generation == fd.generation)
    }

    fn entry_mut(&mut self, fd: Fd) -> Option<&mut Entry<H>> {
        self.entries.get_mut(fd.slot as usize).filter(|entry| entry.generation == fd.generation)
    }

    /// Empties the slot. Its next tenant has another generation.
    fn remove(&mut self, fd: Fd) -> Option<H> {
        let entry = self.entry_mut(fd)?;
        entry.generation = entry.generation.wrapping_add(1);
        let state = std::mem::replace(&mut entry.state, State::Free);
        self.free.push(fd.slot);
        match state {
            State::Used { handle, .. } => Some(handle),
            State::Free => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_descriptor_closes_with_its_last_operation() {
        let mut table = Descriptors::new();
        let fd = table.adopt("socket");
        table.begin(fd);
        table.begin(fd);
        assert!(matches!(table.close(fd), Deferred(&"socket")));
        assert_eq!(table.end(fd), None);
        assert_eq!(table.begin(fd), None, "nothing new starts on a closing descriptor");
        assert!(matches!(table.close(fd), Unknown));
        assert_eq!(table.end(fd), Some("socket"));
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn an_idle_descriptor_closes_or_leaves_at_once() {
        let mut table = Descriptors::new();
        let (one, two) = (table.adopt(1), table.adopt(2));
        assert!(matches!(table.close(one), Now(1)));
        assert_eq!(table.release(two), Some(2));
        assert_eq!(table.release(two), None);
    }

    #[test]
    fn a_busy_descriptor_is_not_released() {
        let mut table = Descriptors::new();
        let fd = table.adopt(1);
        table.begin(fd);
        assert_eq!(table.release(fd), None);
        assert_eq!(table.end(fd), None);
        assert_eq!(table.release(fd), Some(1));
    }

    #[test]
    fn an_old_name_does_not_reach_the_slots_next_tenant() {
        let mut table = Descriptors::new();
        let old = table.adopt(1);
        assert!(matches!(table.close(old), Now(1)));
        let new = table.adopt(2);
        assert_eq!(old.slot, new.slot);
        assert_eq!(table.get(old), None);
        assert_eq!(table.begin(old), None);
        assert_eq!(table.release(old), None);
        assert_eq!(table.get(new), Some(&2));
    }
}

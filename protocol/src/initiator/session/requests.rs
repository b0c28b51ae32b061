//! Every request that the application has made and that has no outcome yet, over all the
//! connections it may take.

use std::collections::VecDeque;
use std::time::Instant;

use super::Request;
use crate::ids::TaskId;
use crate::initiator::replay::Changed;
use crate::initiator::{Command, Replay};
use crate::seeded::{self, Bug};

/// Where a request stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Free,
    /// In the queue, for the window or for a connection.
    Ready,
    /// The target has it, or may have.
    Sent,
    /// Its deadline has passed and the target was asked to abort it.
    Aborting {
        give_up: Instant,
    },
    /// The target was busy; tried again at `until`.
    Resting {
        until: Instant,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) generation: u16,
    pub(super) phase: Phase,
    pub(super) request: Request,
    /// Counts requests in the order they were made.
    order: u64,
    /// Unit attentions met.
    pub(super) attentions: u8,
    /// Times the target was busy.
    pub(super) refusals: u8,
    /// It was sent on a connection that was lost: it may have been done.
    maybe_done: bool,
    /// Another change of the same blocks was acknowledged while the target had it.
    overtaken: bool,
}

#[derive(Debug)]
pub(super) struct Requests {
    slots: Vec<Slot>,
    slots_max: u16,
    free: Vec<u16>,
    ready: VecDeque<u16>,
    in_flight: usize,
    made: u64,
    /// Nothing is due before this; it may be earlier than the earliest.
    wake: Option<Instant>,
}

impl Requests {
    pub(super) fn new(slots_max: u16) -> Self {
        Self {
            slots: Vec::new(),
            slots_max,
            free: Vec::new(),
            ready: VecDeque::new(),
            in_flight: 0,
            made: 0,
            wake: None,
        }
    }

    fn id(&self, index: usize) -> TaskId {
        let slot = u16::try_from(index).expect("there are at most SLOTS_MAX slots");
        TaskId { slot, generation: self.slots[index].generation }
    }

    /// Queues a request; `None` when all slots are taken.
    pub(super) fn add(&mut self, request: Request) -> Option<TaskId> {
        self.wake_by(request.deadline);
        self.made += 1;
        let slot = Slot {
            generation: 0,
            phase: Phase::Ready,
            request,
            order: self.made,
            attentions: 0,
            refusals: 0,
            maybe_done: false,
            overtaken: false,
        };
        let (index, generation) = if let Some(index) = self.free.pop() {
            let used = &mut self.slots[usize::from(index)];
            let generation = used.generation.wrapping_add(1);
            *used = Slot { generation, ..slot };
            (index, generation)
        } else {
            let index = u16::try_from(self.slots.len()).ok()?;
            if index >= self.slots_max {
                return None;
            }
            self.slots.push(slot);
            (index, 0)
        };
        self.ready.push_back(index);
        Some(TaskId { slot: index, generation })
    }

    pub(super) fn find(&mut self, task: TaskId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(usize::from(task.slot))?;
        (slot.generation == task.generation && slot.phase != Phase::Free).then_some(slot)
    }

    /// The request is over; its slot may be used again.
    pub(super) fn remove(&mut self, task: TaskId) {
        let Some(slot) = self.find(task) else {
            return;
        };
        let before = std::mem::replace(&mut slot.phase, Phase::Free);
        self.leave(task.slot, before);
        self.free.push(task.slot);
    }

    fn leave(&mut self, slot: u16, before: Phase) {
        match before {
            Phase::Sent | Phase::Aborting { .. } => self.in_flight -= 1,
            Phase::Ready => self.ready.retain(|ready| *ready != slot),
            Phase::Free | Phase::Resting { .. } => {}
        }
    }

    /// Moves a request to another phase, the queue's front if it is to be tried again.
    pub(super) fn set(&mut self, task: TaskId, phase: Phase) {
        let Some(slot) = self.find(task) else {
            return;
        };
        let deadline = slot.request.deadline;
        let before = std::mem::replace(&mut slot.phase, phase);
        self.leave(task.slot, before);
        match phase {
            Phase::Ready => {
                self.ready.push_front(task.slot);
                self.wake_by(deadline);
            }
            Phase::Sent => self.in_flight += 1,
            Phase::Aborting { give_up: at } => {
                self.in_flight += 1;
                self.wake_by(at);
            }
            Phase::Resting { until: at } => self.wake_by(at),
            Phase::Free => unreachable!("remove frees a slot"),
        }
    }

    /// Requests that the target has.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Takes the next request off the queue: a command to send, or `None` in place of it when it
    /// must not be sent again.
    pub(super) fn next_ready(&mut self) -> Option<(TaskId, Option<Command>)> {
        let index = self.ready.pop_front()?;
        let slot = &mut self.slots[usize::from(index)];
        let task = TaskId { slot: index, generation: slot.generation };
        slot.phase = Phase::Sent;
        self.in_flight += 1;
        let Request { lun, cdb, data, .. } = slot.request;
        let command = (!slot.is_spoilt()).then_some(Command { lun, cdb, data });
        Some((task, command))
    }

    /// A command was acknowledged: writes that the target has, to blocks it has changed, were
    /// overtaken. Whatever changes blocks counts, UNMAP and COMPARE AND WRITE as well as WRITE.
    pub(super) fn overtake(&mut self, by: TaskId) {
        if self.slots.len() - self.free.len() < 2 {
            return;
        }
        let Some(Request { lun, cdb, replay, .. }) = self.find(by).map(|slot| slot.request) else {
            return;
        };
        let changed = Changed::by(&cdb, replay);
        if changed == Changed::Nothing {
            return;
        }
        for slot in &mut self.slots {
            let touched = slot.phase == Phase::Sent || slot.maybe_done;
            if touched && slot.request.lun == lun && slot.request.replay.undoes(&changed) {
                slot.overtaken = true;
            }
        }
    }

    /// The connection is lost: what can be sent again goes to the front of the queue, in its old
    /// order. The others are handed to `over`, with whether they were being aborted.
    pub(super) fn on_lost(&mut self, mut over: impl FnMut(TaskId, bool)) {
        let mut again = Vec::with_capacity(self.in_flight);
        for index in 0..self.slots.len() {
            let task = self.id(index);
            let slot = &mut self.slots[index];
            // The next nexus owes attentions of its own.
            slot.attentions = 0;
            match slot.phase {
                Phase::Sent => {
                    slot.maybe_done = true;
                    let never =
                        slot.request.replay == Replay::Never && !seeded::is(Bug::RepeatAnything);
                    if slot.is_spoilt() || never {
                        self.remove(task);
                        over(task, false);
                    } else {
                        again.push((slot.order, task));
                    }
                }
                Phase::Aborting { .. } => {
                    self.remove(task);
                    over(task, true);
                }
                Phase::Free | Phase::Ready | Phase::Resting { .. } => {}
            }
        }
        again.sort_unstable_by_key(|(order, _)| std::cmp::Reverse(*order));
        for (_, task) in again {
            self.set(task, Phase::Ready);
        }
    }

    /// The old connection may still deliver what was sent on it: writes that were are handed to
    /// `over` and not repeated.
    pub(super) fn disown(&mut self, mut over: impl FnMut(TaskId)) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let writes = matches!(slot.request.replay, Replay::Blocks { .. });
            if slot.phase != Phase::Free && slot.maybe_done && writes {
                let task = self.id(index);
                self.remove(task);
                over(task);
            }
        }
    }

    /// Ends everything; `over` learns what may have been done.
    pub(super) fn clear(&mut self, mut over: impl FnMut(TaskId, bool)) {
        for index in 0..self.slots.len() {
            let task = self.id(index);
            let slot = &self.slots[index];
            let maybe_done = match slot.phase {
                Phase::Free => continue,
                Phase::Ready | Phase::Resting { .. } => slot.maybe_done,
                Phase::Sent | Phase::Aborting { .. } => true,
            };
            self.remove(task);
            over(task, maybe_done);
        }
    }

    /// No request needs attention before this.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    fn wake_by(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Requests for which a time has passed. Looks at all of them, but only once something can be
    /// due. The caller deals with each.
    pub(super) fn due(&mut self, now: Instant) -> Vec<TaskId> {
        if self.wake.is_none_or(|wake| wake > now) {
            return Vec::new();
        }
        self.wake = None;
        let mut due = Vec::new();
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let at = match slot.phase {
                Phase::Free => continue,
                Phase::Aborting { give_up } => give_up,
                Phase::Resting { until } => until.min(slot.request.deadline),
                Phase::Ready | Phase::Sent => slot.request.deadline,
            };
            if at > now {
                self.wake_by(at);
                continue;
            }
            due.push(self.id(index));
        }
        due
    }
}

impl Slot {
    /// It may have been done, and what it wrote overwritten since: never again.
    fn is_spoilt(&self) -> bool {
        self.maybe_done && self.overtaken && !seeded::is(Bug::RepeatOvertaken)
    }
}

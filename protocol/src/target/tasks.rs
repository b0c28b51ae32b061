//! The task table: slots used again and again, found by Initiator Task Tag without an allocation.

use super::write::{Held, Rest, Write};
use crate::ids::{Itt, Lun, TaskId};
use crate::limits::{IMMEDIATE_MAX, TASKS_MAX};

/// Most tasks a connection can have: a full window and the immediate ones beyond it.
pub(super) const SLOTS_MAX: usize = TASKS_MAX as usize + IMMEDIATE_MAX;

/// One SCSI command from its header to its last answer.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) itt: Itt,
    pub(super) lun: Lun,
    pub(super) expected_len: u32,
    generation: u16,
    pub(super) read: bool,
    immediate: bool,
    /// R2Ts or Data-Ins sent: DataSN or R2TSN of the next one, ExpDataSN in the end.
    pub(super) data_sn: u32,
    pub(super) state: State,
}

impl Task {
    /// Aborted: nothing more is sent for it.
    pub(super) fn is_aborted(&self) -> bool {
        matches!(self.state, State::Draining)
    }

    /// Bytes that the initiator takes.
    pub(super) fn readable(&self) -> u32 {
        if self.read { self.expected_len } else { 0 }
    }
}

/// Where a task stands.
#[derive(Debug)]
pub(super) enum State {
    /// The slot is not in use.
    Free,
    /// A write whose data is still to come.
    Receiving(Write),
    /// A write whose data was damaged: the answer waits for what is still on its way.
    Failing(Rest),
    /// A write that a function on its task set ends, as soon as what was asked for has come.
    Ending(Rest),
    /// Completed, but its answer waits for the last of the data that is still on its way (§11.4.2).
    Holding(Box<Held>),
    /// The shell works on it. The read data below `sent` is on its way.
    Executing { sent: u32 },
    /// Completed; the answer waits in the outbox.
    Answering,
    /// Aborted: no response is owed, but the shell still holds something for it.
    Draining,
}

/// All tasks of a connection.
#[derive(Debug)]
pub(super) struct Tasks {
    /// Grows to the deepest queue that was seen, and no further.
    slots: Vec<Task>,
    free: Vec<u16>,
    index: Index,
    immediate: usize,
    answering: usize,
}

/// What a new task is made from.
#[derive(Debug)]
pub(super) struct NewTask {
    pub(super) itt: Itt,
    pub(super) lun: Lun,
    pub(super) expected_len: u32,
    pub(super) read: bool,
    pub(super) immediate: bool,
    pub(super) state: State,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: Index::default(),
            immediate: 0,
            answering: 0,
        }
    }

    /// Takes a slot; `None` when all are in use. The tag must not be in use.
    pub(super) fn open(&mut self, new: NewTask) -> Option<TaskId> {
        let NewTask { itt, lun, expected_len, read, immediate, state } = new;
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else if self.slots.len() < SLOTS_MAX {
            self.slots.push(Task {
                itt,
                lun,
                expected_len: 0,
                generation: 0,
                read,
                immediate,
                data_sn: 0,
                state: State::Free,
            });
            u16::try_from(self.slots.len() - 1).expect("SLOTS_MAX fits")
        } else {
            return None;
        };
        let task = &mut self.slots[usize::from(slot)];
        let generation = task.generation.wrapping_add(1);
        *task = Task { itt, lun, expected_len, generation, read, immediate, data_sn: 0, state };
        self.immediate += usize::from(immediate);
        self.index.insert(slot, &self.slots);
        Some(TaskId { slot, generation })
    }

    /// The task of a tag, whatever its state.
    pub(super) fn find(&self, itt: Itt) -> Option<TaskId> {
        let slot = self.index.find(itt, &self.slots)?;
        Some(TaskId { slot, generation: self.slots[usize::from(slot)].generation })
    }

    /// `None` when the slot was freed or is used by another task now.
    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        let task = self.slots.get(usize::from(id.slot))?;
        (task.generation == id.generation && !matches!(task.state, State::Free)).then_some(task)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        let task = self.slots.get_mut(usize::from(id.slot))?;
        (task.generation == id.generation && !matches!(task.state, State::Free)).then_some(task)
    }

    /// The write that this task is in the middle of.
    pub(super) fn receiving(&mut self, id: TaskId) -> Option<&mut Write> {
        match self.get_mut(id)? {
            Task { state: State::Receiving(write), .. } => Some(write),
            _ => None,
        }
    }

    /// The shell has said how it ended; its slot is kept until the answer is sent.
    /// Returns what it was before.
    pub(super) fn answering(&mut self, id: TaskId) -> Option<State> {
        let before = std::mem::replace(&mut self.get_mut(id)?.state, State::Answering);
        self.answering += 1;
        Some(before)
    }

    /// Asks for nothing more for a write that is to end, and lets what was asked for come.
    pub(super) fn end(&mut self, id: TaskId) {
        if let Some(task) = self.get_mut(id)
            && let State::Receiving(write) = &mut task.state
        {
            task.state = State::Ending(write.asked_for());
        }
    }

    /// Whether data of `id` that was asked for is still to come.
    pub(super) fn is_owed_data(&self, id: TaskId) -> bool {
        match self.get(id).map(|task| &task.state) {
            Some(State::Ending(rest) | State::Failing(rest)) => rest.is_asked_for(),
            Some(State::Holding(held)) => held.rest.is_asked_for(),
            _ => false,
        }
    }

    /// Marks a task of the shell's as aborted. False when it was none: answered or unknown, or free
    /// now because the shell has completed it.
    pub(super) fn abort(&mut self, id: TaskId) -> bool {
        match self.get_mut(id) {
            Some(Task { state: State::Holding(_), .. }) => {
                self.free(id);
                false
            }
            Some(task) if !matches!(task.state, State::Answering) => {
                task.state = State::Draining;
                true
            }
            _ => false,
        }
    }

    /// Gives the slot back.
    pub(super) fn free(&mut self, id: TaskId) {
        let Some(task) = self.get(id) else {
            return;
        };
        let answering = matches!(task.state, State::Answering);
        let immediate = task.immediate;
        self.immediate -= usize::from(immediate);
        self.answering -= usize::from(answering);
        self.index.remove(id.slot, &self.slots);
        self.slots[usize::from(id.slot)].state = State::Free;
        self.free.push(id.slot);
    }

    /// Slots in use, answers that wait to be sent among them.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Tasks that the shell has not completed yet.
    pub(super) fn unfinished(&self) -> usize {
        self.len() - self.answering
    }

    /// Slots in use by immediate commands.
    pub(super) fn immediate(&self) -> usize {
        self.immediate
    }

    /// The tasks that have no answer in the outbox yet.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        (0u16..).zip(&self.slots).filter_map(|(slot, task)| {
            let open = !matches!(task.state, State::Free | State::Answering);
            open.then_some((TaskId { slot, generation: task.generation }, task))
        })
    }
}

/// Open addressing with linear probing, from tag to slot. Collisions that a peer makes on purpose
/// cost it at most [`SLOTS_MAX`] steps of its own time.
#[derive(Debug)]
struct Index {
    cells: [u8; Self::CELLS],
}

impl Default for Index {
    fn default() -> Self {
        Self { cells: [Self::EMPTY; Self::CELLS] }
    }
}

const _: () = assert!(SLOTS_MAX < Index::EMPTY as usize && SLOTS_MAX * 16 < Index::CELLS * 10);

impl Index {
    const CELLS: usize = 256;
    const EMPTY: u8 = 0xff;

    /// Fibonacci hashing: counters and pointers alike, which is what tags are, spread well.
    fn home(itt: Itt) -> usize {
        (itt.0.wrapping_mul(0x9e37_79b1) >> 24) as usize
    }

    fn find(&self, itt: Itt, slots: &[Task]) -> Option<u16> {
        let mut at = Self::home(itt);
        loop {
            let slot = self.cells[at];
            if slot == Self::EMPTY {
                return None;
            }
            if slots[usize::from(slot)].itt == itt {
                return Some(u16::from(slot));
            }
            at = (at + 1) % Self::CELLS;
        }
    }

    fn insert(&mut self, slot: u16, slots: &[Task]) {
        let mut at = Self::home(slots[usize::from(slot)].itt);
        while self.cells[at] != Self::EMPTY {
            at = (at + 1) % Self::CELLS;
        }
        self.cells[at] = u8::try_from(slot).expect("SLOTS_MAX is below EMPTY");
    }

    /// Closes the gap by moving back what had to step over it, so that no tombstones are needed.
    fn remove(&mut self, slot: u16, slots: &[Task]) {
        let mut hole = Self::home(slots[usize::from(slot)].itt);
        while u16::from(self.cells[hole]) != slot {
            hole = (hole + 1) % Self::CELLS;
        }
        let mut at = hole;
        loop {
            at = (at + 1) % Self::CELLS;
            let moved = self.cells[at];
            if moved == Self::EMPTY {
                break;
            }
            let home = Self::home(slots[usize::from(moved)].itt);
            let distance = |from: usize| at.wrapping_sub(from) % Self::CELLS;
            if distance(home) >= distance(hole) {
                self.cells[hole] = moved;
                hole = at;
            }
        }
        self.cells[hole] = Self::EMPTY;
    }
}

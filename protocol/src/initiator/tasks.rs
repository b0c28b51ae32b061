//! Tasks in flight on one connection, by the slots that the owner of the connection gave them.

use super::error::PeerError;
use super::read::Read;
use super::write::Write;
use crate::ids::{Itt, Lun, TaskId};
use crate::serial::Sn;

/// Slots below this are commands; the same with this bit set are requests to abort them.
const ABORT: u16 = 0x8000;
/// Slots from here on are pings, logouts and texts.
const RESERVED: u16 = 0xfff0;
const PING: u16 = RESERVED;
const LOGOUT: u16 = RESERVED + 1;
const TEXT: u16 = RESERVED + 2;
const PLUG: u16 = RESERVED + 3;

/// Slots that a connection can have at most.
pub const SLOTS_MAX: u16 = 0x4000;

/// What an Initiator Task Tag of ours stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    Command(TaskId),
    Abort(TaskId),
    Ping(u16),
    Logout,
    Text(u16),
    /// A NOP in the place of a command that the target has rejected.
    Plug(u16),
}

impl Tag {
    pub(super) fn itt(self) -> Itt {
        let (slot, generation) = match self {
            Self::Command(task) => (task.slot, task.generation),
            Self::Abort(task) => (task.slot | ABORT, task.generation),
            Self::Ping(count) => (PING, count),
            Self::Logout => (LOGOUT, 0),
            Self::Text(count) => (TEXT, count),
            Self::Plug(count) => (PLUG, count),
        };
        Itt(u32::from(generation) << 16 | u32::from(slot))
    }

    pub(super) fn of(itt: Itt) -> Option<Self> {
        let [high, low] = [itt.0 >> 16, itt.0 & 0xffff]
            .map(|half| u16::try_from(half).expect("half of 32 bits is 16"));
        match low {
            PING => Some(Self::Ping(high)),
            LOGOUT => Some(Self::Logout),
            TEXT => Some(Self::Text(high)),
            PLUG => Some(Self::Plug(high)),
            ABORT..RESERVED => Some(Self::Abort(TaskId { slot: low & !ABORT, generation: high })),
            ..ABORT => Some(Self::Command(TaskId { slot: low, generation: high })),
            _ => None,
        }
    }
}

/// The tag of a command.
pub(super) fn itt(task: TaskId) -> Itt {
    Tag::Command(task).itt()
}

/// What a command does with data, and how far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    Nothing,
    Read(Read),
    Write(Write),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) lun: Lun,
    pub(super) cmd_sn: Sn,
    pub(super) expected_len: u32,
    pub(super) progress: Progress,
    /// Its command was handed out. Before that no answer can be meant for it.
    pub(super) sent: bool,
    /// ABORT TASK is under way: its data is no longer sent nor passed on.
    pub(super) aborting: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u16,
    task: Option<Task>,
}

/// The table. It never grows.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    slots: Box<[Slot]>,
}

impl Tasks {
    pub(super) fn new(slots: u16) -> Self {
        let slots = slots.min(SLOTS_MAX);
        Self { slots: vec![Slot { generation: 0, task: None }; slots.into()].into_boxed_slice() }
    }

    /// Whether `task`'s slot exists and is free.
    pub(super) fn has_room_for(&self, task: TaskId) -> bool {
        self.slots.get(usize::from(task.slot)).is_some_and(|slot| slot.task.is_none())
    }

    pub(super) fn insert(&mut self, id: TaskId, task: Task) {
        self.slots[usize::from(id.slot)] = Slot { generation: id.generation, task: Some(task) };
    }

    pub(super) fn find(&mut self, id: TaskId) -> Option<&mut Task> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        slot.task.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// The command, sent and not over, that a PDU of the target's names.
    pub(super) fn named(&mut self, itt: Itt) -> Result<(TaskId, &mut Task), PeerError> {
        let unknown = PeerError::UnknownTask(itt);
        let Some(Tag::Command(id)) = Tag::of(itt) else {
            return Err(unknown);
        };
        self.find(id).filter(|task| task.sent).map(|task| (id, task)).ok_or(unknown)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.find(id)?;
        self.slots[usize::from(id.slot)].task.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_it_stands_for() {
        let task = TaskId { slot: 0x3fff, generation: 0xffff };
        for tag in
            [Tag::Command(task), Tag::Abort(task), Tag::Ping(0xffff), Tag::Logout, Tag::Text(7)]
        {
            assert_eq!(Tag::of(tag.itt()), Some(tag));
        }
        assert_eq!(Tag::of(Itt::NONE), None);
    }

    #[test]
    fn a_late_generation_finds_nothing() {
        let mut tasks = Tasks::new(2);
        let id = TaskId { slot: 1, generation: 4 };
        let task = Task {
            lun: Lun::ZERO,
            cmd_sn: Sn(1),
            expected_len: 0,
            progress: Progress::Nothing,
            sent: true,
            aborting: false,
        };
        assert!(tasks.has_room_for(id));
        tasks.insert(id, task);
        assert!(!tasks.has_room_for(id));
        assert!(tasks.named(itt(TaskId { generation: 3, ..id })).is_err());
        assert!(tasks.named(itt(id)).is_ok());
        assert!(tasks.remove(id).is_some() && tasks.remove(id).is_none());
        assert!(!tasks.has_room_for(TaskId { slot: 2, generation: 0 }));
    }
}

//! The bytes of requests under way, by the slots that the session gave them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use outband_protocol::ids::TaskId;
use outband_protocol::initiator::{Outcome, Placement};
use tokio::sync::oneshot;

/// The data of a request.
#[derive(Debug)]
pub(crate) enum Payload {
    None,
    /// To be filled.
    In(BytesMut),
    /// To be sent.
    Out(Bytes),
}

/// How a request ended, and its data.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    pub(crate) payload: Payload,
}

/// Where a request's end goes. Nobody may be waiting for it any more.
pub(crate) type Reply = oneshot::Sender<Finished>;

#[derive(Debug)]
struct Waiting {
    generation: u16,
    payload: Payload,
    reply: Reply,
}

#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Option<Waiting>>,
    live: usize,
}

impl Slots {
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn insert(&mut self, task: TaskId, payload: Payload, reply: Reply) {
        let index = usize::from(task.slot);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        debug_assert!(self.slots[index].is_none(), "the session gave a slot twice");
        self.slots[index] = Some(Waiting { generation: task.generation, payload, reply });
        self.live += 1;
    }

    pub(crate) fn finish(&mut self, task: TaskId, outcome: Outcome) {
        if self.find(task).is_none() {
            return;
        }
        if let Some(waiting) = self.slots[usize::from(task.slot)].take() {
            self.live -= 1;
            // The caller may have lost interest.
            let _ = waiting.reply.send(Finished { outcome, payload: waiting.payload });
        }
    }

    fn find(&mut self, task: TaskId) -> Option<&mut Waiting> {
        let slot = self.slots.get_mut(usize::from(task.slot))?;
        slot.as_mut().filter(|waiting| waiting.generation == task.generation)
    }

    /// Room for read data, as far as the request has it.
    pub(crate) fn room(&mut self, placement: Placement) -> Option<&mut [u8]> {
        let Payload::In(buffer) = &mut self.find(placement.task)?.payload else {
            return None;
        };
        buffer.get_mut(range(placement.offset, placement.len))
    }

    pub(crate) fn fill(&mut self, task: TaskId, offset: u32, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("a data segment is shorter than 2^24 bytes");
        if let Some(room) = self.room(Placement { task, offset, len }) {
            room.copy_from_slice(bytes);
        }
    }

    /// A piece of a write's data.
    pub(crate) fn data(&mut self, task: TaskId, offset: u32, len: u32) -> Option<Bytes> {
        match &self.find(task)?.payload {
            Payload::Out(bytes) => Some(bytes.slice(range(offset, len))),
            Payload::None | Payload::In(_) => None,
        }
    }
}

fn range(offset: u32, len: u32) -> Range<usize> {
    let start = offset as usize;
    start..start + len as usize
}

//! What is known of writes themselves: whether they are over, and what has ended since somebody looked.

use super::{Checker, NEVER, Tick, Value, WriteId};

/// How a session holds a write that has no outcome yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// It is done once or not at all.
    Once,
    /// It may be repeated on another connection.
    Again,
}

impl Checker {
    fn value(&self, volume: usize, lba: u32, id: WriteId) -> Option<&Value> {
        let values = &self.blocks.get(&(volume, lba))?.values;
        values.iter().rfind(|value| value.id == id)
    }

    /// Whether a write has had its outcome, so that nothing of it may begin any more. One of before a
    /// power cut that nobody holds is not known any more.
    #[must_use]
    pub fn is_over(&self, volume: usize, lba: u32, id: WriteId) -> bool {
        self.value(volume, lba, id).is_none_or(Value::is_over)
    }

    /// When a write was acknowledged, if it was.
    #[must_use]
    pub fn acknowledged_at(&self, volume: usize, lba: u32, id: WriteId) -> Option<Tick> {
        let at = self.value(volume, lba, id)?.acknowledged;
        (at != NEVER).then_some(at)
    }

    /// Writes that were closed since the last call: nothing of them may land any more.
    pub fn take_ended(&mut self) -> Vec<WriteId> {
        std::mem::take(&mut self.ended)
    }

    /// For which blocks stable storage was promised since the last call.
    pub fn take_promised(&mut self) -> Vec<(usize, u32)> {
        std::mem::take(&mut self.promised)
    }
}

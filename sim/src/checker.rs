//! What a read may return, given what was issued, acknowledged and synced.
//!
//! Every write has a tag of its own, so the history of one block can be checked as that of a
//! register with unique values (Gibbons and Korach, "Testing shared memories", 1997): let `f` of a
//! value be the earliest end of an operation that wrote or read it, and `s` the latest start of
//! one. Value *a* came before *b* if `f(a) < s(b)`; both before each other is a contradiction, and
//! without one there is an order that explains everything. Blocks are independent of each other.
//!
//! What widens that here:
//! * A write without a good answer may happen until it is *closed*: answered with an error, or its
//!   session proven gone. A write that is still open counts as ended nowhere.
//! * A write that its session repeats may happen more than once while it is open; only its end
//!   counts then, not the reads that saw it earlier. But once a write is acknowledged that was issued
//!   after such a read, the repeated one may not be there again (P9).
//! * Zeros are no unique value: a read of zeros is right when *some* unmap, or the beginning,
//!   explains it.
//! * A power cut starts a new history. It begins with what is on the disk then, and that must not
//!   be older than a write that was *durable*: acknowledged with FUA or under write policy
//!   *normal*, or acknowledged before a sync was issued that was acknowledged.

mod interval;
mod over;
mod swap;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use self::interval::Interval;
pub use self::over::Held;
use crate::tag::{Content, Tag};

/// A point in the order of everything that hosts did and learnt.
pub type Tick = u64;

const NEVER: Tick = Tick::MAX;

/// A write or an unmap, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WriteId(pub u64);

/// What a read, or the disk after a power cut, cannot have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("block {volume}:{lba} has {found}: {why}")]
pub struct Violation {
    /// The volume.
    pub volume: usize,
    /// The block.
    pub lba: u32,
    /// What it has.
    pub found: Content,
    /// Why it cannot.
    pub why: String,
}

/// One value of one block.
#[derive(Clone, Debug)]
struct Value {
    id: WriteId,
    content: Content,
    issued: Tick,
    /// It has happened by then.
    acknowledged: Tick,
    /// It cannot happen after that.
    closed: Tick,
    durable: bool,
    repeated: bool,
    /// A swap that expected it has succeeded.
    swapped: bool,
    /// It was put there by a swap that had found this.
    instead_of: Option<Content>,
    /// Reads that saw it: their earliest end and latest start.
    seen_by: Tick,
    seen_at: Tick,
}

impl Value {
    fn new(id: WriteId, content: Content, issued: Tick) -> Self {
        Self {
            id,
            content,
            issued,
            acknowledged: NEVER,
            closed: NEVER,
            durable: false,
            repeated: false,
            swapped: false,
            instead_of: None,
            seen_by: NEVER,
            seen_at: 0,
        }
    }

    /// When the first operation on it ended.
    fn first_end(&self) -> Tick {
        let seen = self.seen_by != NEVER;
        match self.repeated {
            _ if !seen => self.acknowledged,
            true => self.acknowledged.min(self.closed),
            false => self.acknowledged.min(self.closed).min(self.seen_by),
        }
    }

    /// When the last operation on it started.
    fn last_start(&self) -> Tick {
        self.issued.max(self.seen_at)
    }

    fn before(&self, other: &Self) -> bool {
        self.first_end() < other.last_start()
    }

    /// Whether nothing can put it on the disk any more that is not there already.
    fn is_over(&self) -> bool {
        self.acknowledged.min(self.closed) != NEVER
    }
}

/// One block since the last power cut.
#[derive(Debug)]
struct Block {
    /// The first is what was there.
    values: Vec<Value>,
}

/// The histories of all blocks of all volumes.
#[derive(Debug, Default)]
pub struct Checker {
    tick: Tick,
    next: u64,
    blocks: BTreeMap<(usize, u32), Block>,
    /// Where each write that is open or not durable yet is.
    writes: BTreeMap<WriteId, Vec<(usize, u32)>>,
    /// Writes that are there as a whole or not at all: volume, first block, how many.
    atomics: BTreeMap<WriteId, (usize, u32, u32)>,
    /// Acknowledged, not durable, and when; by volume.
    volatile: BTreeMap<(usize, WriteId), Tick>,
    /// Closed since somebody looked.
    ended: Vec<WriteId>,
    /// Where stable storage was promised since somebody looked.
    promised: Vec<(usize, u32)>,
    reads: u64,
}

impl Checker {
    /// Volumes of zeros, of so many blocks each.
    #[must_use]
    pub fn new(volumes: &[u32]) -> Self {
        let mut checker = Self::default();
        for (volume, blocks) in volumes.iter().enumerate() {
            checker.add(volume, *blocks);
        }
        checker
    }

    /// One more volume of zeros.
    pub fn add(&mut self, volume: usize, blocks: u32) {
        let tick = self.tick;
        for lba in 0..blocks {
            let block = Block { values: vec![Self::beginning(Content::Zero, tick)] };
            self.blocks.insert((volume, lba), block);
        }
    }

    fn beginning(content: Content, tick: Tick) -> Value {
        let value = Value::new(WriteId(0), content, tick);
        Value { acknowledged: tick, closed: tick, durable: true, ..value }
    }

    /// Now, in the order of everything.
    pub fn tick(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    /// Blocks that were read and found right.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Writes that may still happen, or are not durable.
    #[must_use]
    pub fn open_writes(&self) -> usize {
        self.writes.len()
    }

    /// A write of these blocks is about to be issued. Its tags have the number of the answer.
    pub fn write(&mut self, volume: usize, lba: u32, blocks: u32) -> WriteId {
        self.next += 1;
        let id = WriteId(self.next);
        let tag = |lba| Content::Written(tag(volume, lba, id));
        self.issue(id, (lba..lba + blocks).map(|lba| ((volume, lba), tag(lba))));
        id
    }

    /// A WRITE SAME to these blocks is about to be issued: they all get the tag of [`SAME`].
    pub fn write_same(&mut self, volume: usize, lba: u32, blocks: u32) -> WriteId {
        self.next += 1;
        let id = WriteId(self.next);
        let content = Content::Written(tag(volume, SAME, id));
        self.issue(id, (lba..lba + blocks).map(|lba| ((volume, lba), content)));
        id
    }

    /// An unmap of these ranges (first block, how many) is about to be issued.
    pub fn unmap(&mut self, volume: usize, ranges: &[(u32, u32)]) -> WriteId {
        self.next += 1;
        let id = WriteId(self.next);
        let blocks = ranges.iter().flat_map(|(lba, blocks)| *lba..*lba + *blocks);
        let mut blocks: Vec<_> = blocks.collect();
        blocks.sort_unstable();
        blocks.dedup();
        self.issue(id, blocks.into_iter().map(|lba| ((volume, lba), Content::Zero)));
        id
    }

    fn issue(&mut self, id: WriteId, blocks: impl Iterator<Item = ((usize, u32), Content)>) {
        let tick = self.tick();
        let mut at = Vec::new();
        for (place, content) in blocks {
            let block = self.blocks.get_mut(&place).expect("hosts stay inside of their volumes");
            block.values.push(Value::new(id, content, tick));
            at.push(place);
        }
        self.writes.insert(id, at);
    }

    fn each(&mut self, id: WriteId, change: impl Fn(&mut Value)) {
        for place in self.writes.get(&id).map(Vec::as_slice).unwrap_or_default() {
            let values = self.blocks.get_mut(place).map(|block| &mut block.values);
            values.into_iter().flatten().filter(|value| value.id == id).for_each(&change);
        }
    }

    /// A write was answered with GOOD; `durable` if that promises stable storage.
    pub fn acknowledge(&mut self, id: WriteId, durable: bool) {
        let tick = self.tick();
        self.each(id, |value| {
            value.acknowledged = tick;
            value.closed = tick;
            value.durable = durable;
        });
        if durable {
            self.promised.extend(self.writes.remove(&id).unwrap_or_default());
        } else if let Some((volume, _)) = self.writes.get(&id).and_then(|places| places.first()) {
            self.volatile.insert((*volume, id), tick);
        }
    }

    /// A write cannot happen any more from now on, and whether it has is not known: it was answered
    /// with an error, or its session is gone.
    pub fn close(&mut self, id: WriteId) {
        let tick = self.tick();
        self.each(id, |value| value.closed = value.closed.min(tick));
        self.writes.remove(&id);
        self.ended.push(id);
    }

    /// The session of a write was lost and issues it again.
    pub fn repeat(&mut self, id: WriteId) {
        self.each(id, |value| value.repeated = true);
    }

    /// A sync that was issued at `issued` was answered with GOOD: what was acknowledged before that
    /// is durable (P2).
    pub fn synced(&mut self, volume: usize, issued: Tick) {
        let range = (volume, WriteId(0))..=(volume, WriteId(u64::MAX));
        let covered = self.volatile.range(range).filter(|(_, at)| **at < issued);
        for place in covered.map(|(place, _)| *place).collect::<Vec<_>>() {
            self.volatile.remove(&place);
            self.each(place.1, |value| value.durable = true);
            self.promised.extend(self.writes.remove(&place.1).unwrap_or_default());
        }
    }

    /// The operator has taken a faulted volume as it is: no later sync answers for what the failed
    /// one was to cover.
    pub fn recovered(&mut self, volume: usize) {
        let range = (volume, WriteId(0))..=(volume, WriteId(u64::MAX));
        for place in self.volatile.range(range).map(|(place, _)| *place).collect::<Vec<_>>() {
            self.volatile.remove(&place);
            self.writes.remove(&place.1);
        }
    }

    /// A read that was issued at `issued` has brought this. It is checked, and remembered.
    pub fn read(
        &mut self,
        volume: usize,
        lba: u32,
        issued: Tick,
        found: Content,
    ) -> Result<(), Violation> {
        let now = self.tick();
        let block = self.blocks.get_mut(&(volume, lba)).expect("inside of the volume");
        self.reads += 1;
        let checked = match found {
            Content::Zero => block.check_zero(issued, now),
            Content::Written(tag) => block.check(tag, found, issued, now),
            Content::Mixed => Err("no write wrote that".to_owned()),
        };
        checked.map_err(|why| Violation { volume, lba, found, why })
    }

    /// The target's process was killed; its disks have kept their power. What it had in its hands
    /// has happened or will not, unless a session has it still: `held` says which.
    pub fn killed(&mut self, held: impl Fn(WriteId) -> Option<Held>) {
        let acknowledged: BTreeSet<_> = self.volatile.keys().map(|(_, id)| *id).collect();
        let open: Vec<_> = self.writes.keys().copied().collect();
        for id in open {
            match held(id) {
                Some(Held::Again) => self.repeat(id),
                Some(Held::Once) => {}
                None if acknowledged.contains(&id) => {}
                None => self.close(id),
            }
        }
    }

    /// The power was cut, and `on_disk` is what each block has now. New histories begin with that.
    pub fn power_cut(
        &mut self,
        held: impl Fn(WriteId) -> Option<Held>,
        on_disk: impl Fn(usize, u32) -> Content,
    ) -> Result<(), Violation> {
        self.power_cut_on(|_| true, held, on_disk)
    }

    /// Whether a block may be this after a power cut at this moment; nothing is changed by asking.
    pub fn may_survive(&self, volume: usize, lba: u32, found: Content) -> Result<(), Violation> {
        let block = self.blocks.get(&(volume, lba)).expect("inside of the volume");
        block.check_survivor(found).map_err(|why| Violation { volume, lba, found, why })
    }

    /// The same for the volumes that are on the machine without power.
    pub fn power_cut_on(
        &mut self,
        is_there: impl Fn(usize) -> bool,
        held: impl Fn(WriteId) -> Option<Held>,
        on_disk: impl Fn(usize, u32) -> Content,
    ) -> Result<(), Violation> {
        let tick = self.tick();
        self.check_whole_after_cut(&is_there, &on_disk)?;
        self.atomics.retain(|id, (volume, ..)| !is_there(*volume) || held(*id).is_some());
        self.volatile.retain(|(volume, _), _| !is_there(*volume));
        for ((volume, lba), block) in &mut self.blocks {
            if !is_there(*volume) {
                continue;
            }
            let (volume, lba, found) = (*volume, *lba, on_disk(*volume, *lba));
            let violation = |why| Violation { volume, lba, found, why };
            block.check_survivor(found).map_err(violation)?;
            let open = |value: &Value| {
                let held = if value.is_over() { None } else { held(value.id) }?;
                let again = Value::new(value.id, value.content, tick);
                Some(Value { repeated: held == Held::Again, ..again })
            };
            let mut values = vec![Self::beginning(found, tick)];
            values.extend(block.values.iter().filter_map(open));
            block.values = values;
        }
        self.writes.retain(|id, places| {
            held(*id).is_some() || places.first().is_some_and(|(volume, _)| !is_there(*volume))
        });
        Ok(())
    }
}

/// Stands for any block in the tag of a WRITE SAME.
pub const SAME: u32 = u32::MAX;

fn tag(volume: usize, lba: u32, id: WriteId) -> Tag {
    Tag { volume: u8::try_from(volume).expect("a few volumes"), lba, write: id.0 }
}

/// The tag of one block of a write.
#[must_use]
pub fn tag_of(volume: usize, lba: u32, id: WriteId) -> Tag {
    tag(volume, lba, id)
}

impl Block {
    /// Only a repeated write can be here twice: as what was there, and as what may come.
    fn find(&self, found: Content) -> Option<usize> {
        self.values.iter().rposition(|value| value.content == found)
    }

    fn check(&mut self, tag: Tag, found: Content, issued: Tick, now: Tick) -> Result<(), String> {
        let Some(index) = self.find(found) else {
            return Err(self.unknown(tag));
        };
        let value = &mut self.values[index];
        value.seen_by = value.seen_by.min(now);
        value.seen_at = value.seen_at.max(issued);
        self.contradiction(index).or_else(|| self.lost_to_a_swap()).map_or(Ok(()), Err)
    }

    fn contradiction(&self, index: usize) -> Option<String> {
        let value = &self.values[index];
        let other = |other: &&Value| {
            !std::ptr::eq(*other, value)
                && other.content != value.content
                && value.before(other)
                && other.before(value)
        };
        let other = self.values.iter().find(other).or_else(|| self.came_back(value))?;
        Some(format!(
            "{} was there in {}, and this in {}",
            other.content,
            Interval(other),
            Interval(value)
        ))
    }

    /// A repeated write that is there again, although one issued after it had been seen was
    /// acknowledged in between: no session repeats what was overtaken (P9).
    fn came_back(&self, value: &Value) -> Option<&Value> {
        let between = |other: &&Value| {
            other.content != value.content
                && value.seen_by < other.issued
                && other.acknowledged < value.seen_at
        };
        self.values.iter().find(between).filter(|_| value.repeated)
    }

    /// Some unmap, or the beginning, must explain zeros; without remembering which.
    fn check_zero(&self, issued: Tick, now: Tick) -> Result<(), String> {
        let explains = |zero: &Value| {
            let seen = Value {
                seen_by: zero.seen_by.min(now),
                seen_at: zero.seen_at.max(issued),
                ..zero.clone()
            };
            self.values
                .iter()
                .filter(|other| other.content != Content::Zero)
                .all(|other| !(seen.before(other) && other.before(&seen)))
        };
        let zeros = self.values.iter().filter(|value| value.content == Content::Zero);
        let mut zeros = zeros.peekable();
        if zeros.peek().is_none() {
            return Err(format!("lost: nothing made it zero. {}", self.history()));
        }
        if zeros.any(explains) {
            return Ok(());
        }
        Err(format!("lost: it was written after it was zero. {}", self.history()))
    }

    /// Whether a power cut may leave `found`.
    fn check_survivor(&self, found: Content) -> Result<(), String> {
        if found == Content::Mixed {
            return Err("torn inside of a block".to_owned());
        }
        let survives = |value: &Value| {
            let newer = |other: &Value| other.durable && value.before(other);
            !self.values.iter().any(|other| other.content != value.content && newer(other))
        };
        let mut same = self.values.iter().filter(|value| value.content == found).peekable();
        if let (None, Content::Written(tag)) = (same.peek(), found) {
            return Err(self.unknown(tag));
        }
        if same.any(survives) {
            return Ok(());
        }
        Err(format!("after a power cut, but something newer was durable. {}", self.history()))
    }

    fn unknown(&self, tag: Tag) -> String {
        format!(
            "w{} is of another block, or of before the power cut. {}",
            tag.write,
            self.history()
        )
    }

    fn history(&self) -> String {
        let values = self.values.iter().rev().take(8).rev();
        values.fold("Known:".to_owned(), |all, value| {
            all + &format!(" {} in {};", value.content, Interval(value))
        })
    }
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;

//! A disk with a volatile write cache, and everything that a disk may fairly do.
//!
//! **Fair** is what a correct device and kernel may do, so the target has to live with it:
//! operations take any time and end in any order; a read or write of several sectors happens
//! sector by sector, in any order, between its start and its end; a transfer may be short (by whole
//! sectors, as `O_DIRECT` has it), or answered with EAGAIN or EINTR before anything was done; reads,
//! writes and syncs fail with EIO, a failed write having reached any of its sectors; zeroing is not
//! offered. What a power cut leaves of each sector is any version since the last one that a sync or
//! a dsync write made stable, independently of all other sectors: so a write is torn, and later
//! writes survive earlier ones. A sync covers the operations that had *ended* before it was
//! submitted, and nothing else. What a failed sync should have covered is never covered by a later
//! one (fsync forgets).
//!
//! **Not fair**, because no target without checksums or a second copy could answer for it: a sync
//! that lies, lost or misdirected writes, rotting bits, a torn sector. Only the lie is here
//! ([`Faults::lying_flush`]), to prove that the checker sees it.

mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use outband_ring::{Errno, Stretch};

pub use self::past::Arrival;
use self::past::Past;
use crate::rng::Rng;
use crate::tag;

/// Versions of one sector that the cache holds before it writes one of them back by itself.
const CACHED_MAX: usize = 24;

/// An operation, by the ring's number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OpId(pub u64);

/// How often what goes wrong, in times per thousand operations, and how long things take.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Fewer bytes than asked for.
    pub short: u32,
    /// EAGAIN or EINTR.
    pub again: u32,
    /// A read fails.
    pub read_error: u32,
    /// A write fails.
    pub write_error: u32,
    /// A sync fails, or the one inside of a dsync write.
    pub sync_error: u32,
    /// Zeroing is not offered.
    pub no_zeroing: bool,
    /// An operation takes a hundred times as long.
    pub stall: u32,
    /// How long an operation takes.
    pub latency: Range<Duration>,
    /// Syncs are answered and not done. Not fair.
    pub lying_flush: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            short: 0,
            again: 0,
            read_error: 0,
            write_error: 0,
            sync_error: 0,
            no_zeroing: false,
            stall: 0,
            latency: Duration::from_micros(20)..Duration::from_micros(400),
            lying_flush: false,
        }
    }
}

/// What an operation asks of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// To read so many bytes.
    Read { len: usize },
    /// To write so many bytes.
    Write { len: usize, dsync: bool },
    /// To make what has ended stable.
    Sync,
    /// To make a range read as zeros.
    Zero,
    /// To tell what is there.
    Survey,
}

/// What becomes of an operation; drawn when it is submitted.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Some of it happens after this time.
    pub begins: Duration,
    /// It ends, and the rest of it has happened, after this time.
    pub ends: Duration,
    /// How it ends: bytes, 0 for those that count none.
    pub result: Result<usize, Errno>,
}

/// Bytes of one sector. `None` is zeros.
type Content = Option<Arc<[u8]>>;

#[derive(Clone, Debug)]
struct Version {
    content: Content,
    op: OpId,
    /// How many operations had ended when this one's did; `None` while it has not.
    ended: Option<u64>,
    /// A sync that should have covered it failed: no later one does.
    forgotten: bool,
}

#[derive(Clone, Default, Debug)]
struct Sector {
    stable: Content,
    /// Oldest first; a read sees the last.
    cached: Vec<Version>,
}

/// One disk.
#[derive(Debug)]
pub struct Disk {
    faults: Faults,
    sector_len: usize,
    len: u64,
    sectors: BTreeMap<u64, Sector>,
    /// Sectors with something in the cache.
    dirty: BTreeSet<u64>,
    ended: u64,
    writing: BTreeMap<OpId, Writing>,
    /// For syncs: what had ended when it was submitted.
    syncing: BTreeMap<OpId, u64>,
    /// Syncs that have failed.
    sync_failures: u64,
    past: Past,
}

/// A write or zeroing under way.
#[derive(Debug)]
struct Writing {
    /// Its sectors.
    range: Range<u64>,
    /// Those that it has not reached yet.
    left: Vec<(u64, Content)>,
    /// It need not reach them.
    fails: bool,
}

impl Disk {
    /// `len` bytes, all zero, in sectors of `sector_len`.
    #[must_use]
    pub fn new(len: u64, sector_len: usize, faults: Faults) -> Self {
        Self {
            faults,
            sector_len,
            len,
            sectors: BTreeMap::new(),
            dirty: BTreeSet::new(),
            ended: 0,
            writing: BTreeMap::new(),
            syncing: BTreeMap::new(),
            sync_failures: 0,
            past: Past::default(),
        }
    }

    /// What goes wrong on it, which may change at any time.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Syncs that have failed so far.
    #[must_use]
    pub fn sync_failures(&self) -> u64 {
        self.sync_failures
    }

    /// An operation was submitted.
    pub fn submit(&mut self, op: OpId, asked: Asked, rng: &mut Rng) -> Fate {
        let stall = if rng.chance(self.faults.stall) { 100 } else { 1 };
        let ends = rng.time(self.faults.latency.clone()) * stall;
        let begins = rng.time(Duration::ZERO..ends);
        if asked == Asked::Sync {
            self.syncing.insert(op, self.ended);
        }
        Fate { begins, ends, result: self.result(asked, rng) }
    }

    fn result(&self, asked: Asked, rng: &mut Rng) -> Result<usize, Errno> {
        let faults = &self.faults;
        if rng.chance(faults.again) {
            return Err(Errno::from_raw(rng.pick(&[libc::EAGAIN, libc::EINTR])));
        }
        let (len, error) = match asked {
            Asked::Read { len } => (len, faults.read_error),
            Asked::Write { len, dsync: false } => (len, faults.write_error),
            Asked::Write { len, dsync: true } => (len, faults.write_error + faults.sync_error),
            Asked::Sync => (0, faults.sync_error),
            Asked::Zero if faults.no_zeroing => return Err(Errno::OPNOTSUPP),
            Asked::Zero => (0, faults.write_error),
            Asked::Survey => (0, 0),
        };
        if rng.chance(error) {
            return Err(Errno::IO);
        }
        let sectors = len / self.sector_len;
        if sectors > 1 && rng.chance(faults.short) {
            return Ok(self.sector_len * (1 + rng.index(sectors - 1)));
        }
        Ok(len)
    }

    /// Reads some sectors now (`all`: those that were not read before), each as it is now.
    pub fn read(&self, offset: u64, into: &mut [u8], seen: &mut [bool], all: bool, rng: &mut Rng) {
        let first = self.sector_at(offset);
        for (index, bytes) in into.chunks_mut(self.sector_len).enumerate() {
            if !seen[index] && (all || rng.coin()) {
                seen[index] = true;
                self.read_sector(first + index as u64, bytes);
            }
        }
    }

    /// Where there is something, from `offset` on: all of `len`, or `at_most` stretches.
    #[must_use]
    pub fn stretches(&self, offset: u64, len: u64, at_most: usize) -> Vec<Stretch> {
        let mut found = Vec::<Stretch>::new();
        for number in self.sector_at(offset)..self.sector_at(offset + len) {
            let version = self.sectors.get(&number).map(Sector::newest);
            let mapped = version.is_some_and(Option::is_some);
            if let Some(last) = found.last_mut().filter(|last| last.mapped == mapped) {
                last.len += self.sector_len as u64;
            } else if found.len() < at_most {
                found.push(Stretch { len: self.sector_len as u64, mapped });
            } else {
                break;
            }
        }
        found
    }

    fn read_sector(&self, number: u64, into: &mut [u8]) {
        match self.sectors.get(&number).and_then(|sector| sector.newest().as_ref()) {
            Some(content) => into.copy_from_slice(content),
            None => into.fill(0),
        }
    }

    /// A write begins: `bytes` at `offset`. If it `fails`, any of it may be written.
    pub fn begin_write(&mut self, op: OpId, offset: u64, bytes: &[u8], fails: bool) {
        let first = self.sector_at(offset);
        let content = bytes.chunks_exact(self.sector_len).map(|bytes| Some(bytes.into()));
        self.begin(op, (first..).zip(content).collect(), fails);
    }

    /// Zeroing begins.
    pub fn begin_zero(&mut self, op: OpId, offset: u64, len: u64, fails: bool) {
        let range = self.sector_at(offset)..self.sector_at(offset + len);
        self.begin(op, range.map(|number| (number, None)).collect(), fails);
    }

    fn begin(&mut self, op: OpId, left: Vec<(u64, Content)>, fails: bool) {
        let first = left.first().map_or(0, |(number, _)| *number);
        let range = first..first + left.len() as u64;
        assert!(range.end * self.sector_len as u64 <= self.len, "a write behind the end of a disk");
        self.writing.insert(op, Writing { range, left, fails });
    }

    /// Some sectors of a write or of zeroing reach the cache.
    pub fn write_some(&mut self, op: OpId, rng: &mut Rng) {
        let Some(mut writing) = self.writing.remove(&op) else {
            return;
        };
        writing.left.retain(|(number, content)| {
            let now = rng.coin();
            if now {
                self.cache(op, *number, content.clone(), rng);
            }
            !now
        });
        self.writing.insert(op, writing);
    }

    fn cache(&mut self, op: OpId, number: u64, content: Content, rng: &mut Rng) {
        let sector = self.sectors.entry(number).or_default();
        self.past.replaced(number, sector.newest().as_deref());
        sector.cached.push(Version { content, op, ended: None, forgotten: false });
        self.dirty.insert(number);
        if sector.cached.len() > CACHED_MAX {
            let kept = rng.index(CACHED_MAX);
            sector.settle(kept);
        }
    }

    /// An operation ends, with `result`: what is left of it happens now.
    pub fn end(&mut self, op: OpId, asked: Asked, result: Result<usize, Errno>, rng: &mut Rng) {
        self.ended += 1;
        if asked == Asked::Sync {
            return self.end_sync(op, result, rng);
        }
        let Some(Writing { range, left, fails }) = self.writing.remove(&op) else {
            return;
        };
        for (number, content) in left {
            if !fails || rng.coin() {
                self.cache(op, number, content, rng);
            }
        }
        let dsync = matches!(asked, Asked::Write { dsync: true, .. });
        self.sync_failures += u64::from(dsync && result == Err(Errno::IO));
        let stable = dsync && result.is_ok() && !self.faults.lying_flush;
        let ended = self.ended;
        for (_, sector) in self.sectors.range_mut(range) {
            for version in sector.cached.iter_mut().filter(|version| version.op == op) {
                version.ended = Some(ended);
                version.forgotten = dsync && result.is_err();
            }
            if stable {
                sector.settle_newest(|version| version.op == op);
            }
        }
    }

    fn end_sync(&mut self, op: OpId, result: Result<usize, Errno>, rng: &mut Rng) {
        let before = self.syncing.remove(&op).unwrap_or(0);
        let covers = |version: &Version| version.ended.is_some_and(|ended| ended <= before);
        let failed = result == Err(Errno::IO);
        self.sync_failures += u64::from(failed);
        if result.is_err() && !failed || self.faults.lying_flush {
            return;
        }
        let sectors = &mut self.sectors;
        self.dirty.retain(|number| {
            let sector = sectors.get_mut(number).expect("a dirty sector is there");
            if !failed {
                sector.settle_newest(|version| covers(version) && !version.forgotten);
            } else if rng.coin() {
                sector.settle_newest(covers);
            }
            if failed {
                let lost = sector.cached.iter_mut().filter(|version| covers(version));
                lost.for_each(|version| version.forgotten = true);
            }
            !sector.cached.is_empty()
        });
    }

    /// The power goes: of each sector one version since the stable one is left, and operations
    /// under way have reached any of their sectors.
    pub fn cut_power(&mut self, rng: &mut Rng) {
        self.drop_operations(rng);
        for number in std::mem::take(&mut self.dirty) {
            let sector = self.sectors.get_mut(&number).expect("a dirty sector is there");
            let survivor = rng.index(sector.cached.len() + 1);
            if survivor > 0 {
                sector.settle(survivor - 1);
            }
            sector.cached.clear();
        }
    }

    /// What the sector at `offset` may hold after a power cut now: each of these, whatever the others
    /// hold. So these are all the subsets of what was not synced.
    pub fn survivors(&self, offset: u64) -> impl Iterator<Item = tag::Content> {
        let number = self.sector_at(offset);
        let sector = self.sectors.get(&number);
        let stable = sector.map_or(&None, |sector| &sector.stable);
        let cached = sector.map_or(&[][..], |sector| &sector.cached);
        let under_way = self.writing.values().flat_map(|writing| &writing.left);
        let under_way = under_way.filter(move |(at, _)| *at == number).map(|(_, content)| content);
        let all = std::iter::once(stable).chain(cached.iter().map(|version| &version.content));
        all.chain(under_way).map(tag_of)
    }

    /// The process goes: what it had under way has reached any of its sectors, and the cache stays.
    pub fn kill_process(&mut self, rng: &mut Rng) {
        self.drop_operations(rng);
        self.ended += 1;
        for number in &self.dirty {
            let sector = self.sectors.get_mut(number).expect("a dirty sector is there");
            for version in &mut sector.cached {
                version.ended.get_or_insert(self.ended);
            }
        }
    }

    fn drop_operations(&mut self, rng: &mut Rng) {
        let under_way: Vec<_> = self.writing.keys().copied().collect();
        for op in under_way {
            self.write_some(op, rng);
        }
        self.writing.clear();
        self.syncing.clear();
    }

    /// What a read of these bytes would see now.
    #[must_use]
    pub fn peek(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let first = self.sector_at(offset);
        for (index, chunk) in bytes.chunks_mut(self.sector_len).enumerate() {
            self.read_sector(first + index as u64, chunk);
        }
        bytes
    }

    /// Writes while nothing else is under way, and makes that stable.
    pub fn write_stable(&mut self, offset: u64, bytes: &[u8]) {
        let first = self.sector_at(offset);
        for (number, content) in (first..).zip(bytes.chunks_exact(self.sector_len)) {
            let sector = Sector { stable: Some(content.into()), cached: Vec::new() };
            self.sectors.insert(number, sector);
            self.dirty.remove(&number);
        }
    }

    /// Bytes in a sector.
    #[must_use]
    pub fn sector_len(&self) -> usize {
        self.sector_len
    }

    fn sector_at(&self, offset: u64) -> u64 {
        let len = self.sector_len as u64;
        assert!(offset.is_multiple_of(len), "O_DIRECT at {offset}, between two sectors");
        offset / len
    }
}

/// What a sector's bytes say of themselves.
fn tag_of(content: &Content) -> tag::Content {
    content.as_ref().map_or(tag::Content::Zero, |bytes| tag::Content::of(bytes))
}

impl Sector {
    /// What a read sees.
    fn newest(&self) -> &Content {
        self.cached.last().map_or(&self.stable, |version| &version.content)
    }

    /// The version at `index` is stable; those before it are gone.
    fn settle(&mut self, index: usize) {
        self.stable = self.cached[index].content.clone();
        self.cached.drain(..=index);
    }

    fn settle_newest(&mut self, which: impl Fn(&Version) -> bool) {
        if let Some(index) = self.cached.iter().rposition(which) {
            self.settle(index);
        }
    }
}

#[cfg(test)]
mod tests;

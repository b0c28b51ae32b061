//! A disk that logs every write, so that its power can be cut after each of them.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::media::blocks::Blocks;
use crate::media::state_dir::{Listed, Registry};
use crate::media::{MIB, MediaError};

const PAGE: u64 = 4096;
/// Bytes after which a write may be torn: in a header, in a record, at a sector.
const TEARS: [usize; 5] = [27, 90, 190, 512, 1024];
const POISON: u8 = 0xa7;

/// A MiB: one byte all over, or pages of which some were written. Cheap to copy: a history is
/// replayed thousands of times.
#[derive(Clone, Debug)]
enum Chunk {
    Filled(u8),
    Pages(Arc<Vec<Option<Arc<[u8]>>>>, u8),
}

/// What is on a disk; what nobody wrote is somebody's old data.
#[derive(Clone, Debug)]
pub(super) struct Image(Vec<Chunk>);

const PAGES: u64 = MIB / PAGE;

impl Image {
    pub(super) fn poisoned(size: u64) -> Self {
        Self((0..size / MIB).map(|_| Chunk::Filled(POISON)).collect())
    }

    fn place(page: u64) -> (usize, usize) {
        (usize::try_from(page / PAGES).unwrap(), usize::try_from(page % PAGES).unwrap())
    }

    fn read(&self, at: u64, into: &mut [u8]) {
        for (page, bytes) in (at / PAGE..).zip(into.chunks_mut(4096)) {
            let (chunk, page) = Self::place(page);
            match &self.0[chunk] {
                Chunk::Filled(byte) => bytes.fill(*byte),
                Chunk::Pages(pages, fill) => match &pages[page] {
                    Some(written) => bytes.copy_from_slice(written),
                    None => bytes.fill(*fill),
                },
            }
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        for (page, bytes) in (at / PAGE..).zip(bytes.chunks(4096)) {
            let (chunk, page) = Self::place(page);
            let chunk = &mut self.0[chunk];
            if let Chunk::Filled(fill) = *chunk {
                *chunk = Chunk::Pages(Arc::new(vec![None; usize::try_from(PAGES).unwrap()]), fill);
            }
            let Chunk::Pages(pages, _) = chunk else { unreachable!("made a line above") };
            Arc::make_mut(pages)[page] = Some(bytes.into());
        }
    }

    fn zero(&mut self, at: u64, len: u64) {
        assert!(at.is_multiple_of(MIB) && len.is_multiple_of(MIB), "the catalog zeroes whole MiB");
        for mib in at / MIB..(at + len) / MIB {
            self.0[usize::try_from(mib).unwrap()] = Chunk::Filled(0);
        }
    }

    /// Volumes lie on whole MiB, and nothing writes into them here.
    pub(super) fn is_zero(&self, at: u64, len: u64) -> bool {
        (at / MIB..(at + len).div_ceil(MIB))
            .all(|mib| matches!(self.0[usize::try_from(mib).unwrap()], Chunk::Filled(0)))
    }

    /// One bit of the page at `at` is no longer what was written.
    pub(super) fn rot(&mut self, at: u64) {
        let mut bytes = vec![0; 4096];
        self.read(at, &mut bytes);
        bytes[100] ^= 4;
        self.write(at, &bytes);
    }
}

/// One thing that reached a disk, or the state directory.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Write { disk: usize, at: u64, bytes: Vec<u8> },
    Zero { disk: usize, at: u64, len: u64 },
    Sync { disk: usize },
    List(Listed),
}

/// What else the cut did to the disks.
#[derive(Clone)]
pub(super) enum Loss {
    /// Everything before the cut is there.
    Nothing,
    /// Of the write under way, these bytes reached the disk.
    Torn(Op, Range<usize>),
    /// What was not synced is gone.
    Unsynced,
    /// Of what was not synced only the last on each disk is there: a cache writes in any order.
    Reordered,
}

impl std::fmt::Debug for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing lost"),
            Self::Torn(_, landed) => write!(f, "torn, landed {landed:?}"),
            Self::Unsynced => f.write_str("unsynced lost"),
            Self::Reordered => f.write_str("of the unsynced only the last landed"),
        }
    }
}

impl Op {
    fn disk(&self) -> Option<usize> {
        match self {
            Self::Write { disk, .. } | Self::Zero { disk, .. } | Self::Sync { disk } => Some(*disk),
            Self::List(_) => None,
        }
    }

    /// The ways this write can tear: it landed up to a byte, or from there on. Not only at sectors: a
    /// ledger of a few volumes is smaller than one.
    fn tears(&self) -> Vec<Loss> {
        let Self::Write { bytes, .. } = self else { return Vec::new() };
        let cuts = TEARS.into_iter().filter(|cut| *cut < bytes.len());
        let landed = cuts.flat_map(|cut| [0..cut, cut..bytes.len()]);
        landed.map(|landed| Loss::Torn(self.clone(), landed)).collect()
    }
}

/// All that a cut before `log[cut]` is done can do.
pub(super) fn losses(log: &[Op], cut: usize) -> Vec<Loss> {
    let mut losses = log.get(cut).map_or_else(Vec::new, Op::tears);
    losses.extend([Loss::Nothing, Loss::Unsynced, Loss::Reordered]);
    losses
}

fn is_lost(op: &Op, later: &[Op], loss: &Loss) -> bool {
    let Some(disk) = op.disk() else { return false };
    let mut same = later.iter().filter(|later| later.disk() == Some(disk));
    match loss {
        Loss::Nothing | Loss::Torn(..) => false,
        Loss::Unsynced => !same.any(|later| matches!(later, Op::Sync { .. })),
        Loss::Reordered => {
            same.clone().next().is_some() && !same.any(|later| matches!(later, Op::Sync { .. }))
        }
    }
}

/// The disks and the state directory after `log` and a cut.
pub(super) fn replay(base: &[Image], log: &[Op], loss: &Loss) -> (Vec<Image>, Option<Listed>) {
    let mut images = base.to_vec();
    let mut listed = None;
    for (i, op) in log.iter().enumerate() {
        if is_lost(op, &log[i + 1..], loss) {
            continue;
        }
        match op {
            Op::Write { disk, at, bytes } => images[*disk].write(*at, bytes),
            Op::Zero { disk, at, len } => images[*disk].zero(*at, *len),
            Op::Sync { .. } => {}
            Op::List(list) => listed = Some(list.clone()),
        }
    }
    if let Loss::Torn(Op::Write { disk, at, bytes }, landed) = loss {
        let mut mixed = vec![0; bytes.len()];
        images[*disk].read(*at, &mut mixed);
        mixed[landed.clone()].copy_from_slice(&bytes[landed.clone()]);
        images[*disk].write(*at, &mixed);
    }
    (images, listed)
}

/// All disks of a unit, their common log, and which of them is about to fail.
#[derive(Clone, Debug)]
pub(super) struct World(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    images: Vec<Image>,
    log: Vec<Op>,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    disk: usize,
    /// Writes that still succeed.
    after: usize,
    /// The bytes land all the same.
    lands: bool,
}

impl World {
    pub(super) fn new(images: Vec<Image>) -> Self {
        Self(Arc::new(Mutex::new(State { images, log: Vec::new(), failing: None })))
    }

    pub(super) fn disk(&self, disk: usize) -> Arc<SimDisk> {
        Arc::new(SimDisk { world: self.clone(), disk })
    }

    pub(super) fn disks(&self) -> Vec<Arc<SimDisk>> {
        (0..self.images().len()).map(|i| self.disk(i)).collect()
    }

    pub(super) fn images(&self) -> Vec<Image> {
        self.0.lock().unwrap().images.clone()
    }

    pub(super) fn log(&self) -> Vec<Op> {
        self.0.lock().unwrap().log.clone()
    }

    pub(super) fn fail(&self, disk: usize, after: usize, lands: bool) {
        self.0.lock().unwrap().failing = Some(Failing { disk, after, lands });
    }

    pub(super) fn mend(&self) {
        self.0.lock().unwrap().failing = None;
    }
}

#[derive(Debug)]
pub(super) struct SimDisk {
    world: World,
    disk: usize,
}

impl SimDisk {
    pub(super) fn size(&self) -> u64 {
        self.world.0.lock().unwrap().images[self.disk].0.len() as u64 * MIB
    }

    fn apply(&self, op: Op) -> io::Result<()> {
        let mut state = self.world.0.lock().unwrap();
        let mut failed = false;
        if let Some(failing) = state.failing.as_mut().filter(|f| f.disk == self.disk) {
            failed = failing.after == 0;
            failing.after = failing.after.saturating_sub(1);
            if failed && !failing.lands {
                return Err(io::Error::other("the disk failed"));
            }
        }
        match &op {
            Op::Write { at, bytes, .. } => state.images[self.disk].write(*at, bytes),
            Op::Zero { at, len, .. } => state.images[self.disk].zero(*at, *len),
            Op::Sync { .. } | Op::List(_) => {}
        }
        state.log.push(op);
        if failed { Err(io::Error::other("the disk failed")) } else { Ok(()) }
    }
}

impl Blocks for SimDisk {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.world.0.lock().unwrap().images[self.disk].read(offset, into);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(offset.is_multiple_of(PAGE) && bytes.len().is_multiple_of(4096), "O_DIRECT");
        self.apply(Op::Write { disk: self.disk, at: offset, bytes: bytes.to_vec() })
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        self.apply(Op::Zero { disk: self.disk, at: offset, len })
    }

    fn sync(&self) -> io::Result<()> {
        self.apply(Op::Sync { disk: self.disk })
    }
}

#[derive(Debug)]
pub(super) struct SimRegistry(pub(super) World);

impl Registry for SimRegistry {
    fn save(&mut self, listed: &Listed) -> Result<(), MediaError> {
        self.0.0.lock().unwrap().log.push(Op::List(listed.clone()));
        Ok(())
    }
}

//! Power is cut at every point of histories with atomic writes, with every kind of loss a disk with
//! a cache may show; after the replay each atomic write has happened as a whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use outband_ring::Descriptors;
use proptest::prelude::*;

use super::*;
use crate::layer::{Linear, Segment};
use crate::media::blocks::Blocks;
use crate::media::journal::{self, Verdict};
use crate::media::{MIB, ZeroWith};
use crate::store::{Io, Step, Work};

const SECTOR: usize = 512;
const VOLUME: Uuid = Uuid::from_u128(0x70);
const ONE: Uuid = Uuid::from_u128(1);
const TWO: Uuid = Uuid::from_u128(2);
/// The volume: sixteen sectors on each of two devices. The journal is on the first.
const HALF: u64 = 16;
const STARTS: [u64; 2] = [8 * MIB, MIB];

/// What one host does, one thing after the other; each writes a tag of its own into its sectors.
#[derive(Clone, Debug)]
enum Act {
    Plain { first: u64, count: u64, durable: bool },
    Atomic { first: u64, count: u64 },
}

impl Act {
    fn sectors(&self) -> std::ops::Range<u64> {
        let (Self::Plain { first, count, .. } | Self::Atomic { first, count }) = *self;
        first..first + count
    }
}

fn tag(act: usize) -> u8 {
    u8::try_from(act + 1).unwrap()
}

type Sectors = BTreeMap<u64, Arc<[u8]>>;

/// A disk with a cache: what is durable, and what may be lost, in the order it came.
#[derive(Clone, Default, Debug)]
struct Disk {
    durable: Sectors,
    cached: Vec<(u64, Arc<[u8]>)>,
}

/// Which of `count` things reach the medium.
type Landed = BTreeSet<usize>;

/// Ways in which some of `count` things land: none, all, all up to one, all from one on, one, all
/// but one, and some at random.
fn landings(count: usize) -> Vec<Landed> {
    let picks = (0..count).filter(|at| count < 12 || *at < 3 || at % 17 == 0 || at + 2 > count);
    let mut ways = vec![Landed::new(), (0..count).collect()];
    for at in picks {
        ways.push((0..at).collect());
        ways.push((at..count).collect());
        ways.push([at].into());
        ways.push((0..count).filter(|other| *other != at).collect());
    }
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..4 {
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 63 == 1
        };
        ways.push((0..count).filter(|_| next()).collect());
    }
    ways.sort();
    ways.dedup();
    ways
}

impl Disk {
    fn sectors(at: u64, bytes: &[u8]) -> Vec<(u64, Arc<[u8]>)> {
        assert!(at.is_multiple_of(SECTOR as u64) && bytes.len().is_multiple_of(SECTOR));
        (at / SECTOR as u64..).zip(bytes.chunks(SECTOR).map(Arc::from)).collect()
    }

    fn write(&mut self, at: u64, bytes: &[u8], durable: bool) {
        for (sector, bytes) in Self::sectors(at, bytes) {
            self.cached.retain(|(other, _)| !durable || *other != sector);
            if durable {
                self.durable.insert(sector, bytes);
            } else {
                self.cached.push((sector, bytes));
            }
        }
    }

    fn sync(&mut self) {
        self.durable.extend(self.cached.drain(..));
    }

    fn read(&self, at: u64, into: &mut [u8]) {
        for (sector, into) in (at / SECTOR as u64..).zip(into.chunks_mut(SECTOR)) {
            let cached = self.cached.iter().rev().find(|(other, _)| *other == sector);
            match cached.map(|(_, bytes)| bytes).or_else(|| self.durable.get(&sector)) {
                Some(bytes) => into.copy_from_slice(bytes),
                None => into.fill(0xA7),
            }
        }
    }

    /// What is there after a cut in which these of the cached sectors landed.
    fn cut(&self, landed: &Landed) -> Self {
        let cached = self.cached.iter().enumerate().filter(|(at, _)| landed.contains(at));
        let mut durable = self.durable.clone();
        durable.extend(cached.map(|(_, (sector, bytes))| (*sector, bytes.clone())));
        Self { durable, cached: Vec::new() }
    }
}

/// Every image that a cut can leave of these disks, while `write` is under way on one of them.
fn cuts(disks: &[Disk; 2], write: Option<(usize, u64, &[u8])>) -> Vec<[Disk; 2]> {
    let mut images = Vec::new();
    let mut disks = disks.clone();
    let before: Vec<usize> = disks.iter().map(|disk| disk.cached.len()).collect();
    if let Some((disk, at, bytes)) = write {
        disks[disk].cached.extend(Disk::sectors(at, bytes));
    }
    for disk in 0..2 {
        let other = 1 - disk;
        if disks[disk].cached.is_empty() && (disk > 0 || !disks[other].cached.is_empty()) {
            continue;
        }
        // One disk in every way; the other with all it was given before, or nothing of it.
        let mut others = vec![Landed::new(), (0..before[other]).collect()];
        others.dedup();
        for landed in landings(disks[disk].cached.len()) {
            for there in &others {
                let mut image = disks.clone();
                image[disk] = disks[disk].cut(&landed);
                image[other] = disks[other].cut(there);
                images.push(image);
            }
        }
    }
    images
}

/// The disks as the replay at the next start sees them; it is cut, too.
#[derive(Debug)]
struct Start(Mutex<Running>);

#[derive(Debug)]
struct Running {
    disks: [Disk; 2],
    /// All images that a cut during the replay can leave.
    cuts: Vec<[Disk; 2]>,
    recording: bool,
}

#[derive(Debug)]
struct Side(Arc<Start>, usize);

impl Blocks for Side {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.0.lock().unwrap().disks[self.1].read(offset, into);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut running = self.0.0.lock().unwrap();
        if running.recording {
            let more = cuts(&running.disks, Some((self.1, offset, bytes)));
            running.cuts.extend(more);
        }
        running.disks[self.1].write(offset, bytes, false);
        Ok(())
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<()> {
        unreachable!("a replay zeroes nothing")
    }

    fn sync(&self) -> io::Result<()> {
        let mut running = self.0.0.lock().unwrap();
        if running.recording {
            let more = cuts(&running.disks, None);
            running.cuts.extend(more);
        }
        running.disks[self.1].sync();
        Ok(())
    }
}

/// Starts with these disks; returns what is there then, and what cuts in between would have left.
fn start(disks: [Disk; 2], recording: bool) -> ([Disk; 2], Vec<[Disk; 2]>) {
    let start = Arc::new(Start(Mutex::new(Running { disks, cuts: Vec::new(), recording })));
    let side = |at| -> Arc<dyn Blocks> { Arc::new(Side(start.clone(), at)) };
    let devices = [(ONE, side(0)), (TWO, side(1))].into();
    let failed = journal::replay(&Side(start.clone(), 0), 0, &devices, |intent| {
        if intent.volume == VOLUME { Verdict::Finish } else { Verdict::Forget }
    });
    assert!(failed.unwrap().is_empty());
    drop(devices);
    let running = Arc::into_inner(start).unwrap().0.into_inner().unwrap();
    (running.disks, running.cuts)
}

/// The volume's sectors, each by the tag it is filled with.
fn contents(disks: &[Disk; 2]) -> Vec<u8> {
    let mut bytes = vec![0; 2 * SECTOR * usize::try_from(HALF).unwrap()];
    let (first, second) = bytes.split_at_mut(SECTOR * usize::try_from(HALF).unwrap());
    disks[0].read(STARTS[0], first);
    disks[1].read(STARTS[1], second);
    let tag = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector that nobody wrote");
        sector[0]
    };
    bytes.chunks(SECTOR).map(tag).collect()
}

/// A cut has come during act `now`, or after the last one.
fn check(acts: &[Act], now: usize, found: &[u8]) {
    // What each sector may hold if the act under way has not happened.
    let before = |sector: u64| -> BTreeSet<u8> {
        let mut may = BTreeSet::from([0xA7]);
        for (at, act) in
            acts[..now].iter().enumerate().filter(|(_, a)| a.sectors().contains(&sector))
        {
            if !matches!(act, Act::Plain { durable: false, .. }) {
                may.clear();
            }
            may.insert(tag(at));
        }
        may
    };
    let at = |sector: u64| found[usize::try_from(sector).unwrap()];
    let is_old = |sector: u64| before(sector).contains(&at(sector));
    let act = acts.get(now);
    let under_way = act.map_or(0..0, Act::sectors);
    let outside = (0..2 * HALF).filter(|sector| !under_way.contains(sector)).all(is_old);
    let inside = match act {
        Some(Act::Atomic { .. }) => {
            under_way.clone().all(is_old) || under_way.clone().all(|sector| at(sector) == tag(now))
        }
        _ => under_way.clone().all(|sector| is_old(sector) || at(sector) == tag(now)),
    };
    assert!(outside && inside, "{acts:?}, cut during {now}: {found:?}");
}

/// Goes through what a cut can leave, and what a cut of the replay can leave of that.
fn check_cuts(acts: &[Act], now: usize, images: Vec<[Disk; 2]>, again: bool) {
    for image in images {
        let (replayed, more) = start(image, again);
        check(acts, now, &contents(&replayed));
        for image in more {
            let (replayed, _) = start(image, false);
            check(acts, now, &contents(&replayed));
        }
        if !again {
            continue;
        }
        // The intent is gone: it undoes nothing that is written from now on.
        let mut written = replayed;
        written[0].write(STARTS[0], &[0xEE; SECTOR], true);
        let (replayed, _) = start(written, false);
        assert_eq!(contents(&replayed)[0], 0xEE, "{acts:?}: an intent came back");
    }
}

/// Carries out the acts as a shard does, and cuts the power during each operation.
fn run(acts: &[Act], again: bool) {
    let mut table = Descriptors::new();
    let files = [table.adopt(()), table.adopt(())];
    let segment = |at: usize, device| {
        let len = HALF * SECTOR as u64;
        Segment::file(device, files[at], STARTS[at], len, ZeroWith::Range)
    };
    let mut layers = Linear::new(vec![segment(0, ONE), segment(1, TWO)]);
    let mut disks: [Disk; 2] = Default::default();
    let mut slot = Some(Slot::new(ONE, files[0], 0));
    for (now, act) in acts.iter().enumerate() {
        let sectors = act.sectors();
        let (at, len) =
            (sectors.start * SECTOR as u64, (sectors.end - sectors.start) * SECTOR as u64);
        let mut buf = Buf::zeroed(usize::try_from(len).unwrap());
        buf.fill(tag(now));
        let mut io = match act {
            Act::Plain { durable, .. } => Io::new(Work::Write { buf, durable: *durable }, at, len),
            Act::Atomic { .. } => Io::atomic(buf, at, len, slot.take().unwrap(), VOLUME, &layers),
        };
        while let Step::Submit(op) = io.step(&mut layers) {
            let Op::Write { file, offset, buf, at, dsync } = &op else {
                panic!("not a write: {op:?}");
            };
            let disk = usize::from(*file == files[1]);
            let bytes = buf[at.clone()].to_vec();
            check_cuts(acts, now, cuts(&disks, Some((disk, *offset, &bytes))), again);
            disks[disk].write(*offset, &bytes, *dsync);
            let count = u32::try_from(bytes.len()).unwrap();
            io.completed(Ok(Done::Bytes(count)), op, &layers).unwrap();
        }
        slot = slot.or_else(|| io.take_slot());
        check_cuts(acts, now + 1, cuts(&disks, None), again);
    }
}

#[test]
fn an_atomic_write_is_there_as_a_whole_or_not_at_all_wherever_power_is_cut() {
    let plain = |first, count, durable| Act::Plain { first, count, durable };
    let atomic = |first, count| Act::Atomic { first, count };
    // On one device, over both, twice over the same, and with plain writes before and after.
    run(&[plain(0, 32, true), atomic(13, 6)], true);
    run(&[plain(8, 10, false), atomic(10, 8), plain(12, 2, true), atomic(11, 4)], false);
}

#[test]
fn an_intent_that_fails_leaves_its_slot_to_the_next_start() {
    let mut table = Descriptors::new();
    let file = table.adopt(());
    let segment = Segment::file(ONE, file, STARTS[0], 8192, ZeroWith::Range);
    let mut layers = Linear::new(vec![segment]);
    for fails_at in 0..3 {
        let slot = Slot::new(ONE, file, 0);
        let mut io = Io::atomic(Buf::zeroed(4096), 0, 4096, slot, VOLUME, &layers);
        for step in 0..=fails_at {
            let Step::Submit(op) = io.step(&mut layers) else {
                panic!("over after {step} operations");
            };
            let Op::Write { ref at, .. } = op else { panic!("{op:?}") };
            let count = u32::try_from(at.len()).unwrap();
            let failed = step == fails_at;
            let result = if failed { Err(Errno::NOSPC) } else { Ok(Done::Bytes(count)) };
            let told = io.completed(result, op, &layers);
            assert_eq!(told.is_err(), failed);
            // Nobody can say what is there now, so nothing more is written before somebody looks.
            assert!(told.err().is_none_or(|error| error.is_final()));
        }
        assert!(io.take_slot().is_none(), "failed at {fails_at}");
    }
}

fn act() -> impl Strategy<Value = Act> {
    let range = (0..2 * HALF).prop_flat_map(|first| (Just(first), 1..=(2 * HALF - first).min(10)));
    (range, any::<bool>(), any::<bool>()).prop_map(|((first, count), atomic, durable)| {
        if atomic { Act::Atomic { first, count } } else { Act::Plain { first, count, durable } }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn so_it_is_in_any_history(acts in prop::collection::vec(act(), 1..4)) {
        run(&acts, false);
    }
}

//! Reads and writes that are done on the spot: asked for through the ring, the kernel would wake a
//! thread of its own for each, which costs more than they do.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, fstatfs};

use crate::{Fd, Op, sleeps};

/// Longer ones are worth a thread.
const LEN_MAX: usize = 64 * 1024;
/// Bytes between two waits: the other connections of the shard have their turn.
const MOVED_MAX: usize = 1 << 20;
/// And the time for them.
const SPENT_MAX: Duration = Duration::from_millis(2);
/// One that took so long has waited for something: for the device, because too much of the page cache
/// is dirty, or for another operation on the file; unless somebody else had the processor.
const SLOW: Duration = Duration::from_millis(5);
/// So long nothing more is done on the spot then.
const PAUSE: Duration = Duration::from_millis(200);
/// A part of a page that is not in the cache would be read from the device first.
const PAGE: u64 = 4096;

const TMPFS: u64 = 0x0102_1994;
const EXT4: u64 = 0xef53;

/// What holds the bytes of a file before any device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cache {
    /// tmpfs, with or without O_DIRECT: there is no device, and no way to ask the kernel not to wait.
    Tmpfs,
    /// The page cache of ext4. What is read from it the ring answers without a thread; writes it does
    /// not. Other file systems either do both, or may wait for a network.
    Pages,
}

impl Cache {
    /// Of a file on a file system of this kind.
    const fn of(magic: Option<u64>, is_direct: bool) -> Option<Self> {
        match magic {
            Some(TMPFS) => Some(Self::Tmpfs),
            Some(EXT4) if !is_direct => Some(Self::Pages),
            _ => None,
        }
    }

    /// Whether that is done without waiting, as a rule, and not so by the ring.
    const fn answers(self, writes: bool, offset: u64, len: usize) -> bool {
        let whole_pages = offset.is_multiple_of(PAGE) && (len as u64).is_multiple_of(PAGE);
        match self {
            Self::Tmpfs => true,
            Self::Pages => writes && whole_pages,
        }
    }
}

/// A file for which this may pay.
#[derive(Debug)]
struct File {
    cache: Cache,
    /// Operations with the kernel that have the file's lock for long: a write would wait for it.
    locking: u32,
}

/// Which files, and how much may be done before the next wait.
#[derive(Default)]
pub(crate) struct Spot {
    files: HashMap<Fd, File>,
    moved: usize,
    spent: Duration,
    /// How often the thread had waited when the turn's first operation began.
    waits: Option<i64>,
    not_before: Option<Instant>,
}

impl Spot {
    /// Takes note of `fd`, if it is a file for which this pays.
    pub(crate) fn adopt(&mut self, fd: Fd, handle: &OwnedFd) {
        let is_file = fstat(handle)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if !is_file {
            return;
        }
        let magic = fstatfs(handle).ok().and_then(|fs| u64::try_from(fs.f_type).ok());
        let is_direct = fcntl_getfl(handle).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
        if let Some(cache) = Cache::of(magic, is_direct) {
            self.files.insert(fd, File { cache, locking: 0 });
        }
    }

    /// `fd` is closed.
    pub(crate) fn forget(&mut self, fd: Fd) {
        self.files.remove(&fd);
    }

    /// The ring waits: as much again may be moved before it does the next time.
    pub(crate) fn begin_turn(&mut self) {
        self.moved = 0;
        self.spent = Duration::ZERO;
        self.waits = None;
    }

    /// The kernel has `op` from now on.
    pub(crate) fn handed_over(&mut self, op: &Op) {
        if let Some(file) = self.locked_by(op) {
            file.locking += 1;
        }
    }

    /// The kernel has ended `op`.
    pub(crate) fn ended(&mut self, op: &Op) {
        if let Some(file) = self.locked_by(op) {
            file.locking = file.locking.saturating_sub(1);
        }
    }

    fn locked_by(&mut self, op: &Op) -> Option<&mut File> {
        let file = match op {
            Op::Zero { file, .. } => file,
            Op::Write { file, at, .. } if at.len() > LEN_MAX => file,
            _ => return None,
        };
        self.files.get_mut(file)
    }

    /// Carries `op` out, or leaves it to the ring. Says what a completion would.
    pub(crate) fn carry_out(&mut self, op: &mut Op, handle: &OwnedFd) -> Option<i32> {
        let (file, offset, at, writes) = match op {
            Op::Write { file, offset, at, dsync: false, .. } => (file, *offset, at, true),
            Op::Read { file, offset, at, .. } => (file, *offset, at, false),
            _ => return None,
        };
        let len = at.len();
        if len > LEN_MAX || self.moved + len > MOVED_MAX || self.spent > SPENT_MAX {
            return None;
        }
        let File { cache, locking } = self.files.get(file)?;
        if (writes && *locking > 0) || !cache.answers(writes, offset, len) {
            return None;
        }
        let began = Instant::now();
        if self.not_before.is_some_and(|at| began < at) {
            return None;
        }
        self.moved += len;
        let waits = *self.waits.get_or_insert_with(sleeps::voluntary);
        let result = match op {
            Op::Write { offset, buf, at, .. } => {
                rustix::io::pwrite(handle, &buf[at.clone()], *offset)
            }
            Op::Read { offset, buf, at, .. } => {
                rustix::io::pread(handle, &mut buf[at.clone()], *offset)
            }
            _ => return None,
        };
        let ended = Instant::now();
        self.spent += ended - began;
        let has_waited = ended - began > SLOW && sleeps::voluntary() > waits;
        self.not_before = has_waited.then(|| ended + PAUSE);
        Some(match result {
            Ok(count) => i32::try_from(count).expect("no buffer is longer than BUF_LEN_MAX"),
            Err(errno) => -errno.raw_os_error(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_ring_would_wake_a_thread_for_is_done_on_the_spot() {
        const XFS: u64 = 0x5846_5342;
        assert_eq!(Cache::of(Some(EXT4), false), Some(Cache::Pages));
        assert_eq!(Cache::of(Some(EXT4), true), None);
        assert_eq!(Cache::of(Some(TMPFS), true), Some(Cache::Tmpfs));
        assert_eq!((Cache::of(Some(XFS), false), Cache::of(None, false)), (None, None));
        assert!(Cache::Tmpfs.answers(false, 1, 1));
        assert!(Cache::Pages.answers(true, 4096, 8192));
        for (writes, offset, len) in [(false, 4096, 4096), (true, 512, 4096), (true, 4096, 512)] {
            assert!(!Cache::Pages.answers(writes, offset, len), "{writes} {offset} {len}");
        }
    }

    #[test]
    fn no_write_waits_for_one_that_has_the_file_for_long() {
        let mut descriptors = crate::Descriptors::<OwnedFd>::new();
        let fd = descriptors.adopt(tempfile::tempfile().unwrap().into());
        let handle = descriptors.get(fd).unwrap();
        let mut spot = Spot::default();
        spot.files.insert(fd, File { cache: Cache::Pages, locking: 0 });
        let write = |len| Op::Write {
            file: fd,
            offset: 0,
            buf: crate::Buf::zeroed(len),
            at: 0..len,
            dsync: false,
        };
        assert_eq!(spot.carry_out(&mut write(4096), handle), Some(4096));
        let zero = Op::Zero { file: fd, offset: 0, len: 1 << 30, how: crate::Zero::Punch };
        for long in [zero, write(2 * LEN_MAX)] {
            spot.handed_over(&long);
            spot.handed_over(&write(4096));
            assert_eq!(spot.carry_out(&mut write(4096), handle), None, "{long:?}");
            spot.ended(&write(4096));
            spot.ended(&long);
            assert_eq!(spot.carry_out(&mut write(4096), handle), Some(4096));
        }
    }
}

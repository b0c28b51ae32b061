//! Reads and writes that are done on the spot: asked for through the ring, the kernel would wake a
//! thread of its own for each, which costs more than they do.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, fstatfs};

use crate::{Fd, Op};

/// Longer ones are worth a thread.
const LEN_MAX: usize = 64 * 1024;
/// Bytes between two waits: the other connections of the shard have their turn.
const MOVED_MAX: usize = 1 << 20;
/// One that took so long has waited for the device, because too much of the page cache was dirty: the
/// kernel makes writers wait for 10 ms and more, and a busy processor keeps a thread from running for less.
const SLOW: Duration = Duration::from_millis(5);
/// So long nothing more is done on the spot then.
const PAUSE: Duration = Duration::from_millis(200);

const TMPFS: u64 = 0x0102_1994;

/// What holds the bytes of a file before any device does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cache {
    /// tmpfs has no device. No file system of it offers the kernel to answer without waiting.
    Tmpfs,
    /// The page cache. What is read from it the kernel answers without a thread anyway.
    Pages,
}

/// Which files, and how much may be done before the next wait.
#[derive(Default)]
pub(crate) struct Spot {
    files: Vec<(Fd, Cache)>,
    moved: usize,
    not_before: Option<Instant>,
}

impl Spot {
    /// Takes note of `fd`, if it is a file that is not read and written around the page cache.
    pub(crate) fn adopt(&mut self, fd: Fd, handle: &OwnedFd) {
        let is_file = fstat(handle)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let is_direct = fcntl_getfl(handle).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
        if !is_file || is_direct {
            return;
        }
        let on_tmpfs = fstatfs(handle).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(TMPFS));
        self.files.push((fd, if on_tmpfs { Cache::Tmpfs } else { Cache::Pages }));
    }

    /// `fd` is closed.
    pub(crate) fn forget(&mut self, fd: Fd) {
        self.files.retain(|(known, _)| *known != fd);
    }

    /// The ring waits: as much again may be moved before it does the next time.
    pub(crate) fn begin_turn(&mut self) {
        self.moved = 0;
    }

    /// Carries `op` out, or leaves it to the ring. Says what a completion would.
    pub(crate) fn carry_out(&mut self, op: &mut Op, handle: &OwnedFd) -> Option<i32> {
        let (file, len, writes) = match op {
            Op::Write { file, at, dsync: false, .. } => (*file, at.len(), true),
            Op::Read { file, at, .. } => (*file, at.len(), false),
            _ => return None,
        };
        let (_, cache) = self.files.iter().find(|(known, _)| *known == file)?;
        let pays = writes || *cache == Cache::Tmpfs;
        if !pays || len > LEN_MAX || self.moved + len > MOVED_MAX {
            return None;
        }
        let began = Instant::now();
        if self.not_before.is_some_and(|at| began < at) {
            return None;
        }
        self.moved += len;
        let result = match op {
            Op::Write { offset, buf, at, .. } => {
                rustix::io::pwrite(handle, &buf[at.clone()], *offset)
            }
            Op::Read { offset, buf, at, .. } => {
                rustix::io::pread(handle, &mut buf[at.clone()], *offset)
            }
            _ => return None,
        };
        self.not_before = (began.elapsed() > SLOW).then(|| began + PAUSE);
        Some(match result {
            Ok(count) => i32::try_from(count).expect("no buffer is longer than BUF_LEN_MAX"),
            Err(errno) => -errno.raw_os_error(),
        })
    }
}

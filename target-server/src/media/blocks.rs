//! What the records are written through: a device as read, write, zero and sync, so that a test can
//! stand in for it and cut the power between any two writes.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::{Errno, pread, pwrite};

use super::{MIB, ZeroWith};

/// Offsets and lengths are multiples of this, so that every device takes them unbuffered.
pub(crate) const ALIGN: u64 = 4096;

/// A device, blocking. A write counts only once `sync` returned after it.
pub trait Blocks: Send + Sync + fmt::Debug {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes a range read as zeros.
    fn zero(&self, offset: u64, len: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

/// A file or block device.
#[derive(Debug)]
pub(crate) struct FileBlocks {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) zero: ZeroWith,
}

impl Blocks for FileBlocks {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut aligned = Aligned::zeroed(into.len());
        let mut done = 0;
        while done < into.len() {
            match pread(&self.fd, &mut aligned.bytes()[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        into.copy_from_slice(aligned.bytes());
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut aligned = Aligned::zeroed(bytes.len());
        aligned.bytes().copy_from_slice(bytes);
        write_all(&self.fd, offset, aligned.bytes())
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = match self.zero {
            ZeroWith::Range => FallocateFlags::ZERO_RANGE,
            ZeroWith::Punch => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            ZeroWith::Writes => return self.write_zeros(offset, len),
        };
        match fallocate(&self.fd, flags, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros(offset, len),
            Err(Errno::INTR) => self.zero(offset, len),
            other => Ok(other?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        // Not repeated after EINTR or anything else: the kernel reports a lost write once.
        Ok(fdatasync(&self.fd)?)
    }
}

impl FileBlocks {
    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut zeros = Aligned::zeroed(usize::try_from(len.min(MIB)).expect("at most a MiB"));
        let mut at = offset;
        while at < offset + len {
            let piece = usize::try_from((offset + len - at).min(MIB)).expect("at most a MiB");
            write_all(&self.fd, at, &zeros.bytes()[..piece])?;
            at += piece as u64;
        }
        Ok(())
    }
}

fn write_all(fd: &OwnedFd, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match pwrite(fd, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Page-aligned bytes, as O_DIRECT wants them: a vector with a page to spare.
struct Aligned {
    spare: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn zeroed(len: usize) -> Self {
        let page = usize::try_from(ALIGN).expect("a page");
        let spare = vec![0; len + page];
        let start = spare.as_ptr().align_offset(page);
        Self { spare, start, len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.spare[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_was_written_and_zeroes_only_what_was_named() {
        for zero in [ZeroWith::Range, ZeroWith::Punch, ZeroWith::Writes] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(4 * MIB).unwrap();
            let blocks = FileBlocks { fd: Arc::new(OwnedFd::from(file)), zero };
            blocks.write_at(0, &vec![0x5a; 4 << 20]).unwrap();
            blocks.zero(MIB, 2 * MIB).unwrap();
            blocks.sync().unwrap();
            let mut all = vec![1; 4 << 20];
            blocks.read_at(0, &mut all).unwrap();
            let expected = |at: usize| if (1 << 20..3 << 20).contains(&at) { 0 } else { 0x5a };
            assert!(all.iter().enumerate().all(|(at, byte)| *byte == expected(at)), "{zero:?}");
        }
    }
}

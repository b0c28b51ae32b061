//! The kernel's error numbers, as completions carry them.

use std::fmt;
use std::io;

/// An error number as the kernel gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The descriptor is closed or was never in the ring.
    pub const BADF: Self = Self(libc::EBADF);
    /// The operation was cancelled.
    pub const CANCELED: Self = Self(libc::ECANCELED);
    /// The peer reset the connection.
    pub const CONNRESET: Self = Self(libc::ECONNRESET);
    /// The kernel found an argument wrong; an `accept` on a listener that was shut down.
    pub const INVAL: Self = Self(libc::EINVAL);
    /// The medium failed.
    pub const IO: Self = Self(libc::EIO);
    /// No space left.
    pub const NOSPC: Self = Self(libc::ENOSPC);
    /// The file system or device does not do this.
    pub const OPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    /// Sent on a connection that was shut down.
    pub const PIPE: Self = Self(libc::EPIPE);

    /// From the positive number, `EIO` and so on.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The positive number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The same in the standard library's words.
    #[must_use]
    pub fn kind(self) -> io::ErrorKind {
        io::Error::from(self).kind()
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from(*self).fmt(f)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl std::error::Error for Errno {}

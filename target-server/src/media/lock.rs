//! Exclusive locks on files and devices: whoever has one is the only unit there.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A process that is just being started holds its parent's descriptors until it runs its program, and
/// one that was killed holds them until it is reaped; neither is a reason to refuse.
const PATIENCE: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_millis(10);

/// Takes the lock; false when somebody else has it, and keeps it.
pub(crate) fn exclusive(fd: impl AsFd) -> Result<bool, Errno> {
    patiently(Errno::WOULDBLOCK, || flock(&fd, FlockOperation::NonBlockingLockExclusive))
        .map(|taken| taken.is_some())
}

/// Tries until it works, or fails in another way than `busy`; None when it stays busy.
pub(crate) fn patiently<T>(
    busy: Errno,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<Option<T>, Errno> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return Ok(Some(done)),
            Err(errno) if errno != busy => return Err(errno),
            Err(_) if start.elapsed() > PATIENCE => return Ok(None),
            Err(_) => thread::sleep(BETWEEN),
        }
    }
}

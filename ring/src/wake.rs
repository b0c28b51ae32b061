//! Ending a ring's wait from another thread: an eventfd, and one read on it in flight inside.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use io_uring::{opcode, types};
use rustix::event::EventfdFlags;

use crate::Wake;
use crate::slot::{Name, Prepared};

/// Wakes one [`UringRing`](crate::UringRing). Outlives it without harm.
#[derive(Clone, Debug)]
pub struct UringWaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    eventfd: OwnedFd,
    /// Rung, and the ring has not heard it yet: a second system call would tell it nothing new.
    rung: AtomicBool,
}

impl Wake for UringWaker {
    #[expect(clippy::host_endian_bytes, reason = "an eventfd counts in the machine's order")]
    fn wake(&self) {
        // Release: what the caller wrote is seen by `heard`, which reads this very flag.
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            rustix::io::write(&self.0.eventfd, &1u64.to_ne_bytes())
                .expect("an eventfd of ours takes a count it is far from overflowing with");
        }
    }
}

/// The ring's end.
pub(crate) struct Bell {
    waker: UringWaker,
    /// Where the kernel puts the count. Boxed, because it must not move with the ring.
    count: Box<[u8; 8]>,
    listening: bool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        // Blocking on purpose: the kernel fails a read on a non-blocking one instead of waiting.
        let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
        let shared = Shared { eventfd, rung: AtomicBool::new(false) };
        Ok(Self { waker: UringWaker(Arc::new(shared)), count: Box::default(), listening: false })
    }

    pub(crate) fn waker(&self) -> UringWaker {
        self.waker.clone()
    }

    /// The read is in flight.
    pub(crate) const fn is_listening(&self) -> bool {
        self.listening
    }

    /// The read to submit, which counts as in flight from now on. `count` is boxed, is touched
    /// by nothing else, and is leaked if the ring goes before the read does.
    pub(crate) fn listen(&mut self) -> Prepared {
        self.listening = true;
        let eventfd = types::Fd(self.waker.0.eventfd.as_raw_fd());
        let entry = opcode::Read::new(eventfd, self.count.as_mut_ptr(), 8).build();
        Prepared::new(entry, Name::Wake)
    }

    /// The read could not be submitted after all.
    pub(crate) const fn not_listening(&mut self) {
        self.listening = false;
    }

    /// The read completed. Who rings from here on is heard by the next read; who rang before
    /// is seen by this swap, and so is what they had written.
    pub(crate) fn heard(&mut self) {
        self.listening = false;
        self.waker.0.rung.swap(false, Ordering::AcqRel);
    }

    /// Gives the count's memory up for good, for a kernel that may yet write to it.
    pub(crate) fn leak(&mut self) {
        Box::leak(std::mem::take(&mut self.count));
    }
}

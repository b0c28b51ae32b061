//! A ring over simulated hardware: the shard loop cannot tell it from the kernel's.
//!
//! Some reads and writes are over when they were pushed, before everything that was pushed earlier, as
//! those are which the kernel's ring carries out on the spot (`ring/src/spot.rs`).
//!
//! `wait` submits what was pushed and returns at once; that is allowed, and the world gives the
//! shard its next turn when something is ready or the timeout is over.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outband_ring::{Close, Completion, Descriptors, Done, Errno, Fd, Op, Ring, Token, Wake};

use crate::hardware::{Event, Shared};
use crate::net::{ConnId, ListenerId};
use crate::slot::{Raw, Slot};

/// A ring, for the whole of a simulation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RingId(pub u32);

/// A descriptor outside of a ring: a number of something in the hardware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SimHandle {
    /// A listening socket.
    Listener(ListenerId),
    /// The target's end of a connection.
    Socket(ConnId),
    /// A disk, whole.
    Disk(usize),
}

/// Rings the bell of a [`SimRing`]; the world hears it before it goes on.
#[derive(Clone, Debug)]
pub struct SimWaker(Arc<AtomicBool>);

impl Wake for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct SimRing {
    hardware: Shared,
    id: RingId,
    descriptors: Descriptors<SimHandle>,
    pushed: Vec<Slot>,
    in_flight: usize,
    limit: usize,
    /// Of a thousand reads and writes so many are carried out in `push`.
    spot: u32,
    bell: Arc<AtomicBool>,
}

/// Longer reads and writes are never carried out on the spot.
const SPOT_LEN_MAX: usize = 64 << 10;

impl SimRing {
    /// A ring that takes `limit` operations at a time.
    #[must_use]
    pub fn new(hardware: &Shared, limit: usize) -> Self {
        let bell = Arc::new(AtomicBool::new(false));
        Self {
            id: hardware.borrow_mut().add_ring(Arc::clone(&bell)),
            hardware: Rc::clone(hardware),
            descriptors: Descriptors::new(),
            pushed: Vec::new(),
            in_flight: 0,
            limit,
            spot: 0,
            bell,
        }
    }

    /// The same, which carries out so many of a thousand reads and writes on the spot.
    #[must_use]
    pub fn with_spot(mut self, spot: u32) -> Self {
        self.spot = spot;
        self
    }

    fn is_done_on_the_spot(&self, slot: &Slot) -> bool {
        let fits = match &slot.op {
            Op::Read { at, .. } | Op::Write { at, dsync: false, .. } => at.len() <= SPOT_LEN_MAX,
            _ => false,
        };
        // No number is drawn where nothing is done on the spot.
        fits && slot.fd.is_some()
            && self.spot > 0
            && self.hardware.borrow_mut().rng().chance(self.spot)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> RingId {
        self.id
    }

    /// Whether another turn would find something to do at once. After a timeout one is due in any
    /// case: only the next wait says when the following one is.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let mut hardware = self.hardware.borrow_mut();
        !self.pushed.is_empty()
            || self.bell.load(Ordering::Relaxed)
            || !hardware.ring(self.id).ready.is_empty()
            || hardware.is_timed_out(self.id)
    }

    fn submit(&mut self) {
        let mut hardware = self.hardware.borrow_mut();
        for slot in self.pushed.drain(..) {
            let op = hardware.next_op();
            // Closed after it was pushed.
            let closed = slot.fd.is_some_and(|fd| self.descriptors.get(fd).is_none());
            if slot.fd.is_none() {
                hardware.ring(self.id).ready.push_back((slot, Err(Errno::BADF)));
            } else if closed && !matches!(slot.handle, SimHandle::Disk(_)) {
                let result = slot.when_cut(Errno::PIPE);
                hardware.ring(self.id).ready.push_back((slot, result));
            } else {
                hardware.submit(self.id, op, slot);
            }
        }
    }

    fn outcome(&mut self, raw: Raw) -> Done {
        match raw {
            Raw::Bytes(count) => Done::Bytes(u32::try_from(count).expect("buffers are 1 MiB")),
            Raw::Accepted(conn) => Done::Accepted(self.adopt(SimHandle::Socket(conn))),
            Raw::Finished => Done::Finished,
        }
    }

    fn ends(&self, fd: Fd) -> Option<(SocketAddr, SocketAddr)> {
        match self.descriptors.get(fd)? {
            SimHandle::Socket(conn) => self.hardware.borrow().net.ends(*conn),
            _ => None,
        }
    }
}

impl Ring for SimRing {
    type Handle = SimHandle;
    type Waker = SimWaker;

    fn adopt(&mut self, handle: SimHandle) -> Fd {
        self.descriptors.adopt(handle)
    }

    fn release(&mut self, fd: Fd) -> Option<SimHandle> {
        self.descriptors.release(fd)
    }

    fn close(&mut self, fd: Fd) {
        let mut hardware = self.hardware.borrow_mut();
        match self.descriptors.close(fd) {
            Close::Now(handle) => hardware.close(handle),
            Close::Deferred(handle) => {
                let handle = *handle;
                hardware.cut_short(self.id, Errno::PIPE, |slot| slot.handle == handle);
                // Shut down: the peer learns of it now, the descriptor goes later.
                if matches!(handle, SimHandle::Socket(_)) {
                    hardware.close(handle);
                }
            }
            Close::Unknown => {}
        }
    }

    fn push(&mut self, token: Token, op: Op) -> Result<(), Op> {
        op.assert_sound();
        if self.in_flight == self.limit {
            return Err(op);
        }
        let fd = op.fd();
        let slot = match self.descriptors.begin(fd) {
            Some(handle) => Slot::new(token, op, Some(fd), *handle),
            None => Slot::new(token, op, None, SimHandle::Disk(usize::MAX)),
        };
        self.in_flight += 1;
        if self.is_done_on_the_spot(&slot) {
            let mut hardware = self.hardware.borrow_mut();
            let op = hardware.next_op();
            hardware.carry_out(self.id, op, slot);
        } else {
            self.pushed.push(slot);
        }
        Ok(())
    }

    fn cancel(&mut self, token: Token) {
        // What was pushed is cancelled in the kernel, like what is there.
        self.submit();
        let mut hardware = self.hardware.borrow_mut();
        hardware.cut_short(self.id, Errno::CANCELED, |slot| slot.token == token);
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.bell.store(false, Ordering::Relaxed);
        self.submit();
        let mut hardware = self.hardware.borrow_mut();
        let deadline = timeout.map(|timeout| hardware.now() + timeout);
        let ring = hardware.ring(self.id);
        if ring.deadline != deadline {
            ring.deadline = deadline;
            if let Some(deadline) = deadline {
                hardware.schedule(deadline, Event::Deadline(self.id));
            }
        }
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        let (slot, raw) = self.hardware.borrow_mut().ring(self.id).ready.pop_front()?;
        let Slot { token, op, fd, .. } = slot;
        let result = raw.map(|raw| self.outcome(raw));
        self.in_flight -= 1;
        if let Some(handle) = fd.and_then(|fd| self.descriptors.end(fd)) {
            self.hardware.borrow_mut().close(handle);
        }
        Some(Completion { token, result, op })
    }

    fn waker(&self) -> SimWaker {
        SimWaker(Arc::clone(&self.bell))
    }

    fn now(&self) -> Instant {
        self.hardware.borrow().instant()
    }

    fn peer(&self, fd: Fd) -> Option<SocketAddr> {
        self.ends(fd).map(|(host, _)| host)
    }

    fn local(&self, fd: Fd) -> Option<SocketAddr> {
        self.ends(fd).map(|(_, target)| target)
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Drop for SimRing {
    fn drop(&mut self) {
        self.hardware.borrow_mut().remove_ring(self.id);
    }
}

#[cfg(test)]
mod tests;

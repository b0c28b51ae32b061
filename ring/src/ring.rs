//! The kernel's ring. An operation moves into a slot in `push`, and out of it only when its
//! completion was reaped.

#![allow(unsafe_code, reason = "hands memory to the kernel, and takes descriptors from it")]

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::IoUring;
use io_uring::types::{SubmitArgs, Timespec};
use rustix::net::Shutdown;

use crate::probe::{self, RingError};
use crate::slot::{Name, Prepared, Slots, Tenancy, Tenant};
use crate::spot::Spot;
use crate::survey::{Answer, Question, Surveyor};
use crate::wake::{Bell, UringWaker};
use crate::{Close, Completion, Descriptors, Done, Errno, Fd, Op, Ring, Token, Wake};

/// How long a dropped ring waits for what is in flight. Everything on sockets ends at once when
/// cancelled; a disk operation the device has can take any time, and then its memory is leaked.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// The size of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UringConfig {
    /// Operations that may be in flight at a time, at most [`Self::IN_FLIGHT_MAX`].
    pub in_flight: u32,
    /// Operations handed to the kernel in one call. More than that in one turn costs a call
    /// more, nothing else.
    pub submissions: u32,
    /// A `wait` that finds nothing looks again for so long before it sleeps.
    pub busy_poll: Duration,
}

impl UringConfig {
    /// Two completion queue entries each and one for the waker fit the kernel's 65536.
    pub const IN_FLIGHT_MAX: u32 = 32767;
}

impl Default for UringConfig {
    fn default() -> Self {
        Self { in_flight: 4096, submissions: 256, busy_poll: Duration::ZERO }
    }
}

/// io_uring, for one thread: it is created and used on its shard's own, and does not leave it
/// (`SINGLE_ISSUER`).
///
/// ```
/// use outband_ring::{Done, Op, Pool, Ring, Token, UringConfig, UringRing};
///
/// let mut pool = Pool::new(64 * 1024);
/// let mut ring = UringRing::new(UringConfig::default())?;
/// let file = ring.adopt(std::fs::File::open("/dev/zero")?.into());
///
/// let buf = pool.take(4096).expect("an unused pool has room");
/// ring.push(Token(7), Op::Read { file, offset: 0, buf, at: 0..512 }).expect("so has the ring");
/// let completion = loop {
///     ring.wait(None)?;
///     if let Some(completion) = ring.next_completion() {
///         break completion;
///     }
/// };
/// assert_eq!((completion.token, completion.result), (Token(7), Ok(Done::Bytes(512))));
/// if let Op::Read { buf, .. } = completion.op {
///     pool.give(buf);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<outband_ring::UringRing>();
/// ```
pub struct UringRing {
    io: IoUring,
    slots: Slots,
    descriptors: Descriptors<OwnedFd>,
    /// Reaped, but not taken by `next_completion` yet; the operations are still in their slots.
    reaped: VecDeque<(Tenant, i32)>,
    in_flight: usize,
    bell: Bell,
    surveyor: Surveyor,
    spot: Spot,
    busy_poll: Duration,
    /// Not `Send`.
    thread: PhantomData<*const ()>,
}

impl UringRing {
    /// A ring of the calling thread.
    ///
    /// # Errors
    ///
    /// When this system has none to give; the error says what to change.
    pub fn new(config: UringConfig) -> Result<Self, RingError> {
        let (asked, max) = (config.in_flight, UringConfig::IN_FLIGHT_MAX);
        if !(1..=max).contains(&asked) {
            return Err(RingError::Bound { asked, max });
        }
        // Each operation, a request to cancel each, and the waker: it cannot overflow.
        let io = probe::open(config.submissions.clamp(1, asked), 2 * asked + 1)?;
        let bell =
            Bell::new().map_err(|source| RingError::System { doing: "make an eventfd", source })?;
        Ok(Self {
            io,
            slots: Slots::new(asked),
            descriptors: Descriptors::new(),
            reaped: VecDeque::with_capacity(asked as usize),
            in_flight: 0,
            bell,
            surveyor: Surveyor::new(),
            spot: Spot::default(),
            busy_poll: config.busy_poll,
            thread: PhantomData,
        })
    }

    /// Puts an entry into the submission queue, handing a full one to the kernel first.
    fn queue(&mut self, prepared: &Prepared) -> io::Result<()> {
        loop {
            // SAFETY: a `Prepared` points only into a slot of `self.slots` or to the count in
            // `self.bell`. Slots never move and are emptied by `next_completion`, for a reaped
            // completion of that very tenant, only; `drop` waits for all, or leaks both.
            if unsafe { self.io.submission().push(prepared.entry()) }.is_ok() {
                return Ok(());
            }
            match self.io.submit() {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    fn listen(&mut self) -> io::Result<()> {
        if self.bell.is_listening() {
            return Ok(());
        }
        let read = self.bell.listen();
        self.queue(&read).inspect_err(|_| self.bell.not_listening())
    }

    /// A scan of all slots: cancelling is for ends of connections and for task management.
    fn cancel_where(&mut self, token: Option<Token>) {
        for index in 0..self.slots.count() {
            let Some((tenant, request)) = self.slots.cancel(index, token) else {
                continue;
            };
            if let Err(error) = self.queue(&request) {
                tracing::warn!(%error, "an operation could not be cancelled");
                self.slots.cancel_answered(tenant);
            }
        }
    }

    /// Submits, waits if asked to, and reaps.
    fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let entered = match timeout {
            _ if !self.reaped.is_empty() => self.look(),
            Some(Duration::ZERO) => self.look(),
            _ if self.busy_polls(timeout)? => Ok(0),
            Some(timeout) => {
                let timeout = Timespec::from(timeout.saturating_sub(self.busy_poll));
                self.io.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
            None => self.io.submit_and_wait(1),
        };
        self.reap();
        entered.map(drop).or_else(unless_passing)
    }

    /// Looks for completions without sleeping, for as long as the ring may.
    fn busy_polls(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if self.busy_poll.is_zero() {
            return Ok(false);
        }
        let most = timeout.map_or(self.busy_poll, |timeout| timeout.min(self.busy_poll));
        let began = Instant::now();
        loop {
            self.look().map(drop).or_else(unless_passing)?;
            if !self.io.completion().is_empty() {
                return Ok(true);
            }
            if began.elapsed() >= most {
                return Ok(false);
            }
            std::hint::spin_loop();
        }
    }

    /// Enters the kernel only if there is something to submit or something to run there.
    fn look(&mut self) -> io::Result<usize> {
        let submission = self.io.submission();
        let idle = submission.is_empty() && !submission.taskrun();
        drop(submission);
        if idle { Ok(0) } else { self.io.submit() }
    }

    /// Takes all entries off the completion queue. Those of operations wait for
    /// `next_completion`.
    fn reap(&mut self) {
        let completion = self.io.completion();
        assert_eq!(completion.overflow(), 0, "the completion queue has room for all there can be");
        for entry in completion {
            match Name::unpack(entry.user_data()) {
                Name::Op(tenant) => {
                    self.spot.ended(self.slots.op_mut(tenant));
                    self.reaped.push_back((tenant, entry.result()));
                }
                Name::Cancel(tenant) => self.slots.cancel_answered(tenant),
                Name::Wake => self.bell.heard(),
            }
        }
        while self.surveyor.is_busy()
            && let Some(answer) = self.surveyor.answer()
        {
            self.surveyed(answer);
        }
    }

    /// Has the thread beside the ring look; no entry of the kernel's is for it.
    fn survey(&mut self, token: Token, op: Op) -> Result<(), Op> {
        let Op::Survey { file: fd, offset, len, at_most, .. } = op else {
            return Err(op);
        };
        let file = self.descriptors.get(fd).map(OwnedFd::try_clone);
        let on = file.as_ref().map(|_| fd);
        let tenant = self.slots.put(Tenancy { token, op, on })?;
        self.in_flight += 1;
        if on.is_some() {
            self.descriptors.begin(fd);
        }
        let asked = match file {
            None => Err(libc::EBADF),
            Some(file) => file
                .and_then(|file| {
                    let question = Question { tenant, file, offset, len, at_most };
                    self.surveyor.ask(question, self.bell.waker())
                })
                .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)),
        };
        if let Err(errno) = asked {
            self.reaped.push_back((tenant, -errno));
        }
        Ok(())
    }

    fn surveyed(&mut self, Answer { tenant, found: answer }: Answer) {
        let result = match answer {
            Ok(stretches) => {
                if let Op::Survey { found, .. } = self.slots.op_mut(tenant) {
                    *found = stretches;
                }
                0
            }
            Err(errno) => -errno.raw(),
        };
        self.reaped.push_back((tenant, result));
    }

    /// What the kernel's number means for this operation.
    fn outcome(&mut self, op: &Op, result: i32) -> Result<Done, Errno> {
        let Ok(number) = u32::try_from(result) else {
            return Err(Errno::from_raw(-result));
        };
        Ok(match op {
            Op::Accept { .. } => Done::Accepted(self.accepted(result)),
            Op::Sync { .. } | Op::Zero { .. } | Op::Survey { .. } => Done::Finished,
            Op::Recv { .. }
            | Op::RecvInto { .. }
            | Op::Send { .. }
            | Op::Read { .. }
            | Op::Write { .. } => Done::Bytes(number),
        })
    }

    fn accepted(&mut self, descriptor: i32) -> Fd {
        // SAFETY: a successful accept made this descriptor for us, and each completion is taken
        // once, so nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // It fails on a connection that is already gone, which its first receive will tell.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        self.descriptors.adopt(socket)
    }

    /// Ends everything in flight. True if the kernel has nothing of ours any more.
    fn quiesce(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        // Its read ends by ringing; `enter`, unlike `wait`, does not start another.
        self.bell.waker().wake();
        while self.surveyor.is_busy()
            && let Some(answer) =
                self.surveyor.wait(deadline.saturating_duration_since(Instant::now()))
        {
            self.surveyed(answer);
        }
        loop {
            self.cancel_where(None);
            while self.next_completion().is_some() {}
            if self.slots.are_all_free() && !self.bell.is_listening() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.enter(Some(left)).is_err() {
                return false;
            }
        }
    }
}

/// Timed out, a signal, or the kernel is short of memory for the moment: what was not submitted
/// stays queued for the next turn.
fn unless_passing(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
        _ => Err(error),
    }
}

impl Ring for UringRing {
    type Handle = OwnedFd;
    type Waker = UringWaker;

    fn adopt(&mut self, handle: OwnedFd) -> Fd {
        let fd = self.descriptors.adopt(handle);
        if let Some(handle) = self.descriptors.get(fd) {
            self.spot.adopt(fd, handle);
        }
        fd
    }

    fn release(&mut self, fd: Fd) -> Option<OwnedFd> {
        self.spot.forget(fd);
        self.descriptors.release(fd)
    }

    fn close(&mut self, fd: Fd) {
        self.spot.forget(fd);
        if let Close::Deferred(socket) = self.descriptors.close(fd) {
            // Not a socket, or not connected: then there is nothing to shut down, and what is
            // in flight on a file ends by itself.
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
    }

    fn push(&mut self, token: Token, mut op: Op) -> Result<(), Op> {
        op.assert_sound();
        if self.slots.free() == 0 && self.in_flight < self.slots.count() {
            // Some slots only wait for the answer to a request to cancel, and the kernel answers
            // when it takes the request.
            let _ = self.look();
            self.reap();
        }
        if matches!(op, Op::Survey { .. }) {
            return self.survey(token, op);
        }
        let fd = op.fd();
        let handle = self.descriptors.get(fd).filter(|_| self.slots.free() > 0);
        let done = handle.and_then(|handle| self.spot.carry_out(&mut op, handle));
        let descriptor = self.descriptors.get(fd).map(AsRawFd::as_raw_fd);
        let on = descriptor.map(|_| fd);
        let tenant = self.slots.put(Tenancy { token, op, on })?;
        if let Some(result) = done {
            self.descriptors.begin(fd);
            self.reaped.push_back((tenant, result));
        } else if let Some(descriptor) = descriptor {
            self.spot.handed_over(self.slots.op_mut(tenant));
            let prepared = self.slots.prepare(tenant, descriptor);
            // The next `wait` meets the same error, and returns it.
            if self.queue(&prepared).is_err() {
                let op = self.slots.take(tenant).op;
                self.spot.ended(&op);
                return Err(op);
            }
            self.descriptors.begin(fd);
        } else {
            self.reaped.push_back((tenant, -libc::EBADF));
        }
        self.in_flight += 1;
        Ok(())
    }

    fn cancel(&mut self, token: Token) {
        self.cancel_where(Some(token));
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.spot.begin_turn();
        self.listen().or_else(unless_passing)?;
        self.enter(timeout)
    }

    fn next_completion(&mut self) -> Option<Completion> {
        let (tenant, result) = self.reaped.pop_front()?;
        let Tenancy { token, op, on } = self.slots.take(tenant);
        let result = self.outcome(&op, result);
        self.in_flight -= 1;
        if let Some(fd) = on {
            drop(self.descriptors.end(fd));
        }
        Some(Completion { token, result, op })
    }

    fn waker(&self) -> UringWaker {
        self.bell.waker()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn peer(&self, fd: Fd) -> Option<SocketAddr> {
        let peer = rustix::net::getpeername(self.descriptors.get(fd)?).ok()??;
        peer.try_into().ok()
    }

    fn local(&self, fd: Fd) -> Option<SocketAddr> {
        let local = rustix::net::getsockname(self.descriptors.get(fd)?).ok()?;
        local.try_into().ok()
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}

impl Drop for UringRing {
    fn drop(&mut self) {
        if !self.quiesce(DROP_PATIENCE) {
            tracing::warn!(
                in_flight = self.in_flight,
                "a ring ended before its I/O: leaking the buffers the kernel may still touch"
            );
            std::mem::forget(std::mem::take(&mut self.slots));
            self.bell.leak();
        }
    }
}

impl fmt::Debug for UringRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringRing")
            .field("in_flight", &self.in_flight)
            .field("slots_free", &self.slots.free())
            .field("reaped", &self.reaped.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

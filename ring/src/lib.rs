//! io_uring with owned buffers: one ring per shard carries its sockets and its files.
//!
//! **The ownership contract.** An operation goes in by value, with its buffers inside, and comes
//! out again by value in its [`Completion`]. In between nobody can read, change, move or free
//! those buffers, because nobody has them: they sit in a slot of the ring that only the kernel's
//! completion empties. So a connection that dies with I/O in flight frees nothing the kernel may
//! still touch, and there is no future to drop and no lifetime to promise. The same holds for
//! descriptors: [`Ring::close`] on a busy [`Fd`] shuts the socket down and closes after its last
//! completion.
//!
//! **The code map.** [`Ring`] is what a shard loop is written against; [`UringRing`] is the
//! kernel's, the simulator has its own. [`Op`] lists what can be asked for, [`Buf`] and [`Pool`]
//! are the memory, [`Gather`] is one turn's outgoing bytes, [`Descriptors`] the table behind
//! [`Fd`]. `probe.rs` says by name what a kernel lacks; `survey.rs` is the one thread beside a ring,
//! for the one question that io_uring cannot be asked; `spot.rs` does what would cost the kernel a
//! thread.
//!
//! **Deliberately absent**: retries, ordering between operations (no links, no drain: a flush is
//! submitted after the writes it covers were reaped), continuing short transfers, timers,
//! futures, multishot receives and provided buffers (measured: they cost a third of the write
//! rate), and any knowledge of iSCSI. `unsafe` is here and in no other crate, in three files:
//! `buf.rs`, `slot.rs` and `ring.rs`.

#![warn(missing_docs)]

mod buf;
mod errno;
mod fd;
mod gather;
mod op;
mod pool;
mod probe;
mod ring;
mod sleeps;
mod slot;
mod spot;
mod survey;
mod token;
mod wake;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use buf::{BUF_LEN_MAX, Buf, PAGE};
pub use errno::Errno;
pub use fd::{Close, Descriptors, Fd};
pub use gather::{Body, Gather};
pub use op::{Completion, Done, Op, Zero};
pub use pool::Pool;
pub use probe::{RingError, probe};
pub use ring::{UringConfig, UringRing};
pub use survey::Stretch;
pub use token::Token;
pub use wake::UringWaker;

/// Makes [`Ring::wait`] return, from any thread.
pub trait Wake: Clone + Send + Sync + 'static {
    /// The ring's current or next `wait` returns. Calls in between fold into one. What was
    /// written to memory before this call is visible to the shard after that `wait`.
    fn wake(&self);
}

/// One shard's I/O. All the world a shard loop sees, its clock included, so that the simulator
/// can run the real loop.
pub trait Ring {
    /// A descriptor outside of the ring: `OwnedFd`, or the simulator's.
    type Handle: Send + fmt::Debug + 'static;
    /// Held by other threads to end a `wait`.
    type Waker: Wake;

    /// Puts a descriptor into the ring's table.
    fn adopt(&mut self, handle: Self::Handle) -> Fd;

    /// Takes a descriptor out again, for instance to move a connection to another shard.
    /// `None` while an operation on it is in flight, after `close`, or when unknown.
    fn release(&mut self, fd: Fd) -> Option<Self::Handle>;

    /// Closes a descriptor now, or after the last completion of the operations in flight on it.
    /// A socket is shut down at once, so that they do complete. Unknown descriptors are ignored.
    fn close(&mut self, fd: Fd);

    /// Queues an operation; the next `wait` hands it to the kernel, unless it is carried out here and
    /// now: then its completion is there already. `Err` gives it back
    /// unchanged: as many are in flight as the ring's bound allows. An operation on a closed or
    /// unknown descriptor completes with `EBADF`.
    ///
    /// # Panics
    ///
    /// When a range reaches outside of its buffer or there is no byte to transfer; such an
    /// operation would complete with 0 bytes, which means end of stream.
    fn push(&mut self, token: Token, op: Op) -> Result<(), Op>;

    /// Asks for everything pushed with this token to end early. Best effort; the completion
    /// always still arrives, with `ECANCELED` or with the result that won the race.
    fn cancel(&mut self, token: Token);

    /// Submits everything pushed, and returns when at least one completion is ready, when woken
    /// or when timed out; it may also return for no reason. `None` waits without limit,
    /// `Some(ZERO)` only submits and looks.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next completion found by `wait` or brought about by `push`. While some are left, `wait`
    /// returns at once.
    fn next_completion(&mut self) -> Option<Completion>;

    /// A handle for other threads.
    fn waker(&self) -> Self::Waker;

    /// The only clock a shard loop reads.
    fn now(&self) -> Instant;

    /// The address at the other end of a connected socket.
    fn peer(&self, fd: Fd) -> Option<SocketAddr>;

    /// The address at this end of a socket.
    fn local(&self, fd: Fd) -> Option<SocketAddr>;

    /// Operations pushed whose completion was not taken yet.
    fn in_flight(&self) -> usize;
}

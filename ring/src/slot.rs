//! Where operations live while the kernel works on them: a slab that never grows, so that
//! nothing in it moves.

#![allow(unsafe_code, reason = "makes the all-zero message header that libc has no safe one of")]

use std::os::fd::RawFd;

use io_uring::types::Fd as RawTarget;
use io_uring::{opcode, squeue};

use crate::{Buf, Fd, Gather, Op, Token, Zero};

/// As many pieces as the kernel takes in one message (`IOV_MAX`).
const PIECES_MAX: usize = 1024;

/// As many bytes as one send offers the kernel. It copies them within the call that submits, and
/// meanwhile the other connections of the shard wait.
const SEND_LEN_MAX: usize = 512 * 1024;

/// A submission queue entry whose pointers stay good until its completion was reaped. Made only
/// here, from memory in a slot, and in `wake.rs`; so whoever holds one may submit it.
pub(crate) struct Prepared(squeue::Entry);

impl Prepared {
    /// `entry` must not point to anything that moves or goes before its completion.
    pub(crate) fn new(entry: squeue::Entry, name: Name) -> Self {
        Self(entry.user_data(name.pack()))
    }

    pub(crate) const fn entry(&self) -> &squeue::Entry {
        &self.0
    }
}

/// A tenancy of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tenant {
    slot: u32,
    generation: u32,
}

/// What `user_data` says to whom a completion queue entry belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    /// An operation in a slot.
    Op(Tenant),
    /// The request to cancel it.
    Cancel(Tenant),
    /// The read behind the waker.
    Wake,
}

impl Name {
    /// Slots count to 32767 at most, so these bits are free.
    const CANCEL: u32 = 1 << 31;
    const WAKE: u64 = u64::MAX;

    const fn pack(self) -> u64 {
        match self {
            Self::Op(Tenant { slot, generation }) => (generation as u64) << 32 | slot as u64,
            Self::Cancel(Tenant { slot, generation }) => {
                (generation as u64) << 32 | (slot | Self::CANCEL) as u64
            }
            Self::Wake => Self::WAKE,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes apart what pack put together")]
    pub(crate) const fn unpack(user_data: u64) -> Self {
        let (low, generation) = (user_data as u32, (user_data >> 32) as u32);
        match user_data {
            Self::WAKE => Self::Wake,
            _ if low & Self::CANCEL == 0 => Self::Op(Tenant { slot: low, generation }),
            _ => Self::Cancel(Tenant { slot: low & !Self::CANCEL, generation }),
        }
    }
}

/// All slots of a ring.
#[derive(Default)]
pub(crate) struct Slots {
    all: Box<[Slot]>,
    /// Last freed, first used: the warm ones, with room for their pieces.
    free: Vec<u32>,
}

/// One operation. Free when it holds neither an operation nor an outstanding cancel request:
/// so each slot accounts for two completion queue entries at most, and a request to cancel can
/// not reach the slot's next tenant.
struct Slot {
    generation: u32,
    tenancy: Option<Tenancy>,
    cancelling: bool,
    message: libc::msghdr,
    pieces: Vec<libc::iovec>,
}

/// What is kept of an operation in flight.
pub(crate) struct Tenancy {
    pub(crate) token: Token,
    pub(crate) op: Op,
    /// The descriptor it is counted on; `None` if it was refused without reaching the kernel.
    pub(crate) on: Option<Fd>,
}

impl Slots {
    pub(crate) fn new(count: u32) -> Self {
        // So many requests are in flight only in a burst: pieces are allocated when first used.
        let all = (0..count).map(|_| Slot::new()).collect();
        Self { all, free: (0..count).rev().collect() }
    }

    /// Slots with nothing in them.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// Nothing is known to the kernel any more.
    pub(crate) fn are_all_free(&self) -> bool {
        self.free.len() == self.all.len()
    }

    /// Moves an operation in, or gives it back when all slots are taken.
    pub(crate) fn put(&mut self, tenancy: Tenancy) -> Result<Tenant, Op> {
        let Some(slot) = self.free.pop() else {
            return Err(tenancy.op);
        };
        let place = &mut self.all[slot as usize];
        place.tenancy = Some(tenancy);
        Ok(Tenant { slot, generation: place.generation })
    }

    /// Moves an operation out: its completion is here, or it never was submitted.
    ///
    /// # Panics
    ///
    /// When nothing by that name is in flight. The kernel would have completed something twice,
    /// and then nobody's memory is safe.
    pub(crate) fn take(&mut self, tenant: Tenant) -> Tenancy {
        let slot = self.slot(tenant);
        let tenancy = slot.tenancy.take().expect("an operation completes once");
        self.free_if_empty(tenant);
        tenancy
    }

    /// The operation in a slot that the kernel does not have.
    pub(crate) fn op_mut(&mut self, tenant: Tenant) -> &mut Op {
        &mut self.slot(tenant).tenancy.as_mut().expect("it is in flight").op
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.all.len()
    }

    /// The request to cancel what is in the slot at `index`, if that is an operation with the
    /// kernel, named `token` (or any), and not asked to end yet. It counts as outstanding from
    /// now on.
    pub(crate) fn cancel(
        &mut self,
        index: usize,
        token: Option<Token>,
    ) -> Option<(Tenant, Prepared)> {
        let place = &mut self.all[index];
        let tenancy = place.tenancy.as_ref()?;
        let named = token.is_none_or(|token| token == tenancy.token);
        if !named || tenancy.on.is_none() || place.cancelling {
            return None;
        }
        place.cancelling = true;
        let slot = u32::try_from(index).expect("slots were counted in u32");
        let tenant = Tenant { slot, generation: place.generation };
        let entry = opcode::AsyncCancel::new(Name::Op(tenant).pack()).build();
        Some((tenant, Prepared::new(entry, Name::Cancel(tenant))))
    }

    /// A cancel request was answered, whatever the answer.
    pub(crate) fn cancel_answered(&mut self, tenant: Tenant) {
        let was = std::mem::replace(&mut self.slot(tenant).cancelling, false);
        assert!(was, "a request to cancel is answered once");
        self.free_if_empty(tenant);
    }

    /// The entry for the operation in a slot, on `descriptor`.
    pub(crate) fn prepare(&mut self, tenant: Tenant, descriptor: RawFd) -> Prepared {
        let entry = self.slot(tenant).prepare(RawTarget(descriptor));
        Prepared::new(entry, Name::Op(tenant))
    }

    fn slot(&mut self, tenant: Tenant) -> &mut Slot {
        let slot = &mut self.all[tenant.slot as usize];
        assert_eq!(slot.generation, tenant.generation, "a completion of a former tenant");
        slot
    }

    fn free_if_empty(&mut self, tenant: Tenant) {
        let slot = self.slot(tenant);
        if slot.tenancy.is_none() && !slot.cancelling {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(tenant.slot);
        }
    }
}

impl Slot {
    const fn new() -> Self {
        Self {
            generation: 0,
            tenancy: None,
            cancelling: false,
            // SAFETY: `msghdr` is plain C data; null pointers and zero lengths mean "none".
            message: unsafe { std::mem::zeroed() },
            pieces: Vec::new(),
        }
    }

    /// Points an entry at the operation's memory. The operation is already in its slot, so what
    /// is taken an address of here (heap memory of its buffers, and this slot) stays put until
    /// [`Slots::take`].
    fn prepare(&mut self, fd: RawTarget) -> squeue::Entry {
        let op = &mut self.tenancy.as_mut().expect("prepared after put").op;
        self.pieces.clear();
        match op {
            Op::Accept { .. } => {
                opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
            }
            Op::Recv { buf, at, .. } => {
                let into = &mut buf[at.clone()];
                opcode::Recv::new(fd, into.as_mut_ptr(), length(into)).build()
            }
            Op::RecvInto { task, at, buf, .. } => {
                self.pieces.extend([piece_mut(&mut task[at.clone()]), piece_mut(buf)]);
                self.recvmsg(fd)
            }
            Op::Send { gather, .. } => {
                list(gather, &mut self.pieces);
                self.sendmsg(fd)
            }
            Op::Read { offset, buf, at, .. } => {
                let into = &mut buf[at.clone()];
                opcode::Read::new(fd, into.as_mut_ptr(), length(into)).offset(*offset).build()
            }
            Op::Write { offset, buf, at, dsync, .. } => write(fd, *offset, buf, at.clone(), *dsync),
            Op::Sync { .. } => {
                opcode::Fsync::new(fd).flags(io_uring::types::FsyncFlags::DATASYNC).build()
            }
            Op::Zero { offset, len, how, .. } => {
                opcode::Fallocate::new(fd, *len).offset(*offset).mode(mode(*how)).build()
            }
            Op::Survey { .. } => unreachable!("a thread is asked, not the kernel"),
        }
    }

    fn recvmsg(&mut self, fd: RawTarget) -> squeue::Entry {
        opcode::RecvMsg::new(fd, self.message()).build()
    }

    fn sendmsg(&mut self, fd: RawTarget) -> squeue::Entry {
        opcode::SendMsg::new(fd, self.message()).flags(libc::MSG_NOSIGNAL.cast_unsigned()).build()
    }

    /// The header for this slot's pieces.
    fn message(&mut self) -> *mut libc::msghdr {
        self.message.msg_iov = self.pieces.as_mut_ptr();
        self.message.msg_iovlen = self.pieces.len() as _;
        &raw mut self.message
    }
}

fn write(
    fd: RawTarget,
    offset: u64,
    buf: &Buf,
    at: std::ops::Range<usize>,
    dsync: bool,
) -> squeue::Entry {
    let from = &buf[at];
    let flags = if dsync { libc::RWF_DSYNC } else { 0 };
    opcode::Write::new(fd, from.as_ptr(), length(from)).offset(offset).rw_flags(flags).build()
}

fn list(gather: &Gather, pieces: &mut Vec<libc::iovec>) {
    let mut left = SEND_LEN_MAX;
    let offered = gather.slices().take(PIECES_MAX).map_while(|bytes| {
        let len = bytes.len().min(left);
        left -= len;
        // The kernel only reads what a `sendmsg` names; the type is shared with `recvmsg`.
        (len > 0).then(|| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: len })
    });
    pieces.extend(offered);
}

fn piece_mut(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("no buffer is longer than BUF_LEN_MAX")
}

const fn mode(how: Zero) -> i32 {
    match how {
        Zero::Range => libc::FALLOC_FL_ZERO_RANGE,
        Zero::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(slots: &mut Slots, token: u64, fd: Fd) -> Tenant {
        let op = Op::Accept { listener: fd };
        slots.put(Tenancy { token: Token(token), op, on: Some(fd) }).unwrap()
    }

    fn some_fd() -> Fd {
        crate::Descriptors::new().adopt(())
    }

    #[test]
    fn names_survive_the_kernel() {
        let tenant = Tenant { slot: 32766, generation: u32::MAX };
        for name in [Name::Op(tenant), Name::Cancel(tenant), Name::Wake] {
            assert_eq!(Name::unpack(name.pack()), name);
        }
    }

    #[test]
    fn a_slot_is_free_when_its_cancel_request_is_answered_too() {
        let mut slots = Slots::new(1);
        let tenant = accept(&mut slots, 1, some_fd());
        assert!(slots.cancel(0, Some(Token(2))).is_none());
        assert!(slots.cancel(0, Some(Token(1))).is_some_and(|(asked, _)| asked == tenant));
        assert!(slots.cancel(0, None).is_none(), "one request is enough");
        assert_eq!(slots.take(tenant).token, Token(1));
        assert_eq!(slots.free(), 0);
        slots.cancel_answered(tenant);
        assert!(slots.are_all_free());
    }

    #[test]
    #[should_panic(expected = "a completion of a former tenant")]
    fn a_stale_completion_is_a_bug() {
        let mut slots = Slots::new(1);
        let old = accept(&mut slots, 1, some_fd());
        slots.take(old);
        accept(&mut slots, 2, some_fd());
        slots.take(old);
    }

    #[test]
    #[should_panic(expected = "an operation completes once")]
    fn a_second_completion_is_a_bug() {
        let mut slots = Slots::new(1);
        let tenant = accept(&mut slots, 1, some_fd());
        slots.cancel(0, None).unwrap();
        slots.take(tenant);
        slots.take(tenant);
    }
}

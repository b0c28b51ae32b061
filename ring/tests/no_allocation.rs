//! A warm ring moves operations in and out without asking the allocator for anything.

#![allow(unsafe_code, reason = "an allocator that counts can only be had this way")]
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use outband_ring::{Completion, Gather, Op, Pool, Ring, Token, UringConfig, UringRing};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`, where the pointer came from.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn next(ring: &mut UringRing) -> Completion {
    loop {
        if let Some(completion) = ring.next_completion() {
            return completion;
        }
        ring.wait(None).unwrap();
    }
}

/// Sends 64 headers with payload to itself, receives them, cancels a receive.
fn turn(
    ring: &mut UringRing,
    pool: &mut Pool,
    ends: [outband_ring::Fd; 2],
    gather: &mut Option<Box<Gather>>,
) {
    let mut outgoing = gather.take().unwrap();
    for tag in 0..64 {
        outgoing.head(&[0; 48]);
        let body = outgoing.attach(tag, pool.take(4096).unwrap());
        outgoing.body(body, 0..512);
    }
    ring.push(Token(1), Op::Send { socket: ends[0], gather: outgoing }).unwrap();
    if let Op::Send { gather: mut back, .. } = next(ring).op {
        back.take_bodies().for_each(|(_, buf)| pool.give(buf));
        *gather = Some(back);
    }

    for (token, socket) in [(2, ends[1]), (3, ends[0])] {
        let (task, buf) = (pool.take(4096).unwrap(), pool.take(65536).unwrap());
        ring.push(Token(token), Op::RecvInto { socket, task, at: 0..4096, buf }).unwrap();
        ring.cancel(Token(3));
        if let Op::RecvInto { task, buf, .. } = next(ring).op {
            pool.give(task);
            pool.give(buf);
        }
    }
}

#[test]
fn a_warm_ring_does_not_allocate() {
    let mut pool = Pool::new(1 << 20);
    let mut ring =
        UringRing::new(UringConfig { in_flight: 16, submissions: 8, ..UringConfig::default() })
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let here = listener.accept().unwrap().0;
    let ends = [ring.adopt(here.into()), ring.adopt(there.into())];
    let mut gather = Some(Box::new(Gather::new()));

    for _ in 0..16 {
        turn(&mut ring, &mut pool, ends, &mut gather);
    }
    let warm = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..100 {
        turn(&mut ring, &mut pool, ends, &mut gather);
    }
    let after = ALLOCATIONS.load(Ordering::Relaxed);
    // The harness has a thread of its own that may allocate meanwhile, a few times at most; one
    // allocation per operation would be 300.
    assert!(after - warm < 50, "{} allocations in 100 turns", after - warm);
}

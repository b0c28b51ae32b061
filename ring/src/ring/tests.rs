//! Against the real kernel: loopback sockets and temporary files.

mod files;
mod life;
mod sockets;

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::*;
use crate::{Buf, Gather, Zero};

const KIB: usize = 1024;

fn ring_of(in_flight: u32) -> UringRing {
    UringRing::new(UringConfig { in_flight, submissions: 8, ..UringConfig::default() })
        .expect("tests need io_uring")
}

/// A socket in the ring and the other end of it outside.
fn connected(ring: &mut UringRing) -> (Fd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let outside = TcpStream::connect(listener.local_addr().expect("bound")).expect("loopback");
    let (inside, _) = listener.accept().expect("connected above");
    outside.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    (ring.adopt(OwnedFd::from(inside)), outside)
}

/// The next completion; fails when there is none for long.
fn next(ring: &mut UringRing) -> Completion {
    for _ in 0..1000 {
        if let Some(completion) = ring.next_completion() {
            return completion;
        }
        ring.wait(Some(Duration::from_millis(10))).expect("the ring works");
    }
    panic!("no completion of {} in flight", ring.in_flight());
}

/// Pushes one operation and awaits it.
fn run(ring: &mut UringRing, op: Op) -> (Result<Done, Errno>, Op) {
    ring.push(Token(1), op).expect("room in the ring");
    let completion = next(ring);
    (completion.result, completion.op)
}

fn recv(socket: Fd) -> Op {
    Op::Recv { socket, buf: Buf::zeroed(4 * KIB), at: 0..4 * KIB }
}

fn gather(bytes: &[u8]) -> Box<Gather> {
    let mut gather = Box::new(Gather::new());
    gather.head(bytes);
    gather
}

//! What `Ring` promises, of this ring.

use outband_ring::{Buf, Gather, Zero};

use super::*;
use crate::disk::{Disk, Faults};
use crate::hardware::Hardware;
use crate::net::{Net, News, Read, Side};
use crate::rng::Rng;
use crate::trace::Trace;

struct Bench {
    hardware: Shared,
    ring: SimRing,
}

impl Bench {
    fn new(limit: usize) -> Self {
        let disks = vec![Disk::new(1 << 20, 512, Faults::default())];
        let net = Net::new(crate::net::Faults::default());
        let hardware = Hardware::new(Rng::new(1), net, disks, Trace::new(false)).shared();
        let ring = SimRing::new(&hardware, limit);
        Self { hardware, ring }
    }

    /// Everything that happens by itself, and then what has ended.
    fn run(&mut self) -> Vec<(u64, Result<Done, Errno>)> {
        self.ring.wait(None).unwrap();
        loop {
            let event = self.hardware.borrow_mut().next_event();
            let mut hardware = self.hardware.borrow_mut();
            match event {
                Some(Event::Net(event)) => hardware.on_net_event(event),
                Some(Event::Begin(ring, op)) => hardware.begin(ring, op),
                Some(Event::End(ring, op)) => hardware.end(ring, op),
                Some(_) => {}
                None => break,
            }
        }
        let completions = std::iter::from_fn(|| self.ring.next_completion());
        completions.map(|completion| (completion.token.0, completion.result)).collect()
    }

    /// A connection: the target's descriptor, and its name.
    fn connected(&mut self) -> (Fd, ConnId) {
        let portal = "10.0.0.1:3260".parse().unwrap();
        let listener = self.hardware.borrow_mut().listen(portal);
        let listener = self.ring.adopt(SimHandle::Listener(listener));
        self.ring.push(Token(99), Op::Accept { listener }).unwrap();
        let host = "10.0.1.1:1024".parse().unwrap();
        let conn = self.hardware.borrow_mut().connect(host, portal);
        let done = self.run();
        let [(99, Ok(Done::Accepted(fd)))] = done[..] else {
            panic!("{done:?}");
        };
        assert_eq!(self.hardware.borrow_mut().next_news(), Some(News::Connected(conn)));
        assert_eq!((self.ring.peer(fd), self.ring.local(fd)), (Some(host), Some(portal)));
        (fd, conn)
    }

    fn recv(&mut self, token: u64, socket: Fd) {
        let op = Op::Recv { socket, buf: Buf::zeroed(4096), at: 0..4096 };
        self.ring.push(Token(token), op).unwrap();
    }

    fn send(&mut self, token: u64, socket: Fd) {
        let mut gather = Box::new(Gather::new());
        gather.head(b"hello");
        self.ring.push(Token(token), Op::Send { socket, gather }).unwrap();
    }
}

#[test]
fn a_disk_gives_back_what_it_was_given() {
    let mut bench = Bench::new(8);
    let file = bench.ring.adopt(SimHandle::Disk(0));
    let mut buf = Buf::zeroed(4096);
    buf[512..1024].fill(7);
    let op = Op::Write { file, offset: 2048, buf, at: 512..1024, dsync: true };
    bench.ring.push(Token(1), op).unwrap();
    assert_eq!(bench.run(), [(1, Ok(Done::Bytes(512)))]);
    assert_eq!(bench.hardware.borrow().disks[0].peek(2048, 512), [7; 512]);
    bench.ring.push(Token(2), Op::Sync { file }).unwrap();
    assert_eq!(bench.run(), [(2, Ok(Done::Finished))]);
    let op = Op::Zero { file, offset: 2048, len: 512, how: Zero::Punch };
    bench.ring.push(Token(3), op).unwrap();
    assert_eq!(bench.run(), [(3, Ok(Done::Finished))]);
    assert_eq!(bench.hardware.borrow().disks[0].peek(2048, 512), [0; 512]);
}

#[test]
fn a_read_returns_its_buffer_filled() {
    let mut bench = Bench::new(8);
    let file = bench.ring.adopt(SimHandle::Disk(0));
    let mut buf = Buf::zeroed(4096);
    buf.fill(3);
    let op = Op::Read { file, offset: 0, buf, at: 1024..2048 };
    bench.ring.push(Token(1), op).unwrap();
    bench.ring.wait(None).unwrap();
    loop {
        let event = bench.hardware.borrow_mut().next_event();
        match event {
            Some(Event::End(ring, op)) => bench.hardware.borrow_mut().end(ring, op),
            Some(_) => {}
            None => break,
        }
    }
    let Some(Completion { op: Op::Read { buf, .. }, .. }) = bench.ring.next_completion() else {
        panic!("the read has ended");
    };
    assert!(buf[..1024].iter().all(|byte| *byte == 3) && buf[1024..2048].iter().all(|b| *b == 0));
}

#[test]
fn bytes_come_and_go() {
    let mut bench = Bench::new(8);
    let (fd, conn) = bench.connected();
    bench.recv(1, fd);
    assert_eq!(bench.run(), []);
    bench.hardware.borrow_mut().on_net(|net, now, rng| {
        net.write(conn, Side::Host, std::iter::once(&b"four"[..]), now, rng)
    });
    let mut got = 0;
    while got < 4 {
        match bench.run()[..] {
            [(1, Ok(Done::Bytes(count)))] => got += count,
            ref other => panic!("{other:?}"),
        }
        if got < 4 {
            bench.recv(1, fd);
        }
    }
    bench.send(2, fd);
    assert!(matches!(bench.run()[..], [(2, Ok(Done::Bytes(1..=5)))]));
    let mut buf = [0; 9];
    let read =
        bench.hardware.borrow_mut().on_net(|net, _, rng| net.read(conn, Side::Host, &mut buf, rng));
    assert!(matches!(read, Read::Bytes(1..=5)) && buf[0] == b'h');
}

#[test]
fn closing_ends_what_is_under_way_and_the_peer_learns_of_it() {
    let mut bench = Bench::new(8);
    let (fd, conn) = bench.connected();
    bench.recv(1, fd);
    bench.run();
    assert_eq!(bench.ring.release(fd), None, "a receive is under way");
    bench.ring.close(fd);
    bench.send(2, fd);
    assert_eq!(bench.run(), [(1, Ok(Done::Bytes(0))), (2, Err(Errno::BADF))]);
    let mut buf = [0; 9];
    let read =
        bench.hardware.borrow_mut().on_net(|net, _, rng| net.read(conn, Side::Host, &mut buf, rng));
    assert_eq!(read, Read::Bytes(0));
    assert_eq!(bench.ring.in_flight(), 0);
}

#[test]
fn a_closed_listener_ends_its_accept() {
    let mut bench = Bench::new(8);
    let listener = bench.hardware.borrow_mut().listen("10.0.0.1:3260".parse().unwrap());
    let listener = bench.ring.adopt(SimHandle::Listener(listener));
    bench.ring.push(Token(1), Op::Accept { listener }).unwrap();
    bench.run();
    bench.ring.close(listener);
    assert_eq!(bench.run(), [(1, Err(Errno::INVAL))]);
}

#[test]
fn what_is_cancelled_still_completes() {
    let mut bench = Bench::new(8);
    let (fd, _) = bench.connected();
    bench.recv(1, fd);
    bench.ring.cancel(Token(1));
    assert_eq!(bench.run(), [(1, Err(Errno::CANCELED))]);
    assert!(bench.ring.release(fd).is_some());
}

#[test]
fn the_bound_holds_and_gives_the_operation_back() {
    let mut bench = Bench::new(1);
    let file = bench.ring.adopt(SimHandle::Disk(0));
    bench.ring.push(Token(1), Op::Sync { file }).unwrap();
    assert!(bench.ring.push(Token(2), Op::Sync { file }).is_err());
    assert_eq!(bench.run().len(), 1);
    bench.ring.push(Token(2), Op::Sync { file }).unwrap();
}

#[test]
fn a_wait_times_out_at_its_time() {
    let mut bench = Bench::new(1);
    bench.ring.wait(Some(Duration::from_secs(3))).unwrap();
    let event = bench.hardware.borrow_mut().next_event();
    assert_eq!(event, Some(Event::Deadline(bench.ring.id())));
    assert!(bench.hardware.borrow().is_timed_out(bench.ring.id()));
    assert_eq!(bench.hardware.borrow().now(), Duration::from_secs(3));
}

//! Bounds, cancelling, closing, waking and ending.

use std::io::{Read, Write};
use std::thread;

use super::*;

/// A receive marked with a byte, so that its buffer is known again.
fn marked_recv(socket: Fd, mark: u8) -> Op {
    let mut buf = Buf::zeroed(1);
    buf[0] = mark;
    Op::Recv { socket, buf, at: 1..4 * KIB }
}

fn mark(op: &Op) -> u8 {
    match op {
        Op::Recv { buf, .. } => buf[0],
        other => panic!("another op: {other:?}"),
    }
}

#[test]
fn a_cancelled_receive_gives_its_buffer_back() {
    let mut ring = ring_of(4);
    let (socket, _outside) = connected(&mut ring);
    ring.push(Token(8), marked_recv(socket, 8)).unwrap();
    ring.push(Token(9), marked_recv(socket, 9)).unwrap();
    ring.wait(Some(Duration::ZERO)).unwrap();
    ring.cancel(Token(9));
    ring.cancel(Token(9));
    ring.cancel(Token(77));
    let completion = next(&mut ring);
    assert_eq!((completion.token, completion.result), (Token(9), Err(Errno::CANCELED)));
    assert_eq!(mark(&completion.op), 9);
    assert_eq!(ring.in_flight(), 1, "the other one was not asked to end");
}

#[test]
fn every_operation_cancelled_completes_once_and_its_slot_serves_again() {
    let mut ring = ring_of(16);
    let (socket, _outside) = connected(&mut ring);
    for round in 0..50 {
        // Some are with the kernel when cancelled, some are still queued.
        for mark in 0..16 {
            ring.push(Token(round), marked_recv(socket, mark)).unwrap();
            if u64::from(mark) == round % 16 {
                ring.wait(Some(Duration::ZERO)).unwrap();
            }
        }
        ring.cancel(Token(round));
        let mut marks = Vec::new();
        for _ in 0..16 {
            let completion = next(&mut ring);
            assert_eq!(completion.token, Token(round));
            assert_eq!(completion.result, Err(Errno::CANCELED));
            marks.push(mark(&completion.op));
        }
        marks.sort_unstable();
        assert!(marks.iter().copied().eq(0..16));
        assert_eq!((ring.in_flight(), ring.slots.free()), (0, 16));
    }
}

#[test]
fn tokens_come_back_as_given() {
    let mut ring = ring_of(4);
    let file = ring.adopt(tempfile::tempfile().unwrap().into());
    for token in [0, 1, u64::MAX, 1 << 31, 0xdead_beef_0000_0001] {
        ring.push(Token(token), Op::Sync { file }).unwrap();
        assert_eq!(next(&mut ring).token, Token(token));
    }
}

#[test]
fn a_full_ring_gives_the_operation_back_unchanged() {
    let mut ring = ring_of(2);
    let (socket, mut outside) = connected(&mut ring);
    ring.push(Token(1), marked_recv(socket, 1)).unwrap();
    ring.push(Token(2), marked_recv(socket, 2)).unwrap();
    let refused = ring.push(Token(3), marked_recv(socket, 3)).unwrap_err();
    assert_eq!((mark(&refused), ring.in_flight()), (3, 2));

    outside.write_all(b"x").unwrap();
    assert_eq!(next(&mut ring).result, Ok(Done::Bytes(1)));
    ring.push(Token(3), refused).unwrap();
}

#[test]
fn a_late_request_to_cancel_takes_no_room_from_the_next_operation() {
    let mut ring = ring_of(1);
    let (socket, mut outside) = connected(&mut ring);
    ring.push(Token(1), marked_recv(socket, 1)).unwrap();
    outside.write_all(b"x").unwrap();
    while ring.reaped.is_empty() {
        ring.wait(None).unwrap();
    }
    // Completed, but the caller has not seen it; the request is queued all the same.
    ring.cancel(Token(1));
    assert_eq!(next(&mut ring).result, Ok(Done::Bytes(1)));
    ring.push(Token(2), marked_recv(socket, 2)).unwrap();
    outside.write_all(b"y").unwrap();
    assert_eq!(next(&mut ring).result, Ok(Done::Bytes(1)), "it was not the one cancelled");
}

#[test]
fn more_operations_than_the_submission_queue_holds_are_submitted_on_the_way() {
    let mut ring = ring_of(100);
    assert!(ring.io.submission().capacity() < 100);
    let file = ring.adopt(tempfile::tempfile().unwrap().into());
    for token in 0..100 {
        ring.push(Token(token), Op::Sync { file }).unwrap();
    }
    let mut tokens: Vec<_> = (0..100).map(|_| next(&mut ring).token.0).collect();
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..100));
}

#[test]
fn a_socket_closed_with_a_receive_in_flight_closes_after_its_completion() {
    let mut ring = ring_of(4);
    let (socket, mut outside) = connected(&mut ring);
    ring.push(Token(5), marked_recv(socket, 5)).unwrap();
    ring.wait(Some(Duration::ZERO)).unwrap();
    assert!(ring.release(socket).is_none(), "it is busy");
    ring.close(socket);
    assert_eq!(ring.descriptors.iter().count(), 1, "it is still with the kernel");
    assert_eq!(ring.peer(socket), None);

    let completion = next(&mut ring);
    assert_eq!((completion.token, completion.result), (Token(5), Ok(Done::Bytes(0))));
    assert_eq!(mark(&completion.op), 5);
    assert_eq!(ring.descriptors.iter().count(), 0);
    assert_eq!(outside.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_stuck_send_ends_when_its_socket_is_closed() {
    let mut ring = ring_of(4);
    let (socket, _outside) = connected(&mut ring);
    let block = vec![0; 1024 * KIB];
    // Nobody reads, so that sooner or later one send finds no room at all.
    while ring.in_flight() == 0 {
        ring.push(Token(1), Op::Send { socket, gather: gather(&block) }).unwrap();
        ring.wait(Some(Duration::from_millis(50))).unwrap();
        drop(ring.next_completion());
    }
    ring.close(socket);
    assert_eq!(next(&mut ring).result, Err(Errno::PIPE));
}

#[test]
fn closing_a_listener_ends_its_accept() {
    let mut ring = ring_of(4);
    let listener = ring.adopt(TcpListener::bind("127.0.0.1:0").unwrap().into());
    ring.push(Token(1), Op::Accept { listener }).unwrap();
    ring.wait(Some(Duration::ZERO)).unwrap();
    ring.close(listener);
    assert_eq!(next(&mut ring).result, Err(Errno::INVAL));
    assert_eq!(ring.descriptors.iter().count(), 0);
}

#[test]
fn an_operation_on_a_closed_descriptor_completes_with_ebadf() {
    let mut ring = ring_of(1);
    let (socket, _outside) = connected(&mut ring);
    ring.close(socket);
    ring.push(Token(6), marked_recv(socket, 6)).unwrap();
    ring.cancel(Token(6));
    ring.wait(None).unwrap();
    let completion = ring.next_completion().unwrap();
    assert_eq!((completion.token, completion.result), (Token(6), Err(Errno::BADF)));
    assert_eq!((mark(&completion.op), ring.in_flight()), (6, 0));
}

#[test]
fn a_connection_moves_to_another_ring() {
    let mut ring = ring_of(4);
    let (socket, mut outside) = connected(&mut ring);
    let handle = ring.release(socket).unwrap();
    outside.write_all(b"moved").unwrap();
    let there = thread::spawn(move || {
        let mut ring = ring_of(4);
        let socket = ring.adopt(handle);
        run(&mut ring, recv(socket)).0
    });
    assert_eq!(there.join().unwrap(), Ok(Done::Bytes(5)));
}

#[test]
fn another_thread_ends_a_wait_again_and_again() {
    let mut ring = ring_of(4);
    let waker = ring.waker();
    let (told, hears) = std::sync::mpsc::channel();
    let (heard, listens) = std::sync::mpsc::channel();
    let other = thread::spawn(move || {
        for number in 0..100 {
            told.send(number).unwrap();
            waker.wake();
            waker.wake();
            listens.recv().unwrap();
        }
    });
    for expected in 0..100 {
        let number = loop {
            if let Ok(number) = hears.try_recv() {
                break number;
            }
            // Without a limit: a lost wake hangs here.
            ring.wait(None).unwrap();
        };
        assert_eq!(number, expected);
        heard.send(()).unwrap();
    }
    other.join().unwrap();
}

#[test]
fn a_wake_before_the_wait_is_not_lost() {
    let mut ring = ring_of(4);
    for _ in 0..3 {
        ring.waker().wake();
        ring.wait(None).unwrap();
    }
    assert!(ring.next_completion().is_none());
}

#[test]
fn a_wait_that_only_looks_does_submit_and_does_find() {
    let mut ring = ring_of(4);
    let (socket, mut outside) = connected(&mut ring);
    ring.wait(Some(Duration::ZERO)).unwrap();
    outside.write_all(b"x").unwrap();
    ring.push(Token(1), recv(socket)).unwrap();
    let completion = loop {
        ring.wait(Some(Duration::ZERO)).unwrap();
        if let Some(completion) = ring.next_completion() {
            break completion;
        }
        thread::yield_now();
    };
    assert_eq!(completion.result, Ok(Done::Bytes(1)));

    // Now it is with the kernel before its byte comes.
    ring.push(Token(2), recv(socket)).unwrap();
    ring.wait(Some(Duration::ZERO)).unwrap();
    outside.write_all(b"y").unwrap();
    while ring.next_completion().is_none() {
        ring.wait(Some(Duration::ZERO)).unwrap();
        thread::yield_now();
    }
}

#[test]
fn a_ring_ends_with_everything_in_flight() {
    let mut ring = ring_of(16);
    let (socket, mut outside) = connected(&mut ring);
    let listener = ring.adopt(TcpListener::bind("127.0.0.1:0").unwrap().into());
    let file = ring.adopt(tempfile::tempfile().unwrap().into());
    ring.push(Token(1), recv(socket)).unwrap();
    ring.push(Token(2), Op::Accept { listener }).unwrap();
    let buf = Buf::zeroed(64 * KIB);
    ring.push(Token(3), Op::Write { file, offset: 0, buf, at: 0..64 * KIB, dsync: true }).unwrap();
    ring.wait(Some(Duration::ZERO)).unwrap();
    // One more that the kernel has not seen, and one cancelled already.
    ring.push(Token(4), recv(socket)).unwrap();
    ring.cancel(Token(1));

    assert!(!ring.quiesce(Duration::ZERO), "its completions are still to come");
    assert!(ring.quiesce(Duration::from_secs(60)), "the kernel holds on to something");
    assert_eq!((ring.in_flight(), ring.slots.free()), (0, 16));
    drop(ring);
    assert_eq!(outside.read(&mut [0]).unwrap(), 0, "its descriptors are closed");
}

#[test]
fn a_ring_that_was_never_used_ends() {
    assert!(ring_of(1).quiesce(Duration::from_secs(60)));
}

#[test]
fn a_waker_outlives_its_ring() {
    let waker = ring_of(1).waker();
    waker.wake();
    waker.wake();
}

#[test]
fn a_ring_of_impossible_size_is_refused_by_name() {
    for in_flight in [0, UringConfig::IN_FLIGHT_MAX + 1] {
        let refused =
            UringRing::new(UringConfig { in_flight, submissions: 8, ..UringConfig::default() })
                .unwrap_err();
        assert!(refused.to_string().contains("1 to 32767 are"), "{refused}");
    }
    drop(ring_of(UringConfig::IN_FLIGHT_MAX));
}

#[test]
#[should_panic(expected = "of a buffer of 4096 bytes")]
fn a_range_outside_of_its_buffer_is_a_bug() {
    let mut ring = ring_of(4);
    let (socket, _outside) = connected(&mut ring);
    let _ = ring.push(Token(1), Op::Recv { socket, buf: Buf::zeroed(1), at: 0..4097 });
}

#[test]
fn a_ring_that_looks_before_it_sleeps_finds_what_comes_and_keeps_to_its_timeout() {
    let config = UringConfig { busy_poll: Duration::from_secs(3600), ..UringConfig::default() };
    let mut ring = UringRing::new(config).unwrap();
    let before = Instant::now();
    ring.wait(Some(Duration::from_millis(5))).unwrap();
    let looked = before.elapsed();
    // Not the timeout and then the timeout again; a busy machine may take its time.
    assert!(looked >= Duration::from_millis(5) && looked < Duration::from_secs(60));

    // Nothing but the looking can find these: it does not sleep for an hour.
    let (socket, mut outside) = connected(&mut ring);
    ring.push(Token(1), marked_recv(socket, 1)).unwrap();
    let says = thread::spawn(move || {
        outside.write_all(&[9]).unwrap();
        outside
    });
    assert_eq!(next(&mut ring).result, Ok(Done::Bytes(1)));
    let outside = says.join().unwrap();
    ring.push(Token(2), marked_recv(socket, 2)).unwrap();
    let waker = ring.waker();
    let rings = thread::spawn(move || waker.wake());
    ring.wait(None).unwrap();
    rings.join().unwrap();
    drop(outside);
    assert_eq!(next(&mut ring).result, Ok(Done::Bytes(0)));
}

use std::io::{Read, Write};
use std::thread;

use super::*;

#[test]
fn an_accepted_connection_is_in_the_ring_and_does_not_delay() {
    let mut ring = ring_of(4);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = ring.adopt(listener.into());
    assert_eq!((ring.local(listener), ring.peer(listener)), (Some(address), None));

    ring.push(Token(1), Op::Accept { listener }).unwrap();
    let outside = TcpStream::connect(address).unwrap();
    let Ok(Done::Accepted(socket)) = next(&mut ring).result else {
        panic!("not accepted");
    };
    assert_eq!(ring.peer(socket), outside.local_addr().ok());
    assert_eq!(ring.local(socket), Some(address));
    let socket = ring.release(socket).unwrap();
    assert!(rustix::net::sockopt::tcp_nodelay(socket).unwrap());
}

#[test]
fn what_is_sent_is_received() {
    let mut ring = ring_of(4);
    let (socket, mut outside) = connected(&mut ring);
    outside.write_all(b"question").unwrap();
    let buf = Buf::zeroed(4 * KIB);
    let (result, op) = run(&mut ring, Op::Recv { socket, buf, at: 100..200 });
    let Op::Recv { buf, .. } = op else { panic!("another op") };
    assert_eq!((result, &buf[99..109]), (Ok(Done::Bytes(8)), &b"\0question\0"[..]));

    let (result, _) = run(&mut ring, Op::Send { socket, gather: gather(b"answer") });
    assert_eq!(result, Ok(Done::Bytes(6)));
    let mut answer = [0; 6];
    outside.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
}

#[test]
fn a_receive_fills_the_tasks_tail_first_and_goes_on_in_the_next_buffer() {
    let mut ring = ring_of(4);
    let (socket, mut outside) = connected(&mut ring);
    outside.write_all(b"tailnext header").unwrap();
    let (task, buf) = (Buf::zeroed(4 * KIB), Buf::zeroed(4 * KIB));
    let (result, op) = run(&mut ring, Op::RecvInto { socket, task, at: 4092..4096, buf });
    let Op::RecvInto { task, buf, .. } = op else { panic!("another op") };
    assert_eq!(result, Ok(Done::Bytes(15)));
    assert_eq!((&task[4091..], &buf[..12]), (&b"\0tail"[..], &b"next header\0"[..]));
}

#[test]
fn the_end_of_the_stream_is_zero_bytes() {
    let mut ring = ring_of(4);
    let (socket, outside) = connected(&mut ring);
    drop(outside);
    assert_eq!(run(&mut ring, recv(socket)).0, Ok(Done::Bytes(0)));
}

#[test]
fn sending_after_the_end_is_an_error_and_no_signal() {
    let mut ring = ring_of(4);
    let (socket, _outside) = connected(&mut ring);
    rustix::net::shutdown(ring.descriptors.get(socket).unwrap(), Shutdown::Both).unwrap();
    let (result, op) = run(&mut ring, Op::Send { socket, gather: gather(b"late") });
    assert_eq!(result, Err(Errno::PIPE));
    assert!(matches!(op, Op::Send { gather, .. } if gather.remaining() == 4));
}

/// Sends all of `gather`, with nobody reading before the first send is back. Gives the number of
/// sends it took.
fn check_arrives_whole(mut gather: Box<Gather>) -> usize {
    let mut ring = ring_of(4);
    let (socket, outside) = connected(&mut ring);
    let expected: Vec<u8> = gather.slices().flatten().copied().collect();
    let total = expected.len();
    let mut sends = 0;
    let mut reader = None;
    while !gather.is_empty() {
        let (result, op) = run(&mut ring, Op::Send { socket, gather });
        let (Ok(Done::Bytes(sent)), Op::Send { gather: back, .. }) = (result, op) else {
            panic!("send failed: {result:?}");
        };
        gather = back;
        gather.advance(sent as usize);
        sends += 1;
        reader.get_or_insert_with(|| {
            let mut outside = outside.try_clone().expect("a descriptor");
            thread::spawn(move || {
                let mut received = vec![0; total];
                outside.read_exact(&mut received).map(|()| received)
            })
        });
    }
    let received = reader.expect("something was sent").join().expect("no panic");
    assert!(received.expect("all of it arrives") == expected, "bytes differ");
    sends
}

#[test]
fn more_pieces_than_a_message_holds_leave_in_several() {
    let mut gather = Box::new(Gather::new());
    for index in 0..1500u32 {
        gather.head(&[index.to_be_bytes(); 12].concat());
        let mut buf = Buf::zeroed(4 * KIB);
        buf.fill(index.to_be_bytes()[3]);
        let body = gather.attach(u64::from(index), buf);
        gather.body(body, 0..4 * KIB);
    }
    let sends = check_arrives_whole(gather);
    assert!(sends >= 3, "3000 pieces took {sends} sends");
}

#[test]
fn more_bytes_than_the_socket_takes_leave_in_short_sends() {
    let mut gather = Box::new(Gather::new());
    // More than the buffers of both ends grow to.
    for index in 0..32 {
        let mut buf = Buf::zeroed(1024 * KIB);
        buf.fill(index);
        let body = gather.attach(u64::from(index), buf);
        gather.head(b"head");
        gather.body(body, 0..1024 * KIB - 1);
    }
    let sends = check_arrives_whole(gather);
    assert!(sends >= 2, "the first send was not short");
}

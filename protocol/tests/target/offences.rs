//! What a peer must not do, and what it gets for it. Nothing that it sends makes the target panic.

use outband_protocol::ids::{Itt, Lun, Ttt};
use outband_protocol::limits::IMMEDIATE_MAX;
use outband_protocol::pdu::{Bhs, Request, SnackRequest, TaskManagementFunction};
use outband_protocol::serial::Sn;
use outband_protocol::target::{Conn, Event, Outcome};
use proptest::prelude::*;

use crate::world::{Session, World, admitted, check, digests, discovery, op, session};

#[test]
fn what_cannot_be_taken_is_rejected_and_the_session_goes_on() {
    check(
        session(|_| ()),
        |world| {
            let mut unknown = Bhs::default();
            unknown.0[0] = 0x1c;
            world.raw(&unknown.0);
            let (lun, itt, ttt) = (Lun::ZERO, Itt(1), Ttt::NONE);
            let (exp_stat_sn, begin) = (Sn(0), Sn(0));
            let snack = SnackRequest { kind: 1, lun, itt, ttt, exp_stat_sn, begin, run_len: 0 };
            world.send(Request::Snack(snack), &[]);
            let mut login = Bhs::default();
            login.0[0] = 0x43;
            world.raw(&login.0);
            let mut command = world.command(op::NOTHING, true, true, 512);
            world.send(Request::Command(command), &[]);
            (command.read, command.write) = (true, false);
            world.send(Request::Command(command), &[0; 4]);
            (command.write, command.itt) = (false, Itt::NONE);
            world.send(Request::Command(command), &[]);
            let mut bad_attribute = command.build();
            bad_attribute.0[1] |= 7;
            world.raw(&bad_attribute.0);
            // None of them used up its CmdSN (§7.3).
            world.cmd_sn = Sn(1);
            world.plain(op::NOTHING);
        },
        "
        > command 2
        = command 2
        < reject CommandNotSupported
        < reject SnackReject
        < reject ProtocolError
        < reject InvalidPduField
        < reject InvalidPduField
        < reject InvalidPduField
        < reject InvalidPduField
        < response 2 00
        ",
    );
}

#[test]
fn a_tag_in_use_is_refused_until_its_answer_has_left() {
    check(
        session(|_| ()),
        |world| {
            let first = world.command(op::HELD, false, false, 0);
            world.send(Request::Command(first), &[]);
            let mut second = world.command(op::NOTHING, false, false, 0);
            second.itt = first.itt;
            world.send(Request::Command(second), &[]);
            world.settle();
            let task = world.task(first.itt);
            world.complete(task, 0, 0, 0);
            world.settle();
            world.send(Request::Command(second), &[]);
        },
        "
        = command 1
        < reject TaskInProgress
        < response 1 00
        = command 1
        < response 1 00
        ",
    );
}

#[test]
fn immediate_commands_are_bounded() {
    let mut world = World::new(&Session::default(), false, usize::MAX);
    for _ in 0..=IMMEDIATE_MAX {
        let mut command = world.command(op::HELD, false, false, 0);
        world.cmd_sn = Sn(1);
        command.order = world.order(true);
        world.send(Request::Command(command), &[]);
    }
    world.manage(TaskManagementFunction::LogicalUnitReset, Itt::NONE);
    world.settle();
    assert_eq!(world.conn.in_flight(), IMMEDIATE_MAX);
    assert_eq!(world.lines("< reject TooManyImmediateCommands"), 1);
    assert_eq!(world.lines("= manage"), 1, "management has a bound of its own");
    for _ in 0..IMMEDIATE_MAX {
        world.manage(TaskManagementFunction::ClearTaskSet, Itt::NONE);
    }
    world.settle();
    assert_eq!(world.lines("= manage"), IMMEDIATE_MAX);
    assert_eq!(world.lines("< reject TooManyImmediateCommands"), 2);
}

#[test]
fn functions_leave_room_for_an_immediate_command() {
    let mut world = World::new(&Session::default(), false, usize::MAX);
    for _ in 0..IMMEDIATE_MAX {
        world.manage(TaskManagementFunction::LogicalUnitReset, Itt::NONE);
    }
    let mut command = world.command(op::HELD, false, false, 0);
    world.cmd_sn = Sn(1);
    command.order = world.order(true);
    world.send(Request::Command(command), &[]);
    world.settle();
    assert_eq!((world.lines("= manage"), world.conn.in_flight()), (IMMEDIATE_MAX, 1));
}

#[test]
fn who_asks_on_without_reading_is_cut_off() {
    let mut conn = Conn::new(admitted(&Session::default()));
    let mut world = World::new(&Session::default(), false, usize::MAX);
    world.nop(true, Itt(9), Ttt::NONE, b"?");
    let ping = world.take_wire();
    let sent = (1..1000).find(|_| conn.next_event(&mut &ping[..]).is_err());
    assert_eq!(sent, Some(64 + 128 + 1));

    let mut conn = Conn::new(admitted(&discovery()));
    world.text(Itt(5), Ttt::NONE, true, false, "SendTargets=All\0");
    let question = world.take_wire();
    let sent = (1..1000).find(|_| match conn.next_event(&mut &question[..]) {
        Ok(Some(event)) => {
            react(&mut conn, &event, 0);
            false
        }
        other => other.is_err(),
    });
    assert_eq!(sent, Some(64 + 128 + 1));
}

#[test]
fn a_header_that_cannot_be_trusted_ends_the_connection() {
    check(
        digests(),
        |world| {
            world.plain(op::NOTHING);
            world.damage(20);
        },
        "
        > command 1
        = closed: header digest error
        ",
    );
    check(
        session(|params| params.max_recv_ours = 512),
        |world| world.nop(true, Itt(1), Ttt::NONE, &[0; 513]),
        "
        > nop 513 bytes
        = closed: data segment of 513 bytes where at most 512 are taken
        ",
    );
}

/// What a shell might do in answer to anything.
fn react(conn: &mut Conn, event: &Event<'_>, choice: u8) {
    let good = Outcome { data_in: u32::MAX, wanted: 4096, ..Outcome::default() };
    match event {
        Event::Command(command) => match choice % 4 {
            0 => conn.complete(command.task, good),
            1 => conn.accept_data(command.task, command.expected_len.min(1 << 20)),
            2 => conn.accept_data(command.task, 512),
            _ => conn.send_data(command.task, 4096),
        },
        Event::WriteReady(task) if choice < 128 => conn.complete(*task, good),
        Event::WriteReady(task) => conn.accept_data(*task, u32::MAX),
        Event::DataFailed { task, .. } if choice < 128 => conn.complete(*task, good),
        Event::Manage(manage) => {
            for &task in &manage.tasks {
                conn.complete(task, Outcome::default());
            }
            let result = outband_protocol::pdu::TaskManagementResult::Complete;
            conn.answer_management(manage.itt, result);
        }
        Event::SendTargets { itt, .. } => conn.answer_targets(*itt, b"TargetName=x\0".to_vec()),
        Event::Logout { itt } => conn.answer_logout(*itt),
        _ => {}
    }
}

/// A header in which the fields that matter take values that matter.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![0u8, 0x40, 1, 0x41, 2, 0x42, 4, 0x44, 5, 6, 0x10, 3]);
    let small = || prop::sample::select(vec![0u32, 1, 2, 3, 512, 4096, 0x0001_0000, u32::MAX]);
    let fields = [small(), small(), small(), small(), small(), small()];
    (opcode, any::<u8>(), 0u8..3, prop::sample::select(vec![0u16, 1, 4, 512, 4096]), fields)
        .prop_map(|(opcode, flags, ahs, len, fields)| {
            let mut pdu = vec![0; 48 + usize::from(ahs) * 4 + usize::from(len.next_multiple_of(4))];
            (pdu[0], pdu[1], pdu[4]) = (opcode, flags, ahs);
            pdu[6..8].copy_from_slice(&len.to_be_bytes());
            for (at, value) in [16, 20, 24, 32, 36, 40].into_iter().zip(fields) {
                pdu[at..at + 4].copy_from_slice(&value.to_be_bytes());
            }
            pdu
        })
}

proptest! {
    #[test]
    fn no_stream_of_headers_makes_the_target_panic(
        pdus in prop::collection::vec(header(), 0..40),
        choices in prop::collection::vec(any::<u8>(), 1..40),
        cut in 1usize..3000,
        normal: bool,
    ) {
        let session = if normal { Session::default() } else { discovery() };
        let mut conn = Conn::new(admitted(&session));
        let mut choices = choices.iter().cycle();
        let stream = pdus.concat();
        'stream: for mut input in stream.chunks(cut) {
            loop {
                let choice = choices.next().copied().unwrap();
                if choice < 128 && let Some(placement) = conn.placement() {
                    let len = input.len().min(placement.len as usize);
                    let (bytes, rest) = input.split_at(len);
                    if !bytes.is_empty() {
                        conn.placed(bytes);
                    }
                    input = rest;
                }
                match conn.next_event(&mut input) {
                    Ok(Some(event)) => react(&mut conn, &event, choice),
                    Ok(None) if input.is_empty() => break,
                    Ok(None) => unreachable!("input is left but nothing comes of it"),
                    Err(_) => break 'stream,
                }
                prop_assert!(conn.in_flight() <= 144);
            }
            if cut % 2 == 0 {
                while conn.poll_transmit().is_some() {}
            }
        }
        while conn.poll_transmit().is_some() {}
    }

    #[test]
    fn no_bytes_make_the_target_panic(stream in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut conn = Conn::new(admitted(&Session::default()));
        let mut input = &stream[..];
        while let Ok(Some(event)) = conn.next_event(&mut input) {
            react(&mut conn, &event, 1);
        }
    }
}

//! Initiators that stop in the middle: of a data segment, and with more asked for than they send or take.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::time::Duration;

use common::Target;
use common::raw::Raw;
use outband_protocol::ids::{Itt, Ttt};
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{R2t, Request, Response, ScsiCommand, TaskManagementFunction};
use outband_protocol::scsi::Cdb;

const NAME: &str = "iqn.2026-11.local.outband:test:v";
/// What one command moves.
const LEN: usize = 64 << 10;
/// So much of it comes at once: a receive of so many bytes is the mark of a busy connection.
const FIRST: usize = 20 << 10;
/// And the rest after longer than a busy connection keeps its large buffer.
const SILENCE: Duration = Duration::from_millis(2_200);

/// A session to the volume `v` of 8 MiB.
async fn session(target: &mut Target, isid: u8) -> Raw {
    if isid == 0 {
        target.volume("v", 8).await;
        target.grant_sessions("v", "a", 1, 8).await;
    }
    let mut session = Raw::to(target.portal, NAME, "a", isid);
    assert_eq!(session.attentions(), ["02 6/2900"]);
    session
}

/// A command that takes [`LEN`] bytes, and the R2T for them.
fn begin(session: &mut Raw, cdb: &[u8]) -> (Itt, Ttt) {
    let command = session.command(cdb);
    let expected_len = u32::try_from(LEN).unwrap();
    let command = ScsiCommand { write: true, expected_len, ..command };
    session.send(Request::Command(command), &[]);
    (command.itt, session.r2t(command.itt))
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_stalls_in_the_middle_of_a_segment_loses_nothing_of_it() {
    let mut target = Target::start(|config| config.shards = 1);
    let (mut a, mut b) = (session(&mut target, 0).await, session(&mut target, 1).await);
    let data: Vec<u8> = (0..LEN).map(|at| u8::try_from(at / 512 % 251).unwrap()).collect();
    let write = Cdb::write16(0, 128, false).build();
    let (itt, ttt) = begin(&mut a, &write);
    let rest = a.begin_data_out(itt, ttt, &data, FIRST);
    std::thread::sleep(SILENCE);
    a.send_bytes(&rest);
    a.ends(itt, "00");

    // VERIFY(10) that compares all bytes: with what was written, and with something else in the part
    // that comes late.
    let verify = [0x2f, 0x02, 0, 0, 0, 0, 0, 0, 128, 0];
    let mut other = data.clone();
    other[LEN - 1] ^= 1;
    let (same, ttt) = begin(&mut a, &verify);
    let rest = a.begin_data_out(same, ttt, &data, FIRST);
    let (differing, ttt) = begin(&mut b, &verify);
    let other_rest = b.begin_data_out(differing, ttt, &other, FIRST);
    std::thread::sleep(SILENCE);
    a.send_bytes(&rest);
    b.send_bytes(&other_rest);
    a.ends(same, "00");
    b.ends(differing, "02 e/1d00");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_are_aborted_while_they_wait_for_a_buffer_leave_nothing_behind() {
    let mut target = Target::start(|config| {
        config.shards = 1;
        config.buffer_bytes = 4 << 20;
    });
    let mut session = session(&mut target, 0).await;
    let write = Cdb::write16(0, 2048, false);
    // Two have half of what there is, and nobody sends their data.
    for _ in 0..2 {
        let itt = mebibyte(&mut session, &write, true);
        session.r2t(itt);
    }
    for _ in 0..3 {
        let itt = mebibyte(&mut session, &write, true);
        session.is_silent();
        assert_eq!(target.server.measure().await[0].hungry, 1);
        let function = session.manage(TaskManagementFunction::AbortTask, itt);
        session.managed(function);
        assert_eq!(target.server.measure().await[0].hungry, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_large_buffer_comes_before_those_who_want_a_small_one_later() {
    let mut target = Target::start(|config| {
        config.shards = 1;
        config.buffer_bytes = 2 << 20;
    });
    let mut sessions = Vec::new();
    for isid in 0..4 {
        sessions.push(session(&mut target, isid).await);
    }
    let [half, quarter, large, small] = &mut sessions[..] else {
        panic!("four");
    };
    let half_asked = asked(write(half, 2048), half);
    let quarter_asked = asked(write(quarter, 512), quarter);
    let large_itt = write(large, 2048);
    large.is_silent();
    let small_itt = write(small, 128);
    small.is_silent();
    send_all(quarter, quarter_asked);
    let large_asked = asked(large_itt, large);
    small.is_silent();
    send_all(half, half_asked);
    let small_asked = asked(small_itt, small);
    send_all(small, small_asked);
    send_all(large, large_asked);
}

/// WRITE(16) of so many blocks, all of whose data is to be asked for.
fn write(session: &mut Raw, blocks: u32) -> Itt {
    let command = session.command(&Cdb::write16(0, blocks, false).build());
    let command = ScsiCommand { write: true, expected_len: blocks * 512, ..command };
    session.send(Request::Command(command), &[]);
    command.itt
}

/// The first R2T of a command, which is what it gets next.
fn asked(itt: Itt, session: &mut Raw) -> R2t {
    match session.said().response {
        Response::R2t(r2t) if r2t.itt == itt => r2t,
        other => panic!("no R2T: {other:?}"),
    }
}

/// Sends what is asked for, until the command ends.
fn send_all(session: &mut Raw, mut r2t: R2t) {
    loop {
        let data = vec![1; usize::try_from(r2t.len).unwrap()];
        session.burst(r2t.itt, r2t.ttt, r2t.offset, &data);
        match session.said().response {
            Response::R2t(next) => r2t = next,
            Response::Command(response) => return assert_eq!(response.status, 0),
            other => panic!("neither an R2T nor an end: {other:?}"),
        }
    }
}

/// READ(16) or WRITE(16) of one MiB.
fn mebibyte(session: &mut Raw, cdb: &Cdb, write: bool) -> Itt {
    let command = session.command(&cdb.build());
    let command = ScsiCommand { write, read: !write, expected_len: 1 << 20, ..command };
    session.send(Request::Command(command), &[]);
    command.itt
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_all_buffers_and_sends_and_takes_nothing_leaves_some_to_the_others() {
    let mut target = Target::start(|config| {
        config.shards = 1;
        config.buffer_bytes = 4 << 20;
    });
    let mut writer = session(&mut target, 0).await;
    let mut reader = session(&mut target, 1).await;
    let mut other = session(&mut target, 2).await;
    let write = Cdb::write16(0, 2048, false);
    let mut late: Vec<Itt> = (0..6).map(|_| mebibyte(&mut writer, &write, true)).collect();
    // More than the kernel keeps for a socket that nobody reads from.
    for _ in 0..64 {
        mebibyte(&mut reader, &Cdb::read16(0, 2048), false);
    }
    for lba in 0..64 {
        let read = other.read(lba, Simple);
        other.ends(read, "00");
    }
    // Who had asked for too much gets the rest when it has sent what it was asked for.
    while !late.is_empty() {
        match writer.said().response {
            Response::R2t(r2t) => {
                let at = usize::try_from(r2t.offset).unwrap();
                let data = vec![1; usize::try_from(r2t.len).unwrap()];
                assert!(at + data.len() <= 1 << 20);
                writer.burst(r2t.itt, r2t.ttt, r2t.offset, &data);
            }
            Response::Command(response) => {
                assert_eq!(response.status, 0);
                late.retain(|itt| *itt != response.itt);
            }
            other => panic!("neither an R2T nor an end: {other:?}"),
        }
    }
}

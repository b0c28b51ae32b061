//! Reads: how their data is cut, where the status travels, and what is left over.

use outband_protocol::pdu::Request;

use crate::world::{KIB, check, digests, op, session};

#[test]
fn read_data_is_cut_to_what_the_initiator_takes_and_the_last_brings_the_status() {
    check(
        session(|params| {
            params.max_recv_theirs = 24 * KIB;
            params.max_burst_len = 40 * KIB;
        }),
        |world| {
            world.read(op::READ, 100 * KIB);
        },
        "
        > read 1 100K
        = command 1
        < data-in 1 0..24K
        < data-in 1 24K..40K F
        < data-in 1 40K..64K
        < data-in 1 64K..80K F
        < data-in 1 80K..100K F GOOD
        ",
    );
}

#[test]
fn a_long_read_goes_out_burst_by_burst() {
    check(
        session(|params| {
            params.max_recv_theirs = 512 * KIB;
            params.max_burst_len = 1024 * KIB;
        }),
        |world| {
            world.read(op::READ_IN_BURSTS, 2304 * KIB);
        },
        "
        > read 1 2304K
        = command 1
        < data-in 1 0..512K
        < data-in 1 512K..1024K F
        < data-in 1 1024K..1536K
        < data-in 1 1536K..2048K F
        < data-in 1 2048K..2304K F GOOD
        ",
    );
}

#[test]
fn the_residual_says_what_was_expected_and_did_not_come() {
    let read = |expected: u32, wanted: u32, line: &str| {
        check(
            digests(),
            |world| {
                let mut command = world.command(op::READ, true, false, expected);
                command.cdb[2..6].copy_from_slice(&wanted.to_be_bytes());
                world.send(Request::Command(command), &[]);
            },
            &format!("= command 1\n{line}"),
        );
    };
    read(255, 36, "< data-in 1 0..36 F GOOD under 219");
    read(512, 4096, "< data-in 1 0..512 F GOOD over 3584");
    read(512, 0, "< response 1 00 under 512");
    read(0, 512, "< response 1 00 over 512");
}

#[test]
fn a_status_that_is_not_good_travels_by_itself_after_the_data() {
    check(
        session(|_| ()),
        |world| {
            let failed = world.read(op::HELD, 8 * KIB);
            let busy = world.read(op::HELD, 8 * KIB);
            let sent = world.read(op::HELD, 8 * KIB);
            world.settle();
            let (failed, busy, sent) = (world.task(failed), world.task(busy), world.task(sent));
            world.complete(failed, 2, 4 * KIB, 4 * KIB);
            world.complete(busy, 8, 0, 0);
            world.conn.send_data(sent, 8 * KIB);
            world.complete(sent, 0, 8 * KIB, 8 * KIB);
        },
        "
        > read 1 8K
        > read 2 8K
        > read 3 8K
        = command 1
        = command 2
        = command 3
        < data-in 1 0..4K F
        < response 1 02 under 4K with sense
        < response 2 08 under 8K
        < data-in 3 0..8K F
        < response 3 00
        ",
    );
}

#[test]
fn a_task_is_answered_once_and_a_late_word_on_it_changes_nothing() {
    check(
        session(|_| ()),
        |world| {
            let itt = world.read(op::HELD, 512);
            world.settle();
            let task = world.task(itt);
            world.complete(task, 0, 512, 512);
            world.complete(task, 8, 0, 0);
            world.conn.abort(task);
            world.settle();
            world.plain(op::HELD);
            world.settle();
            world.complete(task, 0, 0, 0);
            world.conn.send_data(task, 512);
            world.conn.accept_data(task, 512);
        },
        "
        > read 1 512
        = command 1
        < data-in 1 0..512 F GOOD
        > command 2
        = command 2
        ",
    );
}

//! Clauses with edges, as tables: the window, residuals, unsolicited data, flags, damaged data.

use outband_protocol::ids::{Itt, Lun, Ttt};
use outband_protocol::pdu::{
    Request, ScsiCommand, TaskManagementFunction as Function, TaskManagementRequest,
};
use outband_protocol::serial::Sn;

use crate::world::{KIB, Session, World, check, digests, op, pattern, session};

/// §4.2.2.1: what is outside of the window is dropped, wherever in the number space that lies.
#[test]
fn the_edges_of_the_window_are_where_serial_arithmetic_has_them() {
    for first in [1, 0x7fff_fff8, 0x7fff_ffff, 0x8000_0000, u32::MAX - 7, u32::MAX - 3, u32::MAX, 0]
    {
        let start = Session { exp_cmd_sn: Sn(first), ..Session::default() };
        check(
            start,
            |world| {
                let before = world.max_cmd_sn;
                assert_eq!(before, Sn(first).plus(7));
                // One too early, one too late, half the numbers away on either side.
                for off in [u32::MAX, 8, 0x7fff_ffff, 0x8000_0000, 0x8000_0007] {
                    world.cmd_sn = Sn(first.wrapping_add(off));
                    world.plain(op::NOTHING);
                }
                // The last one that may come waits for the first; a second one of its number does
                // not count.
                for off in [7, 7, 0] {
                    world.cmd_sn = Sn(first.wrapping_add(off));
                    world.plain(op::NOTHING);
                }
                world.settle();
                for off in 1..7 {
                    world.cmd_sn = Sn(first.wrapping_add(off));
                    world.plain(op::NOTHING);
                }
                world.settle();
                assert_eq!(world.max_cmd_sn, Sn(first.wrapping_add(8 + 7)), "all of it moved on");
            },
            "
            > command 1
            > command 2
            > command 3
            > command 4
            > command 5
            > command 6
            > command 7
            > command 8
            = command 8
            < response 8 00
            > command 9
            > command 10
            > command 11
            > command 12
            > command 13
            > command 14
            = command 9
            = command 10
            = command 11
            = command 12
            = command 13
            = command 14
            = command 6
            < response 9 00
            < response 10 00
            < response 11 00
            < response 12 00
            < response 13 00
            < response 14 00
            < response 6 00
            ",
        );
    }
}

/// A command that wants `wanted` bytes moved where `expected` were announced.
fn mismatched(world: &mut World, opcode: u8, expected: u32, wanted: u32) -> ScsiCommand {
    let write = opcode == op::WRITE;
    let mut command = world.command(opcode, !write, write, expected);
    command.cdb[2..6].copy_from_slice(&wanted.to_be_bytes());
    command
}

/// §11.4.5: the residual is the difference, both ways, and never both.
#[test]
fn residuals_are_told_both_ways() {
    let reads = [
        (4096, 4096, "< data-in 1 0..4K F GOOD"),
        (4097, 4096, "< data-in 1 0..4K F GOOD under 1"),
        (8192, 4096, "< data-in 1 0..4K F GOOD under 4K"),
        (4095, 4096, "< data-in 1 0..4095 F GOOD over 1"),
        (512, 4096, "< data-in 1 0..512 F GOOD over 3584"),
        (4096, 0, "< response 1 00 under 4K"),
    ];
    for (expected, wanted, line) in reads {
        let talk = |world: &mut World| {
            let command = mismatched(world, op::READ, expected, wanted);
            world.send(Request::Command(command), &[]);
        };
        check(digests(), talk, &format!("= command 1\n{line}"));
    }
    for (expected, wanted, residual) in [
        (4096, 4096, ""),
        (8192, 4096, " under 4K"),
        (512, 4096, " over 3584"),
        (512, 513, " over 1"),
    ] {
        let talk = |world: &mut World| {
            let command = mismatched(world, op::WRITE, expected, wanted);
            let data = pattern(command.itt, 0, expected);
            world.send(Request::Command(command), &data);
        };
        let all =
            if expected < 1024 { expected.to_string() } else { format!("{}K", expected / 1024) };
        let expected = format!(
            "= command 1, unsolicited {all}\n= data 1 0..{all}\n= ready 1\n< response 1 00{residual}"
        );
        check(digests(), talk, &expected);
    }
    // Good status is never folded into the data when there is sense, or another status.
    check(
        session(|_| ()),
        |world| {
            let itt = world.read(op::HELD, 4096);
            world.settle();
            let task = world.task(itt);
            world.complete(task, 2, 512, 8192);
        },
        "
        > read 1 4K
        = command 1
        < data-in 1 0..512 F
        < response 1 02 over 4K with sense
        ",
    );
}

/// §13.10, §13.11, §11.3.1: which data may come unasked, in every combination.
#[test]
fn unsolicited_data_is_taken_as_it_was_agreed_and_not_otherwise() {
    let flags = [false, true];
    for (initial_r2t, immediate_data) in flags.map(|a| flags.map(|b| (a, b))).concat() {
        for (immediate, follows) in [(0, false), (512, false), (0, true), (512, true)] {
            let agreed = (immediate == 0 || immediate_data) && !(follows && initial_r2t);
            let session = || {
                session(|params| {
                    params.initial_r2t = initial_r2t;
                    params.immediate_data = immediate_data;
                    params.first_burst_len = 2 * KIB;
                })
            };
            let mut world = World::new(&session(), false, usize::MAX);
            let unsolicited = if follows { 2 * KIB } else { immediate };
            world.write(op::WRITE, 4 * KIB, immediate, unsolicited);
            world.settle();
            let what = format!("{initial_r2t} {immediate_data} {immediate} {follows}");
            assert_eq!(world.lines("= failed 1 Unexpected"), usize::from(!agreed), "{what}");
            assert_eq!(world.lines("< response 1 00"), usize::from(agreed), "{what}");
            assert_eq!(world.lines("< response 1 02"), usize::from(!agreed), "{what}");
            world.plain(op::NOTHING);
            world.settle();
            assert_eq!(world.lines("< response 2 00"), 1, "{what}: the session goes on");
        }
    }
}

/// §13.14: FirstBurstLength bounds what comes unasked, immediate data included; so does the
/// expected length.
#[test]
fn more_unsolicited_data_than_the_first_burst_fails_its_task() {
    for (len, immediate, more) in
        [(8 * KIB, 3 * KIB, 0), (8 * KIB, KIB, 2 * KIB), (1024, 512, 1024)]
    {
        check(
            session(|params| params.first_burst_len = 2 * KIB),
            |world| {
                let mut command = world.command(op::WRITE, false, true, len);
                command.last = more == 0;
                let itt = command.itt;
                world.send(Request::Command(command), &pattern(itt, 0, immediate));
                if more > 0 {
                    world.one_data_out(itt, Ttt::NONE, Sn(0), immediate, more, true);
                }
                world.plain(op::NOTHING);
            },
            &match (immediate, more) {
                (3072, _) => "> command 2\n= command 1\n= failed 1 Amount\n= command 2\n\
                              < response 1 02 under 8K with sense\n< response 2 00"
                    .to_owned(),
                (1024, _) => "> command 2\n= command 1, unsolicited 2K\n= data 1 0..1K\n\
                              = failed 1 Amount\n= command 2\n\
                              < response 1 02 under 8K with sense\n< response 2 00"
                    .to_owned(),
                _ => "> command 2\n= command 1, unsolicited 1K\n= data 1 0..512\n\
                      = failed 1 Amount\n= command 2\n\
                      < response 1 02 under 1K with sense\n< response 2 00"
                    .to_owned(),
            },
        );
    }
}

/// §11.3.1: flags and lengths that contradict each other.
#[test]
fn a_command_whose_flags_make_no_sense_is_rejected() {
    for (read, write, last, expected_len, rejected) in [
        (false, false, false, 0, true),
        (true, false, false, 512, true),
        (false, false, true, 512, true),
        (true, true, true, 512, true),
        (true, true, true, 0, false),
        (false, false, true, 0, false),
        (true, false, true, 0, false),
        (false, true, true, 0, false),
    ] {
        let mut world = World::new(&Session::default(), false, usize::MAX);
        let command = world.command(op::NOTHING, read, write, expected_len);
        let command = ScsiCommand { last, ..command };
        world.send(Request::Command(command), &[]);
        world.settle();
        let what = format!("{read} {write} {last} {expected_len}");
        assert_eq!(world.lines("< reject InvalidPduField"), usize::from(rejected), "{what}");
        assert_eq!(world.lines("< response 1 00"), usize::from(!rejected), "{what}");
    }
}

/// §11.17.1: after a damaged PDU the task is answered when the last of its data has come.
#[test]
fn the_answer_to_damaged_data_waits_for_what_is_still_on_its_way() {
    check(
        digests(),
        |world| {
            let mut command = world.command(op::WRITE, false, true, 8 * KIB);
            command.last = false;
            let itt = command.itt;
            world.send(Request::Command(command), &pattern(itt, 0, KIB));
            world.damage(6);
            world.one_data_out(itt, Ttt::NONE, Sn(0), KIB, KIB, false);
            world.settle();
            world.plain(op::NOTHING);
            world.settle();
            world.one_data_out(itt, Ttt::NONE, Sn(1), 2 * KIB, KIB, true);
        },
        "
        = command 1, unsolicited 8K
        = data 1 0..1K
        < reject DataDigestError
        > command 2
        = command 2
        < response 2 00
        = failed 1 Digest
        < response 1 02 under 8K with sense
        ",
    );
}

fn two_r2ts() -> Session {
    let mut session = digests();
    session.params.max_burst_len = 4 * KIB;
    session.params.max_outstanding_r2t = 2;
    session
}

#[test]
fn it_waits_for_every_r2t_that_is_out() {
    check(
        two_r2ts(),
        |world| {
            world.keeps_r2ts = true;
            let itt = world.write(op::WRITE, 16 * KIB, 0, 0);
            world.turn();
            let asked: Vec<_> = std::mem::take(&mut world.r2ts).into();
            world.one_data_out(itt, asked[0].ttt, Sn(0), 0, 4 * KIB, true);
            world.damage(6);
            world.turn();
            world.one_data_out(itt, asked[1].ttt, Sn(0), 4 * KIB, 2 * KIB, false);
            world.turn();
            world.one_data_out(itt, asked[1].ttt, Sn(1), 6 * KIB, 2 * KIB, true);
        },
        "
        > write 1 16K, immediate 0
        = command 1
        < r2t 1 0..4K
        < r2t 1 4K..8K
        = data 1 0..4K
        < reject DataDigestError
        = failed 1 Digest
        < response 1 02 under 16K with sense
        ",
    );
}

#[test]
fn an_abort_does_not_wait_for_it() {
    check(
        two_r2ts(),
        |world| {
            world.keeps_r2ts = true;
            let itt = world.write(op::WRITE, 8 * KIB, 0, 0);
            world.turn();
            let asked: Vec<_> = std::mem::take(&mut world.r2ts).into();
            world.one_data_out(itt, asked[0].ttt, Sn(0), 0, 4 * KIB, true);
            world.damage(6);
            world.turn();
            let abort = world.manage(Function::AbortTask, itt);
            world.turn();
            let task = world.task(itt);
            world.complete(task, 0, 0, 0);
            world
                .conn
                .answer_management(abort, outband_protocol::pdu::TaskManagementResult::Complete);
            world.one_data_out(itt, asked[1].ttt, Sn(0), 4 * KIB, 4 * KIB, true);
        },
        "
        > write 1 8K, immediate 0
        = command 1
        < r2t 1 0..4K
        < r2t 1 4K..8K
        = data 1 0..4K
        < reject DataDigestError
        > manage 2 AbortTask 1
        = manage AbortTask [1]
        < managed 2 Complete
        ",
    );
}

/// §11.5.1, §11.6.1: what each function does to the tasks of its own session.
#[test]
fn each_function_ends_the_tasks_that_it_names() {
    for (function, hit) in [
        (Function::AbortTask, "[1]"),
        (Function::AbortTaskSet, "[1, 2]"),
        (Function::ClearTaskSet, "[1, 2]"),
        (Function::LogicalUnitReset, "[1, 2]"),
        (Function::TargetWarmReset, "[1, 2, 3]"),
        (Function::TargetColdReset, "[1, 2, 3]"),
    ] {
        check(
            session(|_| ()),
            |world| {
                let first = world.command(op::HELD, false, false, 0);
                world.send(Request::Command(first), &[]);
                let second = world.command(op::HELD, false, false, 0);
                world.send(Request::Command(second), &[]);
                let mut elsewhere = world.command(op::HELD, false, false, 0);
                elsewhere.lun = Lun(1 << 48);
                world.send(Request::Command(elsewhere), &[]);
                world.settle();
                world.manage(function, first.itt);
            },
            &format!(
                "= command 1\n= command 2\n= command 3\n\
                 > manage 4 {function:?} 1\n= manage {function:?} {hit}"
            ),
        );
    }
}

/// §11.6.1: a task is aborted by its tag and its logical unit, or by the number of a command that
/// never came; neither is another task's.
#[test]
fn an_abort_names_its_task_in_full() {
    for (lun, referenced, ref_cmd_sn, answer) in [
        (Lun(1 << 48), Itt(1), Sn(1), "TaskDoesNotExist"),
        (Lun::ZERO, Itt(99), Sn(1), "TaskDoesNotExist"),
        (Lun::ZERO, Itt(99), Sn(2), "TaskDoesNotExist"),
        (Lun::ZERO, Itt(99), Sn(9), "TaskDoesNotExist"),
    ] {
        check(
            session(|_| ()),
            |world| {
                let held = world.command(op::HELD, false, false, 0);
                world.send(Request::Command(held), &[]);
                world.settle();
                let (order, itt) = (world.order(true), world.itt());
                let (function, exp_data_sn) = (Function::AbortTask, Sn(0));
                world.send(
                    Request::TaskManagement(TaskManagementRequest {
                        order,
                        function,
                        lun,
                        itt,
                        referenced,
                        ref_cmd_sn,
                        exp_data_sn,
                    }),
                    &[],
                );
            },
            &format!("= command 1\n< managed 2 {answer}"),
        );
    }
}

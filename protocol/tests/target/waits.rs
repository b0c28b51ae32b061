//! What waits for the initiator: task management for data that R2Ts have asked for (§4.2.3.3 a), and
//! for the acknowledgement of earlier answers (§11.6.1); answers for data on its way (§11.4.2).

use outband_protocol::ids::{Itt, Ttt};
use outband_protocol::pdu::{
    Request, TaskManagementFunction as Function, TaskManagementResult as Result,
};
use outband_protocol::serial::Sn;

use crate::world::{KIB, Session, World, check, digests, op, session};

const OF_TASK_SETS: [Function; 5] = [
    Function::AbortTaskSet,
    Function::ClearTaskSet,
    Function::LogicalUnitReset,
    Function::TargetWarmReset,
    Function::TargetColdReset,
];

fn two_r2ts() -> Session {
    session(|params| {
        params.max_burst_len = 8 * KIB;
        params.max_outstanding_r2t = 2;
    })
}

/// A write with two R2Ts out, and a function on its task set; the names of the R2Ts.
fn write_and_function(world: &mut World, function: Function) -> [Ttt; 2] {
    world.keeps_r2ts = true;
    let itt = world.write(op::WRITE, 32 * KIB, 0, 0);
    world.turn();
    let asked: Vec<_> = world.r2ts.drain(..).map(|r2t| r2t.ttt).collect();
    world.manage(function, Itt::NONE);
    world.turn();
    assert!(world.conn.waits_for_peer(), "{function:?} for {itt:?}");
    asked.try_into().unwrap()
}

#[test]
fn a_function_on_a_task_set_waits_for_the_data_that_was_asked_for_and_asks_for_no_more() {
    for function in OF_TASK_SETS {
        check(
            two_r2ts(),
            |world| {
                let [first, second] = write_and_function(world, function);
                world.data_out(Itt(1), first, 0, 8 * KIB);
                world.turn();
                world.one_data_out(Itt(1), second, Sn(0), 8 * KIB, 4 * KIB, false);
                world.say("nothing yet");
                world.turn();
                world.one_data_out(Itt(1), second, Sn(1), 12 * KIB, 4 * KIB, true);
                world.turn();
                let task = world.task(Itt(1));
                world.complete(task, 0, 0, 0);
                world.conn.answer_management(Itt(2), Result::Complete);
                world.turn();
                assert!(!world.conn.waits_for_peer());
            },
            &format!(
                "
                > write 1 32K, immediate 0
                = command 1
                < r2t 1 0..8K
                < r2t 1 8K..16K
                > manage 2 {function:?} 4294967295
                > data-out 1 0..8K
                nothing yet
                = manage {function:?} [1]
                < managed 2 Complete
                "
            ),
        );
    }
}

#[test]
fn the_wait_ends_when_the_shell_gives_up_and_data_that_comes_then_is_dropped() {
    // §10.7: an initiator may well send nothing more.
    check(
        two_r2ts(),
        |world| {
            let [first, _] = write_and_function(world, Function::LogicalUnitReset);
            world.conn.wait_no_longer();
            world.turn();
            assert!(!world.conn.waits_for_peer());
            let task = world.task(Itt(1));
            world.complete(task, 0, 0, 0);
            world.conn.answer_management(Itt(2), Result::Complete);
            world.data_out(Itt(1), first, 0, 8 * KIB);
            world.plain(op::NOTHING);
        },
        "
        > write 1 32K, immediate 0
        = command 1
        < r2t 1 0..8K
        < r2t 1 8K..16K
        > manage 2 LogicalUnitReset 4294967295
        = manage LogicalUnitReset [1]
        > data-out 1 0..8K
        > command 3
        = command 3
        < managed 2 Complete
        < response 3 00
        ",
    );
}

#[test]
fn other_tasks_go_on_while_a_function_waits_and_one_that_came_later_is_not_hit() {
    check(
        two_r2ts(),
        |world| {
            let held = world.plain(op::HELD);
            let [first, second] = write_and_function(world, Function::ClearTaskSet);
            world.plain(op::NOTHING);
            world.plain(op::HELD);
            world.turn();
            // What ends by itself in the meantime has its answer.
            let task = world.task(held);
            world.complete(task, 0, 0, 0);
            world.turn();
            world.data_out(Itt(2), first, 0, 8 * KIB);
            world.data_out(Itt(2), second, 8 * KIB, 16 * KIB);
        },
        "
        > command 1
        > write 2 32K, immediate 0
        = command 1
        = command 2
        < r2t 2 0..8K
        < r2t 2 8K..16K
        > manage 3 ClearTaskSet 4294967295
        > command 4
        > command 5
        = command 4
        = command 5
        < response 4 00
        < response 1 00
        > data-out 2 0..8K
        > data-out 2 8K..16K
        = manage ClearTaskSet [2]
        ",
    );
}

#[test]
fn an_abort_of_one_task_ends_the_wait_for_its_data() {
    check(
        two_r2ts(),
        |world| {
            write_and_function(world, Function::AbortTaskSet);
            world.manage(Function::AbortTask, Itt(1));
        },
        "
        > write 1 32K, immediate 0
        = command 1
        < r2t 1 0..8K
        < r2t 1 8K..16K
        > manage 2 AbortTaskSet 4294967295
        > manage 3 AbortTask 1
        = manage AbortTaskSet [1]
        = manage AbortTask [1]
        ",
    );
}

#[test]
fn damaged_data_is_waited_for_like_any_other() {
    let mut session = two_r2ts();
    session.params.digests = digests().params.digests;
    check(
        session,
        |world| {
            let [first, second] = write_and_function(world, Function::LogicalUnitReset);
            world.data_out(Itt(1), first, 0, 8 * KIB);
            world.data_out(Itt(1), second, 8 * KIB, 16 * KIB);
            world.damage(6);
        },
        "
        > write 1 32K, immediate 0
        = command 1
        < r2t 1 0..8K
        < r2t 1 8K..16K
        > manage 2 LogicalUnitReset 4294967295
        > data-out 1 0..8K
        > data-out 1 8K..16K
        = manage LogicalUnitReset [1]
        < reject DataDigestError
        ",
    );
}

#[test]
fn a_logout_ends_the_wait() {
    check(
        two_r2ts(),
        |world| {
            write_and_function(world, Function::AbortTaskSet);
            world.logout(outband_protocol::pdu::LogoutReason::CloseSession, 0);
            world.turn();
            assert!(!world.conn.waits_for_peer());
            let task = world.task(Itt(1));
            world.complete(task, 0, 0, 0);
            world.conn.answer_logout(Itt(3));
        },
        "
        > write 1 32K, immediate 0
        = command 1
        < r2t 1 0..8K
        < r2t 1 8K..16K
        > manage 2 AbortTaskSet 4294967295
        > logout CloseSession
        = logout
        = ended
        < logout Closed
        ",
    );
}

/// A response that was not acknowledged when `function` came, and then the answer to that.
fn answered_late(world: &mut World, function: Function) {
    world.plain(op::NOTHING);
    world.manage(function, Itt::NONE);
    world.turn();
    world.conn.answer_management(Itt(2), Result::Complete);
    world.turn();
}

#[test]
fn the_answer_for_a_task_set_waits_until_all_earlier_ones_are_acknowledged() {
    for function in [Function::AbortTaskSet, Function::ClearTaskSet] {
        check(
            session(|_| ()),
            |world| {
                answered_late(world, function);
                assert!(world.conn.waits_for_peer());
                let ttt = world.last_ttt;
                world.nop(true, Itt::NONE, ttt, b"");
                world.settle();
                assert!(!world.conn.waits_for_peer());
            },
            &format!(
                "
                > command 1
                > manage 2 {function:?} 4294967295
                = command 1
                = manage {function:?} []
                < response 1 00
                < ping
                > nop 0 bytes
                = pong
                < managed 2 Complete
                "
            ),
        );
    }
}

#[test]
fn any_header_acknowledges_and_what_follows_the_answer_stays_behind_it() {
    check(
        session(|_| ()),
        |world| {
            answered_late(world, Function::ClearTaskSet);
            world.plain(op::NOTHING);
        },
        "
        > command 1
        > manage 2 ClearTaskSet 4294967295
        = command 1
        = manage ClearTaskSet []
        < response 1 00
        < ping
        > command 3
        = command 3
        < managed 2 Complete
        < response 3 00
        ",
    );
}

#[test]
fn an_initiator_that_acknowledges_nothing_is_answered_when_the_shell_gives_up() {
    check(
        session(|_| ()),
        |world| {
            answered_late(world, Function::AbortTaskSet);
            world.turn();
            assert!(world.conn.waits_for_peer());
            world.conn.wait_no_longer();
        },
        "
        > command 1
        > manage 2 AbortTaskSet 4294967295
        = command 1
        = manage AbortTaskSet []
        < response 1 00
        < ping
        < managed 2 Complete
        ",
    );
}

#[test]
fn an_answer_that_acknowledges_less_than_came_before_the_ping_brings_no_other_ping() {
    check(
        session(|_| ()),
        |world| {
            answered_late(world, Function::AbortTaskSet);
            let (ttt, heard) = (world.last_ttt, world.exp_stat_sn);
            world.exp_stat_sn = Sn(heard.0.wrapping_sub(1));
            world.nop(true, Itt::NONE, ttt, b"");
            world.settle();
            assert!(world.conn.waits_for_peer());
            world.exp_stat_sn = heard;
            world.conn.wait_no_longer();
        },
        "
        > command 1
        > manage 2 AbortTaskSet 4294967295
        = command 1
        = manage AbortTaskSet []
        < response 1 00
        < ping
        > nop 0 bytes
        = pong
        < managed 2 Complete
        ",
    );
}

#[test]
fn a_reset_is_answered_without_acknowledgements() {
    check(
        session(|_| ()),
        |world| answered_late(world, Function::LogicalUnitReset),
        "
        > command 1
        > manage 2 LogicalUnitReset 4294967295
        = command 1
        = manage LogicalUnitReset []
        < response 1 00
        < managed 2 Complete
        ",
    );
}

#[test]
fn the_answer_to_a_write_waits_for_the_last_of_the_data_that_is_on_its_way() {
    // §11.4.2: unsolicited data first, and then an R2T that is out when the command ends.
    check(
        session(|_| ()),
        |world| {
            let mut command = world.command(op::REFUSED, false, true, 8 * KIB);
            command.last = false;
            world.send(Request::Command(command), &[1; 512]);
            world.one_data_out(command.itt, Ttt::NONE, Sn(0), 512, 512, false);
            world.plain(op::NOTHING);
            world.settle();
            world.one_data_out(command.itt, Ttt::NONE, Sn(1), 1024, 512, true);
            world.settle();
            world.keeps_r2ts = true;
            let asked = world.write(op::WRITE, 8 * KIB, 0, 0);
            world.turn();
            let (task, ttt) = (world.task(asked), world.last_ttt);
            world.complete(task, 0x18, 0, 0);
            world.turn();
            world.one_data_out(asked, ttt, Sn(0), 0, 4 * KIB, false);
            world.plain(op::NOTHING);
            world.turn();
            world.one_data_out(asked, ttt, Sn(1), 4 * KIB, 4 * KIB, true);
        },
        "
        > command 2
        = command 1, unsolicited 8K
        = command 2
        < response 2 00
        < response 1 02 under 8K with sense
        > write 3 8K, immediate 0
        = command 3
        < r2t 3 0..8K
        > command 4
        = command 4
        < response 4 00
        < response 3 18 under 8K
        ",
    );
}

#[test]
fn a_write_that_waits_for_its_answer_is_aborted_without_the_shell() {
    for function in [Function::AbortTask, Function::LogicalUnitReset] {
        let mut world = World::new(&session(|_| ()), false, usize::MAX);
        let mut command = world.command(op::REFUSED, false, true, 8 * KIB);
        command.last = false;
        world.send(Request::Command(command), &[]);
        let itt = world.manage(function, command.itt);
        world.settle();
        world.conn.answer_management(itt, Result::Complete);
        world.one_data_out(command.itt, Ttt::NONE, Sn(0), 0, 512, true);
        world.settle();
        assert_eq!(world.lines("< response"), 0, "{function:?}");
        assert_eq!(world.lines("< managed 2 Complete"), 1, "{function:?}");
        assert_eq!(world.conn.in_flight(), 0);
    }
}

#[test]
fn data_that_must_not_come_does_not_keep_a_refused_write_from_its_answer() {
    check(
        session(|params| params.immediate_data = false),
        |world| {
            let command = world.command(op::REFUSED, false, true, 8 * KIB);
            world.send(Request::Command(command), &[1; 512]);
        },
        "
        = command 1
        < response 1 02 under 8K with sense
        ",
    );
}

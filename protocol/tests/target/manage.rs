//! Task management, logout, and what happens to the tasks that they hit.

use outband_protocol::ids::{Itt, Lun, Ttt};
use outband_protocol::pdu::{
    LogoutReason, Request, TaskManagementFunction as Function, TaskManagementRequest,
    TaskManagementResult as Result,
};
use outband_protocol::serial::Sn;

use crate::world::{KIB, check, op, session};

#[test]
fn an_aborted_write_is_asked_for_nothing_more_and_its_late_data_is_dropped() {
    check(
        session(|params| params.max_burst_len = 8 * KIB),
        |world| {
            world.keeps_r2ts = true;
            let itt = world.write(op::WRITE, 32 * KIB, 0, 0);
            world.turn();
            let ttt = world.last_ttt;
            world.one_data_out(itt, ttt, Sn(0), 0, 4 * KIB, false);
            let abort = world.manage(Function::AbortTask, itt);
            world.one_data_out(itt, ttt, Sn(1), 4 * KIB, 4 * KIB, true);
            world.turn();
            let task = world.task(itt);
            assert_eq!(world.conn.in_flight(), 1);
            world.complete(task, 0, 0, 0);
            assert_eq!(world.conn.in_flight(), 0);
            world.conn.answer_management(abort, Result::Complete);
            world.conn.answer_management(abort, Result::Rejected);
        },
        "
        > write 1 32K, immediate 0
        = command 1
        < r2t 1 0..8K
        > manage 2 AbortTask 1
        = data 1 0..4K
        = manage AbortTask [1]
        < managed 2 Complete
        ",
    );
}

#[test]
fn an_aborted_read_sends_nothing_that_has_not_left_yet() {
    check(
        session(|_| ()),
        |world| {
            let itt = world.read(op::HELD, 64 * KIB);
            world.settle();
            let task = world.task(itt);
            world.conn.send_data(task, 32 * KIB);
            world.conn.abort(task);
            world.settle();
            world.complete(task, 0, 64 * KIB, 64 * KIB);
            world.plain(op::NOTHING);
        },
        "
        > read 1 64K
        = command 1
        > command 2
        = command 2
        < response 2 00
        ",
    );
}

#[test]
fn a_reset_takes_commands_that_wait_for_an_earlier_one() {
    check(
        session(|_| ()),
        |world| {
            world.cmd_sn = Sn(2);
            world.plain(op::NOTHING);
            world.settle();
            let reset = world.manage(Function::LogicalUnitReset, Itt::NONE);
            world.settle();
            world.conn.answer_management(reset, Result::Complete);
            world.settle();
            for cmd_sn in [1, 3] {
                world.cmd_sn = Sn(cmd_sn);
                world.plain(op::NOTHING);
            }
        },
        "
        > command 1
        > manage 2 LogicalUnitReset 4294967295
        = manage LogicalUnitReset []
        < managed 2 Complete
        > command 3
        > command 4
        = command 3
        = command 4
        < response 3 00
        < response 4 00
        ",
    );
}

#[test]
fn a_function_cannot_be_aborted() {
    check(
        session(|_| ()),
        |world| {
            let reset = world.manage(Function::LogicalUnitReset, Itt::NONE);
            world.settle();
            world.manage(Function::AbortTask, reset);
            world.settle();
            world.conn.answer_management(reset, Result::Complete);
        },
        "
        > manage 1 LogicalUnitReset 4294967295
        = manage LogicalUnitReset []
        > manage 2 AbortTask 1
        < managed 2 Rejected
        < managed 1 Complete
        ",
    );
}

#[test]
fn abort_of_an_unknown_task_is_answered_without_the_shell() {
    check(
        session(|_| ()),
        |world| {
            world.plain(op::NOTHING);
            world.settle();
            world.manage(Function::AbortTask, Itt(1));
            world.manage(Function::ClearAca, Itt::NONE);
            world.manage(Function::TaskReassign, Itt(1));
            world.manage(Function::Other(9), Itt(1));
        },
        "
        > command 1
        = command 1
        < response 1 00
        > manage 2 AbortTask 1
        > manage 3 ClearAca 4294967295
        > manage 4 TaskReassign 1
        > manage 5 Other(9) 1
        < managed 2 TaskDoesNotExist
        < managed 3 Unsupported
        < managed 4 ReassignmentUnsupported
        < managed 5 Unsupported
        ",
    );
}

#[test]
fn a_reset_takes_the_tasks_of_its_logical_unit_but_not_those_that_are_answered() {
    check(
        session(|_| ()),
        |world| {
            let other = {
                let mut command = world.command(op::HELD, false, false, 0);
                command.lun = Lun(1 << 48);
                world.send(Request::Command(command), &[]);
                command.itt
            };
            let held = world.plain(op::HELD);
            world.plain(op::NOTHING);
            let reset = world.manage(Function::LogicalUnitReset, Itt::NONE);
            world.settle();
            let (other, held) = (world.task(other), world.task(held));
            world.complete(held, 0, 0, 0);
            world.complete(other, 0, 0, 0);
            world.conn.answer_management(reset, Result::Complete);
        },
        "
        > command 2
        > command 3
        > manage 4 LogicalUnitReset 4294967295
        = command 1
        = command 2
        = command 3
        = manage LogicalUnitReset [2]
        < response 3 00
        < response 1 00
        < managed 4 Complete
        ",
    );
}

#[test]
fn a_lost_command_that_is_aborted_counts_as_received() {
    check(
        session(|_| ()),
        |world| {
            // CmdSN 1 is lost; CmdSN 2 waits for it.
            world.cmd_sn = Sn(2);
            world.plain(op::NOTHING);
            let (order, itt) = (world.order(true), world.itt());
            let request = TaskManagementRequest {
                order,
                function: Function::AbortTask,
                lun: Lun::ZERO,
                itt,
                referenced: Itt(77),
                ref_cmd_sn: Sn(1),
                exp_data_sn: Sn(0),
            };
            world.send(Request::TaskManagement(request), &[]);
        },
        "
        > command 1
        = command 1
        < managed 2 Complete
        < response 1 00
        ",
    );
}

#[test]
fn a_reset_also_takes_the_commands_that_wait_for_a_lost_one() {
    check(
        session(|_| ()),
        |world| {
            world.cmd_sn = Sn(2);
            world.plain(op::NOTHING);
            let reset = world.manage(Function::LogicalUnitReset, Itt::NONE);
            world.settle();
            world.conn.answer_management(reset, Result::Complete);
            world.cmd_sn = Sn(1);
            world.plain(op::NOTHING);
            world.cmd_sn = Sn(3);
            world.plain(op::NOTHING);
        },
        "
        > command 1
        > manage 2 LogicalUnitReset 4294967295
        = manage LogicalUnitReset []
        > command 3
        > command 4
        = command 3
        = command 4
        < managed 2 Complete
        < response 3 00
        < response 4 00
        ",
    );
}

#[test]
fn a_logout_aborts_what_is_under_way_and_is_the_last_that_is_heard() {
    check(
        session(|_| ()),
        |world| {
            let held = world.read(op::HELD, 512);
            world.plain(op::NOTHING);
            world.logout(LogoutReason::CloseSession, 0);
            world.plain(op::NOTHING);
            world.settle();
            let task = world.task(held);
            world.complete(task, 0, 512, 512);
            world.conn.answer_logout(Itt(3));
            world.settle();
            world.data_out(held, Ttt::NONE, 0, 512);
        },
        "
        > read 1 512
        > command 2
        > logout CloseSession
        > command 4
        = command 1
        = command 2
        = logout
        < response 2 00
        = ended
        < logout Closed
        > data-out 1 0..512
        ",
    );
}

#[test]
fn a_logout_of_what_is_not_there_changes_nothing() {
    check(
        session(|_| ()),
        |world| {
            world.logout(LogoutReason::CloseConnection, 7);
            world.logout(LogoutReason::RemoveForRecovery, 0);
            world.plain(op::NOTHING);
        },
        "
        > logout CloseConnection
        > logout RemoveForRecovery
        > command 3
        = command 3
        < logout CidNotFound
        < logout RecoveryUnsupported
        < response 3 00
        ",
    );
}

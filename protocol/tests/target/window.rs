//! The command window: order, edges, wrap, credit.

use outband_protocol::ids::Itt;
use outband_protocol::pdu::Request;
use outband_protocol::serial::Sn;

use crate::world::{KIB, Session, World, check, op, session};

#[test]
fn commands_outside_the_window_are_dropped_without_an_answer() {
    check(
        session(|_| ()),
        |world| {
            for cmd_sn in [0, 9, 1] {
                world.cmd_sn = Sn(cmd_sn);
                world.plain(op::NOTHING);
            }
        },
        "
        > command 1
        > command 2
        > command 3
        = command 3
        < response 3 00
        ",
    );
}

#[test]
fn an_early_command_waits_for_the_missing_one_even_across_the_wrap() {
    check(
        Session { exp_cmd_sn: Sn(u32::MAX), ..Session::default() },
        |world| {
            for cmd_sn in [1, 0, u32::MAX, 2] {
                world.cmd_sn = Sn(cmd_sn);
                world.plain(op::NOTHING);
            }
            world.settle();
            assert_eq!(world.max_cmd_sn, Sn(10));
        },
        "
        > command 1
        > command 2
        > command 3
        > command 4
        = command 3
        = command 2
        = command 1
        = command 4
        < response 3 00
        < response 2 00
        < response 1 00
        < response 4 00
        ",
    );
}

#[test]
fn an_early_command_waits_until_the_missing_one_has_its_data() {
    check(
        session(|_| ()),
        |world| {
            world.cmd_sn = Sn(2);
            world.nop(false, Itt(70), outband_protocol::ids::Ttt::NONE, b"");
            world.cmd_sn = Sn(1);
            world.write(op::WRITE, 4 * KIB, 4 * KIB, 4 * KIB);
            world.cmd_sn = Sn(3);
            world.plain(op::NOTHING);
        },
        "
        > nop 0 bytes
        > write 1 4K, immediate 4K
        > command 2
        = command 1, unsolicited 4K
        = data 1 0..4K
        = ready 1
        = command 2
        < response 1 00
        < nop-in 0 bytes
        < response 2 00
        ",
    );
}

#[test]
fn an_early_command_with_data_ends_the_connection() {
    check(
        session(|_| ()),
        |world| {
            world.cmd_sn = Sn(2);
            world.write(op::WRITE, 512, 512, 512);
        },
        "
        > write 1 512, immediate 512
        = closed: a command with data has CmdSN 2 where 1 is due
        ",
    );
}

#[test]
fn an_immediate_command_overtakes_and_uses_no_number() {
    check(
        session(|_| ()),
        |world| {
            let mut command = world.command(op::NOTHING, false, false, 0);
            world.cmd_sn = Sn(1);
            command.order = world.order(true);
            world.send(Request::Command(command), &[]);
            world.plain(op::NOTHING);
        },
        "
        > command 2
        = command 1
        = command 2
        < response 1 00
        < response 2 00
        ",
    );
}

fn fill(world: &mut World, count: u32) {
    for _ in 0..count {
        let command = world.command(op::HELD, false, false, 0);
        world.send(Request::Command(command), &[]);
    }
    world.settle();
}

fn answer_all(world: &mut World) {
    for task in world.conn.tasks().collect::<Vec<_>>() {
        world.complete(task, 0, 0, 0);
    }
    world.settle();
}

#[test]
fn the_window_closes_as_tasks_pile_up_and_follows_the_credit() {
    let mut world = World::new(&Session::default(), false, usize::MAX);
    fill(&mut world, 8);
    assert_eq!(world.conn.in_flight(), 8);
    // The window is full: one more is dropped.
    fill(&mut world, 1);
    assert_eq!(world.conn.in_flight(), 8);
    world.cmd_sn = Sn(9);
    answer_all(&mut world);
    assert_eq!(world.max_cmd_sn, Sn(16), "eight more");

    world.conn.set_credit(1000);
    fill(&mut world, 1);
    answer_all(&mut world);
    assert_eq!(world.max_cmd_sn, Sn(9 + 128), "no wider than TASKS_MAX");
    fill(&mut world, 128);
    assert_eq!(world.conn.in_flight(), 128);

    // Less credit takes nothing back; the window opens again only when tasks end.
    world.conn.set_credit(0);
    let tasks: Vec<_> = world.conn.tasks().collect();
    for &task in &tasks[..127] {
        world.complete(task, 0, 0, 0);
        world.settle();
        assert_eq!(world.max_cmd_sn, Sn(9 + 128));
    }
    world.complete(tasks[127], 0, 0, 0);
    world.settle();
    assert_eq!(world.max_cmd_sn, Sn(10 + 128), "one at a time");
}

#[test]
fn slots_are_used_again() {
    let mut world = World::new(&Session::default(), false, usize::MAX);
    for _ in 0..400 {
        fill(&mut world, 5);
        let tasks: Vec<_> = world.conn.tasks().collect();
        assert!(tasks.iter().all(|task| task.slot < 5), "{tasks:?}");
        answer_all(&mut world);
    }
    assert_eq!(world.conn.in_flight(), 0);
}

//! Requests and connections that take too long.

use std::time::Duration;

use super::World;
use super::world::{Mood, WELCOME};
use crate::ids::{Itt, Lun, Ttt};
use crate::initiator::session::{Request, SubmitError, Timing};
use crate::initiator::tasks::Tag;
use crate::initiator::{Data, Replay};
use crate::pdu::{NopIn, Response, TaskManagementResponse, TaskManagementResult};

/// Keeps the connection alive, so that only the request is late.
fn hold_the_line(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        let sequence = world.sequence(false);
        let nop = NopIn { lun: Lun::ZERO, itt: Itt::NONE, ttt: Ttt::NONE, sequence };
        world.say(Response::NopIn(nop), &[]);
        world.pass(Duration::from_secs(1));
    }
}

#[test]
fn a_late_request_is_aborted_and_over_when_the_target_has_let_go_of_it() {
    let mut world = World::new(WELCOME);
    let task = world.write(8, 1);
    hold_the_line(&mut world, 30);
    world.expect("connect a:3260\n up\n > write task 0.0\n > abort task 0.0");
    let sequence = world.sequence(true);
    let result = TaskManagementResult::Complete;
    let pdu = TaskManagementResponse { result, itt: Tag::Abort(task).itt(), sequence };
    world.say(Response::TaskManagement(pdu), &[]);
    world.expect("task 0.0 TimedOut");
}

#[test]
fn an_answer_that_crosses_the_abort_counts() {
    let mut world = World::new(WELCOME);
    let task = world.write(8, 1);
    hold_the_line(&mut world, 30);
    world.good(task);
    let sequence = world.sequence(true);
    let result = TaskManagementResult::TaskDoesNotExist;
    let pdu = TaskManagementResponse { result, itt: Tag::Abort(task).itt(), sequence };
    world.say(Response::TaskManagement(pdu), &[]);
    world.expect("connect a:3260\n up\n > write task 0.0\n > abort task 0.0\n task 0.0 good");
}

#[test]
fn a_read_whose_answer_crosses_the_abort_is_late_because_its_data_was_dropped() {
    let mut world = World::new(WELCOME);
    let task = world.read(1);
    hold_the_line(&mut world, 30);
    world.data_in(task, 0, 512);
    world.good(task);
    world.expect("connect a:3260\n up\n > read task 0.0\n > abort task 0.0\n task 0.0 TimedOut");
}

#[test]
fn a_target_that_does_not_abort_is_cut_off_before_the_request_is_over() {
    for refuse in [false, true] {
        let mut world = World::new(WELCOME);
        let task = world.write(8, 1);
        let other = world.read(1);
        hold_the_line(&mut world, 28);
        let young = world.read(2);
        hold_the_line(&mut world, 2);
        world.expect(
            "
            connect a:3260
            up
            > write task 0.0
            > read task 1.0
            > read task 2.0
            > abort task 0.0
            > abort task 1.0
            ",
        );
        if refuse {
            let sequence = world.sequence(true);
            let result = TaskManagementResult::Unsupported;
            let pdu = TaskManagementResponse { result, itt: Tag::Abort(task).itt(), sequence };
            world.say(Response::TaskManagement(pdu), &[]);
        } else {
            hold_the_line(&mut world, 2);
        }
        world.pass(Duration::ZERO);
        // When it is time that tells, the next attempt begins in the same moment.
        let (at_once, next) = if refuse { ("", "connect a:3260") } else { ("connect a:3260", "") };
        world.expect(&format!(
            "
            reset
            {at_once}
            {task:?} TimedOut
            {other:?} TimedOut
            down: the target does not abort a task
            {next}
            up
            > read {young:?}
            "
        ));
    }
}

#[test]
fn a_request_is_over_at_its_deadline_while_nobody_answers() {
    let mut world = World::new(WELCOME);
    world.write(8, 1);
    world.mood = Mood::Unreachable;
    world.cut();
    world.expect(
        "
        connect a:3260
        up
        > write task 0.0
        down: the connection was closed or could not be made
        ",
    );
    world.pass(Duration::from_secs(29));
    let queued = world.read(1);
    world.pass(Duration::from_secs(2));
    assert!(world.session.requests.find(queued).is_some());
    world.pass(Duration::from_secs(30));
    assert!(world.session.requests.is_empty());
}

#[test]
fn a_silent_target_is_pinged_and_then_left() {
    let mut world = World::new(WELCOME);
    world.pass(Duration::from_millis(4_900));
    world.expect("connect a:3260\n up");
    world.pass(Duration::from_millis(200));
    world.expect("> ping");
    let itt = Tag::Ping(1).itt();
    let pong = NopIn { lun: Lun::ZERO, itt, ttt: Ttt::NONE, sequence: world.sequence(true) };
    world.say(Response::NopIn(pong), &[]);
    world.pass(Duration::from_millis(9_900));
    world.expect("> ping");
    world.pass(Duration::from_millis(200));
    world.expect("reset\n down: the target is silent\n connect a:3260\n up");
}

#[test]
fn no_more_requests_are_taken_than_were_configured() {
    let mut world = World::with(Mood::Mute, Timing::default(), 3);
    let request = Request {
        lun: Lun::ZERO,
        cdb: [0; 16],
        data: Data::None,
        replay: Replay::Always,
        deadline: world.now + Duration::from_secs(1),
    };
    for _ in 0..3 {
        assert!(world.session.submit(request).is_ok());
    }
    assert_eq!(world.session.submit(request), Err(SubmitError::Full));
    world.pass(Duration::from_secs(1));
    assert!(world.session.submit(request).is_ok());
}

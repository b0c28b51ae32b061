//! How a session comes to stand, and how it does not.

use std::time::Duration;

use super::World;
use super::world::{Mood, WELCOME};
use crate::ids::Lun;
use crate::initiator::session::{Request, SubmitError};
use crate::initiator::{Data, Replay};
use crate::pdu::LoginStatus;
use crate::scsi::Status;

fn any_request(world: &World) -> Request {
    Request {
        lun: Lun::ZERO,
        cdb: [0; 16],
        data: Data::None,
        replay: Replay::Always,
        deadline: world.now,
    }
}

#[test]
fn it_connects_logs_in_reads_and_closes() {
    let mut world = World::new(WELCOME);
    let task = world.read(5);
    world.data_in(task, 0, 512);
    world.good(task);
    world.session.close(world.now);
    world.drain();
    world.expect(
        "
        connect a:3260
        up
        > read task 0.0
        data task 0.0 0..512
        task 0.0 good
        > logout
        ",
    );
    world.cut();
    world.expect("closed");
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn a_close_does_not_outwait_a_request_that_a_busy_target_never_took() {
    let mut world = World::new(WELCOME);
    let task = world.read(1);
    world.session.close(world.now);
    world.answer(task, Status::Busy, None);
    let deadline = world.now + Duration::from_secs(40);
    let is_waiting = |world: &mut World| {
        let phase = world.session.requests.find(task).map(|slot| slot.phase);
        if phase == Some(super::super::Phase::Sent) {
            world.answer(task, Status::Busy, None);
        }
        phase.is_some() && world.now < deadline
    };
    while is_waiting(&mut world) {
        world.pass(Duration::from_millis(50));
    }
    let trace = world.take_trace();
    let end = &trace[trace.len() - 2..];
    assert_eq!(end, ["task 0.0 TimedOut", "> logout"], "{trace:?}");
}

#[test]
fn what_was_asked_before_the_close_is_done_before_it() {
    let mut world = World::new(WELCOME);
    world.window = 1;
    let first = world.read(1);
    let second = world.read(2);
    world.session.close(world.now);
    world.drain();
    let late = any_request(&world);
    assert_eq!(world.session.submit(late), Err(SubmitError::Over));
    world.good(first);
    world.good(second);
    world.expect(
        "
        connect a:3260
        up
        > read task 0.0
        > read task 1.0
        task 0.0 good
        task 1.0 good
        > logout
        ",
    );
    // A target that does not answer the logout is left without it.
    world.pass(Duration::from_secs(3));
    world.expect("reset\n closed");
}

#[test]
fn the_first_connection_is_tried_once_at_each_portal() {
    let mut world = World::new(Mood::Unreachable);
    world.pass(Duration::from_secs(60));
    world.expect(
        "
        connect a:3260
        down: the connection was closed or could not be made
        connect b:3260
        failed: the connection was closed or could not be made
        ",
    );
}

#[test]
fn a_refusal_for_good_is_told_at_once() {
    for status in [
        LoginStatus::AUTHENTICATION_FAILURE,
        LoginStatus::AUTHORIZATION_FAILURE,
        LoginStatus::NOT_FOUND,
        LoginStatus::TARGET_REMOVED,
    ] {
        let mut world = World::new(Mood::Refuse(status));
        world.expect(&format!("connect a:3260\n reset\n failed: login refused: {status}"));
    }
}

#[test]
fn a_target_without_time_is_asked_again_for_a_while() {
    let mut world = World::new(Mood::Refuse(LoginStatus::SERVICE_UNAVAILABLE));
    world.pass(Duration::from_secs(4));
    world.mood = WELCOME;
    world.pass(Duration::from_secs(2));
    assert!(world.session.is_up());

    let mut world = World::new(Mood::Refuse(LoginStatus::SERVICE_UNAVAILABLE));
    world.read(1);
    world.pass(Duration::from_secs(15));
    assert!(!world.session.is_up());
    assert_eq!(world.session.poll_timeout(), None, "it was given up");
    assert_eq!(world.session.submit(any_request(&world)), Err(SubmitError::Over));
}

#[test]
fn a_redirection_is_followed() {
    let mut world = World::new(Mood::Redirect("c:1", false));
    // The target that redirects for ever is left after some hops, and each portal is tried.
    world.pass(Duration::from_secs(60));
    let hop = "close\n connect c:1\n down: redirected to c:1\n";
    let hops = hop.repeat(4);
    world.expect(&format!(
        "
        connect a:3260
        {hops}
        reset
        down: too many redirections
        connect a:3260
        {hops}
        reset
        failed: too many redirections
        "
    ));
}

#[test]
fn a_silent_login_is_given_up_within_its_time() {
    let mut world = World::new(Mood::Mute);
    world.pass(Duration::from_secs(40));
    assert_eq!(world.session.poll_timeout(), None);
    world.expect(
        "
        connect a:3260
        reset
        down: no login within the time for it
        failed: given up: no login within the time for it
        ",
    );
}

#[test]
fn a_login_without_a_session_handle_is_not_believed() {
    let mut world = World::new(Mood::Admit { tsih: 0, group: 1 });
    world.expect(
        "
        connect a:3260
        reset
        down: login: the target's login response has a wrong TSIH
        ",
    );
}

#[test]
fn a_target_that_never_comes_back_is_given_up_after_the_replacement_time() {
    let mut world = World::new(WELCOME);
    let read = world.read(1);
    let unsafe_one = world.compare_and_write();
    world.mood = Mood::Unreachable;
    let lost_at = world.elapsed();
    world.expect(&format!(
        "connect a:3260\n up\n > read {read:?}\n > compare-and-write {unsafe_one:?}"
    ));
    world.cut();
    let mut attempts = 0;
    while world.session.poll_timeout().is_some() {
        world.pass(Duration::from_secs(1));
        attempts += 1;
        assert!(attempts < 200, "it never ends");
    }
    assert!(world.session.requests.is_empty());
    let tried = world.elapsed() - lost_at;
    assert!(tried >= Duration::from_secs(120) && tried < Duration::from_secs(122), "{tried:?}");
}

#[test]
fn after_it_stood_a_fence_is_final_and_a_missing_target_is_waited_for() {
    let mut world = World::new(WELCOME);
    world.mood = Mood::Refuse(LoginStatus::NOT_FOUND);
    world.cut();
    world.pass(Duration::from_secs(10));
    assert!(world.session.poll_timeout().is_some());
    world.mood = Mood::Refuse(LoginStatus::AUTHORIZATION_FAILURE);
    world.pass(Duration::from_secs(10));
    assert!(world.session.poll_timeout().is_none());
}

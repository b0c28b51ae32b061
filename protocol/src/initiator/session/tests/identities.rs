//! A login is only as good as the logical unit behind it: it must be the one it was.

use std::time::Duration;

use super::World;
use crate::ids::TaskId;
use crate::scsi::Status;
use crate::scsi::inquiry::{Designator, Name};
use crate::scsi::sense::{INVALID_FIELD_IN_CDB, POWER_ON};

fn disk(number: u8) -> Vec<Designator> {
    vec![
        Designator::unit(Name::T10("OUTBAND".into(), "the same".into())),
        Designator::unit(Name::Naa(vec![number; 16])),
    ]
}

/// The connection is lost and made anew.
fn again(world: &mut World) {
    world.cut();
    world.pass(Duration::from_secs(1));
}

/// The question's own task, the `asked`th of its connection.
fn question(asked: u16) -> TaskId {
    TaskId { slot: 8, generation: asked }
}

#[test]
fn who_it_is_is_asked_before_anything_else_is_sent() {
    let mut world = World::identifying();
    let read = world.read(1);
    world.expect(
        "
        connect a:3260
        > inquiry task 8.0
        ",
    );
    world.identify(0, &disk(1));
    world.good(read);
    world.expect(
        "
        up
        > read task 0.0
        task 0.0 good
        ",
    );
}

#[test]
fn the_same_disk_gets_what_was_lost_again() {
    let mut world = World::identifying();
    world.identify(0, &disk(1));
    let write = world.write(1, 1);
    world.take_trace();
    again(&mut world);
    world.expect(
        "
        down: the connection was closed or could not be made
        connect a:3260
        > inquiry task 8.0
        ",
    );
    // More names than before are no other disk.
    let mut more = disk(1);
    more.push(Designator::unit(Name::Uuid([1; 16])));
    world.identify(0, &more);
    world.good(write);
    world.expect(
        "
        up
        > write task 0.0
        task 0.0 good
        ",
    );
}

#[test]
fn another_disk_gets_nothing_of_what_was_meant_for_the_first() {
    let others =
        [disk(2), vec![], disk(1)[1..].to_vec(), vec![Designator::port(Name::Naa(vec![1; 16]))]];
    for other in others {
        let mut world = World::identifying();
        world.identify(0, &disk(1));
        world.write(1, 1);
        again(&mut world);
        world.read(2);
        world.take_trace();
        world.identify(0, &other);
        world.expect(
            "
            reset
            task 0.0 Unknown
            task 1.0 NotSent
            failed: another volume is in the place of the one that was used
            ",
        );
        assert_eq!(world.session.poll_timeout(), None);
    }
}

#[test]
fn a_disk_without_a_name_is_taken_until_it_has_one() {
    let mut world = World::identifying();
    world.answer(question(0), Status::CheckCondition, Some(INVALID_FIELD_IN_CDB));
    again(&mut world);
    world.identify(0, &disk(1));
    assert!(world.session.is_up());
    again(&mut world);
    world.identify(0, &disk(2));
    assert!(!world.session.is_up());
}

#[test]
fn unit_attentions_and_busy_targets_are_asked_again() {
    let mut world = World::identifying();
    world.answer(question(0), Status::CheckCondition, Some(POWER_ON));
    world.answer(question(1), Status::CheckCondition, Some(POWER_ON));
    world.answer(question(2), Status::Busy, None);
    world.pass(Duration::from_secs(1));
    world.identify(0, &disk(1));
    world.expect(
        "
        connect a:3260
        > inquiry task 8.0
        > inquiry task 8.1
        > inquiry task 8.2
        reset
        down: the logical unit is too busy to be identified
        connect b:3260
        > inquiry task 8.0
        up
        ",
    );
}

#[test]
fn a_target_that_does_not_say_is_not_waited_for() {
    let mut world = World::identifying();
    world.identify(0, &disk(1));
    let write = world.write(1, 1);
    again(&mut world);
    world.take_trace();
    world.pass(Duration::from_secs(16));
    world.expect(
        "
        reset
        down: no login within the time for it
        connect b:3260
        > inquiry task 8.0
        ",
    );
    world.identify(0, &disk(1));
    world.good(write);
    world.expect(
        "
        up
        > write task 0.0
        task 0.0 good
        ",
    );
    // Closing does not wait either.
    again(&mut world);
    world.session.close(world.now);
    world.drain();
    assert!(world.take_trace().ends_with(&["reset".to_owned(), "closed".to_owned()]));
}

//! What becomes of requests when their connection is lost.

use std::time::Duration;

use super::World;
use super::world::{Mood, WELCOME};
use crate::initiator::Data;
use crate::pdu::{AsyncEvent, AsyncMessage, Response};
use crate::scsi::Cdb;
use crate::scsi::Status;
use crate::scsi::cdb::{ByteCheck, Transfer, Verify, WriteSame};
use crate::scsi::sense::{
    CAPACITY_CHANGED, MISCOMPARE_DURING_VERIFY, POWER_ON, Sense, SenseKey, WRITE_PROTECTED,
};

const LOST: &str = "down: the connection was closed or could not be made";

#[test]
fn reads_writes_and_flushes_are_repeated_in_order_once_the_new_login_is_done() {
    let mut world = World::new(WELCOME);
    let write = world.write(8, 1);
    let read = world.read(5);
    let flush = world.request(Cdb::flush().build(), Data::None);
    world.data_in(read, 0, 100);
    world.mood = Mood::Mute;
    world.cut();
    world.expect(&format!(
        "
        connect a:3260
        up
        > write task 0.0
        > read task 1.0
        > command task 2.0
        data task 1.0 0..100
        {LOST}
        "
    ));
    // Nothing is done while the old nexus may live.
    world.pass(Duration::from_secs(1));
    world.expect("connect a:3260");
    world.mood = WELCOME;
    world.cut();
    world.pass(Duration::from_secs(1));
    world.data_in(read, 0, 512);
    for task in [read, write, flush] {
        world.good(task);
    }
    world.expect(&format!(
        "
        {LOST}
        connect b:3260
        up
        > write task 0.0
        > read task 1.0
        > command task 2.0
        data task 1.0 0..512
        task 1.0 good
        task 0.0 good
        task 2.0 good
        "
    ));
}

#[test]
fn what_must_not_be_done_twice_ends_unknown_but_waits_if_it_was_not_sent() {
    let mut world = World::new(WELCOME);
    for _ in 0..7 {
        world.read(1);
    }
    let sent = world.compare_and_write();
    world.expect(
        "
        connect a:3260
        up
        > read task 0.0
        > read task 1.0
        > read task 2.0
        > read task 3.0
        > read task 4.0
        > read task 5.0
        > read task 6.0
        > compare-and-write task 7.0
        ",
    );
    world.cut();
    world.expect(&format!("{sent:?} Unknown\n {LOST}"));

    let mut world = World::new(Mood::Mute);
    world.compare_and_write();
    world.mood = WELCOME;
    world.cut();
    world.pass(Duration::from_secs(1));
    world.expect(&format!(
        "
        connect a:3260
        {LOST}
        connect b:3260
        up
        > compare-and-write task 0.0
        "
    ));
}

#[test]
fn a_write_that_an_acknowledged_one_may_have_overtaken_is_not_repeated() {
    let mut world = World::new(WELCOME);
    let early = world.write(8, 4);
    let apart = world.write(100, 4);
    let late = world.write(11, 4);
    world.good(late);
    world.cut();
    world.expect(&format!(
        "
        connect a:3260
        up
        > write {early:?}
        > write {apart:?}
        > write {late:?}
        {late:?} good
        {early:?} Unknown
        {LOST}
        "
    ));
    world.pass(Duration::from_secs(1));
    world.expect(&format!("connect a:3260\n up\n > write {apart:?}"));
}

#[test]
fn a_write_is_not_repeated_over_any_other_change_of_its_blocks_that_was_acknowledged() {
    let at = |cdb: Cdb| cdb.build();
    let same = WriteSame { lba: 9, blocks: 1, ..WriteSame::default() };
    let verify = Verify { lba: 9, blocks: 1, protect: 0, dpo: false, check: ByteCheck::Medium };
    // Each of these changes block 9, or may.
    let over = [
        (at(Cdb::compare_and_write(9, 1, false)), Data::Out(1024)),
        (at(Cdb::OrWrite16(Transfer { lba: 9, blocks: 1, ..Transfer::default() })), Data::Out(512)),
        (at(Cdb::WriteSame16(same)), Data::Out(512)),
        (at(Cdb::WriteSame16(WriteSame { no_data: true, ..same })), Data::None),
        (at(Cdb::WriteAndVerify10(verify)), Data::Out(512)),
        (at(Cdb::Unmap { anchor: false, len: 24 }), Data::Out(24)),
        (at(Cdb::ExtendedCopy { len: 16 }), Data::Out(16)),
    ];
    for (cdb, data) in over {
        let mut world = World::new(WELCOME);
        let early = world.write(8, 4);
        let late = world.request(cdb, data);
        world.good(late);
        world.take_trace();
        world.cut();
        world.expect(&format!("{early:?} Unknown\n {LOST}"));
    }
}

#[test]
fn a_write_is_repeated_over_what_changed_other_blocks_or_none_or_was_refused() {
    let verify = Verify { lba: 9, blocks: 1, protect: 0, dpo: false, check: ByteCheck::Compare };
    let beside = [
        (Cdb::compare_and_write(12, 1, false).build(), Data::Out(1024), true),
        (Cdb::Verify10(verify).build(), Data::Out(512), true),
        // It found something else and wrote nothing.
        (Cdb::compare_and_write(9, 1, false).build(), Data::Out(1024), false),
    ];
    for (cdb, data, good) in beside {
        let mut world = World::new(WELCOME);
        let early = world.write(8, 4);
        let late = world.request(cdb, data);
        match good {
            true => world.good(late),
            false => world.answer(late, Status::CheckCondition, Some(MISCOMPARE_DURING_VERIFY)),
        }
        world.take_trace();
        world.cut();
        world.pass(Duration::from_secs(1));
        world.expect(&format!("{LOST}\n connect a:3260\n up\n > write {early:?}"));
    }
}

#[test]
fn at_another_portal_group_a_write_may_still_be_on_its_way_and_is_not_repeated() {
    let mut world = World::new(WELCOME);
    let write = world.write(8, 1);
    let read = world.read(8);
    world.mood = Mood::Admit { tsih: 3, group: 2 };
    world.cut();
    world.pass(Duration::from_secs(1));
    world.expect(&format!(
        "
        connect a:3260
        up
        > write {write:?}
        > read {read:?}
        {LOST}
        connect a:3260
        up
        {write:?} Unknown
        > read {read:?}
        "
    ));
}

#[test]
fn a_redirection_says_that_the_old_place_is_seen_to() {
    for permanent in [false, true] {
        let mut world = World::new(WELCOME);
        let write = world.write(8, 1);
        world.mood = Mood::Redirect("c:1", permanent);
        world.mood_there = Some(Mood::Admit { tsih: 3, group: 2 });
        world.cut();
        world.pass(Duration::ZERO);
        world.good(write);
        world.expect(&format!(
            "
            connect a:3260
            up
            > write {write:?}
            {LOST}
            connect a:3260
            close
            connect c:1
            down: redirected to c:1
            up
            > write {write:?}
            {write:?} good
            "
        ));
        world.cut();
        world.pass(Duration::ZERO);
        let next = if permanent { "c:1" } else { "a:3260" };
        world.expect(&format!("{LOST}\n connect {next}\n up"));
    }
}

#[test]
fn an_offence_costs_the_connection_and_nothing_else() {
    let mut world = World::new(WELCOME);
    let write = world.write(8, 1);
    world.r2t(write, 0, 512);
    world.pass(Duration::from_secs(1));
    world.good(write);
    world.expect(
        "
        connect a:3260
        up
        > write task 0.0
        reset
        down: the target breaks the protocol: R2T for task 0.0 at 0 where 512 was due
        connect a:3260
        up
        > write task 0.0
        task 0.0 good
        ",
    );
}

#[test]
fn a_target_that_offends_at_every_login_is_met_less_and_less_often() {
    let mut world = World::new(WELCOME);
    let read = world.read(8);
    let mut logins = 0;
    let start = world.elapsed();
    while world.elapsed() - start < Duration::from_secs(30) {
        if world.session.is_up() {
            logins += 1;
            world.r2t(read, 0, 512);
        }
        world.pass(Duration::from_millis(10));
    }
    assert!((10..60).contains(&logins), "{logins} logins in 30 s");
}

#[test]
fn a_unit_attention_is_told_and_the_command_sent_again() {
    let mut world = World::new(WELCOME);
    let task = world.write(8, 1);
    world.answer(task, Status::CheckCondition, Some(POWER_ON));
    world.answer(task, Status::CheckCondition, Some(CAPACITY_CHANGED));
    world.good(task);
    world.expect(
        "
        connect a:3260
        up
        > write task 0.0
        attention 2900
        > write task 0.0
        attention 2a09
        > write task 0.0
        task 0.0 good
        ",
    );
    // But not for ever, and not when it is about reservations, and no other condition.
    let task = world.read(1);
    for _ in 0..9 {
        world.answer(task, Status::CheckCondition, Some(POWER_ON));
    }
    let preempted = Sense::new(SenseKey::UnitAttention, 0x2a, 0x03);
    for sense in [preempted, WRITE_PROTECTED] {
        let task = world.read(1);
        world.answer(task, Status::CheckCondition, Some(sense));
    }
    let again = "attention 2900\n > read task 0.1\n".repeat(8);
    world.expect(&format!(
        "
        > read task 0.1
        {again}
        task 0.1 CheckCondition
        > read task 0.2
        task 0.2 CheckCondition
        > read task 0.3
        task 0.3 CheckCondition
        "
    ));
}

#[test]
fn a_unit_attention_of_a_lost_session_does_not_count_in_the_next() {
    let mut world = World::new(WELCOME);
    let task = world.read(1);
    // With these the window is full, so that the first is not sent again before the session is lost.
    for lba in 2..9 {
        world.read(lba);
    }
    for _ in 0..10 {
        world.window = 0;
        world.answer(task, Status::CheckCondition, Some(POWER_ON));
        world.cut();
        world.pass(Duration::from_millis(2500));
    }
    world.good(task);
    let ends = world.take_trace();
    let ends: Vec<_> = ends.iter().filter(|line| line.starts_with("task 0.0")).collect();
    assert_eq!(ends, ["task 0.0 good"]);
}

#[test]
fn a_busy_target_is_left_alone_for_a_while_until_the_deadline() {
    let mut world = World::new(WELCOME);
    let task = world.write(8, 1);
    world.expect("connect a:3260\n up\n > write task 0.0");
    for status in [Status::Busy, Status::TaskSetFull, Status::Busy] {
        world.answer(task, status, None);
        world.expect("");
        world.pass(Duration::from_secs(1));
        world.expect("> write task 0.0");
    }
    world.answer(task, Status::ReservationConflict, None);
    world.expect("task 0.0 ReservationConflict");

    let task = world.read(1);
    let start = world.elapsed();
    let mut tries = 0;
    while world.session.poll_timeout().is_some()
        && world.elapsed() - start < Duration::from_secs(40)
    {
        if world
            .session
            .requests
            .find(task)
            .is_some_and(|slot| slot.phase == super::super::Phase::Sent)
        {
            tries += 1;
            world.answer(task, Status::Busy, None);
        }
        world.pass(Duration::from_millis(50));
    }
    assert!((20..200).contains(&tries), "{tries}");
    assert!(world.session.requests.find(task).is_none());
}

#[test]
fn a_target_that_asks_for_a_logout_gets_one_when_its_work_is_done() {
    let mut world = World::new(WELCOME);
    let first = world.read(1);
    let notice = AsyncMessage {
        lun: crate::ids::Lun::ZERO,
        sequence: world.sequence(true),
        event: AsyncEvent::LogoutRequested,
        vendor_code: 0,
        parameters: [0, 0, 3],
    };
    world.say(Response::Async(notice), &[]);
    let second = world.read(2);
    world.expect("connect a:3260\n up\n > read task 0.0");
    world.good(first);
    world.expect("task 0.0 good\n > logout");
    world.cut();
    world.pass(Duration::from_secs(1));
    world.expect(&format!("{LOST}\n connect a:3260\n up\n > read {second:?}"));
}

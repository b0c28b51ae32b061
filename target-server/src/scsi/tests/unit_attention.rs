//! What a nexus is told before its next command runs.

use super::*;

#[test]
fn a_new_session_is_told_once_and_its_command_does_not_run() {
    check(
        disk(),
        |talk| {
            talk.join(B);
            talk.send(B, Cdb::write16(0, 1, false));
            talk.send(B, Cdb::write16(0, 1, false));
            talk.send(A, Cdb::TestUnitReady);
        },
        "
        UnitAttention 29/00
        write 0+1 durable, wanted 4096
        Good
        ",
    );
}

#[test]
fn who_comes_back_is_told_of_the_loss_unless_there_is_more_to_tell() {
    check(
        disk(),
        |talk| {
            let back = |talk: &mut Talk| {
                talk.join(A);
                talk.send(A, Cdb::TestUnitReady);
                talk.send(A, Cdb::TestUnitReady);
            };
            talk.unit.detach(A);
            back(talk);
            // A reset that it has not been told of, of before it went and of after.
            talk.unit.reset();
            talk.unit.detach(A);
            back(talk);
            talk.unit.detach(A);
            talk.unit.reset();
            back(talk);
            // A power on likewise.
            talk.join(B);
            talk.unit.detach(B);
            talk.join(B);
            talk.send(B, Cdb::TestUnitReady);
        },
        "
        UnitAttention 29/07
        Good
        UnitAttention 29/00
        Good
        UnitAttention 29/00
        Good
        UnitAttention 29/00
        ",
    );
}

#[test]
fn as_many_lost_nexuses_are_remembered_as_there_is_room_for() {
    let mut talk = Talk::new(disk());
    for id in 100..165 {
        talk.join(NexusId(id));
        talk.unit.attentions.take(NexusId(id));
        talk.unit.detach(NexusId(id));
    }
    for (id, told) in [(100, "UnitAttention 29/00"), (101, "UnitAttention 29/07")] {
        talk.join(NexusId(id));
        assert_eq!(describe(&talk.send(NexusId(id), Cdb::TestUnitReady)), told);
    }
}

#[test]
fn asking_who_is_there_neither_gets_nor_settles_an_attention() {
    check(
        disk(),
        |talk| {
            talk.join(B);
            talk.send(B, Cdb::inquiry(None, 96));
            talk.send(B, Cdb::ReportLuns { select: 0, allocation: 16 });
            talk.send(B, Cdb::RequestSense { descriptors: false, allocation: 0 });
            talk.raw(B, Lun(1 << 48), &Cdb::TestUnitReady.build(), 0);
            talk.raw(B, Lun::ZERO, &[0xC0], 0);
            talk.raw(B, Lun::ZERO, &[0xC0], 0);
        },
        "
        Good, wanted 96
        Good, wanted 16
        Good
        IllegalRequest 25/00
        UnitAttention 29/00
        IllegalRequest 20/00
        ",
    );
}

#[test]
fn request_sense_tells_it_as_data() {
    for descriptors in [false, true] {
        let mut talk = Talk::new(disk());
        talk.join(B);
        let ask = Cdb::RequestSense { descriptors, allocation: 252 };
        assert_eq!(Sense::parse(&data(talk.send(B, ask))), Ok(sense::POWER_ON));
        assert_eq!(Sense::parse(&data(talk.send(B, ask))), Ok(sense::NO_SENSE));
        assert_eq!(describe(&talk.send(B, Cdb::TestUnitReady)), "Good");
    }
}

#[test]
fn they_come_in_the_order_in_which_they_happened_each_once() {
    check(
        disk(),
        |talk| {
            for round in 0..100 {
                talk.unit.resized(600 + round);
                talk.unit.commands_cleared(A);
            }
            for _ in 0..3 {
                talk.send(A, Cdb::TestUnitReady);
            }
            talk.send(A, Cdb::read16(698, 1));
            talk.send(A, Cdb::read16(699, 1));
        },
        "
        UnitAttention 2A/09
        UnitAttention 2F/00
        Good
        read 698+1
        IllegalRequest 21/00 at 2
        ",
    );
}

#[test]
fn a_reset_is_told_to_all_and_makes_what_was_before_it_void() {
    check(
        disk(),
        |talk| {
            talk.join(B);
            talk.unit.resized(600);
            talk.unit.reset();
            for nexus in [A, A, B, B] {
                talk.send(nexus, Cdb::TestUnitReady);
            }
        },
        "
        UnitAttention 29/03
        Good
        UnitAttention 29/00
        Good
        ",
    );
}

#[test]
fn the_same_size_is_no_news_and_who_left_is_owed_nothing() {
    check(
        disk(),
        |talk| {
            talk.unit.resized(512);
            talk.send(A, Cdb::TestUnitReady);
            talk.join(B);
            talk.unit.detach(B);
            talk.unit.reset();
            talk.send(B, Cdb::TestUnitReady);
        },
        "
        Good
        Good
        ",
    );
}

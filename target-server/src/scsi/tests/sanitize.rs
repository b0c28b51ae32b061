//! SANITIZE: what it asks for, and what others are told while it goes on and after it failed.

use outband_protocol::scsi::cdb::Sanitize;
use outband_protocol::scsi::sanitize::{Overwrite, action};

use super::*;

fn sanitize(action: u8, len: u16, unrestricted: bool) -> Cdb {
    Cdb::Sanitize(Sanitize { action, immed: false, unrestricted, len })
}

fn overwrite(talk: &mut Talk, unrestricted: bool) {
    let list = Overwrite { invert: false, count: 1, pattern: vec![7, 8] }.build();
    let len = u16::try_from(list.len()).unwrap();
    talk.list(A, sanitize(action::OVERWRITE, len, unrestricted), &list);
}

#[test]
fn nothing_but_questions_about_the_unit_is_answered_while_it_goes_on() {
    check(
        disk(),
        |talk| {
            overwrite(talk, false);
            talk.unit.sanitize_moved(0x4000);
            talk.send(A, Cdb::TestUnitReady);
            talk.send(A, Cdb::Read16(at(0, 1)));
            talk.send(A, sanitize(action::BLOCK_ERASE, 0, false));
            let sense = talk.send(A, Cdb::RequestSense { descriptors: false, allocation: 18 });
            let told = Sense::parse(&data(sense)).unwrap();
            assert_eq!(told, sense::SANITIZE_IN_PROGRESS.with_progress(0x4000));
            talk.unit.reset();
            assert!(talk.unit.attentions.take(A).is_some());
            talk.send(A, Cdb::TestUnitReady);
            talk.unit.sanitize_ended(true);
            talk.send(A, Cdb::TestUnitReady);
        },
        "
        parameters 6
        sanitize Overwrite(Overwrite { invert: false, count: 1, pattern: [7, 8] })
        NotReady 04/1B
        NotReady 04/1B
        NotReady 04/1B
        Good, wanted 18
        NotReady 04/1B
        Good
        ",
    );
}

#[test]
fn a_failure_is_left_by_success_or_where_it_was_allowed_by_giving_up() {
    for (unrestricted, exit) in [(true, "sanitize Exit"), (false, "IllegalRequest 24/00 at 1.4")] {
        check(
            disk(),
            |talk| {
                overwrite(talk, unrestricted);
                talk.unit.sanitize_ended(false);
                talk.send(A, Cdb::Read16(at(0, 1)));
                talk.send(A, sanitize(action::EXIT_FAILURE_MODE, 0, false));
                if unrestricted {
                    talk.unit.sanitize_ended(false);
                }
                talk.send(A, sanitize(action::BLOCK_ERASE, 0, false));
                talk.unit.sanitize_ended(true);
                talk.send(A, Cdb::Read16(at(0, 1)));
            },
            &format!(
                "
                parameters 6
                sanitize Overwrite(Overwrite {{ invert: false, count: 1, pattern: [7, 8] }})
                MediumError 31/03
                {exit}
                sanitize Erase
                read 0+1
                "
            ),
        );
    }
}

#[test]
fn it_is_there_only_where_it_is_allowed_and_with_the_right_lengths() {
    check(
        LuConfig { sanitize: false, ..disk() },
        |talk| drop(talk.send(A, sanitize(action::BLOCK_ERASE, 0, false))),
        "IllegalRequest 20/00",
    );
    check(
        disk(),
        |talk| {
            talk.send(A, sanitize(action::BLOCK_ERASE, 4, false));
            talk.send(A, sanitize(action::OVERWRITE, 4, false));
            talk.send(A, sanitize(action::OVERWRITE, 4101, false));
            talk.send(A, sanitize(action::OVERWRITE, 4100, false));
            talk.send(A, sanitize(action::EXIT_FAILURE_MODE, 0, false));
        },
        "
        IllegalRequest 24/00 at 7
        IllegalRequest 24/00 at 7
        IllegalRequest 24/00 at 7
        parameters 4100
        sanitize Exit
        ",
    );
}

//! FORMAT UNIT: what is formatted how, what is refused, and what others are told meanwhile and after it
//! failed.

use outband_protocol::scsi::cdb::{FormatUnit, ModeSense, PageControl, Sanitize};
use outband_protocol::scsi::format::Format;
use outband_protocol::scsi::mode;
use outband_protocol::scsi::sanitize::action;

use super::*;

/// Without a list.
const PLAIN: FormatUnit = FormatUnit {
    protect: 0,
    long_header: false,
    has_list: false,
    complete: false,
    defect_format: 0,
};
const WITH_LIST: FormatUnit = FormatUnit { has_list: true, ..PLAIN };

fn list(talk: &mut Talk, fields: FormatUnit, format: &Format) {
    talk.list(A, Cdb::FormatUnit(fields), &format.build(&fields));
}

#[test]
fn blocks_become_zeros_or_what_is_sent_with_either_header_and_without_a_list() {
    for (fields, format, told) in [
        (WITH_LIST, Format::default(), "parameters 4\n format Erase, wanted 4"),
        (
            FormatUnit { long_header: true, complete: true, defect_format: 5, ..WITH_LIST },
            Format { immed: true, pattern: None },
            "parameters 8\n format Erase immediate, wanted 8",
        ),
        (
            WITH_LIST,
            Format { immed: false, pattern: Some(vec![7, 8]) },
            "parameters 10
             format Overwrite(Overwrite { invert: false, count: 1, pattern: [7, 8] }), wanted 10",
        ),
    ] {
        check(disk(), |talk| list(talk, fields, &format), told);
    }
    // LONGLIST and CMPLST mean nothing where there is no list.
    let fields = FormatUnit { long_header: true, complete: true, ..PLAIN };
    let formatted = "format Erase, wanted 0";
    check(disk(), |talk| drop(talk.send(A, Cdb::FormatUnit(fields))), formatted);
}

#[test]
fn a_list_is_as_long_as_it_says_however_much_is_offered() {
    check(
        disk(),
        |talk| {
            let format = Format::default().build(&WITH_LIST);
            talk.offer(A, Cdb::FormatUnit(WITH_LIST), 3);
            // More than any list has is not collected.
            talk.offer(A, Cdb::FormatUnit(WITH_LIST), 1 << 20);
            talk.list(A, Cdb::FormatUnit(WITH_LIST), &[format, vec![0xEE; 508]].concat());
        },
        "
        IllegalRequest 1A/00
        parameters 4108
        parameters 512
        format Erase, wanted 4
        ",
    );
}

#[test]
fn it_is_there_only_where_it_is_allowed_and_knows_neither_protection_nor_defects() {
    check(
        LuConfig { sanitize: false, ..disk() },
        |talk| drop(talk.send(A, Cdb::FormatUnit(PLAIN))),
        "IllegalRequest 20/00",
    );
    check(
        LuConfig { read_only: true, ..disk() },
        |talk| {
            talk.send(A, Cdb::FormatUnit(PLAIN));
            talk.send(A, Cdb::FormatUnit(WITH_LIST));
        },
        "DataProtect 27/00\n DataProtect 27/00",
    );
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::FormatUnit(FormatUnit { protect: 2, ..PLAIN }));
            talk.send(A, Cdb::FormatUnit(FormatUnit { defect_format: 4, ..PLAIN }));
            talk.send(A, Cdb::FormatUnit(FormatUnit { defect_format: 6, ..WITH_LIST }));
            // A list of one defect.
            talk.list(A, Cdb::FormatUnit(WITH_LIST), &[0, 0, 0, 4, 0, 0, 0, 9]);
            talk.send(A, Cdb::TestUnitReady);
        },
        "
        IllegalRequest 24/00 at 1.7
        IllegalRequest 24/00 at 1.2
        IllegalRequest 24/00 at 1.2
        parameters 8
        IllegalRequest 26/00 in the list, wanted 4
        Good
        ",
    );
}

#[test]
fn nothing_but_questions_about_the_unit_is_answered_while_it_goes_on() {
    check(
        disk(),
        |talk| {
            list(talk, WITH_LIST, &Format { immed: true, pattern: None });
            talk.unit.sanitize_moved(0x8000);
            talk.send(A, Cdb::TestUnitReady);
            talk.send(A, Cdb::write16(0, 1, false));
            talk.send(A, Cdb::ReadCapacity10);
            talk.send(A, Cdb::FormatUnit(PLAIN));
            let sense = talk.send(A, Cdb::RequestSense { descriptors: false, allocation: 18 });
            let told = Sense::parse(&data(sense)).unwrap();
            assert_eq!(told, sense::FORMAT_IN_PROGRESS.with_progress(0x8000));
            talk.send(A, Cdb::inquiry(None, 36));
            talk.unit.sanitize_ended(true);
            talk.send(A, Cdb::TestUnitReady);
        },
        "
        parameters 4
        format Erase immediate, wanted 4
        NotReady 04/04
        NotReady 04/04
        NotReady 04/04
        NotReady 04/04
        Good, wanted 18
        Good, wanted 36
        Good
        ",
    );
}

#[test]
fn a_format_that_failed_leaves_a_corrupted_one_until_one_succeeds() {
    let wipe =
        |action| Cdb::Sanitize(Sanitize { action, immed: false, unrestricted: true, len: 0 });
    let pages = ModeSense {
        no_descriptor: false,
        long_lba: false,
        control: PageControl::Current,
        page: mode::ALL_PAGES,
        subpage: 0,
        allocation: 4,
    };
    for (again, told) in [
        (Cdb::FormatUnit(PLAIN), "format Erase, wanted 0"),
        (wipe(action::BLOCK_ERASE), "sanitize Erase"),
    ] {
        check(
            LuConfig { wipe_failed: Some(Wiping::Format), ..disk() },
            |talk| {
                talk.send(A, Cdb::TestUnitReady);
                talk.send(A, Cdb::read16(0, 1));
                talk.send(A, Cdb::ModeSense6(pages));
                talk.send(A, Cdb::ReadCapacity10);
                // That is for a SANITIZE that failed.
                talk.send(A, wipe(action::EXIT_FAILURE_MODE));
                talk.send(A, again);
                talk.unit.sanitize_ended(true);
                talk.send(A, Cdb::read16(0, 1));
            },
            &format!(
                "
                MediumError 31/00
                MediumError 31/00
                Good, wanted 4
                Good, wanted 8
                IllegalRequest 24/00 at 1.4
                {told}
                read 0+1
                "
            ),
        );
    }
    // It does not help a SANITIZE that failed, whose blocks somebody wants gone.
    check(
        LuConfig { wipe_failed: Some(Wiping::Sanitize { unrestricted: true }), ..disk() },
        |talk| drop(talk.send(A, Cdb::FormatUnit(PLAIN))),
        "MediumError 31/03",
    );
}

//! START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, and the way to the medium.

use outband_protocol::scsi::cdb::{SendDiagnostic, StartStop};
use outband_protocol::scsi::port_groups::{self, AccessState};

use super::*;

const START: StartStop =
    StartStop { immed: false, power_condition: 0, no_flush: false, load_eject: false, start: true };
const STOP: StartStop = StartStop { start: false, ..START };

#[test]
fn a_stopped_unit_wants_to_be_started_and_forgets_nothing() {
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::StartStopUnit(START));
            // The cache is written first, once.
            talk.send(A, Cdb::StartStopUnit(STOP));
            talk.send(A, Cdb::StartStopUnit(STOP));
            for cdb in [Cdb::TestUnitReady, Cdb::read16(0, 1), Cdb::write16(0, 1, false)] {
                talk.send(A, cdb);
            }
            talk.send(A, Cdb::Unmap { anchor: false, len: 24 });
            talk.send(A, Cdb::flush());
            talk.send(A, Cdb::inquiry(None, 36));
            talk.send(A, Cdb::ReadCapacity10);
            talk.send(A, Cdb::mode_page(0x08, 8));
            talk.send(A, Cdb::StartStopUnit(StartStop { immed: true, ..START }));
            talk.send(A, Cdb::TestUnitReady);
            talk.send(A, Cdb::StartStopUnit(StartStop { no_flush: true, ..STOP }));
            talk.unit.reset();
            talk.send(A, Cdb::TestUnitReady);
            talk.send(A, Cdb::read16(0, 1));
        },
        "
        Good
        flush
        Good
        NotReady 04/02
        NotReady 04/02
        NotReady 04/02
        NotReady 04/02
        NotReady 04/02
        Good, wanted 36
        Good, wanted 8
        Good, wanted 8
        Good
        Good
        Good
        UnitAttention 29/03
        read 0+1
        ",
    );
}

#[test]
fn request_sense_tells_that_it_is_stopped() {
    let mut talk = Talk::new(disk());
    talk.send(A, Cdb::StartStopUnit(STOP));
    let ask = Cdb::RequestSense { descriptors: false, allocation: 18 };
    assert_eq!(Sense::parse(&data(talk.send(A, ask))), Ok(sense::START_REQUIRED));
}

#[test]
fn a_fixed_disk_is_neither_ejected_nor_put_to_sleep() {
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::StartStopUnit(StartStop { load_eject: true, ..START }));
            talk.send(A, Cdb::StartStopUnit(StartStop { load_eject: true, ..STOP }));
            for power_condition in [2, 3, 0xA, 0xF] {
                talk.send(A, Cdb::StartStopUnit(StartStop { power_condition, ..START }));
            }
            // Active it is already, and it sees to itself.
            for power_condition in [1, 7] {
                talk.send(A, Cdb::StartStopUnit(StartStop { power_condition, ..STOP }));
            }
            for prevent in 0..4 {
                talk.send(A, Cdb::PreventAllowMediumRemoval { prevent });
            }
            talk.send(A, Cdb::TestUnitReady);
        },
        "
        IllegalRequest 24/00 at 4.1
        IllegalRequest 24/00 at 4.1
        IllegalRequest 24/00 at 4.7
        IllegalRequest 24/00 at 4.7
        IllegalRequest 24/00 at 4.7
        IllegalRequest 24/00 at 4.7
        Good
        Good
        Good
        Good
        IllegalRequest 24/00 at 4.1
        IllegalRequest 24/00 at 4.1
        Good
        ",
    );
}

#[test]
fn the_default_self_test_is_passed_and_there_is_no_other() {
    check(
        disk(),
        |talk| {
            let plain = SendDiagnostic::default();
            talk.send(A, Cdb::SendDiagnostic(plain));
            talk.send(A, Cdb::SendDiagnostic(SendDiagnostic { self_test: true, ..plain }));
            talk.send(A, Cdb::SendDiagnostic(SendDiagnostic { code: 1, ..plain }));
            let pages = SendDiagnostic { page_format: true, len: 4, ..plain };
            talk.send(A, Cdb::SendDiagnostic(pages));
        },
        "
        Good
        Good
        IllegalRequest 24/00 at 1.7
        IllegalRequest 24/00 at 3
        ",
    );
}

#[test]
fn the_one_port_group_is_active_and_cannot_be_set() {
    let mut talk = Talk::new(disk());
    let ask = |extended| Cdb::ReportTargetPortGroups { extended, allocation: 64 };
    let groups = port_groups::parse(&data(talk.send(A, ask(false)))).unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].group, &groups[0].ports[..]), (3, &[2][..]));
    assert_eq!(groups[0].state, AccessState::ActiveOptimized);
    assert_eq!(data(talk.send(A, ask(true)))[..6], [0, 0, 0, 16, 0x10, 0]);
    // SET TARGET PORT GROUPS.
    let plan = talk.raw(A, Lun::ZERO, &[0xA4, 0x0A, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], 8);
    assert_eq!(describe(&plan), "IllegalRequest 20/00");
}

//! RESERVE(6) and RELEASE(6), alone and beside persistent reservations.

use super::*;

fn said(talk: &mut Talk, nexus: NexusId, cdb: Cdb) -> String {
    describe(&talk.send(nexus, cdb))
}

#[test]
fn one_host_has_the_unit_until_it_releases_it() {
    let mut talk = Talk::of_three();
    assert_eq!(said(&mut talk, A, Cdb::Reserve6), "Good");
    assert_eq!(said(&mut talk, A, Cdb::Reserve6), "Good");
    assert_eq!(said(&mut talk, B, Cdb::Reserve6), CONFLICT);
    assert_eq!(said(&mut talk, B, Cdb::Release6), "Good");
    assert_eq!(talk.access(A), (true, true));
    assert_eq!(talk.access(B), (false, false));
    for (cdb, runs) in [
        (Cdb::TestUnitReady, false),
        (Cdb::mode_page(0x08, 64), false),
        (Cdb::inquiry(None, 96), true),
        (Cdb::RequestSense { descriptors: false, allocation: 18 }, true),
        (Cdb::ReportLuns { select: 0, allocation: 16 }, true),
        (Cdb::PreventAllowMediumRemoval { prevent: 0 }, true),
    ] {
        assert_eq!(said(&mut talk, B, cdb) != CONFLICT, runs, "{cdb:?}");
    }
    assert_eq!(said(&mut talk, A, Cdb::Release6), "Good");
    assert_eq!(said(&mut talk, B, Cdb::Reserve6), "Good");
}

#[test]
fn it_ends_with_the_session_and_with_a_reset() {
    let mut talk = Talk::of_three();
    talk.send(A, Cdb::Reserve6);
    talk.unit.detach(A);
    assert_eq!(talk.access(B), (true, true));
    talk.send(B, Cdb::Reserve6);
    talk.unit.reset();
    talk.told(C);
    assert_eq!(talk.access(C), (true, true));
}

#[test]
fn beside_it_there_is_nothing_persistent() {
    let mut talk = Talk::of_three();
    talk.send(A, Cdb::Reserve6);
    let read = Cdb::PersistentReserveIn { what: ReserveIn::ReadKeys, allocation: 64 };
    for nexus in [A, B] {
        assert_eq!(said(&mut talk, nexus, read), CONFLICT);
        assert_eq!(talk.register(nexus, 0, 1), CONFLICT);
    }
    talk.send(A, Cdb::Release6);
    assert_eq!(talk.register(A, 0, 1), "Good");
}

#[test]
fn who_has_the_same_by_a_persistent_reservation_is_told_good_and_nothing_changes() {
    for kind in KINDS {
        let mut talk = Talk::of_three();
        talk.enrol(A, 1);
        talk.enrol(B, 2);
        // Registered, but nothing is reserved.
        for cdb in [Cdb::Reserve6, Cdb::Release6] {
            assert_eq!([A, B, C].map(|nexus| said(&mut talk, nexus, cdb)), [CONFLICT; 3]);
        }
        talk.reserve(A, 1, kind);
        let registered = if kind.is_for_registrants() { "Good" } else { CONFLICT };
        for cdb in [Cdb::Reserve6, Cdb::Release6] {
            let all = [A, B, C].map(|nexus| said(&mut talk, nexus, cdb));
            assert_eq!(all, ["Good", registered, CONFLICT], "{kind:?}");
        }
        talk.release(A, 1, kind);
        talk.told(B);
        assert_eq!(talk.access(C), (true, true), "no RESERVE(6) was left behind");
    }
}

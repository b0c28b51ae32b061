//! Taking a reservation from a host that does not answer any more, and handing it on.

use super::*;

const PREEMPTED: &str = "UnitAttention 2A/05";

impl Talk {
    fn preempt(&mut self, nexus: NexusId, own: u64, other: u64, kind: Kind) -> String {
        self.out(nexus, Action::Preempt, Some(kind), &keys(own, other))
    }

    /// The last plan that was made.
    fn last(&self) -> &str {
        self.trace.lines().last().unwrap()
    }
}

/// A, B and C have the keys 1, 2 and 3, and A holds the reservation.
fn reserved(kind: Kind) -> Talk {
    let mut talk = Talk::of_three();
    for (nexus, key) in [(A, 1), (B, 2), (C, 3)] {
        talk.enrol(nexus, key);
    }
    assert_eq!(talk.reserve(A, 1, kind), "Good");
    talk
}

#[test]
fn the_holders_key_takes_over_the_reservation() {
    for kind in KINDS.into_iter().filter(|kind| !kind.is_for_all()) {
        let mut talk = reserved(kind);
        assert_eq!(talk.preempt(B, 2, 1, kind), "Good");
        assert_eq!((talk.held(), talk.keys()), (Some((2, kind)), (4, vec![2, 3])));
        assert_eq!([A, B, C].map(|nexus| talk.told(nexus)), [PREEMPTED, "Good", "Good"]);
        assert_eq!(talk.access(B), (true, true));
        assert_eq!(talk.access(A), (!kind.is_exclusive(), false));
    }
}

#[test]
fn a_new_type_is_told_to_those_who_stay() {
    let mut talk = reserved(Kind::WriteExclusiveRegistrants);
    assert_eq!(talk.preempt(B, 2, 1, Kind::ExclusiveAccess), "Good");
    assert_eq!(talk.held(), Some((2, Kind::ExclusiveAccess)));
    assert_eq!([A, B, C].map(|nexus| talk.told(nexus)), [PREEMPTED, "Good", RELEASED]);
}

#[test]
fn another_key_ends_registrations_and_leaves_the_reservation() {
    for kind in KINDS {
        let mut talk = reserved(kind);
        assert_eq!(talk.preempt(B, 2, 3, Kind::WriteExclusive), "Good");
        let key = if kind.is_for_all() { 0 } else { 1 };
        assert_eq!((talk.held(), talk.keys().1), (Some((key, kind)), vec![1, 2]), "{kind:?}");
        assert_eq!([A, B, C].map(|nexus| talk.told(nexus)), ["Good", "Good", PREEMPTED]);
    }
}

#[test]
fn key_zero_takes_over_what_all_hold_and_is_an_error_otherwise() {
    for kind in KINDS {
        let mut talk = reserved(kind);
        let said = talk.preempt(B, 2, 0, Kind::WriteExclusive);
        if kind.is_for_all() {
            assert_eq!(said, "Good");
            assert_eq!((talk.held(), talk.keys().1), (Some((2, Kind::WriteExclusive)), vec![2]));
            assert_eq!([A, B, C].map(|nexus| talk.told(nexus)), [PREEMPTED, "Good", PREEMPTED]);
        } else {
            assert!(said.starts_with("IllegalRequest 26/00 in the list"), "{said}");
            assert_eq!(talk.keys().1, [1, 2, 3]);
        }
    }
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    assert!(talk.preempt(A, 1, 0, Kind::WriteExclusive).starts_with("IllegalRequest 26/00"));
}

#[test]
fn a_key_that_nobody_has_is_a_conflict() {
    let mut talk = reserved(Kind::WriteExclusive);
    assert_eq!(talk.preempt(B, 2, 99, Kind::WriteExclusive), CONFLICT);
    assert_eq!(talk.keys(), (3, vec![1, 2, 3]));
    talk.release(A, 1, Kind::WriteExclusive);
    assert_eq!(talk.preempt(B, 2, 99, Kind::WriteExclusive), CONFLICT);
    // Without a reservation it only ends registrations, and makes none.
    assert_eq!(talk.preempt(B, 2, 3, Kind::WriteExclusive), "Good");
    assert_eq!((talk.held(), talk.keys().1), (None, vec![1, 2]));
}

#[test]
fn a_wrong_type_takes_nothing_over() {
    let mut talk = reserved(Kind::WriteExclusive);
    let fields = ReserveOut { kind: 4, ..ReserveOut::new(Action::Preempt, None, 24) };
    assert_eq!(talk.out_as(B, fields, &keys(2, 1)), "IllegalRequest 24/00 at 2.3");
    let fields = ReserveOut { scope: 2, kind: 3, ..fields };
    assert_eq!(talk.out_as(B, fields, &keys(2, 1)), "IllegalRequest 24/00 at 2.7");
    assert_eq!((talk.held(), talk.keys().1), (Some((1, Kind::WriteExclusive)), vec![1, 2, 3]));
    // Where nothing is taken over, scope and type are not looked at.
    assert_eq!(talk.out_as(B, fields, &keys(2, 3)), "Good");
}

#[test]
fn the_holder_may_preempt_itself_and_change_the_type() {
    let mut talk = reserved(Kind::WriteExclusiveRegistrants);
    assert_eq!(talk.preempt(A, 1, 1, Kind::ExclusiveAccess), "Good");
    assert_eq!(talk.held(), Some((1, Kind::ExclusiveAccess)));
    assert_eq!(talk.keys().1, [1, 2, 3]);
    assert_eq!([A, B, C].map(|nexus| talk.told(nexus)), ["Good", RELEASED, RELEASED]);
}

#[test]
fn all_ports_under_one_key_are_preempted_together() {
    let mut talk = Talk::of_three();
    for (nexus, key) in [(A, 1), (B, 2), (C, 1)] {
        talk.enrol(nexus, key);
    }
    talk.reserve(A, 1, Kind::ExclusiveAccessRegistrants);
    assert_eq!(talk.preempt(B, 2, 1, Kind::ExclusiveAccessRegistrants), "Good");
    assert_eq!(talk.keys().1, [2]);
    assert_eq!([A, C].map(|nexus| talk.told(nexus)), [PREEMPTED; 2]);
}

#[test]
fn who_loses_its_access_is_waited_for_and_with_abort_its_tasks_end() {
    let mut talk = reserved(Kind::WriteExclusiveRegistrants);
    talk.preempt(B, 2, 1, Kind::WriteExclusiveRegistrants);
    assert_eq!(talk.last(), "reserved, barred [1], aborted []");
    let mut talk = reserved(Kind::WriteExclusiveRegistrants);
    talk.out(B, Action::PreemptAndAbort, Some(Kind::ExclusiveAccess), &keys(2, 1));
    assert_eq!(talk.last(), "reserved, barred [1, 3], aborted [1]");
    // Nobody aborts itself.
    let mut talk = reserved(Kind::WriteExclusiveAll);
    talk.out(B, Action::PreemptAndAbort, Some(Kind::WriteExclusive), &keys(2, 0));
    assert_eq!(talk.last(), "reserved, barred [1, 3], aborted [1, 3]");
}

#[test]
fn a_write_whose_data_comes_after_the_preemption_is_barred() {
    let mut talk = reserved(Kind::WriteExclusiveRegistrants);
    let write = Cdb::write16(0, 8, false);
    assert!(matches!(talk.send(A, write), Plan::Write { .. }));
    assert!(!talk.unit.is_barred(A, &write.build()));
    talk.preempt(B, 2, 1, Kind::WriteExclusiveRegistrants);
    assert!(talk.unit.is_barred(A, &write.build()));
    assert!(!talk.unit.is_barred(A, &Cdb::read16(0, 8).build()));
    // So is a list.
    let unmap = Cdb::Unmap { anchor: false, len: 24 };
    let plan = talk.unit.with_parameters(A, &unmap, &[0; 24]);
    assert_eq!(describe(&plan), "ReservationConflict, wanted 24");
}

fn move_list(key: u64, service_key: u64, to: NexusId) -> MoveList {
    MoveList {
        key,
        service_key,
        unregister: false,
        persist: false,
        relative_port: 2,
        port: TransportId::Port(port(to)),
    }
}

#[test]
fn a_reservation_can_be_handed_to_another_port() {
    for (unregister, left) in [(false, vec![1, 2, 3, 9]), (true, vec![2, 3, 9])] {
        let mut talk = reserved(Kind::ExclusiveAccess);
        let list = MoveList { unregister, ..move_list(1, 9, NexusId(70)) };
        let said = talk.out(A, Action::RegisterAndMove, None, &list.build());
        assert!(said.starts_with("Good"), "{said}");
        assert_eq!((talk.held(), talk.keys().1), (Some((9, Kind::ExclusiveAccess)), left));
        assert_eq!(talk.access(A), (false, false));
        talk.join(NexusId(70));
        talk.told(NexusId(70));
        assert_eq!(talk.access(NexusId(70)), (true, true));
    }
    // A port that is registered gets the key too.
    let mut talk = reserved(Kind::WriteExclusive);
    talk.out(A, Action::RegisterAndMove, None, &move_list(1, 9, C).build());
    assert_eq!((talk.held(), talk.keys().1), (Some((9, Kind::WriteExclusive)), vec![1, 2, 9]));
}

#[test]
fn handing_on_wants_a_holder_and_another_port_of_this_target() {
    let good = move_list(1, 9, C);
    let wrong_port = MoveList { relative_port: 3, ..good.clone() };
    let to_self = move_list(1, 9, A);
    let device = MoveList { port: TransportId::Device(port(C).name), ..good.clone() };
    let keyless = move_list(1, 0, C);
    for list in [wrong_port, to_self, device, keyless] {
        let mut talk = reserved(Kind::WriteExclusive);
        let said = talk.out(A, Action::RegisterAndMove, None, &list.build());
        assert!(said.starts_with("IllegalRequest 26/00 in the list"), "{said}");
        assert_eq!(talk.held(), Some((1, Kind::WriteExclusive)));
    }
    let moved = |talk: &mut Talk, nexus, key| {
        let list = MoveList { key, ..good.clone() }.build();
        talk.out(nexus, Action::RegisterAndMove, None, &list)
    };
    let mut talk = reserved(Kind::WriteExclusive);
    assert!(moved(&mut talk, B, 2).starts_with(CONFLICT));
    assert!(moved(&mut talk, A, 4).starts_with(CONFLICT));
    let mut talk = reserved(Kind::WriteExclusiveAll);
    assert!(moved(&mut talk, A, 1).starts_with(CONFLICT));
}

//! Reservations: who may do what, who is told what, and what survives.

mod kept;
mod ports;
mod preempt;
mod unit;

use outband_protocol::scsi::cdb::{
    FormatUnit, ReadDefects, ReserveIn, ReserveOut, ReserveOutAction as Action, StartStop,
};
use outband_protocol::scsi::reserve::{
    FullStatus, Kind, List, MoveList, TransportId, parse_full_status, parse_keys, parse_reservation,
};

use super::*;

const C: NexusId = NexusId(3);
const KINDS: [Kind; 6] = Kind::ALL;

impl Talk {
    /// Hosts A, B and C, who have been told of their power on.
    fn of_three() -> Self {
        let mut talk = Self::new(disk());
        for nexus in [B, C] {
            talk.join(nexus);
            assert!(talk.unit.attentions.take(nexus).is_some());
        }
        talk
    }

    /// Sends PERSISTENT RESERVE OUT; says how it ended.
    fn out(&mut self, nexus: NexusId, action: Action, kind: Option<Kind>, list: &[u8]) -> String {
        let len = u32::try_from(list.len()).unwrap();
        self.out_as(nexus, ReserveOut::new(action, kind, len), list)
    }

    fn out_as(&mut self, nexus: NexusId, fields: ReserveOut, list: &[u8]) -> String {
        let cdb = Cdb::PersistentReserveOut(fields);
        let plan = self.offer(nexus, cdb, u32::try_from(list.len()).unwrap());
        let plan = match plan {
            Plan::Parameters { cdb, .. } => self.unit.with_parameters(nexus, &cdb, list),
            refused => refused,
        };
        self.say(&plan);
        match plan {
            Plan::Reserved { .. } => "Good".to_owned(),
            plan => describe(&plan).replace(", wanted 24", ""),
        }
    }

    fn register(&mut self, nexus: NexusId, key: u64, service_key: u64) -> String {
        self.out(nexus, Action::Register, None, &keys(key, service_key))
    }

    /// Registers anew, whatever was registered.
    fn enrol(&mut self, nexus: NexusId, key: u64) {
        let said = self.out(nexus, Action::RegisterAndIgnore, None, &keys(0, key));
        assert_eq!(said, "Good");
    }

    fn reserve(&mut self, nexus: NexusId, key: u64, kind: Kind) -> String {
        self.out(nexus, Action::Reserve, Some(kind), &keys(key, 0))
    }

    fn release(&mut self, nexus: NexusId, key: u64, kind: Kind) -> String {
        self.out(nexus, Action::Release, Some(kind), &keys(key, 0))
    }

    /// The keys there are, and PRGENERATION. Nobody's attention is told for the asking.
    fn keys(&mut self) -> (u32, Vec<u64>) {
        parse_keys(&data(self.unit.reserve_in(ReserveIn::ReadKeys, 4096))).unwrap()
    }

    fn held(&mut self) -> Option<(u64, Kind)> {
        let plan = self.unit.reserve_in(ReserveIn::ReadReservation, 4096);
        parse_reservation(&data(plan)).unwrap().1
    }

    fn full_status(&mut self) -> Vec<FullStatus> {
        let plan = self.unit.reserve_in(ReserveIn::ReadFullStatus, u16::MAX);
        parse_full_status(&data(plan)).unwrap().1
    }

    /// Whether a nexus may read, and whether it may write.
    fn access(&mut self, nexus: NexusId) -> (bool, bool) {
        let conflicts = |plan: Plan| describe(&plan) == "ReservationConflict";
        let reads = !conflicts(self.send(nexus, Cdb::read16(0, 1)));
        (reads, !conflicts(self.send(nexus, Cdb::write16(0, 1, false))))
    }

    /// What a nexus is told next.
    fn told(&mut self, nexus: NexusId) -> String {
        describe(&self.send(nexus, Cdb::TestUnitReady))
    }
}

fn keys(key: u64, service_key: u64) -> Vec<u8> {
    List { key, service_key, ..List::default() }.build()
}

const CONFLICT: &str = "ReservationConflict";
const RELEASED: &str = "UnitAttention 2A/04";

#[test]
fn registering_follows_the_table_of_the_standard() {
    let mut talk = Talk::of_three();
    // Not registered: only the key 0 is right, and registering nothing does nothing.
    assert_eq!(talk.register(A, 5, 7), CONFLICT);
    assert_eq!(talk.register(A, 0, 0), "Good");
    assert_eq!(talk.keys(), (1, vec![]));
    assert_eq!(talk.register(A, 0, 7), "Good");
    assert_eq!(talk.keys(), (2, vec![7]));
    // Registered: the key must be known to change it or to end it.
    assert_eq!(talk.register(A, 0, 8), CONFLICT);
    assert_eq!(talk.register(A, 6, 0), CONFLICT);
    assert_eq!(talk.register(A, 7, 8), "Good");
    assert_eq!(talk.keys(), (3, vec![8]));
    assert_eq!(talk.register(A, 8, 0), "Good");
    assert_eq!(talk.keys(), (4, vec![]));
    // Two hosts may have one key.
    talk.enrol(A, 9);
    talk.enrol(B, 9);
    assert_eq!(talk.keys(), (6, vec![9, 9]));
    // What is ignored may be anything.
    assert_eq!(talk.out(A, Action::RegisterAndIgnore, None, &keys(77, 0)), "Good");
    assert_eq!(talk.keys(), (7, vec![9]));
}

#[test]
fn only_what_changes_registrations_counts_as_a_generation() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    let (generation, _) = talk.keys();
    talk.reserve(A, 1, Kind::WriteExclusive);
    talk.release(A, 1, Kind::WriteExclusive);
    talk.register(B, 3, 4);
    assert_eq!(talk.keys().0, generation);
    talk.out(A, Action::Clear, None, &keys(1, 0));
    assert_eq!(talk.keys().0, generation + 1);
}

#[test]
fn each_type_lets_the_others_do_what_the_standard_says() {
    use Kind::*;
    // Type; a registered host reads, writes; another reads, writes.
    let table = [
        (WriteExclusive, (true, false), (true, false)),
        (ExclusiveAccess, (false, false), (false, false)),
        (WriteExclusiveRegistrants, (true, true), (true, false)),
        (ExclusiveAccessRegistrants, (true, true), (false, false)),
        (WriteExclusiveAll, (true, true), (true, false)),
        (ExclusiveAccessAll, (true, true), (false, false)),
    ];
    for (kind, registered, other) in table {
        let mut talk = Talk::of_three();
        talk.enrol(A, 1);
        talk.enrol(B, 2);
        assert_eq!(talk.reserve(A, 1, kind), "Good");
        assert_eq!(talk.access(A), (true, true), "{kind:?}");
        assert_eq!(talk.access(B), registered, "{kind:?}");
        assert_eq!(talk.access(C), other, "{kind:?}");
        assert_eq!(talk.held(), Some((if kind.is_for_all() { 0 } else { 1 }, kind)));
        assert_eq!(talk.release(A, 1, kind), "Good");
        assert_eq!(talk.access(C), (true, true), "{kind:?}");
    }
}

#[test]
fn every_command_conflicts_as_the_tables_of_the_standards_say() {
    // Name and block; runs under write exclusive, under exclusive access.
    let start = |start, power_condition| {
        Cdb::StartStopUnit(StartStop { start, power_condition, ..StartStop::default() })
    };
    let prin = |what| Cdb::PersistentReserveIn { what, allocation: 64 };
    let sense = Cdb::mode_page(0x08, 64);
    let select = Cdb::parse(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0]).unwrap();
    let whole = Synchronize::default();
    let check = outband_protocol::scsi::cdb::ByteCheck::Medium;
    let verify = Verify { lba: 0, blocks: 1, protect: 0, dpo: false, check };
    let table = [
        (Cdb::TestUnitReady, true, true),
        (Cdb::inquiry(None, 96), true, true),
        (Cdb::ReportLuns { select: 0, allocation: 16 }, true, true),
        (Cdb::RequestSense { descriptors: false, allocation: 18 }, true, true),
        (Cdb::ReadCapacity10, true, true),
        (Cdb::ReadCapacity16 { allocation: 32 }, true, true),
        (Cdb::ReadDefectData10(ReadDefects::default()), true, false),
        (prin(ReserveIn::ReadKeys), true, true),
        (prin(ReserveIn::ReadFullStatus), true, true),
        (Cdb::ReportTargetPortGroups { extended: false, allocation: 64 }, true, true),
        (Cdb::ReportSupportedTaskManagement { extended: false, allocation: 4 }, true, false),
        (sense, true, false),
        (select, false, false),
        (Cdb::read16(0, 1), true, false),
        (Cdb::Verify16(verify), true, false),
        (Cdb::write16(0, 1, true), false, false),
        (Cdb::Write6(at(0, 1)), false, false),
        (Cdb::SynchronizeCache10(whole), false, false),
        (Cdb::Unmap { anchor: false, len: 24 }, false, false),
        (Cdb::FormatUnit(FormatUnit::default()), false, false),
        (start(true, 0), true, true),
        (start(true, 1), false, false),
        (start(false, 0), false, false),
        (Cdb::PreventAllowMediumRemoval { prevent: 0 }, true, true),
        (Cdb::PreventAllowMediumRemoval { prevent: 1 }, false, false),
        (Cdb::Reserve6, false, false),
        (Cdb::Release6, false, false),
    ];
    for (column, kind) in [Kind::WriteExclusive, Kind::ExclusiveAccess].into_iter().enumerate() {
        let mut talk = Talk::of_three();
        talk.enrol(A, 1);
        talk.reserve(A, 1, kind);
        for (cdb, write, exclusive) in table {
            let runs = describe(&talk.send(C, cdb)) != CONFLICT;
            assert_eq!(runs, [write, exclusive][column], "{cdb:?} under {kind:?}");
        }
    }
}

#[test]
fn who_is_not_registered_or_forgot_its_key_changes_nothing() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    talk.reserve(A, 1, Kind::ExclusiveAccess);
    let before = (talk.keys(), talk.held());
    let kind = Some(Kind::ExclusiveAccess);
    for action in
        [Action::Reserve, Action::Release, Action::Clear, Action::Preempt, Action::PreemptAndAbort]
    {
        assert_eq!(talk.out(B, action, kind, &keys(0, 1)), CONFLICT, "{action:?}");
        assert_eq!(talk.out(A, action, kind, &keys(2, 1)), CONFLICT, "{action:?}");
    }
    assert_eq!((talk.keys(), talk.held()), before);
}

#[test]
fn a_reservation_is_taken_once_and_only_its_holder_may_repeat_it() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    talk.enrol(B, 2);
    assert_eq!(talk.reserve(A, 1, Kind::WriteExclusive), "Good");
    assert_eq!(talk.reserve(A, 1, Kind::WriteExclusive), "Good");
    assert_eq!(talk.reserve(A, 1, Kind::ExclusiveAccess), CONFLICT);
    assert_eq!(talk.reserve(B, 2, Kind::WriteExclusive), CONFLICT);
    // Each registrant holds what is for all.
    assert_eq!(talk.release(A, 1, Kind::WriteExclusive), "Good");
    assert_eq!(talk.reserve(A, 1, Kind::WriteExclusiveAll), "Good");
    assert_eq!(talk.reserve(B, 2, Kind::WriteExclusiveAll), "Good");
    assert_eq!(talk.reserve(B, 2, Kind::ExclusiveAccessAll), CONFLICT);
}

#[test]
fn scope_and_type_are_checked_where_they_count() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    let mut fields = ReserveOut::new(Action::Reserve, None, 24);
    for (scope, kind, said) in [
        (1, 1, "IllegalRequest 24/00 at 2.7"),
        (0, 0, "IllegalRequest 24/00 at 2.3"),
        (0, 2, "IllegalRequest 24/00 at 2.3"),
        (0, 9, "IllegalRequest 24/00 at 2.3"),
        (0, 3, "Good"),
    ] {
        (fields.scope, fields.kind) = (scope, kind);
        assert_eq!(talk.out_as(A, fields, &keys(1, 0)), said);
    }
    assert_eq!(talk.release(A, 1, Kind::WriteExclusive), "IllegalRequest 26/04");
    assert_eq!(talk.held(), Some((1, Kind::ExclusiveAccess)));
    // Registering looks at neither.
    let fields = ReserveOut { action: Action::Register, scope: 9, kind: 9, len: 24 };
    assert_eq!(talk.out_as(B, fields, &keys(0, 5)), "Good");
}

#[test]
fn releasing_what_is_not_held_is_good_and_tells_nobody() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    talk.enrol(B, 2);
    assert_eq!(talk.release(A, 1, Kind::WriteExclusive), "Good");
    talk.reserve(A, 1, Kind::WriteExclusiveRegistrants);
    assert_eq!(talk.release(B, 2, Kind::WriteExclusiveRegistrants), "Good");
    assert_eq!(talk.held(), Some((1, Kind::WriteExclusiveRegistrants)));
    assert_eq!(talk.told(A), "Good");
}

#[test]
fn registrants_are_told_when_a_reservation_for_them_is_released() {
    for kind in KINDS {
        let mut talk = Talk::of_three();
        talk.enrol(A, 1);
        talk.enrol(B, 2);
        talk.reserve(A, 1, kind);
        talk.release(A, 1, kind);
        let told = if kind.is_for_registrants() { RELEASED } else { "Good" };
        let all = [A, B, C].map(|nexus| talk.told(nexus));
        assert_eq!(all, ["Good", told, "Good"], "{kind:?}");
    }
}

#[test]
fn a_reservation_ends_with_its_holders_registration() {
    for kind in KINDS {
        let mut talk = Talk::of_three();
        talk.enrol(A, 1);
        talk.enrol(B, 2);
        talk.reserve(A, 1, kind);
        talk.register(A, 1, 0);
        assert_eq!(talk.held(), kind.is_for_all().then_some((0, kind)), "{kind:?}");
        let released = kind.is_for_registrants() && !kind.is_for_all();
        assert_eq!(talk.told(B), if released { RELEASED } else { "Good" }, "{kind:?}");
        // The last one takes with it what all held.
        talk.register(B, 2, 0);
        assert_eq!((talk.held(), talk.keys().1), (None, vec![]), "{kind:?}");
    }
}

#[test]
fn clear_ends_everything_and_tells_who_was_registered() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    talk.enrol(B, 2);
    talk.reserve(B, 2, Kind::ExclusiveAccess);
    assert_eq!(talk.out(A, Action::Clear, None, &keys(1, 0)), "Good");
    assert_eq!((talk.held(), talk.keys().1), (None, vec![]));
    assert_eq!([A, B, C].map(|nexus| talk.told(nexus)), ["Good", "UnitAttention 2A/03", "Good"]);
}

#[test]
fn a_registration_outlives_its_session_and_belongs_to_the_port() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    talk.reserve(A, 1, Kind::ExclusiveAccess);
    talk.unit.detach(A);
    assert_eq!(talk.access(B), (false, false));
    // The same initiator through another port is somebody else.
    let again = NexusId(10);
    let other = NexusId(11);
    talk.unit.attach(again, port(A), DEFAULT_GROUP);
    let second = InitiatorPort { isid: Isid([0x80, 0, 0, 0, 0, 9]), ..port(A) };
    talk.unit.attach(other, second, DEFAULT_GROUP);
    let told = [again, other].map(|nexus| talk.told(nexus));
    assert_eq!(told, ["UnitAttention 29/07", "UnitAttention 29/00"]);
    assert_eq!(talk.access(again), (true, true));
    assert_eq!(talk.access(other), (false, false));
    talk.unit.reset();
    assert_eq!(talk.told(again), "UnitAttention 29/03");
    assert_eq!(talk.held(), Some((1, Kind::ExclusiveAccess)));
}

#[test]
fn a_conflict_is_told_before_an_attention_but_after_that_of_a_reset() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    talk.reserve(A, 1, Kind::ExclusiveAccess);
    talk.unit.resized(600);
    let read = Cdb::read16(0, 1);
    assert_eq!(describe(&talk.send(B, read)), CONFLICT);
    assert_eq!(talk.told(B), "UnitAttention 2A/09");
    talk.unit.reset();
    assert_eq!(describe(&talk.send(B, read)), "UnitAttention 29/03");
    assert_eq!(describe(&talk.send(B, read)), CONFLICT);
}

#[test]
fn lists_of_the_wrong_length_are_refused_before_and_after_they_come() {
    let error = "IllegalRequest 1A/00";
    let mut talk = Talk::of_three();
    talk.enrol(A, 1);
    for (action, len) in [
        (Action::Register, 23),
        (Action::Reserve, 25),
        (Action::Release, 0),
        (Action::RegisterAndMove, 23),
        (Action::Register, 1 << 20),
    ] {
        let cdb = Cdb::PersistentReserveOut(ReserveOut::new(action, None, len));
        assert_eq!(describe(&talk.offer(A, cdb, len)), error, "{action:?} {len}");
    }
    // More than its flags announce, and less than its length did.
    let longer = [keys(1, 2), vec![0; 4]].concat();
    let said = talk.out(A, Action::Register, None, &longer);
    assert!(said.starts_with(error), "{said}");
    let fields = ReserveOut::new(Action::Register, None, 24);
    let said = talk.out_as(A, fields, &keys(1, 2)[..20]);
    assert!(said.starts_with(error), "{said}");
    assert_eq!(talk.keys(), (1, vec![1]));
}

#[test]
fn other_ports_can_be_registered_all_or_none() {
    let mut talk = Talk::of_three();
    let list = |key, service_key, ports: Vec<TransportId>| {
        List { key, service_key, ports: Some(ports), ..List::default() }.build()
    };
    let port_of = |nexus| TransportId::Port(port(nexus));
    let both = list(0, 7, vec![port_of(B), port_of(NexusId(99))]);
    assert_eq!(talk.out(A, Action::Register, None, &both).split(',').next(), Some("Good"));
    assert_eq!(talk.keys(), (1, vec![7, 7, 7]));
    let named = [A, B, NexusId(99)].map(port);
    let told: Vec<_> = talk.full_status().into_iter().map(|one| one.port).collect();
    assert_eq!(told, named);

    // One of them is registered, or named twice: nobody is.
    for ports in
        [vec![port_of(NexusId(50)), port_of(B)], vec![port_of(C)], vec![port_of(NexusId(50)); 2]]
    {
        let said = talk.out(C, Action::Register, None, &list(0, 8, ports));
        assert!(said.starts_with("IllegalRequest 26/00"), "{said}");
    }
    // With a registration that is not new there is nothing to name.
    for (nexus, key, service_key) in [(A, 7, 9), (A, 7, 0), (C, 0, 0)] {
        let said = talk.out(nexus, Action::Register, None, &list(key, service_key, vec![]));
        assert!(said.starts_with("IllegalRequest 24/00"), "{said}");
    }
    let said = talk.out(C, Action::RegisterAndIgnore, None, &list(0, 8, vec![]));
    assert!(said.starts_with("IllegalRequest"), "{said}");
    assert_eq!(talk.keys(), (1, vec![7, 7, 7]));
    // An initiator's name stands for the ports of it that are here.
    let device = |nexus| TransportId::Device(port(nexus).name);
    let said = talk.out(C, Action::Register, None, &list(0, 8, vec![device(NexusId(60))]));
    assert!(said.starts_with("IllegalRequest 26/00"), "{said}");
    talk.join(NexusId(60));
    let said = talk.out(C, Action::Register, None, &list(0, 8, vec![device(NexusId(60))]));
    assert!(said.starts_with("Good"), "{said}");
    assert_eq!(talk.keys().1, [7, 7, 7, 8, 8]);
}

#[test]
fn there_is_room_for_so_many_registrations_and_no_more() {
    let mut talk = Talk::of_three();
    let names = |from: u32, count: u32| {
        (from..from + count).map(|number| TransportId::Port(port(NexusId(number)))).collect()
    };
    let list = |count, from| {
        let ports = Some(names(from, count));
        List { service_key: 1, ports, ..List::default() }.build()
    };
    let said = talk.out(A, Action::Register, None, &list(100, 1000));
    assert!(said.starts_with("Good"), "{said}");
    let said = talk.out(B, Action::Register, None, &list(27, 2000));
    assert!(said.starts_with("IllegalRequest 55/04"), "{said}");
    let said = talk.out(B, Action::Register, None, &list(26, 2000));
    assert!(said.starts_with("Good"), "{said}");
    assert_eq!(talk.register(C, 0, 1), "IllegalRequest 55/04");
    assert_eq!(talk.keys().1.len(), 128);
}

#[test]
fn full_status_says_who_holds_it_and_through_which_port() {
    let mut talk = Talk::of_three();
    talk.enrol(A, 5);
    talk.enrol(B, 6);
    talk.reserve(B, 6, Kind::WriteExclusiveRegistrants);
    let status = |nexus, key, holds| FullStatus {
        key,
        all_ports: false,
        holds,
        relative_port: 2,
        port: port(nexus),
    };
    let held = Some(Kind::WriteExclusiveRegistrants);
    assert_eq!(talk.full_status(), [status(A, 5, None), status(B, 6, held)]);
    talk.release(B, 6, Kind::WriteExclusiveRegistrants);
    talk.reserve(B, 6, Kind::ExclusiveAccessAll);
    let all = Some(Kind::ExclusiveAccessAll);
    assert_eq!(talk.full_status(), [status(A, 5, all), status(B, 6, all)]);
}

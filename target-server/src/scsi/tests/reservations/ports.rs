//! Several target ports: a registration is of one initiator port with one target port.

use super::*;
use crate::scsi::Kept;

/// The other target port, of the second portal group; the first has number 2.
const SECOND: u16 = 3;

/// Hosts A, B and C by the first port, and A once more by the second, as `A2`.
const A2: NexusId = NexusId(10);

fn of_two_ports() -> Talk {
    let mut talk = Talk::new(LuConfig { portal_groups: vec![1, 2], ..disk() });
    for nexus in [B, C] {
        talk.join(nexus);
    }
    talk.unit.attach(A2, port(A), 2);
    for nexus in [B, C, A2] {
        assert_eq!(talk.told(nexus), "UnitAttention 29/00");
    }
    talk
}

fn all_ports(key: u64, service_key: u64) -> Vec<u8> {
    List { key, service_key, all_ports: true, ..List::default() }.build()
}

impl Talk {
    /// Host, number of the target port and key of every registration.
    fn registered(&mut self) -> Vec<(InitiatorPort, u16, u64)> {
        let all = self.full_status().into_iter();
        all.map(|one| (one.port, one.relative_port, one.key)).collect()
    }
}

#[test]
fn a_registration_by_one_port_is_none_by_another() {
    let mut talk = of_two_ports();
    assert_eq!(talk.register(A, 0, 1), "Good");
    assert_eq!(talk.register(A2, 1, 2), CONFLICT, "it has no key there yet");
    assert_eq!(talk.reserve(A2, 1, Kind::WriteExclusive), CONFLICT);
    assert_eq!(talk.reserve(A, 1, Kind::ExclusiveAccess), "Good");
    assert_eq!(talk.access(A), (true, true));
    assert_eq!(talk.access(A2), (false, false), "the other path is another nexus");
    assert_eq!(talk.register(A2, 0, 1), "Good");
    assert_eq!(talk.registered(), [(port(A), 2, 1), (port(A), SECOND, 1)]);
    assert_eq!(talk.access(A2), (false, false), "registered, but not the holder");
    let holders: Vec<bool> =
        talk.full_status().iter().map(|status| status.holds.is_some()).collect();
    assert_eq!(holders, [true, false]);
    // The end of one leaves the other.
    assert_eq!(talk.register(A, 1, 0), "Good");
    assert_eq!((talk.registered(), talk.held()), (vec![(port(A), SECOND, 1)], None));
}

#[test]
fn registrants_share_a_reservation_by_whatever_port() {
    let mut talk = of_two_ports();
    talk.enrol(A, 1);
    talk.enrol(A2, 1);
    talk.reserve(A, 1, Kind::WriteExclusiveRegistrants);
    assert_eq!([A, A2, B].map(|nexus| talk.access(nexus).1), [true, true, false]);
    // One key for both: preempting it ends both, and each session is told.
    talk.enrol(B, 2);
    talk.out(B, Action::Preempt, Some(Kind::WriteExclusive), &keys(2, 1));
    assert_eq!([A, A2].map(|nexus| talk.told(nexus)), ["UnitAttention 2A/05"; 2]);
    assert_eq!(talk.registered(), [(port(B), 2, 2)]);
}

#[test]
fn all_tg_pt_is_as_if_the_same_had_come_by_every_port() {
    let mut talk = of_two_ports();
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(0, 5)), "Good");
    assert_eq!(talk.registered(), [(port(A), 2, 5), (port(A), SECOND, 5)]);
    assert_eq!(talk.keys(), (1, vec![5, 5]), "one command, one generation");
    // A change for both, and by REGISTER AND IGNORE EXISTING KEY.
    assert_eq!(talk.out(A2, Action::Register, None, &all_ports(5, 6)), "Good");
    assert_eq!(talk.out(A, Action::RegisterAndIgnore, None, &all_ports(99, 7)), "Good");
    assert_eq!(talk.keys().1, [7, 7]);
    // Under another key at the other port it is a conflict there, and nothing changes here.
    assert_eq!(talk.register(A2, 7, 8), "Good");
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(7, 9)), CONFLICT);
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(7, 0)), CONFLICT);
    assert_eq!(talk.keys().1, [7, 8]);
    assert_eq!(talk.out(A, Action::RegisterAndIgnore, None, &all_ports(0, 0)), "Good");
    assert_eq!(talk.keys().1, [] as [u64; 0]);
}

#[test]
fn all_tg_pt_adds_the_ports_where_nothing_is_registered() {
    let mut talk = of_two_ports();
    talk.enrol(A, 4);
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(4, 5)), "Good");
    assert_eq!(talk.registered(), [(port(A), 2, 5), (port(A), SECOND, 5)]);
    // Who ends all that there is need not have one at each.
    assert_eq!(talk.register(A2, 5, 0), "Good");
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(5, 0)), "Good");
    assert_eq!(talk.keys().1, [] as [u64; 0]);
    // Unregistered where it asks, it must not know a key; registered elsewhere, it should have.
    talk.enrol(A2, 6);
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(6, 7)), CONFLICT);
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(0, 7)), CONFLICT);
    assert_eq!(talk.registered(), [(port(A), SECOND, 6)]);
}

#[test]
fn the_end_of_a_reservation_by_all_ports_is_told_once_to_each_session_left() {
    let mut talk = of_two_ports();
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(0, 5)), "Good");
    talk.enrol(B, 6);
    talk.reserve(A, 5, Kind::WriteExclusiveRegistrants);
    assert_eq!(talk.out(A, Action::Register, None, &all_ports(5, 0)), "Good");
    assert_eq!([A2, B].map(|nexus| talk.told(nexus)), [RELEASED, RELEASED]);
    assert_eq!([A2, B, A].map(|nexus| talk.told(nexus)), ["Good"; 3]);
    assert_eq!(talk.held(), None);
}

#[test]
fn named_ports_are_registered_with_the_target_port_or_with_all() {
    let list = |key, all_ports, ports: Vec<TransportId>| {
        List { service_key: key, all_ports, ports: Some(ports), ..List::default() }.build()
    };
    let port_of = |nexus| TransportId::Port(port(nexus));
    let mut talk = of_two_ports();
    let said = talk.out(A2, Action::Register, None, &list(7, false, vec![port_of(B)]));
    assert!(said.starts_with("Good"), "{said}");
    assert_eq!(talk.registered(), [(port(A), SECOND, 7), (port(B), SECOND, 7)]);
    assert_eq!(talk.register(B, 7, 8), CONFLICT, "B is here by the first port");
    // Registered at one of the ports that are meant: nobody is.
    let said = talk.out(C, Action::Register, None, &list(9, true, vec![port_of(B)]));
    assert!(said.starts_with("IllegalRequest 26/00"), "{said}");
    let far = port_of(NexusId(99));
    let said = talk.out(C, Action::Register, None, &list(9, true, vec![far]));
    assert!(said.starts_with("Good"), "{said}");
    let added = [C, NexusId(99)].map(port);
    let added = added.iter().flat_map(|port| [(port.clone(), 2, 9), (port.clone(), SECOND, 9)]);
    let mut all: Vec<_> = talk.registered().split_off(2);
    all.sort();
    assert_eq!(all, added.collect::<Vec<_>>());
    // A host that is here by both ports is one initiator port.
    let mut talk = of_two_ports();
    let device = TransportId::Device(port(A).name);
    let said = talk.out(B, Action::Register, None, &list(3, false, vec![device]));
    assert!(said.starts_with("Good"), "{said}");
    assert_eq!(talk.registered(), [(port(B), 2, 3), (port(A), 2, 3)]);
}

#[test]
fn a_reservation_moves_to_the_target_port_that_is_said() {
    let list = |relative_port, to| MoveList {
        key: 1,
        service_key: 9,
        unregister: true,
        persist: false,
        relative_port,
        port: TransportId::Port(port(to)),
    };
    // To the same initiator port's other path, and to another host's.
    for to in [A, B] {
        let mut talk = of_two_ports();
        talk.enrol(A, 1);
        talk.reserve(A, 1, Kind::ExclusiveAccess);
        let said = talk.out(A, Action::RegisterAndMove, None, &list(SECOND, to).build());
        assert!(said.starts_with("Good"), "{said}");
        assert_eq!(talk.registered(), [(port(to), SECOND, 9)]);
        assert_eq!([A, B].map(|nexus| talk.access(nexus)), [(false, false); 2]);
        assert_eq!(talk.access(A2), (to == A, to == A));
    }
    // Neither to a port that is not there, nor to the nexus that has it.
    for (relative_port, to) in [(1, B), (4, B), (2, A)] {
        let mut talk = of_two_ports();
        talk.enrol(A, 1);
        talk.reserve(A, 1, Kind::ExclusiveAccess);
        let list = list(relative_port, to).build();
        let said = talk.out(A, Action::RegisterAndMove, None, &list);
        assert!(said.starts_with("IllegalRequest 26/00 in the list"), "{said}");
        assert_eq!(talk.registered(), [(port(A), 2, 1)]);
    }
}

#[test]
fn reserve_6_is_of_one_nexus_too() {
    let mut talk = of_two_ports();
    talk.send(A, Cdb::Reserve6);
    assert_eq!(talk.access(A2), (false, false));
    assert_eq!(describe(&talk.send(A2, Cdb::Release6)), "Good");
    assert_eq!(describe(&talk.send(A2, Cdb::Reserve6)), CONFLICT);
    talk.send(A, Cdb::Release6);
    assert_eq!(describe(&talk.send(A2, Cdb::Reserve6)), "Good");
}

#[test]
fn a_hosts_copy_may_what_its_best_placed_nexus_may() {
    let mut talk = of_two_ports();
    talk.enrol(A2, 1);
    talk.reserve(A2, 1, Kind::ExclusiveAccess);
    let bars = |talk: &Talk, nexus| talk.unit.bars_host(&port(nexus).name, true);
    assert_eq!([A, B].map(|nexus| bars(&talk, nexus)), [false, true]);
    // Also while none of its sessions is here.
    for nexus in [A, A2] {
        talk.unit.detach(nexus);
    }
    assert_eq!([A, B].map(|nexus| bars(&talk, nexus)), [false, true]);
}

#[test]
fn the_target_port_is_kept_over_power_loss() {
    let mut talk = of_two_ports();
    talk.unit.restore_reservations(None);
    let list = List { service_key: 1, persist: true, ..List::default() };
    talk.out(A2, Action::Register, None, &list.build());
    talk.reserve(A2, 1, Kind::ExclusiveAccess);
    let record = talk.unit.reservations_record(1);
    let mut talk = of_two_ports();
    let kept = Kept::load(&record, disk().uuid).unwrap();
    talk.unit.restore_reservations(kept);
    assert_eq!(talk.registered(), [(port(A), SECOND, 1)]);
    assert_eq!([A, A2].map(|nexus| talk.access(nexus).1), [false, true]);
}

use proptest::prelude::*;

use super::*;
use crate::ids::{IscsiName, Isid};

fn port(name: &str, last: u8) -> InitiatorPort {
    let name = IscsiName::new(name).unwrap();
    InitiatorPort { name, isid: Isid([0x80, 0x12, 0x34, 0x56, 0, last]) }
}

#[test]
fn types_have_the_numbers_of_the_standard() {
    assert_eq!(Kind::ALL.map(Kind::code), [1, 3, 5, 6, 7, 8]);
    for code in 0..=u8::MAX {
        assert_eq!(
            Kind::from_code(code).map(Kind::code),
            (code == 1 || code == 3 || (5..=8).contains(&code)).then_some(code)
        );
    }
}

#[test]
fn keys_are_counted_even_where_they_are_not_sent() {
    let data = keys(7, [1, 2]);
    assert_eq!(data[..8], [0, 0, 0, 7, 0, 0, 0, 16]);
    assert_eq!(data[16..], [0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(parse_keys(&data), Ok((7, vec![1, 2])));
    assert_eq!(parse_keys(&data[..20]), Ok((7, vec![1])));
    assert_eq!(keys(1, []), [0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_reservation_is_told_in_sixteen_bytes() {
    let data = reservation(1, Some((0x0102_0304_0506_0708, Kind::ExclusiveAccessRegistrants)));
    let expected = [0, 0, 0, 1, 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 6, 0, 0];
    assert_eq!(data, expected);
    let held = Some((0x0102_0304_0506_0708, Kind::ExclusiveAccessRegistrants));
    assert_eq!(parse_reservation(&data), Ok((1, held)));
    assert_eq!(parse_reservation(&reservation(3, None)), Ok((3, None)));
    assert!(parse_reservation(&data[..23]).is_err());
}

#[test]
fn capabilities_name_every_type() {
    assert_eq!(capabilities(true, true), [0, 8, 0x1D, 0xB1, 0xEA, 0x01, 0, 0]);
    assert_eq!(capabilities(false, false), [0, 8, 0x1C, 0xB0, 0xEA, 0x01, 0, 0]);
}

#[test]
fn a_port_is_named_by_name_and_isid() {
    let id = port("iqn.2026-11.local:a", 0xAB).transport_id();
    assert_eq!(id[..4], [0x45, 0, 0, 40]);
    assert_eq!(&id[4..], b"iqn.2026-11.local:a,i,0x8012345600ab\0\0\0\0");
    let short = TransportId::Device(IscsiName::new("iqn.a").unwrap()).bytes();
    assert_eq!(short[..4], [0x05, 0, 0, 20]);
    assert_eq!(short.len(), 24);
}

#[test]
fn names_of_other_transports_and_odd_lengths_are_refused() {
    let good = port("iqn.2026-11.local:a", 1).transport_id();
    assert!(TransportId::parse(&good).is_some());
    let with = |at: usize, value: u8| {
        let mut id = good.clone();
        id[at] = value;
        TransportId::parse(&id)
    };
    for (at, value) in [(0, 0x06), (0, 0x85), (3, 39), (3, 16), (3, 44), (4, b' '), (24, b'x')] {
        assert_eq!(with(at, value), None, "byte {at} as {value:02X}");
    }
    for cut in 0..good.len() {
        assert_eq!(TransportId::parse(&good[..cut]), None);
    }
}

#[test]
fn a_list_of_the_wrong_length_is_a_length_error() {
    let list = List { key: 1, service_key: 2, ..List::default() };
    let bytes = list.build();
    assert_eq!(List::parse(&bytes), Ok(list.clone()));
    for cut in 0..bytes.len() {
        assert_eq!(List::parse(&bytes[..cut]), Err(PARAMETER_LIST_LENGTH_ERROR));
    }
    assert_eq!(List::parse(&[&bytes[..], &[0]].concat()), Err(PARAMETER_LIST_LENGTH_ERROR));
    let named = List { ports: Some(vec![TransportId::Port(port("iqn.a:b", 1))]), ..list };
    let bytes = named.build();
    for cut in LIST_LEN..bytes.len() {
        assert_eq!(List::parse(&bytes[..cut]), Err(PARAMETER_LIST_LENGTH_ERROR), "cut at {cut}");
    }
}

#[test]
fn reserved_bits_of_a_list_are_pointed_at() {
    for bit in [1, 4, 5, 6, 7] {
        let mut bytes = List::default().build();
        bytes[20] = 1 << bit;
        assert_eq!(List::parse(&bytes), Err(INVALID_FIELD_IN_LIST.at_list_bit(20, bit)));
    }
    let port = TransportId::Port(port("iqn.a:b", 1));
    let list = MoveList {
        key: 1,
        service_key: 2,
        unregister: true,
        persist: false,
        relative_port: 1,
        port,
    };
    for bit in 2..8 {
        let mut bytes = list.build();
        bytes[17] = 1 << bit;
        assert_eq!(MoveList::parse(&bytes), Err(INVALID_FIELD_IN_LIST.at_list_bit(17, bit)));
    }
}

fn any_id() -> impl Strategy<Value = TransportId> {
    ("[a-z0-9.:-]{1,60}", any::<[u8; 6]>(), any::<bool>()).prop_map(|(name, isid, whole)| {
        let name = IscsiName::new(&format!("iqn.{name}")).unwrap();
        if whole {
            TransportId::Device(name)
        } else {
            TransportId::Port(InitiatorPort { name, isid: Isid(isid) })
        }
    })
}

proptest! {
    #[test]
    fn lists_come_back_as_what_they_were(
        key: u64, service_key: u64, all_ports: bool, persist: bool,
        ports in prop::option::of(prop::collection::vec(any_id(), 0..5)),
        id in any_id(), relative_port: u16, unregister: bool,
    ) {
        let list = List { key, service_key, all_ports, persist, ports };
        prop_assert_eq!(List::parse(&list.build()), Ok(list));
        let list = MoveList { key, service_key, unregister, persist, relative_port, port: id };
        prop_assert_eq!(MoveList::parse(&list.build()), Ok(list));
    }

    #[test]
    fn full_status_comes_back_as_what_it_was(
        generation: u32,
        some in prop::collection::vec((any_id(), any::<u64>(), any::<bool>(), 0usize..12, any::<u16>()), 0..6),
    ) {
        let some: Vec<_> = some.into_iter().filter_map(|(id, key, all_ports, kind, relative_port)| {
            let TransportId::Port(port) = id else { return None };
            let holds = Kind::ALL.get(kind).copied();
            Some(FullStatus { key, all_ports, holds, relative_port, port })
        }).collect();
        prop_assert_eq!(parse_full_status(&full_status(generation, &some)), Ok((generation, some)));
    }

    #[test]
    fn no_list_panics(list in prop::collection::vec(any::<u8>(), 0..120), flags: u8) {
        let _ = List::parse(&list);
        let _ = MoveList::parse(&list);
        let _ = parse_full_status(&list);
        let mut list = list;
        if let Some(byte) = list.get_mut(20) { *byte = flags }
        let _ = List::parse(&list);
    }
}

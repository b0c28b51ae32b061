use proptest::prelude::*;

use super::*;

fn unit_key() -> Key {
    Key::new(KeyId::Unit, [7; 32])
}

fn startup() -> Startup {
    Startup {
        fingerprint: [9; 32],
        api: "192.0.2.1:7443".parse().unwrap(),
        name: "shelf-3".to_owned(),
        version: "0.1.0".to_owned(),
        portals: vec!["192.0.2.1:3260".parse().unwrap(), "[2001:db8::1]:3260".parse().unwrap()],
        interfaces: vec![Interface { name: "eth0".to_owned(), address: [192, 0, 2, 1].into() }],
    }
}

fn datagram(message: Message) -> Datagram {
    Datagram { unit: [3; 16], incarnation: 5, sequence: 8, message }
}

fn every_message() -> Vec<Message> {
    vec![
        Message::Startup(startup()),
        Message::Alive(Load { sessions: 1, free_bytes: u64::MAX, faulted: 2, ..Load::default() }),
        Message::Shutdown,
        Message::NeedInfo,
        Message::Pending,
        Message::AnnounceAgain,
        Message::Refused(Refusal::ExpiredToken),
    ]
}

#[test]
fn every_message_is_read_as_it_was_built() {
    for message in every_message() {
        let datagram = datagram(message);
        let bytes = datagram.build(Some(&unit_key())).unwrap();
        let envelope = Envelope::parse(&bytes).unwrap();
        assert_eq!(envelope.key(), KeyId::Unit);
        assert_eq!(envelope.unit(), datagram.unit);
        assert_eq!(envelope.open(&unit_key()).unwrap(), datagram);
    }
}

#[test]
fn a_datagram_cut_anywhere_is_malformed_and_so_is_a_longer_one() {
    for message in every_message() {
        let mut bytes = datagram(message).build(Some(&unit_key())).unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Envelope::parse(&bytes[..len]).unwrap_err(), BadDatagram::Malformed);
        }
        bytes.push(0);
        assert_eq!(Envelope::parse(&bytes).unwrap_err(), BadDatagram::Malformed);
    }
}

#[test]
fn a_body_cut_anywhere_and_sealed_anew_is_malformed() {
    let body = body::build(&Message::Startup(startup())).unwrap();
    for len in 0..body.len() {
        assert_eq!(body::parse(1, &body[..len]), None);
    }
    assert!(body::parse(1, &body).is_some());
}

#[test]
fn any_changed_bit_breaks_the_seal_or_the_envelope() {
    let bytes = datagram(Message::Startup(startup())).build(Some(&unit_key())).unwrap();
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let opened = Envelope::parse(&changed).and_then(|envelope| envelope.open(&unit_key()));
        assert!(opened.is_err(), "bit {at} is not covered");
    }
}

#[test]
fn another_key_or_the_same_bytes_under_another_name_do_not_open_it() {
    let bytes = datagram(Message::Shutdown).build(Some(&unit_key())).unwrap();
    let envelope = Envelope::parse(&bytes).unwrap();
    for key in [Key::new(KeyId::Unit, [8; 32]), Key::new(KeyId::JoinToken, [7; 32])] {
        assert_eq!(envelope.open(&key).unwrap_err(), BadDatagram::Seal);
    }
}

#[test]
fn an_unsealed_datagram_can_only_refuse() {
    let alive = datagram(Message::Shutdown).build(Some(&unit_key())).unwrap();
    let refusal = Envelope::parse(&alive).unwrap().refuse(Refusal::WrongToken);
    let envelope = Envelope::parse(&refusal).unwrap();
    assert!(refusal.len() <= alive.len() + 1);
    assert_eq!(envelope.number(), (5, 8));
    assert_eq!(envelope.refusal(), Some(Refusal::WrongToken));
    assert_eq!(envelope.open(&Key::new(KeyId::None, [0; 32])).unwrap_err(), BadDatagram::Seal);

    let mut forged = alive;
    forged[6] = 0;
    assert_eq!(Envelope::parse(&forged).unwrap().refusal(), None);
}

#[test]
fn the_largest_startup_fits_into_a_datagram() {
    let mut largest = startup();
    largest.name = "n".repeat(NAME_LEN_MAX);
    largest.version = "v".repeat(VERSION_LEN_MAX);
    largest.portals = vec!["[2001:db8::1]:3260".parse().unwrap(); ADDRESSES_MAX];
    let interface =
        Interface { name: "i".repeat(INTERFACE_LEN_MAX), address: [192, 0, 2, 1].into() };
    largest.interfaces = vec![interface; ADDRESSES_MAX];
    let bytes = datagram(Message::Startup(largest.clone())).build(Some(&unit_key())).unwrap();
    assert!(bytes.len() <= DATAGRAM_LEN_MAX, "{} bytes", bytes.len());

    largest.name.push('n');
    let too_long = datagram(Message::Startup(largest)).build(Some(&unit_key())).unwrap_err();
    assert_eq!(too_long, BadDatagram::TooLong("the unit's name"));
}

#[test]
fn a_name_with_a_control_character_is_not_taken() {
    let mut startup = startup();
    startup.name = "a\nb".to_owned();
    let bytes = datagram(Message::Startup(startup)).build(Some(&unit_key())).unwrap();
    let opened = Envelope::parse(&bytes).unwrap().open(&unit_key());
    assert_eq!(opened.unwrap_err(), BadDatagram::Malformed);
}

#[test]
fn another_version_is_named() {
    let mut bytes = datagram(Message::Shutdown).build(Some(&unit_key())).unwrap();
    bytes[4] = 2;
    assert_eq!(Envelope::parse(&bytes).unwrap_err(), BadDatagram::Version(2));
}

#[test]
fn only_newer_datagrams_are_taken() {
    let mut seen = Seen::default();
    let mut take = |incarnation, sequence| {
        let message = Message::Shutdown;
        seen.take(&Datagram { unit: [3; 16], incarnation, sequence, message })
    };
    assert!(take(5, 1));
    assert!(!take(5, 1), "replayed");
    assert!(take(5, 3));
    assert!(!take(5, 2), "overtaken");
    assert!(take(6, 1), "a new incarnation begins again");
    assert!(!take(5, 9), "an old incarnation replayed");
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
        .prop_map(|address| address.to_canonical())
}

prop_compose! {
    fn any_startup()(
        fingerprint in any::<[u8; 32]>(),
        api in (address(), any::<u16>()),
        name in "[a-zä -~]{0,30}",
        version in "[ -~]{0,32}",
        portals in prop::collection::vec((address(), any::<u16>()), 0..=ADDRESSES_MAX),
        interfaces in prop::collection::vec(("[a-z0-9]{0,15}", address()), 0..=ADDRESSES_MAX),
    ) -> Startup {
        Startup {
            fingerprint,
            api: api.into(),
            name,
            version,
            portals: portals.into_iter().map(SocketAddr::from).collect(),
            interfaces: interfaces
                .into_iter()
                .map(|(name, address)| Interface { name, address })
                .collect(),
        }
    }
}

proptest! {
    #[test]
    fn any_startup_is_read_as_it_was_built(
        startup in any_startup(), incarnation: u64, sequence: u64, unit: [u8; 16]
    ) {
        let message = Message::Startup(startup);
        let datagram = Datagram { unit, incarnation, sequence, message };
        let bytes = datagram.build(Some(&unit_key())).unwrap();
        prop_assert_eq!(Envelope::parse(&bytes).unwrap().open(&unit_key()).unwrap(), datagram);
    }

    #[test]
    fn no_bytes_make_the_parsers_fail_otherwise_than_by_saying_so(
        bytes in prop::collection::vec(any::<u8>(), 0..200), kind: u8
    ) {
        let _ = body::parse(kind, &bytes);
        let mut headed = b"OBAN\x01\x01\x02\x00".to_vec();
        headed.extend_from_slice(&bytes);
        if let Ok(envelope) = Envelope::parse(&headed) {
            prop_assert!(envelope.open(&unit_key()).is_err());
        }
    }
}

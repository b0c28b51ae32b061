//! Text that is read, written and cut; and every row of the table.

use proptest::prelude::*;

use super::*;
use crate::ids::IscsiName;
use crate::pdu::Stage;

/// Offers `key=value` to a target and compares its answer; "" is none.
fn check(session: SessionType, offered: &str, expected: &str) {
    let text: Vec<u8> = offered.bytes().map(|b| if b == b' ' { 0 } else { b }).collect();
    let mut negotiation = Negotiation::new(Role::Target, session, Offer::default());
    let mut answer = TextQueue::default();
    let pairs = Pairs::parse(&text).unwrap();
    negotiation.take(&pairs, Stage::Operational, &mut answer).unwrap();
    let (answer, _) = answer.next_piece(usize::MAX);
    let answer = String::from_utf8(answer.to_vec()).unwrap().replace('\0', " ");
    assert_eq!(answer.trim_end(), expected, "to {offered}");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table, a row a line")]
fn every_operational_key_is_answered_as_section_13_says() {
    // Key, offer, answer in a normal session, whether it means anything in discovery.
    let table: [(&str, &str, &str, bool); 63] = [
        ("HeaderDigest", "None", "None", true),
        ("HeaderDigest", "CRC32C", "CRC32C", true),
        ("HeaderDigest", "None,CRC32C", "None", true),
        ("HeaderDigest", "SHA,CRC32C,None", "CRC32C", true),
        ("HeaderDigest", "SHA", "Reject", true),
        ("DataDigest", "CRC32C,None", "CRC32C", true),
        ("DataDigest", "", "Reject", true),
        ("MaxConnections", "8", "1", false),
        ("MaxConnections", "0", "Reject", false),
        ("MaxConnections", "65536", "Reject", false),
        ("InitialR2T", "Yes", "Yes", false),
        ("InitialR2T", "No", "No", false),
        ("InitialR2T", "yes", "Reject", false),
        ("ImmediateData", "Yes", "Yes", false),
        ("ImmediateData", "No", "No", false),
        ("ImmediateData", "1", "Reject", false),
        ("MaxBurstLength", "512", "512", false),
        ("MaxBurstLength", "0x200", "512", false),
        ("MaxBurstLength", "16777215", "1048576", false),
        ("MaxBurstLength", "511", "Reject", false),
        ("MaxBurstLength", "16777216", "Reject", false),
        ("MaxBurstLength", "-1", "Reject", false),
        ("MaxBurstLength", "+512", "Reject", false),
        ("MaxBurstLength", "512~1024", "Reject", false),
        ("MaxBurstLength", "99999999999999999999", "Reject", false),
        ("FirstBurstLength", "65536", "65536", false),
        ("FirstBurstLength", "16777215", "262144", false),
        ("FirstBurstLength", "1", "Reject", false),
        ("DefaultTime2Wait", "0", "0", true),
        ("DefaultTime2Wait", "3600", "3600", true),
        ("DefaultTime2Wait", "3601", "Reject", true),
        ("DefaultTime2Retain", "20", "0", true),
        ("DefaultTime2Retain", "3601", "Reject", true),
        ("MaxOutstandingR2T", "1", "1", false),
        ("MaxOutstandingR2T", "65535", "8", false),
        ("MaxOutstandingR2T", "0", "Reject", false),
        ("DataPDUInOrder", "No", "Yes", false),
        ("DataPDUInOrder", "Yes", "Yes", false),
        ("DataSequenceInOrder", "No", "Yes", false),
        ("DataSequenceInOrder", "Yes", "Yes", false),
        ("ErrorRecoveryLevel", "2", "0", true),
        ("ErrorRecoveryLevel", "3", "Reject", true),
        ("TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720", false),
        ("TaskReporting", "FastAbort", "Reject", false),
        ("iSCSIProtocolLevel", "2", "1", false),
        ("iSCSIProtocolLevel", "0", "0", false),
        ("iSCSIProtocolLevel", "32", "Reject", false),
        ("IFMarker", "No", "No", true),
        ("IFMarker", "Yes", "No", true),
        ("OFMarker", "Yes", "No", true),
        ("IFMarkInt", "2048~8192", "Reject", true),
        ("OFMarkInt", "2048~8192", "Reject", true),
        ("SendTargets", "All", "Reject", true),
        ("AuthMethod", "None", "Reject", true),
        ("CHAP_A", "5", "Reject", true),
        ("TargetAlias", "mine", "Reject", true),
        ("TargetPortalGroupTag", "1", "Reject", true),
        ("TargetAddress", "a:1,1", "Reject", true),
        ("X-com.example.key", "1", "NotUnderstood", true),
        ("X#NodeArchitecture", "x86", "NotUnderstood", true),
        ("Unheard", "Yes", "NotUnderstood", true),
        ("initialr2t", "No", "NotUnderstood", true),
        ("IsCSIProtocolLevel", "1", "NotUnderstood", true),
    ];
    for (key, offered, answer, in_discovery) in table {
        check(SessionType::Normal, &format!("{key}={offered}"), &format!("{key}={answer}"));
        let answer = if in_discovery { answer } else { "Irrelevant" };
        check(SessionType::Discovery, &format!("{key}={offered}"), &format!("{key}={answer}"));
    }
}

#[test]
fn declarations_get_no_answer() {
    for declared in [
        "InitiatorName=iqn.2026-11.a:b",
        "InitiatorAlias=me",
        "TargetName=iqn.2026-11.a:b",
        "SessionType=Normal",
        "MaxRecvDataSegmentLength=512",
        "MaxRecvDataSegmentLength=16777215",
    ] {
        check(SessionType::Normal, declared, "");
        check(SessionType::Discovery, declared, "");
    }
}

#[test]
fn the_first_burst_is_settled_after_what_it_depends_on() {
    check(
        SessionType::Normal,
        "FirstBurstLength=65536 MaxBurstLength=4096",
        "MaxBurstLength=4096 FirstBurstLength=4096",
    );
    check(
        SessionType::Normal,
        "FirstBurstLength=65536 ImmediateData=No InitialR2T=Yes",
        "InitialR2T=Yes ImmediateData=No FirstBurstLength=Irrelevant",
    );
    check(
        SessionType::Normal,
        "FirstBurstLength=65536 ImmediateData=No InitialR2T=No",
        "InitialR2T=No ImmediateData=No FirstBurstLength=65536",
    );
}

#[test]
fn a_key_is_in_the_table_once() {
    for (place, row) in TABLE.iter().enumerate() {
        assert_eq!(Row::find(row.name).unwrap().0, place, "{}", row.name);
    }
}

#[test]
fn defaults_are_those_of_section_13() {
    let none = Negotiation::new(Role::Target, SessionType::Normal, Offer::default());
    let params = none.finish().unwrap();
    assert_eq!(params, Params::default());
    assert!(params.initial_r2t && params.immediate_data);
    assert_eq!((params.max_burst_len, params.first_burst_len), (262_144, 65_536));
    assert_eq!((params.max_recv_ours, params.max_recv_theirs), (8192, 8192));
    assert_eq!((params.time_to_wait, params.time_to_retain), (2, 20));
    assert_eq!((params.max_outstanding_r2t, params.max_connections), (1, 1));
}

#[test]
fn an_offer_out_of_range_is_pulled_into_it() {
    let offer =
        Offer { max_recv: 1, max_burst_len: u32::MAX, time_to_wait: 9999, ..Offer::default() };
    let mut text = TextQueue::default();
    Negotiation::new(Role::Initiator, SessionType::Normal, offer).propose(&mut text);
    let (text, _) = text.next_piece(usize::MAX);
    let pairs = Pairs::parse(&text).unwrap();
    assert_eq!(pairs.value("MaxRecvDataSegmentLength"), Some("512"));
    assert_eq!(pairs.value("MaxBurstLength"), Some("16777215"));
    assert_eq!(pairs.value("DefaultTime2Wait"), Some("3600"));
}

#[test]
fn a_text_is_read_pair_by_pair() {
    let long = "v".repeat(255);
    let text = format!("A=1\0\0B=x=y\0C=\0D={long}\0E=0x{}\0\0\0", "ab".repeat(1024));
    let pairs = Pairs::parse(text.as_bytes()).unwrap();
    assert_eq!(pairs.iter().map(|pair| pair.key).collect::<String>(), "ABCDE");
    assert_eq!(pairs.value("B"), Some("x=y"));
    assert_eq!(pairs.value("C"), Some(""));
    assert_eq!(pairs.value("F"), None);
    assert_eq!(Pairs::parse(b"A=1").unwrap().value("A"), Some("1"), "without a last NUL");
    assert_eq!(Pairs::parse(b"").unwrap(), Pairs::default());
}

#[test]
fn what_is_no_text_is_refused() {
    let key = |len: usize| format!("{}=1\0", "k".repeat(len));
    assert!(Pairs::parse(key(63).as_bytes()).is_ok());
    let many: String = (0..=PAIRS_MAX).map(|i| format!("k{i}=\0")).collect();
    for (text, error) in [
        (key(64), TextError::Key),
        (key(0), TextError::Key),
        ("a b=1\0".to_owned(), TextError::Key),
        ("ä=1\0".to_owned(), TextError::Key),
        ("A\0".to_owned(), TextError::NoValue),
        ("A=1\0B".to_owned(), TextError::NoValue),
        ("A=1\0A=2\0".to_owned(), TextError::Duplicate("A".to_owned())),
        (format!("A={}\0", "v".repeat(256)), TextError::Value("A".to_owned())),
        (format!("A=0x{}\0", "a".repeat(2049)), TextError::Value("A".to_owned())),
        ("A=\u{1b}[2J\0".to_owned(), TextError::Value("A".to_owned())),
        (many, TextError::TooManyPairs),
    ] {
        assert_eq!(Pairs::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(Pairs::parse(b"A=\xff\0"), Err(TextError::Value("A".to_owned())));
}

#[test]
fn numbers_and_binary_have_the_spellings_of_the_standard() {
    for (text, value) in [
        ("0", Some(0)),
        ("007", Some(7)),
        ("0xFf", Some(255)),
        ("0X10", Some(16)),
        ("4294967295", Some(u32::MAX)),
        ("4294967296", None),
        ("", None),
        ("0x", None),
        ("+1", None),
        ("1 ", None),
        ("0x+1", None),
    ] {
        assert_eq!(number(text), value, "{text:?}");
    }
    let four = Some(vec![0xde, 0xad, 0xbe, 0xef]);
    for (text, value) in [
        ("0xdeadBEEF", four.clone()),
        ("0XDEADBEEF", four.clone()),
        ("0b3q2+7w==", four.clone()),
        ("0B3q2+7w", four),
        ("0xdeadbeef00", None),
        ("0xdea", None),
        ("0x", None),
        ("0b", None),
        ("deadbeef", None),
        ("0b3q2+7w=", None),
        ("ä", None),
    ] {
        assert_eq!(binary(text, 4), value, "{text:?}");
    }
}

#[test]
fn a_buffer_keeps_its_bounds() {
    let mut buffer = TextBuffer::default();
    assert!(buffer.add(&vec![b'a'; TEXT_LEN_MAX]).is_ok());
    assert_eq!(buffer.add(b"a"), Err(TextError::TooLong));
    let mut buffer = TextBuffer::default();
    for _ in 1..TEXT_PDUS_MAX {
        assert_eq!(buffer.end_of_pdu(true), Ok(None), "C without data is waited out");
    }
    assert_eq!(buffer.end_of_pdu(true), Err(TextError::TooManyPdus));
}

#[test]
fn send_targets_answers_are_written_and_read() {
    let record = |name: &str, portals: &[&str]| TargetRecord {
        name: IscsiName::new(name).unwrap(),
        portals: portals.iter().map(|portal| portal.parse().unwrap()).collect(),
    };
    let targets = [
        record("iqn.2026-11.a:one", &["10.0.0.1:3260,1", "[fd00::1]:3261,2"]),
        record("iqn.2026-11.a:two", &[]),
    ];
    let mut text = TextQueue::default();
    send_targets(&targets, &mut text);
    let (text, _) = text.next_piece(usize::MAX);
    assert_eq!(
        text,
        "TargetName=iqn.2026-11.a:one\0TargetAddress=10.0.0.1:3260,1\0\
         TargetAddress=[fd00::1]:3261,2\0TargetName=iqn.2026-11.a:two\0"
    );
    assert_eq!(parse_targets(&text).unwrap(), targets);
    let address = PortalAddress::new("[fd00::1]:3261".parse().unwrap(), Some(2));
    assert_eq!(targets[0].portals[1], address);
}

#[test]
fn an_odd_target_does_not_hide_the_others() {
    let text = b"TargetAddress=lost:1,1\0TargetName=../../etc\0TargetAddress=a:1,1\0\
                 TargetName=iqn.2026-11.a:b\0TargetAddress=bad:port\0TargetAddress=host.local\0";
    let targets = parse_targets(text).unwrap();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].portals, ["host.local:3260".parse().unwrap()]);
}

#[test]
fn a_send_targets_question_has_three_forms() {
    assert_eq!(Asked::parse("All"), Some(Asked::All));
    assert_eq!(Asked::parse(""), Some(Asked::ThisTarget));
    let name = IscsiName::new("iqn.2026-11.a:b").unwrap();
    assert_eq!(Asked::parse("iqn.2026-11.a:b"), Some(Asked::Target(name)));
    assert_eq!(Asked::parse("everything"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Pairs::parse(&bytes);
        let _ = parse_targets(&bytes);
    }

    #[test]
    fn no_text_makes_a_value_reader_panic(text in "\\PC{0,40}", len_max in 0usize..40) {
        let _ = (number(&text), boolean(&text), list(&text).count());
        let _ = (text.parse::<PortalAddress>(), Asked::parse(&text));
        if let Some(bytes) = binary(&text, len_max) {
            prop_assert!((1..=len_max).contains(&bytes.len()));
        }
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        values in proptest::collection::vec("[a-z0-9=,.:]{0,40}", 0..20),
        cut in 1usize..50,
    ) {
        let mut queue = TextQueue::default();
        for (i, value) in values.iter().enumerate() {
            queue.write(&format!("K{i}"), value);
        }
        let mut text = Vec::new();
        loop {
            let (piece, more) = queue.next_piece(cut);
            prop_assert!(piece.len() <= cut);
            text.extend_from_slice(&piece);
            if !more {
                break;
            }
        }
        let read: Vec<_> = Pairs::parse(&text).unwrap().iter().map(|p| p.value.to_owned()).collect();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn binary_survives_both_spellings(bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
        prop_assert_eq!(binary(&Hex(&bytes).to_string(), 100), Some(bytes.clone()));
        let base64 = format!("0b{}", data_encoding::BASE64.encode(&bytes));
        prop_assert_eq!(binary(&base64, 100), Some(bytes));
    }

    #[test]
    fn addresses_survive_the_text(octets: [u8; 16], six: bool, port in 1u16.., tag: Option<u16>) {
        let [a, b, c, d, ..] = octets;
        let ip: std::net::IpAddr =
            if six { octets.into() } else { [a, b, c, d].into() };
        let address = PortalAddress::new((ip, port).into(), tag);
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }
}

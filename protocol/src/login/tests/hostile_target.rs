//! What an initiator makes of a target that is odd or malicious: it believes nothing that it did
//! not ask for, and it ends.

use bytes::Bytes;
use proptest::prelude::*;

use super::{config, credentials};
use crate::Transmit;
use crate::ids::{Isid, Itt, Tsih};
use crate::keys::{DigestWish, Hex, NegotiationError, Offer};
use crate::limits::LOGIN_ROUNDS_MAX;
use crate::login::LoginError;
use crate::login::chap::Algorithm;
use crate::login::initiator::{Config, Event, Login};
use crate::pdu::{LoginResponse, LoginStatus, Sequence, Stage};
use crate::serial::Sn;
use crate::transmit::{Body, Digests};

/// One answer of the target: CSG and NSG, `+` for C; its keys; and what else is odd about it.
type Answer<'a> = (&'a str, &'a str, fn(&mut LoginResponse));

const PLAIN: fn(&mut LoginResponse) = |_| ();

fn response(stages: &str, stat_sn: u32) -> LoginResponse {
    let mut named = stages.chars().filter_map(|c| match c {
        'S' => Some(Stage::Security),
        'O' => Some(Stage::Operational),
        'F' => Some(Stage::FullFeature),
        _ => None,
    });
    let (current, transit) = (named.next().unwrap(), named.next());
    LoginResponse {
        transit,
        more: stages.contains('+'),
        current,
        version_max: 0,
        version_active: 0,
        isid: config().isid,
        tsih: Tsih(if transit == Some(Stage::FullFeature) { 3 } else { 0 }),
        itt: Itt(0),
        sequence: Sequence {
            stat_sn: Sn(stat_sn),
            exp_cmd_sn: config().cmd_sn,
            max_cmd_sn: config().cmd_sn.plus(7),
        },
        status: LoginStatus::SUCCESS,
    }
}

/// Gives the answers in turn and says what the initiator made of them, `None` while it goes on.
fn run(config: Config, answers: &[Answer<'_>]) -> Result<Option<Event>, LoginError> {
    let mut login = Login::new(config);
    for (place, (stages, text, change)) in answers.iter().enumerate() {
        while login.poll_transmit().is_some() {}
        let mut response = response(stages, u32::try_from(place).unwrap());
        change(&mut response);
        let mut text: Vec<u8> = text.bytes().map(|b| if b == b' ' { 0 } else { b }).collect();
        if !text.is_empty() && !stages.contains('+') {
            text.push(0);
        }
        let body = if text.is_empty() { Body::None } else { Body::Bytes(Bytes::from(text)) };
        let pdu = super::bytes(&Transmit::new(response.build(), body, Digests::default()));
        if let Some(event) = login.next_event(&mut &pdu[..])? {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

fn check(config: Config, answers: &[Answer<'_>], expected: &LoginError) {
    assert_eq!(run(config, answers).as_ref(), Err(expected), "{answers:?}");
}

const STAGE_ONE: Answer<'_> = ("SO", "TargetPortalGroupTag=1 AuthMethod=None", PLAIN);

#[test]
fn a_plain_target_is_believed() {
    let Ok(Some(Event::Done(logged_in))) = run(config(), &[STAGE_ONE, ("OF", "", PLAIN)]) else {
        panic!("the login failed");
    };
    assert!(!logged_in.params.immediate_data || logged_in.params.initial_r2t, "the defaults hold");
    assert_eq!(logged_in.params.max_recv_theirs, 8192);
    assert_eq!(logged_in.exp_stat_sn, Sn(2));
}

#[test]
fn a_target_that_takes_its_time_is_followed() {
    let slow: [Answer<'_>; 6] = [
        ("S+", "TargetPortal", PLAIN),
        ("SO", "GroupTag=258 AuthMethod=None", PLAIN),
        ("O", "MaxRecvDataSegmentLength=65536", PLAIN),
        ("O", "MaxBurstLength=4096 TaskReporting=FastAbort X-vendor=1", PLAIN),
        ("O", "", PLAIN),
        ("OF", "", PLAIN),
    ];
    let Ok(Some(Event::Done(logged_in))) = run(config(), &slow) else {
        panic!("the login failed");
    };
    assert_eq!(logged_in.target_portal_group_tag, Some(258));
    assert_eq!((logged_in.params.max_burst_len, logged_in.params.first_burst_len), (4096, 4096));
    assert_eq!(logged_in.params.max_recv_theirs, 65_536);
}

#[test]
fn fields_that_do_not_follow_from_the_request_end_the_login() {
    for (answer, field) in [
        (("SO", "", (|r| r.itt = Itt(5)) as fn(&mut LoginResponse)), "ITT"),
        (("SO", "", |r| r.isid = Isid([9; 6])), "ISID"),
        (("SO", "", |r| r.version_active = 1), "version"),
        (("OF", "", PLAIN), "CSG"),
        (("SF", "", PLAIN), "NSG"),
        (("SS", "", PLAIN), "NSG"),
        (("SO+", "", PLAIN), "T with C"),
    ] {
        check(config(), &[answer], &LoginError::WrongField(field));
    }
    let chap = Config { chap: Some(credentials(false)), ..config() };
    check(chap, &[("SO", "AuthMethod=None", PLAIN)], &LoginError::WrongField("T"));
    let jump: Answer<'_> = ("OF", "", |r| r.sequence.stat_sn = Sn(99));
    check(config(), &[STAGE_ONE, jump], &LoginError::WrongField("StatSN"));
    let no_handle: Answer<'_> = ("OF", "", |r| r.tsih = Tsih(0));
    check(config(), &[STAGE_ONE, no_handle], &LoginError::WrongField("TSIH"));
    let offers_at_the_end = LoginError::WrongField("T while keys wait for an answer");
    check(config(), &[STAGE_ONE, ("OF", "X-vendor=1", PLAIN)], &offers_at_the_end);
}

#[test]
fn nothing_but_a_login_response_is_heard_in_a_login() {
    // §4.2.4, and §11.2.1.2: no opcode of an initiator's either.
    for opcode in (0..=0x3f).filter(|opcode| *opcode != 0x23) {
        let mut login = Login::new(config());
        while login.poll_transmit().is_some() {}
        let mut bhs = response("SO", 0).build();
        bhs.0[0] = opcode;
        assert!(login.next_event(&mut &bhs.0[..]).is_err(), "{opcode:#x}");
    }
}

#[test]
fn values_outside_of_the_offer_end_the_login() {
    for (key, value) in [
        ("MaxBurstLength", "1048577"),
        ("MaxBurstLength", "511"),
        ("FirstBurstLength", "16777215"),
        ("MaxOutstandingR2T", "9"),
        ("MaxOutstandingR2T", "0"),
        ("MaxConnections", "2"),
        ("ErrorRecoveryLevel", "1"),
        ("DefaultTime2Retain", "20"),
        ("DefaultTime2Wait", "3601"),
        ("DataPDUInOrder", "No"),
        ("DataSequenceInOrder", "No"),
        ("HeaderDigest", "CRC32C"),
        ("HeaderDigest", "SHA"),
        ("DataDigest", "None,CRC32C"),
        ("InitialR2T", "Maybe"),
    ] {
        let text = format!("{key}={value}");
        let error = run(config(), &[STAGE_ONE, ("OF", &text, PLAIN)]).unwrap_err();
        assert_eq!(error, NegotiationError::OutsideOffer(key).into());
    }
    let bad = NegotiationError::BadDeclaration("MaxRecvDataSegmentLength");
    let text = "MaxRecvDataSegmentLength=0";
    check(config(), &[STAGE_ONE, ("OF", text, PLAIN)], &bad.into());
    let twice: Answer<'_> = ("O", "InitialR2T=No", PLAIN);
    check(config(), &[STAGE_ONE, twice, twice], &NegotiationError::Again("InitialR2T").into());
}

#[test]
fn a_target_that_refuses_every_key_leaves_the_defaults() {
    let text = "HeaderDigest=Reject DataDigest=Reject MaxConnections=Reject InitialR2T=Reject \
                ImmediateData=Reject MaxBurstLength=NotUnderstood FirstBurstLength=Irrelevant";
    let Ok(Some(Event::Done(logged_in))) = run(config(), &[STAGE_ONE, ("OF", text, PLAIN)]) else {
        panic!("the login failed");
    };
    assert_eq!(logged_in.params.max_burst_len, 262_144);
    assert!(logged_in.params.initial_r2t);

    let offer = Offer { header_digest: DigestWish::Require, ..Offer::default() };
    let config = Config { offer, ..config() };
    check(config, &[STAGE_ONE, ("OF", text, PLAIN)], &NegotiationError::DigestRequired.into());
}

#[test]
fn authentication_cannot_be_talked_away() {
    let with = |mutual| Config { chap: Some(credentials(mutual)), ..config() };
    let method: Answer<'_> = ("S", "AuthMethod=CHAP", PLAIN);
    for answer in ["AuthMethod=None", "AuthMethod=Reject", "AuthMethod=KRB5", ""] {
        check(with(true), &[("S", answer, PLAIN)], &LoginError::NoAuthentication);
    }
    check(config(), &[("S", "AuthMethod=CHAP", PLAIN)], &LoginError::NoAuthentication);
    for (question, key) in [
        ("CHAP_I=1 CHAP_C=0x00", "CHAP_A"),
        ("CHAP_A=56 CHAP_I=1 CHAP_C=0x00", "CHAP_A"),
        ("CHAP_A=5 CHAP_I=256 CHAP_C=0x00", "CHAP_I"),
        ("CHAP_A=5 CHAP_I=1 CHAP_C=0x", "CHAP_C"),
    ] {
        check(with(false), &[method, ("S", question, PLAIN)], &LoginError::Chap(key));
    }
    let back = format!("CHAP_A=5 CHAP_I=1 CHAP_C={}", Hex(&config().challenge.1));
    check(with(true), &[method, ("S", &back, PLAIN)], &LoginError::Reflection);

    let question: Answer<'_> = ("S", "CHAP_A=5 CHAP_I=1 CHAP_C=0x0011", PLAIN);
    for proof in ["", "CHAP_N=unit", "CHAP_N=unit CHAP_R=0x00112233445566778899aabbccddeeff"] {
        let answers = [method, question, ("SO", proof, PLAIN)];
        check(with(true), &answers, &LoginError::TargetNotAuthenticated);
    }
    let secret = &credentials(true).mutual.unwrap().1;
    let proof = Algorithm::Md5.response(9, secret, &config().challenge.1);
    let proof = format!("CHAP_N=unit CHAP_R={}", Hex(&proof));
    assert_eq!(run(with(true), &[method, question, ("SO", &proof, PLAIN)]), Ok(None));
}

#[test]
fn the_same_secret_in_both_directions_is_not_used() {
    let mut same = credentials(true);
    same.mutual = Some(("unit".to_owned(), same.secret.clone()));
    assert!(same.check().is_err());
    let config = Config { chap: Some(same), ..config() };
    let answers: [Answer<'_>; 2] =
        [("S", "AuthMethod=CHAP", PLAIN), ("S", "CHAP_A=5 CHAP_I=1 CHAP_C=0x0011", PLAIN)];
    check(config, &answers, &LoginError::Reflection);
}

#[test]
fn a_target_without_end_is_left() {
    let more: Vec<Answer<'_>> = vec![("S+", "", PLAIN); 40];
    assert!(matches!(run(config(), &more), Err(LoginError::Text(_))));
    let stay: Vec<Answer<'_>> = vec![("S", "", PLAIN); LOGIN_ROUNDS_MAX as usize + 1];
    check(config(), &stay, &LoginError::TooManyRounds);
}

#[test]
fn a_redirection_without_a_usable_address_is_not_followed() {
    let moved: fn(&mut LoginResponse) = |r| r.status = LoginStatus::MOVED_TEMPORARILY;
    for text in
        ["", "TargetAddress=", "TargetAddress=a:b", "TargetAddress=[::1", "TargetAddress=a/b"]
    {
        check(config(), &[("S", text, moved)], &LoginError::BadRedirect);
    }
    let Ok(Some(Event::Redirect { address, permanent: false })) =
        run(config(), &[("S", "TargetAddress=storage.example", moved)])
    else {
        panic!("not redirected");
    };
    assert_eq!((address.host.as_str(), address.port), ("storage.example", 3260));
}

#[test]
fn a_window_that_makes_no_sense_lets_no_command_out() {
    let closed: fn(&mut LoginResponse) = |r| r.sequence.max_cmd_sn = r.sequence.exp_cmd_sn.minus(9);
    let Ok(Some(Event::Done(logged_in))) = run(config(), &[STAGE_ONE, ("OF", "", closed)]) else {
        panic!("the login failed");
    };
    assert_eq!(logged_in.max_cmd_sn, logged_in.cmd_sn.minus(1));
}

proptest! {
    #[test]
    fn no_bytes_make_the_initiator_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        mutual: bool,
    ) {
        let mut login = Login::new(Config { chap: Some(credentials(mutual)), ..config() });
        let mut input = &bytes[..];
        while let Ok(Some(_)) = login.next_event(&mut input) {}
    }

    #[test]
    fn no_keys_make_the_initiator_panic_or_believe_an_unproved_target(
        said in proptest::collection::vec((0usize..6, text()), 1..8),
    ) {
        let stages = ["S", "SO", "S+", "O", "OF", "O+"];
        let answers: Vec<Answer<'_>> =
            said.iter().map(|(at, text)| (stages[*at], text.as_str(), PLAIN)).collect();
        let config = Config { chap: Some(credentials(true)), ..config() };
        prop_assert!(!matches!(run(config, &answers), Ok(Some(Event::Done(_)))));
    }
}

fn text() -> impl Strategy<Value = String> {
    let pair = prop::sample::select(vec![
        "AuthMethod=CHAP",
        "AuthMethod=None",
        "CHAP_A=5",
        "CHAP_I=1",
        "CHAP_C=0xaabb",
        "CHAP_N=unit",
        "CHAP_R=0x00112233445566778899aabbccddeeff",
        "TargetAlias=x",
        "X-a=b",
        "MaxBurstLength=512",
        "InitialR2T=No",
        "TargetPortalGroupTag=1",
        "=",
        "a",
    ]);
    proptest::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join(" "))
}

//! What a target makes of initiators other than ours: of old habits, of mistakes and of malice.

use bytes::Bytes;
use proptest::prelude::*;

use super::{INITIATOR, TARGET, bytes, chap, credentials, hear, line, settings};
use crate::Transmit;
use crate::framer::FrameError;
use crate::ids::{Cid, Isid, Itt, Tsih};
use crate::keys::{DigestWish, Hex, Offer, binary};
use crate::limits::{BINARY_LEN_MAX, LOGIN_ROUNDS_MAX};
use crate::login::target::{Demand, Login, Settings};
use crate::login::tests::{Outcome, Verdict};
use crate::login::{Algorithm, LoginError};
use crate::pdu::{Bhs, LoginRequest, LoginStatus, Order, Stage};
use crate::serial::Sn;
use crate::transmit::{Body, Digests};

/// An initiator that says what it is told to.
pub(super) struct Odd {
    target: Option<Login>,
    verdict: Verdict,
    outcome: Outcome,
    change: fn(&mut LoginRequest),
}

impl Odd {
    pub(super) fn new(demand: Demand) -> Self {
        Self::with(demand, settings())
    }

    fn with(demand: Demand, settings: Settings) -> Self {
        let initiator = Err(LoginError::TooManyRounds);
        Self {
            target: Some(Login::new(settings)),
            verdict: Verdict::Demand(demand),
            outcome: Outcome { initiator, admitted: None, refused: None },
            change: |_| (),
        }
    }

    /// Sends a request; `stages` is CSG and NSG, `+` for C. Spaces in `text` part the pairs; `@`
    /// stands for the names. Returns the answers as lines.
    pub(super) fn say(&mut self, stages: &str, text: &str) -> String {
        let names = format!("InitiatorName={INITIATOR} TargetName={TARGET}");
        let text = text.replace('@', &names);
        let mut raw: Vec<u8> = text.bytes().map(|b| if b == b' ' { 0 } else { b }).collect();
        if !raw.is_empty() && !stages.contains('+') {
            raw.push(0);
        }
        self.say_raw(stages, raw)
    }

    fn say_raw(&mut self, stages: &str, text: Vec<u8>) -> String {
        self.answers(stages, text).iter().map(line).collect::<String>().trim_end().to_owned()
    }

    fn answers(&mut self, stages: &str, text: Vec<u8>) -> Vec<Transmit> {
        let mut request = request(stages);
        (self.change)(&mut request);
        let body = if text.is_empty() { Body::None } else { Body::Bytes(Bytes::from(text)) };
        let pdu = bytes(&Transmit::new(request.build(), body, Digests::default()));
        hear(&mut self.target, &pdu, &self.verdict, &mut self.outcome)
    }
}

fn request(stages: &str) -> LoginRequest {
    let mut named = stages.chars().filter_map(|c| match c {
        'S' => Some(Stage::Security),
        'O' => Some(Stage::Operational),
        'F' => Some(Stage::FullFeature),
        _ => None,
    });
    LoginRequest {
        current: named.next().unwrap(),
        transit: named.next(),
        more: stages.contains('+'),
        version_max: 0,
        version_min: 0,
        isid: Isid([0x40, 0, 0, 0, 0, 1]),
        tsih: Tsih(0),
        itt: Itt(0x1234),
        cid: Cid(0),
        order: Order { immediate: true, cmd_sn: Sn(1), exp_stat_sn: Sn(0) },
    }
}

/// Says `said` in turn, and compares the last answer.
fn check(demand: Demand, said: &[(&str, &str)], last_answer: &str) -> Odd {
    let mut odd = Odd::new(demand);
    let answers: Vec<_> = said.iter().map(|(stages, text)| odd.say(stages, text)).collect();
    assert_eq!(answers.last().unwrap(), last_answer, "{said:?}: {answers:?}");
    odd
}

#[test]
fn one_request_with_all_the_keys_is_enough() {
    let odd = check(
        Demand::None,
        &[(
            "OF",
            "@ SessionType=Normal HeaderDigest=None,CRC32C InitialR2T=No MaxBurstLength=0x40000",
        )],
        "< OF TargetPortalGroupTag=1 MaxRecvDataSegmentLength=262144 HeaderDigest=None \
         InitialR2T=No MaxBurstLength=262144",
    );
    let params = odd.outcome.admitted.unwrap().params;
    assert!(!params.initial_r2t);
    assert_eq!((params.max_recv_ours, params.max_recv_theirs), (262_144, 8192));
    assert_eq!((params.max_burst_len, params.first_burst_len), (262_144, 65_536));
}

#[test]
fn who_leaps_from_security_to_full_feature_gets_the_defaults() {
    let odd = check(
        Demand::None,
        &[("SF", "@ AuthMethod=None")],
        "< SF TargetPortalGroupTag=1 AuthMethod=None",
    );
    let params = odd.outcome.admitted.unwrap().params;
    assert_eq!(params, crate::keys::Params::default(), "what was not declared does not hold");
}

#[test]
fn habits_of_known_initiators_are_understood() {
    for (said, last) in [
        // libiscsi and QEMU without CHAP.
        (vec![("SO", "@ AuthMethod=None")], "< SO TargetPortalGroupTag=1 AuthMethod=None"),
        // open-iscsi: no method at all when there is nothing to prove.
        (vec![("SO", "@")], "< SO TargetPortalGroupTag=1"),
        // A preference that is not ours.
        (
            vec![("SO", "@ AuthMethod=KRB5,CHAP,None")],
            "< SO TargetPortalGroupTag=1 AuthMethod=None",
        ),
        // Asks to move on with nothing said, and again.
        (vec![("S", "@"), ("S", ""), ("SO", "")], "< SO"),
        // A long text over three requests.
        (
            vec![("O+", "@ Max"), ("O+", "BurstLength=16"), ("OF", "384")],
            "< OF TargetPortalGroupTag=1 MaxRecvDataSegmentLength=262144 MaxBurstLength=16384",
        ),
    ] {
        check(Demand::None, &said, last);
    }
}

#[test]
fn chap_goes_by_every_algorithm_in_hex_and_in_base64() {
    for (algorithm, code) in Algorithm::ALL.into_iter().zip(["8", "7", "6", "5"]) {
        for base64 in [false, true] {
            let mut odd = Odd::new(chap(false));
            odd.say("S", "@ AuthMethod=CHAP");
            let asked = odd.say("S", &format!("CHAP_A=99,{code}"));
            assert_eq!(asked, format!("< S CHAP_A={code} CHAP_I=7 CHAP_C=0x…"));
            let response = algorithm.response(7, &credentials(false).secret, &[0xc2; 16]);
            let response = if base64 {
                format!("0b{}", data_encoding::BASE64.encode(&response))
            } else {
                Hex(&response).to_string().to_uppercase().replacen("0X", "0x", 1)
            };
            assert_eq!(odd.say("SO", &format!("CHAP_N=host CHAP_R={response}")), "< SO");
        }
    }
}

#[test]
fn libiscsi_says_its_names_again_after_chap() {
    let mut odd = Odd::new(chap(true));
    let first = odd.say("SO", "@ SessionType=Normal AuthMethod=CHAP,None");
    assert_eq!(first, "< S TargetPortalGroupTag=1 AuthMethod=CHAP");
    assert_eq!(odd.say("S", "CHAP_A=5"), "< S CHAP_A=5 CHAP_I=7 CHAP_C=0x…");
    let response = Algorithm::Md5.response(7, &credentials(true).secret, &[0xc2; 16]);
    let proof = format!("CHAP_N=host CHAP_R={} CHAP_I=1 CHAP_C=0xAABB", Hex(&response));
    assert_eq!(odd.say("SO", &proof), "< SO CHAP_N=unit CHAP_R=0x…");
    let last = odd.say("OF", "@ SessionType=Normal HeaderDigest=None IFMarker=No");
    assert_eq!(last, "< OF MaxRecvDataSegmentLength=262144 HeaderDigest=None IFMarker=No");
    assert!(odd.outcome.admitted.is_some());
}

#[test]
fn md5_makes_the_response_that_rfc_1994_describes() {
    // MD5 of 07, "secret-of-16-byt", 00 01 02 03, computed with md5sum.
    let secret = crate::login::Secret::new(b"secret-of-16-byt".to_vec());
    let response = Algorithm::Md5.response(7, &secret, &[0, 1, 2, 3]);
    assert_eq!(Hex(&response).to_string(), "0xce4a8b0e5dfb3a43346f4d1ea30457e3");
}

#[test]
fn chap_that_breaks_the_rules_is_refused_without_a_hint() {
    // §9.2: what is not according to the step is 0200 or 0207, a wrong proof 0201.
    let challenge = Hex(&[0xc2; 16]).to_string();
    let right = Algorithm::Md5.response(7, &credentials(false).secret, &[0xc2; 16]);
    let right = format!("CHAP_N=host CHAP_R={}", Hex(&right));
    let wrong = format!("CHAP_N=host CHAP_R=0x{}", "ab".repeat(16));
    let too_long = format!("CHAP_N=host CHAP_R=0x{}", "ab".repeat(17));
    for (mutual, algorithms, last, status) in [
        (false, "CHAP_A=1,56", "", "0201"),
        (false, "InitiatorAlias=a", "", "0207"),
        (false, "CHAP_A=5", "CHAP_N=host", "0207"),
        (false, "CHAP_A=5", "CHAP_R=0x00", "0207"),
        (false, "CHAP_A=5", "InitiatorAlias=a", "0207"),
        (false, "CHAP_A=5", "CHAP_N=host CHAP_R=0x", "0200"),
        (false, "CHAP_A=5", "CHAP_N=host CHAP_R=0xzz", "0200"),
        (false, "CHAP_A=5", too_long.as_str(), "0200"),
        (false, "CHAP_A=5", "AuthMethod=None", "0200"),
        (false, "CHAP_A=5", wrong.as_str(), "0201"),
        (false, "CHAP_A=5", &wrong.replace("host", "guest"), "0201"),
        (false, "CHAP_A=5", &right.replace("host", "guest"), "0201"),
        (false, "CHAP_A=5", &format!("{right} CHAP_I=1 CHAP_C=0xaabbccdd"), "0201"),
        (true, "CHAP_A=5", &format!("{right} CHAP_I=256 CHAP_C=0xaabbccdd"), "0200"),
        (true, "CHAP_A=5", &format!("{right} CHAP_I=1 CHAP_C=aabb"), "0200"),
        (true, "CHAP_A=5", &format!("{right} CHAP_I=1"), "0207"),
        (true, "CHAP_A=5", &format!("{right} CHAP_C=0xaabbccdd"), "0207"),
        (true, "CHAP_A=5", &format!("{right} CHAP_I=7 CHAP_C={challenge}"), "0201"),
    ] {
        let mut odd = Odd::new(chap(mutual));
        odd.say("S", "@ AuthMethod=CHAP");
        let mut answer = odd.say("S", algorithms);
        if !last.is_empty() {
            assert!(answer.starts_with("< S CHAP_A=5"), "{answer}");
            answer = odd.say("SO", last);
        }
        assert_eq!(answer, format!("< S {status}"), "{algorithms} {last}");
    }
    assert!(binary(&format!("0x{}", "00".repeat(BINARY_LEN_MAX + 1)), BINARY_LEN_MAX).is_none());
}

#[test]
fn chap_values_may_have_1024_bytes_and_no_more() {
    // §12.1.3; a challenge of one byte is the initiator's own business.
    for (len, good) in [(1, true), (1023, true), (1024, true), (1025, false)] {
        for base64 in [false, true] {
            let challenge = vec![0x5a; len];
            let spelled = match base64 {
                true => format!("0b{}", data_encoding::BASE64.encode(&challenge)),
                false => Hex(&challenge).to_string(),
            };
            let mut odd = Odd::new(chap(true));
            odd.say("S", "@ AuthMethod=CHAP");
            odd.say("S", "CHAP_A=7");
            let right = Algorithm::Sha256.response(7, &credentials(true).secret, &[0xc2; 16]);
            let proof = format!("CHAP_N=host CHAP_R={} CHAP_I=255 CHAP_C={spelled}", Hex(&right));
            let answer = odd.say("SO", &proof);
            let expected = if good { "< SO CHAP_N=unit CHAP_R=0x…" } else { "< S 0200" };
            assert_eq!(answer, expected, "{len} bytes, base64: {base64}");
        }
    }
}

#[test]
fn nobody_passes_a_demand_by_a_side_door() {
    for said in [
        vec![("OF", "@")],
        vec![("SO", "@ AuthMethod=None")],
        vec![("SF", "@")],
        vec![("S", "@ AuthMethod=CHAP"), ("SO", "CHAP_N=host CHAP_R=0x00"), ("OF", "")],
        vec![("S", "@ AuthMethod=CHAP"), ("S", "CHAP_A=5"), ("S", "AuthMethod=None")],
    ] {
        let mut odd = Odd::new(chap(false));
        for (stages, text) in &said {
            let answer = odd.say(stages, text);
            assert!(!answer.contains("< SO") && !answer.contains('F'), "{said:?}: {answer}");
        }
        assert!(odd.outcome.admitted.is_none(), "{said:?}");
    }
    check(chap(false), &[("OF", "@")], "< O 0201");
    check(chap(false), &[("O", "@")], "< O 0201");
    check(chap(false), &[("SF", "@")], "< S 0201");
}

#[test]
fn every_kind_of_mistake_has_its_status() {
    const VERSION: fn(&mut LoginRequest) = |request| request.version_min = 1;
    const NONE: fn(&mut LoginRequest) = |_| ();
    for (change, stages, text, status) in [
        (VERSION, "SO", "@", "0205"),
        (NONE, "SO", "", "0207"),
        (NONE, "SO", "InitiatorName=iqn.2026-11.a:b", "0207"),
        (NONE, "SO", "TargetName=iqn.2026-11.a:b", "0207"),
        (NONE, "SO", "InitiatorName=foo TargetName=iqn.2026-11.a:b", "0200"),
        (NONE, "SO", "@ SessionType=Strange", "0209"),
        (NONE, "SO", "@ @", "0200"),
        (NONE, "SO", "@ nonsense", "0200"),
        (NONE, "SO", "@ =Yes", "0200"),
        (NONE, "SO+", "@", "0200"),
        (NONE, "OS", "@", "0200"),
        (NONE, "SS", "@", "0200"),
        (NONE, "F", "@", "0200"),
        (NONE, "SO", "@ AuthMethod=KRB5", "0201"),
        (NONE, "OF", "@ MaxRecvDataSegmentLength=511", "0200"),
        (NONE, "OF", "@ MaxRecvDataSegmentLength=16777216", "0200"),
        (NONE, "OF", "@ MaxBurstLength=Irrelevant", "0200"),
        (NONE, "OF", "@ X-unasked=NotUnderstood", "0200"),
    ] {
        let mut odd = Odd::new(Demand::None);
        odd.change = change;
        let answer = odd.say(stages, text);
        assert_eq!(answer, format!("< {} {status}", &stages[..1]), "{stages} {text}");
        assert!(odd.outcome.refused.is_some() && odd.outcome.admitted.is_none());
        assert_eq!(odd.say("SO", "@"), "", "nothing is taken after the end");
    }
}

#[test]
fn later_requests_must_belong_to_the_login() {
    let changes: [fn(&mut LoginRequest); 4] = [
        |request| request.itt = Itt(1),
        |request| request.isid = Isid([0; 6]),
        |request| request.cid = Cid(7),
        |request| request.tsih = Tsih(7),
    ];
    for change in changes {
        let mut odd = Odd::new(Demand::None);
        assert_eq!(odd.say("S", "@"), "< S TargetPortalGroupTag=1");
        odd.change = change;
        assert_eq!(odd.say("SO", ""), "< S 0200");
    }
    check(Demand::None, &[("SO", "@"), ("SO", "")], "< O 0200");
    check(Demand::None, &[("S", "@"), ("OF", "")], "< S 0200");
    check(Demand::None, &[("S", "@"), ("SO", "TargetName=iqn.2026-11.other:x")], "< S 0200");
    check(Demand::None, &[("S", "@"), ("SO", "SessionType=Discovery")], "< S 0200");
    check(Demand::None, &[("O", "@ InitialR2T=No"), ("OF", "InitialR2T=Yes")], "< O 0200");
}

#[test]
fn a_stage_that_does_not_exist_is_answered() {
    let mut bhs = request("SO").build();
    bhs.0[1] = 0x82;
    let mut target = Login::new(settings());
    let mut input = &bhs.0[..];
    let event = target.next_event(&mut input).unwrap();
    assert_eq!(event, Some(crate::login::target::Event::Refused(LoginStatus::INITIATOR_ERROR)));
    assert_eq!(line(&target.poll_transmit().unwrap()), "< S 0200\n");
    assert!(target.is_over());
}

#[test]
fn only_a_login_is_heard_before_the_full_feature_phase() {
    let mut nop = Bhs::default();
    nop.0[0] = 0x40;
    let mut target = Login::new(settings());
    assert_eq!(target.next_event(&mut &nop.0[..]), Err(LoginError::NotALogin(0)));

    let mut odd = Odd::new(Demand::None);
    odd.say("S", "@");
    let answers = hear(&mut odd.target, &nop.0, &odd.verdict, &mut odd.outcome);
    assert_eq!(answers.iter().map(line).collect::<String>(), "< S 020b\n");
}

#[test]
fn a_segment_longer_than_a_login_may_have_ends_the_connection() {
    let mut bhs = request("SO").build();
    bhs.set_data_segment_len(8193);
    let mut target = Login::new(settings());
    let error = FrameError::SegmentTooLong { len: 8193, max: 8192 };
    assert_eq!(target.next_event(&mut &bhs.0[..]), Err(LoginError::Frame(error)));
}

#[test]
fn a_login_without_end_ends() {
    let mut odd = Odd::new(Demand::None);
    odd.say("S", "@");
    for _ in 1..LOGIN_ROUNDS_MAX {
        assert_eq!(odd.say("S", ""), "< S");
    }
    assert_eq!(odd.say("S", ""), "< S 0200");

    let mut endless = Odd::new(Demand::None);
    let answers: Vec<_> = (0..20).map(|_| endless.say("S+", "@")).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "< S").count(), 15);
    assert_eq!(answers[15], "< S 0200");

    let mut long = Odd::new(Demand::None);
    let answers: Vec<_> = (0..9).map(|_| long.say_raw("S+", vec![b'a'; 8192])).collect();
    assert_eq!(answers.last().unwrap(), "< S 0200", "more than 64 KiB");
}

#[test]
fn an_answer_longer_than_one_pdu_is_asked_for_piece_by_piece() {
    let unknown: String = (0..900).map(|i| format!(" X-org.example.k{i}=1")).collect();
    let text = format!("InitiatorName={INITIATOR} TargetName={TARGET}{unknown}");
    let mut raw: Vec<u8> = text.bytes().map(|b| if b == b' ' { 0 } else { b }).collect();
    raw.push(0);
    let mut odd = Odd::new(Demand::None);
    let mut answered = Vec::new();
    let mut pieces = raw.chunks(8192).peekable();
    let mut transmits = Vec::new();
    while let Some(piece) = pieces.next() {
        let stages = if pieces.peek().is_some() { "O+" } else { "OF" };
        transmits = odd.answers(stages, piece.to_vec());
    }
    let mut rounds = 0;
    while odd.outcome.admitted.is_none() {
        assert_eq!(transmits.len(), 1);
        let Body::Bytes(piece) = &transmits[0].body else { panic!("an empty answer") };
        assert_eq!((line(&transmits[0]).trim_end(), piece.len()), ("< O C", 8192));
        answered.extend_from_slice(piece);
        transmits = odd.answers("OF", Vec::new());
        rounds += 1;
    }
    let Body::Bytes(piece) = &transmits[0].body else { panic!("an empty answer") };
    answered.extend_from_slice(piece);
    assert!(rounds >= 2);
    let answered = String::from_utf8(answered).unwrap();
    assert_eq!(answered.matches("=NotUnderstood\0").count(), 900);
}

#[test]
fn text_sent_while_our_own_waits_is_a_mistake() {
    let unknown: String = (0..250).map(|i| format!(" X-{i:030}=1")).collect();
    let mut odd = Odd::new(Demand::None);
    odd.say("O+", "@");
    let mut raw: Vec<u8> = unknown.bytes().map(|b| if b == b' ' { 0 } else { b }).collect();
    raw.truncate(8190);
    assert_eq!(odd.say_raw("O", raw), "< O C");
    assert_eq!(odd.say("O", "InitialR2T=No"), "< O 0200");
}

#[test]
fn a_target_that_requires_digests_lets_nobody_in_without() {
    let offer = Offer { header_digest: DigestWish::Require, ..Offer::default() };
    let mut odd = Odd::with(Demand::None, Settings { offer, ..settings() });
    assert_eq!(odd.say("OF", "@"), "< O 0200");
}

proptest! {
    #[test]
    fn no_bytes_make_the_target_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut target = Login::new(settings());
        let mut input = &bytes[..];
        while let Ok(Some(_)) = target.next_event(&mut input) {}
    }

    #[test]
    fn no_keys_make_the_target_panic_or_let_a_stranger_in(
        said in proptest::collection::vec((stages(), text()), 1..8),
    ) {
        let mut odd = Odd::new(chap(true));
        for (stages, text) in said {
            odd.say(&stages, &text);
        }
        prop_assert!(odd.outcome.admitted.is_none());
    }
}

fn stages() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["S", "SO", "SF", "O", "OF", "S+", "O+"]).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    let pair = prop::sample::select(vec![
        "@",
        "AuthMethod=CHAP",
        "AuthMethod=CHAP,None",
        "AuthMethod=None",
        "CHAP_A=5,7",
        "CHAP_N=host",
        "CHAP_R=0x00112233445566778899aabbccddeeff",
        "CHAP_I=7",
        "CHAP_C=0xc2c2",
        "CHAP_C=0b!!",
        "SessionType=Discovery",
        "InitialR2T=No",
        "MaxBurstLength=512",
        "X-a=b",
        "HeaderDigest=CRC32C",
        "SendTargets=All",
        "TargetAlias=x",
        "=",
        "a",
    ]);
    proptest::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join(" "))
}

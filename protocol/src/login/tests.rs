//! Conversations between the two logins, cut at every byte size.

mod hostile_target;
mod key_offences;
mod odd_initiator;

use std::fmt::Write as _;

use super::initiator::{self, Config};
use super::target::{self, Admitted, Demand, Settings};
use super::{Credentials, LoginError, Secret};
use crate::Transmit;
use crate::ids::{Cid, IscsiName, Isid, Tsih};
use crate::keys::{DigestWish, Offer, SessionType, pairs};
use crate::pdu::{LoginStatus, Request, Response, Stage};
use crate::serial::Sn;

const INITIATOR: &str = "iqn.2026-11.local.host:a";
const TARGET: &str = "iqn.2026-11.local.outband:pool:vol";

fn name(text: &str) -> IscsiName {
    IscsiName::new(text).unwrap()
}

fn config() -> Config {
    Config {
        name: name(INITIATOR),
        alias: None,
        target: Some(name(TARGET)),
        isid: Isid([0x80, 1, 2, 3, 4, 5]),
        tsih: Tsih(0),
        cid: Cid(1),
        offer: Offer { header_digest: DigestWish::Never, ..Offer::default() },
        chap: None,
        challenge: (9, vec![0xc1; 16]),
        cmd_sn: Sn(u32::MAX - 2),
    }
}

fn settings() -> Settings {
    Settings { offer: Offer::default(), target_portal_group_tag: 1, alias: None }
}

fn credentials(mutual: bool) -> Credentials {
    let mutual = mutual.then(|| ("unit".to_owned(), Secret::new(b"the unit's secret".to_vec())));
    Credentials {
        user: "host".to_owned(),
        secret: Secret::new(b"the host's secret".to_vec()),
        mutual,
    }
}

fn chap(mutual: bool) -> Demand {
    Demand::Chap { credentials: credentials(mutual), id: 7, challenge: vec![0xc2; 16] }
}

/// How the target's application answers.
#[derive(Clone)]
enum Verdict {
    Demand(Demand),
    Refuse(LoginStatus),
    RefuseWhenReady(LoginStatus),
    Redirect(&'static str, bool),
}

/// What came of a conversation.
struct Outcome {
    initiator: Result<initiator::Event, LoginError>,
    admitted: Option<Admitted>,
    refused: Option<LoginStatus>,
}

impl Outcome {
    fn logged_in(self) -> (initiator::LoggedIn, Admitted) {
        match self.initiator {
            Ok(initiator::Event::Done(logged_in)) => (logged_in, self.admitted.unwrap()),
            other => panic!("not logged in: {other:?}"),
        }
    }
}

/// Runs the conversation, checks that it goes as `expected`, and that it goes the same way however
/// the bytes are cut.
fn check(config: &Config, settings: &Settings, verdict: &Verdict, expected: &str) -> Outcome {
    let (trace, outcome) = run(config, settings, verdict, usize::MAX);
    let expected: Vec<_> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(trace.lines().collect::<Vec<_>>(), expected, "\n{trace}");
    for cut in 1..700 {
        let (cut_trace, cut_outcome) = run(config, settings, verdict, cut);
        assert_eq!(cut_trace, trace, "cut into pieces of {cut}");
        assert_eq!(cut_outcome.initiator, outcome.initiator, "cut into pieces of {cut}");
    }
    outcome
}

fn run(config: &Config, settings: &Settings, verdict: &Verdict, cut: usize) -> (String, Outcome) {
    let mut initiator = initiator::Login::new(config.clone());
    let mut target = Some(target::Login::new(settings.clone()));
    let mut outcome =
        Outcome { initiator: Err(LoginError::TooManyRounds), admitted: None, refused: None };
    let mut trace = String::new();
    while let Some(request) = initiator.poll_transmit() {
        trace.push_str(&line(&request));
        let mut answers = Vec::new();
        for piece in bytes(&request).chunks(cut) {
            answers.extend(hear(&mut target, piece, verdict, &mut outcome));
        }
        for answer in &answers {
            trace.push_str(&line(answer));
            for mut piece in bytes(answer).chunks(cut) {
                match initiator.next_event(&mut piece) {
                    Ok(None) => assert!(piece.is_empty()),
                    Ok(Some(event)) => outcome.initiator = Ok(event),
                    Err(error) => outcome.initiator = Err(error),
                }
            }
        }
    }
    (trace, outcome)
}

/// Gives `piece` to the target and answers its events; returns what it sends.
fn hear(
    slot: &mut Option<target::Login>,
    mut piece: &[u8],
    verdict: &Verdict,
    outcome: &mut Outcome,
) -> Vec<Transmit> {
    let Some(target) = slot.as_mut() else { return Vec::new() };
    let mut sent = Vec::new();
    let mut ready = false;
    while let Some(event) = target.next_event(&mut piece).unwrap() {
        match (event, verdict.clone()) {
            (target::Event::Identified(_), Verdict::Demand(demand)) => target.require(demand),
            (target::Event::Identified(_), Verdict::RefuseWhenReady(_)) => {
                target.require(Demand::None);
            }
            (target::Event::Identified(_), Verdict::Refuse(status))
            | (target::Event::Ready(_), Verdict::RefuseWhenReady(status)) => target.refuse(status),
            (target::Event::Identified(_), Verdict::Redirect(address, permanent)) => {
                target.redirect(address, permanent);
            }
            (target::Event::Ready(_), _) => ready = true,
            (target::Event::Refused(status), _) => outcome.refused = Some(status),
        }
    }
    sent.extend(std::iter::from_fn(|| target.poll_transmit()));
    if ready {
        let admitted = slot.take().unwrap().admit(Tsih(0x55));
        sent.push(admitted.last.clone());
        outcome.admitted = Some(admitted);
    }
    sent
}

fn bytes(transmit: &Transmit) -> Vec<u8> {
    transmit.to_bytes(|_, _, _| unreachable!("a login has no task data"))
}

/// One PDU as a line: direction, stages, C, status, keys. Binary and our names are shortened.
fn line(transmit: &Transmit) -> String {
    let bhs = transmit.bhs();
    let (mark, current, transit, more, status) = match (Request::parse(&bhs), Response::parse(&bhs))
    {
        (Ok(Request::Login(pdu)), _) => ('>', pdu.current, pdu.transit, pdu.more, None),
        (_, Ok(Response::Login(pdu))) => {
            ('<', pdu.current, pdu.transit, pdu.more, Some(pdu.status))
        }
        _ => panic!("not a login"),
    };
    let short = |stage| match stage {
        Stage::Security => 'S',
        Stage::Operational => 'O',
        Stage::FullFeature => 'F',
    };
    let mut line = format!("{mark} {}", short(current));
    if let Some(next) = transit {
        line.push(short(next));
    }
    if more {
        line.push_str(" C");
    }
    if let Some(status) = status.filter(|status| *status != LoginStatus::SUCCESS) {
        write!(line, " {:02x}{:02x}", status.class, status.detail).unwrap();
    }
    if let (crate::transmit::Body::Bytes(text), false) = (&transmit.body, more) {
        for pair in pairs(text).map_while(Result::ok) {
            let value = if pair.value.starts_with("0x") { "0x…" } else { pair.value };
            write!(line, " {}={}", pair.key, value.rsplit(':').next().unwrap()).unwrap();
        }
    }
    line + "\n"
}

const PROPOSAL: &str = "MaxRecvDataSegmentLength=262144 HeaderDigest=None DataDigest=None,CRC32C \
    MaxConnections=1 ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes MaxBurstLength=1048576 \
    FirstBurstLength=262144 MaxOutstandingR2T=8 DefaultTime2Wait=0 DefaultTime2Retain=0 \
    DataPDUInOrder=Yes DataSequenceInOrder=Yes";
const AGREEMENT: &str = "MaxRecvDataSegmentLength=262144 HeaderDigest=None DataDigest=None \
    MaxConnections=1 ErrorRecoveryLevel=0 InitialR2T=No ImmediateData=Yes MaxBurstLength=1048576 \
    FirstBurstLength=262144 MaxOutstandingR2T=8 DefaultTime2Wait=0 DefaultTime2Retain=0 \
    DataPDUInOrder=Yes DataSequenceInOrder=Yes";

#[test]
fn an_ordinary_login_takes_two_rounds_and_both_sides_agree() {
    let outcome = check(
        &config(),
        &settings(),
        &Verdict::Demand(Demand::None),
        &format!(
            "> SO InitiatorName=a SessionType=Normal TargetName=vol AuthMethod=None
             < SO TargetPortalGroupTag=1 AuthMethod=None
             > OF {PROPOSAL}
             < OF {AGREEMENT}"
        ),
    );
    let (logged_in, admitted) = outcome.logged_in();
    assert_eq!(logged_in.params, admitted.params);
    assert_eq!(admitted.params.max_recv_theirs, 256 * 1024);
    assert_eq!((logged_in.tsih, admitted.tsih), (Tsih(0x55), Tsih(0x55)));
    assert_eq!(logged_in.exp_stat_sn, admitted.next_stat_sn);
    assert_eq!(logged_in.cmd_sn, admitted.exp_cmd_sn);
    assert_eq!(logged_in.max_cmd_sn, logged_in.cmd_sn.plus(7), "across the wrap");
    assert_eq!(logged_in.target_portal_group_tag, Some(1));
    assert_eq!(admitted.identity.initiator, name(INITIATOR));
    assert_eq!(admitted.identity.target, Some(name(TARGET)));
}

#[test]
fn each_side_keeps_its_own_receive_limit_and_the_lesser_bursts_hold() {
    let theirs = Offer { max_recv: 65_536, max_burst_len: 16_384, ..Offer::default() };
    let config = Config { offer: theirs, ..config() };
    let (_, outcome) = run(&config, &settings(), &Verdict::Demand(Demand::None), 11);
    let (host, unit) = outcome.logged_in();
    assert_eq!((host.params.max_recv_ours, host.params.max_recv_theirs), (65_536, 262_144));
    assert_eq!((unit.params.max_recv_ours, unit.params.max_recv_theirs), (262_144, 65_536));
    for params in [host.params, unit.params] {
        assert_eq!((params.max_burst_len, params.first_burst_len), (16_384, 16_384));
    }
}

#[test]
fn a_discovery_login_asks_for_nothing_that_is_irrelevant_there() {
    let config = Config { target: None, alias: Some("lab".to_owned()), ..config() };
    let outcome = check(
        &config,
        &Settings { alias: Some("unit 1".to_owned()), ..settings() },
        &Verdict::Demand(Demand::None),
        "> SO InitiatorName=a InitiatorAlias=lab SessionType=Discovery AuthMethod=None
         < SO TargetPortalGroupTag=1 AuthMethod=None
         > OF MaxRecvDataSegmentLength=262144 HeaderDigest=None DataDigest=None,CRC32C ErrorRecoveryLevel=0 DefaultTime2Wait=0 DefaultTime2Retain=0
         < OF MaxRecvDataSegmentLength=262144 HeaderDigest=None DataDigest=None ErrorRecoveryLevel=0 DefaultTime2Wait=0 DefaultTime2Retain=0",
    );
    let (logged_in, admitted) = outcome.logged_in();
    assert_eq!(admitted.identity.session, SessionType::Discovery);
    assert_eq!(admitted.identity.target, None);
    assert_eq!(admitted.identity.alias.as_deref(), Some("lab"));
    assert_eq!(logged_in.params, admitted.params);
}

#[test]
fn an_initiator_that_could_do_chap_goes_without_where_nothing_is_demanded() {
    let config = Config { chap: Some(credentials(false)), ..config() };
    let outcome = check(
        &config,
        &Settings { alias: Some("unit".to_owned()), ..settings() },
        &Verdict::Demand(Demand::None),
        &format!(
            "> S InitiatorName=a SessionType=Normal TargetName=vol AuthMethod=CHAP,None
             < S TargetAlias=unit TargetPortalGroupTag=1 AuthMethod=None
             > SO
             < SO
             > OF {PROPOSAL}
             < OF {AGREEMENT}"
        ),
    );
    assert_eq!(outcome.logged_in().0.target_alias.as_deref(), Some("unit"));
}

#[test]
fn chap_takes_the_first_algorithm_offered_that_both_have() {
    use crate::login::chap::Algorithm;
    assert_eq!(Algorithm::choose("5,6,7,8"), Some(Algorithm::Md5));
    assert_eq!(Algorithm::choose("9,56,7,5"), Some(Algorithm::Sha256));
    assert_eq!(Algorithm::choose("56"), None);
    let outcome = check(
        &Config { chap: Some(credentials(false)), ..config() },
        &settings(),
        &Verdict::Demand(chap(false)),
        &format!(
            "> S InitiatorName=a SessionType=Normal TargetName=vol AuthMethod=CHAP,None
             < S TargetPortalGroupTag=1 AuthMethod=CHAP
             > S CHAP_A=8,7,6,5
             < S CHAP_A=8 CHAP_I=7 CHAP_C=0x…
             > SO CHAP_N=host CHAP_R=0x…
             < SO
             > OF {PROPOSAL}
             < OF {AGREEMENT}"
        ),
    );
    outcome.logged_in();
}

#[test]
fn with_mutual_chap_the_target_proves_itself_too() {
    let outcome = check(
        &Config { chap: Some(credentials(true)), ..config() },
        &settings(),
        &Verdict::Demand(chap(true)),
        &format!(
            "> S InitiatorName=a SessionType=Normal TargetName=vol AuthMethod=CHAP
             < S TargetPortalGroupTag=1 AuthMethod=CHAP
             > S CHAP_A=8,7,6,5
             < S CHAP_A=8 CHAP_I=7 CHAP_C=0x…
             > SO CHAP_N=host CHAP_R=0x… CHAP_I=9 CHAP_C=0x…
             < SO CHAP_N=unit CHAP_R=0x…
             > OF {PROPOSAL}
             < OF {AGREEMENT}"
        ),
    );
    outcome.logged_in();
}

#[test]
fn a_wrong_secret_and_a_wrong_name_fail_alike() {
    let wrong_secret =
        Credentials { secret: Secret::new(b"not this secret".to_vec()), ..credentials(false) };
    let wrong_name = Credentials { user: "hose".to_owned(), ..credentials(false) };
    let decoy =
        Demand::Chap { credentials: Credentials::decoy([3; 32]), id: 7, challenge: vec![0xc2; 16] };
    for (chosen, demand) in
        [(wrong_secret, chap(false)), (wrong_name, chap(false)), (credentials(false), decoy)]
    {
        let config = Config { chap: Some(chosen), ..config() };
        let (trace, outcome) = run(&config, &settings(), &Verdict::Demand(demand), 100);
        assert!(trace.ends_with("CHAP_R=0x…\n< S 0201\n"), "{trace}");
        assert_eq!(outcome.refused, Some(LoginStatus::AUTHENTICATION_FAILURE));
        let refused = initiator::Event::Refused(LoginStatus::AUTHENTICATION_FAILURE);
        assert_eq!(outcome.initiator, Ok(refused));
    }
}

#[test]
fn a_target_that_does_not_know_its_own_secret_is_not_believed() {
    let mut wrong = credentials(true);
    wrong.mutual = Some(("unit".to_owned(), Secret::new(b"somebody else's".to_vec())));
    let demand = Demand::Chap { credentials: wrong, id: 7, challenge: vec![0xc2; 16] };
    let config = Config { chap: Some(credentials(true)), ..config() };
    let (_, outcome) = run(&config, &settings(), &Verdict::Demand(demand), 64);
    assert_eq!(outcome.initiator, Err(LoginError::TargetNotAuthenticated));
}

#[test]
fn who_offers_no_authentication_where_it_is_demanded_is_refused() {
    let outcome = check(
        &config(),
        &settings(),
        &Verdict::Demand(chap(false)),
        "> SO InitiatorName=a SessionType=Normal TargetName=vol AuthMethod=None
         < S 0201",
    );
    assert_eq!(outcome.refused, Some(LoginStatus::AUTHENTICATION_FAILURE));
}

#[test]
fn the_application_may_refuse_before_and_after_the_proof() {
    let refused = |verdict| run(&config(), &settings(), &verdict, 1).1;
    let status = LoginStatus::AUTHORIZATION_FAILURE;
    for verdict in [Verdict::Refuse(status), Verdict::RefuseWhenReady(status)] {
        let outcome = refused(verdict);
        assert_eq!(outcome.initiator, Ok(initiator::Event::Refused(status)));
        assert_eq!(outcome.refused, Some(status));
        assert!(outcome.admitted.is_none());
    }
}

#[test]
fn a_redirection_says_where_to_and_for_how_long() {
    for (address, permanent, code) in
        [("10.0.0.7:3261", false, "0101"), ("[fd00::7]:3260", true, "0102")]
    {
        let (trace, outcome) =
            run(&config(), &settings(), &Verdict::Redirect(address, permanent), 3);
        assert!(trace.contains(&format!("< S {code} TargetAddress=")), "{trace}");
        assert_eq!(
            outcome.initiator,
            Ok(initiator::Event::Redirect { address: address.parse().unwrap(), permanent })
        );
    }
}

#[test]
fn digests_are_used_where_one_prefers_and_the_other_allows() {
    use DigestWish::{Allow, Never, Prefer, Require};
    for (host, unit, agreed) in [
        (Never, Prefer, Some(false)),
        (Allow, Allow, Some(false)),
        (Prefer, Allow, Some(true)),
        (Prefer, Never, Some(false)),
        (Allow, Require, Some(true)),
        (Require, Allow, Some(true)),
        (Never, Require, None),
        (Require, Never, None),
    ] {
        let config = Config { offer: Offer { data_digest: host, ..config().offer }, ..config() };
        let offer = Offer { data_digest: unit, ..Offer::default() };
        let settings = Settings { offer, ..settings() };
        let (_, outcome) = run(&config, &settings, &Verdict::Demand(Demand::None), 1000);
        let got = match &outcome.initiator {
            Ok(initiator::Event::Done(logged_in)) => Some(logged_in.params.digests.data),
            _ => None,
        };
        assert_eq!(got, agreed, "{host:?} with {unit:?}: {:?}", outcome.initiator);
    }
}

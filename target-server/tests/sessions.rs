//! The life of sessions: reinstated, gone on with by another connection, pinged, found dead.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::io::ErrorKind::ConnectionReset;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use common::Target;
use common::raw::{Raw, config, log_in};
use outband_protocol::ids::{Cid, Itt, Tsih};
use outband_protocol::login::initiator::{Config, Event};
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{LoginStatus, Response, TaskManagementFunction};
use outband_protocol::serial::Sn;

const NAME: &str = "iqn.2026-11.local.outband:test:v";

async fn target(ping_after: Duration) -> Target {
    let mut target = Target::start(|config| config.ping_after = ping_after);
    target.volume("v", 4).await;
    target.grant_sessions("v", "a", 1, 8).await;
    target
}

/// A login is refused so, and nothing more is heard by its connection, nor answered.
fn refused(target: &Target, config: Config, status: LoginStatus) {
    let (mut stream, event) = log_in(target.portal, config);
    assert_eq!(event, Event::Refused(status));
    // It may be gone by now.
    let _ = stream.write_all(&[0; 48]);
    let said = stream.read(&mut [0]);
    assert!(matches!(said, Ok(0)) || said.is_err_and(|error| error.kind() == ConnectionReset));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_the_same_isid_ends_the_older_session_and_is_a_new_nexus() {
    let target = target(Duration::from_secs(60)).await;
    let mut older = Raw::to(target.portal, NAME, "a", 1);
    assert_eq!(older.attentions(), ["02 6/2900"]);
    let held = older.write(0, Simple, &[]);
    older.r2t(held);
    let mut other = Raw::to(target.portal, NAME, "a", 2);
    assert_eq!(other.attentions(), ["02 6/2900"]);
    let mut newer = Raw::to(target.portal, NAME, "a", 1);
    assert_ne!(newer.login.tsih, older.login.tsih);
    assert!(older.hear().is_none());
    assert_eq!(newer.attentions(), ["02 6/2907"]);
    assert_eq!(other.attentions(), [""; 0]);
    assert_eq!(target.server.sessions().await.len(), 2);
}

/// SAM-5 §5.14, §6.3.4: by logout, by a lost connection, and by a newer session.
#[tokio::test(flavor = "multi_thread")]
async fn a_nexus_that_was_lost_is_told_so_when_it_is_back_and_no_other_is() {
    let target = target(Duration::from_secs(60)).await;
    let mut other = Raw::to(target.portal, NAME, "a", 2);
    assert_eq!(other.attentions(), ["02 6/2900"]);
    let mut session = Raw::to(target.portal, NAME, "a", 1);
    assert_eq!(session.attentions(), ["02 6/2900"]);
    let losses: [fn(&mut Raw); 3] = [
        |session| {
            session.logout();
            assert!(matches!(session.said().response, Response::Logout(_)));
            assert!(session.hear().is_none());
        },
        Raw::hang_up,
        |_| (),
    ];
    for lose in losses {
        lose(&mut session);
        session = Raw::to(target.portal, NAME, "a", 1);
        assert_eq!(session.attentions(), ["02 6/2907"]);
        assert_eq!(other.attentions(), [""; 0]);
    }
    // Who was never told of the power on is told of that.
    drop(Raw::to(target.portal, NAME, "a", 3));
    assert_eq!(Raw::to(target.portal, NAME, "a", 3).attentions(), ["02 6/2900"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_reinstated_in_its_session_and_its_tasks_are_gone() {
    let target = target(Duration::from_secs(60)).await;
    let mut older = Raw::to(target.portal, NAME, "a", 1);
    assert_eq!(older.attentions(), ["02 6/2900"]);
    let held = older.write(0, Simple, &[]);
    older.r2t(held);
    let (tsih, cmd_sn) = (older.login.tsih, older.cmd_sn);
    let again = Config { tsih, cmd_sn, ..config(Some(NAME), "a", 1) };
    let mut newer = Raw::with(target.portal, again.clone());
    assert!(older.hear().is_none());
    assert_eq!((newer.login.tsih, newer.login.cmd_sn), (tsih, cmd_sn));
    // The same nexus, and what was held is over.
    assert_eq!(newer.attentions(), ["02 6/477f"]);
    let abort = newer.manage(TaskManagementFunction::AbortTask, held);
    let Response::TaskManagement(answer) = newer.said().response else { panic!("no answer") };
    assert_eq!(answer.itt, abort);
    let read = newer.read(0, Simple);
    newer.ends(read, "00");
    assert_eq!(target.server.sessions().await.len(), 1);

    // Nothing was under way: there is nothing to tell.
    let (tsih, cmd_sn) = (newer.login.tsih, newer.cmd_sn);
    let again = Config { tsih, cmd_sn, ..config(Some(NAME), "a", 1) };
    let mut newer = Raw::with(target.portal, again.clone());
    assert_eq!(newer.attentions(), [""; 0]);

    // A session has one connection (MaxConnections=1), and others of that handle do not exist.
    let second = Config { cid: Cid(8), ..again.clone() };
    refused(&target, second, LoginStatus::TOO_MANY_CONNECTIONS);
    let unknown = LoginStatus::SESSION_DOES_NOT_EXIST;
    refused(&target, Config { tsih: Tsih(tsih.0.wrapping_add(77)), ..again.clone() }, unknown);
    refused(&target, Config { tsih, ..config(Some(NAME), "a", 2) }, unknown);
    refused(&target, Config { tsih, ..config(None, "a", 1) }, unknown);
    newer.is_silent();
    newer.logout();
    assert!(matches!(newer.said().response, Response::Logout(_)));
    assert!(newer.hear().is_none());
    common::eventually("the session is gone", async || target.server.sessions().await.is_empty())
        .await;
    refused(&target, again, unknown);
    let mut fresh = Raw::to(target.portal, NAME, "a", 1);
    assert_eq!(fresh.attentions(), ["02 6/2907"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_initiator_is_pinged_and_one_that_does_not_answer_is_dropped() {
    let target = target(Duration::from_secs(1)).await;
    let mut alive = Raw::to(target.portal, NAME, "a", 1);
    let mut dead = Raw::to(target.portal, NAME, "a", 2);
    let dead = thread::spawn(move || {
        assert!(matches!(dead.said().response, Response::NopIn(_)));
        dead.hear()
    });
    // It answers for longer than the other one lives.
    while !dead.is_finished() {
        let Response::NopIn(ping) = alive.said().response else { panic!("no ping") };
        assert_eq!(ping.itt, Itt::NONE);
        alive.answer_ping(ping.ttt);
    }
    assert!(dead.join().unwrap().is_none(), "it has said nothing since");
    common::eventually("one is left", async || target.server.sessions().await.len() == 1).await;
    assert_ne!(alive.cmd_sn, Sn(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discovery_session_replaces_the_older_one_of_its_name_isid_and_portal() {
    let mut target = Target::start(|config| {
        config.portals = vec!["127.0.0.1:0".parse().unwrap(); 2];
    });
    target.volume("v", 4).await;
    target.grant_sessions("v", "a", 1, 8).await;
    let [first, second] = target.server.portals() else { panic!("two portals") };
    let discover = |portal: &SocketAddr, isid| Raw::with(*portal, config(None, "a", isid));
    let (mut older, mut elsewhere) = (discover(first, 1), discover(second, 1));
    let mut other = discover(first, 2);
    let mut newer = discover(first, 1);
    assert!(older.hear().is_none(), "its place is taken");
    for session in [&mut elsewhere, &mut other, &mut newer] {
        session.text("SendTargets=All\0");
        assert!(matches!(session.said().response, Response::Text(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_discovery_session_is_not_pinged_but_closed() {
    let target = target(Duration::from_secs(1)).await;
    let mut quiet = Raw::with(target.portal, config(None, "a", 1));
    assert!(quiet.hear().is_none(), "it has nothing to say");
}

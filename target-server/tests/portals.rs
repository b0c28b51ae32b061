//! Portals grouped by network: what discovery tells, that the login, the designators and the
//! relative port agree on it, and that reservations are of the path.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::net::SocketAddr;

use common::Target;
use common::raw::{Raw, Said, config};
use outband_control::api::TargetNames;
use outband_protocol::login::initiator::Config;
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{Request, Response, ScsiCommand};
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::cdb::{ReserveIn, ReserveOut, ReserveOutAction as Action};
use outband_protocol::scsi::reserve::{
    InitiatorPort, Kind, List, MoveList, TransportId, parse_full_status,
};
use outband_target_server::server::{Server, ServerConfig, StartError};

const PREFIX: &str = "iqn.2026-11.local.outband:test:";

/// Three portals: two of one network, one of another.
async fn target() -> (Target, Vec<SocketAddr>) {
    let mut target = Target::start(|config| {
        config.portals = vec!["127.0.0.1:0".parse().unwrap(); 3];
        config.groups = vec![1, 2, 1];
    });
    target.volume("v", 4).await;
    target.volume("other", 4).await;
    target.grant_sessions("v", "a", 1, 8).await;
    target.grant("other", "b", 1).await;
    let portals = target.server.portals().to_vec();
    (target, portals)
}

fn text(said: Said) -> String {
    assert!(matches!(said.response, Response::Text(_)), "{said:?}");
    String::from_utf8(said.data).unwrap().replace('\0', " ")
}

#[test]
fn more_portal_groups_than_can_be_told_as_target_ports_are_refused_at_the_start() {
    let names = TargetNames::new("iqn.2026-11.local.outband", "test");
    let portals = vec!["127.0.0.1:0".parse().unwrap(); 256];
    let mut config = ServerConfig::new(portals, names);
    config.groups = (1..=256).collect();
    assert!(matches!(Server::start(&config, None), Err(StartError::Groups)));
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_tells_a_host_all_portals_of_its_own_targets_and_nothing_else() {
    let (_target, portals) = target().await;
    let [first, second, third] = portals[..] else { panic!("three portals") };
    let own = format!(
        "TargetName={PREFIX}v TargetAddress={first},1 TargetAddress={second},2 \
         TargetAddress={third},1 "
    );
    for portal in portals {
        let mut discovery = Raw::with(portal, config(None, "a", 9));
        for (asked, told) in [
            ("All".to_owned(), own.as_str()),
            (format!("{PREFIX}v"), own.as_str()),
            (format!("{PREFIX}other"), ""),
            (format!("{PREFIX}nowhere"), ""),
        ] {
            discovery.text(&format!("SendTargets={asked}\0"));
            assert_eq!(text(discovery.said()), told, "{asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_portal_group_is_a_target_port_of_its_own() {
    let (_target, portals) = target().await;
    for (portal, tag) in portals.into_iter().zip([1u16, 2, 1]) {
        let mut session = Raw::to(portal, &format!("{PREFIX}v"), "a", tag.to_be_bytes()[1]);
        assert_eq!(session.login.target_portal_group_tag, Some(tag));
        let command = session.command(&[0x12, 1, 0x83, 4, 0, 0]);
        let command = ScsiCommand { read: true, expected_len: 1024, ..command };
        session.send(Request::Command(command), &[]);
        let page = session.said().data;
        let mut ports = Vec::new();
        let mut rest = &page[4..];
        while let [_, kind, _, len, more @ ..] = rest {
            let (body, next) = more.split_at(usize::from(*len));
            // Association 1 is the target port; 4 is its relative number, 8 its name.
            match kind & 0x3f {
                0x14 => ports.push(u16::from_be_bytes([body[2], body[3]]).to_string()),
                0x18 => ports.push(String::from_utf8_lossy(body).trim_end_matches('\0').to_owned()),
                _ => {}
            }
            rest = next;
        }
        assert_eq!(ports, [tag.to_string(), format!("{PREFIX}v,t,0x{tag:04x}")]);
        let asked = session.text("SendTargets=\0");
        let said = session.said();
        assert_eq!(said.response_itt(), asked);
        assert!(text(said).starts_with(&format!("TargetName={PREFIX}v ")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_isid_by_two_portal_groups_is_two_sessions_and_by_one_it_is_reinstated() {
    let (target, portals) = target().await;
    let name = format!("{PREFIX}v");
    let mut blue = Raw::to(portals[0], &name, "a", 5);
    let mut red = Raw::to(portals[1], &name, "a", 5);
    assert_eq!(blue.attentions(), ["02 6/2900"]);
    assert_eq!(red.attentions(), ["02 6/2900"]);
    assert_eq!(target.server.sessions().await.len(), 2);
    // The same portal group by its other portal: the older session ends (§6.3.5).
    let mut again = Raw::to(portals[2], &name, "a", 5);
    assert_eq!(again.attentions(), ["02 6/2907"]);
    assert!(blue.hear().is_none());
    red.is_silent();
    assert_eq!(target.server.sessions().await.len(), 2);
}

/// Sessions of one initiator port by the two groups, told of their power on.
fn paths(portals: &[SocketAddr]) -> [Raw; 2] {
    [portals[0], portals[1]].map(|portal| {
        let mut session = Raw::to(portal, &format!("{PREFIX}v"), "a", 5);
        assert_eq!(session.attentions(), ["02 6/2900"]);
        session
    })
}

/// What PERSISTENT RESERVE IN says to a session.
fn read_full_status(session: &mut Raw) -> Vec<(u16, u64, bool)> {
    let cdb = Cdb::PersistentReserveIn { what: ReserveIn::ReadFullStatus, allocation: 4096 };
    let command = session.command(&cdb.build());
    session.send(Request::Command(ScsiCommand { read: true, expected_len: 4096, ..command }), &[]);
    let all = parse_full_status(&session.said().data).unwrap().1;
    all.iter().map(|one| (one.relative_port, one.key, one.holds.is_some())).collect()
}

/// Sends PERSISTENT RESERVE OUT and waits for its status.
fn reserve_out(session: &mut Raw, action: Action, kind: Option<Kind>, list: &[u8]) -> String {
    let len = u32::try_from(list.len()).unwrap();
    let cdb = Cdb::PersistentReserveOut(ReserveOut::new(action, kind, len));
    let command = session.command(&cdb.build());
    session.send(Request::Command(ScsiCommand { write: true, expected_len: len, ..command }), list);
    let (itt, end) = session.end();
    assert_eq!(itt, command.itt);
    end
}

fn may_read(session: &mut Raw) -> bool {
    session.read(0, Simple);
    !matches!(session.said().response, Response::Command(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_of_the_path_and_goes_over_to_the_other_when_it_is_moved() {
    let (_target, portals) = target().await;
    let [mut blue, mut red] = paths(&portals);
    let list = List { service_key: 1, ..List::default() }.build();
    assert_eq!(reserve_out(&mut blue, Action::Register, None, &list), "00");
    let list = List { key: 1, ..List::default() }.build();
    let kind = Some(Kind::ExclusiveAccess);
    assert_eq!(reserve_out(&mut red, Action::Reserve, kind, &list), "18", "not registered there");
    assert_eq!(reserve_out(&mut blue, Action::Reserve, kind, &list), "00");
    assert_eq!((may_read(&mut blue), may_read(&mut red)), (true, false));
    assert_eq!(read_full_status(&mut red), [(1, 1, true)]);

    let Config { name, isid, .. } = config(None, "a", 5);
    let moved = MoveList {
        key: 1,
        service_key: 2,
        unregister: false,
        persist: false,
        relative_port: 2,
        port: TransportId::Port(InitiatorPort { name, isid }),
    };
    assert_eq!(reserve_out(&mut blue, Action::RegisterAndMove, None, &moved.build()), "00");
    assert_eq!(read_full_status(&mut blue), [(1, 1, false), (2, 2, true)]);
    assert_eq!((may_read(&mut blue), may_read(&mut red)), (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_two_paths_registers_both_at_once() {
    let (_target, portals) = target().await;
    let [mut blue, mut red] = paths(&portals);
    let list = List { service_key: 7, all_ports: true, ..List::default() }.build();
    assert_eq!(reserve_out(&mut blue, Action::RegisterAndIgnore, None, &list), "00");
    assert_eq!(read_full_status(&mut red), [(1, 7, false), (2, 7, false)]);
    let list = List { key: 7, ..List::default() }.build();
    let kind = Some(Kind::ExclusiveAccessRegistrants);
    assert_eq!(reserve_out(&mut red, Action::Reserve, kind, &list), "00");
    assert_eq!((may_read(&mut blue), may_read(&mut red)), (true, true));
    // Another port of the same initiator is somebody else.
    let mut other = Raw::to(portals[0], &format!("{PREFIX}v"), "a", 6);
    assert_eq!(other.attentions(), ["02 6/2900"]);
    assert!(!may_read(&mut other));
}

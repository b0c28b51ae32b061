//! Portals grouped by network: what discovery tells, and that the login, the designators and the
//! relative port agree on it.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::net::SocketAddr;

use common::Target;
use common::raw::{Raw, Said, config};
use outband_protocol::pdu::{Request, Response, ScsiCommand};

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
    assert_eq!(again.attentions(), ["02 6/2900"]);
    assert!(blue.hear().is_none());
    red.is_silent();
    assert_eq!(target.server.sessions().await.len(), 2);
}

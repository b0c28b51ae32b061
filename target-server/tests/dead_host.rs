//! A host whose network is gone, in a network of its own, beside one that only sleeps.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::Target;
use common::raw::Raw;
use outband_protocol::pdu::TaskAttribute::Simple;

const NAME: &str = "iqn.2026-11.local.outband:test:v";
/// Set in the process that has a network of its own.
const INSIDE: &str = "OUTBAND_TEST_INSIDE";
const FAR: &str = "192.0.2.1";

/// Runs a test of this file again, in a network of its own. False where that cannot be had.
fn in_own_network(test: &str) -> bool {
    let unshare = |program: &std::ffi::OsStr, args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net"]).arg(program).args(args).env(INSIDE, "1");
        command.status()
    };
    if !unshare("true".as_ref(), &[]).is_ok_and(|status| status.success()) {
        eprintln!("not tried: no network of its own can be had here");
        return false;
    }
    let itself = std::env::current_exe().unwrap();
    assert!(unshare(itself.as_os_str(), &["--exact", test, "--nocapture"]).unwrap().success());
    true
}

fn ip(args: &str) {
    assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
}

#[test]
fn a_host_whose_network_is_gone_ends_long_before_one_that_only_sleeps() {
    if std::env::var_os(INSIDE).is_none() {
        in_own_network("a_host_whose_network_is_gone_ends_long_before_one_that_only_sleeps");
        return;
    }
    ip("link set lo up");
    ip(&format!("address add {FAR}/32 dev lo"));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut target = Target::start(|config| {
            let portal = |at: &str| format!("{at}:0").parse().unwrap();
            config.portals = vec![portal("127.0.0.1"), portal(FAR)];
            config.ping_after = Duration::from_secs(2);
        });
        target.volume("v", 4).await;
        target.grant_sessions("v", "a", 1, 8).await;
        let portals = target.server.portals().to_vec();
        // Neither of the two answers a ping, but only one of them has a kernel that acknowledges it.
        let sleeping = Raw::to(portals[0], NAME, "a", 1);
        let mut dead = Raw::to(portals[1], NAME, "a", 2);
        dead.attentions();
        let read = dead.read(0, Simple);
        dead.ends(read, "00");
        assert_eq!(target.server.sessions().await.len(), 2);
        ip(&format!("address delete {FAR}/32 dev lo"));
        let left = loop {
            let sessions = target.server.sessions().await;
            if sessions.len() < 2 {
                break sessions;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        };
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].portal, portals[0], "the one that sleeps was ended first");
        drop((sleeping, dead));
        target.server.stop().await;
    });
}

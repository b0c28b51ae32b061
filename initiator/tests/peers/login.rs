//! Who is there, who may come in, and how one leaves.

use std::time::Duration;

use outband_initiator::{Config, DigestWish, Discovery, Disk, Error, LoginStatus, discover};

use crate::path::{LOGOUT, LOGOUT_RESPONSE, Path};
use crate::peer::{Account, Peer, Program, Setup};
use crate::{INITIATOR, pattern};

const HOST: Account = Account { user: "host", secret: "the host's secret" };
const UNIT: Account = Account { user: "unit", secret: "the unit's secret" };

pub(crate) async fn its_targets_are_discovered(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let found = discover(&peer.address().to_string(), INITIATOR).await.unwrap();
    let names: Vec<_> = found.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, [peer.name()]);
    let portals: Vec<_> = found[0].portals.iter().map(ToString::to_string).collect();
    assert_eq!(portals, [format!("{},1", peer.address())]);
}

pub(crate) async fn a_target_that_is_not_there_is_told(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let missing = Config::new(peer.address().to_string(), format!("{}-no", peer.name()));
    let error = Disk::connect(missing.initiator(INITIATOR)).await.unwrap_err();
    // A target need not tell whether there is one.
    let denied = [LoginStatus::NOT_FOUND, LoginStatus::AUTHORIZATION_FAILURE];
    assert!(matches!(error, Error::Denied(status) if denied.contains(&status)), "{error}");
}

pub(crate) async fn a_host_proves_itself_by_each_algorithm(program: Program) {
    let peer = Peer::start(program, Setup { host: Some(HOST), ..Setup::default() });
    for (number, algorithm) in program.algorithms.iter().enumerate() {
        let config = peer.config().chap_algorithms(&[*algorithm]).chap(HOST.user, HOST.secret);
        let disk = Disk::connect(config).await.unwrap();
        disk.write_at(0, pattern(number, 4096)).await.unwrap();
        assert!(disk.read_at(0, 4096).await.unwrap() == pattern(number, 4096), "{algorithm:?}");
        disk.close().await.unwrap();
        let discovery = Discovery::new(peer.address().to_string(), INITIATOR);
        let discovery = discovery.chap_algorithms(&[*algorithm]).chap(HOST.user, HOST.secret);
        assert_eq!(discovery.run().await.unwrap()[0].name.as_str(), peer.name());
    }
}

pub(crate) async fn both_sides_prove_themselves(program: Program) {
    let peer =
        Peer::start(program, Setup { host: Some(HOST), itself: Some(UNIT), ..Setup::default() });
    let host = || peer.config().chap(HOST.user, HOST.secret);
    let trusting = Disk::connect(host()).await.unwrap();
    trusting.write_at(0, pattern(1, 4096)).await.unwrap();
    trusting.close().await.unwrap();
    let disk = Disk::connect(host().mutual_chap(UNIT.user, UNIT.secret)).await.unwrap();
    assert!(disk.read_at(0, 4096).await.unwrap() == pattern(1, 4096));
    disk.close().await.unwrap();
    for (user, secret) in [(UNIT.user, "another unit's secret"), ("another unit", UNIT.secret)] {
        let error = Disk::connect(host().mutual_chap(user, secret)).await.unwrap_err();
        assert!(matches!(error, Error::Lost(_)), "{user}, {secret}: {error}");
    }
}

pub(crate) async fn who_does_not_prove_itself_is_denied(program: Program) {
    let peer = Peer::start(program, Setup { host: Some(HOST), ..Setup::default() });
    for config in [
        peer.config(),
        peer.config().chap(HOST.user, "not the host's secret"),
        peer.config().chap("another host", HOST.secret),
    ] {
        let error = Disk::connect(config).await.unwrap_err();
        let denied = [LoginStatus::AUTHENTICATION_FAILURE, LoginStatus::AUTHORIZATION_FAILURE];
        assert!(matches!(error, Error::Denied(status) if denied.contains(&status)), "{error}");
    }
    Disk::connect(peer.config().chap(HOST.user, HOST.secret)).await.unwrap();
}

pub(crate) async fn two_sessions_see_what_the_other_wrote_and_end_by_themselves(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let first = Disk::connect(peer.config()).await.unwrap();
    for other in [peer.config(), peer.config().initiator("iqn.2026-11.local.host:b")] {
        let second = Disk::connect(other).await.unwrap();
        for (number, (writer, reader)) in [(&first, &second), (&second, &first)].iter().enumerate()
        {
            let data = pattern(number, 256 * 1024);
            writer.write_at(8192, data.clone()).await.unwrap();
            assert!(reader.read_at(8192, data.len()).await.unwrap() == data, "{number}");
        }
        second.close().await.unwrap();
        assert!(first.is_up());
        first.flush().await.unwrap();
    }
}

pub(crate) async fn a_logout_is_said_and_answered_before_the_connection_ends(program: Program) {
    let peer = Peer::start(program, Setup::default());
    let path = Path::to(peer.address()).await;
    let config = || peer.config_by(path.address()).digests(DigestWish::Never);
    for is_closed in [true, false] {
        let disk = Disk::connect(config()).await.unwrap();
        let clone = disk.clone();
        disk.write_at(0, pattern(1, 512)).await.unwrap();
        if is_closed {
            disk.close().await.unwrap();
            assert!(matches!(clone.read_at(0, 512).await, Err(Error::Closed)));
            assert!(!clone.is_up());
            clone.close().await.unwrap();
        } else {
            drop(disk);
            clone.flush().await.unwrap();
            drop(clone);
        }
        settled(&path).await;
        assert_eq!(path.sent().last().unwrap().opcode, LOGOUT);
        let answer = *path.received().last().unwrap();
        assert_eq!((answer.opcode, answer.response), (LOGOUT_RESPONSE, 0));
    }
    assert_eq!(path.connections(), 2);
}

/// Until nothing uses the path any more.
async fn settled(path: &Path) {
    for _ in 0..500 {
        if path.is_idle() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the connection does not end");
}

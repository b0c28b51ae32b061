//! The unit API over real TLS on loopback, called by the real client, next to a station's socket.

use std::net::SocketAddr;
use std::time::Duration;

use outband_protocol::announce::{Datagram, Envelope, Key, Message, Startup};
use tokio::net::UdpSocket;
use uuid::Uuid;

use super::*;
use crate::access::Epoch;
use crate::client::{Client, ClientError};
use crate::control::{Config, Control, Member};
use crate::fake_unit::{FakeUnit, MIB, names};
use crate::machine::Os;

const HOST: &str = "iqn.2026-01.example:a";
const SECRET: &str = "a chap secret";

struct World {
    station: UdpSocket,
    unit: Member,
    startup: Startup,
    from: SocketAddr,
    asked: Datagram,
}

fn token() -> JoinToken {
    JoinToken::new("join")
}

async fn hear(station: &UdpSocket, key: &Key) -> (Datagram, SocketAddr) {
    let mut buffer = [0; 2048];
    let received = station.recv_from(&mut buffer);
    let received = tokio::time::timeout(Duration::from_secs(10), received).await;
    let (len, from) = received.expect("the unit announces itself").unwrap();
    (Envelope::parse(&buffer[..len]).unwrap().open(key).unwrap(), from)
}

/// A unit that has said STARTUP to a station that has not answered.
async fn world() -> World {
    let station = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        name: "shelf".to_owned(),
        station: station.local_addr().unwrap().to_string(),
        token: token(),
        api_listen: "127.0.0.1:0".parse().unwrap(),
        api_advertise: None,
        portals: vec!["127.0.0.1:3260".parse().unwrap()],
        interfaces: Vec::new(),
        version: "0".to_owned(),
    };
    let store = Store::in_memory().unwrap();
    let unit = Arc::new(FakeUnit::new(Arc::new(Store::in_memory().unwrap())));
    let control = Control::with_store(store, names(), unit, Os::shared()).await.unwrap();
    let unit = control.join(config).await.unwrap();
    let (asked, from) = hear(&station, &token().seal_key()).await;
    let Message::Startup(startup) = asked.message.clone() else {
        panic!("not a STARTUP: {asked:?}");
    };
    World { station, unit, startup, from, asked }
}

impl World {
    async fn enrolled(&self) -> (Client, UnitSecret) {
        let secret = UnitSecret::random().unwrap();
        let Startup { api, fingerprint, .. } = self.startup;
        let client = Client::enrol(api, fingerprint, self.unit.id, &token(), &secret).await;
        (client.unwrap(), secret)
    }
}

fn grant(epoch: u64) -> Grant {
    let subject = "v";
    let chap = format!(r#"{{"user":"a","secret":"{SECRET}"}}"#);
    let body = format!(
        r#"{{"subject":"{subject}","host":"{HOST}","epoch":{epoch},"chap":{chap},
            "sources":["10.0.0.0/8"]}}"#
    );
    serde_json::from_str(&body).unwrap()
}

fn word<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result.unwrap_err() {
        ClientError::Problem(problem) => problem.word().to_owned(),
        other => panic!("not a problem: {other:?}"),
    }
}

#[tokio::test]
async fn a_unit_enrols_is_granted_from_and_fenced_over_tls() {
    let world = world().await;
    let (client, _) = world.enrolled().await;
    let inventory = client.inventory().await.unwrap();
    assert_eq!((inventory.unit.id, inventory.unit.enrolled), (world.unit.id, true));
    assert_eq!(inventory.storage.volumes[0].target, "iqn.2026-11.local.outband:main:v");

    let given = client.grant(&grant(5)).await.unwrap();
    assert_eq!(client.grant(&grant(5)).await.unwrap(), given, "repeated");
    let inventory = client.inventory().await.unwrap();
    assert_eq!(inventory.grants, [given]);
    assert_eq!(inventory.storage.volumes[0].epoch_floor, Epoch(5));
    assert!(!serde_json::to_string(&inventory).unwrap().contains(SECRET));

    match client.grant(&grant(4)).await.unwrap_err() {
        ClientError::Problem(problem) => {
            assert_eq!((problem.word(), problem.status), ("stale-epoch", 409));
            assert_eq!(problem.floor, Some(Epoch(5)));
        }
        other => panic!("{other:?}"),
    }
    let subject = grant(5).subject;
    let fence = Fence { subject: subject.clone(), host: HOST.to_owned(), epoch: Epoch(5) };
    assert_eq!(client.fence(&fence, None).await.unwrap().floor, Epoch(5));
    client.grant(&grant(6)).await.unwrap();
    assert_eq!(client.revoke(&subject).await.unwrap().floor, Epoch(6));
    assert!(client.inventory().await.unwrap().grants.is_empty());
    assert!(client.sessions().await.unwrap().is_empty());
    assert_eq!(client.counts().await.unwrap().at_micros, 7);
    world.unit.leave().await;
}

#[tokio::test]
async fn volumes_and_partitions_are_made_grown_and_removed() {
    let world = world().await;
    let (client, _) = world.enrolled().await;
    let body = |name: &str, size| -> VolumeCreate {
        serde_json::from_str(&format!(r#"{{"name":"{name}","size":{size}}}"#)).unwrap()
    };
    client.create_volume(&body("w", MIB)).await.unwrap();
    let w = Subject::whole("w").unwrap();
    let grown = client.grow_volume(&w, &VolumeGrow { size: 2 * MIB }).await.unwrap();
    assert_eq!(grown.size, 2 * MIB);
    let request = PartitionCreate { number: Some(7), start_lba: None, size: 8192 };
    assert_eq!(client.create_partition(&w, &request).await.unwrap().number, 7);
    client.delete_partition(&w, 7).await.unwrap();
    let id = grown.id;
    client.delete_volume(&w, Some(Uuid::nil())).await.unwrap();
    assert_eq!(client.inventory().await.unwrap().storage.volumes.len(), 2, "another volume");
    client.delete_volume(&w, Some(id)).await.unwrap();
    assert_eq!(client.inventory().await.unwrap().storage.volumes.len(), 1);

    match client.create_volume(&body("x", 9 * MIB)).await.unwrap_err() {
        ClientError::Problem(problem) => {
            assert_eq!((problem.word(), problem.largest), ("no-space", Some(MIB)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(word(client.create_volume(&body("x.p1", MIB)).await), "invalid");
    assert_eq!(word(client.create_volume(&body(&"x".repeat(70_000), MIB)).await), "too-large");
    assert_eq!(word(client.grow_volume(&w, &VolumeGrow { size: 1 }).await), "not-found");
}

#[tokio::test]
async fn a_wrong_certificate_is_not_spoken_to() {
    let world = world().await;
    let (_, secret) = world.enrolled().await;
    let mut fingerprint = world.startup.fingerprint;
    fingerprint[31] ^= 1;
    let client = Client::new(world.startup.api, fingerprint, &secret).unwrap();
    let error = client.inventory().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_key_is_served_nothing() {
    let world = world().await;
    let Startup { api, fingerprint, .. } = world.startup;
    let another = UnitSecret::random().unwrap();
    let stranger = Client::new(api, fingerprint, &another).unwrap();
    assert_eq!(word(stranger.inventory().await), "not-enrolled");
    let wrong = JoinToken::new("guess");
    let guessed = Client::enrol(api, fingerprint, world.unit.id, &wrong, &another).await;
    assert_eq!(word(guessed), "unauthorized");

    let (client, secret) = world.enrolled().await;
    assert_eq!(word(stranger.inventory().await), "unauthorized");
    assert_eq!(word(stranger.grant(&grant(5)).await), "unauthorized");
    let fence = Fence { subject: grant(5).subject, host: HOST.to_owned(), epoch: Epoch(5) };
    assert_eq!(word(stranger.fence(&fence, None).await), "unauthorized");
    let again = Client::enrol(api, fingerprint, world.unit.id, &token(), &another).await;
    assert_eq!(word(again), "enrolled", "the join token does not replace a secret");
    let repeated = Client::enrol(api, fingerprint, world.unit.id, &token(), &secret).await;
    repeated.expect("an answer that was lost can be had again");
    client.inventory().await.unwrap();
}

#[tokio::test]
async fn a_token_for_one_unit_enrols_no_other() {
    let world = world().await;
    let Startup { api, fingerprint, .. } = world.startup;
    let secret = UnitSecret::random().unwrap();
    let other = Client::enrol(api, fingerprint, Uuid::new_v4(), &token(), &secret).await;
    assert_eq!(word(other), "unauthorized");
}

#[tokio::test]
async fn a_unit_is_alive_under_its_own_secret_and_says_when_it_stops() {
    let world = world().await;
    let (_, secret) = world.enrolled().await;
    let key = token().seal_key();
    let answer = world.asked.answer(Message::NeedInfo);
    // Sealed by the token, while the unit may have changed over to its secret: then it is not heard,
    // and the next STARTUP comes under the secret.
    world.station.send_to(&answer.build(Some(&key)).unwrap(), world.from).await.unwrap();
    let key = secret.seal_key();
    let mut said = Vec::new();
    while said.last() != Some(&"alive") {
        let mut buffer = [0; 2048];
        let received = world.station.recv_from(&mut buffer);
        let received = tokio::time::timeout(Duration::from_secs(20), received).await;
        let (len, from) = received.expect("the unit goes on announcing").unwrap();
        let Ok(datagram) = Envelope::parse(&buffer[..len]).unwrap().open(&key) else {
            continue;
        };
        match &datagram.message {
            Message::Alive(load) => {
                assert_eq!(load.volumes, 1);
                said.push("alive");
            }
            _ => said.push("startup"),
        }
        let answer = datagram.answer(Message::NeedInfo).build(Some(&key)).unwrap();
        world.station.send_to(&answer, from).await.unwrap();
    }
    world.unit.leave().await;
    while hear(&world.station, &key).await.0.message != Message::Shutdown {}
}

#[tokio::test]
async fn hosts_are_sent_elsewhere_by_the_unit_api() {
    let world = world().await;
    let (client, _) = world.enrolled().await;
    let v: Subject = "v".parse().unwrap();
    let redirect: Redirect =
        serde_json::from_str(r#"{"address":"192.0.2.7","permanent":true}"#).unwrap();
    let set = client.set_redirect(&v, &redirect).await.unwrap();
    assert_eq!(
        (set.redirect.address.to_string().as_str(), set.redirect.permanent),
        ("192.0.2.7:3260", true)
    );
    assert_eq!(client.redirects().await.unwrap(), [set]);
    client.clear_redirect(&v).await.unwrap();
    assert_eq!(client.redirects().await.unwrap(), []);
    assert_eq!(word(client.clear_redirect(&v).await), "not-found");
}

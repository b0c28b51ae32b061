use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::app::{Caller, Policy};
use crate::health::Health;
use crate::records::{encode, unit_key, update};
use crate::store::memory::MemoryStore;
use crate::store::{self, Entry, Listing, Outcome, Shared, Store, Transaction};
use outband_pool_api::{Secret, UnitState};

const UNIT: Uuid = Uuid::from_u128(5);
const FROM: ([u8; 4], u16) = ([192, 0, 2, 1], 4000);

struct Scene {
    desk: Desk,
    station: Arc<Station>,
    now: Instant,
}

impl Scene {
    async fn new(policy: Policy) -> Self {
        Self::on(Arc::new(MemoryStore::default()), policy).await
    }

    async fn on(store: Shared, policy: Policy) -> Self {
        let station = Arc::new(Station::open(store, "main", policy).await.unwrap());
        station.ensure_join_token().await.unwrap();
        Self { desk: Desk::new(Arc::clone(&station)), station, now: Instant::now() }
    }

    async fn join_key(&self) -> Key {
        let token = self.station.join_token(&Caller::ADMIN).await.unwrap();
        JoinToken::new(token.token.expose()).seal_key()
    }

    async fn send(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.desk.handle(bytes, FROM.into(), self.now).await.unwrap()
    }

    /// The answer to a datagram, opened.
    async fn say(&mut self, numbers: (u64, u64), message: Message, key: &Key) -> Option<Message> {
        let bytes = datagram(numbers, message).build(Some(key)).unwrap();
        let answer = self.send(&bytes).await?;
        let envelope = Envelope::parse(&answer).unwrap();
        Some(match envelope.refusal() {
            Some(refusal) => Message::Refused(refusal),
            None => envelope.open(key).unwrap().message,
        })
    }

    async fn state(&self) -> Option<UnitState> {
        let units = self.station.units(&Caller::ADMIN).await.unwrap();
        units.first().map(|unit| unit.state)
    }

    /// As the enrolment over TLS leaves it.
    async fn enrol(&self) -> Key {
        let unit = self.station.secret_for(UNIT).await.unwrap().unwrap();
        self.station.handle_enrolled(UNIT).await.unwrap();
        UnitSecret::try_from(unit.secret.unwrap().expose().to_owned()).unwrap().seal_key()
    }
}

fn datagram((incarnation, sequence): (u64, u64), message: Message) -> Datagram {
    Datagram { unit: UNIT.into_bytes(), incarnation, sequence, message }
}

fn startup() -> Message {
    Message::Startup(Startup {
        fingerprint: [9; 32],
        api: "0.0.0.0:7445".parse().unwrap(),
        name: "shelf".into(),
        version: "0.1.0".into(),
        portals: vec!["192.0.2.1:3260".parse().unwrap()],
        interfaces: Vec::new(),
    })
}

fn alive() -> Message {
    Message::Alive(announce::Load { sessions: 3, ..Default::default() })
}

/// A store that can be out of reach.
#[derive(Debug, Default)]
struct Away {
    inner: MemoryStore,
    away: AtomicBool,
}

impl Away {
    fn reached(&self) -> Result<&MemoryStore, StoreError> {
        match self.away.load(Ordering::Relaxed) {
            true => Err(StoreError::Stopped),
            false => Ok(&self.inner),
        }
    }
}

impl Store for Away {
    fn get<'a>(&'a self, key: &'a str) -> store::Answer<'a, Option<Entry>> {
        Box::pin(async move { self.reached()?.get(key).await })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> store::Answer<'a, Listing> {
        Box::pin(async move { self.reached()?.list(prefix).await })
    }

    fn commit(&self, transaction: Transaction) -> store::Answer<'_, Outcome> {
        Box::pin(async move { self.reached()?.commit(transaction).await })
    }

    fn watch(&self, prefix: &str, after: u64) -> store::Watch {
        self.inner.watch(prefix, after)
    }
}

#[tokio::test]
async fn an_alive_asks_nothing_of_the_store_and_a_startup_does() {
    let store = Arc::new(Away::default());
    let mut scene = Scene::on(Arc::<Away>::clone(&store), Policy::Auto).await;
    let key = scene.join_key().await;
    scene.say((1, 1), startup(), &key).await;
    let key = scene.enrol().await;
    store.away.store(true, Ordering::Relaxed);
    scene.now += Duration::from_secs(60);
    assert_eq!(scene.say((1, 2), alive(), &key).await, None);
    assert_eq!(scene.station.live.health(UNIT, scene.now), Health::Up);
    let bytes = datagram((2, 1), startup()).build(Some(&key)).unwrap();
    let answer = scene.desk.handle(&bytes, FROM.into(), scene.now).await;
    assert!(matches!(answer, Err(StoreError::Stopped)));
}

#[tokio::test]
async fn units_that_start_at_once_are_all_answered_over_one_socket() {
    let scene = Scene::new(Policy::Auto).await;
    let key = scene.join_key().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let station = socket.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let receiving = tokio::spawn(receive(Arc::clone(&scene.station), socket, stopped));
    let units = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut waiting: BTreeSet<[u8; 16]> = (1..100_u128).map(u128::to_be_bytes).collect();
    for unit in &waiting {
        let said = Datagram { unit: *unit, ..datagram((1, 1), startup()) };
        units.send_to(&said.build(Some(&key)).unwrap(), station).await.unwrap();
    }
    let mut buffer = [0; DATAGRAM_LEN_MAX];
    let all = async {
        while !waiting.is_empty() {
            let (length, _) = units.recv_from(&mut buffer).await.unwrap();
            let answer = Envelope::parse(&buffer[..length]).unwrap();
            assert_eq!(answer.open(&key).unwrap().message, Message::NeedInfo);
            waiting.remove(&answer.unit());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("all are answered");
    stop.send_replace(true);
    receiving.await.unwrap();
}

#[tokio::test]
async fn a_startup_with_the_join_token_is_answered_by_need_info() {
    let mut scene = Scene::new(Policy::Auto).await;
    let key = scene.join_key().await;
    assert_eq!(scene.say((1, 1), startup(), &key).await, Some(Message::NeedInfo));
    let unit = load::<UnitRecord>(&scene.station.store, &unit_key(UNIT)).await.unwrap().unwrap();
    assert_eq!(unit.record.api, "192.0.2.1:7445".parse().unwrap(), "the sender's own address");
    assert_eq!(scene.say((1, 2), alive(), &key).await, None);
    let shown = scene.station.unit(&Caller::ADMIN, "shelf").await.unwrap();
    assert_eq!(shown.load.unwrap().sessions, 3);
}

#[tokio::test]
async fn under_the_approve_policy_a_unit_is_told_to_wait() {
    let mut scene = Scene::new(Policy::Approve).await;
    let key = scene.join_key().await;
    assert_eq!(scene.say((1, 1), startup(), &key).await, Some(Message::Pending));
    assert_eq!(scene.state().await, Some(UnitState::Pending));
    scene.station.approve_unit(&Caller::ADMIN, "shelf").await.unwrap();
    assert_eq!(scene.say((1, 2), startup(), &key).await, Some(Message::NeedInfo));
}

#[tokio::test]
async fn a_wrong_or_expired_token_is_refused_and_leaves_nothing() {
    let mut scene = Scene::new(Policy::Auto).await;
    let wrong = JoinToken::new("wrong").seal_key();
    let refused = |refusal| Some(Message::Refused(refusal));
    assert_eq!(scene.say((1, 1), startup(), &wrong).await, refused(Refusal::WrongToken));
    let expired = JoinTokenRecord { token: Secret::new("old"), expires: Some(1) };
    let put = Transaction::new().put(JOIN_TOKEN, encode(&expired));
    scene.station.store.commit(put).await.unwrap();
    let key = JoinToken::new("old").seal_key();
    assert_eq!(scene.say((1, 1), startup(), &key).await, refused(Refusal::ExpiredToken));
    assert_eq!(scene.say((1, 1), startup(), &wrong).await, refused(Refusal::WrongToken));
    assert_eq!(scene.state().await, None);
}

#[tokio::test]
async fn once_enrolled_only_the_units_own_secret_speaks_for_it() {
    let mut scene = Scene::new(Policy::Auto).await;
    let token = scene.join_key().await;
    scene.say((1, 1), startup(), &token).await;
    let own = scene.enrol().await;
    let refused = Some(Message::Refused(Refusal::WrongSecret));
    assert_eq!(scene.say((1, 2), Message::Shutdown, &token).await, refused);
    assert_ne!(scene.state().await, Some(UnitState::Left));
    assert_eq!(scene.say((1, 3), Message::Shutdown, &own).await, None);
    assert_eq!(scene.state().await, Some(UnitState::Left));
    let stranger = UnitSecret::random().unwrap().seal_key();
    assert_eq!(scene.say((2, 1), startup(), &stranger).await, refused);
}

#[tokio::test]
async fn a_unit_whose_acknowledgement_was_lost_is_enrolled_by_its_next_word() {
    let mut scene = Scene::new(Policy::Auto).await;
    let token = scene.join_key().await;
    scene.say((1, 1), startup(), &token).await;
    let own = scene.enrol().await;
    update::<UnitRecord>(&scene.station.store, &unit_key(UNIT), |unit| {
        std::mem::replace(&mut unit.enrolled, false)
    })
    .await
    .unwrap();
    scene.say((1, 2), alive(), &own).await;
    let unit = load::<UnitRecord>(&scene.station.store, &unit_key(UNIT)).await.unwrap().unwrap();
    assert!(unit.record.enrolled);
}

#[tokio::test]
async fn a_replay_does_nothing() {
    let mut scene = Scene::new(Policy::Auto).await;
    let key = scene.join_key().await;
    scene.say((1, 1), startup(), &key).await;
    let shutdown = datagram((1, 2), Message::Shutdown).build(Some(&key)).unwrap();
    scene.send(&shutdown).await;
    assert_eq!(scene.state().await, Some(UnitState::Left));
    assert_eq!(scene.say((2, 1), startup(), &key).await, Some(Message::NeedInfo));
    assert_eq!(scene.send(&shutdown).await, None);
    assert_ne!(scene.state().await, Some(UnitState::Left));

    // A station that starts again knows the incarnation from its store.
    scene.desk = Desk::new(Arc::clone(&scene.station));
    assert_eq!(scene.send(&shutdown).await, None);
    assert_ne!(scene.state().await, Some(UnitState::Left));
}

#[tokio::test]
async fn a_unit_the_station_does_not_know_in_this_incarnation_announces_again() {
    let mut scene = Scene::new(Policy::Auto).await;
    let key = scene.join_key().await;
    assert_eq!(scene.say((1, 1), alive(), &key).await, Some(Message::AnnounceAgain));
    scene.say((1, 2), startup(), &key).await;
    assert_eq!(scene.say((2, 1), alive(), &key).await, Some(Message::AnnounceAgain));
    let stranger = UnitSecret::random().unwrap().seal_key();
    let refused = scene.say((1, 3), alive(), &stranger).await;
    assert_eq!(refused, Some(Message::Refused(Refusal::UnknownUnit)));
}

#[tokio::test]
async fn noise_is_not_answered() {
    let mut scene = Scene::new(Policy::Auto).await;
    let key = scene.join_key().await;
    let good = datagram((1, 1), startup()).build(Some(&key)).unwrap();
    for length in 0..good.len() {
        assert_eq!(scene.send(&good[..length]).await, None);
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        scene.send(&bad).await;
        assert_eq!(scene.state().await, None, "a byte changed at {at}");
    }
    assert!(scene.send(&good).await.is_some());
}

#[test]
fn the_same_complaint_is_logged_once_a_minute() {
    let start = Instant::now();
    let mut throttle = Throttle::default();
    assert_eq!(throttle.admit(start), Some(0));
    for second in 1..60 {
        assert_eq!(throttle.admit(start + Duration::from_secs(second)), None);
    }
    assert_eq!(throttle.admit(start + Duration::from_secs(60)), Some(59));
}

//! What is counted and told of units that are lost, at times that the test sets.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::book::Book;
use crate::quarantine::Rules;
use crate::store::Shared;
use crate::store::memory::MemoryStore;

const UNIT: Uuid = Uuid::from_u128(1);

async fn station(store: &Shared) -> Station {
    let mut station = Station::open(Arc::clone(store), "main", Policy::Auto).await.unwrap();
    station.quarantine = Rules { leaves: 1, within_seconds: 3600, lasts_seconds: 60 };
    station
}

async fn starts(station: &Station, incarnation: u64) -> Instant {
    let now = station.machine.now();
    let heard = Heard {
        id: UNIT,
        name: "one".to_owned(),
        portals: Vec::new(),
        api: "192.0.2.1:3261".parse().unwrap(),
        fingerprint: [1; 32],
        version: "0.1.0".to_owned(),
        incarnation,
    };
    station.handle_startup(&heard, now).await.unwrap();
    now
}

async fn record(store: &Shared) -> UnitRecord {
    let book = Book::open(Arc::clone(store)).await.unwrap();
    load::<UnitRecord>(&book, &unit_key(UNIT)).await.unwrap().unwrap().record
}

fn told(station: &Station) -> usize {
    let events = station.events.after(0);
    events.iter().filter(|event| event.kind == "unit-quarantined").count()
}

#[tokio::test]
async fn a_unit_that_starts_anew_once_too_often_is_told_of() {
    let store: Shared = Arc::new(MemoryStore::default());
    let station = station(&store).await;
    starts(&station, 1).await;
    assert_eq!(told(&station), 0);
    starts(&station, 2).await;
    assert!(record(&store).await.quarantined_until.is_some());
    assert_eq!(told(&station), 1);
    starts(&station, 2).await;
    assert_eq!(told(&station), 1, "a STARTUP repeated");
}

#[tokio::test]
async fn a_second_quarantine_is_told_of_like_the_first() {
    let store: Shared = Arc::new(MemoryStore::default());
    let station = station(&store).await;
    let now = starts(&station, 1).await;
    // One that was over long ago.
    let old = |unit: &mut UnitRecord| unit.quarantined_until.replace(1).is_none();
    update::<UnitRecord>(&station.store, &unit_key(UNIT), old).await.unwrap();
    station.judge_health(now + Duration::from_secs(20)).await.unwrap();
    assert!(record(&store).await.quarantined_until.unwrap() > 1);
    assert_eq!(told(&station), 1);
    station.judge_health(now + Duration::from_secs(40)).await.unwrap();
    assert_eq!(told(&station), 1);
}

#[tokio::test]
async fn a_lost_unit_that_answers_a_new_start_of_the_station_is_lost_no_more() {
    let store: Shared = Arc::new(MemoryStore::default());
    let before = station(&store).await;
    let now = starts(&before, 1).await;
    before.judge_health(now + Duration::from_secs(20)).await.unwrap();
    assert!(record(&store).await.lost);

    let after = station(&store).await;
    let now = after.machine.now();
    after.judge_health(now).await.unwrap();
    assert!(record(&store).await.lost, "it was not heard yet");
    after.live.change(UNIT, |live| live.handle_heard(1, now));
    after.judge_health(now).await.unwrap();
    assert!(!record(&store).await.lost);
}

#[tokio::test]
async fn a_unit_that_was_lost_and_starts_anew_is_counted_once() {
    let store: Shared = Arc::new(MemoryStore::default());
    let mut station = station(&store).await;
    station.quarantine = Rules { leaves: 3, within_seconds: 3600, lasts_seconds: 60 };
    let now = starts(&station, 1).await;
    let later = now + Duration::from_secs(20);
    station.judge_health(later).await.unwrap();
    // The station looks at all units between hearing this one and writing that it has started.
    station.live.change(UNIT, |live| live.handle_heard(2, later));
    station.judge_health(later).await.unwrap();
    assert!(record(&store).await.lost, "its record is of the start that was lost");
    starts(&station, 2).await;
    let record = record(&store).await;
    assert_eq!((record.leaves.len(), record.lost), (1, false));
}

#[tokio::test]
async fn until_it_has_its_secret_only_the_unit_that_was_approved_is_let_in() {
    let store: Shared = Arc::new(MemoryStore::default());
    let station = Station::open(Arc::clone(&store), "main", Policy::Approve).await.unwrap();
    let now = station.machine.now();
    let heard = |fingerprint: u8, incarnation| Heard {
        id: UNIT,
        name: "one".to_owned(),
        portals: Vec::new(),
        api: format!("192.0.2.{fingerprint}:3261").parse().unwrap(),
        fingerprint: [fingerprint; 32],
        version: "0.1.0".to_owned(),
        incarnation,
    };
    assert!(!station.handle_startup(&heard(1, 1), now).await.unwrap());
    station.approve_unit(&Caller::ADMIN, "one").await.unwrap();
    let approved = record(&store).await;
    // Somebody else who knows the join token.
    assert!(!station.handle_startup(&heard(2, 2), now).await.unwrap());
    assert_eq!(record(&store).await, approved);
    assert!(station.handle_startup(&heard(1, 2), now).await.unwrap());
    let given = station.secret_for(UNIT).await.unwrap().unwrap();
    assert_eq!((given.api, given.fingerprint), (approved.api, approved.fingerprint));
    assert!(!station.handle_startup(&heard(2, 3), now).await.unwrap());
}

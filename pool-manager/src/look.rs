//! Looks at what units have counted, once a second, while somebody wants to know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use outband_control::api::Counts;
use tokio::sync::watch;
use uuid::Uuid;

use crate::app::Station;
use crate::http::serve::stopped;
use crate::records::{UnitRecord, load, unit_key};
use crate::unit::UnitApi;
use crate::work::Connect;

/// Between two looks at a unit.
const EVERY: Duration = Duration::from_secs(1);
/// A unit that takes longer has given no answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Units that are asked at a time.
const AT_A_TIME: usize = 16;

/// Runs until `stop` turns true.
pub(crate) async fn run<C: Connect>(
    station: Arc<Station>,
    connect: Arc<C>,
    mut stop: watch::Receiver<bool>,
) {
    let looking = async {
        let mut known = BTreeMap::new();
        loop {
            station.watched.asked().await;
            look_on(&station, &*connect, &mut known).await;
            known.clear();
        }
    };
    tokio::select! {
        biased;
        () = stopped(&mut stop) => {}
        () = looking => {}
    }
}

/// A unit's client, and the record that it was made of.
type Known<C> = BTreeMap<Uuid, (UnitRecord, Arc<<C as Connect>::Unit>)>;

/// Until nobody asks any more.
async fn look_on<C: Connect>(station: &Station, connect: &C, known: &mut Known<C>) {
    let machine = &station.machine;
    loop {
        let next = machine.now() + EVERY;
        let wanted = station.watched.wanted(machine.now());
        if wanted.is_empty() {
            return;
        }
        known.retain(|unit, _| wanted.contains(unit));
        for unit in &wanted {
            renew(station, connect, *unit, known).await;
        }
        let looks = wanted.iter().map(|unit| look(station, *unit, known.get(unit)));
        stream::iter(looks).for_each_concurrent(AT_A_TIME, |look| look).await;
        station.watched.end_round();
        machine.sleep_until(next).await;
    }
}

/// The client is kept, with its connection, for as long as the unit is where it was.
async fn renew<C: Connect>(station: &Station, connect: &C, unit: Uuid, known: &mut Known<C>) {
    // Without its record it cannot be asked; that is no news here.
    let stored = load::<UnitRecord>(&station.store, &unit_key(unit)).await.ok().flatten();
    let record = stored.map(|stored| stored.record);
    let is_same = |record: &UnitRecord, (of, _): &(UnitRecord, Arc<C::Unit>)| {
        (record.api, &record.fingerprint, &record.secret) == (of.api, &of.fingerprint, &of.secret)
    };
    match record {
        Some(record) if known.get(&unit).is_some_and(|known| is_same(&record, known)) => {}
        Some(record) => match connect.connect(&record) {
            Ok(client) => drop(known.insert(unit, (record, Arc::new(client)))),
            Err(_) => drop(known.remove(&unit)),
        },
        None => drop(known.remove(&unit)),
    }
}

async fn look<U: UnitApi>(station: &Station, unit: Uuid, known: Option<&(UnitRecord, Arc<U>)>) {
    let Some((record, client)) = known else {
        station.watched.take(unit, "", None);
        return;
    };
    let counts: Option<Counts> =
        station.machine.timeout(ANSWER_MAX, client.counts()).await.and_then(Result::ok);
    station.watched.take(unit, &record.name, counts);
}

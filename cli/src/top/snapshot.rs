//! What the station says at one moment, and asking it again and again.

use std::time::Duration;

use outband_pool_api::{Client, Error, Host, PoolStatus, Rates, Unit, Volume};
use tokio::sync::{mpsc, watch};

/// All that is shown, as of one moment.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Snapshot {
    pub(super) pool: PoolStatus,
    pub(super) units: Vec<Unit>,
    pub(super) volumes: Vec<Volume>,
    pub(super) hosts: Vec<Host>,
    pub(super) rates: Rates,
    /// Of the one volume that is looked at, with its latencies; its name comes first.
    pub(super) close: Option<(String, Rates)>,
}

/// Asks about everything `every` so often, and at once when another volume is looked at, until
/// nobody listens any more.
pub(super) async fn follow(
    client: Client,
    every: Duration,
    mut close: watch::Receiver<Option<String>>,
    tell: mpsc::Sender<Result<Snapshot, Error>>,
) {
    loop {
        let next = tokio::time::Instant::now() + every;
        let volume = close.borrow_and_update().clone();
        if tell.send(look(&client, volume).await).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            changed = close.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn look(client: &Client, close: Option<String>) -> Result<Snapshot, Error> {
    let near = async {
        match close {
            None => Ok(None),
            Some(name) => match client.volume_rates(&name).await {
                Ok(rates) => Ok(Some((name, rates))),
                // It was deleted while it was looked at.
                Err(Error::Refused(problem)) if problem.status == 404 => Ok(None),
                Err(error) => Err(error),
            },
        }
    };
    let (pool, units, volumes, hosts, rates, close) = tokio::try_join!(
        client.pool(),
        client.units(),
        client.volumes(),
        client.hosts(),
        client.rates(),
        near
    )?;
    Ok(Snapshot { pool, units, volumes, hosts, rates, close })
}

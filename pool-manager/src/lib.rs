//! The station, `outband-pool`: keeps the pool, answers hosts, and brings what they were promised
//! about on the units.
//!
//! Deliberately absent: block data, and any part in the data path.

#![forbid(unsafe_code)]

pub mod allocate;
pub mod announce;
pub mod app;
pub mod backup;
pub mod book;
pub mod capacity;
pub mod cli;
pub mod config;
pub mod connect;
mod console;
pub mod health;
pub mod http;
pub mod logging;
mod look;
mod names;
mod paging;
pub mod problems;
pub mod quarantine;
mod random;
pub mod rates;
pub mod recognise;
pub mod reconcile;
pub mod records;
#[cfg(test)]
mod sample;
pub mod search;
mod state_dir;
pub mod station;
pub mod store;
pub mod takeover;
pub mod tls;
pub mod unit;
mod visits;
pub mod work;

use std::future::Future;

use config::Config;
use connect::OverHttps;
use station::{Addresses, Bound, StartError};

/// Runs a station until `shutdown` is done. `ready` is told where it is once it can be reached.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(&Addresses),
) -> Result<(), StartError> {
    let bound = Bound::open(&config).await?;
    ready(bound.addresses());
    bound.run(OverHttps, shutdown).await;
    Ok(())
}

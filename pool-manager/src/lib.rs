//! The station, `outband-pool`: keeps the pool, answers hosts, and brings what they were promised
//! about on the units.
//!
//! Deliberately absent: block data, and any part in the data path.

#![forbid(unsafe_code)]

pub mod allocate;
pub mod announce;
pub mod app;
pub mod clock;
pub mod config;
pub mod health;
pub mod http;
mod names;
pub mod problems;
mod random;
pub mod reconcile;
pub mod records;
mod state_dir;
pub mod station;
pub mod store;
pub mod tls;
pub mod unit;
pub mod work;

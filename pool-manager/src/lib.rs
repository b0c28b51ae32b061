//! The station, `outband-pool`: keeps the pool, answers hosts, and brings what they were promised
//! about on the units.
//!
//! Deliberately absent: block data, and any part in the data path.

#![forbid(unsafe_code)]

pub mod allocate;
pub mod app;
pub mod clock;
pub mod health;
mod names;
pub mod problems;
mod random;
pub mod reconcile;
pub mod records;
pub mod store;
pub mod unit;

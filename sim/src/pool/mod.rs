//! A pool from a seed: a station, units and hosts, users who want things, and everything that goes
//! wrong between and inside of them. Messages are lost, doubled and late; the station and the units
//! are killed between any two of their steps.
//!
//! Real are: the station's rules, reconciler, allocator, workers and desk; the unit's keeper, access
//! table and store, announcer, unit API with its router and client; the shards; the hosts' sessions.
//! Simulated are what they stand on, and the unit's catalog. Why in this way:
//! `docs/decisions/0006-our-own-executor-in-the-simulator.md`.

pub mod flash;
mod judge;
pub mod kernel;
pub mod post;
pub mod run;
pub mod setup;
pub mod station;
pub mod unit;
pub mod user;
pub mod watch;
pub mod world;

pub use run::{Report, run, run_altered, run_range};

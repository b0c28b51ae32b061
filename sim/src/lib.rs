//! The world from a seed: clock, network, disks, a target and its hosts, in one thread and in
//! virtual time.
//!
//! The target is the real one: its shard loop, its protocol core, its device server; only the ring
//! below it is simulated ([`ring::SimRing`]). Hosts are the real initiator's session. What is read is
//! checked against everything that was written ([`checker`]), over power cuts, kills, lost
//! connections, failing disks and fences.
//!
//! To replay a seed: `cargo xtask sim --seed N`, or `--verbose` for everything that happened. The same
//! seed gives the same trace, to the bit: nothing here reads a clock, a random number that is not
//! the seed's, or the order of a hash map.
//!
//! [`world`] has one target, and plays control's part in a fence itself; [`pool`] has a station and
//! units, and there the real ones play it.
//!
//! Deliberately absent: real sockets, files, threads and time.

#![forbid(unsafe_code)]

pub mod checker;
pub mod disk;
pub mod hardware;
#[cfg(feature = "seeded-bugs")]
pub mod hunt;
pub mod journal;
pub mod net;
pub mod pool;
pub mod ring;
pub mod rng;
pub mod run;
pub mod sequences;
pub mod setup;
pub mod shrink;
mod slot;
pub mod tag;
pub mod target;
pub mod trace;
pub mod workload;
pub mod world;

pub use run::{Defeat, Report, run, run_range};

/// Time since a simulation began.
pub type Moment = std::time::Duration;

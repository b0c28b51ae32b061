//! being built
#![forbid(unsafe_code)]
pub mod disk;
pub mod hardware;
pub mod net;
pub mod ring;
pub mod rng;
mod slot;
pub mod trace;
/// Time since a simulation began.
pub type Moment = std::time::Duration;

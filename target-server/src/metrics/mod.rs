//! What a unit can tell of its work, in figures. Shards keep plain counters in what they already
//! hold (a target, a connection, a volume) and copy them out when asked: between two looks a figure
//! costs its addition and nothing else, no atomic and no lock.
//!
//! [`Meter`] is a shard's clock and its commands of this turn; [`sample`] is what it answers;
//! [`text`] is that in Prometheus' words.

pub mod counts;
mod cpu;
mod histogram;
mod meter;
mod operation;
pub mod sample;
mod tally;
#[cfg(test)]
mod tests;
pub mod text;

pub use cpu::cpu_seconds;
pub use histogram::Histogram;
pub use meter::{Ended, Meter, TaskClock};
pub use operation::{Failure, MediumOperation, Operation};
pub use tally::{DeviceTally, OperationTally, SessionCounts, Tally};

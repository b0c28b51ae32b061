//! One file for each noun: what can be asked, and how the answer is shown.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod cp;
pub(crate) mod discover;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod job;
pub(crate) mod pool;
pub(crate) mod station;
pub(crate) mod token;
pub(crate) mod unit;
pub(crate) mod volume;

//! Conversations with the target's full feature phase, each cut anywhere and taken both ways: fed
//! in slices, and received in place.
#![allow(clippy::unwrap_used, reason = "tests")]

mod allocations;
mod clauses;
mod manage;
mod numbers;
mod offences;
mod read;
mod text;
mod waits;
mod window;
mod world;
mod write;

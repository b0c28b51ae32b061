//! The iSCSI (RFC 7143) and SCSI formats and state machines, for both sides of the wire.
//!
//! Nothing here opens a socket, reads a clock, starts a thread or holds the bytes of a read or a
//! write: the same machines serve `io_uring`, tokio, the fuzzers and the simulator.
//!
//! # The contract
//!
//! Four kinds of method, told apart by name:
//!
//! * `handle_*` and `next_event`: the world happened;
//! * plain verbs (`accept_data`, `complete`): what the application wants;
//! * `poll_*`: what must be done now;
//! * getters.
//!
//! **Drain.** After any call that takes `&mut self`, take events until `None` and transmits until
//! `None` before waiting for anything.
//!
//! **Time comes in**, as an argument; so does randomness. `poll_timeout` says when to come back.
//!
//! **Data has a name**: (task, offset, length). [`Transmit`] names what is to be sent, events name
//! what has come. Only text, pings and sense data, which are small and bounded, are held here.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod announce;
pub mod digest;
pub mod framer;
pub mod ids;
pub mod initiator;
pub mod keys;
pub mod limits;
pub mod login;
pub mod pdu;
pub mod scsi;
pub mod seeded;
pub mod serial;
pub mod target;
mod transmit;

pub use transmit::{Body, Digests, Tail, Transmit};

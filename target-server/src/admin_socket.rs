//! The local admin: `outband-target device|volume|partition|redirect …` speak to the running unit over a Unix
//! socket in its state directory; with none running they open the state directory themselves.
//! `debug` and `log` are for a unit that runs, `leave-pool` is for a unit that does not run.
//!
//! One request, one answer, each a line of JSON; the descriptor of a device goes along with its
//! request, so that the unit needs no right to open it. Only root and the unit's own user are heard.

pub mod args;
mod client;
mod inside;
mod leave;
mod local;
mod redirects;
mod server;
mod table;
mod wire;

pub use args::{AdminArgs, AdminCommand, Output};
pub use client::{AdminError, run};
pub use inside::{Inside, Shards};
pub use redirects::{Kept, Redirects};
pub use server::AdminSocket;

/// Name of the socket in the state directory.
const SOCKET: &str = "admin.sock";

#[cfg(test)]
mod tests;

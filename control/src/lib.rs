//! The unit's side of the pool: announces the unit, serves the unit API, and guards the volumes by the
//! access table. Deliberately absent: block data, SCSI, and any decision of the station.
//!
//! Read [`access`] for who may use what, [`Keeper`] for the order of a grant and a fence, [`Unit`] for
//! what `target-server` provides, and [`Control`] for how a unit starts and stops all this.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod access;
pub mod access_store;
pub mod announce;
pub mod api;
pub mod client;
pub mod config_file;
pub mod control;
pub mod error;
#[cfg(test)]
mod fake_unit;
mod interfaces;
pub mod keeper;
pub mod log;
pub mod machine;
pub mod metrics;
pub mod secret;
mod server;
mod unit;

pub use control::{Config, Control, ControlError, Member};
pub use interfaces::interfaces;
pub use keeper::Keeper;
pub use unit::{Unit, UnitError};

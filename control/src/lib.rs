//! The unit's side of the pool: announces the unit, serves the unit API, and guards the volumes by the
//! access table. Deliberately absent: block data, SCSI, and any decision of the station.
//!
//! Read [`access`] for who may use what, [`Unit`] for what `target-server` provides.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod access;
pub mod api;
pub mod secret;
mod unit;

pub use unit::{Unit, UnitError};

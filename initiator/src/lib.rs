//! What a host application links to use a volume: discovery, login, and a [`Disk`] that many tasks
//! read and write at once, over iSCSI (RFC 7143).
//!
//! ```no_run
//! # async fn example() -> Result<(), outband_initiator::Error> {
//! use outband_initiator::{Config, Disk};
//!
//! let config = Config::from_url("iscsi://10.0.0.5/iqn.2026-11.local.outband:pool:vol-1/0")?
//!     .initiator("iqn.2026-11.local.host:a")
//!     .chap("host-a", "a long and secret text");
//! let disk = Disk::connect(config).await?;
//! disk.write_at(0, vec![7; 4096]).await?;
//! disk.flush().await?;
//! assert_eq!(disk.read_at(0, 4096).await?[..], [7; 4096]);
//! # Ok(()) }
//! ```
//!
//! A lost connection is made anew behind the application's back; what can be repeated is repeated,
//! and what cannot ends with [`Error::Unknown`]. `outband_protocol::initiator::Session` decides
//! that; this crate carries its bytes.
//!
//! Deliberately absent: anything of a target's, a cache, and decisions about who may use what.

#![forbid(unsafe_code)]

mod atomic;
mod config;
mod copy;
mod discovery;
mod disk;
mod error;
mod link;
mod outbox;
mod owner;
mod pool;
mod session;
mod slots;
mod split;
mod swap;

pub use config::Config;
pub use discovery::{Discovery, discover};
pub use disk::{Disk, Geometry};
pub use error::Error;
pub use outband_protocol::initiator::Timing;
pub use outband_protocol::keys::{DigestWish, Offer, PortalAddress, TargetRecord};
pub use outband_protocol::login::Algorithm;
pub use outband_protocol::pdu::LoginStatus;
pub use outband_protocol::scsi::Sense;
pub use pool::Pool;
pub use swap::Swap;

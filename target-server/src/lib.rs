//! The target: serves volumes over iSCSI, one shard a core.
//!
//! A shell: what a request means is decided in `outband_protocol` and in [`scsi`], who may send it
//! in `outband_control`. The way of a request is in [`shard`]; where the bytes are is in [`media`],
//! [`layer`] and [`store`].

#![forbid(unsafe_code)]

pub mod admin;
pub mod admin_socket;
pub mod counters;
pub mod exports;
pub mod layer;
pub mod media;
pub mod metrics;
pub mod sandbox;
pub mod scsi;
pub mod serve;
pub mod server;
pub mod shard;
pub mod store;
pub mod unit;

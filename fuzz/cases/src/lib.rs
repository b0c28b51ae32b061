//! What the fuzz targets do with an input, apart from libFuzzer: so the kept seeds are replayed by
//! `cargo test` too (`tests/seeds.rs`), and a finding can be stepped through without a sanitizer.
//!
//! A case panics when something is wrong, and only then. Deliberately absent: any choice of inputs.

#![forbid(unsafe_code)]

pub mod answers;
pub mod api;
pub mod cdb;
pub mod chap;
pub mod connection;
pub mod datagram;
pub mod framer;
pub mod header;
pub mod initiator;
pub mod lists;
pub mod login;
pub mod record;
pub mod reserve;
pub mod text;
pub mod unit;

/// One fuzz target.
pub type Case = fn(&[u8]);

/// All of them, by the name of their folder in `fuzz/seeds`.
pub const CASES: &[(&str, Case)] = &[
    ("answers", answers::run),
    ("api", api::run),
    ("cdb", cdb::run),
    ("chap", chap::run),
    ("connection", connection::run),
    ("datagram", datagram::run),
    ("framer", framer::run),
    ("header", header::run),
    ("initiator", initiator::run),
    ("lists", lists::run),
    ("login", login::run),
    ("record", record::run),
    ("reserve", reserve::run),
    ("text", text::run),
    ("unit", unit::run),
];

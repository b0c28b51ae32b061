//! What Outband costs, measured with criterion: `cargo bench -p outband-bench`, or
//! `cargo xtask bench`.
//!
//! `pdu`, `digest` and `plan` measure one step each; `end_to_end` a whole request from the initiator
//! crate to a volume in memory and back over loopback. Readings are in `docs/performance.md`.
//! Nothing is exported.

#![forbid(unsafe_code)]

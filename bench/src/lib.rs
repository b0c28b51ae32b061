//! What Outband costs, and the tools that find it out.
//!
//! `cargo bench -p outband-bench` runs the criterion benches: `pdu`, `digest`, `keys`, `announce`,
//! `plan` and `allocate` measure one step each, `end_to_end` a whole request from the initiator crate
//! to a volume and back over loopback. `cargo xtask bench` compares the target with others; what it
//! runs are the binaries of this crate: `outband-bench-load`, a load generator for iSCSI and NBD,
//! `outband-bench-core`, whose instructions are counted, and `outband-bench-volumes`, whose memory is.
//! The method is in `docs/performance.md`.

#![forbid(unsafe_code)]

pub mod core;
pub mod cpu;
pub mod crowd;
pub mod load;
pub mod pingpong;
pub mod sample;

//! Being built.
pub mod media;

//! The stack between SCSI and the device. Linear today: a volume is pieces of devices in a row.
//! A layer says where the next bytes are; [`crate::store::Io`] is the one completion interface.

mod linear;
mod memory;

pub use linear::{Linear, Media, Place, Run, Segment};
pub use memory::Memory;

//! Machines that run Debian's kernel and tools under software emulation: an initial RAM disk made of
//! packages, a script, and what it says on its serial port.

mod archive;
mod console;
mod image;
mod libraries;
mod modules;
mod packages;

pub(crate) use console::{Heard, Machine};
pub(crate) use image::Image;

//! File systems on the volume, over several sessions of the Linux kernel's initiator.

use super::volume::{Volume, port_of};
use crate::failure::Failure;
use crate::guest::{Heard, Image, Machine};
use crate::target::folder;

const SCENARIO: &str = include_str!("files.sh");

/// With blocks of 4096 bytes the target proves itself too.
pub(super) fn run(image: &Image, large_blocks: bool) -> Result<(), Failure> {
    let folder = folder()?;
    let mut volume = Volume::new(folder.path())?;
    (volume.large_blocks, volume.mutual) = (large_blocks, large_blocks);
    let target = volume.serve(&["127.0.0.1:0"], &[0])?;
    let variables = volume.variables(port_of(&target));
    let machine = Machine::start(image, folder.path(), &variables, SCENARIO)?;
    let ran = machine.run(|heard| {
        if let Heard::Ok(what) = heard {
            println!("  {what}");
        }
        Ok(())
    });
    ran.map_err(|failure| target.explain(failure))?;
    target.stop()
}

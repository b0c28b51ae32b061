//! The target is killed while the guest writes, and started again: the kernel's initiator comes back
//! by itself, and every record it was told is written is there.

use super::volume::{Volume, port_of};
use crate::failure::Failure;
use crate::guest::{Heard, Image, Machine};
use crate::target::folder;

const SCENARIO: &str = include_str!("kill.sh");
const RECORDS: u64 = 300;
/// Once each of these is acknowledged, the target is killed.
const KILLS: [u64; 3] = [50, 120, 210];

pub(super) fn run(image: &Image) -> Result<(), Failure> {
    let folder = folder()?;
    let volume = Volume::new(folder.path())?;
    let first = volume.serve(&["127.0.0.1:0"], &[0])?;
    let port = port_of(&first);
    let listen = format!("127.0.0.1:{port}");
    let mut variables = volume.variables(port);
    variables.push(("RECORDS", RECORDS.to_string()));
    let machine = Machine::start(image, folder.path(), &variables, SCENARIO)?;
    let mut target = Some(first);
    machine.run(|heard| {
        match heard {
            Heard::Acknowledged(number) if KILLS.contains(&number) => {
                // Dropped without being asked to stop: killed.
                target = None;
                target = Some(volume.serve(&[&listen], &[port])?);
                println!("  killed and started again after record {number}");
            }
            Heard::Ok(what) => println!("  {what}"),
            _ => {}
        }
        Ok(())
    })?;
    target.expect("it was started again each time").stop()?;
    volume.has_records(RECORDS)?;
    println!("  {RECORDS} records are in the file");
    Ok(())
}

//! One volume by two portals under dm-multipath: a path is cut under I/O, and comes back.

use std::net::{Ipv4Addr, SocketAddr};

use super::path::Path;
use super::volume::{Volume, free_port, port_of};
use crate::failure::Failure;
use crate::guest::{Heard, Image, Machine};
use crate::target::folder;

const SCENARIO: &str = include_str!("multipath.sh");
const RECORDS: u64 = 200;
/// Once this one is acknowledged, the path is cut; the script waits for it at half of them.
const CUT: u64 = 50;

pub(super) fn run(image: &Image) -> Result<(), Failure> {
    let folder = folder()?;
    let volume = Volume::new(folder.path())?;
    let second = free_port()?;
    let mut path = Path::new(SocketAddr::from((Ipv4Addr::LOCALHOST, second)))?;
    let listen = ["127.0.0.1:0", &format!("127.0.0.1:{second}")];
    let target = volume.serve(&listen, &[0, path.port()])?;
    let mut variables = volume.variables(port_of(&target));
    variables.push(("RECORDS", RECORDS.to_string()));
    let machine = Machine::start(image, folder.path(), &variables, SCENARIO)?;
    let ran = machine.run(|heard| {
        match heard {
            Heard::Acknowledged(CUT) => {
                path.cut();
                println!("  one path is cut after record {CUT}");
            }
            Heard::Acknowledged(_) => {}
            Heard::Please(what) => {
                println!("  {what}");
                path.open()?;
            }
            Heard::Ok(what) => println!("  {what}"),
        }
        Ok(())
    });
    ran.map_err(|failure| target.explain(failure))?;
    target.stop()?;
    volume.has_records(RECORDS)?;
    println!("  {RECORDS} records are in the file");
    Ok(())
}

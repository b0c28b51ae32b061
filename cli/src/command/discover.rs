//! `outband discover`: which targets a portal shows to a host.

use outband_initiator::{PortalAddress, TargetRecord};
use serde::Serialize;

use crate::disks::HostArgs;
use crate::failure::Failure;
use crate::output::{Output, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port; 3260 if no port is given
    portal: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Serialize)]
struct Found {
    target: String,
    portals: Vec<String>,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<(), Failure> {
    let found = args.host.discovery(&args.portal)?.run().await;
    let found = found.map_err(Failure::disk(format!("asking {}", args.portal)))?;
    let found: Vec<Found> = found.iter().map(describe).collect();
    output.show(&found, |found| {
        let row = |found: &Found| vec![found.target.clone(), found.portals.join(" ")];
        table(&["target", "portals"], &[], found.iter().map(row).collect())
    });
    Ok(())
}

fn describe(record: &TargetRecord) -> Found {
    Found {
        target: record.name.to_string(),
        portals: record.portals.iter().map(PortalAddress::to_string).collect(),
    }
}

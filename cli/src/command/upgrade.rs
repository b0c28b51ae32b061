//! `outband upgrade plan`: which unit gets a new version when.

use clap::Subcommand;
use outband_pool_api::{ServiceKind, UpgradePlan, UpgradeStep};

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, table};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// The versions there are, and the order of units, one at a time; refused while anything in the
    /// pool is degraded
    Plan,
}

pub(crate) async fn run(
    command: Command,
    station: &StationArgs,
    output: &Output,
) -> Result<(), Failure> {
    let Command::Plan = command;
    let client = station.client()?;
    let services = client.services().await?;
    let own = services.iter().find(|service| service.kind == ServiceKind::Station);
    let version = own.map(|own| own.version.clone()).unwrap_or_default();
    let (units, findings) = (client.units().await?, client.doctor().await?);
    let plan = UpgradePlan::of(&version, &units, &findings);
    output.show(&plan, text);
    match plan.not_now.is_empty() {
        true => Ok(()),
        false => Err(Failure::Refused(format!("not now: {}", plan.not_now.join("; ")))),
    }
}

fn text(plan: &UpgradePlan) -> String {
    let versions =
        plan.versions.iter().map(|(version, units)| vec![version.clone(), units.to_string()]);
    let versions = table(&["version", "units"], &["units"], versions.collect());
    let head = format!("the station has {}\n\n{versions}", plan.station);
    if plan.order.is_empty() {
        return format!("{head}\n\nevery unit has the station's version");
    }
    let row = |(place, step): (usize, &UpgradeStep)| {
        let (unit, from) = (step.unit.clone(), step.from.clone());
        vec![(place + 1).to_string(), unit, from, step.volumes.to_string()]
    };
    let rows = plan.order.iter().enumerate().map(row).collect();
    let order = table(&["", "unit", "has", "volumes"], &["", "volumes"], rows);
    format!(
        "{head}\n\n{order}\n\none at a time: outband unit maintenance UNIT, install {}, start it \
         again, wait until it has joined, outband unit resume UNIT",
        plan.station
    )
}

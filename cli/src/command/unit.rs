//! `outband unit`: storage machines, and running one.

mod life;

use std::path::PathBuf;

use clap::Subcommand;
use outband_pool_api::{Size, Unit};
use outband_target_server::unit::{self, UnitConfig};

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, date, details, say, span, table};
use crate::process::{StopArgs, start_log};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All units that have announced themselves
    #[command(visible_alias = "list")]
    Ls,
    /// One unit with its devices
    Show {
        /// Its name or id
        unit: String,
    },
    /// Let a pending unit into the pool
    Approve {
        /// Its name or id
        unit: String,
    },
    /// Forget a unit that holds no volume of the pool; it joins again after outband-target leave-pool
    Rm {
        /// Its name or id
        unit: String,
    },
    #[command(flatten)]
    Life(life::Life),
    /// Run a unit in the foreground on this machine, as outband-target --config does
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Write the log as JSON lines
        #[arg(long)]
        log_json: bool,
        #[command(flatten)]
        stop: StopArgs,
    },
}

pub(crate) async fn run(
    command: Command,
    station: &StationArgs,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::Ls => output.show(&station.client()?.units().await?, |units| list(units)),
        Command::Show { unit } => output.show(&station.client()?.unit(&unit).await?, show),
        Command::Approve { unit } => {
            let unit = station.client()?.approve_unit(&unit).await?;
            output
                .show(&unit, |unit| format!("{} is approved; it is {} now", unit.name, unit.state));
        }
        Command::Rm { unit } => {
            station.client()?.remove_unit(&unit).await?;
            if !output.is_json() {
                say(&format!("{unit} is forgotten"));
            }
        }
        Command::Life(life) => life::run(life, &station.client()?, output).await?,
        Command::Run { config, log_json, stop } => {
            let config = UnitConfig::load(&config)?;
            start_log(log_json)?;
            unit::run(config, stop.told_to_stop()?).await?;
        }
    }
    Ok(())
}

pub(crate) fn list(units: &[Unit]) -> String {
    let rows = units
        .iter()
        .map(|unit| {
            vec![
                unit.name.clone(),
                unit.state.to_string(),
                duty(unit),
                unit.portals.join(" "),
                unit.total.to_string(),
                unit.free.to_string(),
                memory(unit),
                unit.volumes.to_string(),
                unit.load.map_or_else(String::new, |load| load.iops.to_string()),
                heard(unit),
            ]
        })
        .collect();
    table(
        &[
            "name", "state", "duty", "portals", "total", "free", "memory", "volumes", "iops",
            "heard",
        ],
        &["total", "free", "memory", "volumes", "iops"],
        rows,
    )
}

fn duty(unit: &Unit) -> String {
    match unit.quarantined_until {
        Some(_) => format!("{}, in quarantine", unit.duty),
        None => unit.duty.to_string(),
    }
}

/// What is free for those who ask for memory; it is not counted with the lasting media.
fn memory(unit: &Unit) -> String {
    let free: u64 =
        unit.devices.iter().filter(|device| device.volatile).map(|device| device.free.0).sum();
    if free == 0 { String::new() } else { Size(free).to_string() }
}

fn heard(unit: &Unit) -> String {
    match unit.heard_seconds_ago {
        Some(0) => "now".to_owned(),
        Some(seconds) => format!("{} ago", span(seconds)),
        None => "not since the station started".to_owned(),
    }
}

fn show(unit: &Unit) -> String {
    let load = unit.load.map_or_else(String::new, |load| {
        let rate = Size(load.bytes_per_second);
        format!("{} sessions, {} IOPS, {rate}/s", load.sessions, load.iops)
    });
    let space = match unit.total {
        Size(0) => String::new(),
        total => format!("{} free of {total}", unit.free),
    };
    let memory = memory(unit);
    let head = details(&[
        ("name", unit.name.clone()),
        ("id", unit.id.to_string()),
        ("state", unit.state.to_string()),
        ("duty", duty(unit)),
        (
            "quarantine",
            unit.quarantined_until.map(|at| format!("until {}", date(at))).unwrap_or_default(),
        ),
        ("labels", life::labels(unit)),
        ("must leave", unit.must_leave.join(" ")),
        ("portals", unit.portals.join(" ")),
        ("unit API", unit.api.clone()),
        ("version", unit.version.clone()),
        ("space", space),
        ("memory", if memory.is_empty() { memory } else { format!("{memory} free") }),
        ("volumes", unit.volumes.to_string()),
        ("load", load),
        ("heard", heard(unit)),
    ]);
    let devices = unit
        .devices
        .iter()
        .map(|device| {
            vec![
                device.path.clone(),
                device.total.to_string(),
                device.free.to_string(),
                if device.volatile { "memory" } else { "lasting" }.to_owned(),
                if device.healthy { "healthy" } else { "FAULTED" }.to_owned(),
            ]
        })
        .collect();
    let header = ["device", "total", "free", "media", "health"];
    format!("{head}\n\n{}", table(&header, &["total", "free"], devices))
}

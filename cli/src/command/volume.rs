//! `outband volume`: asking the pool for storage, and giving it back.

use std::io::IsTerminal;

use clap::{Args, Subcommand, ValueEnum};
use outband_pool_api::{
    BlockSize, Client, Job, Label, Placed, Placement, Secret, Size, Volume, VolumeRequest,
    WritePolicy,
};
use uuid::Uuid;

use super::job;
use crate::failure::Failure;
use crate::link::{StationArgs, WaitArgs};
use crate::output::{Output, details, say, table};

/// What stands in the place of a secret that is not to be seen.
const HIDDEN: &str = "(hidden; see --show-secret)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask the pool for a volume
    Create(CreateArgs),
    /// All volumes
    #[command(visible_alias = "list")]
    Ls,
    /// One volume, and how its host connects to it
    Show {
        name: String,
        /// Show the CHAP secret
        #[arg(long)]
        show_secret: bool,
    },
    /// Make a volume larger
    Grow {
        name: String,
        /// The new size, not what is added
        #[arg(long)]
        size: Size,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take a volume from its host; it stays, with its data, and nobody may use it
    Release {
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Give a free volume to a host, with the data it holds
    Assign {
        name: String,
        #[arg(long)]
        host: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Give a volume to another host; the one that has it is fenced first
    ///
    /// A unit that does not answer is never taken for fenced: the job waits for it, and says so.
    MoveHost {
        name: String,
        /// Who is to have it
        host: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take up a volume that no record claims, as its unit reports it
    Adopt { name: String },
    /// Forget a volume that is gone, or whose unit does not answer; nothing is erased
    Forget {
        name: String,
        /// Its name once more; a person is asked for it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
    /// Take a volume from its host and erase it
    #[command(visible_alias = "delete")]
    Rm {
        name: String,
        /// Do not ask whether the data may go
        #[arg(long)]
        yes_erase: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name; made up if not given, and only then a free volume may be used again
    name: Option<String>,
    /// How large, for example 80G; from 1M to 8E, rounded up to whole MiB
    #[arg(long)]
    size: Size,
    /// The host that is to use it; not needed with a host's own token
    #[arg(long)]
    host: Option<String>,
    /// Bytes in a logical block, 512 or 4096; the unit's choice if not given
    #[arg(long, value_name = "BYTES")]
    block_size: Option<BlockSize>,
    /// Put it on this unit, by name or id
    #[arg(long)]
    unit: Option<String>,
    /// How a unit is chosen
    #[arg(long, value_enum, default_value = "most-free")]
    placement: PlacementArg,
    /// When a write is acknowledged: on stable storage, or from the write cache
    #[arg(long, value_enum, default_value = "normal")]
    write_policy: PolicyArg,
    /// In memory: fast, and lost when its unit stops
    #[arg(long)]
    volatile: bool,
    /// Let its host wipe it by SCSI's SANITIZE and FORMAT UNIT, which nothing ends once they have begun
    #[arg(long)]
    allow_sanitize: bool,
    /// Only on units with this label; may be said several times
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<Label>,
    /// On the unit that this volume is on
    #[arg(long, value_name = "VOLUME")]
    near: Vec<String>,
    /// Not in one failure domain with this volume; may be said several times
    #[arg(long, value_name = "VOLUME")]
    apart: Vec<String>,
    /// The label whose value is a unit's failure domain, such as rack; else each unit is one
    #[arg(long, value_name = "LABEL", requires = "apart")]
    domain: Option<String>,
    /// Say where it would be placed and why not elsewhere, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Any text; the same command with the same key finds the volume of the first one
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    /// Show the CHAP secret
    #[arg(long)]
    show_secret: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PlacementArg {
    /// The unit with the most free space
    MostFree,
    /// The unit with the fewest volumes of this host
    Spread,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PolicyArg {
    Normal,
    High,
}

impl From<PlacementArg> for Placement {
    fn from(placement: PlacementArg) -> Self {
        match placement {
            PlacementArg::MostFree => Self::MostFree,
            PlacementArg::Spread => Self::Spread,
        }
    }
}

impl From<PolicyArg> for WritePolicy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Normal => Self::Normal,
            PolicyArg::High => Self::High,
        }
    }
}

pub(crate) async fn run(
    command: Command,
    station: &StationArgs,
    output: &Output,
) -> Result<(), Failure> {
    let client = station.client()?;
    match command {
        Command::Ls => {
            let volumes = client.volumes().await?.into_iter().map(hide).collect::<Vec<_>>();
            output.show(&volumes, |volumes| list(volumes));
        }
        Command::Show { name, show_secret } => {
            let volume = client.volume(&name).await?;
            output.show(&if show_secret { volume } else { hide(volume) }, show);
        }
        Command::Create(args) => create(args, &client, output).await?,
        Command::Grow { name, size, wait } => {
            ended(client.grow_volume(&name, size, wait.wait()).await?, output);
        }
        Command::Release { name, wait } => {
            ended(client.release_volume(&name, wait.wait()).await?, output);
        }
        Command::Assign { name, host, wait } => {
            ended(client.assign_volume(&name, &host, wait.wait()).await?, output);
        }
        Command::MoveHost { name, host, wait } => {
            ended(client.move_volume(&name, &host, wait.wait()).await?, output);
        }
        Command::Adopt { name } => output.show(&hide(client.adopt_volume(&name).await?), show),
        Command::Forget { name, confirm } => {
            let what = format!("forget volume {name}");
            let typed = super::typed_name(confirm, &what)?;
            must_match(&name, &typed)?;
            client.forget_volume(&name).await?;
            if !output.is_json() {
                say(&format!("{name} is forgotten"));
            }
        }
        Command::Rm { name, yes_erase, wait } => {
            if !yes_erase {
                confirm(&name)?;
            }
            ended(client.delete_volume(&name, wait.wait()).await?, output);
        }
    }
    Ok(())
}

async fn create(args: CreateArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let request = VolumeRequest {
        size: args.size,
        host: args.host,
        name: args.name,
        pool: None,
        unit: args.unit,
        block_size: args.block_size,
        placement: args.placement.into(),
        write_policy: args.write_policy.into(),
        volatile: args.volatile,
        allow_sanitize: args.allow_sanitize,
        labels: args.labels.into_iter().map(|Label(name, value)| (name, value)).collect(),
        near: args.near,
        apart: args.apart,
        domain: args.domain,
    };
    if args.dry_run {
        output.show(&client.place(&request).await?, considered);
        return Ok(());
    }
    let key = args.idempotency_key.unwrap_or_else(|| Uuid::new_v4().to_string());
    let mut job = client.request_volume(&request, &key, args.wait.wait()).await?;
    if !args.show_secret {
        job.result = job.result.map(hide);
    }
    match &job.result {
        Some(volume) => output.show(volume, show),
        None => output.show(&job, job::show),
    }
    Ok(())
}

fn ended(mut job: Job, output: &Output) {
    job.result = job.result.map(hide);
    output.show(&job, job::sentence);
}

/// Asks a person; a program must have said it on the command line.
fn confirm(name: &str) -> Result<(), Failure> {
    let what = format!("erase volume {name} and its data");
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("add --yes-erase to {what}")));
    }
    must_match(name, &super::typed_name(None, &what)?)
}

fn must_match(name: &str, typed: &str) -> Result<(), Failure> {
    match typed == name {
        true => Ok(()),
        false => Err(Failure::Refused("that is another name; nothing was changed".to_owned())),
    }
}

fn considered(placed: &Placed) -> String {
    let rows = placed
        .units
        .iter()
        .map(|unit| {
            let chosen = placed.unit.as_ref() == Some(&unit.unit);
            let fits = if chosen { "chosen" } else { ["no", "yes"][usize::from(unit.fits)] };
            vec![unit.unit.clone(), unit.free.to_string(), fits.to_owned(), unit.why.clone()]
        })
        .collect();
    let head = match (&placed.unit, &placed.existing) {
        (Some(unit), Some(volume)) => format!("the free volume {volume} on {unit}: {}", placed.why),
        (Some(unit), None) => format!("on {unit}: {}", placed.why),
        (None, _) => format!("nowhere: {}", placed.why),
    };
    if placed.units.is_empty() {
        // A host is told of no other units.
        return head;
    }
    format!("{head}\n\n{}", table(&["unit", "free", "fits", "why"], &["free"], rows))
}

fn hide(mut volume: Volume) -> Volume {
    if let Some(connection) = &mut volume.connection {
        connection.chap.secret = Secret::new(HIDDEN);
        if let Some(mutual) = &mut connection.chap.mutual {
            mutual.secret = Secret::new(HIDDEN);
        }
    }
    volume
}

pub(crate) fn list(volumes: &[Volume]) -> String {
    let rows = volumes
        .iter()
        .map(|volume| {
            vec![
                volume.name.clone(),
                volume.size.to_string(),
                volume.state.to_string(),
                volume.host.clone().unwrap_or_default(),
                volume.unit_name.clone(),
                volume.epoch.to_string(),
            ]
        })
        .collect();
    table(&["name", "size", "state", "host", "unit", "epoch"], &["size", "epoch"], rows)
}

pub(crate) fn show(volume: &Volume) -> String {
    let mut rows = vec![
        ("name", volume.name.clone()),
        ("id", volume.id.to_string()),
        ("size", format!("{} ({} bytes)", volume.size, volume.size.0)),
        ("state", volume.state.to_string()),
        ("unit", volume.unit_name.clone()),
        ("host", volume.host.clone().unwrap_or_default()),
        ("epoch", volume.epoch.to_string()),
    ];
    if let Some(connection) = &volume.connection {
        rows.extend([
            ("portals", connection.portals.join(" ")),
            ("target", connection.target.clone()),
            ("LUN", connection.lun.to_string()),
            ("start LBA", connection.start_lba.to_string()),
            ("end LBA", connection.end_lba.to_string()),
            ("blocks", format!("{} of {} bytes", connection.blocks, connection.block_size)),
            ("initiator", connection.initiator.clone()),
            ("CHAP user", connection.chap.user.clone()),
            ("CHAP secret", connection.chap.secret.expose().to_owned()),
        ]);
        rows.extend(super::host::proofs_of_units(&connection.chap));
        if let Some(portal) = connection.portals.first() {
            rows.push((
                "URL",
                format!("iscsi://{portal}/{}/{}", connection.target, connection.lun),
            ));
        }
    }
    details(&rows)
}

//! `outband host`: machines that use volumes.

use clap::Subcommand;
use outband_pool_api::{Chap, Host, HostChange, HostRequest, NewHost, Size};

use super::job;
use crate::failure::Failure;
use crate::link::{StationArgs, WaitArgs};
use crate::output::{Output, ago, details, say, table};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a host; its token and CHAP secret are shown this once
    Add {
        /// What people call it
        name: String,
        /// Its iSCSI initiator name; on Linux see /etc/iscsi/initiatorname.iscsi
        #[arg(long)]
        iqn: String,
        /// How much its volumes may have together, for example 2T
        #[arg(long, value_name = "SIZE")]
        quota: Option<Size>,
        /// Make a secret by which units prove themselves to this host too (mutual CHAP)
        #[arg(long)]
        mutual: bool,
    },
    /// Change what is said of a host
    Set {
        name: String,
        /// How much its volumes may have together; 0 for no bound
        #[arg(long, value_name = "SIZE", required = true)]
        quota: Option<Size>,
    },
    /// Fence a failed host everywhere and give all its volumes to its spare
    ///
    /// A volume on a unit that does not answer is waited for: nobody can be sure that the failed
    /// host does not write to it. The other volumes are not held up by that.
    Takeover {
        /// The host that has failed
        failed: String,
        /// The host that takes its place
        spare: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let a host that was taken over have volumes again
    Resume { name: String },
    /// All hosts
    #[command(visible_alias = "list")]
    Ls,
    /// One host
    Show { name: String },
    /// Forget a host that has no volume; its token is void from then on
    Rm { name: String },
}

pub(crate) async fn run(
    command: Command,
    station: &StationArgs,
    output: &Output,
) -> Result<(), Failure> {
    let client = station.client()?;
    match command {
        Command::Add { name, iqn, quota, mutual } => {
            let ask = HostRequest { name, iqn, quota, mutual };
            output.show(&client.register_host(&ask).await?, added);
        }
        Command::Set { name, quota } => {
            output.show(&client.change_host(&name, &HostChange { quota }).await?, one);
        }
        Command::Takeover { failed, spare, wait } => {
            let job = client.take_over(&failed, &spare, wait.wait()).await?;
            output.show(&job, job::sentence);
        }
        Command::Resume { name } => output.show(&client.resume_host(&name).await?, one),
        Command::Ls => output.show(&client.hosts().await?, |hosts| list(hosts)),
        Command::Show { name } => {
            output.show(&client.host(&name).await?, one);
        }
        Command::Rm { name } => {
            client.remove_host(&name).await?;
            if !output.is_json() {
                say(&format!("{name} is forgotten"));
            }
        }
    }
    Ok(())
}

fn added(new: &NewHost) -> String {
    let mut rows = vec![
        ("host", new.host.name.clone()),
        ("initiator", new.host.iqn.clone()),
        ("token", new.token.expose().to_owned()),
        ("CHAP user", new.chap.user.clone()),
        ("CHAP secret", new.chap.secret.expose().to_owned()),
    ];
    rows.extend(proofs_of_units(&new.chap));
    format!("{}\n\nThe token is shown this once: keep it on the host.", details(&rows))
}

/// What units prove to a host that wants it.
pub(crate) fn proofs_of_units(chap: &Chap) -> Vec<(&'static str, String)> {
    chap.mutual.as_ref().map_or_else(Vec::new, |mutual| {
        vec![
            ("units' CHAP user", mutual.user.clone()),
            ("units' CHAP secret", mutual.secret.expose().to_owned()),
        ]
    })
}

fn list(hosts: &[Host]) -> String {
    let rows = hosts
        .iter()
        .map(|host| {
            vec![
                host.name.clone(),
                host.iqn.clone(),
                host.volumes.join(" "),
                room(host),
                host.replaced_by.clone().unwrap_or_default(),
                ago(host.created),
            ]
        })
        .collect();
    table(&["name", "initiator name", "volumes", "used", "replaced by", "added"], &[], rows)
}

fn one(host: &Host) -> String {
    list(std::slice::from_ref(host))
}

fn room(host: &Host) -> String {
    match host.quota {
        Some(quota) => format!("{} of {quota}", host.used),
        None => host.used.to_string(),
    }
}

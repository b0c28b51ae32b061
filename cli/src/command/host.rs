//! `outband host`: machines that use volumes.

use clap::Subcommand;
use outband_pool_api::{Host, NewHost};

use crate::failure::Failure;
use crate::link::StationArgs;
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
    },
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
        Command::Add { name, iqn } => {
            output.show(&client.add_host(&name, &iqn).await?, added);
        }
        Command::Ls => output.show(&client.hosts().await?, |hosts| list(hosts)),
        Command::Show { name } => {
            output.show(&client.host(&name).await?, |host| list(std::slice::from_ref(host)));
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
    let rows = [
        ("host", new.host.name.clone()),
        ("initiator", new.host.iqn.clone()),
        ("token", new.token.expose().to_owned()),
        ("CHAP user", new.chap.user.clone()),
        ("CHAP secret", new.chap.secret.expose().to_owned()),
    ];
    format!("{}\n\nThe token is shown this once: keep it on the host.", details(&rows))
}

fn list(hosts: &[Host]) -> String {
    let rows = hosts
        .iter()
        .map(|host| {
            vec![host.name.clone(), host.iqn.clone(), host.volumes.join(" "), ago(host.created)]
        })
        .collect();
    table(&["name", "initiator name", "volumes", "added"], &[], rows)
}

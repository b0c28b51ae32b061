//! `outband token`: who may do what at the station.

use std::time::Duration;

use clap::Subcommand;
use outband_pool_api::{NewToken, Scope, Token, TokenRequest};

use crate::failure::Failure;
use crate::link::{StationArgs, time};
use crate::output::{Output, ago, say, table};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token; it is shown this once
    Create {
        /// What the audit log calls whoever has it
        name: String,
        /// What it allows: viewer, operator, admin, unit or host
        #[arg(long)]
        scope: Scope,
        /// With --scope host: whose volumes it is for
        #[arg(long)]
        host: Option<String>,
        /// How long it is valid, for example 12h or 90d; for ever if not said
        #[arg(long, value_name = "TIME", value_parser = time)]
        valid: Option<Duration>,
    },
    /// All tokens that were made, without what is secret of them
    #[command(visible_alias = "list")]
    Ls,
    /// Make a token void
    #[command(visible_alias = "rm")]
    Revoke { name: String },
}

pub(crate) async fn run(
    command: Command,
    station: &StationArgs,
    output: &Output,
) -> Result<(), Failure> {
    let client = station.client()?;
    match command {
        Command::Create { name, scope, host, valid } => {
            let valid_seconds = valid.map(|valid| valid.as_secs());
            let ask = TokenRequest { name, scope, host, valid_seconds };
            output.show(&client.new_token(&ask).await?, made);
        }
        Command::Ls => output.show(&client.tokens().await?, |tokens| list(tokens)),
        Command::Revoke { name } => {
            client.revoke_token(&name).await?;
            if !output.is_json() {
                say(&format!("{name} is void"));
            }
        }
    }
    Ok(())
}

/// The bare token, so that it can go to a file as it is.
fn made(new: &NewToken) -> String {
    new.secret.expose().to_owned()
}

fn list(tokens: &[Token]) -> String {
    let until = |token: &Token| match token.expires {
        Some(expires) => format!("until {}", crate::output::date(expires)),
        None => "for ever".to_owned(),
    };
    let row = |token: &Token| {
        vec![
            token.name.clone(),
            token.scope.to_string(),
            token.host.clone().unwrap_or_default(),
            until(token),
            token.by.clone(),
            ago(token.created),
        ]
    };
    let rows = tokens.iter().map(row).collect();
    table(&["name", "scope", "host", "valid", "by", "made"], &[], rows)
}

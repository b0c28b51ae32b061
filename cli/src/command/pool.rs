//! `outband pool`: the pool as a whole.

use std::time::Duration;

use clap::Subcommand;
use outband_pool_api::{JoinToken, PoolStatus};

use crate::failure::Failure;
use crate::link::{StationArgs, time};
use crate::output::{Output, details, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How much there is, how much is given away, and how the units are
    #[command(visible_alias = "show")]
    Status,
    /// The token with which a unit joins: what belongs in its join_token_file
    Token {
        /// Make a new one; the one before is void from now on, and units that joined stay
        #[arg(long)]
        new: bool,
        /// How long the new token is valid, for example 12h; for ever if not said
        #[arg(long, value_name = "TIME", value_parser = time, requires = "new")]
        valid: Option<Duration>,
    },
}

pub(crate) async fn run(
    command: Command,
    station: &StationArgs,
    output: &Output,
) -> Result<(), Failure> {
    let client = station.client()?;
    match command {
        Command::Status => output.show(&client.pool().await?, status),
        Command::Token { new, valid } => {
            let token = match new {
                true => client.new_join_token(valid).await?,
                false => client.join_token().await?,
            };
            show_token(&token, output);
        }
    }
    Ok(())
}

/// The bare token, so that it can go to a file as it is.
fn show_token(token: &JoinToken, output: &Output) {
    match output.is_json() {
        true => output.show(token, |_| String::new()),
        false => say(token.token.expose()),
    }
}

fn status(pool: &PoolStatus) -> String {
    let units = &pool.units;
    let counts = [
        (units.joined, "joined"),
        (units.pending, "pending"),
        (units.suspect, "suspect"),
        (units.down, "down"),
        (units.left, "left"),
    ];
    let units: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    details(&[
        ("pool", pool.name.clone()),
        ("units", if units.is_empty() { "none".to_owned() } else { units.join(", ") }),
        ("total", pool.total.to_string()),
        ("granted", pool.granted.to_string()),
        ("free", format!("{}; {} % is used", pool.free, pool.used_percent)),
        ("largest", format!("{} in one volume", pool.largest)),
        ("volumes", pool.volumes.to_string()),
        ("hosts", pool.hosts.to_string()),
        ("warning", pool.warnings.join("; ")),
    ])
}

#[cfg(test)]
mod tests {
    use outband_pool_api::{Size, UnitCounts};

    use super::*;

    #[test]
    fn the_status_names_only_states_that_a_unit_is_in() {
        let pool = PoolStatus {
            name: "main".into(),
            total: Size(4 << 30),
            granted: Size(1 << 30),
            free: Size(3 << 30),
            used_percent: 25,
            warnings: vec!["unit-3 does not answer".into()],
            largest: Size(2 << 30),
            units: UnitCounts { joined: 2, down: 1, ..UnitCounts::default() },
            volumes: 1,
            hosts: 1,
        };
        let said = status(&pool);
        assert!(said.contains("units    2 joined, 1 down\n"), "{said}");
        assert!(said.contains("warning  unit-3 does not answer"), "{said}");
        assert!(said.contains("largest  2 GiB in one volume\n"), "{said}");
    }
}

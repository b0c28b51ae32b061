//! `outband`: administration of a pool, host side commands, and a demonstration of the whole.
//!
//! Deliberately absent: rules. What is allowed and what becomes of a request is the station's to
//! say; this program asks, shows and copies.

#![forbid(unsafe_code)]

mod command;
mod copy;
mod demo;
mod disks;
mod failure;
mod latency;
mod link;
mod output;
mod pattern;
mod process;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use command::{
    audit, bench, cp, discover, doctor, events, host, job, manual, pool, services, station, status,
    token, unit, upgrade, volume,
};
use failure::Failure;
use link::StationArgs;
use output::Output;

/// Administer an Outband pool, move data to and from its volumes, or see a demonstration.
///
/// The station is found by --station, --ca and --token-file, or the environment variables that
/// their help names; on the station's own machine nothing needs to be said.
#[derive(Debug, Parser)]
#[command(name = "outband", version, arg_required_else_help = true, after_help = failure::EXIT_HELP)]
struct Cli {
    #[command(flatten)]
    station: StationArgs,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Whether storage is well, on one screen
    Status,
    /// The pool live: units, volumes, hosts and sessions with their rates and latencies
    Top(top::Args),
    /// The pool as a whole, and the token with which units join it
    #[command(subcommand)]
    Pool(pool::Command),
    /// Storage machines
    #[command(subcommand)]
    Unit(unit::Command),
    /// Volumes: ask for one, grow it, take it back
    #[command(subcommand)]
    Volume(volume::Command),
    /// Machines that use volumes
    #[command(subcommand)]
    Host(host::Command),
    /// What was asked for and takes a while
    #[command(subcommand)]
    Job(job::Command),
    /// Who may do what at the station
    #[command(subcommand)]
    Token(token::Command),
    /// What in the pool is not as it should be, and what can be done about it
    Doctor,
    /// The programs that make up the pool, and how each is
    Services,
    /// A new version for the programs of a pool
    #[command(subcommand)]
    Upgrade(upgrade::Command),
    /// Who has changed what, when and why
    Audit(audit::Args),
    /// What happened in the pool since its station started
    Events(events::Args),
    /// Ask a portal which targets a host may see
    Discover(discover::Args),
    /// Copy a file to a volume, or a volume to a file, and verify the copy
    Cp(cp::Args),
    /// Put load on a volume and measure it
    Bench(bench::Args),
    /// A whole pool on this machine: one station, four units, two hosts; changes nothing outside of
    /// a temporary directory
    Demo(demo::Args),
    /// Run a station in the foreground
    #[command(subcommand)]
    Station(station::Command),
    #[command(flatten)]
    Manual(manual::Manual),
}

fn main() -> ExitCode {
    let Cli { station, output, command } = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            return output.fail(&Failure::Os { doing: "start threads".to_owned(), source });
        }
    };
    let done = runtime.block_on(run(&station, &output, command));
    // A thread that still waits for standard input must not hold up the end.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
}

async fn run(station: &StationArgs, output: &Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Status => status::run(station, output).await,
        Command::Top(args) => top::run(args, station, output).await,
        Command::Pool(command) => pool::run(command, station, output).await,
        Command::Unit(command) => unit::run(command, station, output).await,
        Command::Volume(command) => volume::run(command, station, output).await,
        Command::Host(command) => host::run(command, station, output).await,
        Command::Job(command) => job::run(command, station, output).await,
        Command::Token(command) => token::run(command, station, output).await,
        Command::Doctor => doctor::run(station, output).await,
        Command::Services => services::run(station, output).await,
        Command::Upgrade(command) => upgrade::run(command, station, output).await,
        Command::Audit(args) => audit::run(args, station, output).await,
        Command::Events(args) => events::run(args, station, output).await,
        Command::Discover(args) => discover::run(args, output).await,
        Command::Cp(args) => cp::run(args, station, output).await,
        Command::Bench(args) => bench::run(args, station, output).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Station(command) => station::run(command).await,
        Command::Manual(manual) => manual::run(manual, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Commands in code spans and in indented lines.
    fn commands(text: &str) -> Vec<String> {
        let indented = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned);
        let prose: Vec<&str> = text.lines().filter(|line| !line.starts_with("    ")).collect();
        let prose = prose.join(" ");
        let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
        let all = indented.chain(spans).filter(|command| command.starts_with("outband "));
        all.collect()
    }

    #[test]
    fn every_command_of_the_documents_is_one() {
        let documents = [include_str!("../../README.md"), include_str!("../../docs/operations.md")];
        let mut tried = 0;
        for command in documents.into_iter().flat_map(commands) {
            let words = command.split_whitespace().take_while(|word| *word != "…").map(|word| {
                // What stands for something.
                match word {
                    "ID" => "00000000-0000-0000-0000-000000000000",
                    "SCOPE" => "viewer",
                    word => word,
                }
            });
            let found = Cli::try_parse_from(words);
            let kind = found.err().map(|error| error.kind());
            // What is only named is not asked for whole.
            let fine = matches!(
                kind,
                None | Some(
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::MissingSubcommand
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                )
            );
            assert!(fine, "{command}: {kind:?}");
            tried += 1;
        }
        assert!(tried > 20, "{tried} commands were found");
    }
}

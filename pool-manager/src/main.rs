//! `outband-pool`: the station as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outband_pool_manager::config::Config;
use outband_pool_manager::{cli, logging};

/// The station of an Outband pool: keeps the pool, answers hosts, looks after units.
#[derive(Debug, Parser)]
#[command(name = "outband-pool", version, about, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file; see examples/station.toml.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Looks at the configuration file without starting anything.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Writes all that the running station keeps to one file. It holds every secret of the pool.
    Backup {
        /// The file, made with mode 0600; what is there is replaced when the new one is whole.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Puts a backup into the state directory. The station must not run. Of each volume it then takes
    /// over what the unit reports, so an older backup undoes nothing.
    Restore {
        file: PathBuf,
        /// Put aside the store that is there.
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Exit status 0 if the file is good, 2 if it is not.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(path) = arguments.config else {
        eprintln!("outband-pool: say with --config which configuration file to use");
        return ExitCode::from(cli::BAD_CONFIG);
    };
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("outband-pool: {}", cli::chain(&error));
            return ExitCode::from(cli::BAD_CONFIG);
        }
    };
    match arguments.command {
        Some(Command::Config { command: ConfigCommand::Check }) => {
            println!("{}: good", path.display());
            return ExitCode::SUCCESS;
        }
        Some(Command::Backup { to }) => return cli::backup(&config, &to),
        Some(Command::Restore { file, replace }) => return cli::restore(&config, &file, replace),
        None => {}
    }
    if let Err(error) = logging::start(&config.log) {
        eprintln!("outband-pool: {}: {error}", path.display());
        return ExitCode::from(cli::BAD_CONFIG);
    }
    cli::run(&config)
}

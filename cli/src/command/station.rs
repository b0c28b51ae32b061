//! `outband station run`: a station in the foreground.

use std::path::PathBuf;

use clap::Subcommand;
use outband_pool_manager::config::Config;
use outband_pool_manager::logging;

use crate::failure::Failure;
use crate::output::say;
use crate::process::StopArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a station on this machine, as outband-pool --config does; its URL is the first line on
    /// standard output
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        stop: StopArgs,
    },
}

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Run { config, stop } = command;
    let config = Config::load(&config)?;
    logging::start(&config.log)?;
    let told = stop.told_to_stop()?;
    outband_pool_manager::run(config, told, |addresses| {
        say(&format!("https://{}", addresses.api));
    })
    .await?;
    Ok(())
}

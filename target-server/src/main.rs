//! The binary `outband-target`: a storage machine's program.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outband_control::log::{self, LogError};
use outband_target_server::admin_socket::{self, AdminCommand};
use outband_target_server::sandbox::{self, Reach, SandboxError};
use outband_target_server::serve::{ServeArgs, serve};
use outband_target_server::unit::{self, UnitConfig};
use tokio::signal::unix::{SignalKind, signal};

/// A storage machine's program: serves volumes over iSCSI
#[derive(Parser, Debug)]
#[command(name = "outband-target", version, about, arg_required_else_help = true)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = false)]
struct Cli {
    /// Run the unit that this file describes
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// How to write the log: for people, or as JSON lines
    #[arg(long, value_enum, default_value = "human", global = true)]
    log: LogFormat,
    /// Run without what keeps the process from other files and from what it has no use for
    #[arg(long, global = true)]
    no_sandbox: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<ServeArgs>),
    /// Look at the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    #[command(flatten)]
    Admin(AdminCommand),
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Say whether the file given with --config is right, and change nothing
    Check,
}

/// The configuration or the command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Serve(args)) => {
            if let Err(error) = start_log(cli.log) {
                return fail(&error);
            }
            if let Err(error) = confine(cli.no_sandbox, || Reach::of_serve(&args)) {
                return fail(&error);
            }
            in_runtime(async { serve(*args).await.map_err(Into::into) })
        }
        Some(Command::Config(ConfigCommand::Check)) => match load(cli.config) {
            Ok(_) => {
                println!("the configuration is right");
                ExitCode::SUCCESS
            }
            Err(code) => code,
        },
        Some(Command::Admin(command)) => match admin_socket::run(command) {
            Ok(text) => {
                println!("{}", text.trim_end());
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        None => {
            let config = match load(cli.config) {
                Ok(config) => config,
                Err(code) => return code,
            };
            if let Err(error) = start_log(cli.log) {
                return fail(&error);
            }
            if let Err(error) = confine(cli.no_sandbox, || unit::reach(&config)) {
                return fail(&error);
            }
            in_runtime(async { unit::run(config, told_to_stop()?).await.map_err(Into::into) })
        }
    }
}

fn load(path: Option<PathBuf>) -> Result<UnitConfig, ExitCode> {
    let Some(path) = path else {
        eprintln!("outband-target: say which file by --config FILE");
        return Err(ExitCode::from(USAGE));
    };
    UnitConfig::load(&path).map_err(|error| {
        fail(&error);
        ExitCode::from(USAGE)
    })
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn in_runtime(work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(work)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

/// Gives up what serving does not take, before any thread is started.
fn confine(without: bool, reach: impl FnOnce() -> Reach) -> Result<(), SandboxError> {
    if without {
        tracing::warn!("without the sandbox: the process can do what its user can");
        return Ok(());
    }
    sandbox::enter(&reach())
}

/// Ready at SIGTERM or SIGINT.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The error with everything behind it, on one line.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    eprintln!("outband-target: {line}");
    ExitCode::FAILURE
}

/// `OUTBAND_LOG` takes what tracing's filters take; `info` by default. Standard output is for URLs.
fn start_log(format: LogFormat) -> Result<(), LogError> {
    let format = match format {
        LogFormat::Human => log::Format::Human,
        LogFormat::Json => log::Format::Json,
    };
    log::start(log::filter_of_environment()?, format)
}

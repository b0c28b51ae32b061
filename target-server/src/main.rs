//! The binary `outband-target`: a storage machine's program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outband_target_server::serve::{ServeArgs, serve};
use tracing_subscriber::EnvFilter;

/// Serve volumes over iSCSI
#[derive(Parser, Debug)]
#[command(name = "outband-target", version, about)]
struct Cli {
    /// How to write the log: for people, or as JSON lines
    #[arg(long, value_enum, default_value = "human", global = true)]
    log: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(ServeArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log);
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error),
        };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve(args).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
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
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("OUTBAND_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match format {
        LogFormat::Human => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

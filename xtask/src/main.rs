//! The project's development commands, in Rust so that they need no shell and can have tests.
//!
//! `cargo xtask test` is what CI runs; every part of it can be run by itself.

#![forbid(unsafe_code)]

mod audit;
mod bench;
mod boot_sector;
mod browser;
mod clients;
mod conformance;
mod failure;
mod fuzz;
mod guest;
mod interop;
mod monitoring;
mod process;
mod record;
mod scale;
mod sim;
mod soak;
mod steps;
mod suite;
mod target;
mod test;
mod tgt;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use record::Now;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development commands of Outband")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a change lands; what CI runs.
    Test {
        /// Leave out the fuzz targets and the outside clients.
        #[arg(long)]
        fast: bool,
    },
    /// File and function length, leftovers, dead files, links and paths in the documentation.
    Tidy,
    /// Install what the outside clients need, or say how.
    Tools,
    /// The clients nobody here wrote (libiscsi, QEMU) against a target of this build.
    Clients {
        /// Only these parts.
        parts: Vec<clients::Part>,
        /// Use the binaries as they are, and note nothing.
        #[arg(long)]
        no_build: bool,
    },
    /// libiscsi's whole suite against our target and against tgt, written into
    /// `docs/conformance.md`; fails if a test of ours fails or is left out without a reason.
    Conformance {
        /// Use the binaries as they are.
        #[arg(long)]
        no_build: bool,
    },
    /// What takes minutes: the Linux kernel's initiator in guests under software emulation, whose image
    /// is made of Debian packages and kept in the target folder; 100,000 increments of one block.
    Interop {
        /// Only these scenarios.
        scenarios: Vec<interop::Scenario>,
        /// Use the binaries as they are, and note nothing.
        #[arg(long)]
        no_build: bool,
    },
    /// What docs/monitoring ships, with Debian's Prometheus against a target at work.
    Monitoring {
        /// Use the binaries as they are.
        #[arg(long)]
        no_build: bool,
    },
    /// The console in headless Chromium, against a pool of this build.
    Browser {
        /// Use the binaries as they are.
        #[arg(long)]
        no_build: bool,
    },
    /// Pictures of the console's pages, into docs/screens.
    Screens {
        /// Use the binaries as they are.
        #[arg(long)]
        no_build: bool,
    },
    /// Build the fuzz targets and run each for a while.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 20)]
        secs: u32,
        /// Only this target.
        target: Option<String>,
    },
    /// The simulator: `--seed N` replays one, `--seeds A..B` runs a range; `--seeded-bugs` looks for
    /// defects on purpose.
    Sim {
        /// Passed on to the simulator.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// A station of this build against 100, 1,000 and 10,000 simulated units, written into
    /// `docs/scale.md`; fails if a figure is not as promised.
    Scale {
        /// Only so many, and note nothing.
        #[arg(long)]
        units: Option<u32>,
        /// Use the release binaries as they are.
        #[arg(long)]
        no_build: bool,
    },
    /// Licences, sources and bans of everything that is built in.
    Audit,
    /// Seeds, fuzz targets and kill -9 for a long time, noted in `qa/ledger.csv`.
    Soak {
        /// Three quarters of an hour instead of hours.
        #[arg(long)]
        quick: bool,
    },
    /// The target beside tgt, nbdkit and qemu-storage-daemon on this machine, and other
    /// measurements. Criterion's benches are `cargo bench`.
    Bench(Box<bench::Arguments>),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Test { fast } => test::run(fast),
        Command::Tidy => tidy::run(),
        Command::Tools => tools::ensure(),
        Command::Clients { parts, no_build } => {
            ready(no_build)?;
            clients::run(&parts, &Now::find(no_build)?)
        }
        Command::Interop { scenarios, no_build } => {
            ready(no_build)?;
            interop::run(&scenarios, &Now::find(no_build)?)
        }
        Command::Conformance { no_build } => {
            ready(no_build)?;
            conformance::run()
        }
        Command::Monitoring { no_build } => {
            if !no_build {
                process::cargo(&[
                    "build",
                    "--package=outband-target-server",
                    "--package=outband-cli",
                ])?;
            }
            monitoring::run()
        }
        Command::Browser { no_build } => {
            build_outband(no_build)?;
            browser::run()
        }
        Command::Screens { no_build } => {
            build_outband(no_build)?;
            browser::screens()
        }
        Command::Fuzz { secs, target } => fuzz::run(secs, target.as_deref(), None),
        Command::Sim { arguments } => sim::run(&arguments),
        Command::Scale { units, no_build } => scale::run(units, no_build),
        Command::Audit => audit::run(),
        Command::Soak { quick } => soak::run(if quick { soak::QUICK } else { soak::FULL }),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}

fn build_outband(no_build: bool) -> Result<(), Failure> {
    if no_build { Ok(()) } else { process::cargo(&["build", "--package=outband-cli"]) }
}

/// Tools and binaries of the outside clients.
fn ready(no_build: bool) -> Result<(), Failure> {
    tools::ensure()?;
    if no_build { Ok(()) } else { process::cargo(&["build", "--workspace"]) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}

//! `cargo xtask bench`: the target beside others on this machine, and what else is measured rather
//! than tested. The method is in `docs/performance.md`. Nothing here fails for being slow.

mod compare;
mod contestant;
mod fairness;
mod fio;
mod generator;
mod idle;
pub(crate) mod instructions;
mod latency;
mod places;
mod report;
mod sample;
mod scale;
mod servers;
mod workload;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::{process, tools};
use places::Cores;
pub(crate) use places::{allow_many_files, machine, release};

/// Programs that only the comparison needs, and the packages that have them.
const PROGRAMS: [(&str, &str); 5] = [
    ("tgtd", "tgt"),
    ("nbdkit", "nbdkit"),
    ("qemu-storage-daemon", "qemu-system-common"),
    ("fio", "fio"),
    ("taskset", "util-linux"),
];

/// Everything that is measured, and measures. Always the same packages together: others would have
/// other features of what they depend on, and build it all anew.
const BUILD: [&str; 7] = [
    "build",
    "--release",
    "--bins",
    "--package",
    "outband-target-server",
    "--package",
    "outband-bench",
];

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    compare: compare::Arguments,
    #[command(flatten)]
    common: Common,
}

/// What every measurement takes.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// Cores of the server, as taskset takes them.
    #[arg(long, value_name = "LIST", global = true)]
    server_cores: Option<String>,
    /// Cores of the load generator.
    #[arg(long, value_name = "LIST", global = true)]
    client_cores: Option<String>,
    /// Write the figures as JSON, too.
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// Write the tables as Markdown, too.
    #[arg(long, value_name = "FILE", global = true)]
    md: Option<PathBuf>,
    /// Use the binaries of `target/release` as they are.
    #[arg(long, global = true)]
    no_build: bool,
}

#[derive(Subcommand)]
enum What {
    /// Depth 1 beside a blocking ping-pong; then the longest waits at depth 32.
    Latency {
        /// Seconds at depth 32.
        #[arg(long, default_value_t = 60)]
        secs: u64,
    },
    /// A session of depth 1 alone, then beside a greedy one.
    Fairness,
    /// What the target costs with nothing to do: no session, then thousands that are pinged.
    Idle {
        /// Sessions that are connected.
        #[arg(long, default_value_t = 2000)]
        sessions: u32,
        /// Seconds to look on; a quiet session is pinged every 15.
        #[arg(long, default_value_t = 35)]
        secs: u64,
    },
    /// Throughput with 1 to 2,000 sessions, 64 of them at work, and the memory for it.
    Scale,
    /// Instructions of one READ and one WRITE through the core, beside the figures noted before.
    Instructions {
        /// Note today's.
        #[arg(long)]
        update: bool,
    },
}

/// A server that the target is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Peer {
    /// tgt over iSCSI; on tmpfs it is the unit of all ratios.
    Tgt,
    /// nbdkit over NBD.
    Nbdkit,
    /// qemu-storage-daemon over NBD.
    Qsd,
}

/// What volumes lie on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Store {
    /// The server's own memory.
    Memory,
    /// A file of a file system, in the page cache.
    File,
    /// A file of a tmpfs.
    Tmpfs,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { what, compare, common } = arguments;
    if let Some(What::Instructions { update }) = what {
        return instructions::run(*update);
    }
    tools::ensure_programs(&PROGRAMS)?;
    if !common.no_build {
        process::cargo(&BUILD)?;
    }
    allow_many_files()?;
    let cores = Cores::new(common);
    let page = match what {
        None => return compare::run(compare, common, &cores),
        Some(What::Latency { secs }) => latency::run(&cores, *secs)?,
        Some(What::Fairness) => fairness::run(&cores)?,
        Some(What::Idle { sessions, secs }) => idle::run(&cores, *sessions, *secs)?,
        Some(What::Scale) => scale::run(&cores)?,
        Some(What::Instructions { .. }) => unreachable!("it was run above"),
    };
    page.publish(common)
}

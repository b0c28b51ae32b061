//! The binary `outband-bench-core`: so many batches of READs or WRITEs through the core, for
//! callgrind to count the instructions of.

#![forbid(unsafe_code)]

use clap::{Parser, ValueEnum};
use outband_bench::core::{BATCH, Core, Way};

/// READs or WRITEs of 4 KiB through the core; prints how many
#[derive(Parser, Debug)]
#[command(name = "outband-bench-core")]
struct Cli {
    way: Which,
    /// Batches of 32
    #[arg(default_value_t = 100)]
    batches: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Read,
    Write,
}

fn main() {
    let cli = Cli::parse();
    let way = match cli.way {
        Which::Read => Way::Read,
        Which::Write => Way::Write,
    };
    let mut core = Core::default();
    for _ in 0..cli.batches {
        let batch = core.batch(way);
        core.serve_batch(&batch);
    }
    println!("{}", cli.batches * BATCH);
}

//! Runs seeds: `sim --seed N` or `sim --seeds A..B`; with `--pool` those of a pool with its station.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use outband_sim::pool;
use outband_sim::run::{Defeat, run_altered};

/// Simulates targets and hosts, or whole pools, and checks every read and every grant
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Run one seed
    #[arg(long, value_name = "N", required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run the seeds from A up to, not including, B, until one fails
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// A pool with its station and units, instead of one target
    #[arg(long)]
    pool: bool,
    /// Go on after a seed that fails
    #[arg(long)]
    keep_going: bool,
    /// Print everything that happens, and what the target logs
    #[arg(long)]
    verbose: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("`{text}` is not a range like 0..1000");
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let (start, end) = (start.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if start < end { Ok((start, end)) } else { Err(wrong()) }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (start, end) = match (args.seed, args.seeds) {
        (Some(seed), _) => (seed, seed + 1),
        (None, Some(seeds)) => seeds,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    if args.verbose {
        let log = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time();
        log.with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG).init();
    }
    let begun = Instant::now();
    let single = start + 1 == end;
    let mut sums = Sums::default();
    for seed in start..end {
        let run = if args.pool { run_pool } else { run_target };
        match run(seed, args.verbose, single) {
            Ok(sum) => sums.add(&sum),
            Err(defeat) => {
                println!("{defeat}\n");
                sums.failed += 1;
                if !args.keep_going {
                    return ExitCode::FAILURE;
                }
            }
        }
        sums.seeds += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let Sums { seeds, failed, requests, inner, crashes } = sums;
    let rate = inner as f64 / seconds;
    let what = if args.pool { "calls" } else { "simulated I/Os" };
    println!(
        "{seeds} seeds in {seconds:.1} s, {failed} failed: {requests} requests, {inner} {what} \
         ({rate:.0} a second), {crashes} crashes"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What all seeds have come to.
#[derive(Clone, Copy, Default)]
struct Sums {
    seeds: u64,
    failed: u64,
    requests: u64,
    /// Disk operations, or calls of the control plane.
    inner: u64,
    crashes: u64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.inner += other.inner;
        self.crashes += other.crashes;
    }
}

fn tell(seed: u64, hash: u64, single: bool) {
    if single {
        println!("SEED={seed} HASH={hash:016x}");
    }
}

fn run_target(seed: u64, aloud: bool, single: bool) -> Result<Sums, Box<Defeat>> {
    let report = run_altered(seed, aloud, |_| {})?;
    tell(seed, report.hash, single);
    let (requests, inner, crashes) = (report.requests, report.ios, report.crashes);
    Ok(Sums { requests, inner, crashes, ..Sums::default() })
}

fn run_pool(seed: u64, aloud: bool, single: bool) -> Result<Sums, Box<Defeat>> {
    let report = pool::run_altered(seed, aloud, |_| {})?;
    tell(seed, report.hash, single);
    let (requests, inner, crashes) = (report.requests, report.calls, report.deaths);
    Ok(Sums { requests, inner, crashes, ..Sums::default() })
}

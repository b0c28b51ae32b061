//! Runs seeds: `sim --seed N` or `sim --seeds A..B`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use outband_sim::run::run_altered;

/// Simulates targets and hosts, and checks every read
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Run one seed
    #[arg(long, value_name = "N", required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run the seeds from A up to, not including, B, until one fails
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<(u64, u64)>,
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
    let (mut seeds, mut ios, mut requests, mut crashes, mut failed) = (0u64, 0, 0, 0, 0u64);
    for seed in start..end {
        match run_altered(seed, args.verbose, |_| {}) {
            Ok(report) => {
                ios += report.ios;
                requests += report.requests;
                crashes += report.crashes;
                if start + 1 == end {
                    println!("SEED={seed} HASH={:016x}", report.hash);
                }
            }
            Err(defeat) => {
                println!("{defeat}\n");
                failed += 1;
                if !args.keep_going {
                    return ExitCode::FAILURE;
                }
            }
        }
        seeds += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = ios as f64 / seconds;
    println!(
        "{seeds} seeds in {seconds:.1} s, {failed} failed: {requests} requests, {ios} simulated I/Os \
         ({rate:.0} a second), {crashes} crashes"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! Runs seeds: `sim --seed N` or `sim --seeds A..B`; with `--pool` those of a pool with its station.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use outband_sim::run::{Defeat, run_altered};
use outband_sim::{pool, sequences, shrink};

/// Simulates targets and hosts, or whole pools, and checks every read and every grant
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Run one seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run the seeds from A up to, not including, B, until one fails
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<Seeds>,
    /// A pool with its station and units, instead of one target
    #[arg(long)]
    pool: bool,
    /// Every sequence of up to three operations, with a power cut at every moment, instead of seeds
    #[arg(long, conflicts_with_all = ["seed", "seeds", "pool"])]
    sequences: bool,
    /// Go on after a seed that fails
    #[arg(long)]
    keep_going: bool,
    /// Run each seed twice, and fail when that is not the same
    #[arg(long)]
    twice: bool,
    /// Of a seed that fails, show the smallest setup found that fails too
    #[arg(long)]
    shrink: bool,
    /// Print everything that happens, and what the target logs
    #[arg(long)]
    verbose: bool,
    /// Put this defect in; the seeds are to fail then. Which there are says `--list-bugs`
    #[cfg(feature = "seeded-bugs")]
    #[arg(long, value_name = "NAME", value_parser = bug)]
    seeded_bug: Option<outband_protocol::seeded::Bug>,
    /// Put in all the defects, one after the other, and fail when the seeds do not find one
    #[cfg(feature = "seeded-bugs")]
    #[arg(long)]
    seeded_bugs: bool,
    /// Name the defects
    #[cfg(feature = "seeded-bugs")]
    #[arg(long)]
    list_bugs: bool,
}

/// Seeds, the last one excluded.
#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

fn range(text: &str) -> Result<Seeds, String> {
    let wrong = || format!("`{text}` is not a range like 0..1000");
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let (start, end) = (start.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if start < end { Ok(Seeds(start..end)) } else { Err(wrong()) }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.verbose {
        let log = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time();
        log.with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG).init();
    }
    let seeds = args.seed.map(|seed| seed..seed + 1);
    let seeds = seeds.or_else(|| args.seeds.clone().map(|seeds| seeds.0));
    #[cfg(feature = "seeded-bugs")]
    if args.list_bugs || args.seeded_bugs {
        return hunts::run(args.list_bugs, seeds);
    }
    if args.sequences {
        return run_sequences();
    }
    let Some(seeds) = seeds else {
        eprintln!("sim: which seeds? --seed N or --seeds A..B");
        return ExitCode::from(2);
    };
    #[cfg(feature = "seeded-bugs")]
    let (args, is_pool) = {
        outband_protocol::seeded::choose(args.seeded_bug);
        let pool = args.seeded_bug.is_some_and(hunts::is_of_pool);
        (args, pool)
    };
    #[cfg(not(feature = "seeded-bugs"))]
    let is_pool = false;
    let args = Args { pool: args.pool || is_pool, ..args };
    run(&args, seeds)
}

fn run(args: &Args, seeds: Range<u64>) -> ExitCode {
    let begun = Instant::now();
    let single = seeds.end - seeds.start == 1;
    let mut sums = Sums::default();
    for seed in seeds {
        match run_seed(args, seed, single) {
            Ok(sum) => sums.add(&sum),
            Err(what) => {
                println!("{what}\n");
                sums.failed += 1;
                if args.shrink {
                    tell_shrunk(args.pool, seed);
                }
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

fn run_seed(args: &Args, seed: u64, single: bool) -> Result<Sums, String> {
    let once = if args.pool { run_pool } else { run_target };
    let told = |defeat: Box<Defeat>| defeat.to_string();
    let (sums, hash) = once(seed, args.verbose).map_err(told)?;
    if args.twice {
        let (_, again) = once(seed, false).map_err(told)?;
        if hash != again {
            return Err(format!("SEED={seed} HASH={hash:016x}, and {again:016x} the second time"));
        }
    }
    if single {
        println!("SEED={seed} HASH={hash:016x}");
    }
    Ok(sums)
}

fn run_target(seed: u64, aloud: bool) -> Result<(Sums, u64), Box<Defeat>> {
    let report = run_altered(seed, aloud, |_| {})?;
    let (requests, inner, crashes) = (report.requests, report.ios, report.crashes);
    Ok((Sums { requests, inner, crashes, ..Sums::default() }, report.hash))
}

fn run_pool(seed: u64, aloud: bool) -> Result<(Sums, u64), Box<Defeat>> {
    let report = pool::run_altered(seed, aloud, |_| {})?;
    let (requests, inner, crashes) = (report.requests, report.calls, report.deaths);
    Ok((Sums { requests, inner, crashes, ..Sums::default() }, report.hash))
}

fn run_sequences() -> ExitCode {
    let mut tried = 0;
    for sequence in sequences::all() {
        tried += 1;
        if let Err(defeat) = sequences::run(&sequence) {
            println!("{defeat}\n{sequence:?}");
            return ExitCode::FAILURE;
        }
    }
    println!("{tried} sequences, each one after the other and all at once, with either policy");
    ExitCode::SUCCESS
}

fn tell_shrunk(is_pool: bool, seed: u64) {
    use shrink::Shrink;
    // Panics on the way are what is looked for.
    std::panic::set_hook(Box::new(|_| {}));
    let shrunk = if is_pool {
        shrink::pool(seed).map(|shrunk| (shrunk.setup.summary(), shrunk.defeat, shrunk.runs))
    } else {
        shrink::target(seed).map(|shrunk| (shrunk.setup.summary(), shrunk.defeat, shrunk.runs))
    };
    drop(std::panic::take_hook());
    if let Some((summary, defeat, runs)) = shrunk {
        println!("{defeat}\nSHRUNK after {runs} runs to {summary}\n");
    }
}

#[cfg(feature = "seeded-bugs")]
fn bug(name: &str) -> Result<outband_protocol::seeded::Bug, String> {
    let found = outband_protocol::seeded::Bug::named(name);
    found.ok_or_else(|| format!("there is no `{name}`: see --list-bugs"))
}

/// All the defects, one after the other.
#[cfg(feature = "seeded-bugs")]
mod hunts {
    use std::ops::Range;
    use std::process::ExitCode;

    use outband_protocol::seeded::{Bug, World};
    use outband_sim::hunt::{Hunted, hunt};

    /// Seeds within which each has to be found.
    const SEEDS: Range<u64> = 0..20_000;

    pub(super) fn is_of_pool(bug: Bug) -> bool {
        bug.world() == World::Pool
    }

    pub(super) fn run(only_list: bool, seeds: Option<Range<u64>>) -> ExitCode {
        if only_list {
            Bug::ALL.iter().for_each(|bug| println!("{}", bug.name()));
            return ExitCode::SUCCESS;
        }
        let seeds = seeds.unwrap_or(SEEDS);
        // Panics are one way of finding them.
        std::panic::set_hook(Box::new(|_| {}));
        let mut missed = 0;
        println!("| defect | found by seed | after I/Os or calls | how |\n|---|---|---|---|");
        for bug in Bug::ALL {
            let hunted = hunt(*bug, seeds.clone());
            missed += u32::from(hunted.defeat.is_none());
            println!("{}", line(&hunted));
        }
        if missed > 0 {
            println!("\n{missed} were not found in the seeds {seeds:?}");
        }
        if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn line(hunted: &Hunted) -> String {
        let (name, inner) = (hunted.bug.name(), hunted.inner);
        let Some(defeat) = &hunted.defeat else {
            return format!("| `{name}` | not found | {inner} | |");
        };
        let how = defeat.failure.to_string();
        let how: String = how.lines().next().unwrap_or_default().chars().take(100).collect();
        format!("| `{name}` | {} | {inner} | {} |", defeat.seed, how.replace('|', "/"))
    }
}

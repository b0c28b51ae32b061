//! `cargo xtask soak`: what is too long for every change. Seeds that nobody has run, the fuzz targets,
//! and kill -9; each part adds a line to `qa/ledger.csv`, so that what was tried adds up.

mod ledger;

use std::process::Command;
use std::time::Instant;

use crate::failure::{Failure, root};
use crate::process::visible;
use crate::{fuzz, sim};

use self::ledger::Entry;

/// How much of each part there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    tier: &'static str,
    seeds: u64,
    pool_seeds: u64,
    hunted: u64,
    fuzz_secs: u32,
    kills: u32,
}

/// About three quarters of an hour on two cores.
pub(crate) const QUICK: Amounts = Amounts {
    tier: "quick",
    seeds: 10_000,
    pool_seeds: 2_000,
    hunted: 2_000,
    fuzz_secs: 60,
    kills: 300,
};

/// Some hours.
pub(crate) const FULL: Amounts = Amounts {
    tier: "full",
    seeds: 100_000,
    pool_seeds: 20_000,
    hunted: 20_000,
    fuzz_secs: 600,
    kills: 5_000,
};

/// Runs all of it. What fails does not keep the rest from being run.
pub(crate) fn run(amounts: Amounts) -> Result<(), Failure> {
    let Amounts { tier, .. } = amounts;
    let mut failed = Vec::new();
    let mut part = |name: &str, amount: String, work: &dyn Fn() -> Result<(), Failure>| {
        println!("\n=== {name}: {amount}");
        let start = Instant::now();
        let outcome = work();
        if let Err(failure) = &outcome {
            eprintln!("{failure}");
            failed.push(name.to_owned());
        }
        let passed = outcome.is_ok();
        ledger::add(&Entry::now(tier, name, &amount, start.elapsed(), passed)?)
    };
    let next = ledger::next_seed("sim")?;
    let seeds = format!("{next}..{}", next + amounts.seeds);
    part("sim", seeds.clone(), &|| sim::run(&words(&["--keep-going", "--seeds", &seeds])))?;
    let next = ledger::next_seed("pool")?;
    let seeds = format!("{next}..{}", next + amounts.pool_seeds);
    let pool = words(&["--pool", "--keep-going", "--seeds", &seeds]);
    part("pool", seeds.clone(), &|| sim::run(&pool))?;
    let twice = words(&["--twice", "--seeds", "0..100"]);
    part("twice", "0..100".to_owned(), &|| sim::run(&twice))?;
    let seeds = format!("0..{}", amounts.hunted);
    let hunt = words(&["--seeded-bugs", "--seeds", &seeds]);
    part("seeded-bugs", seeds.clone(), &|| sim::run(&hunt))?;
    part("kill-9", amounts.kills.to_string(), &|| kill(amounts.kills))?;
    let secs = amounts.fuzz_secs;
    part("fuzz", format!("{secs} s a target"), &|| fuzz::run(secs, None, Some(tier)))?;
    if failed.is_empty() { Ok(()) } else { Err(Failure::wrong(failed.join(" "))) }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The test of the real program that kills it, more often.
fn kill(rounds: u32) -> Result<(), Failure> {
    visible(
        Command::new("cargo")
            .args(["test", "--quiet", "--package", "outband-target-server", "--test", "serve"])
            .args(["--", "what_was_acknowledged_survives_kill_nine_again_and_again"])
            .env("OUTBAND_KILLS", rounds.to_string())
            .current_dir(root()),
    )
}

pub(crate) use ledger::Entry as Note;
pub(crate) use ledger::add as note;

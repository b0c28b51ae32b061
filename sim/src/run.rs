//! A seed from its beginning to its end, and many of them.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::setup::Setup;
use crate::world::{Failure, World};

/// Lines of the trace that a defeat shows.
const SHOWN: usize = 60;

/// What a seed came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Requests of hosts.
    pub requests: u64,
    /// Disk operations.
    pub ios: u64,
    /// Those of them that were over when they were asked for.
    pub spots: u64,
    /// Blocks read and checked.
    pub reads: u64,
    /// Power cuts and kills.
    pub crashes: u64,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Defeat {
    /// The seed.
    pub seed: u64,
    /// Why.
    pub failure: Failure,
    /// The hash of everything that happened until then.
    pub hash: u64,
    /// The last of it.
    pub trace: String,
}

impl fmt::Display for Defeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.trace)?;
        writeln!(f, "SEED={} HASH={:016x}", self.seed, self.hash)?;
        write!(f, "{}", self.failure)
    }
}

impl std::error::Error for Defeat {}

/// Runs a seed.
///
/// # Errors
/// When anything was wrong.
pub fn run(seed: u64) -> Result<Report, Box<Defeat>> {
    run_altered(seed, false, |_| {})
}

/// Runs a seed, `aloud` or not, with changes to what it has drawn.
///
/// # Errors
/// When anything was wrong.
pub fn run_altered(
    seed: u64,
    aloud: bool,
    alter: impl FnOnce(&mut Setup),
) -> Result<Report, Box<Defeat>> {
    let mut world = World::new(seed, aloud, alter);
    let hardware = world.hardware();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        while world.step()? {}
        Ok(())
    }));
    let failure = match outcome {
        Ok(Ok(())) => {
            let hardware = hardware.borrow();
            return Ok(Report {
                seed,
                hash: hardware.trace().hash(),
                requests: world.requests(),
                ios: hardware.ios(),
                spots: hardware.spots(),
                reads: world.reads(),
                crashes: world.crashes(),
            });
        }
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Failure::Panic(text.unwrap_or("without a word").to_owned())
        }
    };
    // Dropping a world in the middle of a panic may panic again.
    std::mem::forget(world);
    let (hash, trace) = match hardware.try_borrow() {
        Ok(hardware) => (hardware.trace().hash(), hardware.trace().tail(SHOWN)),
        Err(_) => (0, "no trace: it panicked in the hardware".to_owned()),
    };
    Err(Box::new(Defeat { seed, failure, hash, trace }))
}

/// Runs all seeds of a range, until the first that fails; `told` hears of each.
///
/// # Errors
/// The first seed that fails.
pub fn run_range(seeds: Range<u64>, mut told: impl FnMut(&Report)) -> Result<(), Box<Defeat>> {
    for seed in seeds {
        told(&run(seed)?);
    }
    Ok(())
}

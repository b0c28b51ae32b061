//! A seed of the pool from its beginning to its end, and many of them.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::setup::Setup;
use super::world::World;
use crate::run::Defeat;
use crate::world::Failure;

/// Lines of the trace that a defeat shows.
const SHOWN: usize = 120;

/// What a seed came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    /// Jobs that the station has acknowledged.
    pub jobs: u64,
    /// Calls from the station to units, and from users to the station.
    pub calls: u64,
    /// Requests of hosts to their volumes.
    pub requests: u64,
    /// Lives of the station and of units that ended.
    pub deaths: u64,
    /// Steps of the station, and of the first unit, before users had all they wanted.
    pub steps: (u32, u32),
}

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
            let hash = hardware.borrow().trace().hash();
            return Ok(Report { seed, hash, ..world.report() });
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

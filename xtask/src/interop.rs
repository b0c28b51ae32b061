//! `cargo xtask interop`: what takes minutes and not seconds. The Linux kernel's initiator, open-iscsi,
//! in guests that are made of Debian's packages and run under software emulation; and increments of
//! one block by many sessions at once, as many as it takes to believe them.

mod files;
mod increments;
mod kill;
mod multipath;
mod path;
mod volume;

use std::cell::OnceCell;
use std::fmt;
use std::time::Instant;

use clap::ValueEnum;

use crate::failure::Failure;
use crate::guest::Image;
use crate::record::Now;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Scenario {
    /// ext4 and XFS: made, filled, left, checked and read again, with CHAP and digests.
    Files,
    /// The same with blocks of 4096 bytes, and the target proves itself too.
    LargeBlocks,
    /// Two portals under dm-multipath, one of which goes away under I/O and comes back.
    Multipath,
    /// The target killed under I/O and started again: nothing acknowledged is lost.
    Kill,
    /// 100,000 increments of one block by COMPARE AND WRITE, of 8 sessions from 4 initiators.
    Increments,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] =
        [Self::Files, Self::LargeBlocks, Self::Multipath, Self::Kill, Self::Increments];
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no scenario is hidden");
        f.write_str(value.get_name())
    }
}

/// Runs `scenarios`, or all of them, and notes which have passed.
pub(crate) fn run(scenarios: &[Scenario], now: &Now) -> Result<(), Failure> {
    let scenarios = if scenarios.is_empty() { &Scenario::ALL[..] } else { scenarios };
    let image = OnceCell::new();
    let image = || match image.get() {
        Some(image) => Ok(image),
        None => Image::ready().map(|ready| image.get_or_init(|| ready)),
    };
    for scenario in scenarios {
        println!("{scenario}:");
        let start = Instant::now();
        match scenario {
            Scenario::Files => files::run(image()?, false),
            Scenario::LargeBlocks => files::run(image()?, true),
            Scenario::Multipath => multipath::run(image()?),
            Scenario::Kill => kill::run(image()?),
            Scenario::Increments => increments::run(),
        }?;
        println!("{scenario}: passed in {:.0} s", start.elapsed().as_secs_f64());
        now.passed(&format!("interop {scenario}"))?;
    }
    Ok(())
}

//! `cargo xtask test`: everything that must hold before a change lands, in order of speed.
//!
//! The fixed simulation seeds are tests of `outband-sim` and run with the others.

use std::process::Command;

use crate::failure::{Failure, root};
use crate::steps::Steps;
use crate::{audit, bench, browser, clients, fuzz, monitoring, process, tidy, tools};

/// Long enough to run past the seeds and to find what a careless change breaks.
const FUZZ_SECS: u32 = 10;

/// With the features that the tests have, or everything that they built would be built once more.
pub(crate) const BINARIES: [&str; 4] = ["build", "--workspace", "--bins", "--tests"];

pub(crate) fn run(fast: bool) -> Result<(), Failure> {
    let mut steps = Steps::default();
    if !fast {
        steps.run("tools of the outside clients", "cargo xtask tools", tools::ensure)?;
    }
    steps.cargo("format", &["fmt", "--all", "--check"])?;
    steps.cargo("format of fuzz/", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])?;
    steps.run("tidy", "cargo xtask tidy", tidy::run)?;
    steps.run("audit", "cargo xtask audit", audit::run)?;
    steps.cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    steps.run("rustdoc", RUSTDOC, rustdoc)?;
    steps.cargo("tests", &["test", "--workspace"])?;
    if !fast {
        let rerun = format!("cargo xtask fuzz --secs {FUZZ_SECS}");
        steps.run("fuzz targets", &rerun, || fuzz::run(FUZZ_SECS, None, None))?;
        steps.cargo("binaries", &BINARIES)?;
        for part in clients::Part::ALL {
            let name = format!("outside clients: {part}");
            steps.run(&name, &format!("cargo xtask clients {part}"), || part.run())?;
        }
        steps.run("the console in a browser", "cargo xtask browser", browser::run)?;
        let rerun = "cargo xtask monitoring";
        steps.run("monitoring files, with Prometheus", rerun, monitoring::run)?;
        // Never fails for a figure: it is there to be seen in review.
        let rerun = "cargo xtask bench instructions";
        steps.run("instructions of a request", rerun, bench::instructions::show_tested)?;
    }
    steps.close();
    Ok(())
}

const RUSTDOC: &str =
    "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items";

fn rustdoc() -> Result<(), Failure> {
    process::visible(
        Command::new("cargo")
            .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .current_dir(root()),
    )
}

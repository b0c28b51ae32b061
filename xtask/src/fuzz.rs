//! The fuzz targets, built as cargo-fuzz does it but with nothing to install: libFuzzer comes with
//! its crate, the instrumentation with the compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, root};
use crate::process::{captured, visible};
use crate::soak;

/// A stable compiler takes these flags when `RUSTC_BOOTSTRAP` allows it.
const FLAGS: [&str; 7] = [
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// Sanitizers need the target named, so that build scripts are compiled without them.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// What libFuzzer may take beyond its time: it reads the seeds first, and ends between two inputs.
const GRACE: Duration = Duration::from_secs(120);

/// Inputs longer than this find nothing that shorter ones do not, only more slowly.
const INPUT_LEN_MAX: u32 = 4096;

/// Runs the targets; with a `tier` the ledger is told how many inputs each has tried.
pub(crate) fn run(secs: u32, only: Option<&str>, tier: Option<&str>) -> Result<(), Failure> {
    let folder = root().join("fuzz");
    let targets = targets(&folder.join("fuzz_targets"))?;
    let chosen: Vec<_> =
        targets.iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        return Err(Failure::wrong(format!("there are only these: {}", targets.join(" "))));
    }
    build(&folder)?;
    for name in chosen {
        let outcome = fuzz(&folder, name, secs);
        if let Some(tier) = tier {
            let amount = outcome.as_deref().unwrap_or("0").to_owned();
            let took = Duration::from_secs(secs.into());
            let part = format!("fuzz {name}");
            soak::note(&soak::Note::now(tier, &part, &amount, took, outcome.is_ok())?)?;
        }
        outcome?;
    }
    Ok(())
}

fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::at(folder))? {
        let path = entry.map_err(Failure::at(folder))?.path();
        if path.extension().is_some_and(|end| end == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn target_folder(folder: &Path) -> PathBuf {
    folder.join("target")
}

fn build(folder: &Path) -> Result<(), Failure> {
    visible(
        Command::new("cargo")
            .args(["build", "--quiet", "--bins", "--target", &triple(), "--target-dir"])
            .arg(target_folder(folder))
            .current_dir(folder)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", FLAGS.join(" ")),
    )
}

/// Starts from the kept seeds; what it finds new goes to a corpus that is not committed.
/// How many inputs there were.
fn fuzz(folder: &Path, name: &str, secs: u32) -> Result<String, Failure> {
    let corpus = folder.join("corpus").join(name);
    let artifacts = folder.join("artifacts").join(name);
    for path in [&corpus, &artifacts] {
        fs::create_dir_all(path).map_err(Failure::at(path))?;
    }
    let mut fuzz = Command::new(target_folder(folder).join(triple()).join("debug").join(name));
    fuzz.arg(format!("-max_total_time={secs}"))
        .arg(format!("-max_len={INPUT_LEN_MAX}"))
        .args(["-timeout=10", "-verbosity=0", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([corpus, folder.join("seeds").join(name)]);
    let output = captured(&mut fuzz, Duration::from_secs(secs.into()) + GRACE)?;
    let executed =
        output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    match executed.map(str::trim) {
        Some(executed) if executed != "0" => {
            println!("{name}: {executed} inputs in {secs} s");
            Ok(executed.to_owned())
        }
        _ => Err(Failure::wrong(format!("{name} tried no input:\n{output}"))),
    }
}

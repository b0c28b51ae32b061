//! `cargo xtask conformance`: libiscsi's whole suite against our target, and against tgt in the same
//! run, written down in `docs/conformance.md`.

mod page;
mod rfc;

use std::fs;
use std::path::Path;

use crate::clients::suite::{
    FILE, LARGE_BLOCKS, MEMORY, SMALL_BLOCKS, VOLUME_BYTES, read_only, sanitize, writable,
};
use crate::failure::{Failure, root};
use crate::process::kept;
use crate::record;
use crate::suite::{Outcome, Report, Subject, skips};
use crate::target::folder;
use crate::tgt::Tgt;
use page::Page;

const PAGE: &str = "docs/conformance.md";

pub(crate) fn run() -> Result<(), Failure> {
    let kept = kept("conformance")?;
    let runs = Runs::all(&kept)?;
    let rfc =
        fs::read_to_string(root().join(rfc::PAGE)).map_err(Failure::at(Path::new(rfc::PAGE)))?;
    let page = Page {
        runs: &runs,
        rfc: &rfc::sections(&rfc),
        versions: [record::version("libiscsi-bin"), record::version("tgt")],
    };
    fs::write(root().join(PAGE), page.to_string()).map_err(Failure::at(Path::new(PAGE)))?;
    println!("{PAGE} is written");
    let offences: Vec<_> = runs.ours().into_iter().flat_map(skips::offences).collect();
    offences.iter().for_each(|offence| println!("{offence}"));
    match offences.len() {
        0 => Ok(()),
        count => Err(Failure::wrong(format!(
            "{count} tests of ours failed or were left out without a reason; all that the suite said \
             is in {}",
            kept.display()
        ))),
    }
}

/// What the suite said of each volume.
struct Runs {
    memory: Report,
    /// Physical blocks of eight logical ones.
    file: Report,
    /// Physical blocks that are the logical ones.
    small_blocks: Report,
    /// Logical blocks of 4,096 bytes.
    large_blocks: Report,
    /// One family, by one path.
    sanitize: Report,
    read_only: Report,
    tgt: Report,
}

impl Runs {
    fn all(kept: &Path) -> Result<Self, Failure> {
        let on = |volume| move |folder: &Path| writable(folder, volume);
        Ok(Self {
            memory: run_in(kept, "memory", on(MEMORY))?,
            file: run_in(kept, "file", on(FILE))?,
            small_blocks: run_in(kept, "small-blocks", on(SMALL_BLOCKS))?,
            large_blocks: run_in(kept, "large-blocks", on(LARGE_BLOCKS))?,
            sanitize: run_in(kept, "sanitize", sanitize)?,
            read_only: run_in(kept, "read-only", read_only)?,
            tgt: run_in(kept, "tgt", against_tgt)?,
        })
    }

    fn ours(&self) -> [&Report; 6] {
        let Self { memory, file, small_blocks, large_blocks, sanitize, read_only, .. } = self;
        [memory, file, small_blocks, large_blocks, sanitize, read_only]
    }
}

/// One run, whose words are kept in a folder of their own.
fn run_in(
    kept: &Path,
    name: &str,
    run: impl FnOnce(&Path) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    println!("iscsi-test-cu, {name}:");
    let folder = kept.join(name);
    fs::create_dir_all(&folder).map_err(Failure::at(&folder))?;
    run(&folder).map(told)
}

fn against_tgt(folder: &Path) -> Result<Report, Failure> {
    let short_lived = self::folder()?;
    let tgt = Tgt::start(short_lived.path(), VOLUME_BYTES)?;
    Subject { urls: tgt.urls(), block_size: 512, folder }.run("ALL")
}

fn told(report: Report) -> Report {
    let count = |outcome| report.with(outcome).count();
    println!(
        "  {} tests: {} passed, {} failed, {} left out, {} without an end",
        report.tests.len(),
        count(Outcome::Passed),
        count(Outcome::Failed),
        count(Outcome::Skipped),
        count(Outcome::Unfinished)
    );
    report
}

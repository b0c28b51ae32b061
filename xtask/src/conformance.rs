//! `cargo xtask conformance`: libiscsi's whole suite against our target, and against tgt in the same
//! run, written down in `docs/conformance.md`.

mod page;
mod rfc;
mod versions;

use std::fs;
use std::path::Path;

use crate::clients::suite::{FILE, MEMORY, VOLUME_BYTES, read_only, writable};
use crate::failure::{Failure, root};
use crate::process::kept;
use crate::suite::{Outcome, Report, Subject, skips};
use crate::target::folder;
use crate::tgt::Tgt;
use page::Page;

const PAGE: &str = "docs/conformance.md";

pub(crate) fn run() -> Result<(), Failure> {
    let kept = kept("conformance")?;
    let [ours, on_file, read_only, theirs] = runs(&kept)?;
    let rfc =
        fs::read_to_string(root().join(rfc::PAGE)).map_err(Failure::at(Path::new(rfc::PAGE)))?;
    let page = Page {
        ours: &ours,
        on_file: &on_file,
        read_only: &read_only,
        theirs: &theirs,
        volumes: [MEMORY, FILE],
        rfc: &rfc::sections(&rfc),
        versions: &versions::found(),
    };
    fs::write(root().join(PAGE), page.to_string()).map_err(Failure::at(Path::new(PAGE)))?;
    println!("{PAGE} is written");
    let offences: Vec<_> =
        [&ours, &on_file, &read_only].into_iter().flat_map(skips::offences).collect();
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

/// Ours in memory, ours on a file, ours on a volume that is read only, and tgt's.
fn runs(folder: &Path) -> Result<[Report; 4], Failure> {
    println!("iscsi-test-cu against outband-target:");
    let ours = told(writable(folder, MEMORY)?);
    println!("the same on a file:");
    let file_folder = folder.join("file");
    fs::create_dir_all(&file_folder).map_err(Failure::at(&file_folder))?;
    let on_file = told(writable(&file_folder, FILE)?);
    println!("the same on a volume that is read only:");
    let read_only = told(read_only(folder)?);
    println!("iscsi-test-cu against tgt:");
    let theirs = told(against_tgt(folder)?);
    Ok([ours, on_file, read_only, theirs])
}

fn against_tgt(folder: &Path) -> Result<Report, Failure> {
    let short_lived = self::folder()?;
    let tgt = Tgt::start(short_lived.path(), VOLUME_BYTES)?;
    let folder = &folder.join("tgt");
    fs::create_dir_all(folder).map_err(Failure::at(folder))?;
    Subject { urls: tgt.urls(), folder }.run("ALL")
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

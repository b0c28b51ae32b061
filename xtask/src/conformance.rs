//! `cargo xtask conformance`: libiscsi's whole suite against our target, and against tgt in the same
//! run, written down in `docs/conformance.md`.

mod page;
mod rfc;
mod versions;

use std::fs;
use std::path::Path;

use crate::clients::suite::{VOLUME, VOLUME_BYTES, read_only, writable};
use crate::failure::{Failure, root};
use crate::process::indented;
use crate::suite::{Outcome, Report, Subject, skips};
use crate::target::folder;
use crate::tgt::Tgt;
use page::Page;

const PAGE: &str = "docs/conformance.md";

pub(crate) fn run() -> Result<(), Failure> {
    let folder = folder()?;
    println!("iscsi-test-cu against outband-target:");
    let ours = told(writable(folder.path())?);
    println!("the same on a volume that is read only:");
    let read_only = told(read_only(folder.path())?);
    println!("iscsi-test-cu against tgt:");
    let theirs = told(against_tgt(folder.path())?);
    let rfc =
        fs::read_to_string(root().join(rfc::PAGE)).map_err(Failure::at(Path::new(rfc::PAGE)))?;
    let page = Page {
        ours: &ours,
        read_only: &read_only,
        theirs: &theirs,
        volume: VOLUME,
        rfc: &rfc::sections(&rfc),
        versions: &versions::found(),
    };
    fs::write(root().join(PAGE), page.to_string()).map_err(Failure::at(Path::new(PAGE)))?;
    println!("{PAGE} is written");
    let offences: Vec<_> = [&ours, &read_only].into_iter().flat_map(skips::offences).collect();
    if offences.is_empty() {
        return Ok(());
    }
    let count = offences.len();
    Err(Failure::wrong(format!("{count} offences:{}", indented(&offences.join("\n")))))
}

fn against_tgt(folder: &Path) -> Result<Report, Failure> {
    let tgt = Tgt::start(folder, VOLUME_BYTES)?;
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

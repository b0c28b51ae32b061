//! libiscsi's own test suite, on a volume that can be written and on one that cannot.

use std::path::Path;

use crate::failure::Failure;
use crate::process::indented;
use crate::suite::{Outcome, Report, Subject, skips};
use crate::target::{Target, folder};

/// What the suite is run against, as arguments of `serve`: memory, whose physical blocks are the
/// logical ones, and a file, whose physical blocks are eight logical ones.
pub(crate) const MEMORY: &str = "--memory 256MiB --allow-sanitize";
pub(crate) const FILE: &str = "FILE --size 256MiB --allow-sanitize";
/// A file whose physical blocks are said to be the logical ones.
pub(crate) const SMALL_BLOCKS: &str =
    "FILE --size 256MiB --physical-block-size 512 --allow-sanitize";
/// Blocks of 4,096 bytes, physical ones too.
pub(crate) const LARGE_BLOCKS: &str = "--memory 256MiB --block-size 4096 --allow-sanitize";
pub(crate) const VOLUME_BYTES: u64 = 256 << 20;

/// All but SANITIZE, which is mostly waited for and does not depend on the block size, and with it START
/// STOP UNIT.
const QUICK: &str = "ALL.[!S]*";

const ANY_PORTS: [&str; 2] = ["127.0.0.1:0", "127.0.0.1:0"];
const ANY_PORT: [&str; 1] = ["127.0.0.1:0"];

pub(super) fn run() -> Result<(), Failure> {
    let folder = folder()?;
    for volume in [MEMORY, FILE] {
        print!("  serve {volume}:");
        judge(&writable(folder.path(), volume)?)?;
    }
    print!("  serve {LARGE_BLOCKS}, {QUICK}:");
    judge(&against(folder.path(), LARGE_BLOCKS, QUICK, &ANY_PORTS)?)?;
    print!("  on a volume that is read only:");
    judge(&read_only(folder.path())?)
}

/// All of `ALL` by two paths.
pub(crate) fn writable(folder: &Path, volume: &str) -> Result<Report, Failure> {
    against(folder, volume, "ALL", &ANY_PORTS)
}

/// `ALL.Sanitize` by one path, where each test has sessions of its own. One of them takes a minute:
/// the suite looks no more often whether the medium is wiped.
pub(crate) fn sanitize(folder: &Path) -> Result<Report, Failure> {
    against(folder, FILE, "ALL.Sanitize", &ANY_PORT)
}

/// The tests that want a volume which cannot be written.
pub(crate) fn read_only(folder: &Path) -> Result<Report, Failure> {
    against(folder, "--memory 64MiB --read-only", "ALL.ReadOnly", &ANY_PORTS)
}

/// What the suite says is left in `folder`.
fn against(folder: &Path, volume: &str, what: &str, listen: &[&str]) -> Result<Report, Failure> {
    let short_lived = self::folder()?;
    let file = short_lived.path().join("volume.img");
    let file = file.to_str().expect("the temporary folder's name is text");
    let mut arguments: Vec<&str> = volume.split(' ').collect();
    arguments.iter_mut().filter(|word| **word == "FILE").for_each(|word| *word = file);
    arguments.push("--any-host");
    let target = Target::listening(short_lived.path(), &arguments, listen)?;
    let block_size = if volume == LARGE_BLOCKS { 4096 } else { 512 };
    let subject = Subject { urls: target.urls(), block_size, folder };
    let report = subject.run(what).map_err(|failure| target.explain(failure))?;
    target.stop()?;
    Ok(report)
}

fn judge(report: &Report) -> Result<(), Failure> {
    let count = |outcome| report.with(outcome).count();
    let (passed, skipped) = (count(Outcome::Passed), count(Outcome::Skipped));
    println!(" {passed} passed, {skipped} left out");
    let offences = skips::offences(report);
    if offences.is_empty() {
        return Ok(());
    }
    Err(Failure::wrong(format!("of iscsi-test-cu:{}", indented(&offences.join("\n")))))
}

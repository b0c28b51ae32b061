//! libiscsi's own test suite: the families of what the target offers today.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use super::target::{Target, folder, with};
use crate::failure::Failure;
use crate::process::captured;

/// Suites whose names start so are run. Some of `ALL.Read` ask for what the target does not offer
/// (`ReadDefectData`); they skip themselves, which is reported.
const FAMILIES: [&str; 11] = [
    "ALL.Read",
    "ALL.Write10",
    "ALL.Write12",
    "ALL.Write16",
    "ALL.Verify",
    "ALL.Unmap",
    "ALL.Inquiry",
    "ALL.ModeSense6",
    "ALL.Mandatory",
    "ALL.TestUnitReady",
    "iSCSI.",
];

/// Needs a volume of its own.
const READ_ONLY: &str = "ALL.ReadOnly";

/// Run where this version has it; Debian's 1.19 has not (`iscsi-ls` sends a REPORT LUNS anyway).
const NEWER: &str = "ALL.ReportLuns";

const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run() -> Result<(), Failure> {
    let suites = suites()?;
    let folder = folder()?;
    with(folder.path(), &["--memory", "256MiB", "--any-host"], |target| {
        all_pass(target, suites.iter().map(String::as_str))
    })?;
    println!("  on a volume that is read only:");
    with(folder.path(), &["--memory", "64MiB", "--any-host", "--read-only"], |target| {
        all_pass(target, [READ_ONLY])
    })
}

fn all_pass<'s>(target: &Target, suites: impl IntoIterator<Item = &'s str>) -> Result<(), Failure> {
    let (mut failed, mut skipped) = (Vec::new(), BTreeSet::new());
    for suite in suites {
        let report = report_of(target, suite)?;
        println!("  {suite}: {} passed, {} failed", report.passed, report.failed);
        skipped.extend(report.skipped);
        if report.failed > 0 || report.passed == 0 {
            failed.push(suite);
        }
    }
    for reason in skipped {
        println!("  left out: {reason}");
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::wrong(format!("failed: {}", failed.join(" "))))
}

/// The suites this version has of each family. A family without any is a failure: its name is
/// wrong, and nothing would be tested.
fn suites() -> Result<Vec<String>, Failure> {
    let list = captured(Command::new("iscsi-test-cu").arg("--list"), LIMIT)?;
    let suites: Vec<_> = list.lines().map(str::trim).filter(|name| is_suite(name)).collect();
    for family in FAMILIES {
        if !suites.iter().any(|suite| suite.starts_with(family)) {
            return Err(Failure::wrong(format!("iscsi-test-cu has no {family}")));
        }
    }
    Ok(suites.into_iter().map(str::to_owned).collect())
}

fn is_suite(name: &str) -> bool {
    let mut wanted = FAMILIES.iter().chain([&NEWER]);
    name.split('.').count() == 2
        && name != READ_ONLY
        && wanted.any(|family| name.starts_with(family))
}

fn report_of(target: &Target, suite: &str) -> Result<Report, Failure> {
    let mut command = Command::new("iscsi-test-cu");
    command.args(["--dataloss", "--test", suite, target.url()]);
    let output = captured(&mut command, LIMIT)?;
    let report = Report::read(&output)
        .ok_or_else(|| Failure::wrong(format!("no summary of {suite} in:\n{output}")))?;
    if report.failed > 0 {
        println!("{output}");
    }
    Ok(report)
}

/// What CUnit says at the end, and the reasons given for tests left out.
#[derive(PartialEq, Eq, Debug)]
struct Report {
    passed: u32,
    failed: u32,
    skipped: BTreeSet<String>,
}

impl Report {
    fn read(output: &str) -> Option<Self> {
        let (mut passed, mut failed) = (None, 0);
        for line in output.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            // Type Total Ran Passed Failed Inactive
            match words.as_slice() {
                ["tests", _, _, good, bad, ..] => {
                    passed = good.parse().ok();
                    failed += bad.parse::<u32>().ok()?;
                }
                ["asserts", _, _, _, bad, ..] => failed += bad.parse::<u32>().ok()?,
                _ => {}
            }
        }
        let skipped = output.lines().filter_map(|line| line.split_once("[SKIPPED] "));
        let skipped = skipped.map(|(_, reason)| reason.trim().to_owned()).collect();
        Some(Self { passed: passed?, failed, skipped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
Suite: Read10
  Test: Simple ...    [SKIPPED] No such device.
passed
Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
               tests      2      2      2      0        0
             asserts     19     19     19      0      n/a
";

    #[test]
    fn a_summary_is_read() {
        let report = Report::read(GOOD).unwrap();
        assert_eq!((report.passed, report.failed), (2, 0));
        assert!(report.skipped.contains("No such device."), "{:?}", report.skipped);
    }

    #[test]
    fn a_failed_assertion_counts_even_in_a_test_that_passed() {
        let report = Report::read(&GOOD.replace("19      0      n/a", "18      1      n/a"));
        assert_eq!(report.unwrap().failed, 1);
    }

    #[test]
    fn output_without_a_summary_is_no_pass() {
        assert_eq!(Report::read("Failed to log in"), None);
    }

    #[test]
    fn only_suites_of_the_families_are_run() {
        assert!(is_suite("ALL.ReadCapacity16"));
        assert!(!is_suite("ALL.Read10.Simple"));
        assert!(!is_suite("ALL.WriteSame10"));
        assert!(!is_suite("SCSI.Read10"));
    }
}

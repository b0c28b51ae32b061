//! libiscsi's own test suite: the families of what the target offers today.

use std::process::Command;
use std::time::Duration;

use super::target::{Target, folder, with};
use crate::failure::Failure;
use crate::process::captured;

/// Suites whose names start so are run. `ReadDefectData`, `ReadOnly` and what else the target does
/// not offer skip themselves, which is reported.
const FAMILIES: [&str; 8] = [
    "ALL.Read",
    "ALL.Write10",
    "ALL.Write12",
    "ALL.Write16",
    "ALL.Inquiry",
    "ALL.TestUnitReady",
    "ALL.ReportLuns",
    "iSCSI.iSCSIResiduals",
];

const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run() -> Result<(), Failure> {
    let suites = suites()?;
    let folder = folder()?;
    with(folder.path(), &["--memory", "256MiB", "--any-host"], |target| {
        let mut failed = Vec::new();
        for suite in &suites {
            let report = report_of(target, suite)?;
            println!("  {suite}: {report}");
            if report.failed > 0 || report.passed == 0 {
                failed.push(suite.as_str());
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::wrong(format!("failed: {}", failed.join(" "))))
    })
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
    name.split('.').count() == 2 && FAMILIES.iter().any(|family| name.starts_with(family))
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
    skipped: Vec<String>,
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
        let skipped = output.lines().filter_map(|line| line.trim().strip_prefix("[SKIPPED] "));
        Some(Self { passed: passed?, failed, skipped: skipped.map(str::to_owned).collect() })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        self.skipped.iter().try_for_each(|reason| write!(f, "\n    left out: {reason}"))
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

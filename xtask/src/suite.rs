//! A run of libiscsi's `iscsi-test-cu` over all its tests, watched test by test, so that one that
//! hangs is named and does not hide those after it.

mod report;
pub(crate) mod skips;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::process::{Guard, captured};
pub(crate) use report::{Outcome, Report, Setting, Test};

/// What one test may take. The longest takes a few seconds on an idle machine.
const TEST_MAX: Duration = Duration::from_secs(90);
/// How often the suite is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The volume as the suite reaches it, and where its words are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'s> {
    /// One URL for each path.
    pub(crate) urls: &'s [String],
    /// Bytes in a block of it.
    pub(crate) block_size: u32,
    pub(crate) folder: &'s Path,
}

impl Subject<'_> {
    /// Every test whose name starts with `what`, such as `ALL` or `ALL.Read10`, or a pattern of a shell's
    /// for families. After a test that did not end, the families that follow are run one by one, but for
    /// a pattern.
    pub(crate) fn run(self, what: &str) -> Result<Report, Failure> {
        let mut report = self.once(what)?;
        let Some(stuck) = report.unfinished().map(|test| test.family.clone()) else {
            return Ok(report);
        };
        for family in families()?.into_iter().skip_while(|name| *name != stuck).skip(1) {
            let name = format!("ALL.{family}");
            if name.starts_with(what) {
                report.add(self.once(&name)?);
            }
        }
        Ok(report)
    }

    fn once(self, what: &str) -> Result<Report, Failure> {
        let name = what.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = self.folder.join(format!("suite-{name}.log"));
        let log = File::create(&path).map_err(Failure::at(&path))?;
        let err = log.try_clone().map_err(Failure::at(&path))?;
        let mut command = Command::new("iscsi-test-cu");
        command.args(["--dataloss", "--allow-sanitize", "--test", what]).args(self.urls);
        command.stdin(Stdio::null()).stdout(log).stderr(err);
        let failed =
            |source| Failure::Io { what: "`iscsi-test-cu` could not be run".into(), source };
        watch(Guard(command.spawn().map_err(failed)?), &path)?;
        let said = read(&path)?;
        let setting = Setting { paths: self.urls.len(), block_size: self.block_size };
        let report = Report { setting, ..Report::read(&said) };
        if report.tests.is_empty() {
            return Err(Failure::wrong(format!("iscsi-test-cu ran no test of {what}:\n{said}")));
        }
        Ok(report)
    }
}

/// Until the suite ends, or has been at one test for too long and is ended.
fn watch(mut suite: Guard, log: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Io { what: "waiting for iscsi-test-cu".into(), source };
    let (mut reached, mut since) = (0, Instant::now());
    while suite.wait_for(LOOK).map_err(failed)?.is_none() {
        let begun = read(log)?.matches("\n  Test: ").count();
        if begun != reached {
            (reached, since) = (begun, Instant::now());
        } else if since.elapsed() > TEST_MAX {
            // The guard ends it; the report shows the test without an outcome.
            return Ok(());
        }
    }
    Ok(())
}

fn read(log: &Path) -> Result<String, Failure> {
    let bytes = fs::read(log).map_err(Failure::at(log))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The families of `ALL`, in the suite's order.
fn families() -> Result<Vec<String>, Failure> {
    let list = captured(Command::new("iscsi-test-cu").arg("--list"), TEST_MAX)?;
    let names = list.lines().filter_map(|line| line.trim().strip_prefix("ALL."));
    Ok(names.filter(|name| !name.contains('.')).map(str::to_owned).collect())
}

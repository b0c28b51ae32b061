//! What `iscsi-test-cu` said, test by test.

/// How a test went. CUnit knows only passed and failed: a test that leaves itself out counts as
/// passed there, and says so in a line of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Passed as far as it went: it, or a part of it, left itself out.
    Skipped,
    /// The suite ended or was ended in the middle of it.
    Unfinished,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Test {
    /// What CUnit calls a suite.
    pub(crate) family: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// Why it left something out, in its words; each reason once.
    pub(crate) reasons: Vec<String>,
    /// All it said.
    pub(crate) said: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Report {
    pub(crate) tests: Vec<Test>,
    pub(crate) setting: Setting,
}

/// What it was a run of, as far as it depends on that which tests can pass.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Setting {
    /// By how many paths the suite reached the volume.
    pub(crate) paths: usize,
    /// Bytes in a logical block.
    pub(crate) block_size: u32,
}

impl Report {
    pub(crate) fn read(output: &str) -> Self {
        let (mut report, mut family) = (Self::default(), String::new());
        for line in output.lines() {
            if line.starts_with("Run Summary:") {
                break;
            } else if let Some(name) = line.strip_prefix("Suite: ") {
                name.trim().clone_into(&mut family);
            } else if let Some((name, rest)) =
                line.strip_prefix("  Test: ").and_then(|rest| rest.split_once(" ..."))
            {
                report.tests.push(Test::new(&family, name));
                report.hear(rest);
            } else {
                report.hear(line);
            }
        }
        report
    }

    fn hear(&mut self, line: &str) {
        if let Some(test) = self.tests.last_mut() {
            test.hear(line);
        }
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.tests.extend(more.tests);
    }

    pub(crate) fn unfinished(&self) -> Option<&Test> {
        self.tests.iter().find(|test| test.outcome == Outcome::Unfinished)
    }

    pub(crate) fn with(&self, outcome: Outcome) -> impl Iterator<Item = &Test> {
        self.tests.iter().filter(move |test| test.outcome == outcome)
    }
}

impl Test {
    fn new(family: &str, name: &str) -> Self {
        Self {
            family: family.to_owned(),
            name: name.to_owned(),
            outcome: Outcome::Unfinished,
            reasons: Vec::new(),
            said: Vec::new(),
        }
    }

    fn hear(&mut self, line: &str) {
        if !line.trim().is_empty() {
            self.said.push(line.trim_end().to_owned());
        }
        // What follows the outcome is of the family's clean-up.
        if self.outcome != Outcome::Unfinished {
            return;
        }
        if line.starts_with("passed") {
            let whole = self.reasons.is_empty();
            self.outcome = if whole { Outcome::Passed } else { Outcome::Skipped };
        } else if line.starts_with("FAILED") {
            self.outcome = Outcome::Failed;
        } else if let Some((_, reason)) = line.split_once("[SKIPPED] ") {
            let reason = reason.trim().to_owned();
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
    }

    /// `Family.Name`, as the suite's `--test` takes it behind `ALL.`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.family, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "
     CUnit - A unit testing framework for C - Version 2.1-3

Suite: ModeSense6
  Test: Control ...    [WARNING] BUSY_TIMEOUT_PERIOD is undefined.
passed
  Test: Residuals ...passed    [SKIPPED] PERSISTENT RESERVE IN is not implemented.
    [SKIPPED] PERSISTENT RESERVE IN is not implemented.
Suite: GetLBAStatus
  Test: BeyondEol ...    [FAILED] GET_LBA_STATUS successful but should have failed
FAILED
    1. test_get_lba_status_beyond_eol.c:50  - CU_ASSERT_EQUAL(ret,0)
  Test: UnmapSingle ...    [SKIPPED] Logical unit is fully provisioned. Skipping test
    [SKIPPED] Logical unit is fully provisioned. Skipping test
passed
  Test: Simple ...    Take a lock";

    fn outcomes(said: &str) -> Vec<(String, Outcome)> {
        let tests = Report::read(said).tests;
        tests.into_iter().map(|test| (test.full_name(), test.outcome)).collect()
    }

    #[test]
    fn each_test_has_the_outcome_that_follows_it() {
        let expected = [
            ("ModeSense6.Control", Outcome::Passed),
            ("ModeSense6.Residuals", Outcome::Passed),
            ("GetLBAStatus.BeyondEol", Outcome::Failed),
            ("GetLBAStatus.UnmapSingle", Outcome::Skipped),
            ("GetLBAStatus.Simple", Outcome::Unfinished),
        ];
        assert_eq!(outcomes(SAID), expected.map(|(name, outcome)| (name.to_owned(), outcome)));
    }

    #[test]
    fn a_reason_is_kept_once_and_a_failure_with_its_assertions() {
        let report = Report::read(SAID);
        assert_eq!(report.tests[3].reasons, ["Logical unit is fully provisioned. Skipping test"]);
        assert!(report.tests[2].said.iter().any(|line| line.contains("CU_ASSERT_EQUAL(ret,0)")));
    }

    #[test]
    fn what_follows_the_summary_belongs_to_no_test() {
        let said = format!("{SAID}\npassed\nRun Summary:  Type\n    tests 5 [SKIPPED] no\n");
        assert_eq!(Report::read(&said).tests[4].outcome, Outcome::Passed);
        assert!(Report::read(&said).tests[4].reasons.is_empty());
    }

    #[test]
    fn output_without_a_test_has_none() {
        assert!(Report::read("Failed to log in").tests.is_empty());
    }
}

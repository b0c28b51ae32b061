//! `docs/conformance.md`, from what was found. The same findings give the same page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter, Write as _};

use super::Runs;
use super::rfc::{self, Section};
use crate::clients::suite::{FILE, LARGE_BLOCKS, MEMORY, SMALL_BLOCKS};
use crate::record;
use crate::suite::{Outcome, Report, Setting, Test, skips};

/// What no target can bring the suite to pass and keep to the standard, said first. The reasons are those
/// of the lists of skips and faults.
const OUT_OF_REACH: &str = "\
## What the suite cannot be brought to pass

* `Sanitize.Reset` over two paths: `Sanitize.Reservations`, which runs before it, leaves its RESERVE(6)
  behind. By one path it passes.
* `GetLBAStatus.UnmapSingle` where a physical block has several logical ones, as on a file: it wants an
  answer that does not begin at the block it asked for, which is where SBC-4 has it begin.
* `ZeroBlocks` of WriteSame10 and WriteSame16, which leave the rest of themselves out where WSNZ is 1. Were
  it 0, `UnmapUntilEnd` of the same families would fail instead: it wants zeros where it wrote ones.
* With blocks of 4,096 bytes, the six tests `Access…` of ProutReserve, which write 512 bytes whatever a
  block has, and `WriteAtomic16.Simple`, which does not ask how much can be written atomically.

";

pub(super) struct Page<'p> {
    pub(super) runs: &'p Runs,
    pub(super) rfc: &'p [Section],
    /// Of the suite and of tgt.
    pub(super) versions: [String; 2],
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "# Conformance\n\n\
             Written by `cargo xtask conformance`; do not edit. Both targets go through all of libiscsi's\n\
             `iscsi-test-cu --dataloss --allow-sanitize` over two portals, one target after the other. Ours\n\
             is `outband-target serve {MEMORY} --any-host`\n\
             with two `--listen`; the other is tgt with a file. A test that leaves out itself or a part of\n\
             itself counts as left out.\n\n"
        )?;
        f.write_str(OUT_OF_REACH)?;
        self.results(f)?;
        self.ours_left_out(f)?;
        self.ours_failed(f)?;
        self.otherwise(f, "On a file", FILE, "eight logical ones", &self.runs.file)?;
        let small = &self.runs.small_blocks;
        self.otherwise(f, "On a file with small blocks", SMALL_BLOCKS, "the logical ones", small)?;
        let large = &self.runs.large_blocks;
        self.otherwise(f, "With blocks of 4,096 bytes", LARGE_BLOCKS, "the logical ones", large)?;
        self.theirs(f)?;
        self.rfc(f)?;
        self.clients(f)
    }
}

impl Page<'_> {
    fn results(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Results\n")?;
        writeln!(
            f,
            "| family | tests | Outband: passed | failed | left out | tgt: passed | failed | left out |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        let (ours, theirs) = (families(&self.runs.memory), families(&self.runs.tgt));
        for (family, counts) in &ours {
            let other = theirs.get(family).copied().unwrap_or_default();
            writeln!(f, "| {family} | {} | {counts} | {other} |", counts.all())?;
        }
        let (ours, theirs) = (Counts::of(&self.runs.memory), Counts::of(&self.runs.tgt));
        writeln!(f, "| **all** | {} | {ours} | {theirs} |\n", ours.all())?;
        writeln!(
            f,
            "On a volume that is read only, ReadOnly: {}.\n",
            Counts::of(&self.runs.read_only).in_words()
        )?;
        writeln!(
            f,
            "By one path, Sanitize: {}; CRYPTO ERASE is what is left out.\n",
            Counts::of(&self.runs.sanitize).in_words()
        )
    }

    fn ours_left_out(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Left out by Outband\n")?;
        writeln!(f, "| test | the suite says | why |")?;
        writeln!(f, "|---|---|---|")?;
        for test in self.runs.memory.with(Outcome::Skipped) {
            for reason in &test.reasons {
                let skip = skips::allowed(test, reason);
                let why = skip.map_or("**a gap**", |skip| skip.why);
                writeln!(f, "| {} | {reason} | {why} |", test.full_name())?;
            }
        }
        writeln!(f)
    }

    fn ours_failed(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let reports = self.runs.ours();
        let rows: BTreeSet<_> = reports.into_iter().flat_map(failures).collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(f, "## Failed by Outband\n")?;
        writeln!(f, "| test | by paths | bytes in a block | why |")?;
        writeln!(f, "|---|--:|--:|---|")?;
        for (name, paths, block_size, why) in rows {
            writeln!(f, "| {name} | {paths} | {block_size} | {why} |")?;
        }
        writeln!(f)
    }

    /// Where physical blocks are others, the suite tests something else.
    fn otherwise(
        &self,
        f: &mut Formatter<'_>,
        heading: &str,
        volume: &str,
        physical: &str,
        report: &Report,
    ) -> fmt::Result {
        writeln!(f, "## {heading}\n")?;
        writeln!(f, "The same with `serve {volume}`,")?;
        write!(f, "whose physical blocks are {physical}: {}. ", Counts::of(report).in_words())?;
        let pairs = self.runs.memory.tests.iter().zip(&report.tests);
        let mut others = pairs.filter(|(above, here)| above.outcome != here.outcome).peekable();
        if others.peek().is_none() {
            return writeln!(f, "Each test went as above.\n");
        }
        writeln!(f, "What went otherwise than above:\n")?;
        writeln!(f, "| test | above | here |")?;
        writeln!(f, "|---|---|---|")?;
        for (above, here) in others {
            writeln!(f, "| {} | {} | {} |", here.full_name(), word(above), word(here))?;
        }
        writeln!(f)
    }

    fn theirs(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "## tgt\n")?;
        writeln!(f, "Failed: {}.\n", listed(&names(&self.runs.tgt)))?;
        let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for test in self.runs.tgt.with(Outcome::Skipped) {
            let reason = test.reasons.first().map_or("", String::as_str);
            reasons.entry(reason).or_default().push(test.full_name());
        }
        writeln!(f, "| left out because | tests |")?;
        writeln!(f, "|---|---|")?;
        for (reason, tests) in reasons {
            writeln!(f, "| {reason} | {} |", tests.join(", "))?;
        }
        writeln!(f)
    }

    fn rfc(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "## RFC 7143\n")?;
        writeln!(
            f,
            "What [rfc7143.md]({}) has in rows and in tests that they name.\n",
            link(rfc::PAGE)
        )?;
        writeln!(f, "| section | rows | without a test | tests |")?;
        writeln!(f, "|---|--:|--:|--:|")?;
        let mut all = Section::default();
        for section in self.rfc {
            let Section { heading, rows, bare, tests } = section;
            writeln!(f, "| {heading} | {rows} | {bare} | {} |", tests.len())?;
            all.rows += rows;
            all.bare += bare;
            all.tests.extend(tests.iter().cloned());
        }
        writeln!(f, "| **all** | {} | {} | {} |\n", all.rows, all.bare, all.tests.len())
    }

    fn clients(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Clients and versions\n")?;
        let [suite, tgt] = &self.versions;
        writeln!(
            f,
            "Here `iscsi-test-cu` was that of libiscsi-bin {suite}, and the other target tgt {tgt}.\n\
             [interop.md]({}) says which other clients have passed, with which versions, and when.",
            link(record::PAGE)
        )
    }
}

fn word(test: &Test) -> &'static str {
    match test.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "left out",
        Outcome::Unfinished => "no end",
    }
}

/// Both pages lie in `docs/`.
fn link(page: &str) -> &str {
    page.rsplit('/').next().unwrap_or(page)
}

/// The tests that failed or did not end.
fn names(report: &Report) -> Vec<String> {
    let failed = report.with(Outcome::Failed).map(|test| test.full_name());
    let hung =
        report.with(Outcome::Unfinished).map(|test| format!("{} (no end)", test.full_name()));
    failed.chain(hung).collect()
}

/// The same, each with the number of paths, the block size and the reason, if there is one.
fn failures(report: &Report) -> impl Iterator<Item = (String, usize, u32, &'static str)> {
    let Setting { paths, block_size } = report.setting;
    let failed = [Outcome::Failed, Outcome::Unfinished];
    failed.into_iter().flat_map(|outcome| report.with(outcome)).map(move |test| {
        let why = skips::fault(test, report.setting).map_or("**an error**", |fault| fault.why);
        (test.full_name(), paths, block_size, why)
    })
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Counts {
    passed: u32,
    /// Also those without an end.
    failed: u32,
    skipped: u32,
}

impl Counts {
    fn of(report: &Report) -> Self {
        let mut counts = Self::default();
        report.tests.iter().for_each(|test| counts.add(test.outcome));
        counts
    }

    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed | Outcome::Unfinished => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }

    fn all(self) -> u32 {
        self.passed + self.failed + self.skipped
    }

    fn in_words(self) -> String {
        let Self { passed, failed, skipped } = self;
        format!("{passed} passed, {failed} failed, {skipped} left out")
    }
}

/// Three cells; what there is none of is left empty, so that the rest stands out.
impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut cells = String::new();
        for (index, count) in [self.passed, self.failed, self.skipped].into_iter().enumerate() {
            let before = if index == 0 { "" } else { " | " };
            match count {
                0 => write!(cells, "{before}·")?,
                count => write!(cells, "{before}{count}")?,
            }
        }
        f.write_str(&cells)
    }
}

fn families(report: &Report) -> BTreeMap<&str, Counts> {
    let mut families: BTreeMap<&str, Counts> = BTreeMap::new();
    for test in &report.tests {
        families.entry(&test.family).or_default().add(test.outcome);
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts_each_family_beside_the_peer_and_gives_each_skip_its_reason() {
        let skip = "    [SKIPPED] Logical unit is not removable. Skipping test.\npassed\n";
        let ours =
            format!("Suite: A\n  Test: X ...passed\nSuite: PreventAllow\n  Test: Y ...{skip}");
        let theirs =
            "Suite: A\n  Test: X ...    [FAILED] no\nFAILED\nSuite: PreventAllow\n  Test: Y ...\n";
        let runs = Runs {
            memory: Report::read(&ours),
            file: Report::read(&ours.replace("Y ...", "Y ...passed")),
            small_blocks: Report::read(&ours),
            large_blocks: Report::read(&ours),
            sanitize: Report::read("Suite: Sanitize\n  Test: Z ...passed\n"),
            read_only: Report::read("Suite: ReadOnly\n  Test: Z ...passed\n"),
            tgt: Report::read(theirs),
        };
        let page = Page { runs: &runs, rfc: &[], versions: ["1", "2"].map(str::to_owned) };
        let page = page.to_string();
        for line in [
            "| A | 1 | 1 | · | · | · | 1 | · |",
            "| PreventAllow | 1 | · | · | 1 | · | 1 | · |",
            "| **all** | 2 | 1 | · | 1 | · | 2 | · |",
            "Failed: A.X, PreventAllow.Y (no end).",
            "| PreventAllow.Y | left out | passed |",
            "whose physical blocks are the logical ones: 1 passed, 0 failed, 1 left out. Each test went as above.",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
        }
        assert!(
            page.contains("| PreventAllow.Y | Logical unit is not removable. Skipping test. | The")
        );
        assert!(!page.contains("Failed by Outband") && !page.contains("a gap"), "{page}");
    }
}

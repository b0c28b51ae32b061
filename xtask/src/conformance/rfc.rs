//! The totals of `docs/rfc7143.md`: rows of its tables and the tests they name.

use std::collections::BTreeSet;

pub(super) const PAGE: &str = "docs/rfc7143.md";

/// One heading of the page and what its tables hold.
#[derive(PartialEq, Eq, Default, Debug)]
pub(super) struct Section {
    pub(super) heading: String,
    pub(super) rows: usize,
    /// Rows that name no test.
    pub(super) bare: usize,
    /// `path.rs::name` of every test, each once.
    pub(super) tests: BTreeSet<String>,
}

/// The sections that have a table with a column of tests.
pub(super) fn sections(page: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let (mut column, mut rows_begun) = (None, false);
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push(Section { heading: heading.to_owned(), ..Section::default() });
        }
        let Some(cells) = line.strip_prefix('|') else {
            (column, rows_begun) = (None, false);
            continue;
        };
        let cells: Vec<&str> = cells.trim_end().trim_end_matches('|').split('|').collect();
        if cells.iter().all(|cell| cell.trim().chars().all(|letter| "-: ".contains(letter))) {
            rows_begun = true;
        } else if !rows_begun {
            column = cells.iter().position(|cell| cell.trim().starts_with("test"));
        } else if let (Some(column), Some(section)) = (column, sections.last_mut()) {
            section.count(cells.get(column).copied().unwrap_or_default());
        }
    }
    sections.retain(|section| section.rows > 0);
    sections
}

impl Section {
    /// Places in the code may look like tests, so only the column of tests is read.
    fn count(&mut self, tests: &str) {
        self.rows += 1;
        if tests.trim().is_empty() || tests.trim() == "-" || tests.trim() == "—" {
            self.bare += 1;
        }
        let quoted = tests.split('`').skip(1).step_by(2);
        let named = quoted.filter(|words| words.contains(".rs::")).map(str::to_owned);
        self.tests.extend(named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_the_tests_they_name_are_counted() {
        let page = "
# RFC 7143

## Login (§6.3)

Words, and a table without tests:

| key | value |
|---|---|
| a | b |

| rule | where | test |
|---|---|---|
| one | `a.rs::place` | `t.rs::first`, `t.rs::second` |
| two | `b.rs` | `t.rs::first` |
| three | `b.rs` | |

## Nothing here
";
        let tests = ["t.rs::first", "t.rs::second"].map(str::to_owned).into();
        let heading = "Login (§6.3)".to_owned();
        assert_eq!(sections(page), [Section { heading, rows: 3, bare: 1, tests }]);
    }
}

//! Tables, for the terminal and as Markdown, and the same as JSON.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Common;
use super::contestant::UNIT;
use super::sample::{Median, Sample};
use super::workload::Workload;
use crate::failure::Failure;

/// What one measurement has to say.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) title: &'static str,
    /// Machine, cores, rounds: what the figures depend on.
    pub(super) about: String,
    pub(super) tables: Vec<Table>,
    pub(super) json: Value,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) heading: String,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Page {
    /// Prints it, and writes the files that are wanted.
    pub(super) fn publish(&self, common: &Common) -> Result<(), Failure> {
        print!("\n{self}");
        if let Some(path) = &common.md {
            write(path, &self.to_string())?;
        }
        if let Some(path) = &common.json {
            let whole = json!({ "title": self.title, "about": self.about, "figures": self.json });
            write(path, &format!("{whole:#}\n"))?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(Failure::at(path))
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}\n\n{}", self.title, self.about)?;
        self.tables.iter().try_for_each(|table| write!(f, "\n{table}"))
    }
}

impl fmt::Display for Table {
    /// Markdown whose columns stand below each other: the first to the left, figures to the right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        let lines = || std::iter::once(&columns).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        writeln!(f, "## {}\n", self.heading)?;
        for (index, line) in lines().enumerate() {
            let mut text = String::from("|");
            for (column, cell) in line.iter().enumerate() {
                let width = width(column);
                match column {
                    0 => write!(text, " {cell:width$} |")?,
                    _ => write!(text, " {cell:>width$} |")?,
                }
            }
            writeln!(f, "{text}")?;
            if index == 0 {
                let rule = |column| match column {
                    0 => format!("{}|", "-".repeat(width(column) + 2)),
                    _ => format!("{}:|", "-".repeat(width(column) + 1)),
                };
                let rules: String = (0..columns.len()).map(rule).collect();
                writeln!(f, "|{rules}")?;
            }
        }
        Ok(())
    }
}

/// One contestant at one kind of work.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) workload: Workload,
    /// Its place among the labels.
    pub(super) contestant: usize,
    /// One for each round.
    pub(super) samples: Vec<Sample>,
}

/// A whole comparison.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) about: String,
    pub(super) labels: Vec<String>,
    pub(super) rows: Vec<Row>,
}

const COLUMNS: [&str; 9] =
    ["", "a second", "least–most", "MiB/s", "p50 µs", "p99 µs", "server µs", "client µs", "× tgt"];

impl Comparison {
    /// A table for each kind of work, in the order of the rows.
    pub(super) fn page(&self) -> Page {
        let mut tables: Vec<Table> = Vec::new();
        for row in &self.rows {
            let name = row.workload.name;
            if tables.last().is_none_or(|table| table.heading != name) {
                let mut columns = COLUMNS.to_vec();
                columns.extend(row.workload.base.map(|_| "× plain"));
                tables.push(Table { heading: name.to_owned(), columns, rows: Vec::new() });
            }
            let table = tables.last_mut().expect("there is one now");
            table.rows.push(self.cells(row));
        }
        let about = format!(
            "{}\n\n\
             Medians. CPU is for one request; of *local fio* it is fio's. *× tgt* is the ratio to \
             tgt's `rdwr` on tmpfs at the same work, *× plain* to the same server without what the \
             heading adds. NBD peers are driven by the same generator, speaking NBD. `*` marks \
             figures of which some were disturbed by other processes.",
            self.about
        );
        let title = "The target beside others";
        Page { title, about, tables, json: self.json() }
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let median = Median::of(&row.samples);
        let mark = if median.noisy > 0 { " *" } else { "" };
        let ratio = |other: Option<f64>| {
            other.map_or_else(|| "–".to_owned(), |other| format!("{:.2}", median.iops / other))
        };
        let mut cells = vec![
            self.labels[row.contestant].clone(),
            format!("{:.0}{mark}", median.iops),
            format!("{:.0}–{:.0}", median.iops_least, median.iops_most),
            format!("{:.0}", median.mib_s),
            waited(median.p50_us),
            waited(median.p99_us),
            format!("{:.2}", median.server_us),
            format!("{:.2}", median.client_us),
            ratio(self.unit(row)),
        ];
        cells.extend(row.workload.base.map(|base| ratio(self.iops(base, row.contestant))));
        cells
    }

    /// What the unit of all ratios does at this work.
    fn unit(&self, row: &Row) -> Option<f64> {
        let unit = self.labels.iter().position(|label| label == UNIT)?;
        self.iops(row.workload.name, unit)
    }

    fn iops(&self, workload: &str, contestant: usize) -> Option<f64> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.workload.name == workload && row.contestant == contestant)?;
        Some(Median::of(&row.samples).iops).filter(|iops| *iops > 0.0)
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let median = Median::of(&row.samples);
            json!({
                "workload": row.workload.name,
                "contestant": self.labels[row.contestant],
                "median": median,
                "of_tgt": self.unit(row).map(|unit| median.iops / unit),
                "runs": row.samples,
            })
        });
        rows.collect()
    }
}

/// The loop without a protocol looks at the clock for each request at depth 1 only.
fn waited(us: f64) -> String {
    if us > 0.0 { format!("{us:.1}") } else { "–".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::workload::{BASIC, FULL};
    use super::*;

    fn row(workload: Workload, contestant: usize, iops: [f64; 3]) -> Row {
        let sample = |iops| Sample { iops, ..Sample::default() };
        Row { workload, contestant, samples: iops.map(sample).to_vec() }
    }

    #[test]
    fn ratios_are_to_the_unit_and_to_the_plain_work_of_the_same_server() {
        let comparison = Comparison {
            about: "A machine.".into(),
            labels: vec!["outband, memory".into(), UNIT.into()],
            rows: vec![
                row(BASIC[1], 0, [900.0, 800.0, 100.0]),
                row(BASIC[1], 1, [100.0, 100.0, 100.0]),
                row(FULL[0], 0, [760.0, 760.0, 760.0]),
            ],
        };
        let page = comparison.page();
        assert_eq!(page.tables.len(), 2);
        assert_eq!(page.tables[0].rows[0][1..3], ["800", "100–900"]);
        assert_eq!(page.tables[0].rows[0][8], "8.00");
        assert_eq!(page.tables[1].rows[0][8..], ["–", "0.95"]);
        assert_eq!(page.json[0]["of_tgt"], 8.0);
        assert_eq!(page.json[2]["of_tgt"], Value::Null);
    }

    #[test]
    fn a_table_is_markdown_in_columns() {
        let table = Table {
            heading: "Work".into(),
            columns: vec!["", "µs"],
            rows: vec![vec!["one".into(), "1.5".into()], vec!["another".into(), "100.25".into()]],
        };
        let wanted = "## Work\n\n\
                      |         |     µs |\n\
                      |---------|-------:|\n\
                      | one     |    1.5 |\n\
                      | another | 100.25 |\n";
        assert_eq!(table.to_string(), wanted);
    }
}

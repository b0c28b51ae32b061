//! What a command says: tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Failure, chain};

#[derive(Args, Debug, Clone, Copy)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Show a table, or JSON for programs
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", global = true)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Output {
    /// Shows `value` as JSON, or as the text that `human` makes of it.
    pub(crate) fn show<T: Serialize + ?Sized>(&self, value: &T, human: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Table => say(&human(value)),
            Format::Json => {
                let text = serde_json::to_string_pretty(value);
                say(&text.expect("the API's types have string keys"));
            }
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Says why on standard error; the exit status that goes with it.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        let status = failure.exit_status();
        let error = chain(failure);
        if self.is_json() {
            let body = serde_json::json!({ "error": error, "exit_status": status });
            eprintln!("{body}");
        } else {
            eprintln!("outband: {error}");
            if let Some(hint) = failure.hint() {
                eprintln!("  {hint}");
            }
        }
        ExitCode::from(status)
    }
}

/// A line on standard output. Who reads it may have gone (`outband … | head`); that is no failure.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
}

/// Whether escape sequences make sense on standard output.
pub(crate) fn is_colourful() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Rows under a header. Columns named in `right` hold numbers.
pub(crate) fn table(header: &[&str], right: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "none".to_owned();
    }
    let mut table = plain();
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    for (index, name) in header.iter().enumerate() {
        if let (true, Some(column)) = (right.contains(name), table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    finish(&table)
}

/// One thing, a line for each of its sides.
pub(crate) fn details(rows: &[(&str, String)]) -> String {
    let mut table = plain();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([(*name).to_owned(), value.clone()]);
    }
    finish(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn finish(table: &Table) -> String {
    let mut table = table.clone();
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// How long ago a moment was, as people say it. `at` is in seconds since 1970.
pub(crate) fn ago(at: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{} ago", span(now.saturating_sub(at)))
}

/// A moment in seconds since 1970 as RFC 3339 has it, in UTC.
pub(crate) fn date(at: u64) -> String {
    let (days, second) = (at / 86_400, at % 86_400);
    // Civil from days, of the proleptic Gregorian calendar: years begin in March, so that the leap
    // day is the last one of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, date) = (era * 400 + year + month / 10, day - (153 * month + 2) / 5 + 1);
    let month = if month < 10 { month + 3 } else { month - 9 };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds in the largest unit that leaves at least two of it.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Bytes over seconds as disks are measured: 1 MB is 10^6 bytes.
pub(crate) fn megabytes_per_second(bytes: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    bytes / 1e6 / seconds.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_and_no_frame() {
        let rows = vec![vec!["a".into(), "1".into()], vec!["longer".into(), "23".into()]];
        assert_eq!(
            table(&["name", "size"], &["size"], rows),
            "NAME    SIZE\na          1\nlonger    23"
        );
        assert_eq!(table(&["name"], &[], Vec::new()), "none");
    }

    #[test]
    fn details_leave_out_what_is_empty() {
        let rows = [("name", "a".to_owned()), ("host", String::new()), ("size", "1".to_owned())];
        assert_eq!(details(&rows), "name  a\nsize  1");
    }

    #[test]
    fn a_date_is_the_calendars() {
        for (at, said) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
        ] {
            assert_eq!(date(at), said);
        }
    }

    #[test]
    fn a_span_is_said_in_its_largest_unit() {
        for (seconds, said) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (259_200, "3 days")]
        {
            assert_eq!(span(seconds), said);
        }
    }
}

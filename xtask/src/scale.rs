//! `cargo xtask scale`: a station of this build against many simulated units, what that costs, and
//! whether it is as little as promised. Noted in `docs/scale.md`.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::bench::{allow_many_files, machine, release};
use crate::failure::{Failure, root};
use crate::process::{captured, cargo, commit};

const PAGE: &str = "docs/scale.md";
/// In the order in which they grow: each is ten times the one before.
const UNITS: [u32; 3] = [100, 1000, 10_000];
/// One run. Most of it is waiting for steady figures.
const LIMIT: Duration = Duration::from_secs(240);

const BUILD: [&str; 7] = [
    "build",
    "--release",
    "--bins",
    "--package",
    "outband-pool-manager",
    "--package",
    "outband-bench",
];

const HEAD: &str = "# How far one station goes

Written by `cargo xtask scale`; do not edit. One `outband-pool` (release build) and, in one other process, units that
announce themselves by the real announcer and answer the real unit API over TLS, with ten volumes each that the station
has on record; behind that API is a list and no medium. Both processes share the machine's cores, so the station has
less than the two it is meant to have.

- *Join*: from the first datagram until all units are enrolled, have been read, and the station says so.
- *ALIVE*: what the station uses of one core while all units say ALIVE once a second and it looks at their storage now
  and then; nobody asks for anything.
- *Decision*: `outband request --dry-run` by a host, 500 of them one after the other: the choice among all units and the
  way there and back over HTTPS.
- *Volume*: from a host's request until the unit has acknowledged the grant, 50 of them one after the other, with every
  sync to the disk of this machine.
- *Death*: from a unit's last ALIVE until the event is there. Ten missed ALIVEs are ten seconds.
- *Restart*: from SIGKILL and the new start until every unit has been read again.
- *Memory*: the most that the station had at once.
";

/// What `outband-bench-pool` prints.
#[derive(Clone, Debug, Deserialize)]
struct Figures {
    units: u32,
    volumes: u32,
    join_s: f64,
    alive_cores: f64,
    decision_p50_ms: f64,
    decision_p99_ms: f64,
    volume_p50_ms: f64,
    volume_p99_ms: f64,
    death_s: f64,
    restart_s: f64,
    memory_mib: f64,
}

/// One figure, and what is promised of it.
struct Row {
    what: &'static str,
    of: fn(&Figures) -> f64,
    /// It is to be below this at every size.
    limit: Option<f64>,
    /// Below this nothing is said of how it grows: it is mostly what does not depend on the size.
    floor: f64,
}

const ROWS: [Row; 9] = [
    Row { what: "join, s", of: |f| f.join_s, limit: Some(60.0), floor: 1.0 },
    Row { what: "ALIVE, cores", of: |f| f.alive_cores, limit: Some(0.5), floor: 0.02 },
    Row { what: "decision, median, ms", of: |f| f.decision_p50_ms, limit: None, floor: 0.5 },
    Row { what: "decision, p99, ms", of: |f| f.decision_p99_ms, limit: Some(5.0), floor: 1.0 },
    Row { what: "volume, median, ms", of: |f| f.volume_p50_ms, limit: None, floor: 20.0 },
    Row { what: "volume, p99, ms", of: |f| f.volume_p99_ms, limit: None, floor: 50.0 },
    Row { what: "death, s", of: |f| f.death_s, limit: Some(11.0), floor: 11.0 },
    Row { what: "restart, s", of: |f| f.restart_s, limit: Some(30.0), floor: 1.0 },
    Row { what: "memory, MiB", of: |f| f.memory_mib, limit: Some(1024.0), floor: 64.0 },
];

pub(crate) fn run(units: Option<u32>, no_build: bool) -> Result<(), Failure> {
    if !no_build {
        cargo(&BUILD)?;
    }
    allow_many_files()?;
    let sizes = units.map_or_else(|| UNITS.to_vec(), |units| vec![units]);
    let all = sizes.into_iter().map(measure).collect::<Result<Vec<Figures>, _>>()?;
    let table = table(&all);
    print!("{table}");
    let missed = missed(&all);
    if units.is_none() {
        note(&table, &missed)?;
    }
    match missed.is_empty() {
        true => Ok(()),
        false => Err(Failure::wrong(missed.join("\n"))),
    }
}

fn measure(units: u32) -> Result<Figures, Failure> {
    println!("{units} units");
    let mut command = Command::new(release("outband-bench-pool")?);
    command.arg(release("outband-pool")?).args(["--units", &units.to_string()]);
    let said = captured(&mut command, LIMIT)?;
    let figures = said.lines().find_map(|line| serde_json::from_str(line).ok());
    figures.ok_or_else(|| Failure::wrong(format!("outband-bench-pool said {said}")))
}

/// What is not as promised.
fn missed(all: &[Figures]) -> Vec<String> {
    let mut missed = Vec::new();
    for Row { what, of, limit, floor } in &ROWS {
        for figures in all {
            let (value, units) = (of(figures), figures.units);
            if let Some(limit) = limit.filter(|limit| value >= *limit) {
                missed.push(format!("{units} units: {what}: {value:.2}, and {limit} is promised"));
            }
        }
        for pair in all.windows(2) {
            let (few, many) = (of(&pair[0]).max(*floor), of(&pair[1]));
            let times = f64::from(pair[1].units) / f64::from(pair[0].units);
            if many > few * times {
                let units = pair[1].units;
                missed.push(format!("{units} units: {what}: {many:.2}, worse than linear"));
            }
        }
    }
    missed
}

fn table(all: &[Figures]) -> String {
    let mut text = String::from("\n| |");
    let mut line = |start: &str, cells: Vec<String>| {
        let _ = write!(text, "{start}");
        cells.into_iter().for_each(|cell| {
            let _ = write!(text, " {cell} |");
        });
        text.push('\n');
    };
    let sizes = |f: &Figures| format!("{} units, {} volumes", f.units, f.volumes);
    let mut head: Vec<String> = all.iter().map(sizes).collect();
    head.push("promised".to_owned());
    line("", head);
    line("|---|", vec!["---:".to_owned(); all.len() + 1]);
    for Row { what, of, limit, .. } in &ROWS {
        let mut cells: Vec<String> = all.iter().map(|f| format!("{:.2}", of(f))).collect();
        cells.push(limit.map(|limit| format!("< {limit}")).unwrap_or_default());
        line(&format!("| {what} |"), cells);
    }
    text
}

fn note(table: &str, missed: &[String]) -> Result<(), Failure> {
    let (machine, commit) = (machine(), commit()?);
    let mut text = format!("{HEAD}\nMeasured at {commit}, on {machine}.\n{table}");
    if !missed.is_empty() {
        text.push_str("\nNot as promised:\n\n");
        missed.iter().for_each(|line| {
            let _ = writeln!(text, "- {line}");
        });
    }
    let path = root().join(PAGE);
    fs::write(&path, text).map_err(Failure::at(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(units: u32, value: f64) -> Figures {
        Figures {
            units,
            volumes: 10 * units,
            join_s: value,
            alive_cores: 0.0,
            decision_p50_ms: 0.0,
            decision_p99_ms: 0.0,
            volume_p50_ms: 0.0,
            volume_p99_ms: 0.0,
            death_s: 10.5,
            restart_s: 0.0,
            memory_mib: 0.0,
        }
    }

    #[test]
    fn what_is_above_its_limit_or_grows_faster_than_the_pool_is_said() {
        assert!(missed(&[figures(100, 0.2), figures(1000, 9.0)]).is_empty());
        let worse = missed(&[figures(100, 2.0), figures(1000, 21.0)]);
        assert_eq!(worse, ["1000 units: join, s: 21.00, worse than linear"]);
        let above = missed(&[figures(1000, 60.0)]);
        assert_eq!(above, ["1000 units: join, s: 60.00, and 60 is promised"]);
    }

    #[test]
    fn the_table_has_a_column_for_each_size() {
        let table = table(&[figures(100, 0.25), figures(1000, 1.0)]);
        assert!(table.starts_with("\n| | 100 units, 1000 volumes | 1000 units, 10000 volumes |"));
        assert!(table.contains("\n| join, s | 0.25 | 1.00 | < 60 |\n"), "{table}");
    }
}

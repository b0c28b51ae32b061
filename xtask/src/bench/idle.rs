//! What the target costs when there is nothing to do.

use std::time::Duration;

use serde_json::json;

use super::generator;
use super::places::{Cores, machine, tmpfs};
use super::report::{Page, Table};
use super::sample::Sample;
use super::servers::Ours;
use super::workload::{BASIC, Workload};
use crate::failure::Failure;

/// How long one look at a target without a session takes.
const ALONE: Duration = Duration::from_secs(10);

pub(super) fn run(cores: &Cores, sessions: u32, secs: u64) -> Result<Page, Failure> {
    let folder = tmpfs()?;
    let mut ours = Ours::memory(64);
    ours.arguments.extend(["--sessions-per-portal".into(), "4".to_owned()]);
    let target = ours.start(cores, folder.path())?;
    println!("no session, {} s", ALONE.as_secs());
    let alone = generator::watch(cores, ALONE, target.pid())?;
    println!("{sessions} sessions, {secs} s");
    let time = Duration::from_secs(secs);
    let idle = Workload { name: "idle", sessions, ..BASIC[0] };
    let mut command = generator::load(cores, &target.url, &idle, time, target.pid())?;
    command.args(["--active", "0"]);
    let pinged = generator::measure(command, time)?;
    let row =
        |name: String, sample: &Sample| vec![name, format!("{:.3} %", sample.server_cpus * 100.0)];
    let rows = vec![
        row("no session".into(), &alone),
        row(format!("{sessions} sessions, pinged"), &pinged),
    ];
    Ok(Page {
        title: "Idle",
        about: format!("{}; target on core {}.", machine(), cores.server),
        tables: vec![Table {
            heading: "Nothing to do".into(),
            columns: vec!["", "CPU of one core"],
            rows,
        }],
        json: json!({ "alone": alone, "pinged": pinged }),
    })
}

//! Many sessions: what they take from each other, and the memory they cost.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::generator;
use super::places::{Cores, machine, release, tmpfs};
use super::report::{Page, Table};
use super::sample::{Sample, median};
use super::servers::{Ours, Server};
use super::workload::{BASIC, Workload};
use crate::failure::Failure;
use crate::process::captured;

const SESSIONS: [u32; 5] = [1, 8, 64, 512, 2000];
/// So many of them work.
const ACTIVE_MAX: u32 = 64;
const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(3);
const MIB: u32 = 256;
const VOLUMES: u32 = 1000;

pub(super) fn run(cores: &Cores) -> Result<Page, Failure> {
    let folder = tmpfs()?;
    let target = Ours::memory(MIB).start(cores, folder.path())?;
    generator::fill(cores, &target.url)?;
    let mut found: Vec<Vec<Sample>> = vec![Vec::new(); SESSIONS.len()];
    let mut memory = vec![0; SESSIONS.len()];
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        for (index, sessions) in SESSIONS.into_iter().enumerate() {
            found[index].push(load(cores, &target, sessions, sessions.min(ACTIVE_MAX), 4096)?);
            memory[index] = resident(&target, "VmRSS:")?;
        }
    }
    println!("all of {} sessions at full depth", SESSIONS[4]);
    let full = load(cores, &target, SESSIONS[4], SESSIONS[4], 128 << 10)?;
    let most = resident(&target, "VmHWM:")?;
    println!("{VOLUMES} idle volumes");
    let each = volumes()?;
    Ok(Page {
        title: "Scale",
        about: format!(
            "{}; server on core {}, client on core {}; {ROUNDS} rounds of {} s; a volume of {MIB} \
             MiB in memory, which is part of the target's memory.",
            machine(),
            cores.server,
            cores.client,
            TIME.as_secs()
        ),
        tables: vec![sessions(&found, &memory), totals(&full, most, each)],
        json: json!({
            "sessions": SESSIONS,
            "runs": found,
            "resident_kib": memory,
            "full_depth": full,
            "most_resident_kib": most,
            "bytes_of_an_idle_volume": each,
        }),
    })
}

/// 4 KiB reads at depth 32 altogether, or reads at full depth when everybody works.
fn load(
    cores: &Cores,
    target: &Server,
    sessions: u32,
    active: u32,
    block_len: u32,
) -> Result<Sample, Failure> {
    let depth = if active > ACTIVE_MAX { 32 } else { 8 };
    let workload = Workload { sessions, depth, block_len, ..BASIC[1] };
    let mut command = generator::load(cores, &target.url, &workload, TIME, target.pid())?;
    command.args(["--active", &active.to_string()]);
    generator::measure(command, TIME)
}

/// A line of proc_pid_status(5), in KiB.
fn resident(target: &Server, key: &str) -> Result<u64, Failure> {
    let path = format!("/proc/{}/status", target.pid());
    let status = fs::read_to_string(&path).map_err(Failure::at(Path::new(&path)))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.ok_or_else(|| Failure::wrong(format!("{path} has no {key}")))
}

/// Bytes of memory that an idle volume costs.
fn volumes() -> Result<u64, Failure> {
    let mut command = Command::new(release("outband-bench-volumes")?);
    let said = captured(command.arg(VOLUMES.to_string()), Duration::from_secs(120))?;
    let bytes = said.lines().find_map(|line| line.trim().parse().ok());
    bytes.ok_or_else(|| Failure::wrong(format!("outband-bench-volumes said {said}")))
}

fn sessions(found: &[Vec<Sample>], memory: &[u64]) -> Table {
    let iops: Vec<f64> =
        found.iter().map(|samples| median(samples.iter().map(|sample| sample.iops))).collect();
    let best = iops.iter().copied().fold(0.0, f64::max);
    let rows = SESSIONS.iter().zip(found).zip(iops).zip(memory);
    let rows = rows.map(|(((sessions, samples), iops), kib)| {
        let p99 = median(samples.iter().map(|sample| sample.p99_us));
        let at_work = sessions.min(&ACTIVE_MAX);
        vec![
            format!("{sessions}, {at_work} at work"),
            format!("{iops:.0}"),
            format!("{:.2}", iops / best),
            format!("{p99:.1}"),
            format!("{:.1}", mib(*kib)),
        ]
    });
    Table {
        heading: "4K randread, depth 8 each".into(),
        columns: vec!["sessions", "a second", "of the best", "p99 µs", "memory, MiB"],
        rows: rows.collect(),
    }
}

fn totals(full: &Sample, most_kib: u64, volume: u64) -> Table {
    Table {
        heading: "Memory".into(),
        columns: vec!["", ""],
        rows: vec![
            vec![
                format!("{} sessions at depth 32, 128K reads, a second", SESSIONS[4]),
                format!("{:.0}", full.iops),
            ],
            vec!["most memory of the target, MiB".into(), format!("{:.1}", mib(most_kib))],
            vec![format!("one of {VOLUMES} idle volumes, bytes"), volume.to_string()],
        ],
    }
}

#[allow(clippy::cast_precision_loss, reason = "memory in KiB is far below 2^53")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

//! What a greedy session costs a modest one on the same volume.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::generator;
use super::places::{Cores, machine, tmpfs};
use super::report::{Page, Table};
use super::sample::{Sample, median};
use super::servers::Ours;
use super::workload::{BASIC, Workload};
use crate::failure::Failure;
use crate::process::Guard;

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(3);
/// It starts before the modest one and ends after it.
const GREEDY_TIME: Duration = Duration::from_secs(8);
const MIB: u32 = 1024;

const fn greedy(name: &'static str, pattern: &'static str) -> Workload {
    Workload { name, pattern, block_len: 1 << 20, depth: 128, ..BASIC[0] }
}

const GREEDY: [Workload; 2] =
    [greedy("1M read, depth 128", "read"), greedy("1M write, depth 128", "write")];

pub(super) fn run(cores: &Cores) -> Result<Page, Failure> {
    let folder = tmpfs()?;
    let mut ours = Ours::memory(MIB);
    ours.arguments.extend(["--sessions-per-portal", "4"].map(String::from));
    let target = ours.start(cores, folder.path())?;
    generator::fill(cores, &target.url)?;
    let load = |workload, time| generator::load(cores, &target.url, workload, time, target.pid());
    let modest = || generator::measure(load(&BASIC[0], TIME)?, TIME);
    let mut alone = Vec::new();
    let mut beside = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        alone.push(modest()?);
        for (samples, greedy) in beside.iter_mut().zip(&GREEDY) {
            let mut command = load(greedy, GREEDY_TIME)?;
            let started = command.stdout(Stdio::null()).spawn();
            let _greedy = Guard(
                started
                    .map_err(|source| Failure::Io { what: "the greedy session".into(), source })?,
            );
            samples.push(modest()?);
        }
    }
    let json = json!({ "alone": alone, "beside_reads": beside[0], "beside_writes": beside[1] });
    Ok(Page {
        title: "Fairness",
        about: format!(
            "{}; server on core {}, both clients on core {}, in processes of their own; {ROUNDS} \
             rounds of {} s; one volume in memory. Where the clients share a core, they wait for \
             each other, too: the target is better than this.",
            machine(),
            cores.server,
            cores.client,
            TIME.as_secs()
        ),
        tables: vec![table(&alone, &beside)],
        json,
    })
}

fn table(alone: &[Sample], beside: &[Vec<Sample>; 2]) -> Table {
    let p50 = |samples: &[Sample]| median(samples.iter().map(|sample| sample.p50_us));
    let p99 = |samples: &[Sample]| median(samples.iter().map(|sample| sample.p99_us));
    let row = |name: String, samples: &[Sample]| {
        let mut cells = vec![name];
        // Noise alone can make a p99 long enough to hide what a queue does; a p50 it cannot.
        for of in [p50, p99] {
            cells.push(format!("{:.1}", of(samples)));
            cells.push(format!("{:.2}", of(samples) / of(alone)));
        }
        cells
    };
    let mut rows = vec![row("alone".into(), alone)];
    for (samples, greedy) in beside.iter().zip(&GREEDY) {
        rows.push(row(format!("beside {}", greedy.name), samples));
    }
    Table {
        heading: BASIC[0].name.to_owned(),
        columns: vec!["", "p50 µs", "× alone", "p99 µs", "× alone"],
        rows,
    }
}

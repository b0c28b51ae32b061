//! What one request waits: at depth 1 beside a ping-pong with no protocol in it, and the longest of
//! very many at depth 32.

use std::time::Duration;

use serde_json::json;

use super::generator;
use super::places::{Cores, machine, tmpfs};
use super::report::{Page, Table};
use super::sample::{Sample, median};
use super::servers::Ours;
use super::workload::BASIC;
use crate::failure::Failure;

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(3);
const MIB: u32 = 1024;

pub(super) fn run(cores: &Cores, secs: u64) -> Result<Page, Failure> {
    let folder = tmpfs()?;
    let target = Ours::memory(MIB).start(cores, folder.path())?;
    generator::fill(cores, &target.url)?;
    let load = |workload, time| {
        generator::measure(generator::load(cores, &target.url, workload, time, target.pid())?, time)
    };
    let (read, deep) = (&BASIC[0], &BASIC[1]);
    let shape = read.shape().expect("it only reads");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        ours.push(load(read, TIME)?);
        bare.push(generator::limit(cores, shape, read.depth, TIME)?);
    }
    println!("depth 32 for {secs} s");
    let long = load(deep, Duration::from_secs(secs))?;
    Ok(Page {
        title: "Latency",
        about: format!(
            "{}; server on core {}, client on core {}; {ROUNDS} rounds of {} s, then {secs} s at \
             depth 32; a volume in memory.",
            machine(),
            cores.server,
            cores.client,
            TIME.as_secs()
        ),
        tables: vec![beside(&ours, &bare), tail(&long)],
        json: json!({ "depth_1": ours, "ping_pong": bare, "depth_32": long }),
    })
}

fn beside(ours: &[Sample], bare: &[Sample]) -> Table {
    let of = |samples: &[Sample], field: fn(&Sample) -> f64| median(samples.iter().map(field));
    let base = of(bare, |sample| sample.p50_us);
    let row = |name: &str, samples: &[Sample]| {
        let (p50, p99) = (of(samples, |sample| sample.p50_us), of(samples, |sample| sample.p99_us));
        let ratios = [p50 / base, p99 / p50].map(|ratio| format!("{ratio:.2}"));
        [vec![name.to_owned(), format!("{p50:.1}"), format!("{p99:.1}")], ratios.to_vec()].concat()
    };
    Table {
        heading: "4K randread, depth 1".into(),
        columns: vec!["", "p50 µs", "p99 µs", "p50 × ping-pong", "p99 × p50"],
        rows: vec![row("outband, memory", ours), row("blocking ping-pong", bare)],
    }
}

fn tail(long: &Sample) -> Table {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (up_to_us, count) in &long.histogram {
        rows.push(vec![format!("below {up_to_us:.1} µs"), count.to_string()]);
    }
    rows.push(vec!["over 50 ms".into(), long.over_50_ms.to_string()]);
    rows.push(vec!["longest, µs".into(), format!("{:.1}", long.max_us)]);
    Table { heading: "4K randread, depth 32".into(), columns: vec!["", "requests"], rows }
}

//! The comparison: every kind of work, all contestants in turn, several rounds.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::contestant::{Contestant, Field};
use super::places::{Cores, machine};
use super::report::{Comparison, Row};
use super::sample::Sample;
use super::workload::{BASIC, FULL, QUICK, Workload};
use super::{Common, Peer, Store};
use crate::failure::Failure;

/// Starting, filling and ending are not in these.
const QUICK_TIME: Duration = Duration::from_secs(220);
const FULL_TIME: Duration = Duration::from_secs(34 * 60);
/// What a run takes beside being measured: the process, the login, the ramp.
const OVERHEAD: Duration = Duration::from_millis(450);
/// One run's bounds: shorter says nothing, longer says nothing more.
const RUN_LEAST: Duration = Duration::from_millis(400);
const RUN_MOST: Duration = Duration::from_secs(4);
/// A run that others disturbed is tried so often.
const TRIES: u32 = 3;
/// One run of so many may be a repetition.
const SPARE_PART: usize = 4;

#[derive(Args)]
#[group(id = "comparison")]
pub(crate) struct Arguments {
    /// Less work and fewer contestants: under five minutes instead of under forty.
    #[arg(long)]
    quick: bool,
    /// Compare with these only.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Serve from these only.
    #[arg(long, value_delimiter = ',')]
    store: Vec<Store>,
    /// How often everybody has a turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Size of each volume.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(super) size_mib: u32,
    /// Where files are served from, if not from where cargo builds.
    #[arg(long, value_name = "FOLDER")]
    pub(super) folder: Option<PathBuf>,
    /// Another build of `outband-target`, to compare with this one.
    #[arg(long, value_name = "BINARY")]
    pub(super) baseline: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn peers(&self) -> Vec<Peer> {
        let all = vec![Peer::Tgt, Peer::Nbdkit, Peer::Qsd];
        if self.peers.is_empty() { all } else { self.peers.clone() }
    }

    pub(super) fn stores(&self) -> Vec<Store> {
        match (self.store.is_empty(), self.quick) {
            (false, _) => self.store.clone(),
            (true, true) => vec![Store::Memory, Store::File],
            (true, false) => vec![Store::Memory, Store::File, Store::Tmpfs],
        }
    }

    fn workloads(&self) -> Vec<Workload> {
        let more = if self.quick { &QUICK[..] } else { &FULL[..] };
        BASIC.iter().chain(more).copied().collect()
    }
}

pub(super) fn run(arguments: &Arguments, common: &Common, cores: &Cores) -> Result<(), Failure> {
    let field = Field::start(arguments, cores)?;
    let workloads = arguments.workloads();
    let mut rows = rows(&field.contestants, &workloads);
    let rounds = arguments.rounds.max(1);
    let whole = if arguments.quick { QUICK_TIME } else { FULL_TIME };
    let time = time_of_a_run(whole, rows.len(), rounds);
    let seconds = time.as_secs_f64();
    println!("{} measurements, {rounds} rounds, {seconds:.1} s each", rows.len());
    let mut spare = rows.len() * rounds as usize / SPARE_PART;
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        for row in &mut rows {
            let contestant = &field.contestants[row.contestant];
            let measure = || contestant.measure(cores, &row.workload, time);
            let sample = quiet(measure, &mut spare)?;
            println!("{:34} {:40} {:10.0}/s", row.workload.name, contestant.label, sample.iops);
            row.samples.push(sample);
        }
    }
    let labels = field.contestants.iter().map(|contestant| contestant.label.clone()).collect();
    let about = format!(
        "{}; server on core {}, client on core {}; {rounds} rounds of {seconds:.1} s; files of {} \
         MiB on {}.",
        machine(),
        cores.server,
        cores.client,
        arguments.size_mib,
        field.file_system()
    );
    Comparison { about, labels, rows }.page().publish(common)
}

/// By kind of work, so that contestants for the same work have their turns next to each other.
fn rows(contestants: &[Contestant], workloads: &[Workload]) -> Vec<Row> {
    let mut rows = Vec::new();
    for workload in workloads {
        for (index, contestant) in contestants.iter().enumerate() {
            if contestant.takes(workload) {
                rows.push(Row { workload: *workload, contestant: index, samples: Vec::new() });
            }
        }
    }
    rows
}

/// What is left for each run of a comparison that may take `whole`.
fn time_of_a_run(whole: Duration, rows: usize, rounds: u32) -> Duration {
    let runs = u32::try_from(rows).unwrap_or(u32::MAX).saturating_mul(rounds).max(1);
    let runs = runs.saturating_add(runs / 4);
    (whole / runs).saturating_sub(OVERHEAD).clamp(RUN_LEAST, RUN_MOST)
}

/// Measures until nobody else disturbs it, as long as there are spare runs.
fn quiet(
    mut measure: impl FnMut() -> Result<Sample, Failure>,
    spare: &mut usize,
) -> Result<Sample, Failure> {
    let mut best = measure()?;
    for _ in 1..TRIES {
        if !best.is_noisy() || *spare == 0 {
            break;
        }
        *spare -= 1;
        let again = measure()?;
        if again.other_cpus < best.other_cpus {
            best = again;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_shared_out_and_bounded() {
        let hour = Duration::from_secs(3600);
        assert_eq!(time_of_a_run(hour, 100, 3), RUN_MOST);
        assert_eq!(time_of_a_run(Duration::from_secs(10), 100, 3), RUN_LEAST);
        let time = time_of_a_run(Duration::from_secs(250), 100, 2);
        assert_eq!(time, Duration::from_secs(1) - OVERHEAD);
    }

    #[test]
    fn a_disturbed_run_is_repeated_while_there_are_spare_ones() {
        let check = |noise: &[f64], mut spare: usize, kept: f64, left: usize| {
            let mut noise = noise.iter();
            let measure = || {
                let other_cpus = *noise.next().expect("no more runs than that");
                Ok(Sample { other_cpus, ..Sample::default() })
            };
            let sample = quiet(measure, &mut spare).unwrap();
            assert_eq!((sample.other_cpus, spare), (kept, left));
        };
        check(&[0.1], 5, 0.1, 5);
        check(&[0.9, 0.1], 5, 0.1, 4);
        check(&[0.5, 0.9, 0.7], 5, 0.5, 3);
        check(&[0.5], 0, 0.5, 0);
    }
}

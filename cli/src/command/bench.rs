//! `outband bench`: a small load generator over the initiator library.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use outband_initiator::Disk;
use outband_pool_api::Size;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::disks::{HostArgs, Place};
use crate::failure::Failure;
use crate::latency::{self, Latencies};
use crate::link::{StationArgs, time};
use crate::output::{Output, details, megabytes_per_second};
use crate::pattern::{Pattern, Random};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// volume:NAME (through the station), or an iscsi:// URL as outband cp takes it
    volume: Place,
    /// What to do; writing destroys what the volume holds
    #[arg(long, value_enum, default_value = "randread")]
    rw: Mode,
    /// Bytes in a request
    #[arg(long, value_name = "SIZE", default_value = "4K")]
    bs: Size,
    /// Requests in flight
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u32).range(1..=256))]
    depth: u32,
    /// How long, for example 10s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    secs: Duration,
    /// Use only this much of the volume, from its start
    #[arg(long, value_name = "SIZE")]
    span: Option<Size>,
    /// Write, although what the volume holds is lost by it
    #[arg(long)]
    yes_erase: bool,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Randread,
    Randwrite,
    Read,
    Write,
}

impl Mode {
    /// As it is written on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Randread => "randread",
            Self::Randwrite => "randwrite",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

#[derive(Serialize)]
struct Report {
    volume: String,
    rw: Mode,
    block_size: u64,
    depth: u32,
    seconds: f64,
    requests: u64,
    iops: f64,
    megabytes_per_second: f64,
    p50_us: u128,
    p99_us: u128,
    max_us: u128,
}

pub(crate) async fn run(args: Args, station: &StationArgs, output: &Output) -> Result<(), Failure> {
    if args.writes() && !args.yes_erase {
        return Err(Failure::Usage(format!(
            "--rw {} destroys what {} holds; add --yes-erase if it may go",
            args.rw.name(),
            args.volume
        )));
    }
    let disk = args.host.open(&args.volume, station).await?;
    let work = Arc::new(Work::new(&args, &disk)?);
    let started = Instant::now();
    let latencies = load(&args, &disk, &work, started).await;
    let seconds = started.elapsed().as_secs_f64();
    let _ = disk.close().await;
    let latencies = latencies?;
    let requests = latencies.count();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let iops = requests as f64 / seconds;
    let report = Report {
        volume: args.volume.to_string(),
        rw: args.rw,
        block_size: args.bs.0,
        depth: args.depth,
        seconds,
        requests,
        iops,
        megabytes_per_second: megabytes_per_second(requests * args.bs.0, seconds),
        p50_us: latencies.percentile(500).as_micros(),
        p99_us: latencies.percentile(990).as_micros(),
        max_us: latencies.longest().as_micros(),
    };
    output.show(&report, |report| human(report, &latencies));
    Ok(())
}

impl Args {
    fn writes(&self) -> bool {
        matches!(self.rw, Mode::Write | Mode::Randwrite)
    }
}

async fn load(
    args: &Args,
    disk: &Disk,
    work: &Arc<Work>,
    started: Instant,
) -> Result<Latencies, Failure> {
    let mut workers = JoinSet::new();
    for number in 0..args.depth {
        let (disk, work) = (disk.clone(), Arc::clone(work));
        workers.spawn(async move { work.run(&disk, number, started).await });
    }
    let mut all = Latencies::default();
    while let Some(worker) = workers.join_next().await {
        let worker = worker.map_err(|error| Failure::Failed(error.to_string()))?;
        all.merge(&worker.map_err(Failure::disk(format!("the load on {} ended", args.volume)))?);
    }
    Ok(all)
}

/// What every worker does.
struct Work {
    mode: Mode,
    block: u64,
    blocks: u64,
    depth: u64,
    until: Duration,
    seed: u64,
}

impl Work {
    fn new(args: &Args, disk: &Disk) -> Result<Self, Failure> {
        let (block, logical) = (args.bs.0, u64::from(disk.block_size()));
        if block == 0 || block % logical != 0 || block > 64 << 20 {
            return Err(Failure::Usage(format!(
                "--bs must be a multiple of the volume's blocks of {logical} bytes, at most 64M"
            )));
        }
        let capacity = disk.capacity();
        let span = args.span.map_or(capacity, |span| span.0.min(capacity));
        let blocks = span / block;
        if blocks < u64::from(args.depth) {
            return Err(Failure::Usage(format!(
                "{} has room for {blocks} requests of {block} bytes, less than --depth",
                args.volume
            )));
        }
        let seed = Random::seed().map_err(|error| Failure::Failed(error.to_string()))?;
        let (mode, depth) = (args.rw, args.depth.into());
        Ok(Self { mode, block, blocks, depth, until: args.secs, seed })
    }

    /// One request after the other, until the time is up.
    async fn run(
        &self,
        disk: &Disk,
        number: u32,
        started: Instant,
    ) -> Result<Latencies, outband_initiator::Error> {
        let len = usize::try_from(self.block).expect("at most 64 MiB");
        let mut random = Random::new(self.seed ^ u64::from(number));
        let data = Pattern::new(self.seed).data(number.into(), 0, len);
        let mut latencies = Latencies::default();
        let mut next = u64::from(number);
        while started.elapsed() < self.until {
            let block = match self.mode {
                Mode::Randread | Mode::Randwrite => random.below(self.blocks),
                // Worker n does every depth-th block, so that together they go straight on.
                Mode::Read | Mode::Write => next % self.blocks,
            };
            next += self.depth;
            let began = Instant::now();
            match self.mode {
                Mode::Randread | Mode::Read => {
                    disk.read_at(block * self.block, len).await?;
                }
                Mode::Randwrite | Mode::Write => {
                    disk.write_at(block * self.block, data.clone()).await?;
                }
            }
            latencies.add(began.elapsed());
        }
        Ok(latencies)
    }
}

fn human(report: &Report, latencies: &Latencies) -> String {
    let per_mille = |per_mille| latency::show(latencies.percentile(per_mille));
    details(&[
        ("volume", report.volume.clone()),
        (
            "load",
            format!(
                "{}, {} per request, {} in flight, {:.1} s",
                report.rw.name(),
                Size(report.block_size),
                report.depth,
                report.seconds
            ),
        ),
        ("IOPS", format!("{:.0}", report.iops)),
        ("MB/s", format!("{:.1}", report.megabytes_per_second)),
        ("p50", per_mille(500)),
        ("p99", per_mille(990)),
        ("longest", latency::show(latencies.longest())),
    ])
}

//! fio on the local file: what a host with the disk inside would have.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::places::{Cores, pinned};
use super::sample::Sample;
use super::workload::Workload;
use crate::failure::Failure;
use crate::process::{captured, tool};

/// fio starts slowly.
const GRACE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Output {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    read: Direction,
    write: Direction,
    usr_cpu: f64,
    sys_cpu: f64,
}

#[derive(Deserialize)]
struct Direction {
    iops: f64,
    bw_bytes: f64,
    total_ios: u64,
    clat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    #[serde(default)]
    percentile: std::collections::BTreeMap<String, f64>,
}

/// io_uring with O_DIRECT; `durable` adds O_DSYNC, which is what write policy *normal* promises.
pub(super) fn measure(
    cores: &Cores,
    file: &Path,
    workload: &Workload,
    durable: bool,
    time: Duration,
) -> Result<Sample, Failure> {
    let fio = tool("fio")?;
    let output = captured(
        command(cores, &fio, file, workload, time)?.args(durable.then_some("--sync=dsync")),
        time + GRACE,
    )?;
    sample(&output)
}

fn command(
    cores: &Cores,
    fio: &Path,
    file: &Path,
    workload: &Workload,
    time: Duration,
) -> Result<Command, Failure> {
    let mut command = pinned(&cores.client, fio)?;
    let (pattern, mix) = workload.pattern.split_once(':').unwrap_or((workload.pattern, "100"));
    command.args(["--name=local", "--thread", "--ioengine=io_uring", "--direct=1"]);
    command.args(["--norandommap", "--randrepeat=0", "--time_based", "--output-format=json"]);
    command.arg(format!("--filename={}", file.display()));
    command.args([format!("--rw={pattern}"), format!("--rwmixread={mix}")]);
    command.args([format!("--bs={}", workload.block_len), format!("--iodepth={}", workload.depth)]);
    command.arg(format!("--runtime={}ms", time.as_millis()));
    Ok(command)
}

/// fio says other things before its JSON.
fn sample(output: &str) -> Result<Sample, Failure> {
    let start = output.find('{').unwrap_or(output.len());
    let mut stream = serde_json::Deserializer::from_str(&output[start..]).into_iter::<Output>();
    let job = match stream.next() {
        Some(Ok(output)) => output.jobs.into_iter().next(),
        _ => None,
    };
    let job = job.ok_or_else(|| Failure::wrong("fio said what cannot be read"))?;
    let both = |field: fn(&Direction) -> f64| field(&job.read) + field(&job.write);
    let main = if job.read.total_ios >= job.write.total_ios { &job.read } else { &job.write };
    let part = |key: &str| main.clat_ns.percentile.get(key).copied().unwrap_or_default() / 1e3;
    let iops = both(|direction| direction.iops);
    Ok(Sample {
        iops,
        mib_s: both(|direction| direction.bw_bytes) / f64::from(1 << 20),
        p50_us: part("50.000000"),
        p99_us: part("99.000000"),
        p999_us: part("99.900000"),
        // Percent of one core over the run.
        own_us: if iops > 0.0 { (job.usr_cpu + job.sys_cpu) * 1e4 / iops } else { 0.0 },
        ..Sample::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_and_the_cpu_are_read() {
        let direction = |iops: u32| {
            format!(
                "{{\"iops\":{iops},\"bw_bytes\":{},\"total_ios\":{iops},\
                 \"clat_ns\":{{\"percentile\":{{\"50.000000\":9000}}}}}}",
                iops * 4096
            )
        };
        let output = format!(
            "note: something\n{{\"jobs\":[{{\"read\":{},\"write\":{},\
             \"usr_cpu\":10.0,\"sys_cpu\":40.0}}]}}\nmore",
            direction(700),
            direction(300)
        );
        let sample = sample(&output).unwrap();
        assert!((sample.iops - 1000.0).abs() < 1e-9);
        assert!((sample.p50_us - 9.0).abs() < 1e-9);
        assert!((sample.own_us - 500.0).abs() < 1e-9);
        assert!((sample.mib_s - 3.906_25).abs() < 1e-9);
    }
}

//! Runs of `outband-bench-load`, the client of every server that is measured.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::places::{Cores, pinned, release};
use super::sample::Sample;
use super::workload::Workload;
use crate::failure::Failure;
use crate::process::{Guard, captured};

const NAME: &str = "outband-bench-load";
/// What a run may take beyond its time: logins of thousands, and answers to what is in flight.
const GRACE: Duration = Duration::from_secs(60);
/// Run before it is measured.
const RAMP: Duration = Duration::from_millis(300);

/// A load on `url`, on the client's cores. `server` is the process whose CPU is the server's.
pub(super) fn load(
    cores: &Cores,
    url: &str,
    workload: &Workload,
    time: Duration,
    server: u32,
) -> Result<Command, Failure> {
    let mut command = pinned(&cores.client, release(NAME)?)?;
    command.args(["run", url, "--json", "--pattern", workload.pattern]);
    command.args(["--block", &workload.block_len.to_string()]);
    command.args(["--depth", &workload.depth.to_string()]);
    command.args(["--sessions", &workload.sessions.to_string()]);
    command.args(["--seconds", &time.as_secs_f64().to_string()]);
    command.args(["--ramp", &RAMP.as_secs_f64().to_string()]);
    command.args(["--server", &server.to_string()]);
    if workload.digests {
        command.args(["--header-digest", "--data-digest"]);
    }
    Ok(command)
}

/// Runs a load and reads what it found.
pub(super) fn measure(mut load: Command, time: Duration) -> Result<Sample, Failure> {
    read(&captured(&mut load, time + RAMP + GRACE)?)
}

/// Writes the whole volume once, so that nothing is read from nowhere.
pub(super) fn fill(cores: &Cores, url: &str) -> Result<(), Failure> {
    let mut fill = pinned(&cores.client, release(NAME)?)?;
    captured(fill.args(["fill", url]), Duration::from_secs(300)).map(|_| ())
}

/// Looks on for `time`: what a process uses with no load on it.
pub(super) fn watch(cores: &Cores, time: Duration, server: u32) -> Result<Sample, Failure> {
    let mut watch = pinned(&cores.client, release(NAME)?)?;
    watch.args(["watch", "--seconds", &time.as_secs_f64().to_string()]);
    watch.args(["--server", &server.to_string()]);
    read(&captured(&mut watch, time + GRACE)?)
}

/// Round trips with no protocol: `request_len` bytes there, `reply_len` back.
pub(super) fn limit(
    cores: &Cores,
    (request_len, reply_len): (u32, u32),
    depth: u32,
    time: Duration,
) -> Result<Sample, Failure> {
    let (request, reply) = (request_len.to_string(), reply_len.to_string());
    let mut shape = vec!["--request", &request, "--reply", &reply];
    // With one request in flight there is nothing to gather.
    if depth == 1 {
        shape.push("--blocking");
    }
    let mut echo = pinned(&cores.server, release(NAME)?)?;
    let echo = echo.arg("echo").args(&shape).stdin(Stdio::null()).stdout(Stdio::piped());
    let what = |source| Failure::Io { what: "the loop without a protocol".into(), source };
    let mut echo = Guard(echo.spawn().map_err(what)?);
    let stdout = echo.0.stdout.take().expect("standard output is a pipe");
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address).map_err(what)?;
    let mut client = pinned(&cores.client, release(NAME)?)?;
    client.args(["limit", address.trim()]).args(&shape);
    client.args(["--depth", &depth.to_string(), "--seconds", &time.as_secs_f64().to_string()]);
    client.args(["--pid", &echo.0.id().to_string()]);
    let sample: Sample = read(&captured(&mut client, time + GRACE)?)?;
    let payload = f64::from(request_len.abs_diff(reply_len));
    Ok(Sample { mib_s: sample.iops * payload / f64::from(1 << 20), ..sample })
}

/// The line of JSON in what a run printed.
fn read<T: DeserializeOwned>(output: &str) -> Result<T, Failure> {
    let line = output.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    serde_json::from_str(line)
        .map_err(|error| Failure::wrong(format!("{NAME} said what cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found_between_other_lines() {
        let output = "a warning\n{\"iops\":5.0,\"own_us\":1.0,\"server_us\":2.0}\n";
        let sample: Sample = read(output).unwrap();
        assert_eq!((sample.iops, sample.own_us, sample.server_us), (5.0, 1.0, 2.0));
        assert!(read::<Sample>("nothing").is_err());
        assert!(read::<Sample>("{\"iops\":true}").is_err());
    }
}

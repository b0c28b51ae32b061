//! The binary `outband-bench-pool`: what a station of many units costs, and how fast it is.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use outband_bench::crowd::station::Station;
use outband_bench::crowd::{Crowd, Failure, seed};
use outband_pool_api::{Client, Placed, Size, VolumeRequest, Wait};
use serde::Serialize;

/// Runs a station against simulated units and prints what was measured, as JSON
#[derive(Parser, Debug)]
#[command(name = "outband-bench-pool")]
struct Cli {
    /// The program `outband-pool`
    station: PathBuf,
    /// Units
    #[arg(long, default_value_t = 100)]
    units: usize,
    /// Volumes on each of them, which the station knows
    #[arg(long, default_value_t = 10)]
    volumes_each: usize,
    /// Seconds over which the cost of ALIVE is measured
    #[arg(long, default_value_t = 20)]
    steady: u64,
}

/// Seconds, milliseconds and MiB, as the names say.
#[derive(Debug, Serialize)]
struct Figures {
    units: usize,
    volumes: usize,
    /// From the first STARTUP until the station has read all units and says that they are joined.
    join_s: f64,
    /// Of one core, while every unit says ALIVE once a second and nobody asks for anything.
    alive_cores: f64,
    /// A host's `--dry-run`: the decision, and the way there and back over HTTPS.
    decision_p50_ms: f64,
    decision_p99_ms: f64,
    /// A volume from the request to the grant.
    volume_p50_ms: f64,
    volume_p99_ms: f64,
    /// From a unit's last ALIVE until the event says that it is down.
    death_s: f64,
    /// From SIGKILL and the new start until all other units have been read again.
    restart_s: f64,
    memory_mib: u64,
}

/// For any one thing that should happen.
const PATIENCE: Duration = Duration::from_secs(150);
const LOOK: Duration = Duration::from_millis(50);
const DECISIONS: usize = 500;
const VOLUMES: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let figures = measure(&Cli::parse()).await?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn measure(cli: &Cli) -> Result<Figures, Failure> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    seed::write(&state, cli.units, cli.volumes_each).await?;
    let mut station = Station::new(&cli.station, &state)?;
    let client = station.start()?;
    let join_token = client.join_token().await?.token;

    let begun = Instant::now();
    let token = join_token.expose();
    let crowd = Crowd::start(cli.units, cli.volumes_each, token, station.announce()).await?;
    until_read(&crowd, cli.units).await?;
    until_joined(&client, cli.units).await?;
    let join_s = begun.elapsed().as_secs_f64();

    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, from) = (station.cpu()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(cli.steady)).await;
    let alive_cores = (station.cpu()? - before).as_secs_f64() / from.elapsed().as_secs_f64();

    let host = client.add_host("asker", "iqn.2026-11.test:asker").await?;
    let asker = station.client_of(&client, host.token)?;
    let mut decisions = decisions(&asker).await?;
    let mut volumes = volumes(&asker).await?;
    let death_s = death(&crowd, &client).await?;
    let memory_before = station.memory_mib()?;

    station.kill()?;
    crowd.forget_readers();
    let begun = Instant::now();
    let client = station.start()?;
    until_read(&crowd, cli.units - 1).await?;
    until_joined(&client, cli.units - 1).await?;
    Ok(Figures {
        units: cli.units,
        volumes: cli.units * cli.volumes_each,
        join_s,
        alive_cores,
        decision_p50_ms: quantile(&mut decisions, 50),
        decision_p99_ms: quantile(&mut decisions, 99),
        volume_p50_ms: quantile(&mut volumes, 50),
        volume_p99_ms: quantile(&mut volumes, 99),
        death_s,
        restart_s: begun.elapsed().as_secs_f64(),
        memory_mib: station.memory_mib()?.max(memory_before),
    })
}

async fn until_read(crowd: &Crowd, units: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    while crowd.read() < units {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} of {units} units were read", crowd.read()).into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The station says so itself.
async fn until_joined(client: &Client, units: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let counts = client.pool().await?.units;
        if usize::try_from(counts.joined)? >= units {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("of {units} units: {counts:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn ask() -> VolumeRequest {
    VolumeRequest { size: Size(1 << 30), ..VolumeRequest::default() }
}

async fn decisions(asker: &Client) -> Result<Vec<f64>, Failure> {
    let mut taken = Vec::new();
    for number in 0..=DECISIONS {
        let begun = Instant::now();
        let Placed { unit, why, .. } = asker.place(&ask()).await?;
        unit.ok_or(why)?;
        // The first one is the connection's.
        if number > 0 {
            taken.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(taken)
}

async fn volumes(asker: &Client) -> Result<Vec<f64>, Failure> {
    let mut taken = Vec::new();
    for number in 0..VOLUMES {
        let begun = Instant::now();
        let key = format!("volume-{number}");
        let job = asker.request_volume(&ask(), &key, Wait::AtMost(PATIENCE)).await?;
        job.result.ok_or_else(|| format!("no volume: {:?}", job.error))?;
        taken.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(taken)
}

async fn death(crowd: &Crowd, client: &Client) -> Result<f64, Failure> {
    let known = client.events(0).await?.last().map_or(0, |event| event.number);
    let name = crowd.silence_one();
    let last = crowd.last_words().ok_or("it never said anything")?;
    loop {
        let events = client.events(known).await?;
        if events.iter().any(|event| event.kind == "unit-down" && event.subject == name) {
            return Ok(last.elapsed().as_secs_f64());
        }
        if last.elapsed() > PATIENCE {
            return Err("nobody notices its death".into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The value that so many percent do not exceed.
fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(place).copied().unwrap_or(f64::NAN)
}

//! The demo's steps, in order. Each says what it shows, fails if it did not happen, and sums up in
//! one line.

use std::time::{Duration, Instant};

use outband_initiator::{Disk, LoginStatus};
use outband_pool_api::{Host as PoolHost, Job, Size, Unit, UnitState, Volume};

use super::churn::{Churn, Churned, read_straight, write_straight};
use super::hosts::Host;
use super::lab::{Lab, Media, POOL};
use super::show::{Passed, Show};
use super::stay;
use crate::command::unit;
use crate::disks::refusal;
use crate::failure::Failure;
use crate::latency;
use crate::output::{details, megabytes_per_second, table};

const MIB: u64 = 1 << 20;
const A_SIZE: Size = Size(1024 * MIB);
const B_SIZE: Size = Size(256 * MIB);
const B_SECOND_SIZE: Size = Size(32 * MIB);
const MEMORY_SIZE: Size = Size(256 * MIB);

/// Of the straight run of each host, whichever is reached first.
const STRAIGHT_BYTES: u64 = 256 * MIB;
const STRAIGHT_TIME: Duration = Duration::from_secs(3);
const RANDOM_TIME: Duration = Duration::from_millis(1500);
const RANDOM_DEPTH: u32 = 16;
/// Of the load that goes on while the pool changes.
const STEADY_DEPTH: u32 = 4;
/// How long that load goes on after the pool has changed.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// How long the station stays away at least.
const AWAY: Duration = Duration::from_secs(1);
/// For units to join, and for the station to know again what it knew.
const PATIENCE: Duration = Duration::from_secs(20);
/// An orderly stop must be noticed sooner than silence would be: that takes three seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Each later load on the same blocks has a higher number.
const TURN_ALONE: u32 = 1;
const TURN_JOIN: u32 = 2;
const TURN_KILL: u32 = 3;

pub(super) async fn run(lab: &mut Lab, show: &Show, stays: bool) -> Result<(), Failure> {
    show.text("Outband demo: a station, units and hosts on this machine, over loopback");
    show.text(&format!("files are in {} and go away at the end", lab.path("").display()));
    station(lab, show).await?;
    units(lab, show).await?;
    let (a, mut b) = hosts(lab, show).await?;
    let figures = tokio::select! {
        figures = measured(show, &a, &b) => figures?,
        ended = lab.child_ended() => return Err(ended),
    };
    refused(lab, show, &a, &mut b).await?;
    let disk = a.open().await?;
    fourth_unit(lab, show, &a, &disk).await?;
    station_killed(lab, show, &a, &disk).await?;
    // A logout that fails does no harm: everything was read back.
    let _ = disk.close().await;
    unit_leaves(lab, show).await?;
    summary(show, &figures);
    show.done();
    if stays {
        stay::tell(lab, show, &a, &b);
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn station(lab: &mut Lab, show: &Show) -> Result<(), Failure> {
    show.step("A station starts, with an empty store");
    lab.start_station().await?;
    lab.save_join_token().await?;
    show.line("station", &format!("answers at {}, process {}", lab.url(), lab.station_id()));
    show.line("station", "units that know its join token join by themselves (policy auto)");
    show.passed(&format!("pool \"{POOL}\" is there"));
    Ok(())
}

async fn units(lab: &mut Lab, show: &Show) -> Result<(), Failure> {
    show.step("Three units start and join the pool");
    let [first, second] = lab.ground.sizes.files;
    lab.start_unit("unit-1", Media::File(first))?;
    lab.start_unit("unit-2", Media::File(second))?;
    lab.start_unit("unit-3", Media::Memory(MEMORY_SIZE))?;
    let joined = wait_joined(lab, show, 3).await?;
    show.block(&unit::list(&joined));
    show.passed("all joined");
    Ok(())
}

async fn wait_joined(lab: &mut Lab, show: &Show, count: usize) -> Result<Vec<Unit>, Failure> {
    let what = format!("the joining of {count} units");
    lab.until(show, &what, PATIENCE, |client| async move {
        let units = client.units().await?;
        Ok(units.iter().filter(|unit| unit.state == UnitState::Joined).count() == count)
    })
    .await?;
    let mut units = lab.client().units().await?;
    units.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(units)
}

async fn hosts(lab: &mut Lab, show: &Show) -> Result<(Host, Host), Failure> {
    show.step("Hosts A and B are registered and ask the pool for storage");
    let mut a = Host::register(lab, "A").await?;
    let mut b = Host::register(lab, "B").await?;
    lab.show_events(show).await?;
    for (host, size) in [(&mut a, A_SIZE), (&mut b, B_SIZE)] {
        let who = format!("host {}", host.letter);
        show.line(&who, &format!("asks for {size}: POST /v1/volumes, Prefer: wait"));
        let asked = Instant::now();
        let volume = host.request(size).await?.name.clone();
        let took = latency::show(asked.elapsed());
        lab.show_events(show).await?;
        show.line(&who, &format!("has got {volume} after {took}"));
    }
    for host in [&a, &b] {
        show.text("");
        show.block(&granted(host)?);
    }
    show.text("");
    show.passed(&format!("{A_SIZE} and {B_SIZE}, each for its host alone"));
    Ok((a, b))
}

/// What the station told a host: all that an iSCSI initiator needs.
fn granted(host: &Host) -> Result<String, Failure> {
    let (volume, connection) = (host.volume(), host.connection()?);
    Ok(details(&[
        ("host", format!("{}, {}", host.letter, connection.initiator)),
        ("volume", format!("{}, {} on {}", volume.name, volume.size, volume.unit_name)),
        ("portal", connection.portals.join(" ")),
        ("target", connection.target.clone()),
        ("LUN", connection.lun.to_string()),
        ("start LBA", connection.start_lba.to_string()),
        ("end LBA", format!("{}, {} bytes each", connection.end_lba, connection.block_size)),
        ("CHAP user", connection.chap.user.clone()),
        ("secret", format!("{} (shown because this is a demo)", connection.chap.secret.expose())),
    ]))
}

/// What one host measured.
struct Figures {
    letter: &'static str,
    volume: String,
    unit: String,
    write_rate: f64,
    read_rate: f64,
    random: Churned,
}

async fn measured(show: &Show, a: &Host, b: &Host) -> Result<[Figures; 2], Failure> {
    show.step("Each writes random data directly on its unit, and reads it back");
    let figures = [measure(show, a).await?, measure(show, b).await?];
    show.passed("every byte that was read is the one that was written");
    Ok(figures)
}

async fn measure(show: &Show, host: &Host) -> Result<Figures, Failure> {
    let who = format!("host {}", host.letter);
    let disk = host.open().await?;
    show.line(&who, &format!("has logged in to {}", host.connection()?.target));
    let written = write_straight(&disk, host.pattern, STRAIGHT_BYTES, STRAIGHT_TIME).await?;
    let write_rate = megabytes_per_second(written.bytes, written.seconds);
    let bytes = Size(written.bytes);
    show.line(&who, &format!("wrote {bytes} at {write_rate:.0} MB/s and flushed it"));
    let read = read_straight(&disk, host.pattern, written.bytes).await?;
    let read_rate = megabytes_per_second(read.bytes, read.seconds);
    show.line(&who, &format!("read it back at {read_rate:.0} MB/s: every byte is equal"));
    let churn = Churn::start(&disk, host.pattern, RANDOM_DEPTH, TURN_ALONE);
    tokio::time::sleep(RANDOM_TIME).await;
    let random = churn.end().await?;
    show.line(
        &who,
        &format!(
            "did {:.0} IOPS, random reads and writes of 4 KiB, {RANDOM_DEPTH} in flight: all equal",
            random.iops()
        ),
    );
    let _ = disk.close().await;
    Ok(Figures {
        letter: host.letter,
        volume: host.volume().name.clone(),
        unit: host.volume().unit_name.clone(),
        write_rate,
        read_rate,
        random,
    })
}

async fn refused(lab: &mut Lab, show: &Show, a: &Host, b: &mut Host) -> Result<(), Failure> {
    show.step("Host B tries host A's volume");
    let target = &a.connection()?.target;
    show.line("host B", &format!("logs in to {target} by its own name and secret"));
    let mut status = refused_login(show, a, b).await?;
    if status == LoginStatus::AUTHENTICATION_FAILURE {
        let unit = &a.volume().unit_name;
        show.line("host B", &format!("is not known on {unit}, and asks for a volume there"));
        let volume = b.request_at(&lab.client(), B_SECOND_SIZE, unit).await?.name.clone();
        lab.show_events(show).await?;
        show.line("host B", &format!("has got {volume} on {unit}, and tries host A's again"));
        status = refused_login(show, a, b).await?;
    }
    if status != LoginStatus::AUTHORIZATION_FAILURE && status != LoginStatus::NOT_FOUND {
        return Err(Failure::Failed(format!("host B was refused by status {status}, not by 0202")));
    }
    show.passed(&format!("refused: login status {status}"));
    Ok(())
}

async fn refused_login(show: &Show, a: &Host, b: &Host) -> Result<LoginStatus, Failure> {
    match b.try_volume_of(a).await? {
        Ok(_) => Err(Failure::Failed("host B was let in to host A's volume".to_owned())),
        Err(error) => match (&error, refusal(&error)) {
            (outband_initiator::Error::Denied(status), Some(said)) => {
                show.line(&a.volume().unit_name, &format!("refuses: login status {said}"));
                Ok(*status)
            }
            _ => Err(Failure::disk("host B was not refused, its login failed")(error)),
        },
    }
}

async fn fourth_unit(lab: &mut Lab, show: &Show, a: &Host, disk: &Disk) -> Result<(), Failure> {
    show.step("A fourth unit joins while host A reads and writes");
    let churn = Churn::start(disk, a.pattern, STEADY_DEPTH, TURN_JOIN);
    wait_for_load(&churn).await?;
    let fourth = lab.ground.sizes.fourth;
    lab.start_unit("unit-4", Media::File(fourth))?;
    wait_joined(lab, show, 4).await?;
    tokio::time::sleep(AFTERWARDS).await;
    let churned = churn.end().await?;
    told_steady(show, &churned);
    let pause = latency::show(churned.latencies.longest());
    show.passed(&format!("joined; the longest pause host A saw was {pause}"));
    Ok(())
}

/// Until it is really under way.
async fn wait_for_load(churn: &Churn) -> Result<(), Failure> {
    let started = Instant::now();
    while churn.done() < 100 {
        if started.elapsed() > PATIENCE {
            return Err(Failure::Failed("host A's load does not get under way".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// All that the station must know again after it was killed.
#[derive(PartialEq)]
struct Known {
    hosts: Vec<PoolHost>,
    volumes: Vec<Volume>,
    jobs: Vec<Job>,
    units: Vec<(String, u64)>,
}

impl Known {
    async fn ask(client: outband_pool_api::Client) -> Result<Self, outband_pool_api::Error> {
        let units = client.units().await?;
        Ok(Self {
            hosts: client.hosts().await?,
            volumes: client.volumes().await?,
            jobs: client.jobs().await?,
            units: units.into_iter().map(|unit| (unit.name, unit.incarnation)).collect(),
        })
    }
}

async fn station_killed(lab: &mut Lab, show: &Show, a: &Host, disk: &Disk) -> Result<(), Failure> {
    show.step("The station is killed while host A reads and writes, and started again");
    let known = Known::ask(lab.client()).await?;
    let churn = Churn::start(disk, a.pattern, STEADY_DEPTH, TURN_KILL);
    wait_for_load(&churn).await?;
    show.line("station", &format!("process {} gets SIGKILL", lab.station_id()));
    lab.kill_station().await?;
    let (killed, before) = (Instant::now(), churn.done());
    tokio::time::sleep(AWAY).await;
    let meanwhile = churn.done() - before;
    show.line("host A", &format!("has done {meanwhile} requests meanwhile"));
    lab.start_station().await?;
    let away = latency::show(killed.elapsed());
    show.line("station", &format!("process {} answers, {away} later", lab.station_id()));
    wait_joined(lab, show, 4).await?;
    let same = &known;
    lab.until(show, "the same state as before", PATIENCE, |client| async move {
        Ok(Known::ask(client).await? == *same)
    })
    .await?;
    tokio::time::sleep(AFTERWARDS).await;
    let churned = churn.end().await?;
    if meanwhile == 0 {
        return Err(Failure::Failed("host A stood still without the station".to_owned()));
    }
    show.line(
        "station",
        &format!(
            "knows the same {} units, {} hosts, {} volumes and {} jobs as before",
            known.units.len(),
            known.hosts.len(),
            known.volumes.len(),
            known.jobs.len()
        ),
    );
    told_steady(show, &churned);
    let pause = latency::show(churned.latencies.longest());
    show.passed(&format!("state intact; the longest pause host A saw was {pause}"));
    Ok(())
}

fn told_steady(show: &Show, churned: &Churned) {
    let (count, seconds) = (churned.latencies.count(), churned.seconds);
    let what = format!("did {count} requests in {seconds:.1} s, every one of them good");
    show.line("host A", &what);
}

async fn unit_leaves(lab: &mut Lab, show: &Show) -> Result<(), Failure> {
    show.step("The fourth unit is stopped in order");
    let mut unit = lab.take_unit("unit-4");
    show.line("unit-4", &format!("process {} gets SIGTERM", unit.id()));
    let told = Instant::now();
    unit.terminate();
    lab.until(show, "the notice that unit-4 stops", AT_ONCE, |client| async move {
        Ok(client.unit("unit-4").await?.state == UnitState::Left)
    })
    .await?;
    let noticed = latency::show(told.elapsed());
    unit.stopped().await?;
    show.passed(&format!("noticed after {noticed}, and it ended by itself"));
    Ok(())
}

fn summary(show: &Show, figures: &[Figures]) {
    show.heading("Summary");
    let row = |passed: Passed| {
        let Passed { number, title, result, seconds } = passed;
        vec![number.to_string(), title, format!("{seconds:.1} s"), result]
    };
    let rows = show.all_passed().into_iter().map(row).collect();
    show.text(&table(&["", "step", "time", "result"], &["time"], rows));
    show.text("");
    let row = |host: &Figures| {
        vec![
            host.letter.to_owned(),
            host.volume.clone(),
            host.unit.clone(),
            format!("{:.0}", host.write_rate),
            format!("{:.0}", host.read_rate),
            format!("{:.0}", host.random.iops()),
            latency::show(host.random.latencies.percentile(500)),
            latency::show(host.random.latencies.percentile(990)),
        ]
    };
    let header = ["host", "volume", "unit", "write MB/s", "read MB/s", "4K IOPS", "p50", "p99"];
    let right = ["write MB/s", "read MB/s", "4K IOPS", "p50", "p99"];
    show.text(&table(&header, &right, figures.iter().map(row).collect()));
    show.text(&format!(
        "\nEverything that was read was compared with what was written. Done in {:.1} s.",
        show.seconds()
    ));
}

//! `outband status`: the pool on one screen.

use outband_pool_api::{Event, Job, JobState, Load, PoolStatus, Verdict};
use serde::Serialize;

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, ago, details};

/// Events that are shown.
const EVENTS: usize = 5;
/// Lines of one kind, so that all of it stays on a screen of 24 lines.
const LINES: usize = 4;

#[derive(Serialize)]
struct Status {
    verdict: Verdict,
    pool: PoolStatus,
    sessions: u32,
    iops: u64,
    bytes_per_second: u64,
    /// Those that run.
    jobs: Vec<Job>,
    /// The latest, oldest first.
    events: Vec<Event>,
}

pub(crate) async fn run(station: &StationArgs, output: &Output) -> Result<(), Failure> {
    let client = station.client()?;
    let (units, volumes) = (client.units().await?, client.volumes().await?);
    let mut jobs = client.jobs().await?;
    jobs.retain(|job| job.state == JobState::Running);
    let mut events = client.events(0).await?;
    let events = events.split_off(events.len().saturating_sub(EVENTS));
    let load: Load = units.iter().filter_map(|unit| unit.load).sum();
    let pool = client.pool().await?;
    let status = Status {
        verdict: Verdict::of(&pool, &units, &volumes),
        pool,
        sessions: load.sessions,
        iops: load.iops,
        bytes_per_second: load.bytes_per_second,
        jobs,
        events,
    };
    output.show(&status, text);
    Ok(())
}

fn text(status: &Status) -> String {
    let Status { verdict, pool, .. } = status;
    let mut lines = vec![verdict.sentence.clone()];
    let needs = verdict.needs.iter().map(|need| format!("  {} {}", need.name, need.what));
    lines.extend(few(needs.collect()));
    lines.push(String::new());
    let rate = outband_pool_api::Size(status.bytes_per_second);
    lines.push(details(&[
        ("pool", pool.name.clone()),
        ("capacity", format!("{} granted of {}, {} free", pool.granted, pool.total, pool.free)),
        ("load", format!("{} commands/s, {rate}/s, {} sessions", status.iops, status.sessions)),
        ("units", format!("{} joined, {} down", pool.units.joined, pool.units.down)),
        ("volumes", format!("{} for {} hosts", pool.volumes, pool.hosts)),
    ]));
    let job = |job: &Job| {
        let phase = job.phases.last().map_or("", |phase| phase.name.as_str());
        format!("  {} {}: {phase}", job.kind, job.volume)
    };
    section(&mut lines, "running jobs", few(status.jobs.iter().map(job).collect()));
    let event = |event: &Event| {
        let Event { kind, subject, text, .. } = event;
        format!("  {:<12} {kind} {subject}: {text}", ago(event.at_millis / 1000))
    };
    section(&mut lines, "latest events", status.events.iter().map(event).collect());
    lines.join("\n")
}

fn section(lines: &mut Vec<String>, name: &str, of: Vec<String>) {
    if !of.is_empty() {
        lines.push(format!("\n{name}"));
        lines.extend(of);
    }
}

/// The first, and how many more there are.
fn few(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        lines.truncate(LINES);
        lines.push(format!("  and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use outband_pool_api::{Grade, Need, Severity, Size, Subject, UnitCounts};

    use super::*;

    #[test]
    fn whatever_happens_it_fits_a_screen_of_24_lines_and_80_columns() {
        let need = |number: u32| Need {
            grade: Grade::Trouble,
            about: Subject::Unit,
            name: format!("unit-{number}"),
            what: "does not answer".to_owned(),
        };
        let event = |number| Event {
            number,
            at_millis: 0,
            severity: Severity::Error,
            kind: "unit-down".to_owned(),
            subject: format!("unit-{number}"),
            text: "ten ALIVE missed".to_owned(),
        };
        let status = Status {
            verdict: Verdict {
                grade: Grade::Trouble,
                sentence: "Trouble: 30 to be dealt with.".to_owned(),
                needs: (0..30).map(need).collect(),
            },
            pool: PoolStatus {
                name: "main".into(),
                total: Size(4 << 40),
                granted: Size(1 << 40),
                free: Size(3 << 40),
                largest: Size(2 << 40),
                used_percent: 25,
                warnings: vec!["unit-0 does not answer".to_owned()],
                units: UnitCounts { joined: 2, down: 30, ..UnitCounts::default() },
                volumes: 1000,
                hosts: 100,
            },
            sessions: 1000,
            iops: 1_000_000,
            bytes_per_second: 10 << 30,
            jobs: Vec::new(),
            events: (0..5).map(event).collect(),
        };
        let text = text(&status);
        assert!(text.starts_with("Trouble: 30 to be dealt with.\n  unit-0 does not answer\n"));
        assert_eq!(text.matches("unit-0 does not answer").count(), 1, "{text}");
        assert!(text.contains("  and 26 more\n"), "{text}");
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}

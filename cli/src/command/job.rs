//! `outband job`: what was asked for and takes a while.

use clap::Subcommand;
use outband_pool_api::{Job, JobState};
use uuid::Uuid;

use crate::failure::Failure;
use crate::link::{StationArgs, WaitArgs};
use crate::output::{Output, ago, date, details, table};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All jobs that are remembered
    #[command(visible_alias = "list")]
    Ls,
    /// One job and what it has reached
    Show { id: Uuid },
    /// Have a running job taken back
    Cancel {
        id: Uuid,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Ask once more for what a job that failed or was cancelled was to bring about
    Retry {
        id: Uuid,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

pub(crate) async fn run(
    command: Command,
    station: &StationArgs,
    output: &Output,
) -> Result<(), Failure> {
    let client = station.client()?;
    match command {
        Command::Ls => output.show(&client.jobs().await?, |jobs| list(jobs)),
        Command::Show { id } => output.show(&client.job(id).await?, show),
        Command::Cancel { id, wait } => {
            output.show(&client.cancel_job(id, wait.wait()).await?, sentence);
        }
        Command::Retry { id, wait } => {
            output.show(&client.retry_job(id, wait.wait()).await?, sentence);
        }
    }
    Ok(())
}

fn list(jobs: &[Job]) -> String {
    let rows = jobs
        .iter()
        .map(|job| {
            vec![
                job.id.to_string(),
                job.kind.to_string(),
                job.volume.clone(),
                whose(job),
                job.state.to_string(),
                job.actor.clone(),
                ago(job.created),
            ]
        })
        .collect();
    table(&["id", "kind", "volume", "host", "state", "by", "asked"], &[], rows)
}

pub(crate) fn show(job: &Job) -> String {
    let phases: Vec<&str> = job.phases.iter().map(|phase| phase.name.as_str()).collect();
    details(&[
        ("job", job.id.to_string()),
        ("kind", job.kind.to_string()),
        ("volume", job.volume.clone()),
        ("host", whose(job)),
        ("state", job.state.to_string()),
        (
            "progress",
            job.progress.map_or_else(String::new, |p| format!("{} of {}", p.done, p.total)),
        ),
        ("reached", phases.join(" → ")),
        ("note", job.error.as_ref().map(|problem| problem.detail.clone()).unwrap_or_default()),
        ("asked", ago(job.created)),
        ("by", job.actor.clone()),
        ("why", job.reason.clone().unwrap_or_default()),
        ("deadline", job.deadline.map(date).unwrap_or_default()),
        ("ended", job.ended.map(date).unwrap_or_default()),
        ("retry of", job.retry_of.map(|job| job.to_string()).unwrap_or_default()),
    ])
}

fn whose(job: &Job) -> String {
    let host = job.host.clone().unwrap_or_default();
    match &job.to {
        Some(to) => format!("{host} → {to}"),
        None => host,
    }
}

/// For commands whose answer is that it is done.
pub(crate) fn sentence(job: &Job) -> String {
    let Job { kind, id, .. } = job;
    let volume = if job.volume.is_empty() { whose(job) } else { job.volume.clone() };
    match job.state {
        JobState::Done => format!("{kind} {volume}: done"),
        JobState::Running => format!("{kind} {volume}: running; see outband job show {id}"),
        JobState::Failed => format!("{kind} {volume}: failed"),
        JobState::Cancelled => format!("{kind} {volume}: cancelled, and taken back"),
    }
}

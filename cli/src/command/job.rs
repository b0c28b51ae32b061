//! `outband job`: what was asked for and takes a while.

use clap::Subcommand;
use outband_pool_api::{Job, JobState};
use uuid::Uuid;

use crate::failure::Failure;
use crate::link::StationArgs;
use crate::output::{Output, ago, details, table};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All jobs that are remembered
    #[command(visible_alias = "list")]
    Ls,
    /// One job and what it has reached
    Show { id: Uuid },
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
                job.host.clone().unwrap_or_default(),
                job.state.to_string(),
                ago(job.created),
            ]
        })
        .collect();
    table(&["id", "kind", "volume", "host", "state", "asked"], &[], rows)
}

pub(crate) fn show(job: &Job) -> String {
    let phases: Vec<&str> = job.phases.iter().map(|phase| phase.name.as_str()).collect();
    details(&[
        ("job", job.id.to_string()),
        ("kind", job.kind.to_string()),
        ("volume", job.volume.clone()),
        ("host", job.host.clone().unwrap_or_default()),
        ("state", job.state.to_string()),
        ("reached", phases.join(" → ")),
        ("note", job.error.as_ref().map(|problem| problem.detail.clone()).unwrap_or_default()),
        ("asked", ago(job.created)),
    ])
}

/// For commands whose answer is that it is done.
pub(crate) fn sentence(job: &Job) -> String {
    let Job { kind, volume, id, .. } = job;
    match job.state {
        JobState::Done => format!("{kind} {volume}: done"),
        JobState::Running => format!("{kind} {volume}: running; see outband job show {id}"),
        JobState::Failed => format!("{kind} {volume}: failed"),
    }
}

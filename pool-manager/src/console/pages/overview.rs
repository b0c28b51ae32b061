//! The first page: whether storage is well.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use outband_pool_api::{Grade, JobState, Load, Need, PoolStatus, Size, Subject, Verdict};

use super::{Answer, JobRow, Page, shown, volume_path};
use crate::app::KEPT;
use crate::console::Console;
use crate::console::session::Visitor;
use crate::console::words::grouped;

struct NeedRow {
    path: String,
    what: String,
}

struct Plot {
    name: &'static str,
    top: String,
    points: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    page: Page,
    status: PoolStatus,
    class: &'static str,
    sentence: String,
    attention: Vec<NeedRow>,
    /// Not shown here.
    more_attention: usize,
    sessions: u32,
    iops: String,
    rate: Size,
    granted_permille: u64,
    granted_percent: u64,
    plots: [Plot; 2],
    jobs: Vec<JobRow>,
    more_jobs: usize,
}

/// Shown of each list at a glance.
const FEW: usize = 20;

/// The first of them, and how many more there are.
fn few<T>(all: impl Iterator<Item = T>) -> (Vec<T>, usize) {
    let mut all = all.fuse();
    (all.by_ref().take(FEW).collect(), all.count())
}

pub(in crate::console) async fn overview(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
) -> Answer {
    let who = &visitor.who;
    let mut status = at.station.pool_status(who).await?;
    let units = at.station.units(who).await?;
    let volumes = at.station.volumes(who).await?;
    let jobs = at.station.jobs(who).await?;
    let running = jobs.iter().rev().filter(|job| job.state == JobState::Running);
    let (jobs, more_jobs) = few(running.map(JobRow::new));
    let verdict = Verdict::of(&status, &units, &volumes);
    let (attention, more_needs) = few(verdict.needs.iter().map(need_row));
    let more_warnings = status.warnings.len().saturating_sub(FEW);
    status.warnings.truncate(FEW);
    let load: Load = units.iter().filter_map(|unit| unit.load).sum();
    let granted_permille = (u128::from(status.granted.0) * 1000)
        .checked_div(u128::from(status.total.0))
        .map_or(0, |part| u64::try_from(part).unwrap_or(u64::MAX));
    let samples = at.station.history.samples();
    let page = OverviewPage {
        class: match verdict.grade {
            Grade::Well => "",
            Grade::Look => "warn",
            Grade::Trouble => "bad",
        },
        attention,
        more_attention: more_needs + more_warnings,
        sentence: verdict.sentence,
        sessions: load.sessions,
        iops: grouped(load.iops),
        rate: Size(load.bytes_per_second),
        granted_permille,
        granted_percent: granted_permille / 10,
        plots: [
            plot("Commands a second", &samples, |load| load.iops, grouped),
            plot("Data", &samples, |load| load.bytes_per_second, |top| format!("{}/s", Size(top))),
        ],
        jobs,
        more_jobs,
        status,
        page: Page::new(&at, "/", visitor),
    };
    shown(StatusCode::OK, &page)
}

fn need_row(need: &Need) -> NeedRow {
    let (path, kind) = match need.about {
        Subject::Unit => ("/units".to_owned(), "Unit"),
        Subject::Volume => (volume_path(&need.name), "Volume"),
        Subject::Pool => ("/units".to_owned(), "Pool"),
    };
    NeedRow { path, what: format!("{kind} {} {}", need.name, need.what) }
}

/// Newest at the right, one step a sample.
fn plot(
    name: &'static str,
    samples: &[Load],
    figure: impl Fn(&Load) -> u64,
    words: impl Fn(u64) -> String,
) -> Plot {
    let top = samples.iter().map(&figure).max().unwrap_or(0);
    let first = KEPT - samples.len().min(KEPT);
    let height = |value: u64| 98 - u128::from(value) * 96 / u128::from(top.max(1));
    let point = |(step, load): (usize, &Load)| format!("{step},{}", height(figure(load)));
    let points: Vec<String> = (first..).zip(samples).map(point).collect();
    Plot { name, top: words(top), points: points.join(" ") }
}

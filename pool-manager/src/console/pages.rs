//! What the pages show. Templates escape every text, whoever it comes from.

mod figures;
mod history;
mod overview;
mod pager;
mod unit;
mod volumes;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use outband_pool_api::{
    Device, Duty, Job, JobState, Load, NewHost, Problem, Scope, Size, Unit, UnitState, Volume,
};
use uuid::Uuid;

use super::Console;
use super::session::{Said, Visitor, key_of};
use super::words::{grouped, time};
use crate::app::{Action, allows};
use crate::visits::visit;

use pager::Pager;

pub(super) use history::{audit, doctor, events};
pub(super) use overview::overview;
pub(super) use pager::Behind;
pub(super) use unit::{unit, unit_path};
pub(super) use volumes::{Filled, volume, volume_path, volumes, volumes_with};

/// What every page has.
pub(super) struct Page {
    pool: String,
    here: &'static str,
    csrf: String,
    said: Option<Said>,
    scope: Scope,
}

impl Page {
    fn new(at: &Console, here: &'static str, visitor: Visitor) -> Self {
        let (scope, pool) = (visitor.who.scope, at.station.pool.clone());
        let csrf = visitor.csrf.expose().to_owned();
        Self { pool, here, csrf, said: visitor.said, scope }
    }

    /// Whether there is a form for it: who may not has none, and would be refused if he had.
    fn may(&self, action: Action) -> bool {
        allows(self.scope, action)
    }

    fn admits(&self) -> bool {
        self.may(Action::AdmitUnits)
    }

    fn forgets(&self) -> bool {
        self.may(Action::ForgetUnits)
    }

    fn changes(&self) -> bool {
        self.may(Action::ChangeVolumes)
    }

    fn gives(&self) -> bool {
        self.may(Action::GiveVolumes)
    }

    fn runs_units(&self) -> bool {
        self.may(Action::RunUnits)
    }

    fn changes_jobs(&self) -> bool {
        self.may(Action::ChangeJobs)
    }

    fn registers(&self) -> bool {
        self.may(Action::ManageHosts)
    }

    fn is_here(&self, path: &str) -> bool {
        self.here == path
    }

    fn places(&self) -> Vec<(&'static str, &'static str)> {
        let mut places = vec![
            ("/", "Overview"),
            ("/units", "Units"),
            ("/volumes", "Volumes"),
            ("/hosts", "Hosts"),
            ("/jobs", "Jobs"),
            ("/events", "Events"),
            ("/doctor", "Doctor"),
        ];
        if self.may(Action::SeeAudit) {
            places.push(("/audit", "Audit"));
        }
        places
    }
}

/// A page, or why there is none, said on a page's place.
pub(super) struct Refused(Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, format!("{}: {}\n", self.0.title, self.0.detail)).into_response()
    }
}

pub(super) type Answer = Result<Response, Refused>;

pub(super) fn shown(status: StatusCode, page: &impl Template) -> Answer {
    match page.render() {
        Ok(text) => Ok((status, Html(text)).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    pool: String,
    problem: Option<String>,
}

pub(super) async fn login(State(at): State<Arc<Console>>, visitor: Option<Known>) -> Answer {
    match visitor {
        Some(_) => Ok(Redirect::to("/").into_response()),
        None => login_again(&at, StatusCode::OK, None),
    }
}

pub(super) fn login_again(at: &Console, status: StatusCode, problem: Option<String>) -> Answer {
    shown(status, &LoginPage { pool: at.station.pool.clone(), problem })
}

/// Somebody whose cookie names a session.
pub(super) struct Known;

impl axum::extract::OptionalFromRequestParts<Arc<Console>> for Known {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        at: &Arc<Console>,
    ) -> Result<Option<Self>, Self::Rejection> {
        if key_of(&parts.headers).is_none() {
            return Ok(None);
        }
        let visitor =
            <Visitor as axum::extract::FromRequestParts<_>>::from_request_parts(parts, at).await;
        Ok(visitor.ok().map(|_| Self))
    }
}

struct UnitRow {
    id: String,
    path: String,
    duty: Duty,
    name: String,
    state: UnitState,
    class: &'static str,
    waits: bool,
    version: String,
    portals: String,
    heard: String,
    load: String,
    total: Size,
    free: Size,
    devices: Vec<Device>,
    blocks: Vec<Block>,
}

/// A volume's part of its unit's space, in thousandths.
struct Block {
    name: String,
    path: String,
    size: Size,
    from: u64,
    width: u64,
}

#[derive(Template)]
#[template(path = "units.html")]
struct UnitsPage {
    page: Page,
    units: Vec<UnitRow>,
    pager: Pager,
}

pub(super) async fn units(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    behind: Behind,
) -> Answer {
    let mut units = at.station.units(&visitor.who).await?;
    let volumes = at.station.volumes(&visitor.who).await?;
    // Those that want something come first.
    let key = |unit: &Unit| (unit.state != UnitState::Pending, unit.name.clone(), unit.id);
    units.sort_by_cached_key(key);
    let (units, pager) = behind.part("/units", units, key)?;
    let mut on: BTreeMap<Uuid, Vec<&Volume>> = BTreeMap::new();
    for volume in volumes.iter().inspect(|volume| visit(*volume)) {
        on.entry(volume.unit).or_default().push(volume);
    }
    let row = |unit: Unit| {
        let own = on.get(&unit.id).map(Vec::as_slice).unwrap_or_default();
        unit_row(unit, own)
    };
    let units = units.into_iter().map(row).collect();
    shown(StatusCode::OK, &UnitsPage { units, pager, page: Page::new(&at, "/units", visitor) })
}

/// `own`: the volumes that are there.
fn unit_row(unit: Unit, own: &[&Volume]) -> UnitRow {
    let mut from = 0;
    // Of all its media: volumes of memory are among them, and they are no part of its total.
    let whole = unit.devices.iter().map(|device| u128::from(device.total.0)).sum::<u128>().max(1);
    let blocks = own.iter().inspect(|volume| visit(**volume)).map(|volume| {
        let part = u128::from(volume.size.0) * 1000 / whole;
        let width = u64::try_from(part).unwrap_or(1000).clamp(2, 1000);
        let (name, path) = (volume.name.clone(), volume_path(&volume.name));
        let block = Block { name, path, size: volume.size, from, width };
        from += width;
        block
    });
    let heard = |seconds| format!("{seconds} s ago");
    let load = |load: Load| {
        let (iops, rate) = (load.iops, Size(load.bytes_per_second));
        let s = if load.sessions == 1 { "" } else { "s" };
        format!("{} commands a second, {rate}/s, {} session{s}", grouped(iops), load.sessions)
    };
    UnitRow {
        path: unit_path(&unit.id.to_string()),
        duty: unit.duty,
        id: unit.id.to_string(),
        class: match unit.state {
            UnitState::Joined => "good",
            UnitState::Pending | UnitState::Suspect => "warn",
            UnitState::Down => "bad",
            UnitState::Left => "",
        },
        waits: !unit.approved,
        portals: unit.portals.join(", "),
        heard: unit.heard_seconds_ago.map_or_else(|| "not yet".to_owned(), heard),
        load: unit.load.map_or_else(|| "unknown".to_owned(), load),
        blocks: blocks.collect(),
        name: unit.name,
        state: unit.state,
        version: unit.version,
        total: unit.total,
        free: unit.free,
        devices: unit.devices,
    }
}

struct Link {
    name: String,
    path: String,
}

impl Link {
    fn to_volume(name: String) -> Self {
        Self { path: volume_path(&name), name }
    }
}

struct HostRow {
    name: String,
    path: String,
    iqn: String,
    volumes: Vec<Link>,
    since: String,
}

struct Fresh {
    name: String,
    token: String,
    user: String,
    secret: String,
    /// User and secret by which units prove themselves.
    units: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "hosts.html")]
struct HostsPage {
    page: Page,
    hosts: Vec<HostRow>,
    pager: Pager,
    new: Option<Fresh>,
}

pub(super) async fn hosts(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    behind: Behind,
) -> Answer {
    hosts_with(&at, visitor, None, behind).await
}

/// `new`: its credentials are shown, this once.
pub(super) async fn hosts_with(
    at: &Console,
    visitor: Visitor,
    new: Option<NewHost>,
    behind: Behind,
) -> Answer {
    let hosts = at.station.hosts(&visitor.who).await?;
    let (hosts, pager) = behind.part("/hosts", hosts, |host| host.name.clone())?;
    let row = |host: outband_pool_api::Host| HostRow {
        path: format!("/hosts/{}", host.name),
        since: time(host.created),
        name: host.name,
        iqn: host.iqn,
        volumes: host.volumes.into_iter().map(Link::to_volume).collect(),
    };
    let fresh = |new: NewHost| Fresh {
        name: new.host.name,
        token: new.token.expose().to_owned(),
        user: new.chap.user,
        secret: new.chap.secret.expose().to_owned(),
        units: new.chap.mutual.map(|units| (units.user, units.secret.expose().to_owned())),
    };
    let page = HostsPage {
        hosts: hosts.into_iter().map(row).collect(),
        pager,
        new: new.map(fresh),
        page: Page::new(at, "/hosts", visitor),
    };
    shown(StatusCode::OK, &page)
}

struct JobRow {
    path: String,
    /// What can be asked of it: to be taken back, or to be tried again.
    is_running: bool,
    is_undone: bool,
    kind: String,
    volume: Link,
    host: String,
    state: JobState,
    class: &'static str,
    begun: String,
    phase: String,
    why: String,
}

impl JobRow {
    fn new(job: &Job) -> Self {
        Self {
            path: format!("/jobs/{}", job.id),
            is_running: job.state == JobState::Running,
            is_undone: matches!(job.state, JobState::Failed | JobState::Cancelled),
            kind: job.kind.to_string(),
            volume: Link::to_volume(job.volume.clone()),
            host: job.host.clone().unwrap_or_default(),
            state: job.state,
            class: match job.state {
                JobState::Running => "warn",
                JobState::Done => "good",
                JobState::Failed => "bad",
                JobState::Cancelled => "",
            },
            begun: time(job.created),
            phase: job.phases.last().map(|phase| phase.name.clone()).unwrap_or_default(),
            why: job.error.as_ref().map(|error| error.detail.clone()).unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    page: Page,
    jobs: Vec<JobRow>,
    pager: Pager,
}

/// The newest first.
pub(super) async fn jobs(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    behind: Behind,
) -> Answer {
    let mut jobs = at.station.jobs(&visitor.who).await?;
    jobs.reverse();
    let (jobs, pager) = behind.part("/jobs", jobs, |job| Reverse(job.age()))?;
    let jobs = jobs.iter().map(JobRow::new).collect();
    shown(StatusCode::OK, &JobsPage { jobs, pager, page: Page::new(&at, "/jobs", visitor) })
}

//! Volumes: all of them, one of them, and the form for a new one.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use outband_pool_api::{Placed, Size, UnitState, Volume, VolumeState, encoded};

use super::figures::Figures;
use super::pager::{Behind, Pager};
use super::{Answer, JobRow, Page, shown};
use crate::console::Console;
use crate::console::session::Visitor;
use crate::console::words::instructions;
use crate::random;

fn volume_class(state: VolumeState) -> &'static str {
    match state {
        VolumeState::Granted => "good",
        VolumeState::Free => "",
        VolumeState::Pending | VolumeState::Releasing | VolumeState::Deleting => "warn",
        VolumeState::Missing | VolumeState::Conflict | VolumeState::Foreign => "bad",
    }
}

/// A name of a unit's own making may hold anything.
pub(in crate::console) fn volume_path(name: &str) -> String {
    format!("/volumes/{}", encoded(name))
}

struct VolumeRow {
    name: String,
    path: String,
    id: String,
    state: VolumeState,
    class: &'static str,
    is_free: bool,
    size: Size,
    block_size: u32,
    unit: String,
    host: String,
    epoch: u64,
    revision: u64,
    target: String,
    portals: String,
}

impl VolumeRow {
    fn new(volume: &Volume) -> Self {
        let connection = volume.connection.as_ref();
        Self {
            name: volume.name.clone(),
            path: volume_path(&volume.name),
            id: volume.id.to_string(),
            state: volume.state,
            class: volume_class(volume.state),
            is_free: volume.state == VolumeState::Free,
            size: volume.size,
            block_size: volume.block_size,
            unit: volume.unit_name.clone(),
            host: volume.host.clone().unwrap_or_default(),
            epoch: volume.epoch,
            revision: volume.revision,
            target: connection.map(|at| at.target.clone()).unwrap_or_default(),
            portals: connection.map(|at| at.portals.join(", ")).unwrap_or_default(),
        }
    }
}

/// What was filled in, to be corrected.
#[derive(Debug, Default)]
pub(in crate::console) struct Filled {
    pub(in crate::console) size: String,
    pub(in crate::console) host: String,
    pub(in crate::console) name: String,
    pub(in crate::console) unit: String,
    pub(in crate::console) high: bool,
    pub(in crate::console) volatile: bool,
    /// Where it would go, once that was asked for.
    pub(in crate::console) placed: Option<Placed>,
}

#[derive(Template)]
#[template(path = "volumes.html")]
struct VolumesPage {
    page: Page,
    volumes: Vec<VolumeRow>,
    pager: Pager,
    hosts: Vec<String>,
    units: Vec<String>,
    key: String,
    form: Filled,
}

pub(in crate::console) async fn volumes(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    behind: Behind,
) -> Answer {
    volumes_with(&at, visitor, StatusCode::OK, Filled::default(), behind).await
}

pub(in crate::console) async fn volumes_with(
    at: &Console,
    visitor: Visitor,
    status: StatusCode,
    form: Filled,
    behind: Behind,
) -> Answer {
    let (volumes, hosts) =
        (at.station.volumes(&visitor.who).await?, at.station.hosts(&visitor.who).await?);
    let key = |volume: &Volume| (volume.name.clone(), volume.unit);
    let (volumes, pager) = behind.part("/volumes", volumes, key)?;
    let units = at.station.units(&visitor.who).await?;
    let joined = units.into_iter().filter(|unit| unit.state == UnitState::Joined);
    let page = VolumesPage {
        volumes: volumes.iter().map(VolumeRow::new).collect(),
        pager,
        hosts: hosts.into_iter().map(|host| host.name).collect(),
        units: joined.map(|unit| unit.name).collect(),
        // One form makes one volume, however often it is sent.
        key: random::suffix(&*at.station.machine) + &random::suffix(&*at.station.machine),
        form,
        page: Page::new(at, "/volumes", visitor),
    };
    shown(status, &page)
}

#[derive(Template)]
#[template(path = "volume.html")]
struct VolumePage {
    page: Page,
    volume: VolumeRow,
    hosts: Vec<String>,
    job: Option<JobRow>,
    figures: Figures,
    instructions: Vec<(&'static str, String)>,
}

pub(in crate::console) async fn volume(
    State(at): State<Arc<Console>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Answer {
    let volume = at.station.volume(&visitor.who, &name).await?;
    let hosts = at.station.hosts(&visitor.who).await?;
    let job = match volume.job {
        Some(id) => at.station.job(&visitor.who, id).await.ok(),
        None => None,
    };
    let rates = at.station.volume_rates_so_far(&visitor.who, &name).await?;
    let page = VolumePage {
        figures: Figures::of(&rates),
        hosts: hosts.into_iter().map(|host| host.name).collect(),
        job: job.as_ref().map(JobRow::new),
        instructions: volume.connection.as_ref().map(instructions).unwrap_or_default(),
        volume: VolumeRow::new(&volume),
        page: Page::new(&at, "/volumes", visitor),
    };
    shown(StatusCode::OK, &page)
}

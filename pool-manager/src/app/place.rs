//! From what a host asks for to what the allocator is asked; and the allocator's answer as people
//! read it.

use std::collections::BTreeSet;

use outband_pool_api::{Considered, Placed, Placement, Problem, Size, VolumeRequest};
use uuid::Uuid;

use super::hosts::{may_have_more, within_quota};
use super::request::size_of;
use super::{Action, Caller, Station, space, units};
use crate::allocate::{self, Chosen, Pool, choose, explain};
use crate::book::Pages;
use crate::problems;
use crate::records::HostRecord;

impl Station {
    /// Where a volume would be placed now, and why not elsewhere. Nothing is set aside by that; what
    /// would be refused is. Of other units only who may see them is told.
    pub async fn explain_placement(
        &self,
        who: &Caller,
        ask: &VolumeRequest,
    ) -> Result<Placed, Problem> {
        let host = self.well_asked(who, ask)?;
        let host = self.registered(&host).await?;
        may_have_more(&host)?;
        let pages = self.store.pages().await?;
        if let Some(name) = &ask.name {
            self.must_be_new(name, &pages)?;
        }
        let request = request(who, ask, &pages)?;
        let pool = space::pool(&pages, &self.live, counted(ask, &host), self.times());
        let units = match who.may(Action::SeeUnits) {
            true => considered(&pool, &request, ask.volatile),
            false => Vec::new(),
        };
        let placed = |unit, existing, why| Placed { unit, existing, why, units };
        let chosen = match choose(&pool, &request) {
            Ok(chosen) => chosen,
            Err(why) => return Ok(placed(None, None, why.to_string())),
        };
        within_quota(&host, &pages, None, size_of(&chosen))?;
        Ok(match chosen {
            Chosen::New { unit, why, .. } => placed(name(&pool, unit), None, why),
            Chosen::Existing { unit, volume, why } => {
                placed(name(&pool, unit), Some(volume.name), why)
            }
        })
    }
}

fn considered(pool: &Pool, request: &allocate::Request, volatile: bool) -> Vec<Considered> {
    let judged = explain(pool, request).into_iter().zip(&pool.units);
    let row = |(verdict, unit): (allocate::Verdict, &allocate::UnitSpace)| Considered {
        unit: unit.name.to_string(),
        free: Size(if volatile { unit.free_volatile } else { unit.free }),
        fits: verdict.rejection.is_none(),
        why: verdict.rejection.map_or_else(|| "fits".to_owned(), |no| no.to_string()),
    };
    judged.map(row).collect()
}

fn name(pool: &Pool, unit: Uuid) -> Option<String> {
    pool.units.iter().find(|space| space.id == unit).map(|space| space.name.to_string())
}

/// Whose volumes on each unit the placement goes by.
pub(super) fn counted<'a>(ask: &VolumeRequest, host: &'a HostRecord) -> Option<&'a str> {
    (ask.placement == Placement::Spread).then_some(host.name.as_str())
}

/// What the allocator is asked. Of volumes that who asks may not know of it does not learn that they
/// exist.
pub(super) fn request(
    who: &Caller,
    ask: &VolumeRequest,
    pages: &Pages,
) -> Result<allocate::Request, Problem> {
    let units_of = |names: &[String]| -> Result<BTreeSet<Uuid>, Problem> {
        let unit_of = |name: &String| {
            let found = pages.volume(name).filter(|volume| who.may_see(&volume.record));
            let found = found.map(|volume| volume.record.unit);
            found.ok_or_else(|| problems::not_found("volume", name))
        };
        names.iter().map(unit_of).collect()
    };
    Ok(allocate::Request {
        size: ask.size.0,
        block_size: ask.block_size,
        placement: ask.placement,
        pinned: ask.unit.as_ref().map(|unit| units::find(pages, unit)).transpose()?,
        volatile: ask.volatile,
        allow_sanitize: ask.allow_sanitize,
        reuse: ask.name.is_none(),
        labels: ask.labels.clone(),
        near: units_of(&ask.near)?,
        apart: units_of(&ask.apart)?,
        domain: ask.domain.clone(),
    })
}

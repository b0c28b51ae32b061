//! Volumes as the records and as the units' reports have them, each found by what is asked for. Made
//! once for a pass over the pool, so that nothing is searched from end to end for each of many.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::LiveUnit;
use crate::records::{Stored, VolumeRecord};
use crate::unit::VolumeView;
use crate::visits::visit;

type Record = Stored<VolumeRecord>;

/// What the station has written down.
pub(super) struct Recorded<'a> {
    by_name: BTreeMap<&'a str, &'a Record>,
    by_id: BTreeMap<Uuid, &'a Record>,
    by_unit: BTreeMap<Uuid, Vec<&'a Record>>,
    by_job: BTreeMap<Uuid, &'a Record>,
}

impl<'a> Recorded<'a> {
    pub(super) fn of(records: &'a [Arc<Record>]) -> Self {
        let records = || records.iter().map(|stored| &**stored);
        let mut by_unit: BTreeMap<Uuid, Vec<&Record>> = BTreeMap::new();
        for stored in records().inspect(|stored| visit(*stored)) {
            by_unit.entry(stored.record.unit).or_default().push(stored);
        }
        let by = |key: fn(&VolumeRecord) -> Option<Uuid>| {
            records().filter_map(move |stored| Some((key(&stored.record)?, stored))).collect()
        };
        Self {
            by_name: records().map(|stored| (stored.record.name.as_str(), stored)).collect(),
            by_id: by(|record| record.id),
            by_unit,
            by_job: by(|record| record.job),
        }
    }

    /// In the order of their names.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a Record> {
        self.by_name.values().copied().inspect(|stored| visit(*stored))
    }

    /// Those that are to be on one unit.
    pub(super) fn on(&self, unit: Uuid) -> impl Iterator<Item = &'a VolumeRecord> {
        let here = self.by_unit.get(&unit).into_iter().flatten();
        here.map(|stored| &stored.record).inspect(|record| visit(*record))
    }

    pub(super) fn named(&self, name: &str) -> Option<&'a Record> {
        self.by_name.get(name).copied().inspect(|stored| visit(*stored))
    }

    /// The one that a job has made what it is.
    pub(super) fn of_job(&self, job: Uuid) -> Option<&'a Record> {
        self.by_job.get(&job).copied().inspect(|stored| visit(*stored))
    }

    /// Whether a record stands for what a unit reports: by its id, or by its name until that is known.
    pub(super) fn claims(&self, unit: Uuid, seen: &VolumeView) -> bool {
        let waits = |stored: &Record| stored.record.id.is_none() && stored.record.unit == unit;
        self.by_id.contains_key(&seen.id) || self.named(&seen.name).is_some_and(waits)
    }
}

/// What units report. One that reports a volume twice is taken at its word.
pub(super) struct Reported<'a> {
    /// By id, unit and place in the unit's report.
    by_id: BTreeMap<(Uuid, Uuid, usize), &'a VolumeView>,
    by_name: BTreeMap<(&'a str, Uuid, usize), &'a VolumeView>,
}

/// Every unit and place.
const FIRST: (Uuid, usize) = (Uuid::nil(), 0);
const LAST: (Uuid, usize) = (Uuid::max(), usize::MAX);

impl<'a> Reported<'a> {
    pub(super) fn of(live: &'a BTreeMap<Uuid, LiveUnit>) -> Self {
        let (mut by_id, mut by_name) = (BTreeMap::new(), BTreeMap::new());
        for (unit, live) in live {
            let volumes = live.view().into_iter().flat_map(|view| &view.volumes);
            for (place, seen) in volumes.inspect(|seen| visit(*seen)).enumerate() {
                by_id.insert((seen.id, *unit, place), seen);
                by_name.insert((seen.name.as_str(), *unit, place), seen);
            }
        }
        Self { by_id, by_name }
    }

    /// As `reconcile::find` has it.
    pub(super) fn find(&self, want: &VolumeRecord) -> Option<&'a VolumeView> {
        let unit = want.unit;
        let found = match want.id {
            Some(id) => self.by_id.range((id, unit, 0)..=(id, unit, usize::MAX)).next()?.1,
            None => {
                let name = want.name.as_str();
                self.by_name.range((name, unit, 0)..=(name, unit, usize::MAX)).next()?.1
            }
        };
        visit(*found);
        Some(found)
    }

    /// All of one name, in the order of their units.
    pub(super) fn named(&self, name: &'a str) -> impl Iterator<Item = (Uuid, &'a VolumeView)> {
        let all = self.by_name.range((name, FIRST.0, FIRST.1)..=(name, LAST.0, LAST.1));
        all.map(|((_, unit, _), seen)| (*unit, *seen)).inspect(|(_, seen)| visit(*seen))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Uuid, &'a VolumeView)> {
        let all = self.by_id.iter().map(|((_, unit, _), seen)| (*unit, *seen));
        all.inspect(|(_, seen)| visit(*seen))
    }

    fn units_with(&self, id: Uuid) -> impl DoubleEndedIterator<Item = Uuid> {
        let all = self.by_id.range((id, FIRST.0, FIRST.1)..=(id, LAST.0, LAST.1));
        all.map(|((_, unit, _), seen)| (*unit, *seen)).map(|(unit, seen)| {
            visit(seen);
            unit
        })
    }

    /// Two units report the volume: a disk was carried to another one, or copied.
    pub(super) fn is_twofold(&self, id: Uuid) -> bool {
        let mut units = self.units_with(id);
        let first = units.next();
        units.next_back().is_some_and(|last| Some(last) != first)
    }
}

//! The pool as a whole.

use outband_pool_api::{
    Duty, Fullness, PoolStatus, Problem, Size, Unit, UnitCounts, UnitState, VolumeState,
};

use super::{Action, Caller, Station, space, view};
use crate::allocate::{self, UnitSpace};
use crate::capacity::{sum, used_percent};
use crate::records::{UNITS, UnitRecord, VOLUMES, VolumeRecord, load_all};

impl Station {
    /// Tells when the pool has become fuller, or has room again.
    pub async fn judge_capacity(&self) -> Result<(), Problem> {
        let level = Fullness::of(self.pool_status(&Caller::ADMIN).await?.used_percent);
        let before = std::mem::replace(&mut *self.fullness.lock().await, level);
        if before != level {
            self.events.add("pool-capacity", &self.pool, level.to_string());
        }
        Ok(())
    }

    pub async fn pool_status(&self, who: &Caller) -> Result<PoolStatus, Problem> {
        who.must(Action::SeePool)?;
        let units = load_all::<UnitRecord>(&self.store, UNITS).await?;
        let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
        let pool = space::pool(&units, &volumes, &self.live, "", self.times());
        let usable: Vec<&UnitSpace> =
            pool.units.iter().filter(|unit| unit.unfit.is_none()).collect();
        let any = allocate::Request::anywhere(1);
        let shown = view::Shown::load(self).await?;
        let volumes = shown.volumes(who);
        let granted = volumes.iter().filter(|volume| volume.state == VolumeState::Granted);
        let all = shown.units();
        let joined = || all.iter().filter(|unit| unit.state == UnitState::Joined);
        let total = sum(joined().map(|unit| unit.total.0));
        let used_percent = used_percent(total, sum(joined().map(|unit| unit.free.0)));
        Ok(PoolStatus {
            name: self.pool.clone(),
            total: Size(total),
            used_percent,
            warnings: warnings(used_percent, &all),
            granted: Size(sum(granted.map(|volume| volume.size.0))),
            free: Size(sum(usable.iter().map(|unit| unit.free))),
            largest: Size(allocate::largest(&usable, &any)),
            units: counts(&shown),
            volumes: view::count(volumes.len()),
            hosts: view::count(shown.host_count()),
        })
    }
}

/// What the administrator should do something about.
fn warnings(used_percent: u8, units: &[Unit]) -> Vec<String> {
    let level = Fullness::of(used_percent);
    let full = (level != Fullness::Fine).then(|| level.to_string());
    let unit = |unit: &Unit| match (unit.state, unit.duty, unit.quarantined_until) {
        (_, Duty::Maintenance, _) => None,
        (UnitState::Down, ..) => Some(format!("{} does not answer", unit.name)),
        (UnitState::Pending, ..) => Some(format!("{} is not in the pool yet", unit.name)),
        (_, _, Some(_)) => Some(format!("{} was lost too often, and is in quarantine", unit.name)),
        _ => None,
    };
    full.into_iter().chain(units.iter().filter_map(unit)).collect()
}

fn counts(shown: &view::Shown) -> UnitCounts {
    let mut counts = UnitCounts::default();
    for unit in shown.records() {
        *match shown.unit_state(unit) {
            UnitState::Pending => &mut counts.pending,
            UnitState::Joined => &mut counts.joined,
            UnitState::Suspect => &mut counts.suspect,
            UnitState::Down => &mut counts.down,
            UnitState::Left => &mut counts.left,
        } += 1;
    }
    counts
}

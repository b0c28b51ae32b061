//! The pool as a whole.

use outband_pool_api::{Duty, Fullness, PoolStatus, Problem, Size, Unit, UnitCounts, UnitState};

use super::read::Read;
use super::{Action, Caller, Station, space, view};
use crate::allocate::{self, UnitSpace};
use crate::capacity::{Space, sum, used_percent};
use crate::store::StoreError;

impl Station {
    /// Tells when the pool has become fuller, or has room again.
    pub async fn judge_capacity(&self) -> Result<(), StoreError> {
        let Space { total, free } = Read::units(self).await?.space();
        let level = Fullness::of(used_percent(total, free));
        let before = std::mem::replace(&mut *self.fullness.lock().await, level);
        if before != level {
            self.events.add("pool-capacity", &self.pool, level.to_string());
        }
        Ok(())
    }

    pub async fn pool_status(&self, who: &Caller) -> Result<PoolStatus, Problem> {
        who.must(Action::SeePool)?;
        let read = Read::all(self).await?;
        let pool = space::pool(&*self.store.pages().await?, &self.live, None, self.times());
        let usable: Vec<&UnitSpace> =
            pool.units.iter().filter(|unit| unit.unfit.is_none()).collect();
        let any = allocate::Request::anywhere(1);
        let shown = read.shown();
        let units = shown.units();
        let Space { total, free } = read.space();
        let used_percent = used_percent(total, free);
        Ok(PoolStatus {
            name: self.pool.clone(),
            total: Size(total),
            used_percent,
            warnings: warnings(used_percent, &units),
            granted: Size(shown.granted()),
            free: Size(sum(usable.iter().map(|unit| unit.free))),
            largest: Size(allocate::largest(&usable, &any)),
            units: counts(&units),
            volumes: view::count(shown.volume_count()),
            hosts: view::count(read.hosts.len()),
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

fn counts(units: &[Unit]) -> UnitCounts {
    let mut counts = UnitCounts::default();
    for unit in units {
        *match unit.state {
            UnitState::Pending => &mut counts.pending,
            UnitState::Joined => &mut counts.joined,
            UnitState::Suspect => &mut counts.suspect,
            UnitState::Down => &mut counts.down,
            UnitState::Left => &mut counts.left,
        } += 1;
    }
    counts
}

#[cfg(test)]
mod tests;

//! The pool as a whole.

use outband_pool_api::{Placement, PoolStatus, Problem, Size, UnitCounts, UnitState, VolumeState};

use super::{Action, Caller, Station, space, view};
use crate::allocate::{self, UnitSpace};
use crate::records::{UNITS, UnitRecord, VOLUMES, VolumeRecord, load_all};

impl Station {
    pub async fn pool_status(&self, who: &Caller) -> Result<PoolStatus, Problem> {
        who.must(Action::SeePool)?;
        let units = load_all::<UnitRecord>(&self.store, UNITS).await?;
        let volumes = load_all::<VolumeRecord>(&self.store, VOLUMES).await?;
        let pool = space::pool(&units, &volumes, &self.live, "", self.machine.now());
        let usable: Vec<&UnitSpace> = pool.units.iter().filter(|unit| unit.usable).collect();
        let any = allocate::Request {
            size: 1,
            block_size: None,
            placement: Placement::MostFree,
            pinned: None,
            volatile: false,
            allow_sanitize: false,
            reuse: true,
        };
        let shown = view::Shown::load(self).await?;
        let volumes = shown.volumes(who);
        let granted = volumes.iter().filter(|volume| volume.state == VolumeState::Granted);
        let joined = shown.units().into_iter().filter(|unit| unit.state == UnitState::Joined);
        Ok(PoolStatus {
            name: self.pool.clone(),
            total: Size(joined.map(|unit| unit.total.0).sum()),
            granted: Size(granted.map(|volume| volume.size.0).sum()),
            free: Size(usable.iter().map(|unit| unit.free).sum()),
            largest: Size(allocate::largest(&usable, &any)),
            units: counts(&shown),
            volumes: view::count(volumes.len()),
            hosts: view::count(shown.host_count()),
        })
    }
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

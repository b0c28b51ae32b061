//! Volumes that their units have and no record claims.

use std::sync::Arc;

use outband_pool_api::{Problem, Volume};
use uuid::Uuid;

use super::audit::Change;
use super::request::placements;
use super::{Action, Caller, Station};
use crate::problems;
use crate::recognise::{Recognised, recognise};
use crate::reconcile::place;
use crate::records::{
    ATTEMPTS, HostRecord, PLACEMENTS, Undo, VolumeRecord, Wish, encode, load_all, volume_key,
};
use crate::store::{Compare, StoreError, Transaction};
use crate::unit::{UnitView, VolumeView};

impl Station {
    /// Takes up a volume that no record claims, as its unit reports it: with the grant it has, if that
    /// is to a host of this station.
    pub async fn adopt_volume(&self, who: &Caller, name: &str) -> Result<Volume, Problem> {
        who.must(Action::AdmitUnits)?;
        let _turn = self.turn().await;
        for _ in 0..ATTEMPTS {
            let placed = placements(&self.store).await?;
            let key = volume_key(name);
            if self.store.get(&key).await?.is_some() {
                return Err(problems::name_taken("volume", name));
            }
            let (unit, view) = self.only_unit_with(name)?;
            let seen = view.volume_named(name).filter(|seen| !seen.partitioned);
            let seen = seen.ok_or_else(|| problems::foreign(name))?;
            let hosts = load_all::<HostRecord>(&self.store).await?;
            let host_of = |iqn: &str| {
                let host = hosts.iter().find(|host| host.record.iqn == iqn)?;
                Some(host.record.name.clone())
            };
            let unclaimed = unrecorded(unit, seen);
            let Recognised::Keep(record) = recognise(&unclaimed, &view, host_of) else {
                return Err(problems::foreign(name));
            };
            let put = Transaction::new()
                .when(placed.compare)
                .put(PLACEMENTS, placed.next)
                .when(Compare::Absent(key.clone()))
                .put(&key, encode(&*record));
            let change = Change::new("volume-adopt", name).after(&*record);
            if self.commit_audited(who, change, put).await? {
                return self.volume(who, name).await;
            }
        }
        Err(StoreError::Contended.into())
    }

    /// The unit that reports a volume of this name, if it is one, and what it reports.
    fn only_unit_with(&self, name: &str) -> Result<(Uuid, Arc<UnitView>), Problem> {
        let mut found = self.live.named(name).into_iter();
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => Err(problems::foreign(name)),
            (None, _) => Err(problems::not_found("volume", name)),
        }
    }
}

/// A record for a volume that is on its unit already.
pub(super) fn taken_up(seen: &VolumeView, like: VolumeRecord) -> VolumeRecord {
    VolumeRecord {
        id: Some(seen.id),
        name: seen.name.clone(),
        size: seen.size,
        volatile: seen.volatile,
        allow_sanitize: seen.allow_sanitize,
        epoch: seen.floor,
        place: Some(place(seen)),
        ..like
    }
}

pub(super) fn unrecorded(unit: Uuid, seen: &VolumeView) -> VolumeRecord {
    let like = VolumeRecord {
        id: None,
        name: String::new(),
        unit,
        size: 0,
        block_size: None,
        write_policy: outband_pool_api::WritePolicy::Normal,
        volatile: false,
        allow_sanitize: false,
        wish: Wish::Free,
        holder: None,
        epoch: 0,
        settled: true,
        place: None,
        job: None,
        undo: Undo::Nothing,
        failure: None,
        restored: false,
    };
    taken_up(seen, like)
}

//! After a restore: what a record becomes that is older than what its unit reports. The unit is right:
//! `recognise(record, view, host_of)`, a pure function, undoes nothing that was done since.

use crate::reconcile::{find, place};
use crate::records::{Holder, Undo, VolumeRecord, Wish};
use crate::unit::{UnitView, VolumeView};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recognised {
    /// The record as it is from now on.
    Keep(Box<VolumeRecord>),
    /// The record goes. What is on the unit stays, and is shown as foreign.
    Drop,
}

/// `host_of` names the registered host of an initiator name.
pub fn recognise(
    record: &VolumeRecord,
    view: &UnitView,
    host_of: impl Fn(&str) -> Option<String>,
) -> Recognised {
    let rest = VolumeRecord {
        restored: false,
        settled: true,
        undo: Undo::Nothing,
        failure: None,
        ..record.clone()
    };
    match find(record, view) {
        Some(seen) => as_reported(rest, seen, host_of),
        // It was to be erased, and is gone: the record is forgotten by itself.
        None if record.wish == Wish::Deleted => {
            Recognised::Keep(Box::new(VolumeRecord { settled: false, ..rest }))
        }
        // Erased since, or lost: it is shown as missing, and nobody makes another in its place.
        None if record.place.is_some() => Recognised::Keep(Box::new(rest)),
        None => Recognised::Drop,
    }
}

fn as_reported(
    rest: VolumeRecord,
    seen: &VolumeView,
    host_of: impl Fn(&str) -> Option<String>,
) -> Recognised {
    let rest =
        VolumeRecord { id: Some(seen.id), size: seen.size, place: Some(place(seen)), ..rest };
    let kept = match seen.grants.as_slice() {
        // An epoch that was drawn before the backup was made may have named a host.
        [] => VolumeRecord {
            wish: Wish::Free,
            epoch: rest.epoch.max(seen.floor),
            settled: rest.holder.is_none() || rest.epoch <= seen.floor,
            ..rest
        },
        [grant] => match host_of(&grant.iqn) {
            Some(host) => VolumeRecord {
                wish: Wish::Granted,
                holder: Some(Holder { host, iqn: grant.iqn.clone() }),
                epoch: grant.epoch,
                ..rest
            },
            None => return Recognised::Drop,
        },
        _ => return Recognised::Drop,
    };
    Recognised::Keep(Box::new(kept))
}

#[cfg(test)]
mod tests {
    use outband_pool_api::WritePolicy;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::reconcile::{Step, plan};
    use crate::unit::{GrantView, Readiness};

    const ID: Uuid = Uuid::from_u128(7);

    fn any_record() -> impl Strategy<Value = VolumeRecord> {
        let wish = prop_oneof![Just(Wish::Granted), Just(Wish::Free), Just(Wish::Deleted)];
        let undo = prop_oneof![
            Just(Undo::Nothing),
            Just(Undo::Delete),
            Just(Undo::Free),
            Just(Undo::Shrink(1)),
            Just(Undo::Keep(Wish::Granted)),
        ];
        let holder = proptest::option::of("[abx]");
        (wish, undo, holder, 0..9_u64, any::<(bool, bool, bool)>()).prop_map(
            |(wish, undo, holder, epoch, (settled, known, placed))| VolumeRecord {
                id: known.then_some(ID),
                name: "data".into(),
                unit: Uuid::from_u128(1),
                size: 100,
                block_size: None,
                write_policy: WritePolicy::Normal,
                volatile: false,
                allow_sanitize: false,
                wish,
                holder: holder.map(|host| Holder { iqn: format!("iqn.{host}"), host }),
                epoch,
                settled,
                place: (known && placed).then(|| place(&seen(0, Vec::new()))),
                job: None,
                undo,
                failure: None,
                restored: true,
            },
        )
    }

    fn seen(floor: u64, grants: Vec<GrantView>) -> VolumeView {
        VolumeView {
            id: ID,
            name: "data".into(),
            size: 200,
            block_size: 512,
            start_lba: 0,
            end_lba: 9,
            blocks: 10,
            target: "iqn.t".into(),
            lun: 0,
            volatile: false,
            allow_sanitize: false,
            readiness: Readiness::Online,
            partitioned: false,
            floor,
            untouched: false,
            grants,
        }
    }

    fn any_view() -> impl Strategy<Value = UnitView> {
        let grants = proptest::collection::vec(("[abx]", 1..20_u64), 0..3);
        (any::<bool>(), 0..20_u64, grants).prop_map(|(there, floor, grants)| {
            let floor = grants.iter().map(|(_, epoch)| *epoch).max().unwrap_or(0).max(floor);
            let grant = |(host, epoch): &(String, u64)| GrantView {
                iqn: format!("iqn.{host}"),
                epoch: *epoch,
            };
            let volume = seen(floor, grants.iter().map(grant).collect());
            UnitView {
                volumes: there.then_some(volume).into_iter().collect(),
                ..UnitView::default()
            }
        })
    }

    /// "x" was registered after the backup was made.
    fn host_of(iqn: &str) -> Option<String> {
        iqn.strip_prefix("iqn.").filter(|host| *host != "x").map(str::to_owned)
    }

    proptest! {
        #[test]
        fn nothing_that_was_done_since_the_backup_is_undone(
            record in any_record(),
            view in any_view(),
        ) {
            let Recognised::Keep(kept) = recognise(&record, &view, host_of) else {
                return Ok(());
            };
            prop_assert!(!kept.restored);
            let seen = find(&kept, &view);
            let granted: Vec<&str> = seen
                .iter()
                .flat_map(|seen| &seen.grants)
                .map(|grant| grant.iqn.as_str())
                .collect();
            for step in plan(&kept, seen) {
                match step {
                    Step::Settle | Step::Forget | Step::Lost => {}
                    Step::Fence { iqn, .. } => {
                        prop_assert!(!granted.contains(&iqn.as_str()), "a host loses its volume");
                    }
                    step => prop_assert!(false, "it asks the unit for {step:?}"),
                }
            }
            let floor = seen.map_or(0, |seen| seen.floor);
            if seen.is_some() && granted.is_empty() {
                prop_assert!(kept.epoch >= floor && kept.epoch >= record.epoch);
            }
        }
    }
}

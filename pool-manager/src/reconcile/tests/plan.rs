//! The plan, case by case.

use outband_pool_api::WritePolicy;
use uuid::Uuid;

use super::super::*;
use crate::unit::GrantView;

const ID: Uuid = Uuid::from_u128(7);

fn want(wish: Wish, epoch: u64) -> VolumeRecord {
    VolumeRecord {
        id: Some(ID),
        name: "data".into(),
        unit: Uuid::from_u128(1),
        size: 100,
        block_size: None,
        write_policy: WritePolicy::Normal,
        volatile: false,
        allow_sanitize: false,
        wish,
        holder: Some(Holder { host: "a".into(), iqn: "iqn.a".into() }),
        epoch,
        settled: false,
        place: None,
        job: None,
        undo: Undo::Delete,
        failure: None,
        restored: false,
    }
}

fn seen(floor: u64, grants: &[(&str, u64)]) -> VolumeView {
    VolumeView {
        id: ID,
        name: "data".into(),
        size: 100,
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
        untouched: floor == 0,
        grants: grants
            .iter()
            .map(|(iqn, epoch)| GrantView { iqn: (*iqn).into(), epoch: *epoch })
            .collect(),
    }
}

fn fence(iqn: &str, epoch: u64) -> Step {
    Step::Fence { iqn: iqn.into(), epoch }
}

#[test]
fn a_grant_is_given_and_then_seen() {
    let want = want(Wish::Granted, 1);
    assert_eq!(plan(&VolumeRecord { id: None, ..want.clone() }, None), [Step::Create]);
    assert_eq!(plan(&want, Some(&seen(0, &[]))), [Step::Grant]);
    assert_eq!(plan(&want, Some(&seen(1, &[("iqn.a", 1)]))), [Step::Settle]);
    let settled = VolumeRecord { settled: true, ..want };
    assert_eq!(plan(&settled, Some(&seen(1, &[("iqn.a", 1)]))), []);
}

#[test]
fn another_hosts_grant_is_fenced_before_anything_is_given() {
    let steps = plan(&want(Wish::Granted, 5), Some(&seen(4, &[("iqn.b", 4)])));
    assert_eq!(steps, [fence("iqn.b", 4), Step::Grant]);
}

#[test]
fn an_epoch_the_volume_has_seen_is_never_sent_again() {
    let want = want(Wish::Granted, 3);
    assert_eq!(plan(&want, Some(&seen(3, &[]))), [Step::Draw { epoch: 4 }]);
    assert_eq!(plan(&want, Some(&seen(9, &[]))), [Step::Draw { epoch: 10 }]);
    // After a restore of the station from an old backup.
    let restored = plan(&want, Some(&seen(7, &[("iqn.b", 7)])));
    assert_eq!(restored, [fence("iqn.b", 7), Step::Draw { epoch: 8 }]);
}

#[test]
fn a_volume_is_free_only_when_a_late_grant_would_be_refused() {
    let want = want(Wish::Free, 2);
    assert_eq!(plan(&want, Some(&seen(2, &[("iqn.a", 2)]))), [fence("iqn.a", 2)]);
    assert_eq!(plan(&want, Some(&seen(1, &[]))), [fence("iqn.a", 2)]);
    assert_eq!(plan(&want, Some(&seen(2, &[]))), [Step::Settle]);
}

#[test]
fn deleting_takes_the_grant_first() {
    let want = want(Wish::Deleted, 2);
    let steps = plan(&want, Some(&seen(2, &[("iqn.a", 2)])));
    assert_eq!(steps, [fence("iqn.a", 2), Step::Delete { id: ID }]);
    assert_eq!(plan(&want, None), [Step::Forget]);
}

#[test]
fn nothing_is_made_in_the_place_of_a_volume_that_is_lost() {
    let place = Some(place(&seen(0, &[])));
    for wish in [Wish::Granted, Wish::Free] {
        assert_eq!(
            plan(&VolumeRecord { place: place.clone(), ..want(wish, 1) }, None),
            [Step::Lost]
        );
    }
}

#[test]
fn a_volume_under_the_wanted_name_is_ours_only_if_nobody_ever_had_it() {
    let want = VolumeRecord { id: None, ..want(Wish::Granted, 1) };
    assert_eq!(plan(&want, Some(&seen(0, &[]))), [Step::Adopt { id: ID }]);
    assert_eq!(plan(&want, Some(&seen(1, &[]))), [Step::NameTaken]);
    let deleted = VolumeRecord { wish: Wish::Deleted, ..want };
    assert_eq!(plan(&deleted, Some(&seen(1, &[("iqn.z", 1)]))), [Step::Forget]);
}

#[test]
fn growing_comes_before_granting_and_clearing_is_waited_for() {
    let want = want(Wish::Granted, 1);
    let small = VolumeView { size: 50, ..seen(0, &[]) };
    assert_eq!(plan(&want, Some(&small)), [Step::Grow, Step::Grant]);
    let zeroing = VolumeView { readiness: Readiness::Zeroing, ..seen(0, &[]) };
    assert_eq!(plan(&want, Some(&zeroing)), [Step::Wait]);
}

#[test]
fn a_volume_that_is_gone_before_anybody_was_told_of_it_is_made_again() {
    let taken_up = VolumeRecord { place: None, settled: false, ..want(Wish::Granted, 1) };
    assert_eq!(plan(&taken_up, None), [Step::Disown]);
    assert_eq!(plan(&VolumeRecord { id: None, ..taken_up }, None), [Step::Create]);
}

#[test]
fn a_grow_that_was_taken_for_lost_is_taken_note_of() {
    let want = VolumeRecord { settled: true, ..want(Wish::Free, 1) };
    let seen = VolumeView { size: want.size + 1, ..seen(1, &[]) };
    assert_eq!(plan(&want, Some(&seen)), [Step::Settle]);
}

fn back(undo: Undo, wish: Wish) -> Option<VolumeRecord> {
    let want = VolumeRecord { undo, ..want(wish, 4) };
    taken_back(&want, problems::cancelled("admin"))
}

#[test]
fn what_is_cancelled_goes_back_to_what_it_was() {
    let other = Holder { host: "b".into(), iqn: "iqn.b".into() };
    let table = [
        (back(Undo::Delete, Wish::Granted), Wish::Deleted, 4),
        (back(Undo::Free, Wish::Granted), Wish::Free, 4),
        (back(Undo::Shrink(50), Wish::Granted), Wish::Granted, 4),
        (back(Undo::Keep(Wish::Free), Wish::Deleted), Wish::Free, 4),
        (back(Undo::Keep(Wish::Granted), Wish::Free), Wish::Granted, 5),
        (back(Undo::Return(other.clone()), Wish::Granted), Wish::Granted, 5),
    ];
    for (back, wish, epoch) in table {
        let back = back.unwrap();
        assert_eq!((back.wish, back.epoch, back.settled), (wish, epoch, false));
        assert!(back.failure.is_some());
    }
    assert_eq!(back(Undo::Return(other.clone()), Wish::Granted).unwrap().holder, Some(other));
    assert_eq!(back(Undo::Nothing, Wish::Deleted), None, "it may have been erased already");
}

#[test]
fn a_late_fence_does_not_end_what_a_cancelled_release_gives_back() {
    let back = back(Undo::Keep(Wish::Granted), Wish::Free).unwrap();
    // Its fence has not arrived, and may still do so.
    let steps = plan(&back, Some(&seen(4, &[("iqn.a", 4)])));
    assert_eq!(steps, [fence("iqn.a", 4), Step::Grant]);
    assert_eq!(plan(&back, Some(&seen(4, &[]))), [Step::Grant], "and it has the epoch 5");
}

use super::*;
use crate::fake_unit::{FakeUnit, names};
use crate::machine::Os;

const A: &str = "iqn.2026-01.example:a";
const B: &str = "iqn.2026-01.example:b";

struct World {
    unit: Arc<FakeUnit>,
    keeper: Arc<Keeper<FakeUnit>>,
}

async fn world() -> World {
    let store = Arc::new(Store::in_memory().unwrap());
    let unit = Arc::new(FakeUnit::new(Arc::clone(&store)));
    let keeper = Keeper::open(Arc::clone(&unit), store, names(), Os::shared()).await.unwrap();
    unit.take_steps();
    World { unit, keeper: Arc::new(keeper) }
}

fn grant(subject: &str, host: &str, epoch: u64) -> Grant {
    let body = format!(r#"{{"subject":"{subject}","host":"{host}","epoch":{epoch}}}"#);
    serde_json::from_str(&body).unwrap()
}

fn fence(subject: &str, host: &str, epoch: u64) -> Fence {
    Fence { subject: subject.parse().unwrap(), host: host.to_owned(), epoch: Epoch(epoch) }
}

/// Polls until `so`, a bounded number of times.
async fn until(so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if so() {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("it never came to that");
}

#[tokio::test]
async fn a_grant_raises_the_devices_floor_then_is_stored_then_reaches_the_shards() {
    let world = world().await;
    let info = world.keeper.grant(grant("v", A, 5)).await.unwrap();
    assert_eq!(info.target, "iqn.2026-11.local.outband:main:v");
    let steps = world.unit.take_steps();
    assert_eq!(
        steps,
        ["device floor 5 [stored floor 0]", "publish v@5 [stored floor 5, granted 5]"]
    );
}

#[tokio::test]
async fn a_fence_closes_the_gate_stores_drains_and_only_then_acknowledges() {
    let world = world().await;
    world.keeper.grant(grant("v", A, 5)).await.unwrap();
    world.unit.take_steps();
    let fenced = world.keeper.fence(fence("v", A, 5), None).await.unwrap();
    assert_eq!(fenced, Fenced { floor: Epoch(5) });
    let steps = world.unit.take_steps();
    let expected = [
        "close gate 5 [stored floor 5, granted 5]",
        "device floor 5 [stored floor 5, granted 5]",
        "publish  [stored floor 5]",
        "drain 5 [stored floor 5]",
        "drained 5 [stored floor 5]",
    ];
    assert_eq!(steps, expected);
}

#[tokio::test]
async fn the_same_grant_again_is_answered_the_same_and_does_nothing() {
    let world = world().await;
    let first = world.keeper.grant(grant("v", A, 5)).await.unwrap();
    world.unit.take_steps();
    assert_eq!(world.keeper.grant(grant("v", A, 5)).await.unwrap(), first);
    assert!(world.unit.take_steps().is_empty());
}

#[tokio::test]
async fn a_fence_is_carried_out_again_when_it_is_asked_for_again() {
    let world = world().await;
    world.keeper.fence(fence("v", A, 5), None).await.unwrap();
    world.unit.take_steps();
    world.keeper.fence(fence("v", A, 5), None).await.unwrap();
    let steps = world.unit.take_steps();
    assert_eq!(steps.first().unwrap(), "close gate 5 [stored floor 5]");
    assert_eq!(steps.last().unwrap(), "drained 5 [stored floor 5]");
}

#[tokio::test]
async fn a_new_epoch_of_the_same_host_drains_the_old_one_first() {
    let world = world().await;
    world.keeper.grant(grant("v", A, 5)).await.unwrap();
    world.unit.take_steps();
    world.keeper.grant(grant("v", A, 6)).await.unwrap();
    let steps = world.unit.take_steps();
    let drained = steps.iter().position(|step| step.starts_with("drained 5")).unwrap();
    let published = steps.iter().position(|step| step.starts_with("publish v@6")).unwrap();
    assert!(drained < published, "{steps:?}");
}

#[tokio::test]
async fn a_stale_epoch_is_refused_by_the_stores_floor_and_by_the_devices() {
    let world = world().await;
    world.keeper.fence(fence("v", A, 5), None).await.unwrap();
    let refused = world.keeper.grant(grant("v", A, 5)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refused::StaleEpoch { floor: Epoch(5), .. })));

    // As on a device that was used elsewhere.
    world.unit.device_floors.lock().unwrap().insert("v".to_owned(), Epoch(9));
    let refused = world.keeper.grant(grant("v", A, 8)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refused::StaleEpoch { floor: Epoch(9), .. })));
    assert_eq!(world.keeper.table().await.grants().count(), 0);
    world.keeper.grant(grant("v", A, 10)).await.unwrap();
}

#[tokio::test]
async fn a_grant_cut_short_after_the_device_is_finished_by_the_same_request() {
    let world = world().await;
    world.unit.raise_floor("v", Epoch(5)).await.unwrap();
    world.keeper.grant(grant("v", A, 5)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_or_not_ready_is_not_granted() {
    let world = world().await;
    for (subject, state) in [
        ("w", VolumeState::Online),
        ("v.p3", VolumeState::Online),
        ("v", VolumeState::Zeroing),
        ("v", VolumeState::Incomplete),
    ] {
        world.unit.volumes.lock().unwrap()[0].state = state;
        let refused = world.keeper.grant(grant(subject, A, 5)).await.unwrap_err();
        assert!(matches!(refused, Error::Unit(_)), "{subject} {state:?}");
    }
    world.unit.volumes.lock().unwrap()[0].state = VolumeState::Faulted;
    world.keeper.grant(grant("v.p2", A, 5)).await.unwrap();
}

#[tokio::test]
async fn what_is_granted_is_not_removed() {
    let world = world().await;
    world.keeper.grant(grant("v.p1", A, 5)).await.unwrap();
    let volume = Subject::whole("v").unwrap();
    let part = |number| Subject::part("v", number).unwrap();
    let conflict = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::Unit(UnitError::Conflict(_)))));
    };
    conflict(world.keeper.delete_volume(volume.clone(), None).await);
    conflict(world.keeper.delete_partition(part(1)).await);
    world.keeper.delete_partition(part(2)).await.unwrap();
    world.keeper.revoke(part(1)).await.unwrap();
    world.keeper.delete_volume(volume, None).await.unwrap();
}

#[tokio::test]
async fn a_fence_goes_on_when_its_caller_hangs_up_and_the_next_grant_waits_for_it() {
    let world = world().await;
    world.keeper.grant(grant("v", A, 5)).await.unwrap();
    world.unit.drains.forget_permits(usize::MAX);
    let keeper = Arc::clone(&world.keeper);
    let caller = tokio::spawn(async move { keeper.fence(fence("v", A, 5), None).await });
    let drains = || world.unit.steps.lock().unwrap().iter().any(|step| step.starts_with("drain 5"));
    until(drains).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());

    let keeper = Arc::clone(&world.keeper);
    let next = tokio::spawn(async move { keeper.grant(grant("v", B, 6)).await });
    // Another volume is not held up, and by the time it is done `next` had its turn.
    world.unit.volumes.lock().unwrap().push(crate::fake_unit::volume("w"));
    world.keeper.grant(grant("w", B, 1)).await.unwrap();
    assert!(!next.is_finished(), "granted while the old host's writes may still land");

    world.unit.drains.add_permits(1);
    next.await.unwrap().unwrap();
    let steps = world.unit.take_steps();
    let at = |what: &str| steps.iter().position(|step| step.starts_with(what)).unwrap();
    assert!(at("drained 5") < at("device floor 6"), "{steps:?}");
}

#[tokio::test]
async fn a_restart_puts_the_stored_table_in_force() {
    let world = world().await;
    world.keeper.grant(grant("v", A, 5)).await.unwrap();
    world.unit.take_steps();
    let (unit, store) = (Arc::clone(&world.unit), Arc::clone(&world.unit.store));
    let again = Keeper::open(unit, store, names(), Os::shared()).await.unwrap();
    assert_eq!(world.unit.take_steps(), ["publish v@5 [stored floor 5, granted 5]"]);
    assert_eq!(again.table().await, world.keeper.table().await);
}

#[tokio::test]
async fn a_later_volume_of_the_same_name_is_untouched_although_the_floor_stays() {
    let world = world().await;
    let inventory = async || {
        let storage = world.keeper.inventory(unit_info()).await.unwrap().storage;
        let volume = storage.volumes.iter().find(|volume| volume.name == "w").unwrap().clone();
        (volume.epoch_floor, volume.untouched)
    };
    let create: VolumeCreate = serde_json::from_str(r#"{"name":"w","size":1048576}"#).unwrap();
    world.keeper.create_volume(create.clone()).await.unwrap();
    assert_eq!(inventory().await, (Epoch(0), false), "it has partitions");
    world.unit.volumes.lock().unwrap().iter_mut().for_each(|volume| volume.partitions.clear());
    assert_eq!(inventory().await, (Epoch(0), true));
    world.keeper.grant(grant("w", A, 5)).await.unwrap();
    world.keeper.fence(fence("w", A, 5), None).await.unwrap();
    world.keeper.delete_volume(Subject::whole("w").unwrap(), None).await.unwrap();
    world.keeper.create_volume(create).await.unwrap();
    world.unit.volumes.lock().unwrap().iter_mut().for_each(|volume| volume.partitions.clear());
    assert_eq!(inventory().await, (Epoch(5), true));
}

#[tokio::test]
async fn a_fence_that_comes_late_leaves_the_next_volume_of_the_name_untouched() {
    let world = world().await;
    let create: VolumeCreate = serde_json::from_str(r#"{"name":"w","size":1048576}"#).unwrap();
    let gone = world.keeper.create_volume(create.clone()).await.unwrap().id;
    world.keeper.delete_volume(Subject::whole("w").unwrap(), Some(gone)).await.unwrap();
    let next = world.keeper.create_volume(create).await.unwrap().id;
    assert_ne!(next, gone);
    // The device's floor is the volume's own, by which it is told whether it was ever given.
    let raised = || world.unit.take_steps().iter().any(|step| step.starts_with("device floor"));
    let fenced = world.keeper.fence(fence("w", A, 5), Some(gone)).await.unwrap();
    assert_eq!(fenced.floor, Epoch(5), "a grant that comes late is refused by the name's floor");
    assert!(world.keeper.grant(grant("w", A, 5)).await.is_err());
    assert!(!raised());
    world.keeper.fence(fence("w", A, 6), Some(next)).await.unwrap();
    assert!(raised(), "its own fence counts");
}

fn unit_info() -> UnitInfo {
    UnitInfo {
        id: Uuid::nil(),
        name: "u".to_owned(),
        version: "0".to_owned(),
        portals: Vec::new(),
        interfaces: Vec::new(),
        enrolled: true,
    }
}

#[tokio::test]
async fn a_volume_that_moved_away_may_go_and_its_grant_tells_where_it_is() {
    let world = world().await;
    let v: Subject = "v".parse().unwrap();
    world.keeper.grant(grant("v", A, 5)).await.unwrap();
    let held = world.keeper.delete_volume(v.clone(), None).await.unwrap_err().to_string();
    assert!(held.contains("fence that grant first"), "{held}");
    let redirect =
        crate::access::Redirect { address: "192.0.2.7".parse().unwrap(), permanent: true };
    let info = world.keeper.set_redirect(v.clone(), redirect.clone()).await.unwrap();
    assert_eq!(info.target, "iqn.2026-11.local.outband:main:v");
    assert_eq!(world.keeper.redirects().await, [info]);
    world.keeper.delete_volume(v.clone(), None).await.unwrap();
    let body = r#"{"name":"v","size":4096}"#;
    let taken = world.keeper.create_volume(serde_json::from_str(body).unwrap()).await;
    assert!(taken.unwrap_err().to_string().contains("end that redirect first"));
    // Another host of a volume that was never here.
    let w: Subject = "w".parse().unwrap();
    assert!(world.keeper.grant(grant("w", B, 1)).await.is_err());
    world.keeper.set_redirect(w.clone(), redirect).await.unwrap();
    world.keeper.grant(grant("w", B, 1)).await.unwrap();

    world.keeper.clear_redirect(v.clone()).await.unwrap();
    let table = world.keeper.table().await;
    assert!(table.grant_on(&v).is_none(), "the grant must not find a later volume of that name");
    assert!(table.grant_on(&w).is_some());
    assert!(world.keeper.clear_redirect(v).await.unwrap_err().to_string().contains("there is no"));
}

#[tokio::test]
async fn a_deletion_that_comes_late_leaves_a_later_volume_of_its_name_alone() {
    let world = world().await;
    let v = Subject::whole("v").unwrap();
    let present = world.unit.volumes.lock().unwrap()[0].id;
    world.keeper.delete_volume(v.clone(), Some(Uuid::nil())).await.unwrap();
    assert_eq!(world.unit.volumes.lock().unwrap().len(), 1);
    world.keeper.delete_volume(v, Some(present)).await.unwrap();
    assert!(world.unit.volumes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn of_two_volumes_of_one_name_the_one_that_is_meant_goes() {
    let world = world().await;
    let other = crate::fake_unit::volume("v");
    world.unit.volumes.lock().unwrap().push(other.clone());
    world.keeper.delete_volume("v".parse().unwrap(), Some(other.id)).await.unwrap();
    let left: Vec<_> = world.unit.volumes.lock().unwrap().iter().map(|one| one.id).collect();
    assert_eq!(left.len(), 1);
    assert_ne!(left, [other.id]);
}

#[tokio::test]
async fn a_new_volume_takes_over_no_grant_of_one_that_is_gone() {
    let world = world().await;
    world.keeper.grant(grant("v.p1", A, 5)).await.unwrap();
    world.keeper.grant(grant("v.p2", B, 6)).await.unwrap();
    world.unit.volumes.lock().unwrap().clear();
    let create: VolumeCreate = serde_json::from_str(r#"{"name":"v","size":1048576}"#).unwrap();
    let made = world.keeper.create_volume(create.clone()).await.unwrap();
    assert_eq!(made.epoch_floor, Epoch(6));
    assert!(world.keeper.inventory(unit_info()).await.unwrap().grants.is_empty());
    // Asked for again, with its answer lost and the grant there: that one is its own.
    world.keeper.grant(grant("v", A, 7)).await.unwrap();
    world.keeper.create_volume(create).await.unwrap();
    assert_eq!(world.keeper.table().await.grants().count(), 1);
}

#[tokio::test]
async fn a_volume_from_another_unit_comes_without_grants() {
    let world = world().await;
    world.keeper.grant(grant("v", A, 5)).await.unwrap();
    world.keeper.end_grants("w".parse().unwrap()).await.unwrap();
    assert_eq!(world.keeper.table().await.grants().count(), 1);
    world.keeper.end_grants("v".parse().unwrap()).await.unwrap();
    assert_eq!(world.keeper.table().await.grants().count(), 0);
}

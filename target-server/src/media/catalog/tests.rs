//! The catalog over disks whose power is cut after every write, torn writes included.

mod disk;
mod partitions;
mod zeroing;

use proptest::prelude::*;

use super::*;
use crate::media::area::Area;
use crate::media::blocks::Blocks;
use crate::media::journal::{IntentPlace, SLOT_LEN, encode_intent};
use crate::media::record::Geometry;
use crate::media::{MIB, Media};
use disk::{Image, SimRegistry, World, losses};

const UNIT: Uuid = Uuid::from_u128(0x11);

/// Three small devices that have room for one another's neighbours, full of somebody's old data.
fn formatted(sizes: &[u64]) -> Vec<Image> {
    let format = |size: &u64| {
        let world = World::new(vec![Image::poisoned(size * MIB)]);
        let geometry = Geometry::of_size(size * MIB).unwrap();
        let ledger = Ledger { fresh_from: geometry.data().end, ..Ledger::default() };
        Area::format(world.disk(0), geometry, UNIT, &ledger).unwrap();
        world.images().remove(0)
    };
    sizes.iter().map(format).collect()
}

fn open(world: &World, listed: Option<Listed>) -> Catalog {
    let opened: Vec<Device> = world
        .disks()
        .into_iter()
        .enumerate()
        .map(|(i, disk)| {
            let size = disk.size();
            Device::over(&PathBuf::from(format!("disk{i}")), disk, size, Media::Memory).unwrap()
        })
        .collect();
    let listed = listed.unwrap_or_else(|| Listed {
        unit: UNIT,
        devices: opened.iter().map(|d| (d.id, d.path.clone())).collect(),
        faulted: BTreeSet::new(),
    });
    let opened = opened.into_iter().map(|d| (d.id, Ok(d))).collect();
    Catalog::assembled(Box::new(SimRegistry(world.clone())), listed, opened)
}

#[derive(Clone, Debug)]
enum Step {
    Create { name: usize, mib: u64, on: Option<usize> },
    Grow { name: usize, mib: u64 },
    Remove { name: usize },
    Zero { name: usize },
    Partition { name: usize, mib: u64 },
    RemovePartition { name: usize },
    Floor { name: usize, epoch: u64 },
    Fault { name: usize },
    Recover { name: usize },
}

/// Histories a test; thousands were tried before.
const CASES: u32 = 48;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (name.clone(), 1u64..20, prop::option::of(0usize..3))
            .prop_map(|(name, mib, on)| Step::Create { name, mib, on }),
        3 => (name.clone(), 2u64..30).prop_map(|(name, mib)| Step::Grow { name, mib }),
        2 => name.clone().prop_map(|name| Step::Remove { name }),
        3 => name.clone().prop_map(|name| Step::Zero { name }),
        1 => (name.clone(), 1u64..4).prop_map(|(name, mib)| Step::Partition { name, mib }),
        1 => name.clone().prop_map(|name| Step::RemovePartition { name }),
        1 => (name.clone(), 1u64..9).prop_map(|(name, epoch)| Step::Floor { name, epoch }),
        1 => name.clone().prop_map(|name| Step::Fault { name }),
        1 => name.prop_map(|name| Step::Recover { name }),
    ]
}

/// Does one step; what cannot be done is refused and changes nothing.
fn take(catalog: &mut Catalog, step: &Step) -> Result<(), MediaError> {
    match *step {
        Step::Create { name, mib, on } => {
            let mut new = NewVolume::new(NAMES[name].parse().unwrap(), (mib * MIB - 512).max(MIB));
            new.on = on.map(|disk| format!("disk{disk}")).into_iter().collect();
            catalog.create_volume(&new).map(drop)
        }
        Step::Grow { name, mib } => catalog.grow_volume(NAMES[name], mib * MIB).map(drop),
        Step::Remove { name } => catalog.remove_volume(NAMES[name], false),
        Step::Zero { name } => {
            let id = catalog.volume(NAMES[name])?.id;
            let jobs = catalog.begin_zeroing(id)?;
            let failed = jobs.iter().any(|job| job.run(|| true).is_err());
            catalog.finish_zeroing(id, if failed { &[] } else { &jobs }).map(drop)
        }
        Step::Partition { name, mib } => {
            let new = NewPartition { size: Some(mib * MIB), ..NewPartition::default() };
            catalog.create_partition(NAMES[name], new).map(drop)
        }
        Step::RemovePartition { name } => catalog.remove_partition(NAMES[name], 1).map(drop),
        Step::Floor { name, epoch } => catalog.raise_floor(NAMES[name], epoch),
        Step::Fault { name } => catalog.set_faulted(NAMES[name]),
        Step::Recover { name } => catalog.recover(NAMES[name]).map(drop),
    }
}

/// Promises P14 and P15: no two volumes share a block, allocated and free are the pool, and nobody
/// sees what was there before.
fn check_invariants(catalog: &Catalog, world: &World, at: &str) {
    let report = catalog.report();
    for device in &report.devices {
        let mut held: Vec<_> = report
            .volumes
            .iter()
            .flat_map(|v| &v.extents)
            .filter(|e| e.device == device.id)
            .map(|e| (e.offset, e.offset + e.len))
            .collect();
        held.sort_unstable();
        assert!(held.windows(2).all(|w| w[0].1 <= w[1].0), "{at}: overlap {held:?}");
        let allocated: u64 = held.iter().map(|(from, end)| end - from).sum();
        assert_eq!(allocated + device.free, device.capacity, "{at}: {report:#?}");
    }
    let images = world.images();
    for volume in catalog.volumes() {
        for piece in &volume.pieces {
            let disk = catalog.devices[&piece.device].name();
            let disk: usize = disk.trim_start_matches("disk").parse().unwrap();
            let clean = images[disk].is_zero(piece.offset, piece.len);
            assert!(clean, "{at}: volume {} shows old data", volume.name);
        }
    }
}

/// Runs the steps once, then cuts the power at every write and looks what a restart finds.
fn check(steps: &[Step]) {
    let base = formatted(&[13, 16, 11]);
    let world = World::new(base.clone());
    let mut catalog = open(&world, None);
    let first_list = catalog.listed.clone();
    // What a restart may find, by how long the log was then.
    let mut states = vec![(0, catalog.report())];
    for step in steps {
        let _ = take(&mut catalog, step);
        states.push((world.log().len(), catalog.report()));
        check_invariants(&catalog, &world, &format!("{step:?}"));
    }
    let log = world.log();
    for cut in 0..=log.len() {
        for loss in losses(&log, cut) {
            let (images, listed) = disk::replay(&base, &log[..cut], &loss);
            let found = restart(images, listed.unwrap_or_else(|| first_list.clone()), cut);
            let before = states.iter().rposition(|(len, _)| *len <= cut).expect("0 is there");
            let after = (before + 1).min(states.len() - 1);
            assert!(
                states[before..=after].iter().any(|(_, report)| *report == found),
                "cut at {cut} of {}, {loss:?}, during {:?}:\nbefore {:#?}\nfound {found:#?}\nafter {:#?}",
                log.len(),
                steps.get(before),
                states[before].1,
                states[after].1,
            );
        }
    }
}

/// Opens what a cut left; then cuts the power again during the repairs, at every write.
fn restart(images: Vec<Image>, listed: Listed, cut: usize) -> Report {
    let world = World::new(images.clone());
    let catalog = open(&world, Some(listed.clone()));
    check_invariants(&catalog, &world, &format!("cut at {cut}"));
    let found = catalog.report();
    let log = world.log();
    for again in 0..log.len() {
        for loss in losses(&log, again) {
            let (images, _) = disk::replay(&images, &log[..again], &loss);
            let world = World::new(images);
            let catalog = open(&world, Some(listed.clone()));
            assert_eq!(catalog.report(), found, "cut at {cut} and again at {again}, {loss:?}");
        }
    }
    found
}

#[test]
fn a_cut_at_any_write_leaves_the_state_before_or_after() {
    use Step::*;
    check(&[
        Create { name: 0, mib: 2, on: Some(0) },
        Zero { name: 0 },
        Create { name: 1, mib: 14, on: None },
        Zero { name: 1 },
        Grow { name: 0, mib: 3 },
        Partition { name: 1, mib: 2 },
        Floor { name: 1, epoch: 3 },
        Remove { name: 0 },
        Grow { name: 1, mib: 16 },
        Zero { name: 1 },
        Fault { name: 1 },
        Recover { name: 1 },
        RemovePartition { name: 1 },
        Remove { name: 1 },
        Create { name: 2, mib: 16, on: None },
        Zero { name: 2 },
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_at_any_write_of_any_history_leaves_the_state_before_or_after(
        steps in prop::collection::vec(step(), 1..14)
    ) {
        check(&steps);
    }

    #[test]
    fn a_write_that_fails_takes_no_volume_apart(
        steps in prop::collection::vec(step(), 1..20),
        disk in 0usize..3,
        after in 0usize..16,
        lands: bool,
    ) {
        let world = World::new(formatted(&[13, 16, 11]));
        let mut catalog = open(&world, None);
        world.fail(disk, after, lands);
        for step in &steps {
            let _ = take(&mut catalog, step);
        }
        let listed = catalog.listed.clone();
        let world = World::new(world.images());
        let catalog = open(&world, Some(listed));
        check_invariants(&catalog, &world, "after a failed write");
        for volume in catalog.report().volumes {
            prop_assert_ne!(volume.state, VolumeState::Incomplete, "{:?}", volume);
        }
    }
}

#[test]
fn formatting_cut_short_never_passes_for_a_device() {
    let old = formatted(&[13]);
    let world = World::new(old.clone());
    let geometry = Geometry::of_size(13 * MIB).unwrap();
    let ledger = Ledger { fresh_from: geometry.data().end, ..Ledger::default() };
    Area::format(world.disk(0), geometry, Uuid::from_u128(0x22), &ledger).unwrap();
    let log = world.log();
    for cut in 0..=log.len() {
        for loss in losses(&log, cut) {
            let (images, _) = disk::replay(&old, &log[..cut], &loss);
            let world = World::new(images);
            if let Ok((area, ledger)) = Area::open(world.disk(0), 13 * MIB) {
                assert!([UNIT, Uuid::from_u128(0x22)].contains(&area.superblock().unit));
                assert!(ledger.volumes.is_empty());
            }
        }
    }
    let (area, _) = Area::open(world.disk(0), 13 * MIB).unwrap();
    assert_eq!(area.superblock().unit, Uuid::from_u128(0x22));
}

#[test]
fn a_failed_sync_is_final_for_the_device() {
    let world = World::new(formatted(&[13]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 1, on: None }).unwrap();
    world.fail(0, 0, false);
    assert!(take(&mut catalog, &Step::Floor { name: 0, epoch: 5 }).is_err());
    world.mend();
    let refusal = take(&mut catalog, &Step::Floor { name: 0, epoch: 5 }).unwrap_err().full();
    assert!(refusal.contains("an earlier write"), "{refusal}");
    assert_eq!(catalog.volume("a").unwrap().epoch_floor, 0);
    // The fault itself is still recorded, where it can be.
    take(&mut catalog, &Step::Fault { name: 0 }).unwrap();
    assert_eq!(catalog.volume("a").unwrap().state, VolumeState::Faulted);
}

#[test]
fn one_rotten_copy_of_the_superblock_or_ledger_is_survived() {
    let world = World::new(formatted(&[13]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 1, on: None }).unwrap();
    let report = catalog.report();
    for at in [0, MIB / 2] {
        let mut images = world.images();
        images[0].rot(at);
        assert_eq!(open(&World::new(images), None).report(), report, "superblock at {at}");
    }
    // The newest of three commits (two by the format) is in slot 0; the older one says what was.
    let mut images = world.images();
    images[0].rot(MIB);
    assert!(open(&World::new(images), None).report().volumes.is_empty());
    let mut images = world.images();
    images[0].rot(2 * MIB);
    assert_eq!(open(&World::new(images), None).report(), report);
}

#[test]
fn a_request_that_is_too_large_says_how_much_there_is() {
    let world = World::new(formatted(&[13, 11]));
    let mut catalog = open(&world, None);
    let memory = catalog.add_memory("ram", 64 * MIB).unwrap();
    let mut new = NewVolume::new("big".parse().unwrap(), 20 * MIB);
    let refusal = catalog.create_volume(&new).unwrap_err().to_string();
    assert!(refusal.contains(&(8 * MIB).to_string()), "{refusal}");
    assert!(refusal.contains(&(64 * MIB).to_string()), "{refusal}");
    new.allow_volatile = true;
    let volume = catalog.create_volume(&new).unwrap();
    assert_eq!((volume.volatile, volume.pieces[0].device), (true, memory));
    assert_eq!((volume.state, volume.len()), (VolumeState::Online, 20 * MIB));
    new.on = vec!["ram".into(), "disk0".into()];
    assert!(matches!(catalog.create_volume(&new), Err(MediaError::NameTaken(_))));
    new.name = "mixed".parse().unwrap();
    assert!(matches!(catalog.create_volume(&new), Err(MediaError::Mixed(_))));
}

#[test]
fn a_volume_with_a_missing_device_is_incomplete_and_comes_back_with_it() {
    let world = World::new(formatted(&[13, 16]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 12, on: None }).unwrap();
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    let whole = catalog.report();
    let images = world.images();
    for missing in 0..2 {
        let alone = World::new(vec![images[1 - missing].clone()]);
        let mut catalog = open(&alone, None);
        assert_eq!(catalog.volume("a").unwrap().state, VolumeState::Incomplete);
        assert!(catalog.volume("a").unwrap().is_empty());
        assert!(matches!(catalog.raise_floor("a", 9), Err(MediaError::NotWhole { .. })));
        assert!(catalog.remove_volume("a", false).is_err());
    }
    assert_eq!(open(&World::new(images), None).report(), whole);
}

#[test]
fn two_volumes_of_one_name_are_both_held_back_until_one_is_removed_by_id() {
    let world = World::new(formatted(&[13, 16]));
    let images: Vec<Image> = (0..2)
        .map(|i| {
            let alone = World::new(vec![world.images()[i].clone()]);
            take(&mut open(&alone, None), &Step::Create { name: 0, mib: 1, on: None }).unwrap();
            alone.images().remove(0)
        })
        .collect();
    let mut catalog = open(&World::new(images), None);
    let ids: Vec<Uuid> = catalog.volumes().iter().map(|v| v.id).collect();
    assert!(catalog.volumes().iter().all(|v| v.state == VolumeState::Incomplete));
    assert_eq!(ids.len(), 2);
    let unsaid = catalog.remove_volume("a", true).unwrap_err();
    assert!(
        matches!(&unsaid, MediaError::Ambiguous { ids: both, .. } if both[..] == ids),
        "{unsaid}"
    );
    catalog.remove_volume(&ids[1].to_string(), true).unwrap();
    assert_eq!(catalog.volume("a").unwrap().id, ids[0]);
    assert_ne!(catalog.volume("a").unwrap().state, VolumeState::Incomplete);
}

/// Writes the intent of a shard that was killed into the journal of a device.
fn leave_intent(world: &World, disk: usize, slot: u64, volume: Uuid, places: &[IntentPlace]) {
    let len: u32 = places.iter().map(|place| place.len).sum();
    let mut bytes = vec![0; SLOT_LEN];
    encode_intent(&mut bytes, volume, places, &vec![0x5A; len as usize]);
    let at = Geometry::of_size(world.disk(disk).size()).unwrap().journal_at();
    world.disk(disk).write_at(at + slot * SLOT_LEN as u64, &bytes).unwrap();
}

fn page_at(world: &World, disk: usize, at: u64) -> u8 {
    let mut page = vec![0; 4096];
    world.disk(disk).read_at(at, &mut page).unwrap();
    assert!(page.iter().all(|byte| *byte == page[0]));
    page[0]
}

#[test]
fn an_atomic_write_over_two_devices_is_finished_once_both_are_there() {
    let world = World::new(formatted(&[13, 16]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 12, on: None }).unwrap();
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    let volume = catalog.volume("a").unwrap();
    let disk_of =
        |piece: &crate::media::Piece| usize::from(catalog.devices[&piece.device].name() == "disk1");
    let (first, second) = (&volume.pieces[0], &volume.pieces[1]);
    let (home, other) = (disk_of(first), disk_of(second));
    let last = first.offset + first.len - 4096;
    let places = [
        IntentPlace { device: first.device, at: last, len: 4096 },
        IntentPlace { device: second.device, at: second.offset, len: 8192 },
    ];
    leave_intent(&world, home, 5, volume.id, &places);
    // Without the other device the volume is not whole, and the intent stays.
    let alone = World::new(vec![world.images()[home].clone()]);
    let lonely = open(&alone, None);
    assert_eq!(lonely.volume("a").unwrap().state, VolumeState::Incomplete);
    assert_eq!(page_at(&alone, 0, last), 0);
    // Whoever else begins there gets the journal without it.
    let device = lonely.devices.values().next().unwrap();
    let at = device.area.as_ref().unwrap().superblock().geometry.journal_at();
    assert_eq!(device.left, [(at + 5 * SLOT_LEN as u64, volume.id)].into());
    let mut images = world.images();
    images[home] = alone.images().remove(0);
    let world = World::new(images);
    assert_eq!(open(&world, None).volume("a").unwrap().state, VolumeState::Online);
    assert_eq!(page_at(&world, home, last), 0x5A);
    assert_eq!(page_at(&world, other, second.offset + 4096), 0x5A);
    // It is gone: what is written there later stays.
    world.disk(home).write_at(last, &[0x77; 4096]).unwrap();
    open(&world, None);
    assert_eq!(page_at(&world, home, last), 0x77);
}

#[test]
fn an_intent_never_touches_what_is_not_its_volumes() {
    let world = World::new(formatted(&[13]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 1, on: None }).unwrap();
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    let volume = catalog.volume("a").unwrap();
    let piece = &volume.pieces[0];
    let place = |at| IntentPlace { device: piece.device, at, len: 4096 };
    leave_intent(&world, 0, 0, Uuid::from_u128(0xDEAD), &[place(piece.offset)]);
    leave_intent(&world, 0, 1, volume.id, &[place(piece.offset + piece.len)]);
    leave_intent(&world, 0, 2, volume.id, &[place(u64::MAX)]);
    let before = page_at(&world, 0, piece.offset + piece.len);
    let catalog = open(&world, None);
    assert_eq!(catalog.volume("a").unwrap().state, VolumeState::Online);
    assert_eq!(page_at(&world, 0, piece.offset), 0);
    assert_eq!(page_at(&world, 0, piece.offset + piece.len), before);
}

#[test]
fn a_volume_whose_atomic_write_cannot_be_finished_is_not_served_until_it_can() {
    let world = World::new(formatted(&[13]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 1, on: None }).unwrap();
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    let volume = catalog.volume("a").unwrap();
    let piece = &volume.pieces[0];
    let place = IntentPlace { device: piece.device, at: piece.offset, len: 4096 };
    leave_intent(&world, 0, 0, volume.id, &[place]);
    world.fail(0, 0, false);
    let mut catalog = open(&world, None);
    assert_eq!(catalog.volume("a").unwrap().state, VolumeState::Incomplete);
    world.mend();
    assert_eq!(catalog.recover("a").unwrap().state, VolumeState::Online);
    assert_eq!(page_at(&world, 0, piece.offset), 0x5A);
}

#[test]
fn a_ledger_that_is_full_leaves_no_doubt_of_what_it_holds() {
    let world = World::new(formatted(&[36]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 20, on: None }).unwrap();
    let before = catalog.report();
    let partition = |number: u16| {
        let id = Uuid::from_u128(number.into());
        crate::media::PartitionSpec { number, id, start: u64::from(number), blocks: 1 }
    };
    let many = |record: &mut VolumeRecord| record.partitions.extend((1..40_000).map(partition));
    let full = catalog.change("a", many).unwrap_err().full();
    assert!(full.contains("more room"), "{full}");
    assert_eq!(catalog.report(), before);
    catalog.remove_volume("a", false).unwrap();
    take(&mut catalog, &Step::Create { name: 0, mib: 1, on: None }).unwrap();
}

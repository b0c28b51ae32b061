//! New space, until it can be seen.

use super::*;
use crate::media::ZeroWith;

#[test]
fn what_is_zeroed_cannot_be_removed_and_what_is_not_cannot_be_seen() {
    let world = World::new(formatted(&[13]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 2, on: None }).unwrap();
    let volume = catalog.volume("a").unwrap();
    assert_eq!((volume.state, volume.blocks), (VolumeState::Zeroing, 0));
    let jobs = catalog.begin_zeroing(volume.id).unwrap();
    let refusal = catalog.remove_volume("a", true).unwrap_err();
    assert!(matches!(refusal, MediaError::Zeroing(_)));
    assert!(!jobs[0].run(|| false).unwrap(), "stopped at once");
    catalog.finish_zeroing(volume.id, &[]).unwrap();
    assert_eq!(catalog.unzeroed(), [volume.id]);
    let jobs = catalog.begin_zeroing(volume.id).unwrap();
    assert!(jobs[0].run(|| true).unwrap());
    let volume = catalog.finish_zeroing(volume.id, &jobs).unwrap();
    assert_eq!((volume.state, volume.len()), (VolumeState::Online, 2 * MIB - 512));
    catalog.remove_volume("a", false).unwrap();
}

#[test]
fn a_growing_volume_stays_online_at_its_old_size_until_the_new_space_is_zero() {
    let world = World::new(formatted(&[16]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 2, on: None }).unwrap();
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    let grown = catalog.grow_volume("a", 5 * MIB).unwrap();
    // The rest of the last extent was zeroed with it.
    assert_eq!((grown.state, grown.len()), (VolumeState::Online, 2 * MIB));
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    let grown = catalog.volume("a").unwrap();
    assert_eq!(grown.len(), 5 * MIB);
    assert_eq!(grown.pieces.iter().map(|p| p.len).sum::<u64>(), 5 * MIB);
    assert!(matches!(catalog.grow_volume("a", MIB), Err(MediaError::Shrinks { .. })));
}

#[test]
fn a_block_device_is_zeroed_in_the_background_however_it_does_it() {
    let world = World::new(formatted(&[13]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 1, on: None }).unwrap();
    let id = catalog.volume("a").unwrap().id;
    for (kind, zero, fast) in [
        (DeviceKind::File, ZeroWith::Range, true),
        (DeviceKind::File, ZeroWith::Writes, false),
        (DeviceKind::Block, ZeroWith::Range, false),
        (DeviceKind::Block, ZeroWith::Punch, false),
    ] {
        catalog.devices.values_mut().for_each(|device| (device.kind, device.zero) = (kind, zero));
        let jobs = catalog.begin_zeroing(id).unwrap();
        assert_eq!(jobs.iter().map(|job| job.fast).collect::<Vec<_>>(), [fast], "{kind} {zero:?}");
        catalog.finish_zeroing(id, &[]).unwrap();
    }
}

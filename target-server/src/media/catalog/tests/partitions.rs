//! Where partitions may be.

use super::*;
use crate::media::PartitionSpec;

#[test]
fn partitions_never_overlap_and_stay_inside() {
    let world = World::new(formatted(&[16]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 6, on: None }).unwrap();
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    let at = |number, start, size| NewPartition { number, start, size: Some(size) };
    let first = catalog.create_partition("a", at(None, None, 2 * MIB)).unwrap();
    assert_eq!((first.number, first.start, first.blocks), (1, 0, 4096));
    let third = catalog.create_partition("a", at(Some(3), Some(8192), MIB)).unwrap();
    let second = catalog.create_partition("a", at(None, None, 2 * MIB)).unwrap();
    assert_eq!((second.number, second.start), (2, 4096));
    assert_ne!(first.id, second.id);
    for (start, size) in [(4095, 512), (0, 512), (10_000, MIB), (12_287, 512), (u64::MAX, MIB)] {
        let refused = catalog.create_partition("a", at(None, Some(start), size));
        assert!(matches!(refused, Err(MediaError::PartitionSpace { .. })), "{start} {size}");
    }
    let taken = catalog.create_partition("a", at(Some(3), None, 512));
    assert!(matches!(taken, Err(MediaError::PartitionTaken { number: 3, .. })));
    catalog.remove_partition("a", 2).unwrap();
    let grown = catalog.grow_partition("a", 1, 4 * MIB).unwrap();
    assert_eq!(grown.partitions.iter().map(|p| p.blocks).collect::<Vec<_>>(), [8192, third.blocks]);
    assert!(catalog.grow_partition("a", 1, 4 * MIB + 1).is_err());
    let rest = catalog.create_partition("a", NewPartition::default()).unwrap();
    assert_eq!((rest.number, rest.start, rest.end()), (2, 10_240, 12_287));
}

#[test]
fn a_partition_lies_in_space_that_is_zeroed() {
    let world = World::new(formatted(&[16]));
    let mut catalog = open(&world, None);
    take(&mut catalog, &Step::Create { name: 0, mib: 2, on: None }).unwrap();
    let refused = |result: Result<PartitionSpec, MediaError>| {
        let refusal = result.unwrap_err();
        assert!(matches!(refusal, MediaError::PartitionSpace { .. }), "{refusal}");
    };
    refused(catalog.create_partition("a", NewPartition::default()));
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    catalog.grow_volume("a", 6 * MIB).unwrap();
    let at = |start| NewPartition { start: Some(start), size: Some(MIB), ..Default::default() };
    refused(catalog.create_partition("a", at(4096)));
    refused(catalog.create_partition("a", at(3072)));
    let first = catalog.create_partition("a", at(0)).unwrap();
    assert!(catalog.grow_partition("a", first.number, 3 * MIB).is_err());
    take(&mut catalog, &Step::Zero { name: 0 }).unwrap();
    catalog.grow_partition("a", first.number, 3 * MIB).unwrap();
    catalog.create_partition("a", at(8192)).unwrap();
}

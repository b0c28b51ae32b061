//! Round trips, and every way a record can be damaged.

use proptest::prelude::*;

use super::*;

const DEVICE: Uuid = Uuid::from_u128(0xd0);

fn superblock() -> Superblock {
    Superblock {
        compat: 0,
        ro_compat: 0,
        device: DEVICE,
        unit: Uuid::from_u128(7),
        generation: 3,
        geometry: Geometry::of_size(64 * MIB).unwrap(),
    }
}

prop_compose! {
    fn any_extent()(device in any::<u128>(), start in 4u32..1 << 20, len in 1u32..1 << 20, zeroed: bool) -> Extent {
        Extent { device: Uuid::from_u128(device), start, len, zeroed }
    }
}

prop_compose! {
    fn any_volume()(
        id in any::<u128>(), name in "[a-z0-9-]{1,63}", block_size in prop::sample::select(vec![512u32, 4096]),
        extents in prop::collection::vec(any_extent(), 1..5), high: bool, faulted: bool, leaving: bool, allow_sanitize: bool,
        generation: u64, epoch_floor: u64, ports in any::<[u16; 3]>(), used in 1u64..=256, cuts in 0u16..6,
    ) -> VolumeRecord {
        let size = used * 4096;
        let part = size / u64::from(block_size) / 8;
        let partitions = (0..cuts).map(|n| PartitionSpec {
            number: n + 1, id: Uuid::from_u128(u128::from(n) + 99), start: u64::from(n) * part, blocks: part,
        }).filter(|p| p.blocks > 0).collect();
        VolumeRecord {
            id: Uuid::from_u128(id), name: VolumeName::new(name).unwrap(), block_size, size,
            write_policy: if high { WritePolicy::High } else { WritePolicy::Normal }, faulted, leaving, allow_sanitize,
            generation, epoch_floor,
            place: Place { target_portal_group: ports[0], target_port_group: ports[1], relative_port: ports[2] },
            extents, partitions,
        }
    }
}

fn any_ledger() -> impl Strategy<Value = Ledger> {
    (any::<u32>(), prop::collection::vec(any_volume(), 0..4)).prop_map(|(fresh_from, volumes)| {
        Ledger { fresh_from, volumes: volumes.into_iter().map(|v| (v.id, v)).collect() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_ledger_comes_back_as_it_was_written(ledger in any_ledger(), generation: u64, slack in 0usize..64) {
        let mut bytes = ledger.encode(DEVICE, generation);
        bytes.extend(vec![0xa5; slack]);
        prop_assert_eq!(Ledger::decode(&bytes, DEVICE), Ok((ledger, generation)));
    }

    #[test]
    fn a_ledger_cut_anywhere_is_refused(ledger in any_ledger()) {
        let bytes = ledger.encode(DEVICE, 9);
        for cut in 0..bytes.len() {
            prop_assert!(Ledger::decode(&bytes[..cut], DEVICE).is_err());
        }
    }

    #[test]
    fn a_ledger_with_any_byte_changed_is_refused(ledger in any_ledger(), flip in 1u8..) {
        let bytes = ledger.encode(DEVICE, 9);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            prop_assert!(Ledger::decode(&bad, DEVICE).is_err(), "byte {}", at);
        }
    }

    #[test]
    fn noise_never_panics_even_under_a_good_checksum(mut noise in prop::collection::vec(any::<u8>(), 36..400)) {
        let payload_len = noise.len() - 36;
        noise[..8].copy_from_slice(&LEDGER_MAGIC);
        noise[8..24].copy_from_slice(DEVICE.as_bytes());
        noise[32..36].copy_from_slice(&u32::try_from(payload_len).unwrap().to_be_bytes());
        let crc = crc_fast::crc32_iscsi(&noise);
        noise.extend(crc.to_be_bytes());
        if let Ok((ledger, generation)) = Ledger::decode(&noise, DEVICE) {
            prop_assert_eq!(ledger.encode(DEVICE, generation), noise);
        }
    }
}

#[test]
fn a_superblock_comes_back_and_any_damage_is_seen() {
    let good = superblock();
    let bytes = good.encode();
    assert_eq!(bytes.len(), SUPERBLOCK_LEN);
    assert_eq!(Superblock::decode(&bytes), Ok(good));
    for cut in 0..bytes.len() {
        assert!(Superblock::decode(&bytes[..cut]).is_err());
    }
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        assert!(Superblock::decode(&bad).is_err(), "byte {at}");
    }
}

/// The superblock with other feature bits, its checksum right.
fn with_bits(at: usize, bits: u64) -> Vec<u8> {
    let mut bytes = superblock().encode();
    bytes[at..at + 8].copy_from_slice(&bits.to_be_bytes());
    let body = SUPERBLOCK_LEN - CRC_LEN;
    let crc = crc_fast::crc32_iscsi(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn unknown_features_refuse_or_protect_or_do_no_harm() {
    let compat = Superblock::decode(&with_bits(8, 1)).unwrap();
    assert!(!compat.is_read_only());
    let ro_compat = Superblock::decode(&with_bits(16, 1)).unwrap();
    assert!(ro_compat.is_read_only());
    assert_eq!(Superblock::decode(&with_bits(24, 4)), Err(BadRecord::Newer(4)));
}

#[test]
fn a_ledger_of_another_device_is_not_taken() {
    let bytes = Ledger::default().encode(Uuid::from_u128(1), 5);
    assert_eq!(Ledger::decode(&bytes, DEVICE), Err(BadRecord::OtherDevice(Uuid::from_u128(1))));
}

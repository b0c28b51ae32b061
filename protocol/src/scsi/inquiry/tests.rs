use proptest::prelude::*;

use super::*;

const UUID: [u8; 16] = [
    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x47, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0x01,
];

#[test]
fn standard_data_has_the_fields_hosts_lean_on() {
    let said = Standard::new(Peripheral::Disk, "OUTBAND", "VIRTUAL-DISK", "0.1");
    let data = said.bytes();
    assert_eq!(data[..8], [0x00, 0x00, 0x06, 0x12, 91, 0x08, 0, 0x02]);
    assert_eq!(&data[8..36], b"OUTBAND VIRTUAL-DISK    0.1 ");
    assert_eq!(data[58..68], [0x00, 0xA0, 0x09, 0x60, 0x04, 0x60, 0x04, 0xC0, 0, 0]);
    assert_eq!(Standard::parse(&data), Ok(said.clone()));
    let short = Standard::parse(&data[..36]).unwrap();
    assert_eq!((short.product, short.standards), (said.product, vec![]));
    assert!(Standard::parse(&data[..35]).is_err());
}

#[test]
fn text_of_a_stranger_cannot_control_a_terminal() {
    let mut data = Standard::new(Peripheral::Disk, "a\u{1b}b", "", "").bytes();
    assert_eq!(&data[8..16], b"a_b     ");
    data[9] = 0x1B;
    assert_eq!(Standard::parse(&data).unwrap().vendor, "a b");
}

#[test]
fn an_absent_device_has_qualifier_3_and_type_1f() {
    assert_eq!(Standard::new(Peripheral::Absent, "", "", "").bytes()[0], 0x7F);
    for code in 0..=u8::MAX {
        assert_eq!(Peripheral::from_code(code).code(), code);
    }
}

#[test]
fn the_list_of_pages_and_the_serial_number_carry_their_length() {
    let data = supported_pages(Peripheral::Disk, &[0x00, 0x80, 0x83]);
    assert_eq!(data, [0, 0, 0, 3, 0x00, 0x80, 0x83]);
    assert_eq!(parse_supported_pages(&data), Ok(&[0x00, 0x80, 0x83][..]));
    let data = serial_number("S1");
    assert_eq!(data, [0, 0x80, 0, 2, b'S', b'1']);
    assert_eq!(parse_serial_number(&data).as_deref(), Ok("S1"));
    assert!(parse_serial_number(&supported_pages(Peripheral::Disk, &[])).is_err());
}

#[test]
fn block_limits_are_at_the_standards_places() {
    let limits = BlockLimits {
        granularity: 8,
        transfer_max: 0x8000,
        transfer_optimal: 0x800,
        unmap_blocks_max: 0x10_0000,
        unmap_extents_max: 256,
        unmap_granularity: 8,
        unmap_alignment: Some(3),
        compare_and_write_max: 255,
        write_same_max: 0x1_0203_0405,
        write_same_nonzero: true,
        atomic_max: 256,
    };
    let data = limits.page();
    assert_eq!(data.len(), 64);
    assert_eq!(data[..16], [0, 0xB0, 0, 0x3C, 1, 255, 0, 8, 0, 0, 0x80, 0, 0, 0, 8, 0]);
    assert_eq!(data[20..32], [0, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8]);
    assert_eq!(data[32..44], [0x80, 0, 0, 3, 0, 0, 0, 1, 2, 3, 4, 5]);
    assert_eq!(BlockLimits::parse(&data), Ok(limits));
    let old = BlockLimits::parse(&data[..16]).unwrap();
    assert_eq!((old.transfer_max, old.unmap_blocks_max), (0x8000, 0));
    assert!(BlockLimits::parse(&data[..15]).is_err());
}

#[test]
fn rotation_and_provisioning_come_back_as_what_they_were() {
    for rotation in [Rotation::Unknown, Rotation::None, Rotation::Rate(7200)] {
        assert_eq!(parse_characteristics(&characteristics(rotation, false)), Ok(rotation));
    }
    assert_eq!(characteristics(Rotation::None, false)[..6], [0, 0xB1, 0, 0x3C, 0, 1]);
    let thin = Provisioning { unmap: true, write_same: true, reads_zeros: true, thin: true };
    assert_eq!(thin.page(), [0, 0xB2, 0, 4, 0, 0xE4, 2, 0]);
    assert_eq!(Provisioning::parse(&thin.page()), Ok(thin));
    assert_eq!(Provisioning::default().page()[4..], [0; 4]);
}

#[test]
fn an_naa_name_begins_with_6_and_the_company() {
    let Name::Naa(name) = naa6([0x02, 0x4F, 0x42], UUID) else {
        panic!("not an NAA name");
    };
    assert_eq!(name[..4], [0x60, 0x24, 0xF4, 0x24]);
    assert_eq!(name[4..], UUID[4..]);
}

#[test]
fn designators_say_what_they_name_and_how() {
    let list = [
        Designator::unit(Name::Uuid(UUID)),
        Designator::unit(Name::T10("OUTBAND".into(), "v".into())),
        Designator::port(Name::RelativePort(2)),
        Designator::port(Name::PortGroup(3)),
        Designator::port(Name::Scsi("iqn.x,t,0x0001".into())),
        Designator::target(Name::Scsi("iqn.x".into())),
    ];
    let data = designators(&list);
    let expected = [
        &[0, 0x83, 0, 83][..],
        &[0x01, 0x0A, 0, 18, 0x10, 0],
        &UUID,
        &[0x02, 0x01, 0, 9],
        b"OUTBAND v",
        &[0x51, 0x94, 0, 4, 0, 0, 0, 2],
        &[0x51, 0x95, 0, 4, 0, 0, 0, 3],
        &[0x53, 0x98, 0, 16],
        b"iqn.x,t,0x0001\0\0",
        &[0x53, 0xA8, 0, 8],
        b"iqn.x\0\0\0",
    ];
    assert_eq!(data, expected.concat());
    assert_eq!(Designator::parse_page(&data), Ok(list.to_vec()));
}

#[test]
fn a_designator_that_lies_about_its_kind_is_malformed() {
    let wrong: [&[u8]; 5] = [
        &[0, 0x83, 0, 8, 1, 0x03, 0, 4, 1, 2, 3, 4],
        &[0, 0x83, 0, 6, 1, 0x14, 0, 2, 0, 1],
        &[0, 0x83, 0, 6, 1, 0x01, 0, 2, 0, 1],
        &[0, 0x83, 0, 6, 1, 0x0A, 0, 2, 0x10, 0],
        &[0, 0x83, 0, 6, 3, 0x18, 0, 2, 0xFF, 0xFE],
    ];
    for data in wrong {
        assert_eq!(Designator::parse_page(data), Err(Malformed("designator")));
    }
}

proptest! {
    #[test]
    fn no_page_panics(data in prop::collection::vec(any::<u8>(), 0..128), code in 0usize..6) {
        let mut data = data;
        if data.len() > 3 {
            data[1] = [0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2][code];
            data[2] = 0;
        }
        let _ = Standard::parse(&data);
        let _ = parse_supported_pages(&data);
        let _ = parse_serial_number(&data);
        let _ = Designator::parse_page(&data);
        let _ = BlockLimits::parse(&data);
        let _ = parse_characteristics(&data);
        let _ = Provisioning::parse(&data);
    }
}

use proptest::prelude::*;

use super::*;
use crate::scsi::{Status, sense};

const LIMITS: Limits =
    Limits { cscds: 2, segments: 3, list_len: 2 * 32 + 3 * 28, copies: 8, granularity: 9 };

fn cscd(name: u8) -> Cscd {
    Cscd {
        peripheral: 0,
        code_set: 1,
        association: 0,
        kind: 3,
        designator: vec![name; 16],
        pad: false,
        block_size: 512,
    }
}

fn segment(blocks: u16) -> Segment {
    Segment {
        source: 0,
        destination: 1,
        destination_count: false,
        concatenate: false,
        blocks,
        source_lba: 7,
        destination_lba: 9,
    }
}

fn list() -> List {
    let (cscds, segments) = (vec![cscd(1), cscd(2)], vec![segment(5), segment(6)]);
    List { id: 3, usage: Usage::Hold, cscds, segments }
}

#[track_caller]
fn check(bytes: &[u8], expected: Sense) {
    let told = List::parse(bytes, &LIMITS).unwrap_err();
    assert_eq!(told, expected);
}

#[test]
fn the_fields_are_where_the_standard_has_them() {
    let bytes = list().build();
    assert_eq!(bytes[..16], [3, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 56, 0, 0, 0, 0]);
    assert_eq!(bytes[16..26], [0xE4, 0, 0, 0, 1, 3, 0, 16, 1, 1]);
    assert_eq!(bytes[44..48], [0, 0, 2, 0]);
    assert_eq!(bytes[80..92], [0x02, 0, 0, 0x18, 0, 0, 0, 1, 0, 0, 0, 5]);
    assert_eq!(bytes[92..108], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9]);
}

#[test]
fn a_list_cut_anywhere_is_a_length_error() {
    let bytes = list().build();
    for cut in 0..bytes.len() {
        check(&bytes[..cut], PARAMETER_LIST_LENGTH_ERROR);
    }
}

#[test]
fn each_fault_of_a_list_has_its_sense_and_its_byte() {
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = list().build();
        edit(&mut bytes);
        bytes
    };
    check(&edited(&|list| list[1] = 1 << 3), INVALID_FIELD_IN_LIST.at_list(1));
    check(&edited(&|list| list[1] = 3 << 3), INVALID_FIELD_IN_LIST.at_list(0));
    check(&edited(&|list| list[15] = 1), INLINE_DATA_LENGTH_EXCEEDED.at_list(12));
    check(&edited(&|list| list[3] = 63), INVALID_FIELD_IN_LIST.at_list(2));
    check(&edited(&|list| list[48] = 0xE0), UNSUPPORTED_TARGET_DESCRIPTOR.at_list(48));
    check(&edited(&|list| list[16 + 7] = 21), INVALID_FIELD_IN_LIST.at_list(23));
    check(&edited(&|list| list[108] = 0x03), UNSUPPORTED_SEGMENT_DESCRIPTOR.at_list(108));
    check(&edited(&|list| list[83] = 0x17), INVALID_FIELD_IN_LIST.at_list(82));
    check(&edited(&|list| list[11] = 55), INVALID_FIELD_IN_LIST.at_list(8));
}

#[test]
fn more_descriptors_than_told_of_are_too_many() {
    let many = |cscds: usize, segments: usize| {
        let (cscds, segments) = (vec![cscd(1); cscds], vec![segment(1); segments]);
        List { cscds, segments, ..list() }.build()
    };
    check(&many(3, 1), TOO_MANY_TARGET_DESCRIPTORS.at_list(2));
    check(&many(1, 4), TOO_MANY_SEGMENT_DESCRIPTORS.at_list(8));
    check(&many(3, 4), PARAMETER_LIST_LENGTH_ERROR);
    assert!(List::parse(&many(2, 3), &LIMITS).is_ok());
}

#[test]
fn a_count_that_does_not_fit_is_told_in_larger_units() {
    let told = |bytes| Progress { standing: Standing::Done, segments: 2, bytes }.bytes();
    assert_eq!(told(5 << 10), [0, 0, 0, 8, 1, 0, 2, 0, 0, 0, 0x14, 0]);
    assert_eq!(told(1 << 32)[7..], [1, 0, 0x40, 0, 0]);
}

#[test]
fn the_details_of_a_failure_end_with_its_sense() {
    let data = failure(Status::CheckCondition, &sense::UNREACHABLE_COPY_TARGET);
    assert_eq!((data.len(), data[3], data[56], data[59]), (78, 74, 2, 18));
    let told = Sense::parse(&data[60..]).unwrap();
    assert_eq!(told, sense::UNREACHABLE_COPY_TARGET);
}

#[test]
fn the_descriptors_of_the_page_follow_each_other() {
    let page = third_party_page(&LIMITS);
    let mut rest = &page[4..];
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let len = usize::from(u16_at(rest, 2));
        assert!(len.is_multiple_of(4));
        kinds.push(u16_at(rest, 0));
        rest = &rest[4 + len..];
    }
    assert_eq!(kinds, [0x0001, 0x0004, 0x0008, 0x000C, 0x8001, 0xC001]);
    assert_eq!(page[4..20], [0, 1, 0, 12, 9, 0x83, 1, 0, 0x84, 4, 0, 1, 3, 4, 0, 0]);
}

prop_compose! {
    fn any_cscd()(
        peripheral in 0..32u8,
        (code_set, association, kind) in (0..16u8, 0..4u8, 0..16u8),
        designator in prop::collection::vec(any::<u8>(), 0..=20),
        pad in any::<bool>(),
        block_size in 0..1u32 << 24,
    ) -> Cscd {
        Cscd { peripheral, code_set, association, kind, designator, pad, block_size }
    }
}

prop_compose! {
    fn any_segment()(
        (source, destination, blocks) in any::<(u16, u16, u16)>(),
        (destination_count, concatenate) in any::<(bool, bool)>(),
        (source_lba, destination_lba) in any::<(u64, u64)>(),
    ) -> Segment {
        Segment {
            source, destination, destination_count, concatenate, blocks, source_lba,
            destination_lba,
        }
    }
}

proptest! {
    #[test]
    fn a_list_comes_back_as_what_it_was(
        id in any::<u8>(),
        discard in any::<bool>(),
        cscds in prop::collection::vec(any_cscd(), 0..=2),
        segments in prop::collection::vec(any_segment(), 0..=3),
    ) {
        let usage = if discard { Usage::Discard } else { Usage::Hold };
        let list = List { id, usage, cscds, segments };
        prop_assert_eq!(List::parse(&list.build(), &LIMITS), Ok(list));
    }

    #[test]
    fn no_list_panics(list in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = List::parse(&list, &LIMITS);
    }
}

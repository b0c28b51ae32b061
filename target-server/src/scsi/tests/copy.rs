//! EXTENDED COPY: which pieces a list comes to, and what is kept of a copy.

use outband_protocol::scsi::copy::{Cscd, List, Progress, Segment, Standing, Usage, action};

use super::*;
use crate::scsi::{Course, Party, Piece};

const ONE: Uuid = Uuid::from_u128(1);
const TWO: Uuid = Uuid::from_u128(2);

fn cscd(block_size: u32, pad: bool) -> Cscd {
    let designator = vec![7; 16];
    Cscd { peripheral: 0, code_set: 1, association: 0, kind: 3, designator, pad, block_size }
}

fn segment(source_lba: u64, destination_lba: u64, blocks: u16) -> Segment {
    Segment {
        source: 0,
        destination: 1,
        destination_count: false,
        concatenate: false,
        blocks,
        source_lba,
        destination_lba,
    }
}

fn list(sizes: [u32; 2], segments: &[Segment]) -> List {
    let cscds = sizes.map(|size| cscd(size, false)).to_vec();
    List { id: 5, usage: Usage::Hold, cscds, segments: segments.to_vec() }
}

fn parties(targets: [Uuid; 2], sizes: [u32; 2]) -> Vec<Option<Party>> {
    let party = |index: usize| Party {
        target: targets[index],
        block_size: sizes[index],
        blocks: 4096 * 1024 / u64::from(sizes[index]),
    };
    vec![Some(party(0)), Some(party(1))]
}

/// Goes through a whole copy in pieces of at most 64 KiB.
fn pieces(mut course: Course) -> (Vec<Piece>, Result<u64, Sense>) {
    let mut all = Vec::new();
    loop {
        match course.next_piece(64 * 1024) {
            Ok(Some(piece)) => {
                course.moved(&piece);
                all.push(piece);
            }
            Ok(None) => return (all, Ok(course.progress(Standing::Done).bytes)),
            Err(sense) => return (all, Err(sense)),
        }
    }
}

/// Carries a copy out on two byte arrays, or on one when both targets are the same.
fn carried_out(
    targets: [Uuid; 2],
    sizes: [u32; 2],
    segments: &[Segment],
    media: &mut [Vec<u8>; 2],
) -> Result<(), Sense> {
    let course = Course::new(list(sizes, segments), parties(targets, sizes))?;
    let (pieces, end) = pieces(course);
    let to = usize::from(targets[0] != targets[1]);
    for piece in pieces {
        let at = |lba: u64, size: u32| usize::try_from(lba * u64::from(size)).unwrap();
        let from = at(piece.source_lba, sizes[0]);
        let mut data = media[0][from..][..(piece.source_blocks * sizes[0]) as usize].to_vec();
        data.resize(piece.data as usize, 0);
        data.resize(piece.written as usize, 0);
        assert_eq!(piece.written, piece.destination_blocks * sizes[1]);
        let start = at(piece.destination_lba, sizes[1]);
        media[to][start..][..data.len()].copy_from_slice(&data);
    }
    end.map(drop)
}

fn media() -> [Vec<u8>; 2] {
    let bytes =
        |salt: usize| (0..4 << 20).map(move |at: usize| (at / 512 * 7 + salt).to_be_bytes()[7]);
    [bytes(1).collect(), bytes(2).collect()]
}

#[test]
fn blocks_come_to_where_the_segments_say() {
    let mut disks = media();
    let segments = [segment(0, 100, 300), segment(8, 8, 0), segment(7000, 0, 1)];
    carried_out([ONE, TWO], [512, 512], &segments, &mut disks).unwrap();
    let fresh = media();
    assert_eq!(disks[1][100 * 512..400 * 512], fresh[0][..300 * 512]);
    assert_eq!(disks[1][..512], fresh[0][7000 * 512..7001 * 512]);
    assert_eq!(disks[1][512..100 * 512], fresh[1][512..100 * 512]);
}

#[test]
fn a_copy_onto_itself_is_as_if_all_were_read_first() {
    for (from, to) in [(0, 1), (1, 0), (50, 300), (300, 50), (9, 9)] {
        let mut disks = media();
        carried_out([ONE, ONE], [512, 512], &[segment(from, to, 700)], &mut disks).unwrap();
        let at = |lba: u64| usize::try_from(lba * 512).unwrap();
        let expected = &media()[0][at(from)..][..700 * 512];
        assert!(disks[0][at(to)..][..700 * 512] == *expected, "{from} to {to}");
    }
}

#[test]
fn blocks_of_other_sizes_are_joined_and_split() {
    let mut disks = media();
    carried_out([ONE, TWO], [512, 4096], &[segment(8, 2, 24)], &mut disks).unwrap();
    assert_eq!(disks[1][2 * 4096..5 * 4096], media()[0][8 * 512..32 * 512]);
    let mut disks = media();
    carried_out([ONE, TWO], [4096, 512], &[segment(1, 3, 2)], &mut disks).unwrap();
    assert_eq!(disks[1][3 * 512..19 * 512], media()[0][4096..12288]);
}

#[test]
fn what_fills_no_block_is_padded_or_dropped_or_refused() {
    let parties = |sizes| parties([ONE, TWO], sizes);
    let counted = Segment { destination_count: true, ..segment(0, 0, 3) };
    for (sizes, segment) in [([512, 4096], segment(0, 0, 9)), ([4096, 512], counted)] {
        let plain = Course::new(list(sizes, &[segment]), parties(sizes)).unwrap();
        let (_, end) = pieces(plain);
        assert!(end.unwrap_err().is(&sense::UNEXPECTED_INEXACT_SEGMENT));
    }
    let mut padded = list([512, 4096], &[segment(0, 0, 9)]);
    padded.cscds[1].pad = true;
    let (all, end) = pieces(Course::new(padded, parties([512, 4096])).unwrap());
    assert_eq!((all[0].source_blocks, all[0].data, all[0].written), (9, 9 * 512, 8192));
    assert_eq!(end, Ok(8192));
    let mut dropped = list([4096, 512], &[counted]);
    dropped.cscds[0].pad = true;
    let (all, end) = pieces(Course::new(dropped, parties([4096, 512])).unwrap());
    assert_eq!((all[0].source_blocks, all[0].data, all[0].written), (1, 1536, 1536));
    assert_eq!(end, Ok(1536));
}

#[test]
fn a_segment_that_cannot_be_copied_ends_the_copy_where_it_stands() {
    let all = parties([ONE, TWO], [512, 512]);
    let cases = [
        (Segment { destination: 2, ..segment(0, 0, 1) }, sense::UNREACHABLE_COPY_TARGET, 6),
        (Segment { source: 9, ..segment(0, 0, 1) }, sense::UNREACHABLE_COPY_TARGET, 4),
        (segment(8192, 0, 1), Sense::new(sense::SenseKey::CopyAborted, 0, 0), 12),
        (segment(0, u64::MAX, 1), Sense::new(sense::SenseKey::CopyAborted, 0, 0), 20),
    ];
    for (bad, expected, byte) in cases {
        let list = list([512, 512], &[segment(0, 0, 4), bad]);
        let (done, end) = pieces(Course::new(list, all.clone()).unwrap());
        assert_eq!(done.len(), 1, "the segment before it was copied");
        assert_eq!(end, Err(expected.in_segment(1, Some(byte))));
    }
    let unreachable = vec![all[0], None];
    let course = Course::new(list([512, 512], &[segment(0, 0, 4)]), unreachable).unwrap();
    let expected = sense::COPY_TARGET_NOT_REACHABLE.in_segment(0, Some(6));
    assert_eq!(pieces(course).1, Err(expected));
}

#[test]
fn a_block_length_that_is_not_the_volumes_is_an_invalid_field() {
    let refused = Course::new(list([512, 512], &[]), parties([ONE, TWO], [512, 4096]));
    assert_eq!(refused.unwrap_err(), sense::INVALID_FIELD_IN_LIST.at_list(77));
}

fn status(list: u8) -> Cdb {
    Cdb::ReceiveCopyResults { action: action::COPY_STATUS, list, allocation: 100 }
}

fn details(list: u8) -> Cdb {
    Cdb::ReceiveCopyResults { action: action::FAILED_SEGMENT_DETAILS, list, allocation: 100 }
}

fn begin(talk: &mut Talk, list: &List) {
    let bytes = list.build();
    let len = u32::try_from(bytes.len()).unwrap();
    talk.list(A, Cdb::ExtendedCopy { len }, &bytes);
}

#[test]
fn results_are_kept_for_the_nexus_that_asked_until_they_are_told() {
    let copy = list([4096, 4096], &[segment(0, 8, 2)]);
    let done = Progress { standing: Standing::Done, segments: 1, bytes: 8192 };
    check(
        disk(),
        |talk| {
            talk.join(B);
            assert!(talk.unit.attentions.take(B).is_some());
            talk.send(A, status(5));
            begin(talk, &copy);
            begin(talk, &copy);
            assert_eq!(data(talk.send(A, status(5)))[4..7], [0, 0, 0]);
            talk.unit.copy_ended(A, (5, Usage::Hold), done, None);
            talk.send(B, status(5));
            assert_eq!(data(talk.send(A, status(5)))[4..], [1, 0, 1, 0, 0, 0, 0x20, 0]);
            talk.send(A, status(5));
        },
        "
        IllegalRequest 24/00 at 2
        parameters 108
        copy 1 segments, wanted 108
        parameters 108
        IllegalRequest 00/16, wanted 108
        Good, wanted 12
        IllegalRequest 24/00 at 2
        Good, wanted 12
        IllegalRequest 24/00 at 2
        ",
    );
}

#[test]
fn a_failure_is_told_in_detail_and_once() {
    let copy = list([4096, 4096], &[segment(0, 8, 2)]);
    let failed = Progress { standing: Standing::Failed, segments: 0, bytes: 0 };
    let why = (Status::CheckCondition, sense::COPY_TARGET_NOT_REACHABLE.in_segment(0, Some(6)));
    check(
        disk(),
        |talk| {
            begin(talk, &copy);
            talk.unit.copy_ended(A, (5, Usage::Hold), failed, Some(why));
            talk.send(A, status(5));
            assert_eq!(Sense::parse(&data(talk.send(A, details(5)))[60..]).unwrap().ascq, 2);
            talk.send(A, details(5));
            begin(talk, &copy);
            talk.unit.reset();
            talk.send(A, status(5));
            talk.send(A, status(5));
        },
        "
        parameters 108
        copy 1 segments, wanted 108
        Good, wanted 12
        Good, wanted 78
        IllegalRequest 24/00 at 2
        parameters 108
        copy 1 segments, wanted 108
        UnitAttention 29/03
        IllegalRequest 24/00 at 2
        ",
    );
}

#[test]
fn other_service_actions_and_endless_lists_are_refused_before_the_list_is_sent() {
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::ExtendedCopy { len: 0 });
            talk.send(A, Cdb::ExtendedCopy { len: 65_537 });
            talk.send(A, Cdb::ReceiveCopyResults { action: 5, list: 0, allocation: 100 });
            talk.send(A, Cdb::ReceiveCopyResults { action: 3, list: 0, allocation: 100 });
        },
        "
        Good
        IllegalRequest 1A/00
        IllegalRequest 24/00 at 1.4
        Good, wanted 46
        ",
    );
}

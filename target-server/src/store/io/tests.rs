//! An I/O goes on from wherever an operation left it, and tells the truth at the end.

use outband_ring::Descriptors;
use uuid::Uuid;

use super::*;
use crate::layer::Segment;

/// Two files of 4096 bytes each, the volume's first and second half.
fn two_files() -> Linear {
    let mut table = Descriptors::new();
    let (first, second) = (table.adopt(()), table.adopt(()));
    let segment =
        |file, device| Segment::file(Uuid::from_u128(device), file, 1 << 20, 4096, ZeroWith::Range);
    Linear::new(vec![segment(first, 1), segment(second, 2)])
}

fn submit(io: &mut Io, volume: &mut Linear) -> Op {
    match io.step(volume) {
        Step::Submit(op) => op,
        Step::Done(done) => panic!("ended early: {done:?}"),
    }
}

fn end(io: &mut Io, volume: &mut Linear) -> Result<(), StoreError> {
    match io.step(volume) {
        Step::Done(done) => done.result,
        Step::Submit(op) => panic!("one operation too many: {op:?}"),
    }
}

#[test]
fn a_write_over_two_extents_goes_on_after_short_transfers() {
    let mut volume = two_files();
    let work = Work::Write { buf: Buf::zeroed(8192), durable: true };
    let mut io = Io::new(work, 0, 8192);
    let mut pieces = Vec::new();
    for count in [1024, 3072, 4096] {
        let op = submit(&mut io, &mut volume);
        let Op::Write { offset, at, dsync: true, .. } = &op else {
            panic!("not a durable write: {op:?}");
        };
        pieces.push((*offset - (1 << 20), at.clone()));
        io.completed(Ok(Done::Bytes(count)), op, &volume).unwrap();
    }
    assert_eq!(end(&mut io, &mut volume), Ok(()));
    assert_eq!(pieces, [(0, 0..4096), (1024, 1024..4096), (0, 4096..8192)]);
}

#[test]
fn a_flush_syncs_each_device_once_and_is_never_tried_again() {
    let mut volume = two_files();
    let mut io = Io::new(Work::Flush, 0, 0);
    let op = submit(&mut io, &mut volume);
    io.completed(Ok(Done::Finished), op, &volume).unwrap();
    let op = submit(&mut io, &mut volume);
    let failed = io.completed(Err(Errno::IO), op, &volume);
    assert_eq!(failed, Err(StoreError::Sync(Errno::IO)));
    assert!(failed.unwrap_err().is_final());
}

#[test]
fn a_transient_error_is_tried_again_and_not_for_ever() {
    let again = Errno::from_raw(11);
    let mut volume = two_files();
    let mut io = Io::new(Work::Read(Buf::zeroed(4096)), 0, 4096);
    for _ in 0..RETRIES_MAX {
        let op = submit(&mut io, &mut volume);
        io.completed(Err(again), op, &volume).unwrap();
    }
    let op = submit(&mut io, &mut volume);
    assert_eq!(io.completed(Err(again), op, &volume), Err(StoreError::Read(again)));
}

#[test]
fn a_device_that_ends_early_is_an_error_and_not_zeros() {
    let mut volume = two_files();
    let mut io = Io::new(Work::Read(Buf::zeroed(4096)), 0, 4096);
    let op = submit(&mut io, &mut volume);
    assert_eq!(io.completed(Ok(Done::Bytes(0)), op, &volume), Err(StoreError::Truncated));
}

#[test]
fn zeros_are_written_where_the_device_offers_nothing_better() {
    let mut volume = two_files();
    let mut io = Io::new(Work::Zero { unmap: true }, 0, 4096);
    let op = submit(&mut io, &mut volume);
    assert!(matches!(op, Op::Zero { how: Zero::Punch, len: 4096, .. }));
    io.completed(Err(Errno::OPNOTSUPP), op, &volume).unwrap();
    let op = submit(&mut io, &mut volume);
    assert!(matches!(&op, Op::Write { buf, .. } if buf[..4096].iter().all(|byte| *byte == 0)));
    io.completed(Ok(Done::Bytes(4096)), op, &volume).unwrap();
    assert_eq!(end(&mut io, &mut volume), Ok(()));
}

#[test]
fn memory_is_read_and_written_on_the_spot() {
    let mut volume = Linear::new(vec![Segment::memory(Uuid::nil(), 8192)]);
    let mut buf = Buf::zeroed(4096);
    buf[..4096].fill(7);
    let mut write = Io::new(Work::Write { buf, durable: false }, 4096, 4096);
    assert_eq!(end(&mut write, &mut volume), Ok(()));
    let mut read = Io::new(Work::Read(Buf::zeroed(8192)), 0, 8192);
    let Step::Done(IoDone { result: Ok(()), buf: Some(buf), .. }) = read.step(&mut volume) else {
        panic!("memory answers at once");
    };
    assert!(buf[..4096].iter().all(|byte| *byte == 0) && buf[4096..8192].iter().all(|b| *b == 7));
}

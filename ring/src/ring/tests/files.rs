use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::*;

/// A temporary file of 64 KiB of 0xa5, in the ring, and the same file outside.
fn file(ring: &mut UringRing) -> (Fd, File) {
    let outside = tempfile::tempfile().expect("temporary file");
    let file = ring.adopt(outside.try_clone().expect("a descriptor").into());
    let buf = filled(64 * KIB, 0xa5);
    let (result, _) = write(ring, file, 0, buf, false);
    assert_eq!(result, Ok(Done::Bytes(65536)));
    (file, outside)
}

fn filled(len: usize, byte: u8) -> Buf {
    let mut buf = Buf::zeroed(len);
    buf.fill(byte);
    buf
}

fn write(
    ring: &mut UringRing,
    file: Fd,
    offset: u64,
    buf: Buf,
    dsync: bool,
) -> (Result<Done, Errno>, Op) {
    let at = 0..buf.len();
    run(ring, Op::Write { file, offset, buf, at, dsync })
}

fn read(ring: &mut UringRing, file: Fd, offset: u64, len: usize) -> Vec<u8> {
    let buf = filled(len, 0xff);
    let (result, op) = run(ring, Op::Read { file, offset, buf, at: 0..len });
    let (Ok(Done::Bytes(read)), Op::Read { buf, .. }) = (result, op) else {
        panic!("read failed: {result:?}");
    };
    buf[..read as usize].to_vec()
}

#[test]
fn what_is_written_is_read() {
    let mut ring = ring_of(4);
    let (file, _outside) = file(&mut ring);
    let mut buf = Buf::zeroed(4 * KIB);
    buf[10..14].copy_from_slice(b"here");
    let op = Op::Write { file, offset: 1000, buf, at: 10..14, dsync: false };
    assert_eq!(run(&mut ring, op).0, Ok(Done::Bytes(4)));
    assert_eq!(read(&mut ring, file, 998, 8), b"\xa5\xa5here\xa5\xa5");
}

#[test]
fn durable_writes_and_syncs_finish() {
    let mut ring = ring_of(4);
    let (file, _outside) = file(&mut ring);
    let (result, _) = write(&mut ring, file, 4096, filled(4 * KIB, 1), true);
    assert_eq!(result, Ok(Done::Bytes(4096)));
    assert_eq!(run(&mut ring, Op::Sync { file }).0, Ok(Done::Finished));
    assert_eq!(read(&mut ring, file, 4096, 4 * KIB), [1; 4096]);
}

#[test]
fn reading_past_the_end_is_zero_bytes() {
    let mut ring = ring_of(4);
    let (file, _outside) = file(&mut ring);
    assert_eq!(read(&mut ring, file, 65536, 16), b"");
    assert_eq!(read(&mut ring, file, 65536 - 4, 16), [0xa5; 4]);
}

#[test]
fn a_punched_range_reads_as_zeros_and_the_length_stays() {
    let mut ring = ring_of(4);
    let (file, outside) = file(&mut ring);
    let op = Op::Zero { file, offset: 4096, len: 61440, how: Zero::Punch };
    assert_eq!(run(&mut ring, op).0, Ok(Done::Finished));
    assert_eq!(read(&mut ring, file, 0, 4 * KIB), [0xa5; 4096]);
    assert_eq!(read(&mut ring, file, 4096, 16 * KIB), [0; 16384]);
    assert_eq!(outside.metadata().unwrap().len(), 65536);
}

#[test]
fn a_zeroed_range_reads_as_zeros_or_is_refused_whole() {
    let mut ring = ring_of(4);
    let (file, _outside) = file(&mut ring);
    let op = Op::Zero { file, offset: 8192, len: 4096, how: Zero::Range };
    // Not every file system has this one; tmpfs has not.
    let expected = match run(&mut ring, op).0 {
        Ok(done) => {
            assert_eq!(done, Done::Finished);
            0
        }
        Err(error) => {
            assert_eq!(error, Errno::OPNOTSUPP);
            0xa5
        }
    };
    assert_eq!(read(&mut ring, file, 8192, 4 * KIB), [expected; 4096]);
    assert_eq!(read(&mut ring, file, 12288, 4 * KIB), [0xa5; 4096]);
}

#[test]
fn buffers_are_aligned_enough_for_direct_io() {
    let mut ring = ring_of(4);
    let folder = tempfile::tempdir().unwrap();
    let direct = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_DIRECT)
        .open(folder.path().join("disk"));
    let Ok(direct) = direct else {
        return; // This file system has no direct I/O.
    };
    let file = ring.adopt(direct.into());
    let (result, _) = write(&mut ring, file, 4096, filled(16 * KIB, 7), true);
    assert_eq!(result, Ok(Done::Bytes(16384)));
    assert_eq!(read(&mut ring, file, 4096, 16 * KIB), [7; 16384]);
}

#[test]
fn an_error_of_the_file_comes_with_the_buffer() {
    let mut ring = ring_of(4);
    let read_only = ring.adopt(File::open("/dev/null").unwrap().into());
    let (result, op) = write(&mut ring, read_only, 0, filled(4 * KIB, 9), false);
    assert_eq!(result, Err(Errno::BADF));
    assert!(matches!(op, Op::Write { buf, .. } if buf.iter().all(|byte| *byte == 9)));
}

#[test]
fn a_survey_tells_data_from_holes() {
    let mut ring = ring_of(4);
    let outside = tempfile::tempfile().expect("temporary file");
    outside.set_len(512 * KIB as u64).expect("a length");
    let file = ring.adopt(outside.try_clone().expect("a descriptor").into());
    let (written, _) = write(&mut ring, file, 64 * KIB as u64, filled(64 * KIB, 1), false);
    assert_eq!(written, Ok(Done::Bytes(65536)));
    let mut survey = |offset, len, at_most| {
        let op = Op::Survey { file, offset, len, at_most, found: Vec::new() };
        let (Ok(Done::Finished), Op::Survey { found, .. }) = run(&mut ring, op) else {
            panic!("no survey of {offset}+{len}");
        };
        found.iter().map(|stretch| (stretch.len, stretch.mapped)).collect::<Vec<_>>()
    };
    let (half, all) = (64 * KIB as u64, 512 * KIB as u64);
    assert_eq!(survey(0, all, 9), [(half, false), (half, true), (6 * half, false)]);
    assert_eq!(survey(0, all, 2), [(half, false), (half, true)], "that was enough");
    assert_eq!(survey(half + 4096, 8192, 9), [(8192, true)]);
    assert_eq!(survey(all, 4096, 9), [(4096, false)], "behind the end there is nothing");
}

#[test]
fn a_ring_that_goes_waits_for_its_surveys() {
    let mut ring = ring_of(4);
    let (file, _outside) = file(&mut ring);
    for token in 0..3 {
        let op = Op::Survey { file, offset: 0, len: 4096, at_most: 1, found: Vec::new() };
        ring.push(Token(token), op).expect("room");
    }
    assert_eq!(ring.in_flight(), 3);
    drop(ring);
}

#[test]
fn a_survey_of_a_closed_file_fails() {
    let mut ring = ring_of(4);
    let (file, _outside) = file(&mut ring);
    ring.close(file);
    let op = Op::Survey { file, offset: 0, len: 4096, at_most: 1, found: Vec::new() };
    assert_eq!(run(&mut ring, op).0, Err(Errno::BADF));
}

/// How a read or write ended that is over when it was pushed.
fn at_once(ring: &mut UringRing, op: Op) -> Option<Result<Done, Errno>> {
    ring.push(Token(1), op).unwrap();
    ring.next_completion().map(|completion| completion.result)
}

#[test]
fn a_small_write_to_memory_is_done_when_it_is_pushed() {
    let mut ring = ring_of(64);
    let outside = tempfile::tempfile_in("/dev/shm").expect("tests need /dev/shm");
    outside.write_all_at(&[0xa5; 64 * KIB], 0).unwrap();
    let file = ring.adopt(outside.try_clone().unwrap().into());
    ring.wait(Some(Duration::ZERO)).unwrap();
    let write = |len: usize, dsync| {
        let buf = filled(len, 3);
        Op::Write { file, offset: 4096, buf, at: 0..len, dsync }
    };
    // One that was slow, as on a busy machine any may be, sends those after it through the ring.
    let done = (0..1000).find_map(|_| {
        let done = at_once(&mut ring, write(4 * KIB, false));
        if done.is_none() {
            assert!(next(&mut ring).result.is_ok());
            std::thread::sleep(Duration::from_millis(10));
        }
        done
    });
    assert_eq!(done, Some(Ok(Done::Bytes(4096))));
    let mut there = [0; 12 * KIB];
    outside.read_exact_at(&mut there, 0).unwrap();
    assert_eq!((there[4095], there[4096], there[8191], there[8192]), (0xa5, 3, 3, 0xa5));
    assert_eq!(at_once(&mut ring, write(4 * KIB, true)), None, "it waits for the device");
    assert_eq!(at_once(&mut ring, write(128 * KIB, false)), None, "it takes long");
    // So many that the others would wait, until the next turn.
    let soon: Vec<_> = (0..20).map(|_| at_once(&mut ring, write(64 * KIB, false))).collect();
    assert!(soon[..10].iter().flatten().all(|done| *done == Ok(Done::Bytes(65536))));
    assert!(soon.contains(&None));
    while ring.in_flight() > 0 {
        assert!(next(&mut ring).result.is_ok());
    }
}

#[test]
fn tmpfs_is_read_when_it_is_asked_and_nothing_is_read_of_a_closed_file() {
    let mut ring = ring_of(4);
    let outside = tempfile::tempfile_in("/dev/shm").expect("tests need /dev/shm");
    outside.write_all_at(b"there", 0).unwrap();
    // Since Linux 6.6 it takes O_DIRECT, which is how devices are opened.
    let _ = rustix::fs::fcntl_setfl(&outside, rustix::fs::OFlags::DIRECT);
    let file = ring.adopt(outside.try_clone().unwrap().into());
    let read = |at| Op::Read { file, offset: 0, buf: filled(4 * KIB, 0), at };
    assert_eq!(at_once(&mut ring, read(0..4096)), Some(Ok(Done::Bytes(5))));
    ring.close(file);
    assert_eq!(at_once(&mut ring, read(0..4096)), Some(Err(Errno::BADF)));
}

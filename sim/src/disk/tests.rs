use super::*;

const SECTOR: usize = 512;

fn disk() -> Disk {
    Disk::new(1 << 20, SECTOR, Faults::default())
}

/// One write, from its start to its end.
fn write(disk: &mut Disk, rng: &mut Rng, op: u64, at: u64, fill: u8, sectors: usize, dsync: bool) {
    let (op, len) = (OpId(op), SECTOR * sectors);
    let asked = Asked::Write { len, dsync };
    disk.submit(op, asked, rng);
    disk.begin_write(op, at * SECTOR as u64, &vec![fill; len], false);
    disk.write_some(op, rng);
    disk.end(op, asked, Ok(len), rng);
}

fn sync(disk: &mut Disk, rng: &mut Rng, op: u64, result: Result<usize, Errno>) {
    disk.submit(OpId(op), Asked::Sync, rng);
    disk.end(OpId(op), Asked::Sync, result, rng);
}

fn at(disk: &Disk, sector: u64) -> u8 {
    let bytes = disk.peek(sector * SECTOR as u64, SECTOR);
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a sector is never torn");
    bytes[0]
}

/// What sector 0 can read as after a power cut, over many seeds.
fn survivors(prepare: impl Fn(&mut Disk, &mut Rng)) -> Vec<u8> {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (mut disk, mut rng) = (disk(), Rng::new(seed));
        prepare(&mut disk, &mut rng);
        disk.cut_power(&mut rng);
        seen.insert(at(&disk, 0));
    }
    seen.into_iter().collect()
}

#[test]
fn a_write_that_was_not_synced_may_survive_or_not() {
    let seen = survivors(|disk, rng| {
        write(disk, rng, 1, 0, 1, 4, false);
        write(disk, rng, 2, 0, 2, 4, false);
    });
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn a_synced_write_survives_and_a_later_one_may() {
    let seen = survivors(|disk, rng| {
        write(disk, rng, 1, 0, 1, 1, false);
        sync(disk, rng, 2, Ok(0));
        write(disk, rng, 3, 0, 3, 1, false);
    });
    assert_eq!(seen, [1, 3]);
    assert_eq!(survivors(|disk, rng| write(disk, rng, 1, 0, 1, 1, true)), [1]);
}

#[test]
fn a_sync_does_not_cover_what_ended_after_it_was_submitted() {
    let seen = survivors(|disk, rng| {
        disk.submit(OpId(9), Asked::Sync, rng);
        write(disk, rng, 1, 0, 1, 1, false);
        disk.end(OpId(9), Asked::Sync, Ok(0), rng);
    });
    assert_eq!(seen, [0, 1]);
}

#[test]
fn what_a_failed_sync_lost_no_later_one_brings_back() {
    let seen = survivors(|disk, rng| {
        write(disk, rng, 1, 0, 1, 1, false);
        sync(disk, rng, 2, Err(Errno::IO));
        sync(disk, rng, 3, Ok(0));
    });
    assert_eq!(seen, [0, 1]);
}

#[test]
fn a_write_is_torn_by_a_power_cut_between_its_sectors() {
    let torn = (0..50).any(|seed| {
        let (mut disk, mut rng) = (disk(), Rng::new(seed));
        write(&mut disk, &mut rng, 1, 0, 1, 8, false);
        disk.cut_power(&mut rng);
        let left: Vec<_> = (0..8).map(|sector| at(&disk, sector)).collect();
        left.contains(&0) && left.contains(&1)
    });
    assert!(torn);
}

#[test]
fn killing_the_process_loses_nothing_that_has_ended() {
    let (mut disk, mut rng) = (disk(), Rng::new(3));
    write(&mut disk, &mut rng, 1, 0, 1, 1, false);
    disk.kill_process(&mut rng);
    assert_eq!(at(&disk, 0), 1);
}

#[test]
fn zeroed_sectors_read_as_zeros() {
    let (mut disk, mut rng) = (disk(), Rng::new(3));
    write(&mut disk, &mut rng, 1, 0, 1, 4, true);
    disk.submit(OpId(2), Asked::Zero, &mut rng);
    disk.begin_zero(OpId(2), SECTOR as u64, 2 * SECTOR as u64, false);
    disk.end(OpId(2), Asked::Zero, Ok(0), &mut rng);
    assert_eq!((0..4).map(|sector| at(&disk, sector)).collect::<Vec<_>>(), [1, 0, 0, 1]);
}

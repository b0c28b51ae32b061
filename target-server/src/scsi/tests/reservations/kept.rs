//! What survives power loss (APTPL).

use super::*;
use crate::scsi::{Damaged, Kept, SLOT_LEN, slot_at};

/// The file, as the shard writes it.
struct Disk {
    bytes: Vec<u8>,
    number: u64,
}

impl Disk {
    fn new() -> Self {
        Self { bytes: vec![0; 2 * SLOT_LEN], number: 0 }
    }

    fn write(&mut self, unit: &LogicalUnit) {
        self.write_part(unit, usize::MAX);
        self.number += 1;
    }

    /// A write that a power cut ends after `len` bytes.
    fn write_part(&mut self, unit: &LogicalUnit, len: usize) {
        let record = unit.reservations_record(self.number + 1);
        let len = record.len().min(len);
        let at = usize::try_from(slot_at(self.number + 1)).unwrap();
        self.bytes[at..at + len].copy_from_slice(&record[..len]);
    }

    fn load(&self) -> Option<Kept> {
        Kept::load(&self.bytes, disk().uuid).unwrap()
    }
}

/// A host that asks for its reservation to be kept.
fn keeping() -> Talk {
    let mut talk = Talk::of_three();
    talk.unit.restore_reservations(None);
    let list = List { service_key: 1, persist: true, ..List::default() };
    assert_eq!(talk.out(A, Action::Register, None, &list.build()), "Good");
    talk
}

/// The same volume after a restart, with A and B logged in again.
fn restarted(from: &Disk) -> Talk {
    let mut talk = Talk::of_three();
    talk.unit.restore_reservations(from.load());
    talk
}

fn capabilities(talk: &mut Talk) -> (bool, bool) {
    let cdb = Cdb::PersistentReserveIn { what: ReserveIn::ReportCapabilities, allocation: 8 };
    let data = data(talk.send(A, cdb));
    (data[2] & 0x01 != 0, data[3] & 0x01 != 0)
}

#[test]
fn without_a_place_for_it_nothing_is_promised() {
    let mut talk = Talk::of_three();
    assert_eq!(capabilities(&mut talk), (false, false));
    let list = List { service_key: 1, persist: true, ..List::default() };
    let said = talk.out(A, Action::Register, None, &list.build());
    assert_eq!(said, "IllegalRequest 26/00 in the list");
    assert_eq!(talk.keys(), (0, vec![]));
    assert_eq!(talk.unit.reservations_version(), 0);
}

#[test]
fn every_change_is_kept_while_it_is_wanted_and_the_end_of_wanting_it_too() {
    let mut talk = keeping();
    assert_eq!(capabilities(&mut talk), (true, true));
    let mut version = talk.unit.reservations_version();
    assert!(version > 0);
    let mut grows = |talk: &Talk| {
        let before = std::mem::replace(&mut version, talk.unit.reservations_version());
        version > before
    };
    talk.reserve(A, 1, Kind::WriteExclusive);
    assert!(grows(&talk));
    talk.release(A, 1, Kind::WriteExclusive);
    assert!(grows(&talk));
    // The last REGISTER says whether anything is kept.
    talk.enrol(B, 2);
    assert!(grows(&talk));
    assert_eq!(capabilities(&mut talk), (true, false));
    talk.reserve(A, 1, Kind::WriteExclusive);
    assert!(!grows(&talk));
    let mut disk = Disk::new();
    disk.write(&talk.unit);
    assert!(disk.load().unwrap().is_empty());
}

#[test]
fn registrations_and_the_reservation_are_there_after_a_restart() {
    for kind in KINDS {
        let mut talk = keeping();
        let list = List { service_key: 2, persist: true, ..List::default() };
        talk.out(B, Action::Register, None, &list.build());
        talk.reserve(A, 1, kind);
        let (before, status) = (talk.held(), talk.full_status());
        let mut disk = Disk::new();
        disk.write(&talk.unit);
        let mut talk = restarted(&disk);
        assert_eq!((talk.held(), talk.full_status()), (before, status));
        assert_eq!(talk.keys().0, 0, "PRGENERATION begins anew");
        assert_eq!(talk.access(A), (true, true));
        assert_eq!(talk.access(C), (!kind.is_exclusive(), false));
        assert_eq!(capabilities(&mut talk), (true, true));
    }
}

#[test]
fn a_power_cut_at_any_byte_leaves_the_state_before_or_after() {
    let mut talk = keeping();
    let mut disk = Disk::new();
    // The very first record may be cut short too.
    let whole = talk.unit.reservations_record(1).len();
    for cut in 0..whole {
        let mut first = Disk::new();
        first.write_part(&talk.unit, cut);
        assert_eq!(first.load(), None, "cut at {cut}");
    }
    for round in 0..4 {
        disk.write(&talk.unit);
        let before = disk.load();
        talk.reserve(A, 1, Kind::ExclusiveAccess);
        let list = List { service_key: round + 2, persist: true, ..List::default() };
        talk.out(B, Action::RegisterAndIgnore, None, &list.build());
        let whole = talk.unit.reservations_record(disk.number + 1).len();
        for cut in 0..whole {
            let mut torn = Disk { bytes: disk.bytes.clone(), number: disk.number };
            torn.write_part(&talk.unit, cut);
            assert_eq!(torn.load(), before, "round {round}, cut at {cut}");
        }
    }
}

#[test]
fn a_damaged_record_is_never_read_as_another_state() {
    let mut talk = keeping();
    talk.reserve(A, 1, Kind::ExclusiveAccess);
    let record = talk.unit.reservations_record(2);
    let mut file = vec![0; 2 * SLOT_LEN];
    file[..record.len()].copy_from_slice(&record);
    let good = Kept::load(&file, disk().uuid).unwrap();
    assert!(good.is_some());
    for at in 0..record.len() {
        file[at] ^= 1;
        assert_eq!(Kept::load(&file, disk().uuid), Ok(None), "byte {at}");
        file[at] ^= 1;
    }
    // Another volume's are not this one's.
    assert_eq!(Kept::load(&file, Uuid::from_u128(1)), Ok(None));
    // Two damaged records: nobody knows, and that is said.
    file[9] ^= 1;
    file[SLOT_LEN] = 1;
    assert_eq!(Kept::load(&file, disk().uuid), Err(Damaged));
}

#[test]
fn a_record_from_when_a_target_had_one_port_is_of_the_first() {
    let name = port(A).name.to_string();
    let mut record = [&b"OBRESERV"[..], &[0, 0, 0, 1], disk().uuid.as_bytes()].concat();
    record.extend(1u64.to_be_bytes());
    // Held as exclusive access by its one registrant, who has said ALL_TG_PT.
    let mut body = vec![3, 1, 0x03];
    body.extend(7u64.to_be_bytes());
    body.extend(port(A).isid.0);
    body.push(u8::try_from(name.len()).unwrap());
    body.extend(name.as_bytes());
    record.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    record.extend(body);
    record.extend(crc_fast::crc32_iscsi(&record).to_be_bytes());

    let mut talk = Talk::of_three();
    talk.unit.restore_reservations(Kept::load(&record, disk().uuid).unwrap());
    assert_eq!(talk.held(), Some((7, Kind::ExclusiveAccess)));
    let status = &talk.full_status()[0];
    assert_eq!((status.port.clone(), status.relative_port), (port(A), 2));
    assert_eq!([A, B].map(|nexus| talk.access(nexus)), [(true, true), (false, false)]);
}

#[test]
fn the_fullest_record_fits_its_slot() {
    let mut talk = Talk::of_three();
    talk.unit.restore_reservations(None);
    let long = "a".repeat(223 - "iqn.2026-11.local:000".len());
    let name = |number| format!("iqn.2026-11.local:{number:03}{long}").parse().unwrap();
    let port = |number| InitiatorPort { name: name(number), isid: Isid([0x80, 0, 0, 0, 0, 1]) };
    for number in 0..128 {
        let nexus = NexusId(100 + number);
        talk.unit.attach(nexus, port(number), DEFAULT_GROUP);
        talk.told(nexus);
        let list = List { service_key: u64::MAX, persist: true, ..List::default() };
        assert_eq!(talk.out(nexus, Action::Register, None, &list.build()), "Good");
    }
    let record = talk.unit.reservations_record(1);
    assert!(record.len() <= SLOT_LEN, "{}", record.len());
    let mut disk = Disk::new();
    disk.write(&talk.unit);
    let mut after = Talk::of_three();
    after.unit.restore_reservations(disk.load());
    assert_eq!(after.full_status(), talk.full_status());
}

#[test]
fn what_a_host_registered_goes_with_its_grant() {
    let mut talk = keeping();
    let list = List { service_key: 2, persist: true, ..List::default() };
    talk.out(B, Action::Register, None, &list.build());
    talk.reserve(A, 1, Kind::WriteExclusiveRegistrants);
    let version = talk.unit.reservations_version();
    talk.unit.grant_ended(Some("iqn.2026-11.local.nobody"));
    assert_eq!(talk.unit.reservations_version(), version);
    talk.unit.grant_ended(Some(port(A).name.as_str()));
    assert!(talk.unit.reservations_version() > version);
    assert_eq!((talk.held(), talk.keys().1), (None, vec![2]));
    assert_eq!(talk.told(B), RELEASED);
    talk.send(B, Cdb::StartStopUnit(StartStop::default()));
    assert_eq!(talk.told(B), "NotReady 04/02");
    talk.unit.grant_ended(None);
    assert_eq!(talk.keys().1, [] as [u64; 0]);
    assert_eq!(talk.told(B), "Good");
}

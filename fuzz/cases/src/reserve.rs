//! Commands and parameter lists of persistent reservations from five nexuses. Nothing panics, what is
//! kept over power loss says the same when it is read again, and of a reservation for one there is at
//! most one holder.
//!
//! An input is a row of steps: a byte for what is done and by whom, a byte of length, and so many
//! bytes of a command block or a parameter list.

use outband_protocol::ids::{Isid, Lun};
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::cdb::{ReserveOut, ReserveOutAction};
use outband_protocol::scsi::reserve::{InitiatorPort, Kind, parse_full_status};
use outband_target_server::scsi::{Kept, LogicalUnit, NexusId, Plan, Request, SLOT_LEN};

use crate::unit::{UNIT, logical_unit};

const NEXUSES: u32 = 5;

fn attach(unit: &mut LogicalUnit, nexus: u32) {
    let name = format!("iqn.2026-11.local.host:h{}", nexus % 3);
    let [.., last] = nexus.to_be_bytes();
    let name = name.parse().expect("a name");
    let port = InitiatorPort { name, isid: Isid([0x80, 0, 0, 0, 0, last]) };
    unit.attach(NexusId(nexus), port, 1 + u16::from(last % 2));
}

/// See the module.
pub fn run(mut input: &[u8]) {
    let mut unit = logical_unit();
    unit.restore_reservations(None);
    (0..NEXUSES).for_each(|nexus| attach(&mut unit, nexus));
    let mut number = 0;
    while let [what, len, rest @ ..] = input {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        input = rest;
        let nexus = u32::from(what >> 4) % NEXUSES;
        step(&mut unit, what & 15, nexus, bytes);
        number += 1;
        check(&mut unit, number);
    }
}

fn step(unit: &mut LogicalUnit, what: u8, nexus: u32, bytes: &[u8]) {
    let by = NexusId(nexus);
    match what {
        0 => {
            unit.detach(by);
            attach(unit, nexus);
        }
        1 => unit.reset(),
        2 => {
            let _ = unit.is_barred(by, bytes);
        }
        3 => any_command(unit, by, bytes),
        _ => {
            let [action, kind, list @ ..] = bytes else {
                return;
            };
            let action = ACTIONS[usize::from(*action) % ACTIONS.len()];
            let kind = Kind::from_code(kind & 15);
            let len = u32::try_from(list.len()).expect("at most 253");
            let cdb = Cdb::PersistentReserveOut(ReserveOut::new(action, kind, len));
            let _ = unit.with_parameters(by, &cdb, list);
        }
    }
}

const ACTIONS: [ReserveOutAction; 8] = [
    ReserveOutAction::Register,
    ReserveOutAction::Reserve,
    ReserveOutAction::Release,
    ReserveOutAction::Clear,
    ReserveOutAction::Preempt,
    ReserveOutAction::PreemptAndAbort,
    ReserveOutAction::RegisterAndIgnore,
    ReserveOutAction::RegisterAndMove,
];

/// A command block, and behind it what would be its parameter list.
fn any_command(unit: &mut LogicalUnit, by: NexusId, bytes: &[u8]) {
    let (cdb, list) = bytes.split_at(bytes.len().min(16));
    let offered = u32::try_from(list.len()).expect("at most 239");
    let plan = unit.begin(by, &Request { lun: Lun::ZERO, cdb, offered });
    if let Plan::Parameters { cdb, len } = plan {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(list.len());
        let _ = unit.with_parameters(by, &cdb, &list[..len]);
    }
}

fn check(unit: &mut LogicalUnit, number: u64) {
    let record = unit.reservations_record(number);
    let mut file = vec![0; 2 * SLOT_LEN];
    file[..record.len()].copy_from_slice(&record);
    let kept = Kept::load(&file, UNIT).expect("it was just written");
    let mut again = logical_unit();
    again.restore_reservations(kept);
    assert_eq!(again.reservations_record(number), record);

    let cdb = [0x5e, 3, 0, 0, 0, 0, 0, 0xff, 0xff, 0];
    let request = Request { lun: Lun::ZERO, cdb: &cdb, offered: 0 };
    // The first answer may be a unit attention.
    let mut replies = (0..8).map(|_| unit.begin(NexusId(0), &request));
    let full = replies.find_map(|plan| match plan {
        Plan::Reply(reply) if reply.sense.is_none() => Some(reply.data),
        _ => None,
    });
    let Some(full) = full.filter(|full| !full.is_empty()) else {
        return;
    };
    let (_, all) = parse_full_status(&full).expect("what is reported can be read");
    let holders = all.iter().filter_map(|one| one.holds).collect::<Vec<_>>();
    let shared = holders.iter().all(|kind| kind.is_for_all());
    assert!(shared || holders.len() <= 1, "{holders:?}");
}

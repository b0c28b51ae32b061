//! Commands from two sessions to the device server of a disk, each with what it brings along. None
//! panics, what is to be done lies on the medium and within what was offered, and what is told of a
//! failure can be read again.
//!
//! An input is a row of commands: a byte for whose it is and what else happens, four for how much is
//! offered, a command block of 16, two for a length, and so many bytes of a parameter list.

use outband_protocol::ids::{Isid, Lun};
use outband_protocol::limits::BURST_LEN_MAX;
use outband_protocol::scsi::copy::List;
use outband_protocol::scsi::reserve::InitiatorPort;
use outband_protocol::scsi::{Sense, Status};
use outband_target_server::scsi::{
    Course, LogicalUnit, LuConfig, NexusId, Party, Plan, Reply, Request, TargetPort, is_named,
};
use uuid::Uuid;

pub(crate) const UNIT: Uuid = Uuid::from_u128(7);
const BLOCKS: u64 = 2048;
const BLOCK_SIZE: u32 = 512;
/// What a copy moves at once.
const PIECE: u32 = 1 << 20;

/// The bits of a command's first byte.
const OTHER_SESSION: u8 = 0x01;
const OTHER_UNIT: u8 = 0x02;
const RESET: u8 = 0x04;
const WIPE_FAILS: u8 = 0x08;

/// A logical unit that offers everything, and may be reached by two portal groups.
pub(crate) fn logical_unit() -> LogicalUnit {
    let port = TargetPort::first("iqn.2026-11.local.outband:fuzz:v".to_owned());
    LogicalUnit::new(LuConfig {
        portal_groups: vec![1, 2],
        write_cache: true,
        unmap: true,
        atomic: true,
        sanitize: true,
        ..LuConfig::new(UNIT, port, BLOCKS, BLOCK_SIZE)
    })
}

/// See the module.
pub fn run(mut input: &[u8]) {
    let mut unit = logical_unit();
    unit.restore_reservations(None);
    for nexus in [0, 1] {
        let name = "iqn.2026-11.local.host:a".parse().expect("a name");
        let isid = Isid([0x80, 0, 0, 0, 0, nexus]);
        unit.attach(NexusId(nexus.into()), InitiatorPort { name, isid }, 1);
    }
    while let Some((head, rest)) = input.split_first_chunk::<23>() {
        let [what, a, b, c, d, cdb @ .., high, low] = *head;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (list, rest) = rest.split_at(rest.len().min(len));
        input = rest;
        command(&mut unit, what, u32::from_be_bytes([a, b, c, d]), &cdb, list);
    }
}

fn command(unit: &mut LogicalUnit, what: u8, offered: u32, cdb: &[u8; 16], list: &[u8]) {
    if what & RESET != 0 {
        unit.reset();
    }
    let nexus = NexusId(u32::from(what & OTHER_SESSION));
    let lun = if what & OTHER_UNIT == 0 { Lun::ZERO } else { Lun(1 << 48) };
    let mut plan = unit.begin(nexus, &Request { lun, cdb, offered });
    if let Plan::Parameters { cdb, len } = plan {
        let len = len.min(offered);
        assert!(len <= BURST_LEN_MAX, "a list is collected in one buffer");
        let mut list = list.to_vec();
        list.resize(usize::try_from(len).expect("at most a burst"), 0);
        plan = unit.with_parameters(nexus, &cdb, &list);
        assert!(!matches!(plan, Plan::Parameters { .. }), "there is one list");
    }
    check(unit, &plan, offered);
    match plan {
        Plan::Wipe { by, .. } => {
            unit.wipe_begins(by).expect("nothing is planned while one goes on");
            unit.sanitize_moved(9);
            unit.sanitize_ended(what & WIPE_FAILS == 0);
        }
        Plan::Copy { list, .. } => copy(*list),
        _ => {}
    }
}

fn check(unit: &LogicalUnit, plan: &Plan, offered: u32) {
    assert!(plan.data_out(BLOCK_SIZE) <= offered.into(), "{plan:?}");
    match plan {
        Plan::Reply(reply) => told(unit, reply),
        Plan::Read { lba, blocks }
        | Plan::Write { lba, blocks, .. }
        | Plan::WriteAtomic { lba, blocks }
        | Plan::Verify { lba, blocks, .. }
        | Plan::WriteAndVerify { lba, blocks, .. }
        | Plan::CompareAndWrite { lba, blocks, .. }
        | Plan::OrWrite { lba, blocks, .. } => on_the_medium(*lba, (*blocks).into()),
        Plan::VerifyEach { lba, blocks, block } | Plan::Fill { lba, blocks, block } => {
            on_the_medium(*lba, (*blocks).into());
            assert_eq!(block.len(), BLOCK_SIZE as usize);
        }
        Plan::Survey { lba, blocks, stretches, .. } => {
            on_the_medium(*lba, *blocks);
            assert!(*stretches > 0);
        }
        Plan::Zero { ranges, .. } => {
            assert!(!ranges.is_empty());
            ranges.iter().for_each(|(lba, blocks)| on_the_medium(*lba, *blocks));
        }
        Plan::Flush
        | Plan::Parameters { .. }
        | Plan::Wipe { .. }
        | Plan::Copy { .. }
        | Plan::Reserved { .. } => {}
    }
}

#[track_caller]
fn on_the_medium(lba: u64, blocks: u64) {
    assert!(
        blocks > 0 && lba.checked_add(blocks).is_some_and(|end| end <= BLOCKS),
        "{blocks} at {lba}"
    );
}

fn told(unit: &LogicalUnit, reply: &Reply) {
    assert_eq!(reply.sense.is_some(), reply.status == Status::CheckCondition);
    if let Some(sense) = &reply.sense {
        let read = Sense::parse(&unit.sense_data(sense)).expect("what was built can be read");
        assert!(read.is(sense));
    }
}

/// Between this disk and another one that is half as large.
fn copy(list: List) {
    let party = |target, blocks| Some(Party { target, block_size: BLOCK_SIZE, blocks });
    let known = list.cscds.iter().map(|cscd| match is_named(UNIT, cscd) {
        true => party(UNIT, BLOCKS),
        false => party(Uuid::nil(), BLOCKS / 2),
    });
    let parties: Vec<_> = known.collect();
    let ends: Vec<_> = parties.iter().flatten().map(|party| party.blocks).collect();
    let Ok(mut course) = Course::new(list, parties) else {
        return;
    };
    while let Ok(Some(piece)) = course.next_piece(PIECE) {
        let reads = piece.source_lba + u64::from(piece.source_blocks);
        let writes = piece.destination_lba + u64::from(piece.destination_blocks);
        assert!(reads <= ends[piece.source] && writes <= ends[piece.destination], "{piece:?}");
        assert!(piece.written > 0 && piece.data <= piece.written, "{piece:?}");
        course.moved(&piece);
    }
}

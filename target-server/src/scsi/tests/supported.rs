//! What a logical unit says it can do, and that it is so.

use outband_protocol::scsi::cdb::usage::COMMANDS;
use outband_protocol::scsi::cdb::{SupportedOpcodes, Which};

use super::*;

fn ask(talk: &mut Talk, which: Which, timeouts: bool) -> Plan {
    let fields = SupportedOpcodes { timeouts, which, allocation: 4096 };
    talk.send(A, Cdb::ReportSupportedOpcodes(fields))
}

/// Operation codes and service actions of the list of all.
fn all(talk: &mut Talk) -> Vec<(u8, u16)> {
    let data = data(ask(talk, Which::All, false));
    data[4..].chunks_exact(8).map(|row| (row[0], u16::from_be_bytes([row[2], row[3]]))).collect()
}

#[test]
fn every_command_is_told_and_nothing_else_is_carried_out() {
    let mut talk = Talk::new(disk());
    let told = all(&mut talk);
    assert_eq!(told.len(), COMMANDS.len());
    for code in 0..=u8::MAX {
        let plan = talk.raw(A, Lun::ZERO, &[code, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0);
        let is_told = told.iter().any(|(opcode, _)| *opcode == code);
        assert_eq!(describe(&plan) != "IllegalRequest 20/00", is_told, "{code:02X}");
    }
}

#[test]
fn what_the_volume_cannot_do_is_not_told() {
    let mut talk = Talk::new(LuConfig { unmap: false, ..disk() });
    assert!(!all(&mut talk).contains(&(opcode::UNMAP, 0)));
    assert_eq!(data(ask(&mut talk, Which::Opcode(opcode::UNMAP), true)), [0, 1, 0, 0]);
    let mut talk = Talk::new(disk());
    assert!(all(&mut talk).contains(&(opcode::UNMAP, 0)));
}

#[test]
fn one_command_is_told_by_its_numbers() {
    let mut talk = Talk::new(disk());
    let mut support = |which| data(ask(&mut talk, which, false))[1] & 0x07;
    assert_eq!(support(Which::Opcode(opcode::READ_16)), 3);
    assert_eq!(support(Which::Opcode(0xC0)), 1);
    assert_eq!(support(Which::Action(0x9E, 0x10)), 3);
    assert_eq!(support(Which::Action(0x9E, 0x1F)), 1);
    assert_eq!(support(Which::Action(0x9E, 0x110)), 1);
    assert_eq!(support(Which::Action(0xC0, 1)), 1);
    assert_eq!(support(Which::Either(opcode::READ_16, 0)), 3);
    assert_eq!(support(Which::Either(opcode::READ_16, 1)), 1);
    assert_eq!(support(Which::Either(0x9E, 0x10)), 3);
    assert_eq!(support(Which::Either(0x9E, 0)), 1);
}

#[test]
fn an_option_that_does_not_fit_the_operation_code_is_refused() {
    check(
        disk(),
        |talk| {
            ask(talk, Which::Opcode(0x9E), false);
            ask(talk, Which::Action(opcode::READ_16, 0), false);
            let mut reserved = ask_all().build();
            reserved[2] |= 0x04;
            talk.raw(A, Lun::ZERO, &reserved, 0);
            talk.send(A, Cdb::ReportSupportedTaskManagement { extended: false, allocation: 3 });
            talk.send(A, Cdb::ReportSupportedTaskManagement { extended: true, allocation: 64 });
        },
        "
        IllegalRequest 24/00 at 2.2
        IllegalRequest 24/00 at 2.2
        IllegalRequest 24/00 at 2.2
        IllegalRequest 24/00 at 6
        Good, wanted 16
        ",
    );
}

fn ask_all() -> Cdb {
    let (timeouts, which) = (false, Which::All);
    Cdb::ReportSupportedOpcodes(SupportedOpcodes { timeouts, which, allocation: 4 })
}

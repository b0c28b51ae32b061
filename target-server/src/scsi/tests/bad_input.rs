//! What a host must not send, command by command: the sense that the standards name, and nothing
//! done. New commands are tried as soon as they have a row.

use outband_protocol::scsi::cdb::usage::{COMMANDS, Usage};
use outband_protocol::scsi::cdb::{ModeSelect, ReserveOut, ReserveOutAction};
use outband_protocol::scsi::reserve::List;
use outband_protocol::scsi::{mode, unmap};

use super::*;

/// A block of the command with nothing asked for.
fn plain(row: &Usage) -> [u8; 16] {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1]) = (row.opcode(), row.service_action.unwrap_or(0));
    cdb
}

fn is_refused(talk: &mut Talk, cdb: &[u8], offered: u32, sense: &str) {
    let said = describe(&talk.raw(A, Lun::ZERO, cdb, offered));
    let said = said.split(',').next().unwrap();
    assert_eq!(said, sense, "{cdb:02X?}");
}

#[test]
fn naca_and_reserved_bits_are_refused_and_pointed_at_by_every_command() {
    let mut talk = Talk::new(disk());
    for row in COMMANDS {
        let control = row.data().len() - 1;
        for bit in 2..6 {
            let mut cdb = plain(row);
            cdb[control] |= 1 << bit;
            let sense = format!("IllegalRequest 24/00 at {control}.{bit}");
            is_refused(&mut talk, &cdb, 0, &sense);
        }
        // A block that ends before its command does.
        is_refused(&mut talk, &plain(row)[..control], 0, "IllegalRequest 24/00");
    }
}

#[test]
fn reserved_service_actions_and_operation_codes_are_told_apart() {
    let mut talk = Talk::new(disk());
    for opcode in 0..=u8::MAX {
        let mut rows = COMMANDS.iter().filter(|row| row.opcode() == opcode).peekable();
        let Some(first) = rows.peek() else {
            is_refused(&mut talk, &[opcode; 16], 0, "IllegalRequest 20/00");
            continue;
        };
        if first.service_action.is_none() {
            continue;
        }
        let known: Vec<_> = rows.filter_map(|row| row.service_action).collect();
        for action in (0..0x20).filter(|action| !known.contains(action)) {
            let mut cdb = [0; 16];
            (cdb[0], cdb[1]) = (opcode, action);
            is_refused(&mut talk, &cdb, 0, "IllegalRequest 24/00 at 1.4");
        }
    }
}

/// A command at these blocks, if it has an address.
fn at_blocks(row: &Usage, lba: u64, blocks: u32) -> Option<[u8; 16]> {
    let mut cdb = plain(row);
    let data = row.data();
    let short = u32::try_from(lba).ok();
    match data.len() {
        6 if matches!(row.opcode(), opcode::READ_6 | opcode::WRITE_6) => {
            let lba = short.filter(|lba| *lba < 1 << 21)?.to_be_bytes();
            cdb[1..4].copy_from_slice(&lba[1..]);
            cdb[4] = u8::try_from(blocks).ok()?;
        }
        // Its four bytes are an index into a list.
        12 if row.opcode() == opcode::READ_DEFECT_DATA_12 => return None,
        10 | 12 if data[2..6] == [0xFF; 4] => {
            cdb[2..6].copy_from_slice(&short?.to_be_bytes());
            let blocks = blocks.to_be_bytes();
            match data.len() {
                10 => cdb[7..9].copy_from_slice(&blocks[2..]),
                _ => cdb[6..10].copy_from_slice(&blocks),
            }
        }
        16 if data[2..10] == [0xFF; 8] => {
            cdb[2..10].copy_from_slice(&lba.to_be_bytes());
            match row.opcode() {
                opcode::COMPARE_AND_WRITE => cdb[13] = u8::try_from(blocks).ok()?,
                // ATOMIC BOUNDARY comes first.
                opcode::WRITE_ATOMIC_16 => {
                    cdb[12..14].copy_from_slice(&u16::try_from(blocks).ok()?.to_be_bytes());
                }
                // Its length is for the parameter data.
                opcode::SERVICE_ACTION_IN_16 => cdb[10..14].copy_from_slice(&[0, 0, 0, 64]),
                _ => cdb[10..14].copy_from_slice(&blocks.to_be_bytes()),
            }
        }
        _ => return None,
    }
    Some(cdb)
}

#[test]
fn blocks_beyond_the_medium_are_refused_by_every_command_that_has_an_address() {
    let mut tried = 0;
    for row in COMMANDS {
        for (lba, blocks) in [(512, 1), (0x1F_FFFF, 1), (u32::MAX.into(), 1), (u64::MAX, 1)] {
            let Some(cdb) = at_blocks(row, lba, blocks) else {
                continue;
            };
            tried += 1;
            let at = if row.data().len() == 6 { 1 } else { 2 };
            let mut talk = Talk::new(disk());
            let sense = format!("IllegalRequest 21/00 at {at}");
            is_refused(&mut talk, &cdb, 8192, &sense);
        }
        // It begins on the medium and ends behind it, also where the sum overflows.
        for (lba, blocks) in [(511, 2), (u64::MAX, 0xFFFF), (u64::MAX - 1, u32::MAX)] {
            let is_one_block = matches!(row.opcode(), opcode::SERVICE_ACTION_IN_16);
            if let Some(cdb) = at_blocks(row, lba, blocks).filter(|_| !is_one_block) {
                let at = if row.data().len() == 6 { 1 } else { 2 };
                let mut talk = Talk::new(disk());
                is_refused(&mut talk, &cdb, 16384, &format!("IllegalRequest 21/00 at {at}"));
            }
        }
    }
    assert!(tried >= 40, "{tried}");
}

#[test]
fn more_blocks_than_one_command_may_move_are_refused_before_any_is_asked_for() {
    // More than 16 MiB, on a medium that has them.
    let config = LuConfig { blocks: 1 << 20, ..disk() };
    for opcode in [opcode::READ_12, opcode::WRITE_12, opcode::VERIFY_12, opcode::READ_16] {
        let row = COMMANDS.iter().find(|row| row.opcode() == opcode).unwrap();
        let mut cdb = at_blocks(row, 0, 4097).unwrap();
        if opcode == opcode::VERIFY_12 {
            cdb[1] |= 0x02;
        }
        let at = if row.data().len() == 16 { 10 } else { 6 };
        let mut talk = Talk::new(config.clone());
        is_refused(&mut talk, &cdb, u32::MAX, &format!("IllegalRequest 24/00 at {at}"));
    }
}

/// A command with a list, a good list for it, and what is said when the list ends too early.
fn lists() -> Vec<(Cdb, Vec<u8>, &'static str)> {
    let pages = mode::build(mode::Form::Ten, &mode::Header::default(), &mode::exceptions());
    let pages = [&[0; 2], &pages[2..]].concat();
    let len = |list: &[u8]| u16::try_from(list.len()).unwrap();
    let select = |len| ModeSelect { page_format: true, save: false, len };
    let extents = unmap::build(&[unmap::Extent { lba: 0, blocks: 1 }]);
    let register = List { service_key: 1, ..List::default() }.build();
    let action = ReserveOutAction::RegisterAndIgnore;
    let fields = ReserveOut::new(action, None, len(&register).into());
    vec![
        (Cdb::ModeSelect10(select(len(&pages))), pages, "IllegalRequest 1A/00"),
        (Cdb::Unmap { anchor: false, len: len(&extents) }, extents, "IllegalRequest 1A/00"),
        (Cdb::PersistentReserveOut(fields), register, "IllegalRequest 1A/00"),
    ]
}

#[test]
fn lists_that_end_too_early_are_a_length_error_and_change_nothing() {
    for (cdb, list, sense) in lists() {
        for cut in 0..list.len() {
            let mut talk = Talk::new(disk());
            let plan = talk.unit.with_parameters(A, &cdb, &list[..cut]);
            let said = describe(&plan);
            // Nothing at all, or nothing behind the header, asks for nothing (MODE SELECT, UNMAP).
            let asks_nothing = cut == 0 && matches!(cdb, Cdb::Unmap { .. })
                || cut == 8 && matches!(cdb, Cdb::ModeSelect10(_));
            assert_eq!(said.starts_with("Good"), asks_nothing, "{cdb:?} cut at {cut}: {said}");
            assert!(asks_nothing || said.starts_with(sense), "{cdb:?} cut at {cut}: {said}");
        }
        let mut talk = Talk::new(disk());
        let said = describe(&talk.unit.with_parameters(A, &cdb, &list));
        assert!(!said.starts_with("IllegalRequest"), "{cdb:?}: {said}");
    }
}

#[test]
fn mode_select_is_told_which_field_of_its_list_is_wrong() {
    let list = |pages: &[u8]| [&[0; 4], pages].concat();
    let with = |page: &[u8], at: usize, bits: u8| {
        let mut page = page.to_vec();
        page[at] ^= bits;
        list(&page)
    };
    let control = mode::Control::default().page();
    let caching = mode::Caching::default().page();
    let mut descriptor = vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0];
    descriptor.extend(caching);
    for wrong in [
        // A page that is not there, one of another length, a subpage, a bit that is fixed.
        list(&[0x01, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        list(&[0x08, 2, 0, 0]),
        list(&[0x4A, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        with(&control, 3, 0x01),
        with(&control, 11, 0x80),
        with(&caching, 2, 0x01),
        // Blocks of another size.
        descriptor,
    ] {
        let len = u16::try_from(wrong.len()).unwrap();
        let cdb = Cdb::ModeSelect6(ModeSelect { page_format: true, save: false, len });
        let mut talk = Talk::new(disk());
        let said = describe(&talk.unit.with_parameters(A, &cdb, &wrong));
        assert!(said.starts_with("IllegalRequest 26/00"), "{wrong:02X?}: {said}");
    }
}

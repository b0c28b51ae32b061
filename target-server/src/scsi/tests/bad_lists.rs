//! Parameter lists and allocation lengths that are too short or too long, for every command that has
//! one. A new command fails here until its row says what it moves.

use outband_protocol::scsi::cdb::usage::{COMMANDS, Usage};
use outband_protocol::scsi::cdb::{FormatUnit, ModeSelect, ReserveOut, ReserveOutAction, Sanitize};
use outband_protocol::scsi::format::Format;
use outband_protocol::scsi::reserve::{List, MoveList, TransportId};
use outband_protocol::scsi::sanitize::{Overwrite, action};
use outband_protocol::scsi::sense::SANITIZE_IN_PROGRESS;
use outband_protocol::scsi::{copy, mode, unmap};

use super::*;

/// What a command moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moves {
    Nothing,
    /// Data with an allocation length: how many bytes the field has, and where.
    Answer(usize, usize),
    /// Data of a fixed length.
    Fixed,
    Blocks,
    List,
}

fn moves(row: &Usage) -> Moves {
    match (row.opcode(), row.service_action) {
        (
            opcode::TEST_UNIT_READY
            | opcode::RESERVE_6
            | opcode::RELEASE_6
            | opcode::START_STOP_UNIT
            | opcode::PREVENT_ALLOW_MEDIUM_REMOVAL
            | opcode::SYNCHRONIZE_CACHE_10
            | opcode::SYNCHRONIZE_CACHE_16
            | opcode::PRE_FETCH_10
            | opcode::PRE_FETCH_16,
            None,
        )
        | (opcode::SANITIZE, Some(action::BLOCK_ERASE | action::EXIT_FAILURE_MODE)) => {
            Moves::Nothing
        }
        (opcode::REQUEST_SENSE | opcode::MODE_SENSE_6, None) => Moves::Answer(1, 4),
        (opcode::INQUIRY, None) => Moves::Answer(2, 3),
        (opcode::MODE_SENSE_10 | opcode::LOG_SENSE | opcode::READ_DEFECT_DATA_10, None)
        | (opcode::PERSISTENT_RESERVE_IN, Some(_)) => Moves::Answer(2, 7),
        (opcode::REPORT_LUNS | opcode::READ_DEFECT_DATA_12, None)
        | (opcode::MAINTENANCE_IN, Some(_)) => Moves::Answer(4, 6),
        (opcode::SERVICE_ACTION_IN_16 | opcode::RECEIVE_COPY_RESULTS, Some(_)) => {
            Moves::Answer(4, 10)
        }
        (opcode::READ_CAPACITY_10, None) => Moves::Fixed,
        (
            opcode::READ_6
            | opcode::READ_10
            | opcode::READ_12
            | opcode::READ_16
            | opcode::WRITE_6
            | opcode::WRITE_10
            | opcode::WRITE_12
            | opcode::WRITE_16
            | opcode::WRITE_ATOMIC_16
            | opcode::WRITE_AND_VERIFY_10
            | opcode::WRITE_AND_VERIFY_12
            | opcode::WRITE_AND_VERIFY_16
            | opcode::VERIFY_10
            | opcode::VERIFY_12
            | opcode::VERIFY_16
            | opcode::COMPARE_AND_WRITE
            | opcode::ORWRITE_16
            | opcode::WRITE_SAME_10
            | opcode::WRITE_SAME_16,
            None,
        ) => Moves::Blocks,
        (
            opcode::MODE_SELECT_6
            | opcode::MODE_SELECT_10
            | opcode::UNMAP
            | opcode::FORMAT_UNIT
            | opcode::SEND_DIAGNOSTIC,
            None,
        )
        | (opcode::PERSISTENT_RESERVE_OUT | opcode::EXTENDED_COPY, Some(_))
        | (opcode::SANITIZE, Some(action::OVERWRITE)) => Moves::List,
        _ => panic!("{}: say here what it moves", row.name),
    }
}

/// A block of the command that is answered, with this allocation length.
fn asking(row: &Usage, width: usize, at: usize, allocation: u32) -> [u8; 16] {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1]) = (row.opcode(), row.service_action.unwrap_or(0));
    if matches!(row.opcode(), opcode::MODE_SENSE_6 | opcode::MODE_SENSE_10) {
        cdb[2] = mode::ALL_PAGES;
    }
    cdb[at..at + width].copy_from_slice(&allocation.to_be_bytes()[4 - width..]);
    cdb
}

#[test]
fn answers_are_cut_to_their_allocation_length_and_changed_in_nothing_else() {
    let mut told = 0;
    for row in COMMANDS {
        let Moves::Answer(width, at) = moves(row) else {
            continue;
        };
        let mut talk = Talk::new(disk());
        let all = talk.raw(A, Lun::ZERO, &asking(row, width, at, 255), 0);
        let Plan::Reply(Reply { status: Status::Good, data: all, .. }) = all else {
            continue;
        };
        told += 1;
        for allocation in 0..=u32::try_from(all.len()).unwrap() {
            let plan = talk.raw(A, Lun::ZERO, &asking(row, width, at, allocation), 0);
            // Where the standard wants room for more than nothing, less is refused.
            let least = match (row.opcode(), row.service_action) {
                (opcode::REPORT_LUNS, _) => 16,
                (opcode::MAINTENANCE_IN, Some(0x0D)) => 4,
                _ => 0,
            };
            if allocation < least {
                let refused = format!("IllegalRequest 24/00 at {at}");
                assert_eq!(describe(&plan), refused, "{} {allocation}", row.name);
                continue;
            }
            let len = usize::try_from(allocation).unwrap();
            assert_eq!(data(plan), all[..len], "{} {allocation}", row.name);
        }
    }
    assert!(told >= 17, "{told} commands are answered");
}

/// A command with its list, and what is said when `cut` bytes of that are all there is.
struct Case {
    cdb: [u8; 16],
    list: Vec<u8>,
    /// How many bytes of length there are in the command, and where.
    length: (usize, usize),
    /// Lengths at which nothing is asked for, which is GOOD.
    nothing: &'static [usize],
    cut: fn(usize) -> &'static str,
    /// What is said when zeros follow the list.
    overlong: &'static str,
}

const SHORT: &str = "IllegalRequest 1A/00";
const TAKEN: &str = "";

fn mode_select(form: mode::Form) -> Case {
    let list = mode::build(form, &mode::Header::default(), &mode::exceptions());
    let fields = ModeSelect { page_format: true, save: false, len: 0 };
    let (cdb, length, head): (_, _, &[u8]) = match form {
        mode::Form::Six => (Cdb::ModeSelect6(fields), (1, 4), &[0]),
        mode::Form::Ten => (Cdb::ModeSelect10(fields), (2, 7), &[0; 2]),
    };
    Case {
        cdb: cdb.build(),
        // MODE DATA LENGTH is reserved here.
        list: [head, &list[head.len()..]].concat(),
        length,
        nothing: if form == mode::Form::Six { &[0, 4] } else { &[0, 8] },
        cut: |_| SHORT,
        // It is taken for a page, of which there is a part, or which is not there.
        overlong: "IllegalRequest",
    }
}

fn reserve_out(action: ReserveOutAction) -> Case {
    let list = List { service_key: 1, ..List::default() }.build();
    let to = port(NexusId(9));
    let moved = MoveList {
        key: 0,
        service_key: 1,
        unregister: false,
        persist: false,
        relative_port: 2,
        port: TransportId::Port(to),
    };
    let moves = action == ReserveOutAction::RegisterAndMove;
    Case {
        cdb: Cdb::PersistentReserveOut(ReserveOut::new(action, None, 0)).build(),
        list: if moves { moved.build() } else { list },
        length: (4, 5),
        nothing: &[],
        cut: |_| SHORT,
        // The list says how long the name in it is; nobody but its sender knows what follows. Whoever
        // is not registered is told so.
        overlong: if moves { "ReservationConflict" } else { SHORT },
    }
}

fn format_unit() -> Case {
    let fields = FormatUnit { has_list: true, ..FormatUnit::default() };
    Case {
        cdb: Cdb::FormatUnit(fields).build(),
        list: Format { immed: true, pattern: Some(vec![0xA5; 4]) }.build(&fields),
        // What is offered is all that says it.
        length: (0, 0),
        nothing: &[],
        cut: |_| SHORT,
        overlong: TAKEN,
    }
}

fn cases() -> Vec<Case> {
    let extents = unmap::build(&[unmap::Extent { lba: 0, blocks: 1 }]);
    let unmap = Cdb::Unmap { anchor: false, len: 0 };
    let overwrite = Overwrite { invert: false, count: 1, pattern: vec![0xA5; 4] };
    let wipe = Sanitize { action: action::OVERWRITE, immed: true, unrestricted: false, len: 0 };
    let copies =
        copy::List { id: 1, usage: copy::Usage::Hold, cscds: Vec::new(), segments: Vec::new() };
    let diagnostic = [opcode::SEND_DIAGNOSTIC, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut all = vec![
        mode_select(mode::Form::Six),
        mode_select(mode::Form::Ten),
        Case {
            cdb: unmap.build(),
            list: extents,
            length: (2, 7),
            nothing: &[0],
            cut: |_| SHORT,
            overlong: TAKEN,
        },
        Case {
            cdb: Cdb::Sanitize(wipe).build(),
            list: overwrite.build(),
            length: (2, 7),
            nothing: &[],
            // Without a byte of a pattern, or with a pattern that is longer than the list.
            cut: |len| if len <= 4 { "IllegalRequest 24/00 at 7" } else { "IllegalRequest 26/00" },
            overlong: TAKEN,
        },
        format_unit(),
        Case {
            cdb: Cdb::ExtendedCopy { len: 0 }.build(),
            list: copies.build(),
            length: (4, 10),
            nothing: &[0],
            cut: |_| SHORT,
            overlong: TAKEN,
        },
        // No page can be sent.
        Case {
            cdb: diagnostic,
            list: vec![0; 4],
            length: (2, 3),
            nothing: &[0],
            cut: |_| "IllegalRequest 24/00 at 3",
            overlong: "IllegalRequest 24/00 at 3",
        },
    ];
    all.extend(
        [
            ReserveOutAction::Register,
            ReserveOutAction::Reserve,
            ReserveOutAction::Release,
            ReserveOutAction::Clear,
            ReserveOutAction::Preempt,
            ReserveOutAction::PreemptAndAbort,
            ReserveOutAction::RegisterAndIgnore,
            ReserveOutAction::RegisterAndMove,
        ]
        .map(reserve_out),
    );
    all
}

/// Sends `list` with a command that says its length; what is said at last.
fn send(case: &Case, list: &[u8]) -> Plan {
    let mut talk = Talk::new(disk());
    let (width, at) = case.length;
    let mut cdb = case.cdb;
    let len = u32::try_from(list.len()).unwrap();
    cdb[at..at + width].copy_from_slice(&len.to_be_bytes()[4 - width..]);
    match talk.raw(A, Lun::ZERO, &cdb, len) {
        Plan::Parameters { cdb, .. } => talk.unit.with_parameters(A, &cdb, list),
        plan => plan,
    }
}

#[test]
fn every_command_with_a_list_has_a_case() {
    let cases = cases();
    for row in COMMANDS.iter().filter(|row| moves(row) == Moves::List) {
        let is_its = |case: &&Case| {
            case.cdb[0] == row.opcode()
                && row.service_action.is_none_or(|action| case.cdb[1] & 0x1F == action)
        };
        assert!(cases.iter().any(|case| is_its(&case)), "{}", row.name);
    }
}

#[test]
fn lists_of_any_shorter_length_are_refused_and_change_nothing() {
    for case in cases() {
        for len in 0..case.list.len() {
            let plan = send(&case, &case.list[..len]);
            let what = format!("{:02X?} of {len} bytes", &case.cdb[..2]);
            assert!(matches!(plan, Plan::Reply(_)), "{what}: {plan:?}");
            let said = describe(&plan);
            let expected = if case.nothing.contains(&len) { "Good" } else { (case.cut)(len) };
            assert!(said.starts_with(expected), "{what}: {said}");
        }
    }
}

#[test]
fn what_follows_a_list_is_read_over_or_refused() {
    for case in cases() {
        for more in [1, 3] {
            let list = [&case.list[..], &vec![0; more]].concat();
            let said = describe(&send(&case, &list));
            let what = format!("{:02X?} and {more} bytes: {said}", &case.cdb[..2]);
            match case.overlong {
                TAKEN => assert!(!said.starts_with("IllegalRequest"), "{what}"),
                refused => assert!(said.starts_with(refused), "{what}"),
            }
        }
    }
}

#[test]
fn a_list_that_comes_after_the_state_has_changed_is_judged_by_the_new_state() {
    // Two hosts begin to wipe at the same time: one does, and the other is told so.
    let wipe = Overwrite { invert: false, count: 1, pattern: vec![1; 4] }.build();
    let fields = Sanitize { action: action::OVERWRITE, immed: true, unrestricted: false, len: 8 };
    let mut talk = Talk::new(disk());
    let begun = [0; 2].map(|_| talk.send(A, Cdb::Sanitize(fields)));
    assert!(begun.iter().all(|plan| matches!(plan, Plan::Parameters { .. })));
    let first = talk.unit.with_parameters(A, &Cdb::Sanitize(fields), &wipe);
    let Plan::Wipe { by, .. } = first else { panic!("{first:?}") };
    talk.unit.wipe_begins(by).unwrap();
    assert!(talk.unit.wipe_begins(by).unwrap_err().is(&SANITIZE_IN_PROGRESS));
    let second = talk.unit.with_parameters(A, &Cdb::Sanitize(fields), &wipe);
    assert!(describe(&second).starts_with("NotReady 04/1B"), "{second:?}");

    let mut talk = Talk::new(disk());
    let cdb = Cdb::Unmap { anchor: false, len: 24 };
    talk.send(A, cdb);
    talk.send(A, Cdb::StartStopUnit(outband_protocol::scsi::cdb::StartStop::default()));
    let list = unmap::build(&[unmap::Extent { lba: 0, blocks: 1 }]);
    let said = describe(&talk.unit.with_parameters(A, &cdb, &list));
    assert!(said.starts_with("NotReady 04/02"), "{said}");
}

#[test]
fn no_blocks_are_good_wherever_they_mean_none() {
    let mut tried = 0;
    for row in COMMANDS.iter().filter(|row| moves(row) == Moves::Blocks) {
        let mut cdb = [0; 16];
        cdb[0] = row.opcode();
        let mut talk = Talk::new(disk());
        let said = describe(&talk.raw(A, Lun::ZERO, &cdb, 0));
        match row.opcode() {
            // It means 256 there (SBC-3, READ(6)).
            opcode::READ_6 => assert_eq!(said, "read 0+256"),
            // Of these nothing was offered.
            opcode::WRITE_6 => assert_eq!(said, "Good, wanted 1048576"),
            // It would mean all of the medium, which is not offered (WSNZ=1).
            opcode::WRITE_SAME_10 => assert_eq!(said, "IllegalRequest 24/00 at 7"),
            opcode::WRITE_SAME_16 => assert_eq!(said, "IllegalRequest 24/00 at 10"),
            _ => assert_eq!(said, "Good", "{}", row.name),
        }
        tried += 1;
    }
    assert_eq!(tried, 19);
}

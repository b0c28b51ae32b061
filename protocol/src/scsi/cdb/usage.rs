//! One row for each command a unit carries out: which bits of its block are looked at, and how long
//! it may take. Parsing refuses every other bit, and REPORT SUPPORTED OPERATION CODES tells the
//! rows, so that a new command is a new row.

use super::opcode::*;
use crate::scsi::sense::{INVALID_FIELD_IN_CDB, INVALID_OPCODE, Sense};

/// The reserved bits of CONTROL and NACA are refused: contingent allegiance that outlives its
/// command is not offered. LINK, FLAG (obsolete) and the vendor's bits are not looked at (SAM-5 §5.2).
const CONTROL_IGNORED: u8 = 0xC3;
/// SERVICE ACTION, the low bits of byte 1.
const SERVICE_ACTION: u8 = 0x1F;

/// What a persistent reservation that another nexus holds does to a command (SPC-4 table of commands
/// that are allowed in the presence of various reservations; SBC-3's for its own).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnderReservation {
    /// It runs.
    Allowed,
    /// It runs unless the access is exclusive: it reads, and changes nothing.
    Reads,
    /// It conflicts.
    Conflicts,
    /// It depends on more than the operation code.
    ByItsFields,
}

/// How a command uses its block (SPC-4 §6.35, CDB USAGE DATA).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// T10's name of the command.
    pub name: &'static str,
    /// SERVICE ACTION, for an operation code that has them.
    pub service_action: Option<u8>,
    /// What a reservation of another nexus does to it.
    pub under_reservation: UnderReservation,
    /// NOMINAL COMMAND PROCESSING TIMEOUT: seconds it takes when nothing else goes on.
    pub nominal_seconds: u32,
    /// RECOMMENDED COMMAND TIMEOUT: seconds after which a host may take it for lost.
    pub recommended_seconds: u32,
    /// The operation code and then, bit by bit, what is looked at; the service action as it is.
    usage: [u8; 16],
    len: u8,
    /// Bits that may be set: those looked at, and those that are read over.
    allowed: [u8; 16],
}

impl Usage {
    /// A command with this CDB USAGE DATA, which is as long as its block. It conflicts with
    /// reservations, and does not wait for more than one device operation of a few MiB.
    const fn new(name: &'static str, usage: &[u8]) -> Self {
        let mut row = Self {
            name,
            service_action: None,
            under_reservation: UnderReservation::Conflicts,
            nominal_seconds: 1,
            recommended_seconds: 30,
            usage: [0; 16],
            len: 0,
            allowed: [0; 16],
        };
        let mut at = 0;
        while at < usage.len() {
            row.usage[at] = usage[at];
            row.allowed[at] = usage[at];
            row.len += 1;
            at += 1;
        }
        row.allowed[0] = 0xFF;
        row.ignoring(row.len as usize - 1, CONTROL_IGNORED)
    }

    /// It runs under every reservation.
    const fn always(mut self) -> Self {
        self.under_reservation = UnderReservation::Allowed;
        self
    }

    /// It runs unless another nexus has exclusive access.
    const fn reads(mut self) -> Self {
        self.under_reservation = UnderReservation::Reads;
        self
    }

    /// What a reservation does to it is decided where its fields are known.
    const fn by_its_fields(mut self) -> Self {
        self.under_reservation = UnderReservation::ByItsFields;
        self
    }

    /// One of several under its operation code; the number is in the usage data.
    const fn action(mut self) -> Self {
        self.service_action = Some(self.usage[1] & SERVICE_ACTION);
        self.allowed[1] |= SERVICE_ACTION;
        self
    }

    /// Bits of a byte that are obsolete, or hints without effect here: they may be set.
    const fn ignoring(mut self, byte: usize, bits: u8) -> Self {
        self.allowed[byte] |= bits;
        self
    }

    /// It may keep the device busy for long.
    const fn slow(mut self, recommended_seconds: u32) -> Self {
        self.recommended_seconds = recommended_seconds;
        self
    }

    /// The operation code.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.usage[0]
    }

    /// CDB USAGE DATA, as long as the command's block.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.usage[..usize::from(self.len)]
    }

    /// The block of this command out of what arrived, which may be longer; a bit that is set and
    /// not allowed is pointed at.
    pub(super) fn check(&self, cdb: &[u8]) -> Result<[u8; 16], Sense> {
        let len = usize::from(self.len);
        let mut bytes = [0; 16];
        bytes[..len].copy_from_slice(cdb.get(..len).ok_or(INVALID_FIELD_IN_CDB)?);
        let refused = u128::from_be_bytes(bytes) & !u128::from_be_bytes(self.allowed);
        if refused != 0 {
            let at = refused.leading_zeros();
            let byte = u16::try_from(at / 8).expect("a block has sixteen bytes");
            let bit = u8::try_from(7 - at % 8).expect("a byte has eight bits");
            return Err(INVALID_FIELD_IN_CDB.at_cdb(byte, Some(bit)));
        }
        Ok(bytes)
    }
}

/// The row of a command block. A service action that is not there under an operation code that is:
/// the field is wrong, not the code (SPC-4 §4.2.5).
pub fn of(cdb: &[u8]) -> Result<&'static Usage, Sense> {
    let opcode = *cdb.first().ok_or(INVALID_OPCODE)?;
    let first = usize::from(FIRST[usize::from(opcode)]);
    let row = COMMANDS.get(first).ok_or(INVALID_OPCODE)?;
    if row.service_action.is_none() {
        return Ok(row);
    }
    let action = cdb.get(1).ok_or(INVALID_FIELD_IN_CDB)? & SERVICE_ACTION;
    find(opcode, Some(action)).ok_or(INVALID_FIELD_IN_CDB.at_cdb(1, Some(4)))
}

/// The row of a command by its numbers.
#[must_use]
pub fn find(opcode: u8, service_action: Option<u8>) -> Option<&'static Usage> {
    rows(opcode).find(|row| row.service_action == service_action)
}

/// Every row of an operation code.
pub fn rows(opcode: u8) -> impl Iterator<Item = &'static Usage> {
    let first = usize::from(FIRST[usize::from(opcode)]);
    COMMANDS[first.min(COMMANDS.len())..].iter().take_while(move |row| row.opcode() == opcode)
}

/// Every command, by operation code and service action.
///
/// GROUP NUMBER says with what a transfer is to be counted, and nothing is counted here. RARC, FUA_NV,
/// SYNC_NV, RELADR, PMI and the address with it, and INTERLEAVE are obsolete or without effect (SBC-3 §5).
#[rustfmt::skip]
pub static COMMANDS: &[Usage] = &[
    Usage::new("TEST UNIT READY", &[TEST_UNIT_READY, 0, 0, 0, 0, 0]).always(),
    Usage::new("REQUEST SENSE", &[REQUEST_SENSE, 0x01, 0, 0, 0xFF, 0]).always(),
    Usage::new("FORMAT UNIT", &[FORMAT_UNIT, 0xFF, 0, 0, 0, 0])
        .ignoring(2, 0xFF).ignoring(3, 0xFF).ignoring(4, 0xFF).slow(3600),
    Usage::new("READ(6)", &[READ_6, 0x1F, 0xFF, 0xFF, 0xFF, 0]).reads(),
    Usage::new("WRITE(6)", &[WRITE_6, 0x1F, 0xFF, 0xFF, 0xFF, 0]),
    Usage::new("INQUIRY", &[INQUIRY, 0x01, 0xFF, 0xFF, 0xFF, 0]).always(),
    Usage::new("MODE SELECT(6)", &[MODE_SELECT_6, 0x11, 0, 0, 0xFF, 0]),
    Usage::new("RESERVE(6)", &[RESERVE_6, 0, 0, 0, 0, 0]).by_its_fields(),
    Usage::new("RELEASE(6)", &[RELEASE_6, 0, 0, 0, 0, 0]).by_its_fields(),
    Usage::new("MODE SENSE(6)", &[MODE_SENSE_6, 0x08, 0xFF, 0xFF, 0xFF, 0]).reads(),
    Usage::new("START STOP UNIT", &[START_STOP_UNIT, 0x01, 0, 0, 0xF7, 0]).by_its_fields(),
    Usage::new("SEND DIAGNOSTIC", &[SEND_DIAGNOSTIC, 0xF7, 0, 0xFF, 0xFF, 0]),
    Usage::new("PREVENT ALLOW MEDIUM REMOVAL", &[PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 0x03, 0]).by_its_fields(),
    Usage::new("READ CAPACITY(10)", &[READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0]).always()
        .ignoring(1, 0x01).ignoring(2, 0xFF).ignoring(3, 0xFF).ignoring(4, 0xFF).ignoring(5, 0xFF)
        .ignoring(8, 0x01),
    Usage::new("READ(10)", &[READ_10, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0]).reads()
        .ignoring(1, 0x07).ignoring(6, GROUP),
    Usage::new("WRITE(10)", &[WRITE_10, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0])
        .ignoring(1, 0x03).ignoring(6, GROUP),
    Usage::new("WRITE AND VERIFY(10)", &[WRITE_AND_VERIFY_10, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0])
        .ignoring(1, 0x01).ignoring(6, GROUP),
    Usage::new("VERIFY(10)", &[VERIFY_10, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0]).reads()
        .ignoring(1, 0x01).ignoring(6, GROUP),
    Usage::new("PRE-FETCH(10)", &[PRE_FETCH_10, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0]).reads()
        .ignoring(1, 0x01).ignoring(6, GROUP),
    Usage::new("SYNCHRONIZE CACHE(10)", &[SYNCHRONIZE_CACHE_10, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0])
        .ignoring(1, 0x05).ignoring(6, GROUP).slow(60),
    Usage::new("READ DEFECT DATA(10)", &[READ_DEFECT_DATA_10, 0, 0x1F, 0, 0, 0, 0, 0xFF, 0xFF, 0]).reads(),
    Usage::new("WRITE SAME(10)", &[WRITE_SAME_10, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0])
        .ignoring(6, GROUP).slow(60),
    Usage::new("UNMAP", &[UNMAP, 0x01, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0])
        .ignoring(6, GROUP).slow(60),
    Usage::new("SANITIZE, OVERWRITE", &[SANITIZE, 0xA1, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]).action().slow(3600),
    Usage::new("SANITIZE, BLOCK ERASE", &[SANITIZE, 0xA2, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]).action().slow(3600),
    Usage::new("SANITIZE, EXIT FAILURE MODE", &[SANITIZE, 0xBF, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]).action().slow(60),
    Usage::new("LOG SENSE", &[LOG_SENSE, 0x01, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).always().ignoring(1, 0x02),
    Usage::new("MODE SELECT(10)", &[MODE_SELECT_10, 0x11, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]),
    Usage::new("MODE SENSE(10)", &[MODE_SENSE_10, 0x18, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0xFF, 0]).reads(),
    Usage::new("PERSISTENT RESERVE IN, READ KEYS", &[PERSISTENT_RESERVE_IN, 0x00, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]).action().always(),
    Usage::new("PERSISTENT RESERVE IN, READ RESERVATION", &[PERSISTENT_RESERVE_IN, 0x01, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]).action().always(),
    Usage::new("PERSISTENT RESERVE IN, REPORT CAPABILITIES", &[PERSISTENT_RESERVE_IN, 0x02, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]).action().always(),
    Usage::new("PERSISTENT RESERVE IN, READ FULL STATUS", &[PERSISTENT_RESERVE_IN, 0x03, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0]).action().always(),
    Usage::new("PERSISTENT RESERVE OUT, REGISTER", &[PERSISTENT_RESERVE_OUT, 0x00, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().ignoring(2, 0xFF).by_its_fields(),
    Usage::new("PERSISTENT RESERVE OUT, RESERVE", &[PERSISTENT_RESERVE_OUT, 0x01, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().by_its_fields(),
    Usage::new("PERSISTENT RESERVE OUT, RELEASE", &[PERSISTENT_RESERVE_OUT, 0x02, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().by_its_fields(),
    Usage::new("PERSISTENT RESERVE OUT, CLEAR", &[PERSISTENT_RESERVE_OUT, 0x03, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().ignoring(2, 0xFF).by_its_fields(),
    Usage::new("PERSISTENT RESERVE OUT, PREEMPT", &[PERSISTENT_RESERVE_OUT, 0x04, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().by_its_fields(),
    Usage::new("PERSISTENT RESERVE OUT, PREEMPT AND ABORT", &[PERSISTENT_RESERVE_OUT, 0x05, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().by_its_fields(),
    Usage::new("PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", &[PERSISTENT_RESERVE_OUT, 0x06, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().ignoring(2, 0xFF).by_its_fields(),
    Usage::new("PERSISTENT RESERVE OUT, REGISTER AND MOVE", &[PERSISTENT_RESERVE_OUT, 0x07, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]).action().ignoring(2, 0xFF).by_its_fields(),
    Usage::new("EXTENDED COPY(LID1)", &[EXTENDED_COPY, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .action().slow(300),
    Usage::new("RECEIVE COPY STATUS(LID1)", &[RECEIVE_COPY_RESULTS, 0x00, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .action().reads(),
    Usage::new("RECEIVE COPY DATA(LID1)", &[RECEIVE_COPY_RESULTS, 0x01, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .action().reads(),
    Usage::new("RECEIVE COPY OPERATING PARAMETERS", &[RECEIVE_COPY_RESULTS, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .action().reads().ignoring(2, 0xFF),
    Usage::new("RECEIVE COPY FAILURE DETAILS(LID1)", &[RECEIVE_COPY_RESULTS, 0x04, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .action().reads(),
    Usage::new("READ(16)", &[READ_16, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .ignoring(1, 0x06).ignoring(14, GROUP),
    Usage::new("COMPARE AND WRITE", &[COMPARE_AND_WRITE, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0xFF, 0, 0])
        .ignoring(1, 0x02).ignoring(14, GROUP),
    Usage::new("WRITE(16)", &[WRITE_16, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(1, 0x02).ignoring(14, GROUP),
    Usage::new("ORWRITE(16)", &[ORWRITE_16, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(1, 0x02).ignoring(14, GROUP),
    Usage::new("WRITE AND VERIFY(16)", &[WRITE_AND_VERIFY_16, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(14, GROUP),
    Usage::new("VERIFY(16)", &[VERIFY_16, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .ignoring(14, GROUP),
    Usage::new("PRE-FETCH(16)", &[PRE_FETCH_16, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .ignoring(14, GROUP),
    Usage::new("SYNCHRONIZE CACHE(16)", &[SYNCHRONIZE_CACHE_16, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(1, 0x04).ignoring(14, GROUP).slow(60),
    Usage::new("WRITE SAME(16)", &[WRITE_SAME_16, 0xF9, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(14, GROUP).slow(60),
    Usage::new("WRITE ATOMIC(16)", &[WRITE_ATOMIC_16, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(14, GROUP),
    Usage::new("READ CAPACITY(16)", &[SERVICE_ACTION_IN_16, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).always()
        .action()
        .ignoring(2, 0xFF).ignoring(3, 0xFF).ignoring(4, 0xFF).ignoring(5, 0xFF)
        .ignoring(6, 0xFF).ignoring(7, 0xFF).ignoring(8, 0xFF).ignoring(9, 0xFF).ignoring(14, 0x01),
    Usage::new("GET LBA STATUS(16)", &[SERVICE_ACTION_IN_16, 0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .action(),
    Usage::new("REPORT LUNS", &[REPORT_LUNS, 0, 0xFF, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).always(),
    Usage::new("REPORT TARGET PORT GROUPS", &[MAINTENANCE_IN, 0x2A, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).action().always(),
    Usage::new("REPORT SUPPORTED OPERATION CODES", &[MAINTENANCE_IN, 0x0C, 0x87, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .action(),
    Usage::new("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", &[MAINTENANCE_IN, 0x0D, 0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .action(),
    Usage::new("READ(12)", &[READ_12, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .ignoring(1, 0x07).ignoring(10, GROUP),
    Usage::new("WRITE(12)", &[WRITE_12, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(1, 0x03).ignoring(10, GROUP),
    Usage::new("WRITE AND VERIFY(12)", &[WRITE_AND_VERIFY_12, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0])
        .ignoring(1, 0x01).ignoring(10, GROUP),
    Usage::new("VERIFY(12)", &[VERIFY_12, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads()
        .ignoring(1, 0x01).ignoring(10, GROUP),
    Usage::new("READ DEFECT DATA(12)", &[READ_DEFECT_DATA_12, 0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0]).reads(),
];

/// GROUP NUMBER, five bits in SBC-3 and six in SBC-4.
const GROUP: u8 = 0x3F;

/// The first row of each operation code; `u8::MAX` where there is none.
static FIRST: [u8; 256] = {
    let mut first = [u8::MAX; 256];
    let mut row = COMMANDS.len();
    assert!(row < u8::MAX as usize, "a row's number fits a byte");
    while row > 0 {
        row -= 1;
        // The cast cannot cut: see the assertion.
        #[allow(clippy::cast_possible_truncation, reason = "asserted above")]
        let number = row as u8;
        first[COMMANDS[row].usage[0] as usize] = number;
    }
    first
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::Cdb;

    #[test]
    fn the_rows_are_in_order_and_each_is_there_once() {
        let number = |row: &Usage| (row.opcode(), row.service_action);
        assert!(COMMANDS.is_sorted_by(|a, b| number(a) < number(b)));
        for row in COMMANDS {
            assert_eq!(find(row.opcode(), row.service_action), Some(row));
            assert!(row.nominal_seconds <= row.recommended_seconds, "{}", row.name);
            let told = row.data();
            assert_eq!(row.service_action.unwrap_or(told[1] & 0x1F), told[1] & 0x1F);
            assert_eq!(told[told.len() - 1], 0, "{}: nothing of CONTROL is looked at", row.name);
        }
    }

    #[test]
    fn no_operation_code_has_rows_with_and_without_a_service_action() {
        for opcode in 0..=u8::MAX {
            let mut kinds: Vec<_> = rows(opcode).map(|row| row.service_action.is_some()).collect();
            kinds.dedup();
            assert!(kinds.len() <= 1, "{opcode:02X}");
        }
    }

    /// A block of the command in which nothing is asked for.
    fn plain(row: &Usage) -> [u8; 16] {
        let mut cdb = [0; 16];
        cdb[0] = row.opcode();
        cdb[1] = row.service_action.unwrap_or(0);
        cdb
    }

    #[test]
    fn every_bit_that_is_not_in_the_row_is_refused_and_pointed_at() {
        for row in COMMANDS {
            for (byte, bit) in (1..row.data().len()).flat_map(|byte| (0..8).map(move |b| (byte, b)))
            {
                let mut cdb = plain(row);
                cdb[byte] ^= 1 << bit;
                if row.allowed[byte] & 1 << bit == 0 {
                    let at = INVALID_FIELD_IN_CDB.at_cdb(byte.try_into().unwrap(), Some(bit));
                    assert_eq!(Cdb::parse(&cdb), Err(at), "{} {byte}.{bit}", row.name);
                }
            }
        }
    }

    #[test]
    fn a_service_action_that_is_not_there_is_the_fields_fault() {
        let mut families: Vec<u8> =
            COMMANDS.iter().filter(|row| row.service_action.is_some()).map(Usage::opcode).collect();
        families.dedup();
        for opcode in families {
            for action in 0..=0x1F {
                let mut cdb = [0; 16];
                (cdb[0], cdb[1]) = (opcode, action);
                if find(opcode, Some(action)).is_none() {
                    let refused = INVALID_FIELD_IN_CDB.at_cdb(1, Some(4));
                    assert_eq!(Cdb::parse(&cdb), Err(refused), "{opcode:02X}/{action:02X}");
                }
            }
        }
    }

    #[test]
    fn a_block_shorter_than_its_command_is_refused() {
        for row in COMMANDS {
            let cdb = plain(row);
            for len in 1..row.data().len() {
                assert_eq!(Cdb::parse(&cdb[..len]), Err(INVALID_FIELD_IN_CDB), "{}", row.name);
            }
        }
    }
}

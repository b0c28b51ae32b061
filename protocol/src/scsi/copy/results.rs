//! What RECEIVE COPY RESULTS returns, and the page that tells what a copy manager can do.

use super::{BLOCK_TO_BLOCK, IDENTIFICATION_CSCD, LID1, action};
use crate::scsi::cdb::opcode;
use crate::scsi::inquiry::{Peripheral, THIRD_PARTY_COPY, page};
use crate::scsi::{Sense, Status, put};

/// What a copy manager takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// MAXIMUM CSCD DESCRIPTOR COUNT.
    pub cscds: u16,
    /// MAXIMUM SEGMENT DESCRIPTOR COUNT.
    pub segments: u16,
    /// MAXIMUM DESCRIPTOR LIST LENGTH: bytes of both lists together.
    pub list_len: u32,
    /// MAXIMUM CONCURRENT COPIES.
    pub copies: u8,
    /// DATA SEGMENT GRANULARITY: the smallest block, as a power of two.
    pub granularity: u8,
}

/// How a copy stands (COPY OPERATION STATUS).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It goes on.
    InProgress,
    /// All segments were copied.
    Done,
    /// It ended before that.
    Failed,
}

/// How far a copy has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// How it stands.
    pub standing: Standing,
    /// SEGMENTS PROCESSED.
    pub segments: u16,
    /// Bytes written to copy destinations.
    pub bytes: u64,
}

impl Progress {
    /// RECEIVE COPY STATUS(LID1) parameter data (SPC-4 §6.21).
    #[must_use]
    pub fn bytes(&self) -> [u8; 12] {
        let mut data = [0; 12];
        data[3] = 8;
        data[4] = match self.standing {
            Standing::InProgress => 0x00,
            Standing::Done => 0x01,
            Standing::Failed => 0x02,
        };
        put(&mut data, 5, self.segments.to_be_bytes());
        // TRANSFER COUNT UNITS: bytes, or the smallest power of 1024 in which the count fits.
        let fitting = (0u8..=6).find_map(|units| {
            let count = self.bytes >> (10 * u32::from(units));
            u32::try_from(count).ok().map(|count| (units, count))
        });
        let (units, count) = fitting.unwrap_or((6, u32::MAX));
        data[7] = units;
        put(&mut data, 8, count.to_be_bytes());
        data
    }
}

/// RECEIVE COPY DATA(LID1) or RECEIVE COPY FAILURE DETAILS(LID1) when there is nothing to tell:
/// AVAILABLE DATA is zero and nothing follows.
#[must_use]
pub const fn no_data() -> [u8; 4] {
    [0; 4]
}

/// RECEIVE COPY FAILURE DETAILS(LID1) of a copy that ended with `status` and `sense` (SPC-4 §6.18).
#[must_use]
pub fn failure(status: Status, sense: &Sense) -> Vec<u8> {
    let sense = sense.fixed();
    let mut data = vec![0; 60];
    data[56] = status.code();
    put(&mut data, 58, u16::try_from(sense.len()).expect("eighteen").to_be_bytes());
    data.extend(sense);
    let available = u32::try_from(data.len() - 4).expect("some eighty bytes");
    put(&mut data, 0, available.to_be_bytes());
    data
}

impl Limits {
    /// RECEIVE COPY OPERATING PARAMETERS parameter data (SPC-4 §6.20). A MAXIMUM SEGMENT LENGTH of
    /// zero is no limit; nothing is held, and no data comes inline.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut data = vec![0; 44];
        // SNLID: a list may go without an identifier.
        data[4] = 0x01;
        put(&mut data, 8, self.cscds.to_be_bytes());
        put(&mut data, 10, self.segments.to_be_bytes());
        put(&mut data, 12, self.list_len.to_be_bytes());
        put(&mut data, 34, u16::from(self.copies).to_be_bytes());
        data[36] = self.copies;
        data[37] = self.granularity;
        data[43] = 2;
        data.extend([BLOCK_TO_BLOCK, IDENTIFICATION_CSCD]);
        let available = u32::try_from(data.len() - 4).expect("some forty bytes");
        put(&mut data, 0, available.to_be_bytes());
        data
    }
}

/// Types of third-party copy descriptors (SPC-4 §7.8.17).
const SUPPORTED_COMMANDS: u16 = 0x0001;
const PARAMETER_DATA: u16 = 0x0004;
const SUPPORTED_DESCRIPTORS: u16 = 0x0008;
const SUPPORTED_CSCD_IDS: u16 = 0x000C;
const GENERAL_OPERATIONS: u16 = 0x8001;
const HELD_DATA: u16 = 0xC001;

/// Page 8Fh.
#[must_use]
pub fn third_party_page(limits: &Limits) -> Vec<u8> {
    let mut body = Vec::new();
    descriptor(&mut body, SUPPORTED_COMMANDS, &commands());

    let mut parameters = [0; 0x1C];
    put(&mut parameters, 4, limits.cscds.to_be_bytes());
    put(&mut parameters, 6, limits.segments.to_be_bytes());
    put(&mut parameters, 8, limits.list_len.to_be_bytes());
    descriptor(&mut body, PARAMETER_DATA, &parameters);

    descriptor(&mut body, SUPPORTED_DESCRIPTORS, &[2, BLOCK_TO_BLOCK, IDENTIFICATION_CSCD]);
    // None but the places of descriptors in the list, which need not be told.
    descriptor(&mut body, SUPPORTED_CSCD_IDS, &[0, 0]);

    let mut general = [0; 0x20];
    put(&mut general, 0, u32::from(limits.copies).to_be_bytes());
    put(&mut general, 4, u32::from(limits.copies).to_be_bytes());
    general[12] = limits.granularity;
    descriptor(&mut body, GENERAL_OPERATIONS, &general);

    descriptor(&mut body, HELD_DATA, &[0; 0x1C]);
    page(Peripheral::Disk, THIRD_PARTY_COPY, &body)
}

/// Operation codes with their service actions.
fn commands() -> Vec<u8> {
    let received = [
        action::COPY_STATUS,
        action::RECEIVE_DATA,
        action::OPERATING_PARAMETERS,
        action::FAILED_SEGMENT_DETAILS,
    ];
    let mut list = vec![opcode::EXTENDED_COPY, 1, LID1, opcode::RECEIVE_COPY_RESULTS];
    list.push(u8::try_from(received.len()).expect("four"));
    list.extend(received);
    list.insert(0, u8::try_from(list.len()).expect("nine"));
    list
}

/// Adds a descriptor, filled to a multiple of four bytes.
fn descriptor(page: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let len = body.len().next_multiple_of(4);
    page.extend(kind.to_be_bytes());
    page.extend(u16::try_from(len).expect("tens of bytes").to_be_bytes());
    page.extend(body);
    page.resize(page.len() + len - body.len(), 0);
}

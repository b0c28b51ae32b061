//! EXTENDED COPY(LID1) and what RECEIVE COPY RESULTS tells of it (SPC-4 §6.4, §6.18 to §6.21): the
//! parameter list, read and written, and the results, written. Of the descriptors there are the
//! identification CSCD (E4h) and the block device to block device segment (02h).

mod results;

pub use self::results::{Limits, Progress, Standing, failure, no_data, third_party_page};

use super::sense::{
    INLINE_DATA_LENGTH_EXCEEDED, INVALID_FIELD_IN_LIST, PARAMETER_LIST_LENGTH_ERROR, Sense,
    TOO_MANY_SEGMENT_DESCRIPTORS, TOO_MANY_TARGET_DESCRIPTORS, UNSUPPORTED_SEGMENT_DESCRIPTOR,
    UNSUPPORTED_TARGET_DESCRIPTOR,
};
use super::{put, u16_at, u32_at, u64_at};

/// SERVICE ACTION of EXTENDED COPY: list identifiers of one byte.
pub const LID1: u8 = 0x00;
/// Service actions of RECEIVE COPY RESULTS.
pub mod action {
    /// RECEIVE COPY STATUS(LID1).
    pub const COPY_STATUS: u8 = 0x00;
    /// RECEIVE COPY DATA(LID1).
    pub const RECEIVE_DATA: u8 = 0x01;
    /// RECEIVE COPY OPERATING PARAMETERS.
    pub const OPERATING_PARAMETERS: u8 = 0x03;
    /// RECEIVE COPY FAILURE DETAILS(LID1).
    pub const FAILED_SEGMENT_DETAILS: u8 = 0x04;
}

/// Identification descriptor CSCD descriptor.
pub const IDENTIFICATION_CSCD: u8 = 0xE4;
/// Block device to block device segment descriptor.
pub const BLOCK_TO_BLOCK: u8 = 0x02;

const HEADER_LEN: usize = 16;
const CSCD_LEN: usize = 32;
const SEGMENT_LEN: usize = 28;
/// The longest designator that an identification descriptor has room for.
const DESIGNATOR_LEN_MAX: u8 = 20;

/// Whether results are kept (LIST ID USAGE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    /// Until they are asked for.
    Hold,
    /// They need not be.
    Discard,
    /// There is no list identifier, so nobody can ask.
    Unidentified,
}

/// A parameter list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// LIST IDENTIFIER: what the results are asked for by.
    pub id: u8,
    /// LIST ID USAGE.
    pub usage: Usage,
    /// Copy sources and copy destinations.
    pub cscds: Vec<Cscd>,
    /// What to copy, in this order.
    pub segments: Vec<Segment>,
}

/// A copy source or copy destination, by a designator of its VPD page 83h.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cscd {
    /// PERIPHERAL DEVICE TYPE.
    pub peripheral: u8,
    /// CODE SET.
    pub code_set: u8,
    /// ASSOCIATION; 0 is the logical unit.
    pub association: u8,
    /// DESIGNATOR TYPE.
    pub kind: u8,
    /// DESIGNATOR.
    pub designator: Vec<u8>,
    /// PAD: bytes of a segment that fill no block are filled up, or dropped.
    pub pad: bool,
    /// DISK BLOCK LENGTH in bytes.
    pub block_size: u32,
}

/// Blocks from one block device to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Which of the [`Cscd`]s they come from.
    pub source: u16,
    /// And go to.
    pub destination: u16,
    /// DC: `blocks` counts blocks of the destination, not of the source.
    pub destination_count: bool,
    /// CAT: what fills no block goes on into the next segment.
    pub concatenate: bool,
    /// BLOCK DEVICE NUMBER OF BLOCKS.
    pub blocks: u16,
    /// The first block at the source.
    pub source_lba: u64,
    /// The first block at the destination.
    pub destination_lba: u64,
}

impl Segment {
    /// Where DESTINATION CSCD DESCRIPTOR ID is within the descriptor; for sense data.
    pub const DESTINATION_AT: u16 = 6;
    /// SOURCE CSCD DESCRIPTOR ID.
    pub const SOURCE_AT: u16 = 4;
    /// SOURCE BLOCK DEVICE LOGICAL BLOCK ADDRESS.
    pub const SOURCE_LBA_AT: u16 = 12;
    /// DESTINATION BLOCK DEVICE LOGICAL BLOCK ADDRESS.
    pub const DESTINATION_LBA_AT: u16 = 20;
    /// BLOCK DEVICE NUMBER OF BLOCKS.
    pub const BLOCKS_AT: u16 = 10;
}

/// The longest list that `limits` leave room for.
#[must_use]
pub fn list_len_max(limits: &Limits) -> u32 {
    let header = u32::try_from(HEADER_LEN).expect("sixteen");
    header.saturating_add(limits.list_len)
}

impl List {
    /// Reads a list. Everything in it is checked before anything is copied, so that what is wrong
    /// with the list itself is an ILLEGAL REQUEST that changed nothing (SPC-4 §5.17.7.3).
    pub fn parse(list: &[u8], limits: &Limits) -> Result<Self, Sense> {
        let (head, rest) =
            list.split_first_chunk::<HEADER_LEN>().ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
        let usage = match head[1] >> 3 & 0x03 {
            0 => Usage::Hold,
            2 => Usage::Discard,
            3 if head[0] == 0 => Usage::Unidentified,
            3 => return Err(INVALID_FIELD_IN_LIST.at_list(0)),
            _ => return Err(INVALID_FIELD_IN_LIST.at_list(1)),
        };
        let (cscds_len, segments_len) = (u16_at(head, 2), u32_at(head, 8));
        let told = u64::from(cscds_len) + u64::from(segments_len);
        if told > u64::from(limits.list_len) {
            return Err(PARAMETER_LIST_LENGTH_ERROR);
        }
        if u32_at(head, 12) != 0 {
            return Err(INLINE_DATA_LENGTH_EXCEEDED.at_list(12));
        }
        let told = usize::try_from(told).map_err(|_| PARAMETER_LIST_LENGTH_ERROR)?;
        let descriptors = rest.get(..told).ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
        let (cscds, segments) = descriptors.split_at(cscds_len.into());
        Ok(Self {
            id: head[0],
            usage,
            cscds: parse_cscds(cscds, limits.cscds)?,
            segments: parse_segments(segments, HEADER_LEN + cscds.len(), limits.segments)?,
        })
    }

    /// Writes a list.
    ///
    /// # Panics
    /// If a designator is longer than the descriptor's field for it.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut list = vec![0; HEADER_LEN];
        list[0] = self.id;
        list[1] = match self.usage {
            Usage::Hold => 0,
            Usage::Discard => 2 << 3,
            Usage::Unidentified => 3 << 3,
        };
        let cscds_len = u16::try_from(self.cscds.len() * CSCD_LEN).expect("a few descriptors");
        let segments_len = u32::try_from(self.segments.len() * SEGMENT_LEN).expect("likewise");
        put(&mut list, 2, cscds_len.to_be_bytes());
        put(&mut list, 8, segments_len.to_be_bytes());
        self.cscds.iter().for_each(|cscd| list.extend(cscd.bytes()));
        self.segments.iter().for_each(|segment| list.extend(segment.bytes()));
        list
    }
}

impl Cscd {
    fn bytes(&self) -> [u8; CSCD_LEN] {
        let mut bytes = [0; CSCD_LEN];
        let len = self.designator.len();
        bytes[0] = IDENTIFICATION_CSCD;
        bytes[1] = self.peripheral & 0x1F;
        bytes[4] = self.code_set & 0x0F;
        bytes[5] = (self.association & 0x03) << 4 | self.kind & 0x0F;
        bytes[7] = u8::try_from(len).expect("a designator of at most twenty bytes");
        bytes[8..8 + len].copy_from_slice(&self.designator);
        put(&mut bytes, 28, (self.block_size & 0x00FF_FFFF).to_be_bytes());
        bytes[28] = u8::from(self.pad) << 2;
        bytes
    }
}

impl Segment {
    fn bytes(&self) -> [u8; SEGMENT_LEN] {
        let mut bytes = [0; SEGMENT_LEN];
        bytes[0] = BLOCK_TO_BLOCK;
        bytes[1] = u8::from(self.destination_count) << 1 | u8::from(self.concatenate);
        bytes[3] = 0x18;
        put(&mut bytes, 4, self.source.to_be_bytes());
        put(&mut bytes, 6, self.destination.to_be_bytes());
        put(&mut bytes, 10, self.blocks.to_be_bytes());
        put(&mut bytes, 12, self.source_lba.to_be_bytes());
        put(&mut bytes, 20, self.destination_lba.to_be_bytes());
        bytes
    }
}

/// A byte of the list, as sense data points at it.
fn at(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

fn parse_cscds(bytes: &[u8], max: u16) -> Result<Vec<Cscd>, Sense> {
    let (descriptors, rest) = bytes.as_chunks::<CSCD_LEN>();
    if !rest.is_empty() {
        return Err(INVALID_FIELD_IN_LIST.at_list(2));
    }
    if descriptors.len() > usize::from(max) {
        return Err(TOO_MANY_TARGET_DESCRIPTORS.at_list(2));
    }
    let parse = |(index, bytes): (usize, &[u8; CSCD_LEN])| {
        let start = HEADER_LEN + index * CSCD_LEN;
        if bytes[0] != IDENTIFICATION_CSCD {
            return Err(UNSUPPORTED_TARGET_DESCRIPTOR.at_list(at(start)));
        }
        if bytes[7] > DESIGNATOR_LEN_MAX {
            return Err(INVALID_FIELD_IN_LIST.at_list(at(start + 7)));
        }
        // LU ID TYPE and NUL, the top bits of byte 1, mean nothing in this descriptor any more.
        Ok(Cscd {
            peripheral: bytes[1] & 0x1F,
            code_set: bytes[4] & 0x0F,
            association: bytes[5] >> 4 & 0x03,
            kind: bytes[5] & 0x0F,
            designator: bytes[8..8 + usize::from(bytes[7])].to_vec(),
            pad: bytes[28] & 0x04 != 0,
            block_size: u32_at(bytes, 28) & 0x00FF_FFFF,
        })
    };
    descriptors.iter().enumerate().map(parse).collect()
}

fn parse_segments(bytes: &[u8], start: usize, max: u16) -> Result<Vec<Segment>, Sense> {
    let mut segments = Vec::new();
    let mut rest = bytes;
    while let Some(kind) = rest.first() {
        let start = start + bytes.len() - rest.len();
        if *kind != BLOCK_TO_BLOCK {
            return Err(UNSUPPORTED_SEGMENT_DESCRIPTOR.at_list(at(start)));
        }
        if segments.len() == usize::from(max) {
            return Err(TOO_MANY_SEGMENT_DESCRIPTORS.at_list(8));
        }
        let (segment, next) =
            rest.split_first_chunk::<SEGMENT_LEN>().ok_or(INVALID_FIELD_IN_LIST.at_list(8))?;
        if usize::from(u16_at(segment, 2)) != SEGMENT_LEN - 4 {
            return Err(INVALID_FIELD_IN_LIST.at_list(at(start + 2)));
        }
        rest = next;
        segments.push(Segment {
            source: u16_at(segment, 4),
            destination: u16_at(segment, 6),
            destination_count: segment[1] & 0x02 != 0,
            concatenate: segment[1] & 0x01 != 0,
            blocks: u16_at(segment, 10),
            source_lba: u64_at(segment, 12),
            destination_lba: u64_at(segment, 20),
        });
    }
    Ok(segments)
}

#[cfg(test)]
mod tests;

//! TransportIDs of iSCSI (SPC-4 §7.6.4.6): how a command names an initiator port.

use crate::ids::{IscsiName, Isid};
use crate::scsi::sense::{INVALID_FIELD_IN_LIST, PARAMETER_LIST_LENGTH_ERROR, Sense};
use crate::scsi::{u16_at, u32_at};

/// PROTOCOL IDENTIFIER of iSCSI, and TPID FORMAT of a port's name.
const ISCSI: u8 = 0x05;
const PORT_FORMAT: u8 = 0x40;
/// Between name and ISID.
const SEPARATOR: &str = ",i,0x";
/// ADDITIONAL LENGTH is at least this.
const LEN_MIN: usize = 20;
/// Where the names of REGISTER with SPEC_I_PT begin: behind their own length.
const LIST_AT: usize = 28;

/// An initiator port: the initiator's name and the session's ISID (RFC 7143 §4.4.2). It outlives
/// the sessions made through it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InitiatorPort {
    /// The initiator.
    pub name: IscsiName,
    /// Its part of the session's name.
    pub isid: Isid,
}

impl InitiatorPort {
    /// The TransportID.
    #[must_use]
    pub fn transport_id(&self) -> Vec<u8> {
        let mut text = format!("{}{SEPARATOR}", self.name);
        for byte in self.isid.0 {
            text += &format!("{byte:02x}");
        }
        build(ISCSI | PORT_FORMAT, &text)
    }
}

/// What a TransportID names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransportId {
    /// One port.
    Port(InitiatorPort),
    /// An initiator, through whatever port.
    Device(IscsiName),
}

impl TransportId {
    /// The TransportID.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Port(port) => port.transport_id(),
            Self::Device(name) => build(ISCSI, name.as_str()),
        }
    }

    /// Reads the first of some TransportIDs, and says how long it is.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::from(u16_at(head, 2));
        if len < LEN_MIN || !len.is_multiple_of(4) {
            return None;
        }
        let field = rest.get(..len)?;
        let end = field.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&field[..end]).ok()?;
        let id = match head[0] {
            ISCSI => Self::Device(IscsiName::new(text).ok()?),
            code if code == ISCSI | PORT_FORMAT => {
                let (name, isid) = text.split_once(SEPARATOR)?;
                Self::Port(InitiatorPort {
                    name: IscsiName::new(name).ok()?,
                    isid: parse_isid(isid)?,
                })
            }
            _ => return None,
        };
        Some((id, 4 + len))
    }
}

/// Ended by a zero and filled with zeros to a multiple of four.
fn build(code: u8, text: &str) -> Vec<u8> {
    let len = (text.len() + 1).next_multiple_of(4).max(LEN_MIN);
    let told = u16::try_from(len).expect("an iSCSI name has at most 223 bytes");
    let mut bytes = vec![code, 0];
    bytes.extend(told.to_be_bytes());
    bytes.extend(text.as_bytes());
    bytes.resize(4 + len, 0);
    bytes
}

/// Twelve hexadecimal digits; fewer are the low ones.
fn parse_isid(text: &str) -> Option<Isid> {
    let is_hex = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let value = u64::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    let [_, _, isid @ ..] = value.to_be_bytes();
    Some(Isid(isid))
}

/// What follows the fixed part of a list with SPEC_I_PT: a length, and names back to back.
pub(super) fn parse_list(bytes: &[u8]) -> Result<Vec<TransportId>, Sense> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
    let len = usize::try_from(u32_at(head, 0)).unwrap_or(usize::MAX);
    let mut rest = rest.get(..len).ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
    let mut at = LIST_AT;
    let mut ids = Vec::new();
    while !rest.is_empty() {
        let here = u16::try_from(at).unwrap_or(u16::MAX);
        let (id, used) =
            TransportId::parse(rest).ok_or_else(|| INVALID_FIELD_IN_LIST.at_list(here))?;
        ids.push(id);
        at += used;
        rest = &rest[used..];
    }
    Ok(ids)
}

//! Device identification, page 83h (SPC-4 §7.8.6): the names of a logical unit and of the port it
//! is reached through. Multipath software compares them to find the paths of one disk.

use super::{IDENTIFICATION, Peripheral, body, page, text};
use crate::scsi::Malformed;

/// What a designator names (ASSOCIATION).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Association {
    /// The logical unit: the same on every path.
    LogicalUnit,
    /// The port this INQUIRY came through.
    TargetPort,
    /// The target that holds the port.
    TargetDevice,
}

/// A name (SPC-4 §7.8.6.3 to §7.8.6.11; the UUID as SPC-5 defines it).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Name {
    /// Vendor and what the vendor says.
    T10(String, String),
    /// Network address authority, 8 or 16 bytes.
    Naa(Vec<u8>),
    /// RELATIVE TARGET PORT IDENTIFIER.
    RelativePort(u16),
    /// TARGET PORT GROUP.
    PortGroup(u16),
    /// The transport's own name, as text.
    Scsi(String),
    /// A locally assigned UUID.
    Uuid([u8; 16]),
    /// A kind that is not read here, by its number.
    Other(u8),
}

/// A name and what it is the name of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Designator {
    /// What it names.
    pub of: Association,
    /// The name.
    pub name: Name,
}

/// CODE SET.
const BINARY: u8 = 1;
const ASCII: u8 = 2;
const UTF_8: u8 = 3;
/// PROTOCOL IDENTIFIER of iSCSI.
const ISCSI: u8 = 5;
/// PIV: the protocol identifier counts. Only ports and targets have one.
const PIV: u8 = 0x80;

impl Name {
    const fn kind(&self) -> u8 {
        match self {
            Self::T10(..) => 0x1,
            Self::Naa(_) => 0x3,
            Self::RelativePort(_) => 0x4,
            Self::PortGroup(_) => 0x5,
            Self::Scsi(_) => 0x8,
            Self::Uuid(_) => 0xA,
            Self::Other(kind) => *kind & 0x0F,
        }
    }

    const fn code_set(&self) -> u8 {
        match self {
            Self::T10(..) => ASCII,
            Self::Scsi(_) => UTF_8,
            _ => BINARY,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::T10(vendor, specific) => {
                [&super::padded::<8>(vendor), specific.as_bytes()].concat()
            }
            Self::Naa(name) => name.clone(),
            Self::RelativePort(number) | Self::PortGroup(number) => {
                [[0, 0], number.to_be_bytes()].concat()
            }
            // Ended by a zero and filled with zeros to a multiple of four (§7.8.6.11).
            Self::Scsi(name) => {
                let mut bytes = name.clone().into_bytes();
                bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
                bytes
            }
            Self::Uuid(uuid) => [&[0x10, 0], &uuid[..]].concat(),
            Self::Other(_) => Vec::new(),
        }
    }

    /// Whether a descriptor with these fields names the same.
    #[must_use]
    pub fn is(&self, code_set: u8, kind: u8, designator: &[u8]) -> bool {
        self.code_set() == code_set && self.kind() == kind && self.bytes() == designator
    }

    fn parse(kind: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = Malformed("designator");
        Ok(match kind {
            0x1 => {
                let (vendor, specific) = bytes.split_at_checked(8).ok_or(wrong)?;
                Self::T10(text(vendor), text(specific))
            }
            0x3 if matches!(bytes.len(), 8 | 16) => Self::Naa(bytes.to_vec()),
            0x4 | 0x5 => match (kind, bytes) {
                (0x4, [_, _, high, low]) => Self::RelativePort(u16::from_be_bytes([*high, *low])),
                (_, [_, _, high, low]) => Self::PortGroup(u16::from_be_bytes([*high, *low])),
                _ => return Err(wrong),
            },
            0x8 => {
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
                Self::Scsi(String::from_utf8(name.to_vec()).map_err(|_| wrong)?)
            }
            0xA => match bytes {
                [0x10, _, uuid @ ..] => Self::Uuid(uuid.try_into().map_err(|_| wrong)?),
                _ => return Err(wrong),
            },
            0x3 => return Err(wrong),
            other => Self::Other(other),
        })
    }
}

impl Designator {
    /// A name of the logical unit.
    #[must_use]
    pub const fn unit(name: Name) -> Self {
        Self { of: Association::LogicalUnit, name }
    }

    /// A name of the port.
    #[must_use]
    pub const fn port(name: Name) -> Self {
        Self { of: Association::TargetPort, name }
    }

    /// A name of the target.
    #[must_use]
    pub const fn target(name: Name) -> Self {
        Self { of: Association::TargetDevice, name }
    }

    fn append(&self, data: &mut Vec<u8>) {
        let bytes = self.name.bytes();
        let (piv, protocol) = match self.of {
            Association::LogicalUnit => (0, 0),
            Association::TargetPort | Association::TargetDevice => (PIV, ISCSI << 4),
        };
        let association = (self.of as u8) << 4;
        let len = u8::try_from(bytes.len()).expect("an iSCSI name has at most 223 bytes");
        data.extend([
            protocol | self.name.code_set(),
            piv | association | self.name.kind(),
            0,
            len,
        ]);
        data.extend(bytes);
    }
}

/// Page 83h.
///
/// # Panics
/// If a name is longer than 255 bytes, which no name of this protocol is.
#[must_use]
pub fn designators(names: &[Designator]) -> Vec<u8> {
    page(Peripheral::Disk, IDENTIFICATION, &list(names))
}

/// Designators back to back.
pub(super) fn list(names: &[Designator]) -> Vec<u8> {
    let mut data = Vec::new();
    for designator in names {
        designator.append(&mut data);
    }
    data
}

impl Designator {
    /// Reads page 83h; a designator the allocation length cut is left out.
    pub fn parse_page(data: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut rest = body(data, IDENTIFICATION)?;
        let mut list = Vec::new();
        while let [_, kind, _, len, more @ ..] = rest {
            let Some((bytes, next)) = more.split_at_checked(usize::from(*len)) else {
                break;
            };
            rest = next;
            let of = match kind >> 4 & 0x03 {
                0 => Association::LogicalUnit,
                1 => Association::TargetPort,
                2 => Association::TargetDevice,
                _ => continue,
            };
            list.push(Self { of, name: Name::parse(kind & 0x0F, bytes)? });
        }
        Ok(list)
    }
}

/// An NAA IEEE Registered Extended name (§7.8.6.6) for a volume: the company's 24 bits, then the
/// low 100 bits of the volume's UUID, which leave out the part of a random UUID that is constant.
#[must_use]
pub fn naa6(company: [u8; 3], uuid: [u8; 16]) -> Name {
    let company = u128::from(u32::from_be_bytes([0, company[0], company[1], company[2]]));
    let own = u128::from_be_bytes(uuid) & ((1 << 100) - 1);
    Name::Naa((6 << 124 | company << 100 | own).to_be_bytes().to_vec())
}

//! INQUIRY: standard data (SPC-4 §6.6.2) and the vital product data of a disk (SPC-4 §7.8,
//! SBC-3 §6), written and read. Designators have a file of their own.

mod designator;

pub use self::designator::{Association, Designator, Name, designators, naa6};

use super::{Malformed, put, put_length_u16, u16_at, u32_at, u64_at};

/// Supported VPD pages.
pub const SUPPORTED_PAGES: u8 = 0x00;
/// Unit serial number.
pub const SERIAL_NUMBER: u8 = 0x80;
/// Device identification.
pub const IDENTIFICATION: u8 = 0x83;
/// Third-party copy.
pub const THIRD_PARTY_COPY: u8 = 0x8F;
/// Management network addresses.
pub const MANAGEMENT_ADDRESSES: u8 = 0x85;
/// Extended INQUIRY data.
pub const EXTENDED: u8 = 0x86;
/// Mode page policy.
pub const MODE_PAGE_POLICY: u8 = 0x87;
/// SCSI ports.
pub const PORTS: u8 = 0x88;
/// Block limits.
pub const BLOCK_LIMITS: u8 = 0xB0;
/// Block device characteristics.
pub const CHARACTERISTICS: u8 = 0xB1;
/// Logical block provisioning.
pub const PROVISIONING: u8 = 0xB2;

/// Standards as INQUIRY claims them (SPC-4 §6.6.2, version descriptors): no particular version of each.
pub mod standard {
    /// SCSI architecture.
    pub const SAM_5: u16 = 0x00A0;
    /// Primary commands.
    pub const SPC_4: u16 = 0x0460;
    /// Block commands. SBC-4 has no published code; everything offered is in SBC-3.
    pub const SBC_3: u16 = 0x04C0;
    /// The transport.
    pub const ISCSI: u16 = 0x0960;
}

/// The first byte of all INQUIRY data: is there a device behind this number, and of what type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peripheral {
    /// A disk.
    Disk,
    /// No device here, and none can be (qualifier 011b, type 1Fh).
    Absent,
    /// Anything else, for reading: qualifier and type.
    Other(u8, u8),
}

impl Peripheral {
    /// The byte on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Disk => 0x00,
            Self::Absent => 0x7F,
            Self::Other(qualifier, kind) => qualifier << 5 | kind & 0x1F,
        }
    }

    /// Reads the byte.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0x00 => Self::Disk,
            0x7F => Self::Absent,
            other => Self::Other(other >> 5, other & 0x1F),
        }
    }
}

/// VERSION for SPC-4.
const VERSION_SPC_4: u8 = 0x06;

/// Standard INQUIRY data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standard {
    /// Is there a disk.
    pub peripheral: Peripheral,
    /// VERSION; 6 is SPC-4, 0 claims nothing.
    pub version: u8,
    /// CMDQUE: more than one command at a time.
    pub queueing: bool,
    /// 3PC: EXTENDED COPY is there.
    pub third_party_copy: bool,
    /// TPGS: how the unit tells of asymmetric access.
    pub port_groups: u8,
    /// Eight characters, T10 VENDOR IDENTIFICATION.
    pub vendor: String,
    /// Sixteen characters.
    pub product: String,
    /// Four characters.
    pub revision: String,
    /// Claims, at most eight.
    pub standards: Vec<u16>,
}

const STANDARD_LEN: usize = 96;

impl Standard {
    /// What a unit says of itself.
    #[must_use]
    pub fn new(peripheral: Peripheral, vendor: &str, product: &str, revision: &str) -> Self {
        Self {
            peripheral,
            version: VERSION_SPC_4,
            queueing: true,
            third_party_copy: matches!(peripheral, Peripheral::Disk),
            port_groups: 0,
            vendor: vendor.to_owned(),
            product: product.to_owned(),
            revision: revision.to_owned(),
            standards: vec![standard::SAM_5, standard::ISCSI, standard::SPC_4, standard::SBC_3],
        }
    }

    /// Writes the data: 96 bytes, hierarchical addressing (HISUP), format 2.
    #[must_use]
    pub fn bytes(&self) -> [u8; STANDARD_LEN] {
        let mut data = [0; STANDARD_LEN];
        data[0] = self.peripheral.code();
        data[2] = self.version;
        data[3] = 0x12;
        data[4] = 91;
        data[5] = (self.port_groups & 0x03) << 4 | u8::from(self.third_party_copy) << 3;
        data[7] = u8::from(self.queueing) << 1;
        put(&mut data, 8, padded::<8>(&self.vendor));
        put(&mut data, 16, padded::<16>(&self.product));
        put(&mut data, 32, padded::<4>(&self.revision));
        for (slot, claim) in data[58..74].chunks_exact_mut(2).zip(&self.standards) {
            slot.copy_from_slice(&claim.to_be_bytes());
        }
        data
    }

    /// Reads the data, of which the first 36 bytes are mandatory.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        if data.len() < 36 {
            return Err(Malformed("standard INQUIRY data"));
        }
        let said = data.len().min(5 + usize::from(data[4]));
        let claims = data.get(58..said.min(74)).unwrap_or(&[]).as_chunks().0;
        let claims = claims.iter().map(|claim| u16::from_be_bytes(*claim));
        Ok(Self {
            peripheral: Peripheral::from_code(data[0]),
            version: data[2],
            queueing: data[7] & 0x02 != 0,
            third_party_copy: data[5] & 0x08 != 0,
            port_groups: data[5] >> 4 & 0x03,
            vendor: text(&data[8..16]),
            product: text(&data[16..32]),
            revision: text(&data[32..36]),
            standards: claims.filter(|claim| *claim != 0).collect(),
        })
    }
}

/// Left-aligned text, filled with spaces (SPC-4, ASCII data fields). Characters outside of printable ASCII,
/// which the field may not hold, become `_`.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (slot, letter) in field.iter_mut().zip(text.bytes()) {
        *slot = if matches!(letter, 0x20..=0x7E) { letter } else { b'_' };
    }
    field
}

/// Text from a field another party filled: nothing in it can control a terminal.
fn text(field: &[u8]) -> String {
    let printable = |byte: &u8| if matches!(byte, 0x20..=0x7E) { char::from(*byte) } else { ' ' };
    field.iter().map(printable).collect::<String>().trim().to_owned()
}

/// A page of vital product data: header and body.
pub(super) fn page(peripheral: Peripheral, code: u8, body: &[u8]) -> Vec<u8> {
    let mut data = vec![peripheral.code(), code, 0, 0];
    data.extend(body);
    put_length_u16(&mut data, 2);
    data
}

/// The body of the page `code`, cut to what arrived.
fn body(data: &[u8], code: u8) -> Result<&[u8], Malformed> {
    let (head, rest) = data.split_first_chunk::<4>().ok_or(Malformed("VPD page"))?;
    if head[1] != code {
        return Err(Malformed("VPD page"));
    }
    Ok(&rest[..rest.len().min(usize::from(u16_at(head, 2)))])
}

/// Page 00h: which pages there are, in ascending order.
#[must_use]
pub fn supported_pages(peripheral: Peripheral, pages: &[u8]) -> Vec<u8> {
    page(peripheral, SUPPORTED_PAGES, pages)
}

/// Reads page 00h.
pub fn parse_supported_pages(data: &[u8]) -> Result<&[u8], Malformed> {
    body(data, SUPPORTED_PAGES)
}

/// Page 80h.
#[must_use]
pub fn serial_number(serial: &str) -> Vec<u8> {
    page(Peripheral::Disk, SERIAL_NUMBER, serial.as_bytes())
}

/// Reads page 80h.
pub fn parse_serial_number(data: &[u8]) -> Result<String, Malformed> {
    body(data, SERIAL_NUMBER).map(text)
}

/// Page 85h of a logical unit that is managed elsewhere: no addresses.
#[must_use]
pub fn management_addresses() -> Vec<u8> {
    page(Peripheral::Disk, MANAGEMENT_ADDRESSES, &[])
}

/// Page 86h.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extended {
    /// HEADSUP, ORDSUP, SIMPSUP: which task attributes there are.
    pub head_of_queue: bool,
    /// ORDSUP.
    pub ordered: bool,
    /// SIMPSUP.
    pub simple: bool,
    /// V_SUP: a cache that forgets may be in front of the medium.
    pub volatile_cache: bool,
    /// MAXIMUM SUPPORTED SENSE DATA LENGTH.
    pub sense_len_max: u8,
}

impl Extended {
    /// Writes the page, 64 bytes.
    #[must_use]
    pub fn page(&self) -> Vec<u8> {
        let mut data = page(Peripheral::Disk, EXTENDED, &[0; 0x3C]);
        data[5] =
            u8::from(self.head_of_queue) << 2 | u8::from(self.ordered) << 1 | u8::from(self.simple);
        data[6] = u8::from(self.volatile_cache);
        data[13] = self.sense_len_max;
        data
    }

    /// Reads the page.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let body = body(data, EXTENDED)?;
        let [_, attributes, caches, _, _, _, _, _, _, sense_len_max, ..] = body else {
            return Err(Malformed("extended INQUIRY data"));
        };
        Ok(Self {
            head_of_queue: attributes & 0x04 != 0,
            ordered: attributes & 0x02 != 0,
            simple: attributes & 0x01 != 0,
            volatile_cache: caches & 0x01 != 0,
            sense_len_max: *sense_len_max,
        })
    }
}

/// Page 87h of a device server in which all nexuses share every mode page.
#[must_use]
pub fn mode_page_policy() -> Vec<u8> {
    page(Peripheral::Disk, MODE_PAGE_POLICY, &[0x3F, 0xFF, 0x00, 0])
}

/// Page 88h: the target ports, each with its number and its names.
#[must_use]
pub fn ports(ports: &[(u16, Vec<Designator>)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (relative, names) in ports {
        let names = designator::list(names);
        data.extend([0, 0]);
        data.extend(relative.to_be_bytes());
        // No initiator port's TransportID, only target port descriptors.
        data.extend([0; 6]);
        let len = u16::try_from(names.len()).expect("a port has few names");
        data.extend(len.to_be_bytes());
        data.extend(names);
    }
    page(Peripheral::Disk, PORTS, &data)
}

/// Page B0h. A zero says that there is no limit, or that it is not told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockLimits {
    /// OPTIMAL TRANSFER LENGTH GRANULARITY.
    pub granularity: u16,
    /// MAXIMUM TRANSFER LENGTH, in blocks.
    pub transfer_max: u32,
    /// OPTIMAL TRANSFER LENGTH.
    pub transfer_optimal: u32,
    /// MAXIMUM UNMAP LBA COUNT; zero when UNMAP is not there.
    pub unmap_blocks_max: u32,
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
    pub unmap_extents_max: u32,
    /// OPTIMAL UNMAP GRANULARITY.
    pub unmap_granularity: u32,
    /// UNMAP GRANULARITY ALIGNMENT, with UGAVALID: the first block where a piece begins.
    pub unmap_alignment: Option<u32>,
    /// MAXIMUM COMPARE AND WRITE LENGTH, in blocks; zero when the command is not there.
    pub compare_and_write_max: u8,
    /// MAXIMUM WRITE SAME LENGTH, in blocks.
    pub write_same_max: u64,
    /// WSNZ: WRITE SAME refuses a length of zero, which else means to the end of the medium.
    pub write_same_nonzero: bool,
    /// MAXIMUM ATOMIC TRANSFER LENGTH; zero when WRITE ATOMIC is not there. Its alignment, granularity
    /// and boundaries are zero always: any blocks will do, and no boundary can be given.
    pub atomic_max: u32,
}

/// UGAVALID.
const ALIGNMENT_VALID: u32 = 1 << 31;

impl BlockLimits {
    /// Writes the page, with the length SBC-3 gives it.
    #[must_use]
    pub fn page(&self) -> Vec<u8> {
        // Positions are the standard's, which count the page's header.
        let mut data = page(Peripheral::Disk, BLOCK_LIMITS, &[0; 0x3C]);
        put(&mut data, 6, self.granularity.to_be_bytes());
        put(&mut data, 8, self.transfer_max.to_be_bytes());
        put(&mut data, 12, self.transfer_optimal.to_be_bytes());
        put(&mut data, 20, self.unmap_blocks_max.to_be_bytes());
        put(&mut data, 24, self.unmap_extents_max.to_be_bytes());
        put(&mut data, 28, self.unmap_granularity.to_be_bytes());
        let alignment = self.unmap_alignment.map_or(0, |at| ALIGNMENT_VALID | at);
        put(&mut data, 32, alignment.to_be_bytes());
        data[4] = u8::from(self.write_same_nonzero);
        data[5] = self.compare_and_write_max;
        put(&mut data, 36, self.write_same_max.to_be_bytes());
        put(&mut data, 44, self.atomic_max.to_be_bytes());
        data
    }

    /// Reads the page. SBC-2's is shorter and knows no UNMAP.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let len = 4 + body(data, BLOCK_LIMITS)?.len();
        if len < 16 {
            return Err(Malformed("block limits"));
        }
        let field = |at: usize| if len >= at + 4 { u32_at(data, at) } else { 0 };
        Ok(Self {
            granularity: u16_at(data, 6),
            transfer_max: field(8),
            transfer_optimal: field(12),
            unmap_blocks_max: field(20),
            unmap_extents_max: field(24),
            unmap_granularity: field(28),
            unmap_alignment: Some(field(32))
                .filter(|at| at & ALIGNMENT_VALID != 0)
                .map(|at| at & !ALIGNMENT_VALID),
            compare_and_write_max: data[5],
            write_same_max: if len >= 44 { u64_at(data, 36) } else { 0 },
            write_same_nonzero: data[4] & 0x01 != 0,
            atomic_max: field(44),
        })
    }
}

/// MEDIUM ROTATION RATE of page B1h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotation {
    /// Not told.
    Unknown,
    /// Nothing turns: seeking costs nothing.
    None,
    /// Turns a minute.
    Rate(u16),
}

/// Page B1h.
#[must_use]
pub fn characteristics(rotation: Rotation, erase_leaves_readable: bool) -> Vec<u8> {
    let rate: u16 = match rotation {
        Rotation::Unknown => 0,
        Rotation::None => 1,
        Rotation::Rate(rate) => rate,
    };
    let mut data = page(Peripheral::Disk, CHARACTERISTICS, &[0; 0x3C]);
    put(&mut data, 4, rate.to_be_bytes());
    // WABEREQ 01b: blocks read well after SANITIZE with BLOCK ERASE.
    data[7] = u8::from(erase_leaves_readable) << 6;
    data
}

/// Reads page B1h.
pub fn parse_characteristics(data: &[u8]) -> Result<Rotation, Malformed> {
    let body = body(data, CHARACTERISTICS)?;
    let rate = body.first_chunk::<2>().ok_or(Malformed("block device characteristics"))?;
    Ok(match u16::from_be_bytes(*rate) {
        0 => Rotation::Unknown,
        1 => Rotation::None,
        rate => Rotation::Rate(rate),
    })
}

/// Page B2h.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Provisioning {
    /// LBPU: UNMAP is there.
    pub unmap: bool,
    /// LBPWS and LBPWS10: so is WRITE SAME with its UNMAP bit.
    pub write_same: bool,
    /// LBPRZ: unmapped blocks read as zeros.
    pub reads_zeros: bool,
    /// PROVISIONING TYPE 2: blocks may have no room behind them until they are written.
    pub thin: bool,
}

impl Provisioning {
    /// Writes the page. Anchored blocks are not offered.
    #[must_use]
    pub fn page(&self) -> Vec<u8> {
        let flags = u8::from(self.unmap) << 7
            | if self.write_same { 0x60 } else { 0 }
            | u8::from(self.reads_zeros) << 2;
        let kind = u8::from(self.thin) << 1;
        page(Peripheral::Disk, PROVISIONING, &[0, flags, kind, 0])
    }

    /// Reads the page.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let body = body(data, PROVISIONING)?;
        let [_, flags, kind, ..] = body else {
            return Err(Malformed("logical block provisioning"));
        };
        Ok(Self {
            unmap: flags & 0x80 != 0,
            write_same: flags & 0x40 != 0,
            reads_zeros: flags & 0x04 != 0,
            thin: kind & 0x07 == 2,
        })
    }
}

#[cfg(test)]
mod tests;

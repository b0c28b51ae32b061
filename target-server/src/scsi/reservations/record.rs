//! Reservations as they are kept over power loss (APTPL): two slots, written in turn, each with a
//! number and a checksum. Of two good ones the higher number counts, so a torn write loses nothing that
//! was acknowledged.

use outband_protocol::ids::{IscsiName, Isid};
use outband_protocol::scsi::reserve::{InitiatorPort, Kind};
use uuid::Uuid;

use super::{Held, Nexus, Registrant, Reservations};

/// Bytes of a slot, more than the fullest record has: 128 names of 223 bytes.
pub const SLOT_LEN: usize = 32 * 1024;
const MAGIC: [u8; 8] = *b"OBRESERV";
const VERSION: u32 = 2;
/// From before a target had several ports: without the target port of a registrant.
const VERSION_OF_ONE_PORT: u32 = 1;
/// What stands for it; no port has the number 0 (SPC-4 §4.5.3).
const THE_ONLY_PORT: u16 = 0;
const HEAD_LEN: usize = 40;
/// A registrant's flag. The first bit was ALL_TG_PT.
const HOLDER: u8 = 0x02;

/// Reservations that were kept, and the number of the record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    number: u64,
    registrants: Vec<Registrant>,
    held: Option<Held>,
}

/// Where in the file the record of this number goes.
#[must_use]
pub const fn slot_at(number: u64) -> u64 {
    (number % 2) * SLOT_LEN as u64
}

impl Kept {
    /// The number of the record; the next one has a higher.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.registrants.is_empty()
    }

    /// Reads a file's content for the logical unit `unit`. A new file holds nothing, and neither does
    /// one whose first record was cut short, nor another logical unit's.
    ///
    /// # Errors
    /// When both slots have been written and neither can be read.
    pub fn load(file: &[u8], unit: Uuid) -> Result<Option<Self>, Damaged> {
        let slots: Vec<_> = file.chunks(SLOT_LEN).take(2).collect();
        let records = slots.iter().filter_map(|slot| decode(slot));
        match records.max_by_key(|(_, kept)| kept.number) {
            Some((whose, kept)) => Ok((whose == unit).then_some(kept)),
            None if slots.len() == 2 && !slots.iter().any(|slot| is_blank(slot)) => Err(Damaged),
            None => Ok(None),
        }
    }
}

impl Reservations {
    /// The record of what is to survive. Without APTPL that is nothing.
    pub(super) fn record(&self, unit: Uuid, number: u64) -> Vec<u8> {
        let (registrants, held) = if self.persists {
            (&self.registrants[..], self.held.as_ref())
        } else {
            (&[][..], None)
        };
        let mut record = MAGIC.to_vec();
        record.extend(VERSION.to_be_bytes());
        record.extend(unit.as_bytes());
        record.extend(number.to_be_bytes());
        record.extend([0; 4]);
        record.push(held.map_or(0, |held| held.kind.code()));
        let count = u8::try_from(registrants.len()).expect("at most 128 registrants");
        record.push(count);
        for one in registrants {
            let holds = held.is_some_and(|held| held.holder.as_ref() == Some(&one.nexus));
            record.push(if holds { HOLDER } else { 0 });
            record.extend(one.key.to_be_bytes());
            record.extend(one.nexus.target_port.to_be_bytes());
            let initiator = &one.nexus.initiator;
            record.extend(initiator.isid.0);
            let name = initiator.name.as_str().as_bytes();
            record.push(u8::try_from(name.len()).expect("a name has at most 223 bytes"));
            record.extend(name);
        }
        let len = u32::try_from(record.len() - HEAD_LEN).expect("a record is shorter than a slot");
        record[HEAD_LEN - 4..HEAD_LEN].copy_from_slice(&len.to_be_bytes());
        record.extend(checksum(&record).to_be_bytes());
        record
    }

    /// There is a place to keep them, and this is what was there. `first_port` is the target port of
    /// records from when there was only one.
    pub(super) fn restore(&mut self, kept: Option<Kept>, first_port: u16) {
        self.can_persist = true;
        if let Some(mut kept) = kept {
            let holder = kept.held.iter_mut().filter_map(|held| held.holder.as_mut());
            let nexuses = kept.registrants.iter_mut().map(|one| &mut one.nexus).chain(holder);
            for nexus in nexuses.filter(|nexus| nexus.target_port == THE_ONLY_PORT) {
                nexus.target_port = first_port;
            }
            // Something was kept only while APTPL was set, and it stays set.
            self.persists = !kept.registrants.is_empty();
            self.registrants = kept.registrants;
            self.held = kept.held;
            self.refresh();
        }
    }
}

/// Nobody can tell what was reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("both records of the reservations are damaged; remove the file if they no longer matter")]
pub struct Damaged;

fn is_blank(slot: &[u8]) -> bool {
    slot.iter().all(|byte| *byte == 0)
}

fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

fn decode(slot: &[u8]) -> Option<(Uuid, Kept)> {
    let mut reader = Reader(slot);
    let is_ours = reader.take::<8>()? == MAGIC;
    let version = u32::from_be_bytes(reader.take()?);
    if !is_ours || !matches!(version, VERSION_OF_ONE_PORT | VERSION) {
        return None;
    }
    let whose = Uuid::from_bytes(reader.take()?);
    let number = u64::from_be_bytes(reader.take()?);
    let len = usize::try_from(u32::from_be_bytes(reader.take()?)).ok()?;
    let end = HEAD_LEN.checked_add(len)?;
    let sum = slot.get(end..)?.first_chunk::<4>()?;
    if checksum(&slot[..end]).to_be_bytes() != *sum {
        return None;
    }
    let mut body = Reader(&slot[HEAD_LEN..end]);
    let [code, count] = body.take()?;
    let mut holder = None;
    let mut registrants = Vec::new();
    for _ in 0..count {
        let [flags] = body.take()?;
        let key = u64::from_be_bytes(body.take()?);
        let target_port = match version {
            VERSION_OF_ONE_PORT => THE_ONLY_PORT,
            _ => u16::from_be_bytes(body.take()?),
        };
        let isid = Isid(body.take()?);
        let [len] = body.take()?;
        let name = std::str::from_utf8(body.bytes(len.into())?).ok()?;
        let initiator = InitiatorPort { name: IscsiName::new(name).ok()?, isid };
        let nexus = Nexus { initiator, target_port };
        if flags & HOLDER != 0 {
            holder = Some(nexus.clone());
        }
        registrants.push(Registrant { nexus, key });
    }
    let held = match code {
        0 => None,
        code => Some(Held { kind: Kind::from_code(code)?, holder }),
    };
    Some((whose, Kept { number, registrants, held }))
}

/// Bytes taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }
}

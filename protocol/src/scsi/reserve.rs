//! Persistent reservations on the wire (SPC-4 §6.15, §6.16): the data of PERSISTENT RESERVE IN and
//! the lists of PERSISTENT RESERVE OUT. Names of initiator ports are in `transport_id.rs`.

mod transport_id;

pub use self::transport_id::{InitiatorPort, TransportId};

use super::sense::{INVALID_FIELD_IN_LIST, PARAMETER_LIST_LENGTH_ERROR, Sense};
use super::{Malformed, put, u16_at, u32_at, u64_at};

/// Bytes of a list without names of ports; every action but two wants exactly so many.
pub const LIST_LEN: usize = 24;

/// What a reservation keeps from whom (TYPE).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Only the holder writes.
    WriteExclusive,
    /// Only the holder reads and writes.
    ExclusiveAccess,
    /// Only who is registered writes.
    WriteExclusiveRegistrants,
    /// Only who is registered reads and writes.
    ExclusiveAccessRegistrants,
    /// Only who is registered writes, and each of them holds it.
    WriteExclusiveAll,
    /// Only who is registered reads and writes, and each of them holds it.
    ExclusiveAccessAll,
}

impl Kind {
    /// Every type.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrants,
        Self::ExclusiveAccessRegistrants,
        Self::WriteExclusiveAll,
        Self::ExclusiveAccessAll,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::WriteExclusive => 1,
            Self::ExclusiveAccess => 3,
            Self::WriteExclusiveRegistrants => 5,
            Self::ExclusiveAccessRegistrants => 6,
            Self::WriteExclusiveAll => 7,
            Self::ExclusiveAccessAll => 8,
        }
    }

    /// The type of a number; the others are obsolete or reserved.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Reading is kept from others too.
    #[must_use]
    pub const fn is_exclusive(self) -> bool {
        matches!(
            self,
            Self::ExclusiveAccess | Self::ExclusiveAccessRegistrants | Self::ExclusiveAccessAll
        )
    }

    /// Whoever is registered may do what the holder may.
    #[must_use]
    pub const fn is_for_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// Whoever is registered holds it.
    #[must_use]
    pub const fn is_for_all(self) -> bool {
        matches!(self, Self::WriteExclusiveAll | Self::ExclusiveAccessAll)
    }
}

/// The data of READ KEYS.
#[must_use]
pub fn keys(generation: u32, keys: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut data = head(generation);
    data.extend(keys.into_iter().flat_map(u64::to_be_bytes));
    finish(data)
}

/// The data of READ RESERVATION. The key is 0 for the types that all registrants hold.
#[must_use]
pub fn reservation(generation: u32, held: Option<(u64, Kind)>) -> Vec<u8> {
    let mut data = head(generation);
    if let Some((key, kind)) = held {
        data.extend(key.to_be_bytes());
        data.extend([0, 0, 0, 0, 0, kind.code(), 0, 0]);
    }
    finish(data)
}

fn head(generation: u32) -> Vec<u8> {
    let mut data = vec![0; 8];
    put(&mut data, 0, generation.to_be_bytes());
    data
}

/// ADDITIONAL LENGTH counts what there is, whatever of it is sent.
fn finish(mut data: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(data.len() - 8).expect("the number of registrants is bounded");
    put(&mut data, 4, len.to_be_bytes());
    data
}

/// Reads the data of READ KEYS: PRGENERATION and the keys that arrived.
pub fn parse_keys(data: &[u8]) -> Result<(u32, Vec<u64>), Malformed> {
    let (head, rest) = data.split_first_chunk::<8>().ok_or(Malformed("reservation keys"))?;
    let said = usize::try_from(u32_at(head, 4)).unwrap_or(usize::MAX);
    let keys =
        rest[..rest.len().min(said)].as_chunks().0.iter().map(|key| u64::from_be_bytes(*key));
    Ok((u32_at(head, 0), keys.collect()))
}

/// Reads the data of READ RESERVATION.
pub fn parse_reservation(data: &[u8]) -> Result<(u32, Option<(u64, Kind)>), Malformed> {
    let wrong = Malformed("reservation");
    let (head, rest) = data.split_first_chunk::<8>().ok_or(wrong)?;
    let generation = u32_at(head, 0);
    if u32_at(head, 4) == 0 {
        return Ok((generation, None));
    }
    let rest = rest.first_chunk::<16>().ok_or(wrong)?;
    let kind = Kind::from_code(rest[13] & 0x0F).ok_or(wrong)?;
    Ok((generation, Some((u64_at(rest, 0), kind))))
}

/// The data of REPORT CAPABILITIES: every type, RESERVE(6) as its exceptions have it (CRH), names of
/// ports in REGISTER (SIP_C) and all target ports at once (ATP_C).
#[must_use]
pub fn capabilities(persists_possible: bool, persists: bool) -> [u8; 8] {
    const CRH_SIP_ATP: u8 = 0x1C;
    /// TMV, and ALLOW COMMANDS 011b: TEST UNIT READY runs under every type; commands that only tell
    /// of the device run under the Write Exclusive types.
    const TYPES_AND_COMMANDS: u8 = 0x80 | 0x30;
    let types = Kind::ALL.iter().fold(0u16, |mask, kind| {
        let [high, low] = if kind.code() < 8 { [1 << kind.code(), 0] } else { [0, 1] };
        mask | u16::from_be_bytes([high, low])
    });
    let [high, low] = types.to_be_bytes();
    let possible = CRH_SIP_ATP | u8::from(persists_possible);
    [0, 8, possible, TYPES_AND_COMMANDS | u8::from(persists), high, low, 0, 0]
}

/// A registration as READ FULL STATUS tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FullStatus {
    /// Its key.
    pub key: u64,
    /// ALL_TG_PT: it holds for every target port.
    pub all_ports: bool,
    /// The type of the reservation, if this nexus holds it.
    pub holds: Option<Kind>,
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub relative_port: u16,
    /// The initiator port.
    pub port: InitiatorPort,
}

/// The data of READ FULL STATUS.
#[must_use]
pub fn full_status(generation: u32, registrations: &[FullStatus]) -> Vec<u8> {
    let mut data = head(generation);
    for one in registrations {
        let id = one.port.transport_id();
        let id_len = u32::try_from(id.len()).expect("a name has at most 223 bytes");
        let flags = u8::from(one.all_ports) << 1 | u8::from(one.holds.is_some());
        data.extend(one.key.to_be_bytes());
        data.extend([0, 0, 0, 0, flags, one.holds.map_or(0, Kind::code), 0, 0, 0, 0]);
        data.extend(one.relative_port.to_be_bytes());
        data.extend(id_len.to_be_bytes());
        data.extend(id);
    }
    finish(data)
}

/// Reads the data of READ FULL STATUS: PRGENERATION and every registration.
pub fn parse_full_status(data: &[u8]) -> Result<(u32, Vec<FullStatus>), Malformed> {
    let wrong = Malformed("full status");
    let (head, mut rest) = data.split_first_chunk::<8>().ok_or(wrong)?;
    let mut all = Vec::new();
    while let Some((fixed, more)) = rest.split_first_chunk::<24>() {
        let len = usize::try_from(u32_at(fixed, 20)).map_err(|_| wrong)?;
        let (id, next) = more.split_at_checked(len).ok_or(wrong)?;
        rest = next;
        let (TransportId::Port(port), _) = TransportId::parse(id).ok_or(wrong)? else {
            return Err(wrong);
        };
        let holds = (fixed[12] & 0x01 != 0).then(|| Kind::from_code(fixed[13] & 0x0F));
        all.push(FullStatus {
            key: u64_at(fixed, 0),
            all_ports: fixed[12] & 0x02 != 0,
            holds: holds.flatten(),
            relative_port: u16_at(fixed, 18),
            port,
        });
    }
    Ok((u32_at(head, 0), all))
}

/// The list of every action but REGISTER AND MOVE.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    /// RESERVATION KEY.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY.
    pub service_key: u64,
    /// ALL_TG_PT.
    pub all_ports: bool,
    /// APTPL.
    pub persist: bool,
    /// SPEC_I_PT: these are registered too.
    pub ports: Option<Vec<TransportId>>,
}

/// Where SPEC_I_PT, ALL_TG_PT and APTPL are.
pub const LIST_FLAGS_AT: u16 = 20;
/// Where SERVICE ACTION RESERVATION KEY begins.
pub const SERVICE_KEY_AT: u16 = 8;
const SPEC_I_PT: u8 = 0x08;
const ALL_TG_PT: u8 = 0x04;
const APTPL: u8 = 0x01;

impl List {
    /// Writes the list.
    ///
    /// # Panics
    /// If the names are longer than any list may be.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut list = vec![0; LIST_LEN];
        put(&mut list, 0, self.key.to_be_bytes());
        put(&mut list, 8, self.service_key.to_be_bytes());
        let spec = if self.ports.is_some() { SPEC_I_PT } else { 0 };
        let all = if self.all_ports { ALL_TG_PT } else { 0 };
        list[20] = spec | all | u8::from(self.persist);
        if let Some(ports) = &self.ports {
            let ids: Vec<u8> = ports.iter().flat_map(TransportId::bytes).collect();
            list.extend(u32::try_from(ids.len()).expect("a few names").to_be_bytes());
            list.extend(ids);
        }
        list
    }

    /// Reads the list. Bits that are reserved must be zero; the obsolete ones are not looked at.
    pub fn parse(list: &[u8]) -> Result<Self, Sense> {
        let (head, rest) =
            list.split_first_chunk::<LIST_LEN>().ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
        let flags = head[20];
        let reserved = flags & !(SPEC_I_PT | ALL_TG_PT | APTPL);
        if reserved != 0 {
            let bit = u8::try_from(reserved.ilog2()).expect("a byte has eight bits");
            return Err(INVALID_FIELD_IN_LIST.at_list_bit(LIST_FLAGS_AT, bit));
        }
        let ports = match (flags & SPEC_I_PT != 0, rest.is_empty()) {
            (false, true) => None,
            (false, false) => return Err(PARAMETER_LIST_LENGTH_ERROR),
            (true, _) => Some(transport_id::parse_list(rest)?),
        };
        Ok(Self {
            key: u64_at(head, 0),
            service_key: u64_at(head, 8),
            all_ports: flags & ALL_TG_PT != 0,
            persist: flags & APTPL != 0,
            ports,
        })
    }
}

/// The list of REGISTER AND MOVE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoveList {
    /// RESERVATION KEY.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY: the key of the port that gets the reservation.
    pub service_key: u64,
    /// UNREG: the port that had it is no longer registered.
    pub unregister: bool,
    /// APTPL.
    pub persist: bool,
    /// RELATIVE TARGET PORT IDENTIFIER of the nexus that gets it.
    pub relative_port: u16,
    /// The port that gets it.
    pub port: TransportId,
}

/// Where [`MoveList`] keeps its fields.
pub const MOVE_FLAGS_AT: u16 = 17;
/// RELATIVE TARGET PORT IDENTIFIER of [`MoveList`].
pub const MOVE_RELATIVE_PORT_AT: u16 = 18;
/// The TransportID of [`MoveList`].
pub const MOVE_PORT_AT: u16 = 24;

impl MoveList {
    /// Writes the list.
    ///
    /// # Panics
    /// Never: a name has at most 223 bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut list = vec![0; LIST_LEN];
        put(&mut list, 0, self.key.to_be_bytes());
        put(&mut list, 8, self.service_key.to_be_bytes());
        list[17] = u8::from(self.unregister) << 1 | u8::from(self.persist);
        put(&mut list, 18, self.relative_port.to_be_bytes());
        let id = self.port.bytes();
        put(&mut list, 20, u32::try_from(id.len()).expect("a name is short").to_be_bytes());
        list.extend(id);
        list
    }

    /// Reads the list, which has one name.
    pub fn parse(list: &[u8]) -> Result<Self, Sense> {
        let (head, rest) =
            list.split_first_chunk::<LIST_LEN>().ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
        let reserved = head[17] & !0x03;
        if reserved != 0 {
            let bit = u8::try_from(reserved.ilog2()).expect("a byte has eight bits");
            return Err(INVALID_FIELD_IN_LIST.at_list_bit(MOVE_FLAGS_AT, bit));
        }
        let len = usize::try_from(u32_at(head, 20)).unwrap_or(usize::MAX);
        let id = rest.get(..len).ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
        let (port, used) =
            TransportId::parse(id).ok_or(INVALID_FIELD_IN_LIST.at_list(MOVE_PORT_AT))?;
        if used != len {
            return Err(INVALID_FIELD_IN_LIST.at_list(LIST_FLAGS_AT));
        }
        Ok(Self {
            key: u64_at(head, 0),
            service_key: u64_at(head, 8),
            unregister: head[17] & 0x02 != 0,
            persist: head[17] & 0x01 != 0,
            relative_port: u16_at(head, 18),
            port,
        })
    }
}

#[cfg(test)]
mod tests;

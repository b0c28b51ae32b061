//! Sense data: why a command failed (SPC-4 §4.5). Named conditions as constants; the fixed and the
//! descriptor format, built and read.

use super::{Malformed, put, u16_at, u32_at, u64_at};

/// The class of a condition (SPC-4 §4.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the standard's names say it")]
pub enum SenseKey {
    NoSense,
    RecoveredError,
    NotReady,
    MediumError,
    HardwareError,
    IllegalRequest,
    UnitAttention,
    DataProtect,
    BlankCheck,
    VendorSpecific,
    CopyAborted,
    AbortedCommand,
    Reserved,
    VolumeOverflow,
    Miscompare,
    Completed,
}

impl SenseKey {
    const ALL: [Self; 16] = [
        Self::NoSense,
        Self::RecoveredError,
        Self::NotReady,
        Self::MediumError,
        Self::HardwareError,
        Self::IllegalRequest,
        Self::UnitAttention,
        Self::DataProtect,
        Self::BlankCheck,
        Self::VendorSpecific,
        Self::CopyAborted,
        Self::AbortedCommand,
        Self::Reserved,
        Self::VolumeOverflow,
        Self::Miscompare,
        Self::Completed,
    ];

    /// The four bits on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The key in the low four bits of `code`; the rest of the byte holds flags.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        Self::ALL[(code & 0x0F) as usize]
    }
}

/// Which byte of the request is wrong (SPC-4 §4.5.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FieldPointer {
    /// In the command block, else in the parameter list.
    pub in_cdb: bool,
    /// The first byte of the field.
    pub byte: u16,
    /// The field's most significant bit, for one that is not whole bytes.
    pub bit: Option<u8>,
}

/// Why a command failed, or what its nexus must know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sense {
    /// The class.
    pub key: SenseKey,
    /// ADDITIONAL SENSE CODE.
    pub asc: u8,
    /// ADDITIONAL SENSE CODE QUALIFIER.
    pub ascq: u8,
    /// About an earlier command, not the one that carries it.
    pub deferred: bool,
    /// What INFORMATION holds depends on the condition: an LBA, or the offset of a difference.
    pub information: Option<u64>,
    /// COMMAND-SPECIFIC INFORMATION: with COPY ABORTED, the number of the segment.
    pub command_specific: Option<u32>,
    /// Only with ILLEGAL REQUEST, or with COPY ABORTED and then within the segment descriptor.
    pub field: Option<FieldPointer>,
    /// PROGRESS INDICATION, in 65,536ths. Only with NO SENSE and NOT READY.
    pub progress: Option<u16>,
}

const fn condition(key: SenseKey, asc: u8, ascq: u8) -> Sense {
    Sense {
        key,
        asc,
        ascq,
        deferred: false,
        information: None,
        command_specific: None,
        field: None,
        progress: None,
    }
}

macro_rules! conditions {
    ($($name:ident = $key:ident, $asc:literal, $ascq:literal, $text:literal;)*) => {
        $(
            #[doc = concat!($text, ".")]
            pub const $name: Sense = condition(SenseKey::$key, $asc, $ascq);
        )*

        /// Every named condition with T10's words for it.
        const NAMED: &[(Sense, &str)] = &[$(($name, $text)),*];
    };
}

conditions! {
    NO_SENSE = NoSense, 0x00, 0x00, "NO ADDITIONAL SENSE INFORMATION";
    OPERATION_IN_PROGRESS = IllegalRequest, 0x00, 0x16, "OPERATION IN PROGRESS";
    BECOMING_READY = NotReady, 0x04, 0x01, "LOGICAL UNIT IS IN PROCESS OF BECOMING READY";
    START_REQUIRED = NotReady, 0x04, 0x02, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED";
    FORMAT_IN_PROGRESS = NotReady, 0x04, 0x04, "LOGICAL UNIT NOT READY, FORMAT IN PROGRESS";
    SANITIZE_IN_PROGRESS = NotReady, 0x04, 0x1B, "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS";
    UNREACHABLE_COPY_TARGET = CopyAborted, 0x08, 0x04, "UNREACHABLE COPY TARGET";
    WRITE_ERROR = MediumError, 0x0C, 0x00, "WRITE ERROR";
    UNEXPECTED_UNSOLICITED_DATA = AbortedCommand, 0x0C, 0x0C, "WRITE ERROR - UNEXPECTED UNSOLICITED DATA";
    NOT_ENOUGH_UNSOLICITED_DATA = AbortedCommand, 0x0C, 0x0D, "WRITE ERROR - NOT ENOUGH UNSOLICITED DATA";
    THIRD_PARTY_DEVICE_FAILURE = CopyAborted, 0x0D, 0x01, "THIRD PARTY DEVICE FAILURE";
    COPY_TARGET_NOT_REACHABLE = CopyAborted, 0x0D, 0x02, "COPY TARGET DEVICE NOT REACHABLE";
    INCORRECT_COPY_TARGET_TYPE = CopyAborted, 0x0D, 0x03, "INCORRECT COPY TARGET DEVICE TYPE";
    INVALID_FIELD_IN_INFORMATION_UNIT = IllegalRequest, 0x0E, 0x03, "INVALID FIELD IN COMMAND INFORMATION UNIT";
    UNRECOVERED_READ_ERROR = MediumError, 0x11, 0x00, "UNRECOVERED READ ERROR";
    PARAMETER_LIST_LENGTH_ERROR = IllegalRequest, 0x1A, 0x00, "PARAMETER LIST LENGTH ERROR";
    MISCOMPARE_DURING_VERIFY = Miscompare, 0x1D, 0x00, "MISCOMPARE DURING VERIFY OPERATION";
    INVALID_OPCODE = IllegalRequest, 0x20, 0x00, "INVALID COMMAND OPERATION CODE";
    LBA_OUT_OF_RANGE = IllegalRequest, 0x21, 0x00, "LOGICAL BLOCK ADDRESS OUT OF RANGE";
    INVALID_FIELD_IN_CDB = IllegalRequest, 0x24, 0x00, "INVALID FIELD IN CDB";
    LUN_NOT_SUPPORTED = IllegalRequest, 0x25, 0x00, "LOGICAL UNIT NOT SUPPORTED";
    INVALID_FIELD_IN_LIST = IllegalRequest, 0x26, 0x00, "INVALID FIELD IN PARAMETER LIST";
    INVALID_RELEASE = IllegalRequest, 0x26, 0x04, "INVALID RELEASE OF PERSISTENT RESERVATION";
    TOO_MANY_TARGET_DESCRIPTORS = IllegalRequest, 0x26, 0x06, "TOO MANY TARGET DESCRIPTORS";
    UNSUPPORTED_TARGET_DESCRIPTOR = IllegalRequest, 0x26, 0x07, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE";
    TOO_MANY_SEGMENT_DESCRIPTORS = IllegalRequest, 0x26, 0x08, "TOO MANY SEGMENT DESCRIPTORS";
    UNSUPPORTED_SEGMENT_DESCRIPTOR = IllegalRequest, 0x26, 0x09, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE";
    UNEXPECTED_INEXACT_SEGMENT = CopyAborted, 0x26, 0x0A, "UNEXPECTED INEXACT SEGMENT";
    INLINE_DATA_LENGTH_EXCEEDED = IllegalRequest, 0x26, 0x0B, "INLINE DATA LENGTH EXCEEDED";
    WRITE_PROTECTED = DataProtect, 0x27, 0x00, "WRITE PROTECTED";
    SPACE_ALLOCATION_FAILED = DataProtect, 0x27, 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT";
    POWER_ON = UnitAttention, 0x29, 0x00, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED";
    DEVICE_RESET = UnitAttention, 0x29, 0x03, "BUS DEVICE RESET FUNCTION OCCURRED";
    NEXUS_LOSS = UnitAttention, 0x29, 0x07, "I_T NEXUS LOSS OCCURRED";
    MODE_PARAMETERS_CHANGED = UnitAttention, 0x2A, 0x01, "MODE PARAMETERS CHANGED";
    RESERVATIONS_PREEMPTED = UnitAttention, 0x2A, 0x03, "RESERVATIONS PREEMPTED";
    RESERVATIONS_RELEASED = UnitAttention, 0x2A, 0x04, "RESERVATIONS RELEASED";
    REGISTRATIONS_PREEMPTED = UnitAttention, 0x2A, 0x05, "REGISTRATIONS PREEMPTED";
    CAPACITY_CHANGED = UnitAttention, 0x2A, 0x09, "CAPACITY DATA HAS CHANGED";
    COMMANDS_CLEARED = UnitAttention, 0x2F, 0x00, "COMMANDS CLEARED BY ANOTHER INITIATOR";
    FORMAT_CORRUPTED = MediumError, 0x31, 0x00, "MEDIUM FORMAT CORRUPTED";
    FORMAT_FAILED = MediumError, 0x31, 0x01, "FORMAT COMMAND FAILED";
    SANITIZE_FAILED = MediumError, 0x31, 0x03, "SANITIZE COMMAND FAILED";
    SAVING_NOT_SUPPORTED = IllegalRequest, 0x39, 0x00, "SAVING PARAMETERS NOT SUPPORTED";
    MEDIUM_NOT_PRESENT = NotReady, 0x3A, 0x00, "MEDIUM NOT PRESENT";
    LUNS_CHANGED = UnitAttention, 0x3F, 0x0E, "REPORTED LUNS DATA HAS CHANGED";
    INTERNAL_FAILURE = HardwareError, 0x44, 0x00, "INTERNAL TARGET FAILURE";
    DATA_CRC_ERROR = AbortedCommand, 0x47, 0x05, "PROTOCOL SERVICE CRC ERROR";
    COMMANDS_CLEARED_BY_PROTOCOL = UnitAttention, 0x47, 0x7F, "SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT";
    INVALID_MESSAGE_ERROR = IllegalRequest, 0x49, 0x00, "INVALID MESSAGE ERROR";
    DATA_PHASE_ERROR = AbortedCommand, 0x4B, 0x00, "DATA PHASE ERROR";
    INSUFFICIENT_RESOURCES = IllegalRequest, 0x55, 0x03, "INSUFFICIENT RESOURCES";
    INSUFFICIENT_REGISTRATION_RESOURCES = IllegalRequest, 0x55, 0x04, "INSUFFICIENT REGISTRATION RESOURCES";
}

impl Sense {
    /// A condition that has no name here.
    #[must_use]
    pub const fn new(key: SenseKey, asc: u8, ascq: u8) -> Self {
        condition(key, asc, ascq)
    }

    /// Points at a byte of the command block.
    #[must_use]
    pub const fn at_cdb(self, byte: u16, bit: Option<u8>) -> Self {
        Self { field: Some(FieldPointer { in_cdb: true, byte, bit }), ..self }
    }

    /// Points at a byte of the parameter list.
    #[must_use]
    pub const fn at_list(self, byte: u16) -> Self {
        Self { field: Some(FieldPointer { in_cdb: false, byte, bit: None }), ..self }
    }

    /// Points at a field of the parameter list that begins within a byte.
    #[must_use]
    pub const fn at_list_bit(self, byte: u16, bit: u8) -> Self {
        Self { field: Some(FieldPointer { in_cdb: false, byte, bit: Some(bit) }), ..self }
    }

    /// Adds the INFORMATION field.
    #[must_use]
    pub const fn with_information(self, information: u64) -> Self {
        Self { information: Some(information), ..self }
    }

    /// Says in which segment a copy ended, and at which byte of its descriptor (SPC-4 §5.17.7.4).
    #[must_use]
    pub const fn in_segment(self, segment: u16, byte: Option<u16>) -> Self {
        let field = match byte {
            Some(byte) => Some(FieldPointer { in_cdb: false, byte, bit: None }),
            None => None,
        };
        Self { command_specific: Some(segment as u32), field, ..self }
    }

    /// Adds PROGRESS INDICATION.
    #[must_use]
    pub const fn with_progress(self, progress: u16) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Key and codes are those of `other`; what is said about this occurrence may differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.key, self.asc, self.ascq) == (other.key, other.asc, other.ascq)
    }

    /// T10's words, when this is one of the conditions named here.
    #[must_use]
    pub fn text(&self) -> Option<&'static str> {
        NAMED.iter().find(|(named, _)| named.is(self)).map(|(_, text)| *text)
    }

    /// Fixed format, 18 bytes (SPC-4 §4.5.3). An INFORMATION that does not fit its four bytes is
    /// left out, as the VALID bit then says.
    #[must_use]
    pub fn fixed(&self) -> [u8; 18] {
        let mut data = [0; 18];
        data[0] = 0x70 | u8::from(self.deferred);
        if let Some(information) = self.information.and_then(|value| u32::try_from(value).ok()) {
            data[0] |= 0x80;
            put(&mut data, 3, information.to_be_bytes());
        }
        data[2] = self.key.code();
        data[7] = 10;
        put(&mut data, 8, self.command_specific.unwrap_or(0).to_be_bytes());
        data[12] = self.asc;
        data[13] = self.ascq;
        put(&mut data, 15, self.key_specific());
        data
    }

    /// Descriptor format (SPC-4 §4.5.2).
    #[must_use]
    pub fn descriptors(&self) -> Vec<u8> {
        let deferred = u8::from(self.deferred);
        let mut data = vec![0x72 | deferred, self.key.code(), self.asc, self.ascq, 0, 0, 0, 0];
        if let Some(information) = self.information {
            data.extend([0x00, 0x0A, 0x80, 0x00]);
            data.extend(information.to_be_bytes());
        }
        if let Some(command) = self.command_specific {
            data.extend([0x01, 0x0A, 0, 0]);
            data.extend(u64::from(command).to_be_bytes());
        }
        if self.field.is_some() || self.progress.is_some() {
            let specific = self.key_specific();
            data.extend([0x02, 0x06, 0, 0, specific[0], specific[1], specific[2], 0]);
        }
        data[7] = u8::try_from(data.len() - 8).expect("three descriptors are 32 bytes");
        data
    }

    /// SENSE KEY SPECIFIC with SKSV, or zeros.
    fn key_specific(&self) -> [u8; 3] {
        let Some(field) = self.field else {
            let [high, low] = self.progress.unwrap_or(0).to_be_bytes();
            return [u8::from(self.progress.is_some()) << 7, high, low];
        };
        let bit = field.bit.map_or(0, |bit| 0x08 | bit & 0x07);
        let [high, low] = field.byte.to_be_bytes();
        // C/D of a field pointer, or SD of a segment pointer.
        let whose = match self.key {
            SenseKey::CopyAborted => 0x20,
            _ => u8::from(field.in_cdb) << 6,
        };
        [0x80 | whose | bit, high, low]
    }

    /// Reads either format. Data cut short by an allocation length is read as far as it goes, but
    /// never without its key.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        match data.first().map(|code| code & 0x7F) {
            Some(0x70 | 0x71) => Self::parse_fixed(data),
            Some(0x72 | 0x73) => Self::parse_descriptors(data),
            _ => Err(Malformed("sense data")),
        }
    }

    fn parse_fixed(data: &[u8]) -> Result<Self, Malformed> {
        let key = SenseKey::from_code(*data.get(2).ok_or(Malformed("sense data"))?);
        // ADDITIONAL SENSE LENGTH bounds what is said, whatever room the data came in.
        let said = data.get(7).map_or(8, |more| 8 + usize::from(*more));
        let data = &data[..data.len().min(said)];
        let byte = |at: usize| data.get(at).copied().unwrap_or(0);
        let mut sense = Self::new(key, byte(12), byte(13));
        sense.deferred = data[0] & 0x01 != 0;
        if data[0] & 0x80 != 0 && data.len() >= 7 {
            sense.information = Some(u64::from(u32_at(data, 3)));
        }
        if let Some(command) = data.get(8..12).map(|_| u32_at(data, 8)).filter(|told| *told != 0) {
            sense.command_specific = Some(command);
        }
        if let Some(specific) = data.get(15..18) {
            (sense.field, sense.progress) = (sense.pointer(specific), sense.indication(specific));
        }
        Ok(sense)
    }

    fn parse_descriptors(data: &[u8]) -> Result<Self, Malformed> {
        let Some((head, rest)) = data.split_first_chunk::<8>() else {
            return Err(Malformed("sense data"));
        };
        let mut sense = Self::new(SenseKey::from_code(head[1]), head[2], head[3]);
        sense.deferred = head[0] & 0x01 != 0;
        let mut rest = &rest[..rest.len().min(usize::from(head[7]))];
        while let [kind, len, more @ ..] = rest {
            let Some((body, next)) = more.split_at_checked(usize::from(*len)) else {
                break;
            };
            match (kind, body.len()) {
                (0x00, 10) if body[0] & 0x80 != 0 => sense.information = Some(u64_at(body, 2)),
                (0x01, 10) => sense.command_specific = u32::try_from(u64_at(body, 2)).ok(),
                (0x02, 6) => {
                    sense.field = sense.pointer(&body[2..5]);
                    sense.progress = sense.indication(&body[2..5]);
                }
                _ => {}
            }
            rest = next;
        }
        Ok(sense)
    }

    /// PROGRESS INDICATION, of the keys that have one.
    fn indication(&self, specific: &[u8]) -> Option<u16> {
        let tells = matches!(self.key, SenseKey::NoSense | SenseKey::NotReady);
        (tells && specific[0] & 0x80 != 0).then(|| u16_at(specific, 1))
    }

    fn pointer(&self, specific: &[u8]) -> Option<FieldPointer> {
        let flags = specific[0];
        let points = matches!(self.key, SenseKey::IllegalRequest | SenseKey::CopyAborted);
        (points && flags & 0x80 != 0).then(|| FieldPointer {
            in_cdb: flags & 0x40 != 0,
            byte: u16_at(specific, 1),
            bit: (flags & 0x08 != 0).then_some(flags & 0x07),
        })
    }
}

impl std::fmt::Display for Sense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:02X}/{:02X}", self.key, self.asc, self.ascq)?;
        match self.text() {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

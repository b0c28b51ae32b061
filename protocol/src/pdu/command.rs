//! SCSI Command (§11.3) and SCSI Response (§11.4).

use super::{Bhs, FINAL, FieldError, Order, Sequence, opcode};
use crate::ids::{Itt, Lun};
use crate::serial::Sn;

/// How a task is ordered among the others of its logical unit (SAM-5 §8.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TaskAttribute {
    /// None given; treated as simple.
    #[default]
    Untagged,
    /// Any order.
    Simple,
    /// After all earlier, before all later ones.
    Ordered,
    /// Before all others.
    HeadOfQueue,
    /// Auto contingent allegiance.
    Aca,
}

/// A SCSI command descriptor block on its way to a logical unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScsiCommand {
    /// Place in the session.
    pub order: Order,
    /// No unsolicited Data-Out follows.
    pub last: bool,
    /// The command is expected to read.
    pub read: bool,
    /// The command is expected to write.
    pub write: bool,
    /// Ordering.
    pub attribute: TaskAttribute,
    /// Which logical unit.
    pub lun: Lun,
    /// The initiator's name for the task.
    pub itt: Itt,
    /// Expected Data Transfer Length in bytes.
    pub expected_len: u32,
    /// The first 16 bytes of the CDB; a longer one goes on in an AHS.
    pub cdb: [u8; 16],
}

const READ: u8 = 0x40;
const WRITE: u8 = 0x20;

impl ScsiCommand {
    pub(super) fn parse(bhs: &Bhs) -> Result<Self, FieldError> {
        let mut cdb = [0; 16];
        cdb.copy_from_slice(&bhs.0[32..48]);
        Ok(Self {
            order: bhs.order(),
            last: bhs.flag(FINAL),
            read: bhs.flag(READ),
            write: bhs.flag(WRITE),
            attribute: match bhs.0[1] & 0x07 {
                0 => TaskAttribute::Untagged,
                1 => TaskAttribute::Simple,
                2 => TaskAttribute::Ordered,
                3 => TaskAttribute::HeadOfQueue,
                4 => TaskAttribute::Aca,
                _ => return Err(FieldError("ATTR")),
            },
            lun: bhs.lun(),
            itt: bhs.itt(),
            expected_len: bhs.u32(20),
            cdb,
        })
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::SCSI_COMMAND);
        bhs.put_flag(FINAL, self.last);
        bhs.put_flag(READ, self.read);
        bhs.put_flag(WRITE, self.write);
        bhs.0[1] |= match self.attribute {
            TaskAttribute::Untagged => 0,
            TaskAttribute::Simple => 1,
            TaskAttribute::Ordered => 2,
            TaskAttribute::HeadOfQueue => 3,
            TaskAttribute::Aca => 4,
        };
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.expected_len);
        bhs.put_order(self.order);
        bhs.0[32..48].copy_from_slice(&self.cdb);
        bhs
    }
}

/// How much less or more a command would have transferred than was expected (§11.4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Residual {
    /// Exactly as expected.
    #[default]
    None,
    /// So many bytes of the expected were not transferred.
    Underflow(u32),
    /// So many bytes more would have been transferred.
    Overflow(u32),
}

const OVERFLOW: u8 = 0x04;
const UNDERFLOW: u8 = 0x02;

impl Residual {
    /// What to report when `expected` bytes were announced and the command had `wanted`.
    #[must_use]
    pub fn between(expected: u32, wanted: u64) -> Self {
        let expected = u64::from(expected);
        let count = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        match wanted.cmp(&expected) {
            std::cmp::Ordering::Equal => Self::None,
            std::cmp::Ordering::Less => Self::Underflow(count(expected - wanted)),
            std::cmp::Ordering::Greater => Self::Overflow(count(wanted - expected)),
        }
    }

    pub(super) fn parse(bhs: &Bhs) -> Result<Self, FieldError> {
        match (bhs.flag(OVERFLOW), bhs.flag(UNDERFLOW)) {
            (false, false) => Ok(Self::None),
            (true, false) => Ok(Self::Overflow(bhs.u32(44))),
            (false, true) => Ok(Self::Underflow(bhs.u32(44))),
            (true, true) => Err(FieldError("residual flags")),
        }
    }

    pub(super) fn put(self, bhs: &mut Bhs) {
        match self {
            Self::None => {}
            Self::Underflow(count) => {
                bhs.put_flag(UNDERFLOW, true);
                bhs.put_u32(44, count);
            }
            Self::Overflow(count) => {
                bhs.put_flag(OVERFLOW, true);
                bhs.put_u32(44, count);
            }
        }
    }
}

/// The end of a SCSI command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScsiResponse {
    /// 0: completed at the target; 1: target failure; 80h and up: vendor's (§11.4.3).
    pub response: u8,
    /// SCSI status byte; meaningful when `response` is 0.
    pub status: u8,
    /// Difference from the expected length.
    pub residual: Residual,
    /// Which task.
    pub itt: Itt,
    /// Progress.
    pub sequence: Sequence,
    /// Data-In and R2T PDUs that this task was sent.
    pub exp_data_sn: Sn,
}

impl ScsiResponse {
    pub(super) fn parse(bhs: &Bhs) -> Result<Self, FieldError> {
        Ok(Self {
            response: bhs.0[2],
            status: bhs.0[3],
            residual: Residual::parse(bhs)?,
            itt: bhs.itt(),
            sequence: bhs.sequence(),
            exp_data_sn: bhs.sn(36),
        })
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::SCSI_RESPONSE);
        bhs.put_flag(FINAL, true);
        bhs.0[2] = self.response;
        bhs.0[3] = self.status;
        self.residual.put(&mut bhs);
        bhs.put_u32(16, self.itt.0);
        bhs.put_sequence(self.sequence);
        bhs.put_u32(36, self.exp_data_sn.0);
        bhs
    }
}

//! SANITIZE (SBC-3 §4.11): what is asked for; and what commands are told while it, or FORMAT UNIT, goes
//! on or after it has failed. Wiping the blocks is the shard's part.

use outband_protocol::scsi::cdb::{Cdb, Sanitize, opcode};
use outband_protocol::scsi::sanitize::{HEADER_LEN, Overwrite, action};
use outband_protocol::scsi::sense::{
    FORMAT_CORRUPTED, FORMAT_FAILED, FORMAT_IN_PROGRESS, INVALID_FIELD_IN_CDB, INVALID_OPCODE,
    SANITIZE_FAILED, SANITIZE_IN_PROGRESS, Sense,
};

use super::{LogicalUnit, Plan};

/// What becomes of every block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wipe {
    /// It is overwritten.
    Overwrite(Overwrite),
    /// It reads as zeros, and need not have room any more.
    Erase,
    /// Nothing: a sanitize that failed is taken as it is.
    Exit,
}

/// Which command has all blocks wiped. It decides what others are told, and what helps after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wiping {
    /// SANITIZE; with AUSE the host may leave the failed state without success.
    Sanitize {
        /// AUSE.
        unrestricted: bool,
    },
    /// FORMAT UNIT.
    Format,
}

impl Wiping {
    /// What the command itself is told when it fails.
    #[must_use]
    pub const fn failed(self) -> Sense {
        match self {
            Self::Sanitize { .. } => SANITIZE_FAILED,
            Self::Format => FORMAT_FAILED,
        }
    }

    const fn in_progress(self) -> Sense {
        match self {
            Self::Sanitize { .. } => SANITIZE_IN_PROGRESS,
            Self::Format => FORMAT_IN_PROGRESS,
        }
    }

    /// What is told of the medium that a failure left.
    const fn left(self) -> Sense {
        match self {
            Self::Sanitize { .. } => SANITIZE_FAILED,
            Self::Format => FORMAT_CORRUPTED,
        }
    }
}

/// Whether the medium may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Usable,
    /// Being wiped, so far.
    Running {
        by: Wiping,
        progress: u16,
    },
    Failed(Wiping),
}

impl LogicalUnit {
    pub(super) fn sanitize(&mut self, cdb: Cdb, fields: &Sanitize) -> Result<Plan, Sense> {
        if !self.config.sanitize {
            return Err(INVALID_OPCODE);
        }
        let block_size = self.config.block_size;
        let wipe = match fields.action {
            action::OVERWRITE => {
                let longest = block_size + u32::from(HEADER_LEN);
                if fields.len <= HEADER_LEN || u32::from(fields.len) > longest {
                    return Err(INVALID_FIELD_IN_CDB.at_cdb(7, None));
                }
                self.check_writable()?;
                return Ok(Plan::Parameters { cdb, len: fields.len.into() });
            }
            _ if fields.len != 0 => return Err(INVALID_FIELD_IN_CDB.at_cdb(7, None)),
            action::BLOCK_ERASE => Wipe::Erase,
            _ => Wipe::Exit,
        };
        self.check_writable()?;
        let leaves = [State::Usable, State::Failed(Wiping::Sanitize { unrestricted: true })];
        if wipe == Wipe::Exit && !leaves.contains(&self.sanitize) {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(4)));
        }
        Ok(plan(wipe, fields))
    }

    pub(super) fn sanitize_list(&mut self, fields: &Sanitize, list: &[u8]) -> Result<Plan, Sense> {
        let overwrite = Overwrite::parse(list, self.config.block_size)?;
        self.check_writable()?;
        Ok(plan(Wipe::Overwrite(overwrite), fields))
    }

    /// From now on nothing else runs. Not sooner than it does begin: a command may end between its plan
    /// and that, and another may have begun.
    ///
    /// # Errors
    ///
    /// What the command is told if one is going on.
    pub fn wipe_begins(&mut self, by: Wiping) -> Result<(), Sense> {
        if matches!(self.sanitize, State::Running { .. }) {
            return self.unsanitized().map_or(Ok(()), Err);
        }
        self.sanitize = State::Running { by, progress: 0 };
        Ok(())
    }

    /// How far it is, in 65,536ths.
    pub fn sanitize_moved(&mut self, now: u16) {
        if let State::Running { progress, .. } = &mut self.sanitize {
            *progress = now;
        }
    }

    /// It has ended: the medium can be used again, or its state is not known.
    pub fn sanitize_ended(&mut self, done: bool) {
        self.sanitize = match self.sanitize {
            State::Running { by, .. } if !done => State::Failed(by),
            _ => State::Usable,
        };
    }

    /// What every command is told that needs the medium; also one that began before.
    #[must_use]
    pub fn unsanitized(&self) -> Option<Sense> {
        match self.sanitize {
            State::Usable => None,
            State::Running { by, progress } => Some(by.in_progress().with_progress(progress)),
            State::Failed(by) => Some(by.left()),
        }
    }

    /// Whether this command does not run now, and what it is told.
    pub(super) fn kept_off(&self, opcode: u8) -> Option<Sense> {
        let failed = matches!(self.sanitize, State::Failed(_));
        let corrupted = self.sanitize == State::Failed(Wiping::Format);
        match opcode {
            opcode::INQUIRY
            | opcode::REPORT_LUNS
            | opcode::REQUEST_SENSE
            | opcode::MAINTENANCE_IN => None,
            // What failed can be tried again, or given up.
            opcode::SANITIZE if failed => None,
            opcode::FORMAT_UNIT if corrupted => None,
            // Whoever formats wants to know what.
            opcode::READ_CAPACITY_10
            | opcode::SERVICE_ACTION_IN_16
            | opcode::MODE_SENSE_6
            | opcode::MODE_SENSE_10
                if corrupted =>
            {
                None
            }
            _ => self.unsanitized(),
        }
    }
}

fn plan(wipe: Wipe, fields: &Sanitize) -> Plan {
    let by = Wiping::Sanitize { unrestricted: fields.unrestricted };
    Plan::Wipe { by, wipe, immediate: fields.immed, wanted: fields.len.into() }
}

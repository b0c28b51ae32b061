//! SANITIZE (SBC-3 §4.11): what is asked for, and what commands are told while it goes on or after it
//! has failed. Wiping the blocks is the shard's part.

use outband_protocol::scsi::cdb::{Cdb, Sanitize, opcode};
use outband_protocol::scsi::sanitize::{HEADER_LEN, Overwrite, action};
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_OPCODE, SANITIZE_FAILED, SANITIZE_IN_PROGRESS, Sense,
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

/// Whether the medium may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Usable,
    /// Being sanitized, so far. `unrestricted` is AUSE: the host may leave the failed state.
    Running {
        progress: u16,
        unrestricted: bool,
    },
    Failed {
        unrestricted: bool,
    },
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
        if wipe == Wipe::Exit && self.sanitize == (State::Failed { unrestricted: false }) {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(4)));
        }
        Ok(self.begin_sanitize(wipe, fields))
    }

    pub(super) fn sanitize_list(&mut self, fields: &Sanitize, list: &[u8]) -> Result<Plan, Sense> {
        let overwrite = Overwrite::parse(list, self.config.block_size)?;
        self.check_writable()?;
        Ok(self.begin_sanitize(Wipe::Overwrite(overwrite), fields))
    }

    /// From now on nothing else runs.
    fn begin_sanitize(&mut self, wipe: Wipe, fields: &Sanitize) -> Plan {
        let unrestricted = fields.unrestricted;
        self.sanitize = State::Running { progress: 0, unrestricted };
        let wanted = fields.len.into();
        Plan::Sanitize { wipe, immediate: fields.immed, unrestricted, wanted }
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
            State::Running { unrestricted, .. } if !done => State::Failed { unrestricted },
            _ => State::Usable,
        };
    }

    /// What every command is told that needs the medium; also one that began before.
    #[must_use]
    pub fn unsanitized(&self) -> Option<Sense> {
        match self.sanitize {
            State::Usable => None,
            State::Running { progress, .. } => Some(SANITIZE_IN_PROGRESS.with_progress(progress)),
            State::Failed { .. } => Some(SANITIZE_FAILED),
        }
    }

    /// Whether this command does not run now, and what it is told.
    pub(super) fn kept_off(&self, opcode: u8) -> Option<Sense> {
        let failed = matches!(self.sanitize, State::Failed { .. });
        match opcode {
            opcode::INQUIRY
            | opcode::REPORT_LUNS
            | opcode::REQUEST_SENSE
            | opcode::MAINTENANCE_IN => None,
            // What failed can be tried again, or given up.
            opcode::SANITIZE if failed => None,
            _ => self.unsanitized(),
        }
    }
}

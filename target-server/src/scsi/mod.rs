//! The device server of a volume: a command in, a reply or a plan for the store out. Pure: no I/O,
//! no clock, no buffers. One [`LogicalUnit`] lives on one shard.

mod attention;
mod config;
mod copy;
mod defects;
mod format;
mod identity;
mod log;
mod ports;
mod provision;
mod reservations;
mod same;
mod sanitize;
mod sbc;
mod spc;
mod state;
mod supported;
mod update;
mod verify;

pub use self::attention::Attention;
use self::attention::Attentions;
pub use self::config::LuConfig;
use self::copy::Copies;
pub use self::copy::{Course, Party, Piece, Refusal};
pub use self::identity::{LOCAL_COMPANY, is_named};
pub use self::ports::TargetPort;
pub(crate) use self::provision::lba_status;
use self::reservations::Reservations;
pub use self::reservations::{Damaged, Kept, SLOT_LEN, slot_at};
pub use self::sanitize::{Wipe, Wiping};
use outband_protocol::ids::Lun;
use outband_protocol::scsi::cdb::{Expected, opcode};
use outband_protocol::scsi::copy::List;
use outband_protocol::scsi::reserve::InitiatorPort;
use outband_protocol::scsi::sense::{self, Sense};
use outband_protocol::scsi::{Cdb, Status};

/// A session, as a logical unit knows it: the I_T nexus of SAM-5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NexusId(pub u32);

/// A command as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which logical unit it is for.
    pub lun: Lun,
    /// The command block.
    pub cdb: &'a [u8],
    /// How many bytes of data-out the initiator will send: its Expected Data Transfer Length if
    /// the W bit is set, else none.
    pub offered: u32,
}

/// What is to be done for a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Nothing: here is the answer.
    Reply(Reply),
    /// Blocks from the store to data-in. At least one.
    Read { lba: u64, blocks: u32 },
    /// Data-out to the store. At least one block. `wanted` is the length in bytes the command
    /// block asked for, which is more than the blocks when the initiator offered less.
    Write { lba: u64, blocks: u32, durable: bool, wanted: u64 },
    /// Data-out to the store, as a whole or not at all. At least one block.
    WriteAtomic { lba: u64, blocks: u32 },
    /// The blocks must be readable and, with `compare`, equal to data-out. At least one.
    Verify { lba: u64, blocks: u32, compare: bool },
    /// The blocks must be readable, and each equal to `block`. At least one.
    VerifyEach { lba: u64, blocks: u32, block: Vec<u8> },
    /// Data-out to the store, durable, and then read back and, with `compare`, compared. Else as
    /// `Write`.
    WriteAndVerify { lba: u64, blocks: u32, compare: bool, wanted: u64 },
    /// The second half of data-out to the store, if the first half is what it holds; with nobody
    /// between. At least one block.
    CompareAndWrite { lba: u64, blocks: u32, durable: bool },
    /// Data-out and what the store holds, bit by bit, to the store; with nobody between. Else as
    /// `Write`.
    OrWrite { lba: u64, blocks: u32, durable: bool, wanted: u64 },
    /// Every block becomes `block`. At least one.
    Fill { lba: u64, blocks: u32, block: Vec<u8> },
    /// The store says which of the blocks have room behind them, in so many stretches at most;
    /// `lba_status` makes the answer of it. At least one block.
    Survey { lba: u64, blocks: u64, stretches: usize, allocation: u32 },
    /// Every write that was answered becomes durable.
    Flush,
    /// The blocks become zeros; with `unmap` they may lose their room. At least one range.
    Zero { ranges: Vec<(u64, u64)>, unmap: bool },
    /// Collect `len` bytes of data-out, or as many as are offered, then ask
    /// [`LogicalUnit::with_parameters`] what follows. The residual is counted from `len` even then.
    Parameters { cdb: Cdb, len: u32 },
    /// Wipe all blocks. Everything else is refused until that has ended.
    Wipe { by: Wiping, wipe: Wipe, immediate: bool, wanted: u64 },
    /// Copy what the list says between volumes of this unit.
    Copy {
        /// Checked as far as it can be without knowing who its parties are.
        list: Box<List>,
        /// Bytes of the list that the command was for.
        wanted: u64,
    },
    /// A reservation has changed. GOOD is due when the tasks of `aborted` have ended, no write of
    /// `barred` that was under way is with the medium any more, and what is kept of the reservations
    /// ([`LogicalUnit::reservations_record`]) is on stable storage.
    Reserved { barred: Vec<NexusId>, aborted: Vec<NexusId> },
}

/// The end of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// How it ended.
    pub status: Status,
    /// Why, with CHECK CONDITION.
    pub sense: Option<Sense>,
    /// Parameter data, cut to the allocation length.
    pub data: Vec<u8>,
    /// How many bytes the command would have moved; what the residual is counted from.
    pub wanted: u64,
}

impl Reply {
    /// GOOD, with nothing to tell.
    #[must_use]
    pub const fn good() -> Self {
        Self { status: Status::Good, sense: None, data: Vec::new(), wanted: 0 }
    }

    /// GOOD, with as much of `data` as the initiator made room for.
    #[must_use]
    pub fn data(mut data: Vec<u8>, allocation: u32) -> Self {
        data.truncate(usize::try_from(allocation).unwrap_or(usize::MAX));
        let wanted = data.len() as u64;
        Self { data, wanted, ..Self::good() }
    }

    /// CHECK CONDITION.
    #[must_use]
    pub fn check(sense: Sense) -> Self {
        Self { status: Status::CheckCondition, sense: Some(sense), ..Self::good() }
    }
}

impl From<Reply> for Plan {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<Sense> for Plan {
    fn from(sense: Sense) -> Self {
        Self::Reply(Reply::check(sense))
    }
}

impl Plan {
    /// How many bytes the command moves, before they are cut to what the initiator expects.
    #[must_use]
    pub fn wanted(&self, block_size: u32) -> u64 {
        let bytes = |blocks: u32| u64::from(blocks) * u64::from(block_size);
        match self {
            Self::Reply(reply) => reply.wanted,
            Self::Read { blocks, .. }
            | Self::WriteAtomic { blocks, .. }
            | Self::Verify { blocks, compare: true, .. } => bytes(*blocks),
            Self::Write { wanted, .. }
            | Self::OrWrite { wanted, .. }
            | Self::WriteAndVerify { wanted, .. }
            | Self::Wipe { wanted, .. }
            | Self::Copy { wanted, .. } => *wanted,
            Self::CompareAndWrite { blocks, .. } => 2 * bytes(*blocks),
            Self::Parameters { len, .. } => u64::from(*len),
            Self::Verify { compare: false, .. }
            | Self::VerifyEach { .. }
            | Self::Fill { .. }
            | Self::Survey { .. }
            | Self::Flush
            | Self::Zero { .. }
            | Self::Reserved { .. } => 0,
        }
    }

    /// Whether it has something to do before it is answered, and no data-out to do it with.
    #[must_use]
    pub fn takes_no_data(&self, block_size: u32) -> bool {
        !matches!(self, Self::Reply(_)) && self.data_out(block_size) == 0
    }

    /// How many bytes of data-out must be collected before it can be carried out.
    #[must_use]
    pub fn data_out(&self, block_size: u32) -> u64 {
        match self {
            Self::Write { blocks, .. }
            | Self::OrWrite { blocks, .. }
            | Self::WriteAndVerify { blocks, .. } => u64::from(*blocks) * u64::from(block_size),
            Self::Verify { compare: true, .. }
            | Self::CompareAndWrite { .. }
            | Self::WriteAtomic { .. }
            | Self::Parameters { .. } => self.wanted(block_size),
            _ => 0,
        }
    }
}

/// The device server of one volume.
#[derive(Debug)]
pub struct LogicalUnit {
    config: LuConfig,
    /// WCE, which MODE SELECT can change until the next reset.
    write_cache: bool,
    /// SWP, likewise.
    write_protect: bool,
    /// D_SENSE, likewise.
    descriptor_sense: bool,
    /// A sync failed: what the medium holds is unknown, so nothing more is written to it.
    faulted: bool,
    /// START STOP UNIT has stopped it.
    stopped: bool,
    sanitize: sanitize::State,
    attentions: Attentions,
    copies: Copies,
    reservations: Reservations,
}

impl LogicalUnit {
    /// # Panics
    /// If the block size is not one that a volume can have.
    #[must_use]
    pub fn new(config: LuConfig) -> Self {
        assert!(matches!(config.block_size, 512 | 4096), "blocks of {}", config.block_size);
        Self {
            write_cache: config.write_cache || config.volatile,
            write_protect: false,
            descriptor_sense: false,
            faulted: false,
            stopped: false,
            sanitize: config.wipe_failed.map_or(sanitize::State::Usable, sanitize::State::Failed),
            attentions: Attentions::default(),
            copies: Copies::default(),
            reservations: Reservations::default(),
            config,
        }
    }

    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.config.blocks
    }

    #[must_use]
    pub const fn block_size(&self) -> u32 {
        self.config.block_size
    }

    /// WCE: writes are answered from the cache.
    #[must_use]
    pub const fn write_cache(&self) -> bool {
        self.write_cache
    }

    /// Sense data as the control mode page has it (D_SENSE).
    #[must_use]
    pub fn sense_data(&self, sense: &Sense) -> Vec<u8> {
        if self.descriptor_sense { sense.descriptors() } else { sense.fixed().to_vec() }
    }

    /// A session began: of this initiator port, by portal group `group`, which is a target port of its
    /// own. It is told so with its first command, or that its nexus was lost if it was here before.
    pub fn attach(&mut self, nexus: NexusId, port: InitiatorPort, group: u16) {
        let target_port = self.config.port.of_group(group).relative;
        self.attentions.attach(nexus, (port.clone(), target_port));
        self.reservations.attach(nexus, port, target_port);
    }

    /// A session ended.
    pub fn detach(&mut self, nexus: NexusId) {
        self.attentions.detach(nexus);
        self.copies.detach(nexus);
        self.reservations.detach(nexus);
    }

    /// The volume has another size.
    pub fn resized(&mut self, blocks: u64) {
        if self.config.blocks != blocks {
            self.config.blocks = blocks;
            self.attentions.owe_all(Attention::CapacityChanged, None);
        }
    }

    /// The operator has chosen another write policy: WCE follows it, and every nexus is told. True
    /// when the cache has ended, so that what is in it must be written.
    pub fn set_write_policy(&mut self, write_cache: bool) -> bool {
        if self.config.write_cache == write_cache {
            return false;
        }
        self.config.write_cache = write_cache;
        let before = std::mem::replace(&mut self.write_cache, write_cache || self.config.volatile);
        if before != self.write_cache {
            self.attentions.owe_all(Attention::ModeChanged, None);
        }
        before && !self.write_cache
    }

    /// Writes and flushes fail from now on, or work again.
    pub fn set_faulted(&mut self, faulted: bool) {
        self.faulted = faulted;
    }

    /// LOGICAL UNIT RESET or TARGET RESET: mode parameters are as at the start, and every nexus
    /// is told, the one that asked too (SAM-5 §6.3.3). Ending the commands is the shard's part.
    pub fn reset(&mut self) {
        self.default_state();
        self.copies.clear();
        self.reservations.reset();
        self.attentions.owe_all(Attention::Reset, None);
    }

    /// What hosts can change, as it was at the start.
    fn default_state(&mut self) {
        self.write_cache = self.config.write_cache || self.config.volatile;
        self.write_protect = false;
        self.descriptor_sense = false;
        self.stopped = false;
    }

    /// Commands of `nexus` were ended by another one.
    pub fn commands_cleared(&mut self, nexus: NexusId) {
        self.attentions.owe(nexus, Attention::CommandsCleared);
    }

    /// Commands of `nexus` ended with their connection, and the nexus goes on.
    pub fn commands_cleared_by_protocol(&mut self, nexus: NexusId) {
        self.attentions.owe(nexus, Attention::CommandsClearedByProtocol);
    }

    /// What to do for a command. Everything that can be refused is refused here, before data for
    /// it is asked for.
    pub fn begin(&mut self, nexus: NexusId, request: &Request<'_>) -> Plan {
        if request.lun.number() != Some(0) {
            return Self::absent(request.cdb);
        }
        if !tells_nothing(request.cdb) {
            // A conflict is told before an attention, unless that is of a reset (SAM-5 §5.3.3).
            if self.is_barred(nexus, request.cdb) && !self.attentions.tell_of_reset(nexus) {
                return Reply::conflict().into();
            }
            if let Some(sense) = self.attentions.take(nexus) {
                return sense.into();
            }
        }
        match Cdb::parse(request.cdb) {
            Ok(cdb) => match self.not_ready(cdb.opcode()) {
                Some(sense) => sense.into(),
                None => self.carry_out(nexus, cdb, request.offered).unwrap_or_else(Plan::from),
            },
            Err(sense) => sense.into(),
        }
    }

    /// Why a command does not run now, which it does in any other state.
    fn not_ready(&self, opcode: u8) -> Option<Sense> {
        if self.sanitize == sanitize::State::Usable && !self.stopped {
            return None;
        }
        let stopped = self.stopped && !state::runs_while_stopped(opcode);
        self.kept_off(opcode).or(if stopped { Some(sense::START_REQUIRED) } else { None })
    }

    fn carry_out(&mut self, nexus: NexusId, cdb: Cdb, offered: u32) -> Result<Plan, Sense> {
        match cdb {
            Cdb::TestUnitReady => Ok(Reply::good().into()),
            Cdb::RequestSense { descriptors, allocation } => {
                Ok(self.request_sense(nexus, descriptors, allocation).into())
            }
            Cdb::FormatUnit(fields) => self.format_unit(cdb, &fields, offered),
            Cdb::Inquiry { page, allocation } => self.inquiry(nexus, page, allocation),
            Cdb::ReportLuns { select, allocation } => spc::report_luns(select, allocation),
            Cdb::ModeSense6(fields) | Cdb::ModeSense10(fields) => self.mode_sense(&cdb, &fields),
            Cdb::ModeSelect6(fields) | Cdb::ModeSelect10(fields) => spc::mode_select(cdb, &fields),
            Cdb::LogSense(fields) => log::sense(&fields),
            Cdb::ReadCapacity10 => Ok(Reply::data(self.capacity().short().to_vec(), 8).into()),
            Cdb::ReadCapacity16 { allocation } => {
                Ok(Reply::data(self.capacity().long().to_vec(), allocation).into())
            }
            Cdb::ReadDefectData10(fields) => Ok(defects::none(&fields, 4)),
            Cdb::ReadDefectData12(fields) => Ok(defects::none(&fields, 8)),
            Cdb::Read6(fields)
            | Cdb::Read10(fields)
            | Cdb::Read12(fields)
            | Cdb::Read16(fields) => self.read(&cdb, &fields),
            Cdb::Write6(fields)
            | Cdb::Write10(fields)
            | Cdb::Write12(fields)
            | Cdb::Write16(fields) => self.write(&cdb, &fields, offered),
            Cdb::WriteAtomic16(fields) => self.write_atomic(&cdb, &fields, offered),
            Cdb::Verify10(fields) | Cdb::Verify12(fields) | Cdb::Verify16(fields) => {
                self.verify(&cdb, &fields, offered)
            }
            Cdb::SynchronizeCache10(fields) | Cdb::SynchronizeCache16(fields) => {
                self.synchronize(&cdb, &fields)
            }
            Cdb::CompareAndWrite(fields) => self.compare_and_write(&cdb, &fields, offered),
            Cdb::OrWrite16(fields) => self.or_write(&cdb, &fields, offered),
            Cdb::WriteAndVerify10(fields)
            | Cdb::WriteAndVerify12(fields)
            | Cdb::WriteAndVerify16(fields) => self.write_and_verify(&cdb, &fields, offered),
            Cdb::WriteSame10(fields) | Cdb::WriteSame16(fields) => {
                self.write_same(&cdb, &fields, offered)
            }
            Cdb::PreFetch10(fields) | Cdb::PreFetch16(fields) => self.pre_fetch(&cdb, &fields),
            Cdb::GetLbaStatus { lba, allocation } => self.lba_status(&cdb, lba, allocation),
            Cdb::Unmap { anchor, len } => self.unmap(cdb, anchor, len),
            Cdb::ReportSupportedOpcodes(fields) => self.supported_opcodes(&fields),
            Cdb::ReportSupportedTaskManagement { extended, allocation } => {
                supported::task_management(extended, allocation)
            }
            Cdb::Sanitize(fields) => self.sanitize(cdb, &fields),
            Cdb::ExtendedCopy { len } => Self::extended_copy(cdb, len),
            Cdb::ReceiveCopyResults { action, list, allocation } => {
                self.copy_results(nexus, action, list, allocation)
            }
            Cdb::ReportTargetPortGroups { extended, allocation } => {
                Ok(self.target_port_groups(extended, allocation))
            }
            Cdb::PersistentReserveIn { what, allocation } => Ok(self.reserve_in(what, allocation)),
            Cdb::PersistentReserveOut(fields) => Self::reserve_out(cdb, &fields),
            Cdb::Reserve6 => Ok(self.reserve_6(nexus, false)),
            Cdb::Release6 => Ok(self.reserve_6(nexus, true)),
            Cdb::StartStopUnit(fields) => self.start_stop(&fields),
            Cdb::SendDiagnostic(fields) => state::send_diagnostic(&fields),
            Cdb::PreventAllowMediumRemoval { prevent } => state::prevent_removal(prevent),
        }
    }

    /// What to do now that the parameter list of `cdb` is here. The state is looked at again: it
    /// may have changed while the list was on its way.
    pub fn with_parameters(&mut self, nexus: NexusId, cdb: &Cdb, bytes: &[u8]) -> Plan {
        let plan = if self.is_barred(nexus, &cdb.build()) {
            Ok(Reply::conflict().into())
        } else if let Some(sense) = self.not_ready(cdb.opcode()) {
            Err(sense)
        } else {
            self.on_list(nexus, cdb, bytes)
        };
        match (plan.unwrap_or_else(Plan::from), cdb.expected(self.config.block_size)) {
            // The list was moved, whatever came of it.
            (Plan::Reply(reply), Expected::Out(wanted)) => Reply { wanted, ..reply }.into(),
            (plan, _) => plan,
        }
    }

    fn on_list(&mut self, nexus: NexusId, cdb: &Cdb, bytes: &[u8]) -> Result<Plan, Sense> {
        match cdb {
            Cdb::PersistentReserveOut(fields) => Ok(self.reserve_list(nexus, fields, bytes)),
            Cdb::Unmap { .. } => self.unmap_list(bytes),
            Cdb::Sanitize(fields) => self.sanitize_list(fields, bytes),
            Cdb::FormatUnit(fields) => self.format_list(fields, bytes),
            Cdb::ExtendedCopy { len } => self.copy_list(nexus, *len, bytes),
            Cdb::WriteSame10(fields) | Cdb::WriteSame16(fields) => {
                self.write_same_block(cdb, fields, bytes)
            }
            Cdb::Verify10(fields) | Cdb::Verify12(fields) | Cdb::Verify16(fields) => {
                Ok(self.verify_each(fields, bytes))
            }
            Cdb::ModeSelect6(_) | Cdb::ModeSelect10(_) => self.mode_list(nexus, cdb, bytes),
            _ => Err(sense::INVALID_OPCODE),
        }
    }

    /// The answer for a number with no logical unit behind it (SPC-4 §6.6).
    fn absent(cdb: &[u8]) -> Plan {
        match Cdb::parse(cdb) {
            Ok(Cdb::Inquiry { page, allocation }) => identity::absent_inquiry(page, allocation),
            Ok(Cdb::ReportLuns { select, allocation }) => spc::report_luns(select, allocation),
            Ok(Cdb::RequestSense { descriptors, allocation }) => {
                Ok(spc::sense_data(&sense::LUN_NOT_SUPPORTED, descriptors, allocation).into())
            }
            _ => Err(sense::LUN_NOT_SUPPORTED),
        }
        .unwrap_or_else(Plan::from)
    }
}

/// INQUIRY, REPORT LUNS and REQUEST SENSE run although a unit attention is owed (SAM-5 §5.14).
fn tells_nothing(cdb: &[u8]) -> bool {
    matches!(cdb.first(), Some(&(opcode::INQUIRY | opcode::REPORT_LUNS | opcode::REQUEST_SENSE)))
}

#[cfg(test)]
mod tests;

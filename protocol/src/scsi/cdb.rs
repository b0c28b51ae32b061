//! Command descriptor blocks (SPC-4 §4.2, SBC-3 §5): every command a unit knows, read and written.
//! Values are only read here; whether they are acceptable is the device server's to say.

mod atomic;
mod block;
mod defects;
mod format;
mod host;
mod log;
mod maintenance;
pub mod opcode;
mod reserve;
mod sanitize;
mod state;
pub mod usage;

pub use self::atomic::WriteAtomic;
pub use self::block::WriteSame;
pub use self::defects::ReadDefects;
pub use self::format::FormatUnit;
pub use self::host::Expected;
pub use self::log::LogSense;
pub use self::maintenance::{SupportedOpcodes, Which};
pub use self::reserve::{ReserveIn, ReserveOut, ReserveOutAction};
pub use self::sanitize::Sanitize;
pub use self::state::{START_STOP_FLAGS_AT, SendDiagnostic, StartStop};

use super::sense::{INVALID_FIELD_IN_CDB, INVALID_OPCODE, Sense};
use super::{put, u16_at, u32_at, u64_at};

/// Which values MODE SENSE asks for (PC of SPC-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageControl {
    /// Those in force.
    Current,
    /// A mask of what MODE SELECT can change.
    Changeable,
    /// Those after a reset.
    Default,
    /// Those kept over power loss.
    Saved,
}

/// What VERIFY compares (BYTCHK of SBC-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteCheck {
    /// Nothing is sent; the medium must be readable.
    Medium,
    /// As many blocks are sent as the medium must equal.
    Compare,
    /// Reserved.
    Reserved,
    /// One block is sent, and every block must equal it.
    CompareOne,
}

/// The fields READ and WRITE have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Transfer {
    /// The first block.
    pub lba: u64,
    /// How many.
    pub blocks: u32,
    /// RDPROTECT or WRPROTECT.
    pub protect: u8,
    /// Do not keep the blocks in a cache.
    pub dpo: bool,
    /// Force unit access: not before the medium has it.
    pub fua: bool,
}

impl Transfer {
    /// Byte 1 of the block.
    fn flags(&self) -> u8 {
        self.protect << 5 | u8::from(self.dpo) << 4 | u8::from(self.fua) << 3
    }
}

/// The fields of VERIFY, and of WRITE AND VERIFY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verify {
    /// The first block.
    pub lba: u64,
    /// How many.
    pub blocks: u32,
    /// VRPROTECT.
    pub protect: u8,
    /// Do not keep the blocks in a cache.
    pub dpo: bool,
    /// What is compared.
    pub check: ByteCheck,
}

/// The fields of SYNCHRONIZE CACHE, and of PRE-FETCH.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Synchronize {
    /// The first block.
    pub lba: u64,
    /// How many; none means to the end of the medium.
    pub blocks: u32,
    /// The answer may come before the medium has it.
    pub immed: bool,
}

/// The fields of MODE SENSE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModeSense {
    /// DBD: leave out the block descriptor.
    pub no_descriptor: bool,
    /// LLBAA: a long block descriptor is welcome. Only the ten-byte command can say so.
    pub long_lba: bool,
    /// Which values.
    pub control: PageControl,
    /// PAGE CODE, 3Fh for all.
    pub page: u8,
    /// SUBPAGE CODE, FFh for all.
    pub subpage: u8,
    /// At most this much is sent.
    pub allocation: u16,
}

/// The fields of MODE SELECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModeSelect {
    /// PF: the pages are in the standard's format.
    pub page_format: bool,
    /// SP: keep the values over power loss.
    pub save: bool,
    /// PARAMETER LIST LENGTH.
    pub len: u16,
}

/// A command (SPC-4 §6, SBC-3 §5). The number in a name is the length of its block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants are the standard's command names")]
pub enum Cdb {
    TestUnitReady,
    RequestSense { descriptors: bool, allocation: u8 },
    FormatUnit(FormatUnit),
    Inquiry { page: Option<u8>, allocation: u16 },
    ReportLuns { select: u8, allocation: u32 },
    ModeSense6(ModeSense),
    ModeSense10(ModeSense),
    ModeSelect6(ModeSelect),
    ModeSelect10(ModeSelect),
    LogSense(LogSense),
    ReadCapacity10,
    ReadCapacity16 { allocation: u32 },
    ReadDefectData10(ReadDefects),
    ReadDefectData12(ReadDefects),
    Read6(Transfer),
    Read10(Transfer),
    Read12(Transfer),
    Read16(Transfer),
    Write6(Transfer),
    Write10(Transfer),
    Write12(Transfer),
    Write16(Transfer),
    WriteAtomic16(WriteAtomic),
    Verify10(Verify),
    Verify12(Verify),
    Verify16(Verify),
    SynchronizeCache10(Synchronize),
    SynchronizeCache16(Synchronize),
    Unmap { anchor: bool, len: u16 },
    CompareAndWrite(Transfer),
    OrWrite16(Transfer),
    WriteAndVerify10(Verify),
    WriteAndVerify12(Verify),
    WriteAndVerify16(Verify),
    WriteSame10(WriteSame),
    WriteSame16(WriteSame),
    PreFetch10(Synchronize),
    PreFetch16(Synchronize),
    GetLbaStatus { lba: u64, allocation: u32 },
    ReportSupportedOpcodes(SupportedOpcodes),
    ReportSupportedTaskManagement { extended: bool, allocation: u32 },
    Sanitize(Sanitize),
    ExtendedCopy { len: u32 },
    ReceiveCopyResults { action: u8, list: u8, allocation: u32 },
    ReportTargetPortGroups { extended: bool, allocation: u32 },
    PersistentReserveIn { what: ReserveIn, allocation: u16 },
    PersistentReserveOut(ReserveOut),
    Reserve6,
    Release6,
    StartStopUnit(StartStop),
    SendDiagnostic(SendDiagnostic),
    PreventAllowMediumRemoval { prevent: u8 },
}

/// READ CAPACITY(16) is a service action of SERVICE ACTION IN(16).
const SERVICE_READ_CAPACITY_16: u8 = 0x10;

/// The length of a block, from the group in its operation code (SPC-4 §4.2). Groups 3, 6 and 7
/// hold variable-length and vendor commands.
const fn length(opcode: u8) -> Option<usize> {
    match opcode >> 5 {
        0 => Some(6),
        1 | 2 => Some(10),
        4 => Some(16),
        5 => Some(12),
        _ => None,
    }
}

impl Cdb {
    /// Reads a block; iSCSI's sixteen bytes may be longer than the command. A bit that the
    /// command does not look at must be zero (see [`usage`]).
    pub fn parse(cdb: &[u8]) -> Result<Self, Sense> {
        let usage = usage::of(cdb)?;
        Self::parse_fields(usage.opcode(), &usage.check(cdb)?)
    }

    fn parse_fields(opcode: u8, cdb: &[u8; 16]) -> Result<Self, Sense> {
        Ok(match opcode {
            opcode::TEST_UNIT_READY => Self::TestUnitReady,
            opcode::REQUEST_SENSE => {
                Self::RequestSense { descriptors: cdb[1] & 0x01 != 0, allocation: cdb[4] }
            }
            opcode::FORMAT_UNIT => Self::FormatUnit(FormatUnit::parse(cdb)),
            opcode::INQUIRY => parse_inquiry(cdb)?,
            opcode::REPORT_LUNS => Self::ReportLuns { select: cdb[2], allocation: u32_at(cdb, 6) },
            opcode::MODE_SENSE_6 => Self::ModeSense6(parse_mode_sense(cdb, u16::from(cdb[4]))),
            opcode::MODE_SENSE_10 => Self::ModeSense10(ModeSense {
                long_lba: cdb[1] & 0x10 != 0,
                ..parse_mode_sense(cdb, u16_at(cdb, 7))
            }),
            opcode::MODE_SELECT_6 => Self::ModeSelect6(parse_mode_select(cdb, u16::from(cdb[4]))),
            opcode::MODE_SELECT_10 => Self::ModeSelect10(parse_mode_select(cdb, u16_at(cdb, 7))),
            opcode::LOG_SENSE => Self::LogSense(LogSense::parse(cdb)),
            opcode::READ_CAPACITY_10 => Self::ReadCapacity10,
            opcode::SERVICE_ACTION_IN_16 if cdb[1] & 0x1F == block::SERVICE_GET_LBA_STATUS => {
                block::parse_lba_status(cdb)
            }
            opcode::SERVICE_ACTION_IN_16 => Self::ReadCapacity16 { allocation: u32_at(cdb, 10) },
            opcode::READ_DEFECT_DATA_10 => Self::ReadDefectData10(ReadDefects::parse_10(cdb)),
            opcode::READ_DEFECT_DATA_12 => Self::ReadDefectData12(ReadDefects::parse_12(cdb)),
            opcode::MAINTENANCE_IN => maintenance::parse(cdb)?,
            opcode::PERSISTENT_RESERVE_IN => reserve::parse_in(cdb),
            opcode::PERSISTENT_RESERVE_OUT => reserve::parse_out(cdb),
            opcode::RESERVE_6 => Self::Reserve6,
            opcode::RELEASE_6 => Self::Release6,
            opcode::START_STOP_UNIT => state::parse_start_stop(cdb),
            opcode::SEND_DIAGNOSTIC => state::parse_diagnostic(cdb),
            opcode::PREVENT_ALLOW_MEDIUM_REMOVAL => {
                Self::PreventAllowMediumRemoval { prevent: cdb[4] & 0x03 }
            }
            opcode::READ_6 => Self::Read6(parse_transfer_6(cdb)),
            opcode::READ_10 => Self::Read10(parse_transfer(cdb)),
            opcode::READ_12 => Self::Read12(parse_transfer(cdb)),
            opcode::READ_16 => Self::Read16(parse_transfer(cdb)),
            opcode::WRITE_6 => Self::Write6(parse_transfer_6(cdb)),
            opcode::WRITE_10 => Self::Write10(parse_transfer(cdb)),
            opcode::WRITE_12 => Self::Write12(parse_transfer(cdb)),
            opcode::WRITE_16 => Self::Write16(parse_transfer(cdb)),
            opcode::WRITE_ATOMIC_16 => Self::WriteAtomic16(atomic::parse(cdb)),
            opcode::VERIFY_10 => Self::Verify10(parse_verify(cdb)),
            opcode::VERIFY_12 => Self::Verify12(parse_verify(cdb)),
            opcode::VERIFY_16 => Self::Verify16(parse_verify(cdb)),
            opcode::SYNCHRONIZE_CACHE_10 => Self::SynchronizeCache10(parse_synchronize(cdb)),
            opcode::SYNCHRONIZE_CACHE_16 => Self::SynchronizeCache16(parse_synchronize(cdb)),
            opcode::COMPARE_AND_WRITE => Self::CompareAndWrite(block::parse_compare_and_write(cdb)),
            opcode::ORWRITE_16 => Self::OrWrite16(parse_transfer(cdb)),
            opcode::WRITE_AND_VERIFY_10 => Self::WriteAndVerify10(parse_verify(cdb)),
            opcode::WRITE_AND_VERIFY_12 => Self::WriteAndVerify12(parse_verify(cdb)),
            opcode::WRITE_AND_VERIFY_16 => Self::WriteAndVerify16(parse_verify(cdb)),
            opcode::WRITE_SAME_10 => Self::WriteSame10(block::parse_write_same(cdb)),
            opcode::WRITE_SAME_16 => Self::WriteSame16(block::parse_write_same(cdb)),
            opcode::PRE_FETCH_10 => Self::PreFetch10(parse_synchronize(cdb)),
            opcode::PRE_FETCH_16 => Self::PreFetch16(parse_synchronize(cdb)),
            opcode::UNMAP => Self::Unmap { anchor: cdb[1] & 0x01 != 0, len: u16_at(cdb, 7) },
            opcode::SANITIZE => Self::Sanitize(sanitize::parse(cdb)),
            opcode::EXTENDED_COPY => Self::ExtendedCopy { len: u32_at(cdb, 10) },
            opcode::RECEIVE_COPY_RESULTS => Self::ReceiveCopyResults {
                action: cdb[1] & 0x1F,
                list: cdb[2],
                allocation: u32_at(cdb, 10),
            },
            _ => return Err(INVALID_OPCODE),
        })
    }

    /// Writes the block, filled with zeros to iSCSI's sixteen bytes.
    ///
    /// # Panics
    /// If a value does not fit the command's field: the caller chose a command that is too short.
    #[must_use]
    #[allow(
        clippy::too_many_lines,
        reason = "an arm for each command, and the compiler counts them"
    )]
    pub fn build(&self) -> [u8; 16] {
        let mut cdb = [0; 16];
        cdb[0] = self.opcode();
        match *self {
            Self::TestUnitReady | Self::ReadCapacity10 | Self::Reserve6 | Self::Release6 => {}
            Self::RequestSense { descriptors, allocation } => {
                cdb[1] = u8::from(descriptors);
                cdb[4] = allocation;
            }
            Self::FormatUnit(fields) => fields.build(&mut cdb),
            Self::Inquiry { page, allocation } => {
                cdb[1] = u8::from(page.is_some());
                cdb[2] = page.unwrap_or(0);
                put(&mut cdb, 3, allocation.to_be_bytes());
            }
            Self::ReportLuns { select, allocation } => {
                cdb[2] = select;
                put(&mut cdb, 6, allocation.to_be_bytes());
            }
            Self::ModeSense6(sense) | Self::ModeSense10(sense) => {
                build_mode_sense(&mut cdb, &sense);
            }
            Self::ModeSelect6(select) | Self::ModeSelect10(select) => {
                cdb[1] = u8::from(select.page_format) << 4 | u8::from(select.save);
                put_mode_length(&mut cdb, select.len);
            }
            Self::LogSense(fields) => fields.build(&mut cdb),
            Self::ReadCapacity16 { allocation } => {
                cdb[1] = SERVICE_READ_CAPACITY_16;
                put(&mut cdb, 10, allocation.to_be_bytes());
            }
            Self::ReadDefectData10(fields) => fields.build_10(&mut cdb),
            Self::ReadDefectData12(fields) => fields.build_12(&mut cdb),
            Self::Read6(transfer) | Self::Write6(transfer) => build_transfer_6(&mut cdb, &transfer),
            Self::Read10(transfer)
            | Self::Read12(transfer)
            | Self::Read16(transfer)
            | Self::Write10(transfer)
            | Self::Write12(transfer)
            | Self::Write16(transfer)
            | Self::OrWrite16(transfer) => {
                cdb[1] = transfer.flags();
                put_range(&mut cdb, transfer.lba, transfer.blocks);
            }
            Self::WriteAtomic16(write) => atomic::build(&mut cdb, &write),
            Self::Verify10(verify)
            | Self::Verify12(verify)
            | Self::Verify16(verify)
            | Self::WriteAndVerify10(verify)
            | Self::WriteAndVerify12(verify)
            | Self::WriteAndVerify16(verify) => {
                cdb[1] =
                    verify.protect << 5 | u8::from(verify.dpo) << 4 | (verify.check as u8) << 1;
                put_range(&mut cdb, verify.lba, verify.blocks);
            }
            Self::SynchronizeCache10(sync)
            | Self::SynchronizeCache16(sync)
            | Self::PreFetch10(sync)
            | Self::PreFetch16(sync) => {
                cdb[1] = u8::from(sync.immed) << 1;
                put_range(&mut cdb, sync.lba, sync.blocks);
            }
            Self::CompareAndWrite(transfer) => block::build_compare_and_write(&mut cdb, &transfer),
            Self::WriteSame10(same) | Self::WriteSame16(same) => {
                block::build_write_same(&mut cdb, &same);
            }
            Self::GetLbaStatus { lba, allocation } => {
                block::build_lba_status(&mut cdb, lba, allocation);
            }
            Self::Unmap { anchor, len } => {
                cdb[1] = u8::from(anchor);
                put(&mut cdb, 7, len.to_be_bytes());
            }
            Self::ReportSupportedOpcodes(fields) => {
                maintenance::build_supported(&mut cdb, &fields);
            }
            Self::ReportSupportedTaskManagement { extended, allocation } => {
                maintenance::build_task_management(&mut cdb, extended, allocation);
            }
            Self::Sanitize(fields) => sanitize::build(&mut cdb, &fields),
            Self::ExtendedCopy { len } => {
                put(&mut cdb, 10, len.to_be_bytes());
            }
            Self::ReceiveCopyResults { action, list, allocation } => {
                cdb[1] = action & 0x1F;
                cdb[2] = list;
                put(&mut cdb, 10, allocation.to_be_bytes());
            }
            Self::ReportTargetPortGroups { extended, allocation } => {
                maintenance::build_port_groups(&mut cdb, extended, allocation);
            }
            Self::PersistentReserveIn { what, allocation } => {
                reserve::build_in(&mut cdb, what, allocation);
            }
            Self::PersistentReserveOut(fields) => reserve::build_out(&mut cdb, &fields),
            Self::StartStopUnit(fields) => state::build_start_stop(&mut cdb, &fields),
            Self::SendDiagnostic(fields) => state::build_diagnostic(&mut cdb, &fields),
            Self::PreventAllowMediumRemoval { prevent } => cdb[4] = prevent & 0x03,
        }
        cdb
    }

    /// The operation code.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        match self {
            Self::TestUnitReady => opcode::TEST_UNIT_READY,
            Self::RequestSense { .. } => opcode::REQUEST_SENSE,
            Self::FormatUnit(_) => opcode::FORMAT_UNIT,
            Self::Inquiry { .. } => opcode::INQUIRY,
            Self::ReportLuns { .. } => opcode::REPORT_LUNS,
            Self::ModeSense6(_) => opcode::MODE_SENSE_6,
            Self::ModeSense10(_) => opcode::MODE_SENSE_10,
            Self::ModeSelect6(_) => opcode::MODE_SELECT_6,
            Self::ModeSelect10(_) => opcode::MODE_SELECT_10,
            Self::LogSense(_) => opcode::LOG_SENSE,
            Self::ReadCapacity10 => opcode::READ_CAPACITY_10,
            Self::ReadCapacity16 { .. } | Self::GetLbaStatus { .. } => opcode::SERVICE_ACTION_IN_16,
            Self::ReadDefectData10(_) => opcode::READ_DEFECT_DATA_10,
            Self::ReadDefectData12(_) => opcode::READ_DEFECT_DATA_12,
            Self::Read6(_) => opcode::READ_6,
            Self::Read10(_) => opcode::READ_10,
            Self::Read12(_) => opcode::READ_12,
            Self::Read16(_) => opcode::READ_16,
            Self::Write6(_) => opcode::WRITE_6,
            Self::Write10(_) => opcode::WRITE_10,
            Self::Write12(_) => opcode::WRITE_12,
            Self::Write16(_) => opcode::WRITE_16,
            Self::WriteAtomic16(_) => opcode::WRITE_ATOMIC_16,
            Self::Verify10(_) => opcode::VERIFY_10,
            Self::Verify12(_) => opcode::VERIFY_12,
            Self::Verify16(_) => opcode::VERIFY_16,
            Self::SynchronizeCache10(_) => opcode::SYNCHRONIZE_CACHE_10,
            Self::SynchronizeCache16(_) => opcode::SYNCHRONIZE_CACHE_16,
            Self::Unmap { .. } => opcode::UNMAP,
            Self::CompareAndWrite(_) => opcode::COMPARE_AND_WRITE,
            Self::OrWrite16(_) => opcode::ORWRITE_16,
            Self::WriteAndVerify10(_) => opcode::WRITE_AND_VERIFY_10,
            Self::WriteAndVerify12(_) => opcode::WRITE_AND_VERIFY_12,
            Self::WriteAndVerify16(_) => opcode::WRITE_AND_VERIFY_16,
            Self::WriteSame10(_) => opcode::WRITE_SAME_10,
            Self::WriteSame16(_) => opcode::WRITE_SAME_16,
            Self::PreFetch10(_) => opcode::PRE_FETCH_10,
            Self::PreFetch16(_) => opcode::PRE_FETCH_16,
            Self::Sanitize(_) => opcode::SANITIZE,
            Self::ExtendedCopy { .. } => opcode::EXTENDED_COPY,
            Self::ReceiveCopyResults { .. } => opcode::RECEIVE_COPY_RESULTS,
            Self::ReportSupportedOpcodes(_)
            | Self::ReportSupportedTaskManagement { .. }
            | Self::ReportTargetPortGroups { .. } => opcode::MAINTENANCE_IN,
            Self::PersistentReserveIn { .. } => opcode::PERSISTENT_RESERVE_IN,
            Self::PersistentReserveOut(_) => opcode::PERSISTENT_RESERVE_OUT,
            Self::Reserve6 => opcode::RESERVE_6,
            Self::Release6 => opcode::RELEASE_6,
            Self::StartStopUnit(_) => opcode::START_STOP_UNIT,
            Self::SendDiagnostic(_) => opcode::SEND_DIAGNOSTIC,
            Self::PreventAllowMediumRemoval { .. } => opcode::PREVENT_ALLOW_MEDIUM_REMOVAL,
        }
    }

    /// The byte where TRANSFER LENGTH, or the list or allocation length, begins; for sense.
    #[must_use]
    pub const fn length_at(&self) -> u16 {
        match (self, length(self.opcode())) {
            (Self::Inquiry { .. } | Self::SendDiagnostic(_), _) => 3,
            (Self::CompareAndWrite(_), _) => 13,
            (Self::PersistentReserveOut(_), _) => 5,
            (_, Some(6)) => 4,
            (_, Some(12)) => 6,
            (_, Some(16)) => 10,
            _ => 7,
        }
    }

    /// The byte where LOGICAL BLOCK ADDRESS begins; for sense.
    #[must_use]
    pub const fn lba_at(&self) -> u16 {
        if matches!(length(self.opcode()), Some(6)) { 1 } else { 2 }
    }
}

fn parse_inquiry(cdb: &[u8; 16]) -> Result<Cdb, Sense> {
    let vital = cdb[1] & 0x01 != 0;
    // A page code without EVPD is an error (SPC-4 §6.6).
    if !vital && cdb[2] != 0 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(2, None));
    }
    Ok(Cdb::Inquiry { page: vital.then_some(cdb[2]), allocation: u16_at(cdb, 3) })
}

fn parse_mode_sense(cdb: &[u8; 16], allocation: u16) -> ModeSense {
    let control = match cdb[2] >> 6 {
        0 => PageControl::Current,
        1 => PageControl::Changeable,
        2 => PageControl::Default,
        _ => PageControl::Saved,
    };
    ModeSense {
        no_descriptor: cdb[1] & 0x08 != 0,
        long_lba: false,
        control,
        page: cdb[2] & 0x3F,
        subpage: cdb[3],
        allocation,
    }
}

fn build_mode_sense(cdb: &mut [u8; 16], sense: &ModeSense) {
    let long_lba = sense.long_lba && cdb[0] == opcode::MODE_SENSE_10;
    cdb[1] = u8::from(long_lba) << 4 | u8::from(sense.no_descriptor) << 3;
    cdb[2] = (sense.control as u8) << 6 | sense.page & 0x3F;
    cdb[3] = sense.subpage;
    put_mode_length(cdb, sense.allocation);
}

fn parse_mode_select(cdb: &[u8; 16], len: u16) -> ModeSelect {
    ModeSelect { page_format: cdb[1] & 0x10 != 0, save: cdb[1] & 0x01 != 0, len }
}

/// MODE SENSE and MODE SELECT keep their length in the same place.
fn put_mode_length(cdb: &mut [u8; 16], len: u16) {
    match length(cdb[0]) {
        Some(6) => cdb[4] = u8::try_from(len).expect("the six-byte command has one byte of length"),
        _ => put(cdb, 7, len.to_be_bytes()),
    }
}

/// Twenty-one bits of address; a length of zero is 256 blocks (SBC-3, READ(6)).
fn parse_transfer_6(cdb: &[u8; 16]) -> Transfer {
    let lba = u64::from(u32_at(cdb, 0) & 0x001F_FFFF);
    let blocks = if cdb[4] == 0 { 256 } else { u32::from(cdb[4]) };
    Transfer { lba, blocks, ..Transfer::default() }
}

fn build_transfer_6(cdb: &mut [u8; 16], transfer: &Transfer) {
    assert!(transfer.lba < 1 << 21, "the six-byte command has 21 bits of address");
    assert!((1..=256).contains(&transfer.blocks), "the six-byte command moves 1 to 256 blocks");
    let [.., high, middle, low] = transfer.lba.to_be_bytes();
    put(cdb, 1, [high, middle, low, transfer.blocks.to_be_bytes()[3]]);
}

fn parse_transfer(cdb: &[u8; 16]) -> Transfer {
    let (lba, blocks) = range(cdb);
    let flags = cdb[1];
    Transfer { lba, blocks, protect: flags >> 5, dpo: flags & 0x10 != 0, fua: flags & 0x08 != 0 }
}

fn parse_verify(cdb: &[u8; 16]) -> Verify {
    let (lba, blocks) = range(cdb);
    let check = match cdb[1] >> 1 & 0x03 {
        0 => ByteCheck::Medium,
        1 => ByteCheck::Compare,
        2 => ByteCheck::Reserved,
        _ => ByteCheck::CompareOne,
    };
    Verify { lba, blocks, protect: cdb[1] >> 5, dpo: cdb[1] & 0x10 != 0, check }
}

fn parse_synchronize(cdb: &[u8; 16]) -> Synchronize {
    let (lba, blocks) = range(cdb);
    Synchronize { lba, blocks, immed: cdb[1] & 0x02 != 0 }
}

/// Address and length, which every block command of a length keeps in the same place.
fn range(cdb: &[u8; 16]) -> (u64, u32) {
    match length(cdb[0]) {
        Some(16) => (u64_at(cdb, 2), u32_at(cdb, 10)),
        Some(12) => (u32_at(cdb, 2).into(), u32_at(cdb, 6)),
        _ => (u32_at(cdb, 2).into(), u16_at(cdb, 7).into()),
    }
}

fn put_range(cdb: &mut [u8; 16], lba: u64, blocks: u32) {
    let short = || u32::try_from(lba).expect("an address over 32 bits needs the 16-byte command");
    match length(cdb[0]) {
        Some(16) => {
            put(cdb, 2, lba.to_be_bytes());
            put(cdb, 10, blocks.to_be_bytes());
        }
        Some(12) => {
            put(cdb, 2, short().to_be_bytes());
            put(cdb, 6, blocks.to_be_bytes());
        }
        _ => {
            let blocks = u16::try_from(blocks).expect("the ten-byte command moves 65,535 blocks");
            put(cdb, 2, short().to_be_bytes());
            put(cdb, 7, blocks.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests;

//! What an initiator sends, and how much data it expects to move with it.

use super::{ByteCheck, Cdb, ModeSense, PageControl, Synchronize, Transfer};

/// How many bytes a command moves, and which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// None.
    Nothing,
    /// To the initiator, at most.
    In(u64),
    /// To the target.
    Out(u64),
}

impl Cdb {
    /// Reads `blocks` at `lba`.
    #[must_use]
    pub fn read16(lba: u64, blocks: u32) -> Self {
        Self::Read16(Transfer { lba, blocks, ..Transfer::default() })
    }

    /// Writes `blocks` at `lba`; with `fua` they are on the medium when it is answered.
    #[must_use]
    pub fn write16(lba: u64, blocks: u32, fua: bool) -> Self {
        Self::Write16(Transfer { lba, blocks, fua, ..Transfer::default() })
    }

    /// Writes `blocks` at `lba` if the medium holds what is sent before them.
    #[must_use]
    pub fn compare_and_write(lba: u64, blocks: u8, fua: bool) -> Self {
        Self::CompareAndWrite(Transfer { lba, blocks: blocks.into(), fua, ..Transfer::default() })
    }

    /// Makes every acknowledged write durable.
    #[must_use]
    pub fn flush() -> Self {
        Self::SynchronizeCache16(Synchronize::default())
    }

    /// Standard INQUIRY data, or a page of vital product data.
    #[must_use]
    pub const fn inquiry(page: Option<u8>, allocation: u16) -> Self {
        Self::Inquiry { page, allocation }
    }

    /// Current values of one mode page, with the ten-byte command.
    #[must_use]
    pub const fn mode_page(page: u8, allocation: u16) -> Self {
        Self::ModeSense10(ModeSense {
            no_descriptor: true,
            long_lba: false,
            control: PageControl::Current,
            page,
            subpage: 0,
            allocation,
        })
    }

    /// The Expected Data Transfer Length a host gives with this command.
    #[must_use]
    pub fn expected(&self, block_size: u32) -> Expected {
        let bytes = |blocks: u32| u64::from(blocks) * u64::from(block_size);
        match *self {
            Self::TestUnitReady
            | Self::SynchronizeCache10(_)
            | Self::SynchronizeCache16(_)
            | Self::PreFetch10(_)
            | Self::PreFetch16(_)
            | Self::Reserve6
            | Self::Release6
            | Self::StartStopUnit(_)
            | Self::PreventAllowMediumRemoval { .. } => Expected::Nothing,
            Self::RequestSense { allocation, .. } => Expected::In(allocation.into()),
            Self::FormatUnit(fields) => Expected::Out(fields.header_len().into()),
            Self::Inquiry { allocation, .. } => Expected::In(allocation.into()),
            Self::LogSense(fields) => Expected::In(fields.allocation.into()),
            Self::ReportLuns { allocation, .. } => Expected::In(allocation.into()),
            Self::ModeSense6(sense) | Self::ModeSense10(sense) => {
                Expected::In(sense.allocation.into())
            }
            Self::ReadCapacity10 => Expected::In(8),
            Self::ReadCapacity16 { allocation } | Self::GetLbaStatus { allocation, .. } => {
                Expected::In(allocation.into())
            }
            Self::ReadDefectData10(fields) | Self::ReadDefectData12(fields) => {
                Expected::In(fields.allocation.into())
            }
            Self::Read6(transfer)
            | Self::Read10(transfer)
            | Self::Read12(transfer)
            | Self::Read16(transfer) => Expected::In(bytes(transfer.blocks)),
            Self::Write6(transfer)
            | Self::Write10(transfer)
            | Self::Write12(transfer)
            | Self::Write16(transfer)
            | Self::OrWrite16(transfer) => Expected::Out(bytes(transfer.blocks)),
            Self::CompareAndWrite(transfer) => Expected::Out(2 * bytes(transfer.blocks)),
            Self::WriteAndVerify10(verify)
            | Self::WriteAndVerify12(verify)
            | Self::WriteAndVerify16(verify) => Expected::Out(bytes(verify.blocks)),
            Self::WriteSame10(same) | Self::WriteSame16(same) => {
                if same.no_data {
                    Expected::Nothing
                } else {
                    Expected::Out(bytes(1))
                }
            }
            Self::WriteAtomic16(write) => Expected::Out(bytes(write.blocks.into())),
            Self::Verify10(verify) | Self::Verify12(verify) | Self::Verify16(verify) => {
                match verify.check {
                    ByteCheck::Medium | ByteCheck::Reserved => Expected::Nothing,
                    ByteCheck::Compare => Expected::Out(bytes(verify.blocks)),
                    ByteCheck::CompareOne => Expected::Out(bytes(verify.blocks.min(1))),
                }
            }
            Self::ModeSelect6(select) | Self::ModeSelect10(select) => {
                Expected::Out(select.len.into())
            }
            Self::Unmap { len, .. } => Expected::Out(len.into()),
            Self::ReportSupportedOpcodes(fields) => Expected::In(fields.allocation.into()),
            Self::Sanitize(sanitize) => Expected::Out(sanitize.len.into()),
            Self::ExtendedCopy { len } => Expected::Out(len.into()),
            Self::ReceiveCopyResults { allocation, .. } => Expected::In(allocation.into()),
            Self::ReportSupportedTaskManagement { allocation, .. }
            | Self::ReportTargetPortGroups { allocation, .. } => Expected::In(allocation.into()),
            Self::PersistentReserveIn { allocation, .. } => Expected::In(allocation.into()),
            Self::SendDiagnostic(fields) => Expected::Out(fields.len.into()),
            Self::PersistentReserveOut(fields) => Expected::Out(fields.len.into()),
        }
    }
}

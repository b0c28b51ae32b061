//! PERSISTENT RESERVE IN and OUT (SPC-4 §6.15, §6.16). The lists that go with them are in
//! [`crate::scsi::reserve`].

use super::{Cdb, put, u16_at, u32_at};
use crate::scsi::reserve::Kind;

/// What PERSISTENT RESERVE IN asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants are the standard's service actions")]
pub enum ReserveIn {
    ReadKeys,
    ReadReservation,
    ReportCapabilities,
    ReadFullStatus,
}

/// What PERSISTENT RESERVE OUT wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants are the standard's service actions")]
pub enum ReserveOutAction {
    Register,
    Reserve,
    Release,
    Clear,
    Preempt,
    PreemptAndAbort,
    RegisterAndIgnore,
    RegisterAndMove,
}

/// The fields of PERSISTENT RESERVE OUT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReserveOut {
    /// Service action.
    pub action: ReserveOutAction,
    /// SCOPE: 0 is the logical unit, the rest is obsolete or reserved.
    pub scope: u8,
    /// TYPE, as the number that was sent.
    pub kind: u8,
    /// PARAMETER LIST LENGTH.
    pub len: u32,
}

impl ReserveOut {
    /// An action on a whole logical unit with a list of `len` bytes.
    #[must_use]
    pub const fn new(action: ReserveOutAction, kind: Option<Kind>, len: u32) -> Self {
        let kind = match kind {
            Some(kind) => kind.code(),
            None => 0,
        };
        Self { action, scope: 0, kind, len }
    }
}

pub(super) fn parse_in(cdb: &[u8; 16]) -> Cdb {
    let what = match cdb[1] & 0x1F {
        0 => ReserveIn::ReadKeys,
        1 => ReserveIn::ReadReservation,
        2 => ReserveIn::ReportCapabilities,
        _ => ReserveIn::ReadFullStatus,
    };
    Cdb::PersistentReserveIn { what, allocation: u16_at(cdb, 7) }
}

pub(super) fn build_in(cdb: &mut [u8; 16], what: ReserveIn, allocation: u16) {
    cdb[1] = what as u8;
    put(cdb, 7, allocation.to_be_bytes());
}

pub(super) fn parse_out(cdb: &[u8; 16]) -> Cdb {
    let action = match cdb[1] & 0x1F {
        0 => ReserveOutAction::Register,
        1 => ReserveOutAction::Reserve,
        2 => ReserveOutAction::Release,
        3 => ReserveOutAction::Clear,
        4 => ReserveOutAction::Preempt,
        5 => ReserveOutAction::PreemptAndAbort,
        6 => ReserveOutAction::RegisterAndIgnore,
        _ => ReserveOutAction::RegisterAndMove,
    };
    let len = u32_at(cdb, 5);
    Cdb::PersistentReserveOut(ReserveOut { action, scope: cdb[2] >> 4, kind: cdb[2] & 0x0F, len })
}

pub(super) fn build_out(cdb: &mut [u8; 16], fields: &ReserveOut) {
    cdb[1] = fields.action as u8;
    cdb[2] = fields.scope << 4 | fields.kind & 0x0F;
    put(cdb, 5, fields.len.to_be_bytes());
}

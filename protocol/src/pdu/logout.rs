//! Logout Request and Response (§11.14, §11.15).

use super::{Bhs, FINAL, FieldError, Order, Sequence, opcode};
use crate::ids::{Cid, Itt};

/// What is to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogoutReason {
    /// The whole session.
    CloseSession,
    /// The connection named by CID.
    CloseConnection,
    /// That connection, to recover its tasks on another; only at error recovery level 2.
    RemoveForRecovery,
}

/// Nothing may be sent after it on its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogoutRequest {
    /// Place in the session.
    pub order: Order,
    /// What is to be closed.
    pub reason: LogoutReason,
    /// The initiator's name for the request.
    pub itt: Itt,
    /// Which connection.
    pub cid: Cid,
}

impl LogoutRequest {
    pub(super) fn parse(bhs: &Bhs) -> Result<Self, FieldError> {
        Ok(Self {
            order: bhs.order(),
            reason: match bhs.0[1] & 0x7f {
                0 => LogoutReason::CloseSession,
                1 => LogoutReason::CloseConnection,
                2 => LogoutReason::RemoveForRecovery,
                _ => return Err(FieldError("logout reason")),
            },
            itt: bhs.itt(),
            cid: Cid(bhs.u16(20)),
        })
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::LOGOUT_REQUEST);
        bhs.put_flag(FINAL, true);
        bhs.0[1] |= match self.reason {
            LogoutReason::CloseSession => 0,
            LogoutReason::CloseConnection => 1,
            LogoutReason::RemoveForRecovery => 2,
        };
        bhs.put_u32(16, self.itt.0);
        bhs.put_u16(20, self.cid.0);
        bhs.put_order(self.order);
        bhs
    }
}

/// How a logout went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogoutResult {
    /// Closed.
    Closed,
    /// No connection of that CID.
    CidNotFound,
    /// Recovery is not supported.
    RecoveryUnsupported,
    /// The cleanup failed.
    CleanupFailed,
    /// A value the standard does not define.
    Unknown(u8),
}

/// After it the target closes the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogoutResponse {
    /// How it went.
    pub result: LogoutResult,
    /// Which request.
    pub itt: Itt,
    /// Progress.
    pub sequence: Sequence,
    /// Seconds to wait before connecting again.
    pub time_to_wait: u16,
    /// Seconds for which task state is kept.
    pub time_to_retain: u16,
}

impl LogoutResponse {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            result: match bhs.0[2] {
                0 => LogoutResult::Closed,
                1 => LogoutResult::CidNotFound,
                2 => LogoutResult::RecoveryUnsupported,
                3 => LogoutResult::CleanupFailed,
                other => LogoutResult::Unknown(other),
            },
            itt: bhs.itt(),
            sequence: bhs.sequence(),
            time_to_wait: bhs.u16(40),
            time_to_retain: bhs.u16(42),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::LOGOUT_RESPONSE);
        bhs.put_flag(FINAL, true);
        bhs.0[2] = match self.result {
            LogoutResult::Closed => 0,
            LogoutResult::CidNotFound => 1,
            LogoutResult::RecoveryUnsupported => 2,
            LogoutResult::CleanupFailed => 3,
            LogoutResult::Unknown(value) => value,
        };
        bhs.put_u32(16, self.itt.0);
        bhs.put_sequence(self.sequence);
        bhs.put_u16(40, self.time_to_wait);
        bhs.put_u16(42, self.time_to_retain);
        bhs
    }
}

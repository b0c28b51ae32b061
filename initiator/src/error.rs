//! What can go wrong, by what the caller can do about it.

use std::io;
use std::sync::Arc;

use outband_protocol::initiator::{DownReason, FailReason, Outcome};
use outband_protocol::login::CredentialsError;
use outband_protocol::pdu::LoginStatus;
use outband_protocol::scsi::sense::{self, SenseKey};
use outband_protocol::scsi::{Sense, Status};

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot work; the text says what to change.
    #[error("{0}")]
    Config(String),
    /// A secret that must not be used; see the source.
    #[error("the CHAP credentials cannot be used")]
    Credentials(#[from] CredentialsError),
    /// Nobody answers at any portal. Check the address, and whether the unit runs.
    #[error("cannot connect to {portal}")]
    Unreachable {
        /// The last portal tried.
        portal: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The target does not let this host in: wrong credentials, no grant, or the grant was taken
    /// away. Ask whoever manages the pool.
    #[error("the target denies this host: login status {0}")]
    Denied(LoginStatus),
    /// The target refuses the login for another reason.
    #[error("the target refuses the login: status {0}")]
    Refused(LoginStatus),
    /// The session was lost and could not be made anew.
    #[error("the session is lost: {0}")]
    Lost(#[source] FailReason),
    /// The target came back with another volume in the place of this one: memory that was served
    /// anew, or a disk that was exchanged. What was under way is not repeated. Connect anew to use
    /// what is there now.
    #[error("another volume is now where this one was; connect anew to use it")]
    Replaced,
    /// Somebody closed the disk.
    #[error("the disk was closed")]
    Closed,
    /// Offset and length must be multiples of the block size.
    #[error("offset and length must be multiples of the block size, {block_size} bytes")]
    Misaligned {
        /// Bytes in a block.
        block_size: u32,
    },
    /// Beyond the end of the volume.
    #[error("beyond the end of the volume, which has {capacity} bytes")]
    OutOfRange {
        /// Bytes on the volume.
        capacity: u64,
    },
    /// The volume cannot be written.
    #[error("the volume is write-protected")]
    ReadOnly,
    /// The volume has no room for what is written.
    #[error("the unit has no room for this write")]
    NoSpace,
    /// Another host has reserved the volume.
    #[error("the volume is reserved by another host")]
    Reserved,
    /// The data could not be read or made to last. What was acknowledged before may be lost: the
    /// operator must look at the unit.
    #[error("the medium failed: {0}")]
    Medium(Sense),
    /// The volume does not have that.
    #[error("the volume does not support {0}")]
    Unsupported(&'static str),
    /// Not done in its time, or done in part. Nothing of it happens later.
    #[error("not done within its time")]
    TimedOut,
    /// The connection was lost in the middle, and doing it again could do harm: done, not done, or
    /// done in part. Read to find out.
    #[error("the connection was lost; whether it was done is not known")]
    Unknown,
    /// Any other answer of the logical unit.
    #[error("the command failed: {status:?}{}", words(.sense))]
    Command {
        /// The SCSI status.
        status: Status,
        /// What it says more.
        sense: Option<Sense>,
    },
    /// The target does not keep to the standard.
    #[error("the target answered nonsense: {0}")]
    Nonsense(&'static str),
    /// The target could not be asked for its list.
    #[error("discovery failed: {0}")]
    Discovery(String),
    /// The station did not give what was asked for.
    #[error("asking the pool for storage")]
    Pool(#[source] Arc<outband_pool_api::Error>),
}

fn words(sense: &Option<Sense>) -> String {
    sense.map(|sense| format!(", {sense}")).unwrap_or_default()
}

impl Error {
    /// The same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut | Self::Unknown | Self::Lost(_))
    }

    /// Why a session is over.
    pub(crate) fn of_session(reason: FailReason, portal: &str, io: Option<Arc<io::Error>>) -> Self {
        let (FailReason::Final(down) | FailReason::GaveUp(down)) = &reason;
        match (down, io) {
            (DownReason::Refused(status), _) => Self::of_status(*status),
            (DownReason::AnotherUnit, _) => Self::Replaced,
            (DownReason::Disconnected, Some(source)) => {
                Self::Unreachable { portal: portal.to_owned(), source }
            }
            _ => Self::Lost(reason),
        }
    }

    pub(crate) fn of_status(status: LoginStatus) -> Self {
        match status {
            LoginStatus::AUTHENTICATION_FAILURE
            | LoginStatus::AUTHORIZATION_FAILURE
            | LoginStatus::NOT_FOUND
            | LoginStatus::TARGET_REMOVED => Self::Denied(status),
            other => Self::Refused(other),
        }
    }

    /// Why a command did not succeed; `None` when it did.
    pub(crate) fn of_outcome(outcome: &Outcome, capacity: u64) -> Option<Self> {
        Some(match *outcome {
            Outcome::Good { .. } => return None,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Unknown => Self::Unknown,
            Outcome::NotSent => Self::Closed,
            Outcome::Refused => Self::Nonsense("it refuses a command's form"),
            Outcome::Status { status: Status::ReservationConflict, .. } => Self::Reserved,
            Outcome::Status { status, sense } => match sense {
                Some(sense) => Self::of_sense(status, sense, capacity),
                None => Self::Command { status, sense },
            },
        })
    }

    fn of_sense(status: Status, sense: Sense, capacity: u64) -> Self {
        if sense.is(&sense::LBA_OUT_OF_RANGE) {
            Self::OutOfRange { capacity }
        } else if sense.is(&sense::INVALID_OPCODE) {
            Self::Unsupported("this command")
        } else if sense.is(&sense::SPACE_ALLOCATION_FAILED) {
            Self::NoSpace
        } else if sense.key == SenseKey::DataProtect {
            Self::ReadOnly
        } else if matches!(sense.key, SenseKey::MediumError | SenseKey::HardwareError) {
            Self::Medium(sense)
        } else {
            Self::Command { status, sense: Some(sense) }
        }
    }
}

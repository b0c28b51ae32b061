//! What happens between a command and the medium, and what the host is told when it goes wrong.
//!
//! An [`Io`] walks through the layers of its volume piece by piece; [`StoreError`] becomes sense
//! data in [`StoreError::sense`] and nowhere else.

mod atomic;
mod io;

pub use atomic::Slot;
pub use io::{Io, IoDone, Step, Work};

use outband_protocol::scsi::sense::{self, Sense};
use outband_ring::Errno;

/// Why the medium did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// The device did not give its bytes.
    #[error("read failed: {0}")]
    Read(Errno),
    /// The device ended before the volume does.
    #[error("read past the end of the device")]
    Truncated,
    /// The device did not take the bytes.
    #[error("write failed: {0}")]
    Write(Errno),
    /// There is no space under the volume.
    #[error("no space left on the device")]
    NoSpace,
    /// What was acknowledged may not be on stable storage. Final (promise P5).
    #[error("sync failed: {0}")]
    Sync(Errno),
    /// An earlier sync failed, and the operator has not said `volume recover` since.
    #[error("volume is faulted")]
    Faulted,
    /// The file for what survives power loss did not take it.
    #[error("reservations could not be kept")]
    NotKept,
    /// Data-out and medium differ (VERIFY with BYTCHK=1); at this byte.
    #[error("miscompare at byte {0}")]
    Miscompare(u64),
}

impl StoreError {
    /// What the host is told (SPC-4 §4.5.6).
    pub fn sense(&self) -> Sense {
        match self {
            Self::Read(_) | Self::Truncated => sense::UNRECOVERED_READ_ERROR,
            Self::Write(_) | Self::Sync(_) | Self::Faulted => sense::WRITE_ERROR,
            Self::NotKept => sense::INTERNAL_FAILURE,
            Self::NoSpace => sense::SPACE_ALLOCATION_FAILED,
            Self::Miscompare(at) => sense::MISCOMPARE_DURING_VERIFY.with_information(*at),
        }
    }

    /// Whether data that was acknowledged may be gone.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Sync(_))
    }
}

//! The login phase (§6.3, §11.12, §11.13), for both sides: security, operational parameters, and
//! then the full feature phase, which [`crate::target`] and [`crate::initiator`] take over.

pub mod chap;
pub mod initiator;
pub mod target;
#[cfg(test)]
mod tests;

pub use chap::{Algorithm, Credentials, CredentialsError, Secret};

use crate::framer::FrameError;
use crate::keys::{NegotiationError, TextError};
use crate::pdu::{HeaderError, Stage};

/// Text of one PDU. What is declared in a login holds after it (§13.12), so this is the default.
const PIECE_LEN_MAX: usize = crate::limits::LOGIN_SEGMENT_LEN_MAX as usize;

/// Why a login cannot even be answered, or, for the initiator, cannot be believed. The connection
/// is closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoginError {
    /// The stream makes no PDUs.
    #[error("reading a login")]
    Frame(#[from] FrameError),
    /// A header that cannot be read.
    #[error("reading the header of a login PDU")]
    Header(#[from] HeaderError),
    /// Something else came than a login.
    #[error("opcode {0:#04x} came where a login belongs")]
    NotALogin(u8),
    /// Text that cannot be read.
    #[error("reading the keys of a login")]
    Text(#[from] TextError),
    /// Keys that break the rules.
    #[error("negotiating with the target")]
    Negotiation(#[from] NegotiationError),
    /// A field that must stay the same in a login, or follow from the last PDU, does not.
    #[error("the target's login response has a wrong {0}")]
    WrongField(&'static str),
    /// The login has no end.
    #[error("the login takes too many rounds")]
    TooManyRounds,
    /// The target chose no authentication that we offered.
    #[error("the target does not take the authentication that was offered")]
    NoAuthentication,
    /// The target broke the rules of CHAP.
    #[error("the target's CHAP key {0} is missing or wrong")]
    Chap(&'static str),
    /// The target's challenge is our own, or our secrets are the same: either way it could have us
    /// compute its answer (§9.2.1).
    #[error("the target asks for the answer to its own challenge")]
    Reflection,
    /// The target did not prove who it is.
    #[error("the target did not prove its identity")]
    TargetNotAuthenticated,
    /// A redirection to nowhere.
    #[error("the target redirects without a usable address")]
    BadRedirect,
}

/// Whether a login may go from `current` to `next` (§11.12.3).
fn is_forward(current: Stage, next: Stage) -> bool {
    current < next && current != Stage::FullFeature
}

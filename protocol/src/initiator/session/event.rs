//! What goes between a session and its shell.

use std::time::Instant;

use crate::ids::{Lun, TaskId};
use crate::initiator::{Data, PeerError, Replay};
use crate::login::LoginError;
use crate::pdu::{LoginStatus, Residual};
use crate::scsi::{Sense, Status};

/// A command that the application wants done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Which logical unit.
    pub lun: Lun,
    /// The command descriptor block.
    pub cdb: [u8; 16],
    /// Its data. The shell holds the bytes until the request is over.
    pub data: Data,
    /// What may become of it when the connection is lost.
    pub replay: Replay,
    /// It is over by then, or soon after: see [`Outcome::TimedOut`].
    pub deadline: Instant,
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubmitError {
    /// As many are under way as the configuration allows.
    #[error("as many requests are under way as the session takes")]
    Full,
    /// The session has failed or was closed.
    #[error("the session is over")]
    Over,
}

/// What the shell must do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a connection, then call `handle_connected` or `handle_disconnected`.
    Connect {
        /// `host:port`. After a redirect it is the target's word: resolve it, do not trust it.
        address: String,
    },
    /// Drop the connection, or the attempt to make one. Nothing is to be told about it.
    Close {
        /// By reset, so that no byte of it reaches the target later; else in order.
        abort: bool,
    },
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'b> {
    /// Logged in to the same logical unit as before: the old nexus, if there was one, is gone.
    Up,
    /// A connection or an attempt has ended; another will be tried.
    Down {
        /// Why.
        reason: DownReason,
    },
    /// The session is over, against the application's will.
    Failed {
        /// Why.
        reason: FailReason,
    },
    /// The session is over, as the application wanted.
    Closed,
    /// A piece of a read's data. It is only good once the request is `Good`; it may come again.
    ReadData {
        /// Whose.
        task: TaskId,
        /// Where it belongs, from the start of the task's data.
        offset: u32,
        /// Never empty.
        bytes: &'b [u8],
    },
    /// A request is over.
    Done {
        /// Which.
        task: TaskId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The logical unit has something to tell: its capacity has changed, for example.
    Attention(Sense),
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Good {
        /// Bytes that came, of a read.
        received: u32,
        /// What the target says was left over or missing.
        residual: Residual,
    },
    /// The logical unit did not do it.
    Status {
        /// Why, in a word.
        status: Status,
        /// Why.
        sense: Option<Sense>,
    },
    /// The target did not do it: it refused the request's form, or has failed.
    Refused,
    /// The connection was lost and it must not be repeated: done, not done, or in part.
    Unknown,
    /// Its deadline has passed; done, not done, or in part. Nothing of it happens from now on:
    /// either it was aborted, or whatever is asked next waits for a new login.
    TimedOut,
    /// The session ended before it was sent: not done.
    NotSent,
}

/// Why a connection or an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DownReason {
    /// It could not be made, or the other end closed it.
    #[error("the connection was closed or could not be made")]
    Disconnected,
    /// It took too long to connect.
    #[error("no connection within the time for it")]
    ConnectTimeout,
    /// It took too long to log in.
    #[error("no login within the time for it")]
    LoginTimeout,
    /// The target did not answer a ping.
    #[error("the target is silent")]
    Silent,
    /// The target did not answer a request to abort, or would not.
    #[error("the target does not abort a task")]
    AbortFailed,
    /// The target asked for it.
    #[error("the target asked to log out")]
    Asked,
    /// The target broke the protocol.
    #[error("the target breaks the protocol: {0}")]
    Offence(#[from] PeerError),
    /// The login could not be carried on.
    #[error("login: {0}")]
    Login(#[from] LoginError),
    /// The logical unit has no time to say who it is.
    #[error("the logical unit is too busy to be identified")]
    Busy,
    /// Another logical unit is where ours was: nothing that was asked of ours is repeated.
    #[error("another volume is in the place of the one that was used")]
    AnotherUnit,
    /// The target refused the login.
    #[error("login refused: {0}")]
    Refused(LoginStatus),
    /// It sends us from one place to the next.
    #[error("too many redirections")]
    TooManyRedirects,
    /// It is not a failure: the target is elsewhere.
    #[error("redirected to {0}")]
    Redirected(String),
}

/// Why a session is over.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FailReason {
    /// No use in trying again.
    #[error(transparent)]
    Final(DownReason),
    /// Tried for as long as was allowed.
    #[error("given up: {0}")]
    GaveUp(DownReason),
}

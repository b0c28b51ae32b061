//! The load generator: raw sockets, one thread, everything that is there handled in one turn and
//! everything new sent at once. It must cost less for a request than any server, so that the server
//! is what is measured.
//!
//! What it measures is in [`Measured`]; [`run`] puts a load on one server.

mod engine;
mod histogram;
mod iscsi;
mod lane;
mod ledger;
mod nbd;
mod outbox;
mod slots;
mod url;
mod work;

use std::io;
use std::time::Duration;

use serde::Serialize;

pub use self::histogram::Histogram;
pub use self::iscsi::login::Terms;
pub use self::url::{BadUrl, IscsiUrl, NbdUrl, Url};
pub use self::work::{BadPattern, Pattern};
use outband_protocol::login::LoginError;

/// A load to put on a server.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub url: Url,
    /// What to ask for.
    pub pattern: Pattern,
    /// Bytes of a request: whole blocks.
    pub block_len: u32,
    /// Requests in flight, of each session.
    pub depth: u32,
    /// Sessions that are connected.
    pub sessions: u32,
    /// How many of them work; the others answer pings.
    pub active: u32,
    /// Bytes of the volume that are used; `None` is all of it.
    pub span: Option<u64>,
    /// How long to measure.
    pub time: Duration,
    /// How long to run before that.
    pub ramp: Duration,
    /// Stop once every place was asked for once: one sequential session fills or reads a volume.
    pub once: bool,
    /// Stamp what is written and check what is read.
    pub verify: bool,
    /// Never sleep.
    pub spin: bool,
    /// What the login asks for; iSCSI only.
    pub terms: Terms,
    /// Processes whose CPU is the servers'.
    pub servers: Vec<u32>,
}

/// Why a load did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server did not let us in.
    #[error("the server refused: {0}")]
    Refused(String),
    /// Its login cannot be believed.
    #[error("logging in")]
    Login(#[from] LoginError),
    /// The operating system says no.
    #[error("the connection failed")]
    Socket(#[from] io::Error),
    /// It does not fit together.
    #[error("{0}")]
    Load(String),
    /// A session broke.
    #[error("session {session}: {why}")]
    Broken {
        /// Which.
        session: usize,
        /// Why.
        why: String,
    },
}

/// What a load found.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// `randread` and the like.
    pub pattern: String,
    /// Bytes of a request.
    pub block_len: u32,
    /// Requests in flight, of each session.
    pub depth: u32,
    /// Sessions that were connected.
    pub sessions: u32,
    /// Those that worked.
    pub active: u32,
    /// How long was measured.
    pub seconds: f64,
    /// Answered while measuring.
    pub requests: u64,
    /// Of them, how many a second.
    pub iops: f64,
    /// MiB a second, both ways together.
    pub mib_s: f64,
    /// Half of all requests took no longer, in microseconds.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Requests over 50 ms.
    pub over_50_ms: u64,
    /// For each power of two: its upper end in microseconds, and how many.
    pub histogram: Vec<(f64, u64)>,
    /// Requests that the server failed.
    pub failed: u64,
    /// Reads of other bytes than were written, and wrong digests.
    pub wrong: u64,
    /// CPU of this process for a request, in microseconds.
    pub own_us: f64,
    /// CPU of the servers for a request, in microseconds.
    pub server_us: f64,
    /// CPU of the servers, in processors.
    pub server_cpus: f64,
    /// CPU that anybody else used or the hypervisor took, in processors.
    pub other_cpus: f64,
}

/// Puts `load` on its server and says what came of it.
pub fn run(load: &Load) -> Result<Measured, StartError> {
    match &load.url {
        Url::Iscsi(url) => {
            engine::run(load, |number| iscsi::login::connect(url, &load.terms, number))
        }
        Url::Nbd(url) => engine::run(load, |_| nbd::connect(url)),
    }
}

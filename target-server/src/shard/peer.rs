//! One TCP connection from its accept to the last completion that the kernel owes it.

use std::time::Instant;

use outband_protocol::login::target::{Identity, Login};
use outband_ring::Ring;

use super::conn::Conn;
use super::desk::Desk;
use super::token::{ConnKey, TargetKey};
use super::wire::Wire;
use crate::scsi::NexusId;

/// A connection in any phase of its life.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its name in this shard.
    pub(crate) key: ConnKey,
    /// The socket.
    pub(crate) wire: Wire,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// When it was accepted, for the login's deadline.
    pub(crate) opened: Instant,
    /// When it last sent anything.
    pub(crate) heard: Instant,
    /// We asked whether it is still there.
    pub(crate) pinged: bool,
    /// It has something to flush this turn.
    pub(crate) touched: bool,
}

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Logging in.
    Entering(Box<Login>),
    /// Waiting for its last send to end, to move to the shard of its target.
    Moving(Box<Knock>),
    /// At its target's shard, waiting for older sessions of the same host to drain.
    Waiting(Box<Knock>),
    /// Logged in.
    Inside(Box<Conn>),
    /// Told why not; it closes once that is sent.
    Refused,
    /// Closed; the kernel or a medium still has something of it.
    Leaving(Leaving),
}

/// A login that lacks only the final response.
#[derive(Debug)]
pub(crate) struct Knock {
    /// The protocol's side.
    pub(crate) login: Login,
    /// Who wants what.
    pub(crate) identity: Identity,
    /// Bytes received behind the last Login Request.
    pub(crate) leftover: Vec<u8>,
    /// Sessions that must be gone first.
    pub(crate) replaces: Vec<ConnKey>,
    /// When waiting for them is given up.
    pub(crate) deadline: Instant,
}

/// What is left of a connection that was closed.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// I/O that a medium still has.
    pub(crate) ios: u32,
    /// The session that ends with it.
    pub(crate) session: Option<Session>,
}

/// A session, as its target knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// What it is logged in to.
    pub(crate) target: TargetKey,
    /// As the logical unit knows it.
    pub(crate) nexus: NexusId,
    /// The initiator's name.
    pub(crate) host: String,
    /// The grant's epoch.
    pub(crate) epoch: u64,
}

impl Peer {
    /// A connection that has just been accepted.
    pub(crate) fn new(key: ConnKey, wire: Wire, phase: Phase, now: Instant) -> Self {
        Self { key, wire, phase, opened: now, heard: now, pinged: false, touched: false }
    }

    /// Closes the socket. What the kernel and the media have of it is waited for.
    pub(crate) fn leave<R: Ring>(&mut self, why: &dyn std::fmt::Display, desk: &mut Desk<R>) {
        let leaving = match &mut self.phase {
            Phase::Leaving(_) => return,
            Phase::Inside(conn) => {
                tracing::info!(peer = %self.wire.peer, host = %conn.host, %why, "session ended");
                conn.release(desk);
                Leaving { ios: conn.ios, session: conn.session() }
            }
            _ => {
                tracing::info!(peer = %self.wire.peer, %why, "connection closed");
                Leaving { ios: 0, session: None }
            }
        };
        self.phase = Phase::Leaving(leaving);
        desk.ring.close(self.wire.fd());
    }

    /// Whether nobody has anything of it any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Leaving(Leaving { ios: 0, .. })) && self.wire.is_still()
    }

    /// The session, also while it ends.
    pub(crate) fn session(&self) -> Option<Session> {
        match &self.phase {
            Phase::Inside(conn) => conn.session(),
            Phase::Leaving(leaving) => leaving.session.clone(),
            _ => None,
        }
    }
}

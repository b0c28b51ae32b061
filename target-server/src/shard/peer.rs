//! One TCP connection from its accept to the last completion that the kernel owes it.

use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use outband_protocol::ids::{TaskId, Tsih};
use outband_protocol::login::target::{Identity, Login};
use outband_ring::{Errno, Ring};

use super::conn::Conn;
use super::desk::Desk;
use super::order::Turn;
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
    /// The portal group that it came to.
    pub(crate) group: u16,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// When it was accepted, for the login's deadline.
    pub(crate) opened: Instant,
    /// When it last sent anything.
    pub(crate) heard: Instant,
    /// When we asked whether it is still there, if it has not said anything since.
    pub(crate) pinged: Option<Instant>,
    /// Since when task management waits for the initiator.
    pub(crate) held: Option<Instant>,
    /// It has something to flush this turn.
    pub(crate) touched: bool,
}

/// Why nothing more comes by a connection: its end of the stream, or what the kernel says.
pub(super) struct Lost(pub(super) Option<Errno>);

impl Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("the initiator closed the connection"),
            Some(errno) => write!(f, "the connection was lost: {errno}"),
        }
    }
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
    /// The session that goes on with this connection.
    pub(crate) continues: Option<Continues>,
    /// Sessions that must be gone first.
    pub(crate) replaces: Vec<ConnKey>,
    /// When waiting for them is given up.
    pub(crate) deadline: Instant,
}

/// A session whose connection is replaced by another one (§6.3.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Continues {
    /// What it is logged in to.
    pub(crate) target: TargetKey,
    /// As the logical unit goes on knowing it.
    pub(crate) nexus: NexusId,
    /// Its handle.
    pub(crate) tsih: Tsih,
}

impl Knock {
    /// It comes to nothing: a session that was to go on with it is over.
    pub(crate) fn give_up<R: Ring>(&mut self, desk: &mut Desk<R>) {
        if let Some(Continues { target, nexus, .. }) = self.continues.take()
            && let Some(target) = desk.targets.get_mut(target)
        {
            target.lu.detach(nexus);
        }
    }
}

/// What is left of a connection that was closed.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// I/O that a medium still has.
    pub(crate) ios: u32,
    /// Turns of those commands, in the task set of the session's target.
    pub(crate) turns: Vec<(TaskId, Turn)>,
    /// The session that ends with it.
    pub(crate) session: Option<Session>,
    /// The session goes on with another connection.
    pub(crate) goes_on: bool,
    /// Last words are on their way: the socket is closed once they are sent, or then.
    pub(crate) closes_by: Option<Instant>,
}

/// Last words that the socket does not take within this are not waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Leaving {
    /// Of a connection that had no session yet, or has moved on.
    pub(crate) const fn nothing() -> Self {
        Self { ios: 0, turns: Vec::new(), session: None, goes_on: false, closes_by: None }
    }
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
    pub(crate) fn new(key: ConnKey, wire: Wire, group: u16, phase: Phase, now: Instant) -> Self {
        let (opened, heard, pinged, held, touched) = (now, now, None, None, false);
        Self { key, wire, group, phase, opened, heard, pinged, held, touched }
    }

    /// What waits for the initiator is due, perhaps, without a word of it.
    pub(crate) fn look_again<R: Ring>(&mut self, desk: &mut Desk<R>) {
        let Phase::Inside(conn) = &mut self.phase else {
            return;
        };
        let mut nothing: &[u8] = &[];
        if let Err(ending) = conn.on_bytes(&mut nothing, desk) {
            self.leave(&ending, desk);
        }
    }

    /// Closes the socket. What the kernel and the media have of it is waited for.
    pub(crate) fn leave<R: Ring>(&mut self, why: &dyn Display, desk: &mut Desk<R>) {
        match &mut self.phase {
            Phase::Leaving(leaving) => {
                if leaving.closes_by.take().is_none() {
                    return;
                }
            }
            Phase::Inside(_) => self.end_session(why, desk),
            phase => {
                tracing::info!(peer = %self.wire.peer, %why, "connection closed");
                if let Phase::Waiting(knock) = phase {
                    knock.give_up(desk);
                }
                self.phase = Phase::Leaving(Leaving::nothing());
            }
        }
        desk.ring.close(self.wire.fd());
    }

    /// Ends the session at once and tells the initiator so: the target drops its connection, or the
    /// session for good (§11.9.1, events 2 and 3).
    pub(crate) fn dismiss<R: Ring>(
        &mut self,
        why: &dyn Display,
        for_good: bool,
        desk: &mut Desk<R>,
    ) {
        let Phase::Inside(conn) = &mut self.phase else {
            return self.leave(why, desk);
        };
        conn.end_tasks(desk);
        conn.core.announce_drop(for_good);
        conn.flush(&mut self.wire, desk);
        self.end_session(why, desk);
        if let Phase::Leaving(leaving) = &mut self.phase {
            leaving.closes_by = Some(desk.now + LAST_WORDS);
        }
        self.close_when_sent(desk);
    }

    /// Closes the socket once the last words are out.
    pub(crate) fn close_when_sent<R: Ring>(&mut self, desk: &mut Desk<R>) {
        let Phase::Leaving(Leaving { closes_by: Some(deadline), .. }) = self.phase else {
            return;
        };
        if self.wire.is_drained() || desk.now >= deadline {
            self.leave(&"said good-bye", desk);
        } else {
            self.wire.send(desk);
        }
    }

    fn end_session<R: Ring>(&mut self, why: &dyn Display, desk: &mut Desk<R>) {
        let Phase::Inside(conn) = &mut self.phase else {
            return;
        };
        tracing::info!(peer = %self.wire.peer, host = %conn.host, %why, "session ended");
        let turns = conn.release(desk);
        desk.hungry.retain(|waits| waits.conn != self.key);
        desk.slotless.retain(|(of, _)| *of != self.key);
        if let Some(target) = conn.target.and_then(|target| desk.targets.get_mut(target)) {
            target.tally.past.add(&conn.counts);
        }
        let (ios, session, goes_on) = (conn.ios, conn.session(), conn.goes_on);
        self.phase = Phase::Leaving(Leaving { ios, turns, session, goes_on, closes_by: None });
    }

    /// Whether nobody has anything of it any more.
    pub(crate) fn is_gone(&self) -> bool {
        let over = matches!(self.phase, Phase::Leaving(Leaving { ios: 0, closes_by: None, .. }));
        over && self.wire.is_still()
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

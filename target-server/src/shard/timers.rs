//! The next deadline of everything on this core. Nothing here needs to be exact: one look a second
//! at every connection, and none at all while there is no connection.

use std::time::{Duration, Instant};

use outband_ring::Ring;

use super::Shard;
use super::peer::Phase;
use super::token::ConnKey;

/// How often connections are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A ping is waited for this many times as long as a quiet session is left alone. Programs that look
/// after their connection only while they use it, as those made with libiscsi do, may well sleep for
/// a minute; to lose the session would cost them what they had reserved.
const PATIENCE: u32 = 4;

/// Task management waits this long for data that R2Ts have asked for, and for acknowledgements (RFC
/// 7143 §4.2.3.3, §11.6.1). Initiators that send nothing more for tasks which they end, as Linux by
/// default, would be waited for in vain; they give a function up after 15 seconds and more.
const FUNCTION_WAIT: Duration = Duration::from_secs(2);

/// When the next look is due.
#[derive(Debug)]
pub(crate) struct Timers {
    next: Instant,
}

impl Timers {
    /// The first look is a tick from now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { next: now + TICK }
    }
}

impl<R: Ring> Shard<R> {
    /// How long the ring may wait. A shard without connections sleeps until something comes.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.cut_short || !self.unread.is_empty() || self.desk.has_postponed() {
            return Some(Duration::ZERO);
        }
        if self.peers.is_empty() && !self.desk.is_sanitizing() {
            return None;
        }
        Some(self.timers.next.saturating_duration_since(self.desk.ring.now()))
    }

    /// Looks at every connection when that is due.
    pub(super) fn check_timers(&mut self) {
        let now = self.desk.now;
        if now < self.timers.next {
            return;
        }
        self.timers.next = now + TICK;
        self.sanitize_on();
        for key in self.peers.keys().collect::<Vec<_>>() {
            self.check_entrance(key, now);
            self.check_functions(key, now);
            self.check_session(key, now);
        }
    }

    /// Carries out the functions of an initiator that leaves them waiting for too long.
    fn check_functions(&mut self, key: ConnKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Phase::Inside(conn) = &mut peer.phase else {
            return;
        };
        if !conn.core.waits_for_peer() {
            peer.held = None;
            return;
        }
        let waited = now.duration_since(*peer.held.get_or_insert(now));
        if waited >= FUNCTION_WAIT {
            conn.core.wait_no_longer();
            peer.held = None;
            peer.look_again(&mut self.desk);
            self.touch(key);
        }
    }

    /// A quiet session gives its large buffer back, is pinged, and in the end is taken for dead.
    fn check_session(&mut self, key: ConnKey, now: Instant) {
        let ping_after = self.desk.settings.ping_after;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Phase::Inside(conn) = &mut peer.phase else {
            peer.close_when_sent(&mut self.desk);
            return self.remove_if_gone(key);
        };
        if conn.leave_by.is_some_and(|deadline| now >= deadline) {
            peer.dismiss(&"the initiator did not log out", false, &mut self.desk);
            return self.remove_if_gone(key);
        }
        let quiet = now.duration_since(peer.heard);
        if quiet >= TICK {
            peer.wire.shrink(&mut self.desk);
        }
        match peer.pinged {
            // Counted from the ping and not from the last word: a look may come late.
            Some(at) if now.duration_since(at) >= ping_after * PATIENCE => {
                peer.leave(&"the initiator does not answer", &mut self.desk);
                self.remove_if_gone(key);
            }
            // Nothing but answers is sent in one (RFC 7143 §7.4.3).
            None if quiet >= ping_after && conn.target.is_none() => {
                peer.leave(&"the discovery session asks nothing", &mut self.desk);
                self.remove_if_gone(key);
            }
            None if quiet >= ping_after => {
                conn.core.ping();
                peer.pinged = Some(now);
                self.touch(key);
            }
            _ => {}
        }
    }
}

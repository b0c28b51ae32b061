//! Notices that a target no longer answers: silence, a ping, more silence.

use std::time::Instant;

use super::Timing;

#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    heard: Instant,
    pinged: Option<Instant>,
}

/// What the silence asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    Bearable,
    Ping,
    Dead,
}

impl Keepalive {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, pinged: None }
    }

    /// Any byte shows that the target lives.
    pub(super) fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    pub(super) fn due(&self, timing: &Timing) -> Instant {
        match self.pinged {
            None => self.heard + timing.keepalive_interval,
            Some(pinged) => pinged + timing.keepalive_timeout,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, timing: &Timing) -> Silence {
        if now < self.due(timing) {
            return Silence::Bearable;
        }
        if self.pinged.is_some() {
            return Silence::Dead;
        }
        self.pinged = Some(now);
        Silence::Ping
    }
}

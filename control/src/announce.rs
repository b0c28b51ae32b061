//! How a unit announces itself: STARTUP with growing pauses until the station has heard it, then ALIVE
//! every second, and SHUTDOWN at the end. Time and randomness come in; `driver.rs` has the
//! socket.

pub mod driver;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use outband_protocol::announce::{
    BadDatagram, Datagram, Envelope, Key, Load, Message, Refusal, Startup,
};
use uuid::Uuid;

/// Between two ALIVEs. The station suspects a unit after three missed ones.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// Pause after the first STARTUP; doubled by each further one.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause between two STARTUPs.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// An answer may be as many datagrams late.
const ANSWER_LAG_MAX: u64 = 16;

/// The announcing machine of one unit in one incarnation.
#[derive(Debug)]
pub struct Announcer {
    unit: Uuid,
    incarnation: u64,
    /// Of the last datagram that went out.
    sequence: u64,
    startup: Startup,
    key: Key,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not heard yet.
    Announcing { attempts: u32, at: Instant },
    /// Heard.
    Known { alive_at: Instant },
}

/// What the station has said, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It knows the unit, and is going to ask for its inventory.
    NeedInfo,
    /// It knows the unit; an operator has to approve it.
    Pending,
    /// It has lost sight of this incarnation; the unit announces itself again.
    AnnounceAgain,
    /// It does not take the unit's datagrams. The unit keeps trying.
    Refused(Refusal),
}

impl Announcer {
    /// A machine whose first STARTUP is due `now`. `incarnation` is higher than any before.
    ///
    /// # Errors
    /// When a field of `startup` does not fit into a datagram; says which.
    pub fn new(
        unit: Uuid,
        incarnation: u64,
        startup: Startup,
        key: Key,
        now: Instant,
    ) -> Result<Self, BadDatagram> {
        let state = State::Announcing { attempts: 0, at: now };
        let announcer = Self { unit, incarnation, sequence: 0, startup, key, state };
        announcer
            .datagram(Message::Startup(announcer.startup.clone()))
            .build(Some(&announcer.key))?;
        Ok(announcer)
    }

    /// Whether the station has not heard this unit yet.
    #[must_use]
    pub fn is_announcing(&self) -> bool {
        matches!(self.state, State::Announcing { .. })
    }

    /// Seals by `key` from now on: the station has enrolled this unit.
    pub fn set_key(&mut self, key: Key) {
        self.key = key;
    }

    /// Takes what has come from the station. What is forged, replayed or not for this unit is as if
    /// it had not come.
    pub fn handle_datagram(&mut self, bytes: &[u8], now: Instant) -> Option<Heard> {
        let envelope = Envelope::parse(bytes).ok()?;
        let (incarnation, sequence) = envelope.number();
        let lag = self.sequence.checked_sub(sequence)?;
        if envelope.unit() != self.unit.into_bytes()
            || incarnation != self.incarnation
            || lag >= ANSWER_LAG_MAX
        {
            return None;
        }
        if let Some(refusal) = envelope.refusal() {
            self.announce_again(now);
            return Some(Heard::Refused(refusal));
        }
        match envelope.open(&self.key).ok()?.message {
            Message::NeedInfo => {
                self.be_known(now);
                Some(Heard::NeedInfo)
            }
            Message::Pending => {
                self.be_known(now);
                Some(Heard::Pending)
            }
            Message::AnnounceAgain => {
                self.announce_again(now);
                Some(Heard::AnnounceAgain)
            }
            _ => None,
        }
    }

    fn be_known(&mut self, now: Instant) {
        if self.is_announcing() {
            self.state = State::Known { alive_at: now + ALIVE_EVERY };
        }
    }

    /// A unit that is announcing goes on doing so at its own pace: an answer must not speed it up.
    fn announce_again(&mut self, now: Instant) {
        if !self.is_announcing() {
            self.state = State::Announcing { attempts: 0, at: now + PAUSE_MIN };
        }
    }

    /// The datagram that is due at `now`, if one is. `random` spreads the STARTUPs of units that were
    /// all started by the same power coming back.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        random: u32,
        load: impl FnOnce() -> Load,
    ) -> Option<Vec<u8>> {
        if now < self.poll_timeout() {
            return None;
        }
        let message = match &mut self.state {
            State::Announcing { attempts, at } => {
                *at = now + pause(*attempts, random);
                *attempts += 1;
                Message::Startup(self.startup.clone())
            }
            State::Known { alive_at } => {
                *alive_at = now + ALIVE_EVERY;
                Message::Alive(load())
            }
        };
        Some(self.send(message))
    }

    /// When [`Self::poll_transmit`] has something next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        match self.state {
            State::Announcing { at, .. } => at,
            State::Known { alive_at } => alive_at,
        }
    }

    /// A SHUTDOWN. Nothing answers it: a few are sent, each with its own number.
    pub fn shutdown(&mut self) -> Vec<u8> {
        self.send(Message::Shutdown)
    }

    fn send(&mut self, message: Message) -> Vec<u8> {
        self.sequence += 1;
        self.datagram(message).build(Some(&self.key)).expect("`new` has built the largest of them")
    }

    fn datagram(&self, message: Message) -> Datagram {
        let (incarnation, sequence) = (self.incarnation, self.sequence);
        Datagram { unit: self.unit.into_bytes(), incarnation, sequence, message }
    }
}

/// Between half and all of the pause that belongs to this attempt.
fn pause(attempts: u32, random: u32) -> Duration {
    let full = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(attempts)).min(PAUSE_MAX);
    full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

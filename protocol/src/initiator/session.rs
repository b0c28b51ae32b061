//! A session that lasts: connects, logs in, works, and when its connection is lost makes itself
//! anew and goes on with what can be repeated.
//!
//! It keeps its ISID and logs in with TSIH 0, so the target ends whatever was left of the old nexus
//! before the new login succeeds (§6.3.5). Commands are repeated only after that: a write of the
//! old connection cannot land on top of a newer one. Before that, too, the logical unit is asked who
//! it is, and another one than before ends the session.
//!
//! The shell drains after every call: [`Action`]s first, then events, then transmits, until there
//! is none of either. A connection is closed before the application learns that a request of it
//! is over. Time and randomness are arguments.

mod arrival;
mod config;
mod event;
mod identity;
mod keepalive;
mod portals;
mod requests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::arrival::slots;
pub use self::config::{Config, Timing};
pub use self::event::{Action, DownReason, Event, FailReason, Outcome, Request, SubmitError};
use self::identity::Probe;
use self::keepalive::{Keepalive, Silence};
use self::portals::Portals;
use self::requests::{Phase, Requests};
use super::incoming::{ConnEvent, End, is_gone};
use super::{Conn, Data, Placement, SLOTS_MAX, Terms};
use crate::ids::TaskId;
use crate::login::initiator as login;
use crate::pdu::{AsyncEvent, AsyncMessage, LoginStatus};
use crate::scsi::inquiry::Name;
use crate::scsi::sense::SenseKey;
use crate::scsi::{Sense, Status};
use crate::transmit::Transmit;

/// Unit attentions one request may meet before it is answered with the next one.
const ATTENTIONS_MAX: u8 = 8;

/// By reset: what is on its way must not reach the target after the next login.
const RESET: Option<Action> = Some(Action::Close { abort: true });

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Connecting { give_up: Instant },
    LoggingIn { login: Box<login::Login>, give_up: Instant },
    Identifying { conn: Box<Conn>, group: Option<u16>, probe: Box<Probe>, give_up: Instant },
    Up(Box<Conn>),
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    portals: Portals,
    requests: Requests,
    keepalive: Keepalive,
    news: VecDeque<Event<'static>>,
    actions: VecDeque<Action>,
    was_up: bool,
    /// Target portal group of the last login.
    group: Option<u16>,
    /// The names that the logical unit is known by, once it has told.
    identity: Vec<Name>,
    /// Since when there is no session.
    down_since: Instant,
    last_reason: DownReason,
    /// A logout is due when what is under way is over, or at this time.
    leaving: Option<Instant>,
    /// The target wants it: no new commands.
    asked: bool,
    /// The application wants it: all requests come first.
    closing: bool,
}

impl Session {
    /// Wants to connect at once.
    ///
    /// # Panics
    ///
    /// When the configuration has no portal.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        let mut session = Self {
            portals: Portals::new(config.portals.clone(), config.seed),
            requests: Requests::new(slots(&config)),
            config,
            state: State::Over,
            keepalive: Keepalive::new(now),
            news: VecDeque::new(),
            actions: VecDeque::new(),
            was_up: false,
            group: None,
            identity: Vec::new(),
            down_since: now,
            last_reason: DownReason::Disconnected,
            leaving: None,
            asked: false,
            closing: false,
        };
        session.connect(now);
        session
    }

    /// Takes a request. It is sent when the window and the connection allow.
    pub fn submit(&mut self, request: Request) -> Result<TaskId, SubmitError> {
        if self.closing || matches!(self.state, State::Over) {
            return Err(SubmitError::Over);
        }
        self.requests.add(request).ok_or(SubmitError::Full)
    }

    /// Logs out when what is under way is over. Requests are not taken any more.
    pub fn close(&mut self, now: Instant) {
        if self.closing || matches!(self.state, State::Over) {
            return;
        }
        self.closing = true;
        if let State::Up(_) = self.state {
            self.leaving = Some(now + self.config.timing.replacement);
            self.leave(now);
        } else {
            self.drop_attempt();
            self.end(Event::Closed);
        }
    }

    /// Whether a session stands.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The shell has connected. `entropy` is new and not to be guessed: it makes the challenge for
    /// a target that must prove itself.
    pub fn handle_connected(&mut self, now: Instant, entropy: [u8; 32]) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        let challenge = (entropy[0], entropy[1..].to_vec());
        let config = login::Config { challenge, ..self.config.login.clone() };
        let login = Box::new(login::Login::new(config));
        self.state = State::LoggingIn { login, give_up: now + self.config.timing.login };
    }

    /// The connection was lost, or could not be made.
    pub fn handle_disconnected(&mut self, now: Instant) {
        if !matches!(self.state, State::Waiting { .. } | State::Over) {
            self.lose(DownReason::Disconnected, None, now);
        }
    }

    /// The next event, from `input` or from what happened otherwise; `None` when more bytes are
    /// needed. All of `input` is taken when the session does not want it.
    pub fn next_event<'b>(&mut self, input: &mut &'b [u8], now: Instant) -> Option<Event<'b>> {
        if !input.is_empty() {
            self.keepalive.heard(now);
        }
        loop {
            if let Some(event) = self.news.pop_front() {
                return Some(event);
            }
            match &mut self.state {
                State::LoggingIn { login, .. } => match login.next_event(input) {
                    Ok(None) => return None,
                    Ok(Some(event)) => self.on_login(event, now),
                    Err(error) => self.lose(DownReason::Login(error), RESET, now),
                },
                State::Identifying { conn, probe, .. } => match conn.next_event(input) {
                    Ok(None) => return None,
                    Ok(Some(event)) => {
                        let answer = probe.on_event(&event);
                        self.on_answer(answer, now);
                    }
                    Err(error) => self.lose(DownReason::Offence(error), RESET, now),
                },
                State::Up(conn) => match conn.next_event(input) {
                    Ok(None) => return None,
                    Ok(Some(event)) => {
                        if let Some(event) = self.on_conn_event(event, now) {
                            return Some(event);
                        }
                    }
                    Err(error) => self.lose(DownReason::Offence(error), RESET, now),
                },
                State::Waiting { .. } | State::Connecting { .. } | State::Over => {
                    *input = &[];
                    return None;
                }
            }
        }
    }

    /// Where the next bytes belong, when the stream stands in a read's data: the shell may receive
    /// them there itself.
    #[must_use]
    pub fn placement(&self) -> Option<Placement> {
        match &self.state {
            State::Up(conn) => conn.placement(),
            _ => None,
        }
    }

    /// The shell has received `bytes` to where [`placement`](Self::placement) said.
    ///
    /// # Panics
    ///
    /// When there is no placement, or `bytes` are more than it allows.
    pub fn placed(&mut self, bytes: &[u8], now: Instant) {
        self.keepalive.heard(now);
        let State::Up(conn) = &mut self.state else {
            panic!("bytes were placed while no session stands");
        };
        conn.placed(bytes);
    }

    /// The next PDU to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        match &mut self.state {
            State::LoggingIn { login, .. } => login.poll_transmit(),
            State::Identifying { conn, probe, .. } => {
                probe.start(conn);
                conn.poll_transmit()
            }
            State::Up(_) => {
                self.start_ready();
                match &mut self.state {
                    State::Up(conn) => conn.poll_transmit(),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What the shell must do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call `handle_timeout`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Waiting { until } => Some(*until),
            State::Connecting { give_up }
            | State::LoggingIn { give_up, .. }
            | State::Identifying { give_up, .. } => Some(*give_up),
            State::Up(_) => {
                let silence = self.keepalive.due(&self.config.timing);
                Some(self.leaving.map_or(silence, |leave| leave.min(silence)))
            }
            State::Over => return None,
        };
        [state, self.patience_end(), self.requests.wake()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_requests(now);
        match &self.state {
            State::Waiting { until } if *until <= now => self.connect(now),
            State::Connecting { give_up } if *give_up <= now => {
                self.lose(DownReason::ConnectTimeout, RESET, now);
            }
            State::LoggingIn { give_up, .. } | State::Identifying { give_up, .. }
                if *give_up <= now =>
            {
                self.lose(DownReason::LoginTimeout, RESET, now);
            }
            State::Up(_) => self.watch(now),
            _ => {}
        }
        if self.patience_end().is_some_and(|end| end <= now) {
            self.drop_attempt();
            self.end(Event::Failed { reason: FailReason::GaveUp(self.last_reason.clone()) });
        }
    }

    fn drop_attempt(&mut self) {
        let idle = matches!(self.state, State::Waiting { .. } | State::Up(_) | State::Over);
        if !idle {
            self.actions.extend(RESET);
        }
    }

    /// When a session that does not stand is given up.
    fn patience_end(&self) -> Option<Instant> {
        let timing = &self.config.timing;
        let patience = if self.was_up { timing.replacement } else { timing.first_login };
        match self.state {
            State::Up(_) | State::Over => None,
            _ => Some(self.down_since + patience),
        }
    }

    fn watch(&mut self, now: Instant) {
        let State::Up(conn) = &mut self.state else {
            return;
        };
        match self.keepalive.handle_timeout(now, &self.config.timing) {
            Silence::Bearable => {}
            Silence::Ping => conn.ping(),
            Silence::Dead => return self.lose(DownReason::Silent, RESET, now),
        }
        if self.leaving.is_some_and(|leave| leave <= now) {
            self.lose(DownReason::Asked, RESET, now);
        }
    }

    fn expire_requests(&mut self, now: Instant) {
        for task in self.requests.due(now) {
            // An earlier one of these may have cost the connection, and changed the others.
            let Some(slot) = self.requests.find(task) else {
                continue;
            };
            match slot.phase {
                Phase::Resting { .. } if slot.request.deadline > now => {
                    self.requests.set(task, Phase::Ready);
                }
                Phase::Sent => self.abort(task, now),
                Phase::Aborting { .. } => self.lose(DownReason::AbortFailed, RESET, now),
                Phase::Ready | Phase::Resting { .. } => {
                    self.requests.remove(task);
                    self.news.push_back(Event::Done { task, outcome: Outcome::TimedOut });
                    // It may have been the last that a logout waited for.
                    self.leave(now);
                }
                Phase::Free => {}
            }
        }
    }

    /// The deadline of a request that the target has is over. Only when the target has let go of
    /// it, or is cut off, is the application told: nothing of it may happen after that.
    fn abort(&mut self, task: TaskId, now: Instant) {
        let State::Up(conn) = &mut self.state else {
            return;
        };
        if conn.abort(task).is_err() {
            return self.lose(DownReason::AbortFailed, RESET, now);
        }
        let give_up = now + self.config.timing.abort;
        self.requests.set(task, Phase::Aborting { give_up });
    }

    fn connect(&mut self, now: Instant) {
        self.state = State::Connecting { give_up: now + self.config.timing.connect };
        let address = self.portals.address().to_owned();
        self.actions.push_back(Action::Connect { address });
    }

    fn start_ready(&mut self) {
        let State::Up(conn) = &mut self.state else {
            return;
        };
        while !self.asked && conn.window() > 0 {
            let Some((task, command)) = self.requests.next_ready() else {
                return;
            };
            match command.map(|command| conn.start(task, &command)) {
                Some(Ok(())) => {}
                // The slot is still taken in the connection: it waits for what frees it.
                Some(Err(_)) => return self.requests.set(task, Phase::Ready),
                None => {
                    self.requests.remove(task);
                    self.news.push_back(Event::Done { task, outcome: Outcome::Unknown });
                }
            }
        }
    }

    fn on_conn_event<'b>(&mut self, event: ConnEvent<'b>, now: Instant) -> Option<Event<'b>> {
        match event {
            ConnEvent::ReadData { task, offset, bytes } => {
                Some(Event::ReadData { task, offset, bytes })
            }
            ConnEvent::Done { task, end } => self.on_end(task, &end, now),
            ConnEvent::Aborted { task, result } => {
                let phase = self.requests.find(task).map(|slot| slot.phase)?;
                if !matches!(phase, Phase::Aborting { .. }) {
                    return None;
                }
                if !is_gone(result) {
                    self.lose(DownReason::AbortFailed, RESET, now);
                    return None;
                }
                self.finish(task, Outcome::TimedOut, now)
            }
            ConnEvent::LoggedOut { .. } => {
                self.lose(DownReason::Asked, Some(Action::Close { abort: false }), now);
                None
            }
            ConnEvent::Notice { message, sense } => self.on_notice(&message, sense, now),
            ConnEvent::Pong | ConnEvent::Text(_) => None,
        }
    }

    /// A command has ended on its connection; whether the request is over is decided here.
    fn on_end<'b>(&mut self, task: TaskId, end: &End, now: Instant) -> Option<Event<'b>> {
        let slot = self.requests.find(task)?;
        let aborting = matches!(slot.phase, Phase::Aborting { .. });
        let reads = matches!(slot.request.data, Data::In(_));
        let End::Status { status, sense, received, residual } = *end else {
            return self.finish(task, Outcome::Refused, now);
        };
        let Some(status) = Status::from_code(status) else {
            return self.finish(task, Outcome::Refused, now);
        };
        match (status, sense) {
            (Status::Good | Status::ConditionMet, _) => {
                self.portals.on_success();
                self.requests.overtake(task);
                // The data of a task that is being aborted was not passed on.
                let missed = aborting && reads;
                let good = Outcome::Good { received, residual };
                self.finish(task, if missed { Outcome::TimedOut } else { good }, now)
            }
            (Status::CheckCondition, Some(sense))
                if is_passing(&sense) && slot.attentions < ATTENTIONS_MAX && !aborting =>
            {
                slot.attentions += 1;
                self.requests.set(task, Phase::Ready);
                self.leave(now);
                Some(Event::Attention(sense))
            }
            (Status::Busy | Status::TaskSetFull, _) if !aborting => {
                slot.refusals = slot.refusals.saturating_add(1);
                let until = now + self.rest(task);
                self.requests.set(task, Phase::Resting { until });
                self.leave(now);
                None
            }
            (status, sense) => self.finish(task, Outcome::Status { status, sense }, now),
        }
    }

    /// How long to leave a busy target alone.
    fn rest(&mut self, task: TaskId) -> Duration {
        let refusals = self.requests.find(task).map_or(0, |slot| slot.refusals);
        let doubled = self.config.timing.busy_first.saturating_mul(1 << refusals.min(6));
        doubled / 2 + (doubled / 2).mul_f64(self.portals.random_fraction())
    }

    fn finish<'b>(&mut self, task: TaskId, outcome: Outcome, now: Instant) -> Option<Event<'b>> {
        self.requests.remove(task);
        self.leave(now);
        Some(Event::Done { task, outcome })
    }

    fn on_notice<'b>(
        &mut self,
        message: &AsyncMessage,
        sense: Option<Sense>,
        now: Instant,
    ) -> Option<Event<'b>> {
        match message.event {
            AsyncEvent::Scsi => return sense.map(Event::Attention),
            AsyncEvent::LogoutRequested | AsyncEvent::Renegotiate => {
                let most = Duration::from_secs(message.parameters[2].into());
                let leave = now + most.clamp(Duration::from_secs(1), self.config.timing.login);
                self.leaving = Some(self.leaving.map_or(leave, |earlier| earlier.min(leave)));
                self.asked = true;
                self.leave(now);
            }
            AsyncEvent::ConnectionDropped | AsyncEvent::SessionDropped => {
                self.lose(DownReason::Asked, RESET, now);
            }
            AsyncEvent::TasksTerminated | AsyncEvent::Vendor | AsyncEvent::Unknown(_) => {}
        }
        None
    }

    /// Logs out once nothing is under way, if that is wanted.
    fn leave(&mut self, now: Instant) {
        let State::Up(conn) = &mut self.state else {
            return;
        };
        let idle = if self.asked {
            self.requests.in_flight() == 0
        } else {
            self.closing && self.requests.is_empty()
        };
        if !idle {
            return;
        }
        if conn.log_out() {
            self.leaving = Some(now + self.config.timing.logout);
        }
    }

    /// The connection, or the attempt to make one, is over; `close` says how the shell drops it.
    fn lose(&mut self, reason: DownReason, close: Option<Action>, now: Instant) {
        let was_up = matches!(self.state, State::Up(_));
        self.actions.extend(close);
        let news = &mut self.news;
        self.requests.on_lost(|task, aborting| {
            let outcome = if aborting { Outcome::TimedOut } else { Outcome::Unknown };
            news.push_back(Event::Done { task, outcome });
        });
        self.leaving = None;
        self.asked = false;
        if self.closing {
            return self.end(Event::Closed);
        }
        let timing = self.config.timing;
        let delay = if was_up {
            self.down_since = now;
            self.portals.on_lost(&timing)
        } else {
            self.portals.on_failure(&timing)
        };
        self.last_reason = reason.clone();
        if self.is_final(&reason) {
            return self.end(Event::Failed { reason: FailReason::Final(reason) });
        }
        self.state = State::Waiting { until: now + delay };
        self.news.push_back(Event::Down { reason });
    }

    /// Whether trying again is of no use. Before the first login an operator waits for the answer,
    /// so what can only be a mistake is told at once; after it a target may be on its way back.
    fn is_final(&self, reason: &DownReason) -> bool {
        match reason {
            DownReason::Refused(status) if status.class == 2 => {
                let passing = [LoginStatus::NOT_FOUND, LoginStatus::TOO_MANY_CONNECTIONS];
                !(self.was_up && passing.contains(status))
            }
            DownReason::Refused(_) | DownReason::Busy => false,
            DownReason::AnotherUnit => true,
            _ => !self.was_up && self.portals.all_failed(),
        }
    }

    fn end(&mut self, last: Event<'static>) {
        self.state = State::Over;
        let news = &mut self.news;
        self.requests.clear(|task, maybe_done| {
            let outcome = if maybe_done { Outcome::Unknown } else { Outcome::NotSent };
            news.push_back(Event::Done { task, outcome });
        });
        self.news.push_back(last);
    }
}

/// Conditions that say something about the logical unit and nothing against the command: it was not
/// executed and can be sent again. Changes of reservations are for the application (SPC-4 §5.13).
fn is_passing(sense: &Sense) -> bool {
    sense.key == SenseKey::UnitAttention && !matches!((sense.asc, sense.ascq), (0x2a, 0x03..=0x05))
}

#[cfg(test)]
mod tests;

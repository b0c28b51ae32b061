//! The target's side of a connection in full feature phase.
//!
//! [`Conn::next_event`] takes the peer's stream apart into [`Event`]s, the plain verbs say what
//! came of them, and [`Conn::poll_transmit`] hands out what is to be sent. Data is named, never
//! held. Read on in the order of a command: `window`, `tasks`, `write`, `read`, `outbox`.

mod error;
mod event;
mod manage;
mod outbox;
mod ping;
mod read;
mod request;
mod tasks;
mod text;
mod window;
mod write;

use std::collections::VecDeque;

pub use self::error::PeerError;
pub use self::event::{Command, DataFault, Event, Manage, Outcome, Placement, Targets};
use self::manage::Managing;
use self::outbox::{Due, Outbox, Reply};
use self::ping::Pings;
use self::tasks::{State, Tasks};
use self::text::Exchange;
use self::window::Window;
use crate::Transmit;
use crate::framer::{Frame, Framer};
use crate::ids::{Itt, TaskId, Tsih};
use crate::keys::{Params, SessionType};
use crate::limits::OUTSTANDING_R2T_MAX;
use crate::login::target::{Admitted, Identity};
use crate::pdu::{Bhs, LogoutResult, NopOut, TextRequest};
use crate::seeded::{self, Bug};
use crate::serial::Sn;
use crate::transmit::Digests;

/// A connection after its login. Drain events and transmits after each call.
#[derive(Debug)]
pub struct Conn {
    params: Params,
    identity: Identity,
    tsih: Tsih,
    terms: Terms,
    /// The last Login Response.
    first: Option<Transmit>,
    framer: Framer,
    /// What the PDU under the framer is.
    reading: Reading,
    /// Its header, for a Reject.
    header: Bhs,
    window: Window,
    tasks: Tasks,
    /// Writes of no bytes whose data the shell has accepted.
    ready: VecDeque<TaskId>,
    outbox: Outbox,
    stat_sn: Sn,
    managing: Managing,
    exchange: Exchange,
    pings: Pings,
    phase: Phase,
}

/// What the hot path needs of what was negotiated.
#[derive(Clone, Copy, Debug)]
struct Terms {
    digests: Digests,
    peer_segment_len_max: u32,
    burst_len_max: u32,
    first_burst_len: u32,
    outstanding_r2t: u8,
    initial_r2t: bool,
    immediate_data: bool,
    discovery: bool,
}

/// Who the bytes after a header are for.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// The stream stands between two PDUs.
    Between,
    /// Nobody: they are dropped.
    Nothing,
    /// A task, if it still wants them. `last` ends its sequence.
    Write { task: TaskId, last: bool },
    /// Nobody, and the task fails for it once they have passed.
    Unwanted { task: TaskId, fault: DataFault },
    /// A ping, echoed when it is whole.
    Ping(NopOut),
    /// A text.
    Text(TextRequest),
}

/// Whether the connection still takes requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// The initiator has logged out and sends nothing more (§11.14).
    LoggingOut(Itt),
    /// The logout response was handed out.
    Closed,
    /// The shell knows.
    Ended,
}

impl Conn {
    /// Takes over from the login. What it left to be sent is the first transmit.
    #[must_use]
    pub fn new(admitted: Admitted) -> Self {
        let Admitted { last, params, identity, tsih, next_stat_sn, exp_cmd_sn } = admitted;
        Self {
            terms: Terms::new(&params),
            framer: Framer::new(params.digests, params.max_recv_ours),
            params,
            identity,
            tsih,
            first: Some(last),
            reading: Reading::Between,
            header: Bhs::default(),
            window: Window::new(exp_cmd_sn),
            tasks: Tasks::new(),
            ready: VecDeque::new(),
            outbox: Outbox::default(),
            stat_sn: next_stat_sn,
            managing: Managing::default(),
            exchange: Exchange::default(),
            pings: Pings::default(),
            phase: Phase::Open,
        }
    }

    /// The next thing that came, taken off the front of `input`. `None` when more input is needed.
    /// After an error the connection is to be closed; what the standard answers with a Reject is
    /// no error here.
    pub fn next_event<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, PeerError> {
        loop {
            if self.phase != Phase::Open {
                *input = &[];
                return Ok(self.ending());
            }
            if let Some(event) = self.waiting_event()? {
                return Ok(Some(event));
            }
            let Some(frame) = self.framer.next(input)? else {
                return Ok(None);
            };
            let event = match frame {
                Frame::Header(header) => self.on_header(header)?,
                Frame::Data { bytes, .. } => self.on_data(bytes)?,
                Frame::End { intact } => self.on_end(intact)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The stream's next bytes belong to a write and there is room for them: they may be received
    /// in place, all or some of them, and reported by [`placed`](Self::placed).
    #[must_use]
    pub fn placement(&self) -> Option<Placement> {
        let Reading::Write { task, .. } = self.reading else {
            return None;
        };
        let (_, len) = self.framer.due()?;
        let State::Receiving(write) = &self.tasks.get(task)?.state else {
            return None;
        };
        write.has_room(len).then(|| Placement { task, offset: write.due(), len })
    }

    /// `bytes`, the next of the stream, were received where [`placement`](Self::placement) said.
    /// Then call `next_event`, with empty input if there is no other.
    pub fn placed(&mut self, bytes: &[u8]) {
        self.framer.placed(bytes);
        if let Reading::Write { task, .. } = self.reading
            && let Some(write) = self.tasks.receiving(task)
        {
            let len = u32::try_from(bytes.len()).expect("the framer has checked it");
            write.arrived(len);
        }
    }

    /// How many tasks the peer may have in flight. MaxCmdSN follows, but never goes back.
    pub fn set_credit(&mut self, tasks: u32) {
        self.window.set_credit(tasks);
    }

    /// Leave granted: the response is the last thing to be sent, then comes [`Event::Ended`].
    pub fn answer_logout(&mut self, itt: Itt) {
        if self.phase == Phase::LoggingOut(itt) {
            self.managing.wait_no_longer();
            self.outbox.answer(Reply::Logout { itt, result: LogoutResult::Closed });
        }
    }

    /// Asks the initiator to log out within so many seconds (§11.9.1, event 1).
    pub fn request_logout(&mut self, within_secs: u16) {
        self.outbox.answer(Reply::LogoutWanted { within_secs });
    }

    /// Says that the target drops this connection, or the whole session, for a reason of its own
    /// (§11.9.1, events 2 and 3). The shell closes once that is sent.
    pub fn announce_drop(&mut self, whole_session: bool) {
        self.managing.wait_no_longer();
        self.outbox.answer(Reply::Dropping { whole_session });
    }

    /// What was negotiated.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Who is at the other end.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The session's handle.
    #[must_use]
    pub fn tsih(&self) -> Tsih {
        self.tsih
    }

    /// Tasks that still owe a [`complete`](Self::complete), aborted ones among them, or data that their
    /// answers wait for.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.tasks.unfinished()
    }

    /// Those tasks.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.iter().map(|(task, _)| task)
    }

    fn ending(&mut self) -> Option<Event<'static>> {
        (self.phase == Phase::Closed).then(|| {
            self.phase = Phase::Ended;
            Event::Ended
        })
    }

    /// What did not come with the input just now: writes of nothing, functions that have waited, and
    /// commands that were early.
    fn waiting_event(&mut self) -> Result<Option<Event<'static>>, PeerError> {
        while let Some(task) = self.ready.pop_front() {
            if self.tasks.receiving(task).is_some() {
                let entry = self.tasks.get_mut(task).expect("it was there a line ago");
                entry.state = State::Executing { sent: 0 };
                return Ok(Some(Event::WriteReady(task)));
            }
        }
        loop {
            if self.managing.is_waiting()
                && let Some(manage) = self.next_function()
            {
                return Ok(Some(Event::Manage(manage)));
            }
            if !matches!(self.reading, Reading::Between) {
                return Ok(None);
            }
            let Some(header) = self.window.take_early() else {
                return Ok(None);
            };
            // Only commands without data are held, so each is whole.
            let event = match self.on_header(header)? {
                Some(event) => Some(event),
                None => self.on_whole()?,
            };
            self.reading = Reading::Between;
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn on_data<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<Event<'b>>, PeerError> {
        match self.reading {
            Reading::Write { task, .. } => {
                self.on_write_bytes(task, bytes).or_else(|error| self.punish(error))
            }
            Reading::Ping(_) => {
                self.pings.extend(bytes, self.terms.peer_segment_len_max);
                Ok(None)
            }
            Reading::Text(_) => self.exchange.extend(bytes).map(|()| None),
            Reading::Between | Reading::Nothing | Reading::Unwanted { .. } => Ok(None),
        }
    }

    fn on_end(&mut self, intact: bool) -> Result<Option<Event<'static>>, PeerError> {
        let event = if intact || seeded::is(Bug::IgnoreDigest) {
            self.on_whole()?
        } else {
            self.on_damaged()?
        };
        self.reading = Reading::Between;
        Ok(event)
    }

    /// A PDU is whole and intact.
    fn on_whole(&mut self) -> Result<Option<Event<'static>>, PeerError> {
        match self.reading {
            Reading::Between | Reading::Nothing => Ok(None),
            Reading::Write { task, last } => Ok(self.on_write_end(task, last)),
            Reading::Unwanted { task, fault } => self.punish(PeerError::Data { task, fault }),
            Reading::Ping(ping) => self.on_ping_end(&ping),
            Reading::Text(request) => {
                self.on_text_end(&request).or_else(|error| self.punish(error))
            }
        }
    }

    /// Its data digest was wrong: a Reject, and the task that the data was for fails (§7.8).
    fn on_damaged(&mut self) -> Result<Option<Event<'static>>, PeerError> {
        let reading = self.reading;
        self.punish(PeerError::DataDigest)?;
        Ok(match reading {
            Reading::Write { task, last } => self.on_damaged_write(task, last),
            Reading::Unwanted { task, .. } => self.fail_data(task, DataFault::Digest),
            Reading::Text(_) => {
                self.exchange.reset();
                None
            }
            Reading::Between | Reading::Nothing | Reading::Ping(_) => None,
        })
    }
}

impl Terms {
    fn new(params: &Params) -> Self {
        let outstanding_r2t = params.max_outstanding_r2t.clamp(1, u32::from(OUTSTANDING_R2T_MAX));
        Self {
            digests: params.digests,
            peer_segment_len_max: params.max_recv_theirs,
            burst_len_max: params.max_burst_len,
            first_burst_len: params.first_burst_len,
            outstanding_r2t: u8::try_from(outstanding_r2t).expect("OUTSTANDING_R2T_MAX fits"),
            initial_r2t: params.initial_r2t,
            immediate_data: params.immediate_data,
            discovery: params.session == SessionType::Discovery,
        }
    }
}

#[cfg(test)]
mod tests;

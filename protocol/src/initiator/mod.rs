//! The initiator's side: one connection in full feature phase ([`Conn`]), and above it a session
//! that connects, logs in, reconnects and replays ([`Session`]).
//!
//! A target may be broken or hostile. Whatever it sends, nothing here panics or grows: an offence
//! ends the connection, and the session decides what becomes of the commands.

mod error;
mod incoming;
mod read;
mod replay;
mod session;
mod tasks;
#[cfg(test)]
mod tests;
mod window;
mod write;

pub use error::PeerError;
pub use incoming::{ConnEvent, End};
pub use replay::Replay;
pub use session::{
    Action, Config, DownReason, Event, FailReason, Outcome, Request, Session, SubmitError, Timing,
};
pub use tasks::SLOTS_MAX;

use std::collections::VecDeque;

use bytes::Bytes;

use self::incoming::{Current, TextExchange};
use self::read::Read;
use self::tasks::{Progress, Tag, Task, Tasks};
use self::window::Window;
use self::write::Burst;
use crate::framer::Framer;
use crate::ids::{Cid, Itt, Lun, TaskId, Ttt};
use crate::limits::REPLIES_QUEUED_MAX;
use crate::login::initiator::LoggedIn;
use crate::pdu::{
    LogoutReason, LogoutRequest, NopOut, Order, Request as Pdu, ScsiCommand, TaskAttribute,
    TaskManagementFunction, TaskManagementRequest, TextRequest,
};
use crate::serial::Sn;
use crate::transmit::{Body, Digests, Transmit};

/// Requests to abort that may wait for their answer: as many as there can be tasks.
const ABORTS_MAX: usize = SLOTS_MAX as usize;

/// What a login has agreed on, as far as the full feature phase needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Digests, both ways.
    pub digests: Digests,
    /// MaxRecvDataSegmentLength of the target's.
    pub send_segment_len_max: u32,
    /// MaxRecvDataSegmentLength of ours.
    pub recv_segment_len_max: u32,
    /// ImmediateData.
    pub immediate_data: bool,
    /// InitialR2T.
    pub initial_r2t: bool,
    /// FirstBurstLength.
    pub first_burst_len: u32,
    /// MaxBurstLength.
    pub burst_len_max: u32,
    /// MaxOutstandingR2T.
    pub outstanding_r2t_max: u16,
    /// The connection's name.
    pub cid: Cid,
    /// The number of the first command.
    pub cmd_sn: Sn,
    /// The number of the first status.
    pub exp_stat_sn: Sn,
    /// The last command that may be sent.
    pub max_cmd_sn: Sn,
}

impl From<&LoggedIn> for Terms {
    fn from(logged_in: &LoggedIn) -> Self {
        let params = &logged_in.params;
        Self {
            digests: params.digests,
            send_segment_len_max: params.max_recv_theirs,
            recv_segment_len_max: params.max_recv_ours,
            immediate_data: params.immediate_data,
            initial_r2t: params.initial_r2t,
            first_burst_len: params.first_burst_len,
            burst_len_max: params.max_burst_len,
            outstanding_r2t_max: u16::try_from(params.max_outstanding_r2t).unwrap_or(u16::MAX),
            cid: Cid(0),
            cmd_sn: logged_in.cmd_sn,
            exp_stat_sn: logged_in.exp_stat_sn,
            max_cmd_sn: logged_in.max_cmd_sn,
        }
    }
}

/// The data of a command, and which way it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// None.
    None,
    /// Up to so many bytes to us.
    In(u32),
    /// So many bytes to the target.
    Out(u32),
}

/// A command for a logical unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// Which logical unit.
    pub lun: Lun,
    /// The command descriptor block.
    pub cdb: [u8; 16],
    /// Its data.
    pub data: Data,
}

/// Bytes of a data segment still to come that belong to a read: the shell may receive them in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Whose.
    pub task: TaskId,
    /// Where the next byte goes, from the start of the task's data.
    pub offset: u32,
    /// How many come in a row.
    pub len: u32,
}

/// The window is closed, the slot is taken or out of range, or the connection is logging out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no command can be started now")]
pub struct Closed;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outgoing {
    Command { command: ScsiCommand, immediate: u32 },
    Unsolicited(Burst),
    Abort { task: TaskId, lun: Lun, ref_cmd_sn: Sn },
}

/// One connection in full feature phase.
///
/// The owner names its tasks: any slot below the number given to [`Conn::new`], and a generation
/// that differs from the slot's last use.
#[derive(Debug)]
pub struct Conn {
    terms: Terms,
    framer: Framer,
    window: Window,
    exp_stat_sn: Sn,
    tasks: Tasks,
    /// Commands in the order of CmdSN, each followed by its unsolicited data (§4.2.5.2), and the
    /// requests to abort them.
    commands: VecDeque<Outgoing>,
    /// Answers to R2Ts, in the order these came.
    bursts: VecDeque<Burst>,
    /// Pings, answers to pings, texts.
    urgent: VecDeque<(Pdu, Bytes)>,
    /// Requests to abort that have no answer yet.
    aborts: Vec<TaskId>,
    current: Current,
    /// The data of the PDU that is coming, when it is for us and not for a read.
    held: Vec<u8>,
    pings: u16,
    ping_due: bool,
    plugs: u16,
    /// Gaps in the order of commands that were plugged, without an answer yet.
    plugging: Vec<u16>,
    text: Option<TextExchange>,
    texts: u16,
    logout: Logout,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Logout {
    No,
    Wanted,
    Sent,
}

impl Conn {
    /// A connection that has just logged in, for tasks in slots below `slots`.
    #[must_use]
    pub fn new(terms: Terms, slots: u16) -> Self {
        Self {
            framer: Framer::new(terms.digests, terms.recv_segment_len_max),
            window: Window::new(terms.cmd_sn, terms.max_cmd_sn),
            exp_stat_sn: terms.exp_stat_sn,
            terms,
            tasks: Tasks::new(slots),
            commands: VecDeque::new(),
            bursts: VecDeque::new(),
            urgent: VecDeque::new(),
            aborts: Vec::new(),
            current: Current::Nothing,
            held: Vec::new(),
            pings: 0,
            ping_due: false,
            plugs: 0,
            plugging: Vec::new(),
            text: None,
            texts: 0,
            logout: Logout::No,
        }
    }

    /// Commands that may be started now.
    #[must_use]
    pub fn window(&self) -> u32 {
        if self.logout == Logout::No { self.window.open() } else { 0 }
    }

    /// Starts a command.
    pub fn start(&mut self, task: TaskId, command: &Command) -> Result<(), Closed> {
        if self.logout != Logout::No || !self.tasks.has_room_for(task) {
            return Err(Closed);
        }
        let cmd_sn = self.window.take().ok_or(Closed)?;
        let (expected_len, progress, immediate, unsolicited) = match command.data {
            Data::None => (0, Progress::Nothing, 0, None),
            Data::In(len) => (len, Progress::Read(Read::default()), 0, None),
            Data::Out(len) => {
                let opening = self.terms.open_write(task, command.lun, len);
                (len, Progress::Write(opening.write), opening.immediate, opening.unsolicited)
            }
        };
        let header = ScsiCommand {
            order: Order { immediate: false, cmd_sn, exp_stat_sn: Sn(0) },
            last: unsolicited.is_none(),
            read: matches!(command.data, Data::In(_)),
            write: matches!(command.data, Data::Out(_)),
            attribute: TaskAttribute::Simple,
            lun: command.lun,
            itt: tasks::itt(task),
            expected_len,
            cdb: command.cdb,
        };
        self.commands.push_back(Outgoing::Command { command: header, immediate });
        self.commands.extend(unsolicited.map(Outgoing::Unsolicited));
        let lun = command.lun;
        self.tasks.insert(
            task,
            Task { lun, cmd_sn, expected_len, progress, sent: false, aborting: false },
        );
        Ok(())
    }

    /// Asks the target to abort a task. Its data is no longer sent nor passed on; either its own
    /// end or [`ConnEvent::Aborted`] comes, or both. Refused when there is no such task, and when
    /// the target leaves too many of these unanswered.
    pub fn abort(&mut self, task: TaskId) -> Result<(), Closed> {
        let live = self.tasks.find(task).ok_or(Closed)?;
        if self.aborts.len() >= ABORTS_MAX || live.aborting {
            return Err(Closed);
        }
        live.aborting = true;
        let (lun, ref_cmd_sn) = (live.lun, live.cmd_sn);
        self.commands.push_back(Outgoing::Abort { task, lun, ref_cmd_sn });
        Ok(())
    }

    /// Pings the target, unless an earlier ping has no answer yet.
    pub fn ping(&mut self) {
        if std::mem::replace(&mut self.ping_due, true) {
            return;
        }
        self.pings = self.pings.wrapping_add(1);
        let itt = Tag::Ping(self.pings).itt();
        let order = self.immediate();
        let ping = NopOut { order, lun: Lun::default(), itt, ttt: Ttt::NONE };
        self.urgent.push_back((Pdu::NopOut(ping), Bytes::new()));
    }

    /// The target has rejected the command of this number and goes on waiting for it: a NOP takes
    /// its place, or no later command would ever run (§7.3).
    fn plug(&mut self, cmd_sn: Sn) {
        self.plugs = self.plugs.wrapping_add(1);
        self.plugging.push(self.plugs);
        let itt = Tag::Plug(self.plugs).itt();
        let order = Order { immediate: false, cmd_sn, ..self.immediate() };
        let nop = NopOut { order, lun: Lun::default(), itt, ttt: Ttt::NONE };
        self.urgent.push_back((Pdu::NopOut(nop), Bytes::new()));
    }

    /// Whether `itt` is that of a plug, which is over now.
    fn unplug(&mut self, itt: Itt) -> bool {
        let Some(Tag::Plug(count)) = Tag::of(itt) else {
            return false;
        };
        let at = self.plugging.iter().position(|plug| *plug == count);
        at.map(|at| self.plugging.swap_remove(at)).is_some()
    }

    /// Sends `text` (keys and values) and collects the answer: [`ConnEvent::Text`]. One at a time;
    /// a second is refused.
    pub fn ask(&mut self, text: Bytes) -> Result<(), Closed> {
        if self.text.is_some() || self.logout != Logout::No {
            return Err(Closed);
        }
        self.texts = self.texts.wrapping_add(1);
        self.text = Some(TextExchange::default());
        let request = TextRequest {
            order: self.immediate(),
            last: true,
            more: false,
            lun: Lun::default(),
            itt: Tag::Text(self.texts).itt(),
            ttt: Ttt::NONE,
        };
        self.urgent.push_back((Pdu::Text(request), text));
        Ok(())
    }

    /// Ends the session once what was started has been sent. Nothing follows on this connection.
    /// Whether that is new.
    pub fn log_out(&mut self) -> bool {
        let first = self.logout == Logout::No;
        if first {
            self.logout = Logout::Wanted;
        }
        first
    }

    /// Where the next bytes belong, when the stream stands in a read's data.
    #[must_use]
    pub fn placement(&self) -> Option<Placement> {
        let Current::DataIn { task, ref pdu, wanted: true } = self.current else {
            return None;
        };
        let (offset, len) = self.framer.due()?;
        Some(Placement { task, offset: pdu.offset + offset, len })
    }

    /// The shell has received `bytes` to where [`placement`](Self::placement) said.
    ///
    /// # Panics
    ///
    /// When there is no placement, or `bytes` are more than it allows.
    pub fn placed(&mut self, bytes: &[u8]) {
        self.framer.placed(bytes);
    }

    /// The next PDU to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.logout == Logout::Sent {
            return None;
        }
        if let Some((pdu, body)) = self.urgent.pop_front() {
            let body = if body.is_empty() { Body::None } else { Body::Bytes(body) };
            return Some(self.transmit(&pdu, body));
        }
        self.poll_command().or_else(|| self.poll_burst()).or_else(|| self.poll_logout())
    }

    fn poll_command(&mut self) -> Option<Transmit> {
        loop {
            match self.commands.front_mut()? {
                Outgoing::Command { command, immediate } => {
                    let (command, len) = (*command, *immediate);
                    self.commands.pop_front();
                    let Some(Tag::Command(task)) = Tag::of(command.itt) else {
                        unreachable!("commands carry the tags of commands");
                    };
                    if let Some(live) = self.tasks.find(task) {
                        live.sent = true;
                    }
                    let body = named(task, 0, len);
                    return Some(self.transmit(&Pdu::Command(command), body));
                }
                Outgoing::Unsolicited(burst) => {
                    let mut burst = *burst;
                    let transmit = self.send_from(&mut burst);
                    if transmit.is_none() || burst.is_sent() {
                        self.commands.pop_front();
                    } else {
                        self.commands[0] = Outgoing::Unsolicited(burst);
                    }
                    if transmit.is_some() {
                        return transmit;
                    }
                }
                Outgoing::Abort { task, lun, ref_cmd_sn } => {
                    let request = TaskManagementRequest {
                        order: Order::default(),
                        function: TaskManagementFunction::AbortTask,
                        lun: *lun,
                        itt: Tag::Abort(*task).itt(),
                        referenced: tasks::itt(*task),
                        ref_cmd_sn: *ref_cmd_sn,
                        exp_data_sn: Sn(0),
                    };
                    // Not sooner: an answer to what was not asked yet would free data that is still
                    // to be sent.
                    self.aborts.push(*task);
                    self.commands.pop_front();
                    let request = TaskManagementRequest { order: self.immediate(), ..request };
                    return Some(self.transmit(&Pdu::TaskManagement(request), Body::None));
                }
            }
        }
    }

    fn poll_burst(&mut self) -> Option<Transmit> {
        loop {
            let mut burst = *self.bursts.front()?;
            let transmit = self.send_from(&mut burst);
            if transmit.is_none() || burst.is_sent() {
                self.bursts.pop_front();
                self.answered(burst.task);
            } else {
                self.bursts[0] = burst;
            }
            if transmit.is_some() {
                return transmit;
            }
        }
    }

    fn answered(&mut self, task: TaskId) {
        if let Some(Task { progress: Progress::Write(write), .. }) = self.tasks.find(task) {
            write.answered();
        }
    }

    /// The next Data-Out of a burst; `None` when its task has ended or is being aborted.
    fn send_from(&mut self, burst: &mut Burst) -> Option<Transmit> {
        self.tasks.find(burst.task).filter(|task| !task.aborting)?;
        let (pdu, len) = burst.cut(&self.terms, self.exp_stat_sn);
        let body = named(burst.task, pdu.offset, len);
        Some(self.transmit(&Pdu::DataOut(pdu), body))
    }

    fn poll_logout(&mut self) -> Option<Transmit> {
        if self.logout != Logout::Wanted {
            return None;
        }
        self.logout = Logout::Sent;
        let request = LogoutRequest {
            order: self.immediate(),
            reason: LogoutReason::CloseSession,
            itt: Tag::Logout.itt(),
            cid: self.terms.cid,
        };
        Some(self.transmit(&Pdu::Logout(request), Body::None))
    }

    /// The number of the next command to be sent: those that wait have theirs already, and numbers
    /// only rise on a connection (§4.2.2.1).
    fn immediate(&self) -> Order {
        let waiting = self.commands.iter().find_map(|outgoing| match outgoing {
            Outgoing::Command { command, .. } => Some(command.order.cmd_sn),
            Outgoing::Unsolicited(_) | Outgoing::Abort { .. } => None,
        });
        let cmd_sn = waiting.unwrap_or_else(|| self.window.next());
        Order { immediate: true, cmd_sn, exp_stat_sn: self.exp_stat_sn }
    }

    /// Puts in how far statuses and commands have come by now.
    fn transmit(&self, pdu: &Pdu, body: Body) -> Transmit {
        let mut pdu = *pdu;
        match &mut pdu {
            Pdu::NopOut(NopOut { order, .. }) | Pdu::Text(TextRequest { order, .. })
                if order.immediate =>
            {
                *order = self.immediate();
            }
            Pdu::NopOut(NopOut { order, .. }) | Pdu::Command(ScsiCommand { order, .. }) => {
                order.exp_stat_sn = self.exp_stat_sn;
            }
            _ => {}
        }
        Transmit::new(pdu.build(), body, self.terms.digests)
    }

    /// Answers a ping of the target's.
    fn pong(&mut self, lun: Lun, ttt: Ttt) -> Result<(), PeerError> {
        if self.urgent.len() >= REPLIES_QUEUED_MAX {
            return Err(PeerError::Flood("pings"));
        }
        let pong = NopOut { order: self.immediate(), lun, itt: Itt::NONE, ttt };
        self.urgent.push_back((Pdu::NopOut(pong), Bytes::new()));
        Ok(())
    }
}

fn named(task: TaskId, offset: u32, len: u32) -> Body {
    if len == 0 { Body::None } else { Body::Task { task, offset, len } }
}

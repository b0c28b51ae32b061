//! Hosts: the real initiator's session, the shell around it that holds bytes, and what an
//! application asks of it. Every write is tagged, every read is checked.

mod job;
mod jobs;
mod planned;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use outband_protocol::ids::{Cid, Isid, TaskId, Tsih};
use outband_protocol::initiator::{Action, Config, DownReason, Event, Outcome, Session};
use outband_protocol::login::initiator as login;
use outband_protocol::login::{Credentials, Secret};
use outband_protocol::scsi::Status;
use outband_protocol::serial::Sn;

use self::job::{Job, What};
use crate::checker::{Checker, Held, Tick, WriteId};
use crate::hardware::{Event as Happening, Hardware};
use crate::net::{ConnId, Read, Side, Written};
use crate::rng::Rng;
use crate::setup::{HostSetup, Setup};
use crate::world::{Alarm, Failure};

/// What a request takes at most, unless it is hasty.
const PATIENCE: Duration = Duration::from_secs(600);

/// Bytes that are read at a time.
const INBOX_LEN: usize = 8192;

/// What a hasty one takes.
const HASTE: Duration = Duration::from_millis(2);

/// Everything that a host touches.
#[derive(Debug)]
pub struct Ctx<'w> {
    /// The network and the clock.
    pub hardware: &'w mut Hardware,
    /// The histories.
    pub checker: &'w mut Checker,
    /// What must not be.
    pub failures: &'w mut Vec<Failure>,
    /// The seed's setup.
    pub setup: &'w Setup,
    /// Media errors are to be expected.
    pub faulty: bool,
    /// Volumes that are faulted, and since when everybody knows it.
    pub faulted: &'w BTreeMap<usize, Tick>,
    /// Nothing goes wrong any more.
    pub calm: bool,
}

impl Ctx<'_> {
    fn fail(&mut self, what: String) {
        self.failures.push(Failure::Conduct(what));
    }
}

/// A connection, as a host has it.
#[derive(Debug)]
struct Link {
    conn: ConnId,
    up: bool,
    out: VecDeque<u8>,
}

/// A host with one session.
#[derive(Debug)]
pub struct Host {
    index: usize,
    setup: HostSetup,
    rng: Rng,
    session: Option<Session>,
    link: Option<Link>,
    jobs: BTreeMap<TaskId, Job>,
    /// Writes of which nobody knows what became, until the next login proves their session gone.
    ghosts: Vec<WriteId>,
    /// Requests still to be made.
    quota: u32,
    /// Blocks to be read in the end: the next one, and the last.
    sweep: Option<(u32, u32)>,
    sessions: u64,
    port: u16,
    timer: Option<Duration>,
    thinking: bool,
    /// May log in.
    granted: bool,
    done: u64,
    /// It has logged in since nothing goes wrong any more.
    is_safe: bool,
    /// Where it reads into.
    inbox: Vec<u8>,
    /// Its last write, to be compared.
    written: Option<(u32, Vec<u8>)>,
    /// Another swap of what the last one expects is to be asked for at once.
    rival: bool,
    /// When the command of each write last went out.
    sent: BTreeMap<WriteId, Tick>,
}

impl Host {
    /// A host that has not begun.
    #[must_use]
    pub fn new(index: usize, setup: HostSetup, granted: bool, rng: Rng) -> Self {
        Self {
            index,
            quota: setup.quota,
            setup,
            rng,
            session: None,
            link: None,
            jobs: BTreeMap::new(),
            ghosts: Vec::new(),
            sweep: None,
            sessions: 0,
            port: 1024,
            timer: None,
            thinking: false,
            granted,
            done: 0,
            is_safe: false,
            inbox: Vec::new(),
            written: None,
            rival: false,
            sent: BTreeMap::new(),
        }
    }

    /// Its setup.
    #[must_use]
    pub fn setup(&self) -> &HostSetup {
        &self.setup
    }

    /// Requests that have an outcome.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Its connection, if there is one.
    #[must_use]
    pub fn conn(&self) -> Option<ConnId> {
        self.link.as_ref().map(|link| link.conn)
    }

    /// Whether it has nothing left to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && (!self.granted || self.quota == 0 && self.sweep.is_none())
    }

    /// Whether it may log in.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.granted
    }

    /// What it is doing, for whoever asks why it does not end.
    #[must_use]
    pub fn state(&self) -> String {
        let Self { index, quota, sweep, jobs, session, .. } = self;
        let up = session.as_ref().map(Session::is_up);
        let jobs: Vec<_> = jobs.iter().map(|(task, job)| (task, job.what)).collect();
        format!("host {index}: up {up:?}, {quota} to make, sweep {sweep:?}, under way {jobs:?}")
    }

    /// Whether a write is one that its session still has, and how.
    #[must_use]
    pub fn holds(&self, id: WriteId) -> Option<Held> {
        let job = self.jobs.values().find(|job| job.write() == Some(id))?;
        let again = self.setup.repeats && matches!(job.what, What::Write { .. });
        Some(if again { Held::Again } else { Held::Once })
    }

    /// When the command of a write last went out, if this host has sent it.
    #[must_use]
    pub fn last_sent(&self, id: WriteId) -> Option<Tick> {
        self.sent.get(&id).copied()
    }

    /// Writes that may still happen, as far as it knows.
    pub fn open_writes(&self) -> impl Iterator<Item = WriteId> {
        self.jobs.values().filter_map(Job::write).chain(self.ghosts.iter().copied())
    }

    /// More requests of its own.
    pub fn want(&mut self, quota: u32) {
        self.quota = quota;
    }

    /// No more requests of its own.
    pub fn finish(&mut self) {
        self.quota = 0;
    }

    /// Reads all of its volume, in a session of which nobody has cut anything.
    pub fn sweep(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.calm && !self.is_safe {
            self.die(false, ctx);
        }
        self.sweep = Some((0, ctx.setup.volumes[self.setup.volume].blocks));
        self.think_now(ctx);
    }

    /// It may log in, or not any more. What its session has not finished is over: the target has
    /// answered for that before another host comes (P12). A deposed host may not know it, and go
    /// on; before it is granted again it must have begun anew.
    pub fn set_granted(&mut self, granted: bool, ctx: &mut Ctx<'_>) {
        if !granted {
            let ghosts = std::mem::take(&mut self.ghosts);
            let held = self.jobs.values().filter_map(Job::write);
            held.chain(ghosts).for_each(|id| ctx.checker.close(id));
        }
        if granted && self.session.is_some() || !granted && self.rng.coin() {
            self.die(false, ctx);
        }
        self.granted = granted;
        self.think_now(ctx);
    }

    /// The target's machine or process is about to end, and its session with it.
    pub fn expect_an_end(&mut self) {
        self.is_safe = false;
    }

    /// Its process ends without a word. Its kernel closes the connection, or not even that.
    pub fn die(&mut self, silently: bool, ctx: &mut Ctx<'_>) {
        if let Some(link) = self.link.take()
            && !silently
        {
            ctx.hardware.on_net(|net, now, rng| {
                if rng.coin() {
                    net.close(link.conn, Side::Host, now, rng);
                } else {
                    net.reset(link.conn, Side::Host, now, rng);
                }
            });
        }
        self.session = None;
        self.timer = None;
        let lost = std::mem::take(&mut self.jobs);
        self.ghosts.extend(lost.values().filter_map(Job::write));
        let (after, index) = (self.rng.time(Duration::ZERO..Duration::from_millis(50)), self.index);
        self.thinking = true;
        ctx.hardware.schedule(ctx.hardware.now() + after, alarm(Alarm::Think(index)));
    }

    /// Logs out when its requests are over.
    pub fn log_out(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.hardware.instant();
        if let Some(session) = &mut self.session {
            session.close(now);
        }
        self.drain(ctx);
    }

    // ---- what happens to it ----

    /// It is time to think about the next request.
    pub fn on_think(&mut self, ctx: &mut Ctx<'_>) {
        self.thinking = false;
        if self.session.is_none() && self.granted && !self.is_idle() {
            self.log_in(ctx);
        }
        self.ask(ctx);
        self.drain(ctx);
    }

    /// A timer is due, perhaps.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.hardware.instant();
        if self.timer.is_some_and(|at| at <= ctx.hardware.now()) {
            self.timer = None;
        }
        if let Some(session) = &mut self.session
            && session.poll_timeout().is_some_and(|due| due <= now)
        {
            session.handle_timeout(now);
        }
        self.drain(ctx);
    }

    /// Its connection stands.
    pub fn on_connected(&mut self, conn: ConnId, ctx: &mut Ctx<'_>) {
        let Some(link) = self.link.as_mut().filter(|link| link.conn == conn) else {
            return;
        };
        link.up = true;
        let mut entropy = [0; 32];
        self.rng.fill(&mut entropy);
        if let Some(session) = &mut self.session {
            session.handle_connected(ctx.hardware.instant(), entropy);
        }
        self.drain(ctx);
    }

    /// Its connection is gone, or was refused.
    pub fn on_disconnected(&mut self, conn: ConnId, ctx: &mut Ctx<'_>) {
        if self.conn() != Some(conn) {
            return;
        }
        self.link = None;
        ctx.hardware.on_net(|net, now, rng| net.close(conn, Side::Host, now, rng));
        if let Some(session) = &mut self.session {
            session.handle_disconnected(ctx.hardware.instant());
        }
        self.drain(ctx);
    }

    /// Bytes have come, or the end.
    pub fn on_readable(&mut self, conn: ConnId, ctx: &mut Ctx<'_>) {
        let mut buf = std::mem::take(&mut self.inbox);
        buf.resize(INBOX_LEN, 0);
        while self.conn() == Some(conn) {
            let read = ctx.hardware.on_net(|net, _, rng| net.read(conn, Side::Host, &mut buf, rng));
            match read {
                Read::Bytes(0) | Read::Broken(_) => self.on_disconnected(conn, ctx),
                Read::Nothing => break,
                Read::Bytes(count) => {
                    self.feed(&buf[..count], ctx);
                    self.drain(ctx);
                }
            }
        }
        self.inbox = buf;
    }

    /// There is room to send.
    pub fn on_writable(&mut self, conn: ConnId, ctx: &mut Ctx<'_>) {
        if self.conn() == Some(conn) {
            self.send(ctx);
        }
    }

    // ---- the shell around the session ----

    fn log_in(&mut self, ctx: &mut Ctx<'_>) {
        self.sessions += 1;
        let setup = &self.setup;
        let exclusive = ctx.setup.volumes[setup.volume].exclusive;
        let (user, secret) = &setup.chap;
        let chap = exclusive.then(|| Credentials {
            user: user.clone(),
            secret: Secret::new(secret.as_bytes().to_vec()),
            mutual: None,
        });
        let [.., a, b, c, d] = (self.sessions << 8 | self.index as u64).to_be_bytes();
        let login = login::Config {
            name: setup.name.clone(),
            alias: None,
            target: Some(ctx.setup.target(setup.volume)),
            isid: Isid([0x80, 0, a, b, c, d]),
            tsih: Tsih(0),
            cid: Cid(0),
            offer: setup.offer.clone(),
            chap,
            challenge: (0, Vec::new()),
            // Not far from where it wraps.
            cmd_sn: Sn(u32::MAX - 20),
        };
        let config = Config {
            login,
            portals: vec![setup.portal.to_string()],
            requests_max: setup.depth,
            identify: None,
            timing: setup.timing,
            seed: self.rng.number(),
        };
        ctx.hardware.note(format_args!("host {} begins session {}", self.index, self.sessions));
        self.session = Some(Session::new(config, ctx.hardware.instant()));
    }

    /// Actions, events and transmits, until there is none of either.
    fn drain(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.hardware.instant();
        while let Some(session) = &mut self.session {
            let mut idle = true;
            while let Some(action) = session.poll_action() {
                idle = false;
                act(&mut self.link, &mut self.port, &self.setup, &action, ctx);
            }
            if let Some(event) = session.next_event(&mut &[][..], now) {
                let up = session.is_up();
                self.on_event(&event, up, ctx);
                continue;
            }
            while let Some(transmit) = session.poll_transmit() {
                idle = false;
                let jobs = &self.jobs;
                let task = command_in(transmit.head());
                if let Some(id) = task.and_then(|task| jobs.get(&task)?.write()) {
                    self.sent.insert(id, ctx.checker.tick());
                }
                let bytes = transmit.to_bytes(|task, offset, len| {
                    let job = jobs.get(&task).expect("only what is under way is sent");
                    job.bytes[offset as usize..(offset + len) as usize].to_vec()
                });
                if let Some(link) = &mut self.link {
                    link.out.extend(bytes);
                }
            }
            if idle {
                break;
            }
        }
        self.send(ctx);
        self.set_timer(ctx);
    }

    fn feed(&mut self, mut input: &[u8], ctx: &mut Ctx<'_>) {
        let now = ctx.hardware.instant();
        while let Some(session) = &mut self.session {
            let Some(event) = session.next_event(&mut input, now) else {
                return;
            };
            let up = session.is_up();
            self.on_event(&event, up, ctx);
        }
    }

    fn send(&mut self, ctx: &mut Ctx<'_>) {
        let Some(Link { conn, up: true, out }) = &mut self.link else {
            return;
        };
        let conn = *conn;
        while !out.is_empty() {
            let bytes = out.make_contiguous();
            let written = ctx.hardware.on_net(|net, now, rng| {
                net.write(conn, Side::Host, std::iter::once(&*bytes), now, rng)
            });
            match written {
                Written::Bytes(count) => drop(out.drain(..count)),
                Written::Full => return,
                // The reset itself comes to be read.
                Written::Broken(_) => return out.clear(),
            }
        }
    }

    fn set_timer(&mut self, ctx: &mut Ctx<'_>) {
        let due = self.session.as_ref().and_then(Session::poll_timeout);
        let Some(due) = due.map(|due| ctx.hardware.moment(due)) else {
            return;
        };
        if self.timer.is_none_or(|at| due < at) {
            self.timer = Some(due);
            ctx.hardware.schedule(due, alarm(Alarm::Timer(self.index)));
        }
    }

    fn on_event(&mut self, event: &Event<'_>, up: bool, ctx: &mut Ctx<'_>) {
        let index = self.index;
        match event {
            Event::ReadData { task, offset, bytes } => {
                let room = self.jobs.get_mut(task).map(|job| &mut job.bytes);
                let at = *offset as usize..*offset as usize + bytes.len();
                match room.and_then(|room| room.get_mut(at)) {
                    Some(room) => room.copy_from_slice(bytes),
                    None => ctx.fail(format!("host {index}: data beyond the end of {task:?}")),
                }
            }
            Event::Done { task, outcome } => self.on_done(*task, *outcome, up, ctx),
            Event::Up => {
                ctx.hardware.note(format_args!("host {index} is up"));
                self.is_safe = ctx.calm;
                let ghosts = std::mem::take(&mut self.ghosts);
                ghosts.into_iter().for_each(|id| ctx.checker.close(id));
                if let Some(conn) = self.conn() {
                    ctx.hardware.net.damage(conn, self.setup.damage);
                }
                self.think_now(ctx);
            }
            Event::Down { reason } => {
                ctx.hardware.note(format_args!("host {index} is down: {reason}"));
                self.check_reason(reason, ctx);
                let again = |id: &WriteId| self.holds(*id) == Some(Held::Again);
                let ids = self.jobs.values().filter_map(Job::write).filter(again);
                ids.for_each(|id| ctx.checker.repeat(id));
            }
            Event::Failed { reason } => {
                ctx.hardware.note(format_args!("host {index} gives up: {reason}"));
                self.end_session(ctx);
            }
            Event::Closed => {
                ctx.hardware.note(format_args!("host {index} has logged out"));
                self.end_session(ctx);
            }
            Event::Attention(sense) => {
                ctx.hardware.note(format_args!("host {index}: attention {:02x}", sense.asc));
            }
        }
    }

    fn end_session(&mut self, ctx: &mut Ctx<'_>) {
        self.session = None;
        self.timer = None;
        if let Some(link) = self.link.take() {
            ctx.hardware.on_net(|net, now, rng| net.close(link.conn, Side::Host, now, rng));
        }
        self.think_later(Duration::from_millis(100), ctx);
    }

    /// The target may be gone, or busy; it may not break the protocol.
    fn check_reason(&self, reason: &DownReason, ctx: &mut Ctx<'_>) {
        let wrong = match reason {
            _ if self.is_safe => true,
            DownReason::Offence(_) => self.setup.damage == 0,
            DownReason::Login(_) | DownReason::TooManyRedirects => true,
            DownReason::Refused(status) => {
                // 0301: the session that this one replaces takes its time. 0206: too often.
                let busy = (status.class, status.detail) == (3, 1)
                    || (status.class, status.detail) == (2, 6);
                let fenced = ctx.setup.chaos.fence > 0 && (status.class, status.detail) == (2, 2);
                let unknown = ctx.setup.chaos.fence > 0 && (status.class, status.detail) == (2, 1);
                !busy && !fenced && !unknown
            }
            _ => false,
        };
        if wrong {
            ctx.fail(format!("host {}: {reason:?}", self.index));
        }
    }

    // ---- the application ----

    fn think_now(&mut self, ctx: &mut Ctx<'_>) {
        self.think_later(Duration::ZERO, ctx);
    }

    fn think_later(&mut self, most: Duration, ctx: &mut Ctx<'_>) {
        if !std::mem::replace(&mut self.thinking, true) {
            let at = ctx.hardware.now() + self.rng.time(Duration::ZERO..most);
            ctx.hardware.schedule(at, alarm(Alarm::Think(self.index)));
        }
    }
}

fn act(
    link: &mut Option<Link>,
    port: &mut u16,
    setup: &HostSetup,
    action: &Action,
    ctx: &mut Ctx<'_>,
) {
    match action {
        Action::Connect { address } => {
            let to = address.parse().expect("portals are given as addresses");
            *port += 1;
            let conn = ctx.hardware.connect(SocketAddr::new(setup.address, *port), to);
            *link = Some(Link { conn, up: false, out: VecDeque::new() });
        }
        Action::Close { abort } => {
            let Some(Link { conn, .. }) = link.take() else {
                return;
            };
            ctx.hardware.on_net(|net, now, rng| {
                if *abort {
                    net.reset(conn, Side::Host, now, rng);
                } else {
                    net.close(conn, Side::Host, now, rng);
                }
            });
        }
    }
}

/// The task of a SCSI Command PDU: sessions make its tag of slot and generation.
fn command_in(head: &[u8]) -> Option<TaskId> {
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    (head[0] & 0x3f == 0x01).then(|| TaskId { slot: half(18), generation: half(16) })
}

fn alarm(alarm: Alarm) -> Happening {
    Happening::Alarm(alarm)
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Good { .. } => "good",
        Outcome::Status { status: Status::CheckCondition, .. } => "check condition",
        Outcome::Status { .. } => "another status",
        Outcome::Refused => "refused",
        Outcome::Unknown => "unknown",
        Outcome::TimedOut => "timed out",
        Outcome::NotSent => "not sent",
    }
}

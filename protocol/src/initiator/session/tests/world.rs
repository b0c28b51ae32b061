//! A session, the network and a target that the test plays: its login is the real one, the rest is
//! said by hand. What happens is a trace, one line each.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::framer::{Frame, Framer};
use crate::ids::{Cid, IscsiName, Isid, Itt, Lun, TaskId, Tsih, Ttt};
use crate::initiator::session::{Action, Config, Event, Outcome, Request, Session, Timing};
use crate::initiator::tasks::Tag;
use crate::initiator::{Data, Replay};
use crate::keys::Offer;
use crate::login::initiator as login;
use crate::login::target::{self, Demand, Login, Settings};
use crate::pdu::{
    DataIn, LoginStatus, R2t, Request as Pdu, Residual, Response, ScsiResponse, Sequence,
};
use crate::scsi::inquiry::{Designator, designators};
use crate::scsi::{Cdb, Sense, Status};
use crate::serial::Sn;
use crate::transmit::{Body, Digests, Transmit};

/// How the target meets the next connections.
#[derive(Clone, Debug)]
pub(super) enum Mood {
    Unreachable,
    Mute,
    Admit { tsih: u16, group: u16 },
    Refuse(LoginStatus),
    Redirect(&'static str, bool),
}

pub(super) const WELCOME: Mood = Mood::Admit { tsih: 7, group: 1 };

enum Peer {
    Nobody,
    Mute,
    Login(Box<Login>),
    Work { framer: Box<Framer>, stat_sn: Sn, exp_cmd_sn: Sn },
}

pub(super) struct World {
    pub(super) session: Session,
    pub(super) now: Instant,
    start: Instant,
    pub(super) mood: Mood,
    /// The mood after the next redirection.
    pub(super) mood_there: Option<Mood>,
    peer: Peer,
    /// On its way to the session.
    inbox: Vec<u8>,
    trace: Vec<String>,
    /// Commands that the target may be sent beyond those it has seen.
    pub(super) window: u32,
}

impl World {
    pub(super) fn new(mood: Mood) -> Self {
        Self::with(mood, Timing::default(), 8)
    }

    pub(super) fn with(mood: Mood, timing: Timing, requests_max: u16) -> Self {
        Self::of(mood, timing, requests_max, None)
    }

    /// With a session that asks the logical unit who it is.
    pub(super) fn identifying() -> Self {
        Self::of(WELCOME, Timing::default(), 8, Some(Lun::ZERO))
    }

    fn of(mood: Mood, timing: Timing, requests_max: u16, identify: Option<Lun>) -> Self {
        let name = |text: &str| IscsiName::new(text).unwrap();
        let config = Config {
            login: login::Config {
                name: name("iqn.2026-11.local.host:a"),
                alias: None,
                target: Some(name("iqn.2026-11.local.outband:pool:vol")),
                isid: Isid([0x80, 0, 0, 0, 0, 1]),
                tsih: Tsih(0),
                cid: Cid(0),
                offer: Offer::default(),
                chap: None,
                challenge: (0, Vec::new()),
                cmd_sn: Sn(1),
            },
            portals: vec!["a:3260".into(), "b:3260".into()],
            requests_max,
            identify,
            timing,
            seed: 1,
        };
        #[expect(clippy::disallowed_methods, reason = "any instant will do to begin at")]
        let now = Instant::now();
        let mut world = Self {
            session: Session::new(config, now),
            now,
            start: now,
            mood,
            mood_there: None,
            peer: Peer::Nobody,
            inbox: Vec::new(),
            trace: Vec::new(),
            window: 64,
        };
        world.drain();
        world
    }

    /// The trace since the last look is `expected`, line by line.
    pub(super) fn expect(&mut self, expected: &str) {
        let expected: Vec<&str> =
            expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(std::mem::take(&mut self.trace), expected);
    }

    /// The trace since the last look, for who looks for one line in it.
    pub(super) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    /// Lets time pass, stopping wherever the session wants to be called.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut calls = 0;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.drain();
            calls += 1;
            assert!(calls < 10_000, "the timer stands still");
        }
        self.now = end;
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn request(&mut self, cdb: [u8; 16], data: Data) -> TaskId {
        let replay = Replay::of(&cdb);
        let deadline = self.now + Duration::from_secs(30);
        let request = Request { lun: Lun::ZERO, cdb, data, replay, deadline };
        let task = self.session.submit(request).unwrap();
        self.drain();
        task
    }

    pub(super) fn read(&mut self, lba: u64) -> TaskId {
        self.request(Cdb::read16(lba, 1).build(), Data::In(512))
    }

    pub(super) fn write(&mut self, lba: u64, blocks: u32) -> TaskId {
        self.request(Cdb::write16(lba, blocks, false).build(), Data::Out(blocks * 512))
    }

    pub(super) fn compare_and_write(&mut self) -> TaskId {
        let mut cdb = [0; 16];
        (cdb[0], cdb[13]) = (0x89, 1);
        self.request(cdb, Data::Out(1024))
    }

    pub(super) fn cut(&mut self) {
        self.peer = Peer::Nobody;
        self.session.handle_disconnected(self.now);
        self.drain();
    }

    pub(super) fn good(&mut self, task: TaskId) {
        self.answer(task, Status::Good, None);
    }

    fn answer_underflow(&mut self, task: TaskId, missing: usize) {
        let residual = Residual::Underflow(u32::try_from(missing).unwrap());
        self.respond(task, Status::Good, residual, vec![]);
    }

    pub(super) fn answer(&mut self, task: TaskId, status: Status, sense: Option<Sense>) {
        let body = sense.map_or(vec![], |sense| [&[0, 18][..], &sense.fixed()].concat());
        self.respond(task, status, Residual::None, body);
    }

    fn respond(&mut self, task: TaskId, status: Status, residual: Residual, body: Vec<u8>) {
        let sequence = self.sequence(true);
        let pdu = ScsiResponse {
            response: 0,
            status: status.code(),
            residual,
            itt: Tag::Command(task).itt(),
            sequence,
            exp_data_sn: Sn(0),
        };
        self.say(Response::Command(pdu), &body);
    }

    /// Answers the question who the logical unit is, which was the `asked`th of its connection.
    pub(super) fn identify(&mut self, asked: u16, names: &[Designator]) {
        let task = TaskId { slot: 8, generation: asked };
        self.data_of(task, 0, &designators(names));
        self.answer_underflow(task, 1024 - designators(names).len());
    }

    pub(super) fn data_in(&mut self, task: TaskId, offset: u32, len: usize) {
        self.data_of(task, offset, &vec![5; len]);
    }

    fn data_of(&mut self, task: TaskId, offset: u32, bytes: &[u8]) {
        let pdu = DataIn {
            last: false,
            acknowledge: false,
            status: None,
            lun: Lun::ZERO,
            itt: Tag::Command(task).itt(),
            ttt: Ttt::NONE,
            sequence: self.sequence(false),
            data_sn: Sn(0),
            offset,
        };
        self.say(Response::DataIn(pdu), bytes);
    }

    pub(super) fn r2t(&mut self, task: TaskId, offset: u32, len: u32) {
        let pdu = R2t {
            lun: Lun::ZERO,
            itt: Tag::Command(task).itt(),
            ttt: Ttt(9),
            sequence: self.sequence(false),
            r2t_sn: Sn(0),
            offset,
            len,
        };
        self.say(Response::R2t(pdu), &[]);
    }

    /// The numbers of the next response; `counts` if it uses up a StatSN.
    pub(super) fn sequence(&mut self, counts: bool) -> Sequence {
        let Peer::Work { stat_sn, exp_cmd_sn, .. } = &mut self.peer else {
            panic!("nobody is logged in");
        };
        let sequence = Sequence {
            stat_sn: *stat_sn,
            exp_cmd_sn: *exp_cmd_sn,
            max_cmd_sn: exp_cmd_sn.plus(self.window).minus(1),
        };
        if counts {
            *stat_sn = stat_sn.next();
        }
        sequence
    }

    pub(super) fn say(&mut self, response: Response, body: &[u8]) {
        let body = Body::Bytes(Bytes::copy_from_slice(body));
        let bytes =
            Transmit::new(response.build(), body, Digests::default()).to_bytes(|_, _, _| vec![]);
        self.inbox.extend(bytes);
        self.drain();
    }

    /// What the session makes of the bytes that have arrived; whether it was something.
    fn hear(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.inbox);
        let mut input = &bytes[..];
        let words = self.session.next_event(&mut input, self.now).map(|event| describe(&event));
        self.inbox = input.to_vec();
        self.act();
        let heard = words.is_some();
        assert!(heard || self.inbox.is_empty(), "all that comes is taken");
        self.trace.extend(words);
        heard
    }

    /// Carries out what the session wants until it wants nothing more.
    pub(super) fn drain(&mut self) {
        loop {
            self.act();
            if self.hear() {
                continue;
            }
            let Some(transmit) = self.session.poll_transmit() else {
                break;
            };
            self.deliver(&transmit);
        }
        assert!(!self.hear(), "transmits make no events without being followed by None");
    }

    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            self.inbox.clear();
            match action {
                Action::Close { abort } => {
                    self.trace.push(if abort { "reset" } else { "close" }.into());
                    self.peer = Peer::Nobody;
                }
                Action::Connect { address } => {
                    self.trace.push(format!("connect {address}"));
                    self.connect();
                }
            }
        }
    }

    fn connect(&mut self) {
        self.peer = match self.mood {
            Mood::Unreachable => return self.session.handle_disconnected(self.now),
            Mood::Mute => Peer::Mute,
            Mood::Admit { group, .. } => Peer::Login(Box::new(new_login(group))),
            _ => Peer::Login(Box::new(new_login(1))),
        };
        self.session.handle_connected(self.now, [3; 32]);
    }

    /// The target receives a PDU.
    fn deliver(&mut self, transmit: &Transmit) {
        let bytes = transmit.to_bytes(|_, _, len| vec![1; len as usize]);
        match std::mem::replace(&mut self.peer, Peer::Nobody) {
            Peer::Nobody => panic!("sent to nobody: {transmit:?}"),
            Peer::Mute => self.peer = Peer::Mute,
            Peer::Login(login) => self.peer = self.log_in(login, &bytes),
            Peer::Work { mut framer, stat_sn, mut exp_cmd_sn } => {
                let mut input = &bytes[..];
                while let Some(frame) = framer.next(&mut input).unwrap() {
                    if let Frame::Header(bhs) = frame {
                        let pdu = Pdu::parse(&bhs).unwrap();
                        if matches!(pdu, Pdu::Command(_)) {
                            exp_cmd_sn = exp_cmd_sn.next();
                        }
                        self.trace.push(spell(&pdu, transmit));
                    }
                }
                self.peer = Peer::Work { framer, stat_sn, exp_cmd_sn };
            }
        }
    }

    fn log_in(&mut self, mut login: Box<Login>, bytes: &[u8]) -> Peer {
        let mut input = bytes;
        while let Some(event) = login.next_event(&mut input).unwrap() {
            match (event, self.mood.clone()) {
                (target::Event::Identified(identity), Mood::Admit { .. }) => {
                    assert_eq!(identity.isid, Isid([0x80, 0, 0, 0, 0, 1]), "the ISID is kept");
                    assert_eq!(identity.tsih, Tsih(0), "the session is made anew");
                    login.require(Demand::None);
                }
                (target::Event::Ready(_), Mood::Admit { tsih, .. }) => {
                    let admitted = login.admit(Tsih(tsih));
                    self.inbox.extend(admitted.last.to_bytes(|_, _, _| vec![]));
                    return Peer::Work {
                        framer: Box::new(Framer::new(Digests::default(), 1 << 20)),
                        stat_sn: admitted.next_stat_sn,
                        exp_cmd_sn: admitted.exp_cmd_sn,
                    };
                }
                (target::Event::Identified(_), Mood::Refuse(status)) => login.refuse(status),
                (target::Event::Identified(_), Mood::Redirect(address, permanent)) => {
                    login.redirect(address, permanent);
                    self.mood = self.mood_there.take().unwrap_or_else(|| self.mood.clone());
                }
                (target::Event::Refused(_), _) => {}
                (event, mood) => panic!("{event:?} in mood {mood:?}"),
            }
        }
        while let Some(transmit) = login.poll_transmit() {
            self.inbox.extend(transmit.to_bytes(|_, _, _| vec![]));
        }
        Peer::Login(login)
    }
}

fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Up => "up".into(),
        Event::Down { reason } => format!("down: {reason}"),
        Event::Failed { reason } => format!("failed: {reason}"),
        Event::Closed => "closed".into(),
        Event::ReadData { task, offset, bytes } => {
            format!("data {task:?} {offset}..{}", *offset as usize + bytes.len())
        }
        Event::Done { task, outcome } => {
            let word = match outcome {
                Outcome::Good { .. } => "good".into(),
                Outcome::Status { status, .. } => format!("{status:?}"),
                other => format!("{other:?}"),
            };
            format!("{task:?} {word}")
        }
        Event::Attention(sense) => format!("attention {:02x}{:02x}", sense.asc, sense.ascq),
    }
}

fn new_login(group: u16) -> Login {
    Login::new(Settings { offer: Offer::default(), target_portal_group_tag: group, alias: None })
}

fn spell(pdu: &Pdu, transmit: &Transmit) -> String {
    let name = |itt: Itt| match Tag::of(itt) {
        Some(Tag::Command(task)) => format!("{task:?}"),
        other => panic!("{other:?}"),
    };
    match pdu {
        Pdu::Command(pdu) => {
            let what = match pdu.cdb[0] {
                0x88 => "read",
                0x8a => "write",
                0x89 => "compare-and-write",
                0x12 => "inquiry",
                _ => "command",
            };
            format!("> {what} {}", name(pdu.itt))
        }
        Pdu::DataOut(pdu) => {
            let end = pdu.offset + transmit.body.len();
            format!("> data {} {}..{end}", name(pdu.itt), pdu.offset)
        }
        Pdu::TaskManagement(pdu) => format!("> abort {}", name(pdu.referenced)),
        Pdu::NopOut(_) => "> ping".into(),
        Pdu::Logout(_) => "> logout".into(),
        other => panic!("{other:?}"),
    }
}

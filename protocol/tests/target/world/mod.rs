//! A small initiator, a small shell and the target between them; and the trace of what they say.
//!
//! Trace lines: `>` the initiator sends, `=` the target tells its shell, `<` the target sends.
//! Numbers behind a verb are the task's tag. What every conversation must keep (StatSN, DataSN,
//! the window, lengths) is asserted here, not in the tests.

mod initiator;
mod shell;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use outband_protocol::ids::{Cid, IscsiName, Isid, Itt, Lun, TaskId, Tsih, Ttt};
use outband_protocol::keys::{Params, SessionType};
use outband_protocol::login::target::{Admitted, Identity};
use outband_protocol::pdu::*;
use outband_protocol::serial::Sn;
use outband_protocol::target::{Command, Conn, Event, Outcome, PeerError, Targets};
use outband_protocol::{Body, Digests, Transmit};

pub(crate) const KIB: u32 = 1024;
/// What the shell buffers of one task at a time.
const ROOM: u32 = 1024 * KIB;

/// Operation codes that the shell of these tests knows.
pub(crate) mod op {
    /// Good at once.
    pub(crate) const NOTHING: u8 = 0x00;
    /// All data with the status.
    pub(crate) const READ: u8 = 0x28;
    /// Bursts of 1 MiB, the status by `complete`.
    pub(crate) const READ_IN_BURSTS: u8 = 0x88;
    /// Good when all data is here.
    pub(crate) const WRITE: u8 = 0x2a;
    /// Refused at once, with sense.
    pub(crate) const REFUSED: u8 = 0xc0;
    /// Left alone until the test says more.
    pub(crate) const HELD: u8 = 0xc1;
}

#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) params: Params,
    pub(crate) exp_cmd_sn: Sn,
}

impl Default for Session {
    fn default() -> Self {
        let params = Params {
            initial_r2t: false,
            first_burst_len: 64 * KIB,
            max_burst_len: 256 * KIB,
            max_recv_ours: 64 * KIB,
            max_recv_theirs: 64 * KIB,
            ..Params::default()
        };
        Self { params, exp_cmd_sn: Sn(1) }
    }
}

pub(crate) fn session(change: impl FnOnce(&mut Params)) -> Session {
    let mut session = Session::default();
    change(&mut session.params);
    session
}

pub(crate) fn admitted(session: &Session) -> Admitted {
    let login = LoginResponse {
        transit: Some(Stage::FullFeature),
        more: false,
        current: Stage::Operational,
        version_max: 0,
        version_active: 0,
        isid: Isid([0; 6]),
        tsih: Tsih(1),
        itt: Itt(0),
        sequence: Sequence::default(),
        status: LoginStatus::SUCCESS,
    };
    let identity = Identity {
        initiator: IscsiName::new("iqn.2026-11.test:host").unwrap(),
        target: None,
        session: session.params.session,
        isid: Isid([0; 6]),
        tsih: Tsih(0),
        cid: Cid(0),
        alias: None,
    };
    Admitted {
        last: Transmit::new(login.build(), Body::None, Digests::default()),
        params: session.params.clone(),
        identity,
        tsih: Tsih(1),
        next_stat_sn: Sn(u32::MAX),
        exp_cmd_sn: session.exp_cmd_sn,
    }
}

/// Holds the conversation in every way and demands the same trace of all.
pub(crate) fn check(session: Session, talk: impl Fn(&mut World), expected: &str) {
    let lines = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.fold(String::new(), |all, line| all + line + "\n")
    };
    let cuts = (1..=60).chain([97, 511, 512, 513, 4096, 5000, 65_584, 100_000]);
    let mut carried = 0;
    for cut in [usize::MAX].into_iter().chain(cuts) {
        // A long conversation is not cut into more than so many pieces.
        if carried / cut > 30_000 {
            continue;
        }
        for in_place in [false, true] {
            let mut world = World::new(&session, in_place, cut);
            talk(&mut world);
            world.settle();
            carried = world.carried;
            assert_eq!(lines(&world.trace), lines(expected), "cut {cut}, in place: {in_place}");
        }
    }
}

/// A task as the shell sees it.
#[derive(Debug)]
struct Job {
    command: Command,
    buffer: Vec<u8>,
    accepted: u32,
}

/// A task as the initiator sees it.
#[derive(Debug, Default)]
struct Sent {
    expected_len: u32,
    data_sn: u32,
    received: u32,
    sequence: u32,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) conn: Conn,
    params: Params,
    in_place: bool,
    cut: usize,
    carried: usize,
    wire: Vec<u8>,
    trace: String,
    run: Option<(Itt, u32, u32)>,
    jobs: BTreeMap<TaskId, Job>,
    sent: BTreeMap<Itt, Sent>,
    pub(crate) r2ts: VecDeque<R2t>,
    /// Answered by hand.
    pub(crate) keeps_r2ts: bool,
    pub(crate) cmd_sn: Sn,
    pub(crate) exp_stat_sn: Sn,
    pub(crate) max_cmd_sn: Sn,
    next_itt: u32,
    pub(crate) closed: bool,
    pub(crate) last_ttt: Ttt,
}

fn byte(itt: Itt, offset: u32) -> u8 {
    let [.., low] =
        offset.wrapping_mul(31).wrapping_add(offset >> 9).wrapping_add(itt.0).to_be_bytes();
    low
}

pub(crate) fn pattern(itt: Itt, offset: u32, len: u32) -> Vec<u8> {
    (offset..offset + len).map(|offset| byte(itt, offset)).collect()
}

pub(crate) fn size(bytes: u32) -> String {
    if bytes >= KIB && bytes.is_multiple_of(KIB) {
        format!("{}K", bytes / KIB)
    } else {
        bytes.to_string()
    }
}

impl World {
    pub(crate) fn new(session: &Session, in_place: bool, cut: usize) -> Self {
        let mut conn = Conn::new(admitted(session));
        let first = conn.poll_transmit().expect("the login's last response goes first");
        assert_eq!(first.bhs().opcode(), opcode::LOGIN_RESPONSE);
        Self {
            conn,
            params: session.params.clone(),
            in_place,
            cut,
            carried: 0,
            wire: Vec::new(),
            trace: String::new(),
            run: None,
            jobs: BTreeMap::new(),
            sent: BTreeMap::new(),
            r2ts: VecDeque::new(),
            keeps_r2ts: false,
            cmd_sn: session.exp_cmd_sn,
            exp_stat_sn: Sn(u32::MAX),
            max_cmd_sn: session.exp_cmd_sn.plus(7),
            next_itt: 1,
            closed: false,
            last_ttt: Ttt::NONE,
        }
    }

    pub(crate) fn say(&mut self, line: impl std::fmt::Display) {
        writeln!(self.trace, "{line}").unwrap();
    }

    /// Carries everything to the target and back until nobody has anything to say.
    pub(crate) fn settle(&mut self) {
        loop {
            self.turn();
            if self.keeps_r2ts || self.r2ts.is_empty() {
                break;
            }
            while let Some(r2t) = self.r2ts.pop_front() {
                self.data_out(r2t.itt, r2t.ttt, r2t.offset, r2t.offset + r2t.len);
            }
        }
    }

    /// What is on the wire arrives; what the target says comes back.
    pub(crate) fn turn(&mut self) {
        let wire = std::mem::take(&mut self.wire);
        self.carried += wire.len();
        let mut answers = Vec::new();
        for piece in wire.chunks(self.cut.min(wire.len()).max(1)) {
            self.feed(piece);
            answers.extend(std::iter::from_fn(|| self.conn.poll_transmit()));
        }
        self.feed(&[]);
        answers.extend(std::iter::from_fn(|| self.conn.poll_transmit()));
        self.feed(&[]);
        self.end_run();
        for answer in answers {
            self.on_answer(&answer);
        }
    }

    fn feed(&mut self, mut input: &[u8]) {
        while !self.closed {
            if self.in_place
                && let Some(placement) = self.conn.placement()
                && !input.is_empty()
            {
                let (bytes, rest) = input.split_at(input.len().min(placement.len as usize));
                self.on_bytes(placement.task, placement.offset, bytes);
                self.conn.placed(bytes);
                input = rest;
            }
            match self.conn.next_event(&mut input) {
                Ok(Some(event)) => self.on_event(event),
                Ok(None) if input.is_empty() => break,
                Ok(None) => panic!("input is left but nothing comes of it"),
                Err(error) => self.on_error(&error),
            }
        }
    }
}

pub(crate) fn digests() -> Session {
    session(|params| params.digests = Digests { header: true, data: true })
}

pub(crate) fn discovery() -> Session {
    session(|params| params.session = SessionType::Discovery)
}

//! A session and the real target machine, with the connection cut after every so many bytes: each
//! request is done once for the application, and the medium holds what was acknowledged.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ids::{Cid, IscsiName, Isid, Lun, TaskId, Tsih};
use crate::initiator::session::{Action, Config, Event, Outcome, Request, Session, Timing};
use crate::initiator::{Data, Replay};
use crate::keys::Offer;
use crate::login::initiator as login;
use crate::login::target::{self as target_login, Demand, Login, Settings};
use crate::scsi::Cdb;
use crate::serial::Sn;
use crate::target::{self, Conn};
use crate::transmit::{Body, Transmit};

const BLOCK: usize = 512;
const BLOCKS: usize = 200;

/// Small enough that every kind of PDU is needed.
fn offer() -> Offer {
    Offer {
        max_recv: 1024,
        max_burst_len: 8 * 1024,
        first_burst_len: 4 * 1024,
        max_outstanding_r2t: 2,
        ..Offer::default()
    }
}

enum Peer {
    Nobody,
    Login(Box<Login>),
    Work { conn: Box<Conn>, data: HashMap<TaskId, (target::Command, Vec<u8>)> },
}

struct Pair {
    session: Session,
    now: Instant,
    peer: Peer,
    medium: Vec<u8>,
    to_target: Vec<u8>,
    to_session: Vec<u8>,
    /// Bytes until the connection is cut.
    left: usize,
    carried: usize,
    buffers: HashMap<TaskId, Vec<u8>>,
    done: HashMap<TaskId, Outcome>,
}

impl Pair {
    fn new(cut: usize) -> Self {
        let name = |text: &str| IscsiName::new(text).unwrap();
        let login = login::Config {
            name: name("iqn.2026-11.local.host:a"),
            alias: None,
            target: Some(name("iqn.2026-11.local.outband:pool:vol")),
            isid: Isid([0x80, 0, 0, 0, 0, 1]),
            tsih: Tsih(0),
            cid: Cid(0),
            offer: offer(),
            chap: None,
            challenge: (0, Vec::new()),
            cmd_sn: Sn(u32::MAX - 3),
        };
        let portals = vec!["a:3260".into(), "b:3260".into()];
        let timing = Timing::default();
        let identify = None;
        let config = Config { login, portals, requests_max: 32, identify, timing, seed: 5 };
        #[expect(clippy::disallowed_methods, reason = "any instant will do to begin at")]
        let now = Instant::now();
        Self {
            session: Session::new(config, now),
            now,
            peer: Peer::Nobody,
            medium: vec![0; BLOCKS * BLOCK],
            to_target: Vec::new(),
            to_session: Vec::new(),
            left: cut,
            carried: 0,
            buffers: HashMap::new(),
            done: HashMap::new(),
        }
    }

    fn submit(&mut self, cdb: Cdb, data: Data, buffer: Vec<u8>) -> TaskId {
        let cdb = cdb.build();
        let deadline = self.now + Duration::from_secs(60);
        let replay = Replay::of(&cdb);
        let request = Request { lun: Lun::ZERO, cdb, data, replay, deadline };
        let task = self.session.submit(request).unwrap();
        self.buffers.insert(task, buffer);
        task
    }

    /// Runs until every request is over.
    fn run(&mut self) {
        for _ in 0..100_000 {
            if self.done.len() == self.buffers.len() {
                return;
            }
            if !self.step()
                && let Some(at) = self.session.poll_timeout()
            {
                self.now = self.now.max(at);
                self.session.handle_timeout(self.now);
            }
        }
        panic!("it never ends: {:?}", self.done);
    }

    /// Whether anything moved.
    fn step(&mut self) -> bool {
        let mut moved = self.hear();
        while let Some(transmit) = self.session.poll_transmit() {
            let buffers = &self.buffers;
            self.to_target.extend(transmit.to_bytes(|task, offset, len| {
                buffers[&task][offset as usize..][..len as usize].to_vec()
            }));
        }
        let mut bytes = std::mem::take(&mut self.to_target);
        if self.carry(&mut bytes) {
            self.serve(&bytes);
            moved = true;
        }
        let mut bytes = std::mem::take(&mut self.to_session);
        if self.carry(&mut bytes) {
            self.to_session = bytes;
            moved = true;
        }
        if self.left == 0 {
            self.left = usize::MAX;
            self.hear();
            self.hang_up();
            self.session.handle_disconnected(self.now);
            moved = true;
        }
        moved
    }

    /// Lets bytes pass as far as the connection holds; whether there are any.
    fn carry(&mut self, bytes: &mut Vec<u8>) -> bool {
        bytes.truncate(self.left);
        self.carried += bytes.len();
        if self.left != usize::MAX {
            self.left -= bytes.len();
        }
        !bytes.is_empty()
    }

    fn hang_up(&mut self) {
        self.peer = Peer::Nobody;
        self.to_session.clear();
        self.to_target.clear();
    }

    fn hear(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.to_session);
        let mut input = &bytes[..];
        let mut heard = false;
        loop {
            let event = self.session.next_event(&mut input, self.now);
            while let Some(action) = self.session.poll_action() {
                heard = true;
                self.hang_up();
                if let Action::Connect { .. } = action {
                    let (target_portal_group_tag, alias) = (1, None);
                    let settings = Settings { offer: offer(), target_portal_group_tag, alias };
                    self.peer = Peer::Login(Box::new(Login::new(settings)));
                    self.session.handle_connected(self.now, [1; 32]);
                }
            }
            match event {
                None => return heard,
                Some(Event::ReadData { task, offset, bytes }) => {
                    let buffer = self.buffers.get_mut(&task).unwrap();
                    buffer[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                Some(Event::Done { task, outcome }) => {
                    let before = self.done.insert(task, outcome);
                    assert_eq!(before, None, "{task:?} is over twice");
                }
                Some(Event::Failed { reason }) => panic!("{reason}"),
                Some(_) => {}
            }
            heard = true;
        }
    }

    fn serve(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        match std::mem::replace(&mut self.peer, Peer::Nobody) {
            Peer::Nobody => {}
            Peer::Login(login) => self.peer = self.log_in(login, input),
            Peer::Work { mut conn, mut data } => {
                while let Some(event) = conn.next_event(&mut input).unwrap() {
                    self.work(&mut conn, &mut data, event);
                }
                conn.set_credit(16);
                while let Some(transmit) = conn.poll_transmit() {
                    self.to_session.extend(spell_out(&transmit, &data));
                }
                self.peer = Peer::Work { conn, data };
            }
        }
    }

    fn log_in(&mut self, mut login: Box<Login>, mut input: &[u8]) -> Peer {
        while let Some(event) = login.next_event(&mut input).unwrap() {
            match event {
                target_login::Event::Identified(_) => login.require(Demand::None),
                target_login::Event::Ready(_) => {
                    let mut conn = Box::new(Conn::new(login.admit(Tsih(1))));
                    let last = conn.poll_transmit().expect("the last Login Response");
                    self.to_session.extend(spell_out(&last, &HashMap::new()));
                    return Peer::Work { conn, data: HashMap::new() };
                }
                target_login::Event::Refused(status) => panic!("{status}"),
            }
        }
        while let Some(transmit) = login.poll_transmit() {
            self.to_session.extend(spell_out(&transmit, &HashMap::new()));
        }
        Peer::Login(login)
    }

    fn work(
        &mut self,
        conn: &mut Conn,
        data: &mut HashMap<TaskId, (target::Command, Vec<u8>)>,
        event: target::Event<'_>,
    ) {
        match event {
            target::Event::Command(command) => {
                let task = command.task;
                let wanted = u64::from(command.expected_len);
                match Cdb::parse(&command.cdb).unwrap() {
                    Cdb::Read16(read) => {
                        data.insert(
                            task,
                            (command, self.medium[range(read.lba, read.blocks)].to_vec()),
                        );
                        let data_in = command.expected_len;
                        conn.complete(
                            task,
                            target::Outcome { data_in, wanted, ..Default::default() },
                        );
                    }
                    Cdb::Write16(_) => {
                        data.insert(task, (command, vec![0; command.expected_len as usize]));
                        conn.accept_data(task, command.expected_len);
                    }
                    other => panic!("{other:?}"),
                }
            }
            target::Event::WriteData { task, offset, bytes } => {
                let buffer = &mut data.get_mut(&task).unwrap().1;
                buffer[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            target::Event::WriteReady(task) => {
                let (command, bytes) = &data[&task];
                let Cdb::Write16(write) = Cdb::parse(&command.cdb).unwrap() else {
                    panic!("only writes have data");
                };
                self.medium[range(write.lba, write.blocks)].copy_from_slice(bytes);
                let wanted = bytes.len() as u64;
                conn.complete(task, target::Outcome { wanted, ..Default::default() });
            }
            other => panic!("{other:?}"),
        }
    }
}

fn range(lba: u64, blocks: u32) -> std::ops::Range<usize> {
    let start = usize::try_from(lba).unwrap() * BLOCK;
    start..start + blocks as usize * BLOCK
}

fn spell_out(transmit: &Transmit, data: &HashMap<TaskId, (target::Command, Vec<u8>)>) -> Vec<u8> {
    match transmit.body {
        Body::Task { task, offset, len } => {
            transmit.to_bytes(|_, _, _| data[&task].1[offset as usize..][..len as usize].to_vec())
        }
        _ => transmit.to_bytes(|_, _, _| vec![]),
    }
}

fn pattern(seed: u64, blocks: u32) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((at as u64 * 31 + seed * 17 + 1) % 251).unwrap();
    (0..blocks as usize * BLOCK).map(byte).collect()
}

/// Writes and then reads in the same places, cut once. Returns how many bytes went over the wire.
fn conversation(cut: usize) -> usize {
    let writes = [(0u64, 1u32), (1, 3), (10, 40), (60, 9), (80, 17)];
    let mut pair = Pair::new(cut);
    for (lba, blocks) in writes {
        let cdb = Cdb::write16(lba, blocks, false);
        let len = blocks * 512;
        pair.submit(cdb, Data::Out(len), pattern(lba, blocks));
    }
    let untouched = pair.submit(Cdb::read16(150, 20), Data::In(20 * 512), vec![9; 20 * BLOCK]);
    pair.run();
    let mut reads = Vec::new();
    for (lba, blocks) in writes {
        let room = vec![0; blocks as usize * BLOCK];
        reads.push(pair.submit(Cdb::read16(lba, blocks), Data::In(blocks * 512), room));
    }
    pair.run();
    for (task, outcome) in &pair.done {
        assert!(matches!(outcome, Outcome::Good { .. }), "{task:?} {outcome:?}, cut at {cut}");
    }
    for (task, (lba, blocks)) in reads.into_iter().zip(writes) {
        assert!(pair.buffers[&task] == pattern(lba, blocks), "read of {lba}, cut at {cut}");
        assert!(pair.medium[range(lba, blocks)] == pattern(lba, blocks), "{lba}, cut at {cut}");
    }
    assert!(pair.buffers.get(&untouched).is_none_or(|buffer| buffer.iter().all(|byte| *byte == 0)));
    pair.carried
}

#[test]
fn wherever_the_connection_is_cut_every_request_is_done_as_if_it_had_not_been() {
    let whole = conversation(usize::MAX);
    assert!(whole > 60_000, "{whole} bytes");
    // Steps that are odd, so that in time every place within a header is met.
    for cut in (1..2_000).step_by(9).chain((2_000..whole).step_by(307)) {
        conversation(cut);
    }
}

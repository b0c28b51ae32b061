//! A target that means harm, against the initiator's session: in the login, or behind an honest one.
//! No request ends twice, no data lies outside of its request, and what is asked of the shell is
//! bounded by what came.
//!
//! The first byte says where the malice begins and what the session insists on; the second, in how
//! large pieces the rest of the input comes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use outband_protocol::ids::{Cid, IscsiName, Isid, Lun, TaskId, Tsih};
use outband_protocol::initiator::{Action, Config, Data, Event, Replay, Request, Session, Timing};
use outband_protocol::keys::Offer;
use outband_protocol::login::initiator as login;
use outband_protocol::login::target::{self, Demand, Login, Settings};
use outband_protocol::login::{Credentials, Secret};
use outband_protocol::scsi::Cdb;
use outband_protocol::serial::Sn;

/// Logins in a row, so that what a lost connection leaves is met too.
const CONNECTIONS_MAX: u32 = 3;
/// Calls of a session in a row that bring nothing new mean that it never ends.
const ROUNDS_MAX: u32 = 10_000;

const HONEST_LOGIN: u8 = 1;
const CHAP: u8 = 2;
const IDENTIFY: u8 = 4;

struct Host {
    session: Session,
    now: Instant,
    /// Requests under way, and how long their data is.
    open: BTreeMap<TaskId, u32>,
    connected: bool,
    connections: u32,
    said: Vec<u8>,
}

/// See the module.
pub fn run(input: &[u8]) {
    let [how, piece, stream @ ..] = input else {
        return;
    };
    let mut host = Host::new(*how);
    host.ask();
    host.connect();
    if how & HONEST_LOGIN != 0 && how & CHAP == 0 {
        host.log_in();
    }
    for bytes in stream.chunks(usize::from(*piece).max(1) * 4) {
        host.hear(bytes);
        host.pass(Duration::from_millis(700));
        host.connect();
    }
    host.session.close(host.now);
    host.drain();
    host.pass(Duration::from_secs(300));
}

impl Host {
    fn new(how: u8) -> Self {
        let secret = |byte| Secret::new(vec![byte; 16]);
        let chap = (how & CHAP != 0).then(|| Credentials {
            user: "user".to_owned(),
            secret: secret(1),
            mutual: Some(("target".to_owned(), secret(2))),
        });
        let name = |text: &str| IscsiName::new(text).expect("a name");
        let login = login::Config {
            name: name("iqn.2026-11.local.host:a"),
            alias: None,
            target: Some(name("iqn.2026-11.local.outband:pool:vol")),
            isid: Isid([0x80, 0, 0, 0, 0, 1]),
            tsih: Tsih(0),
            cid: Cid(0),
            offer: Offer::default(),
            chap,
            challenge: (1, vec![0x11; 24]),
            cmd_sn: Sn(1),
        };
        let config = Config {
            login,
            portals: vec!["192.0.2.1:3260".to_owned()],
            requests_max: 8,
            identify: (how & IDENTIFY != 0).then_some(Lun::ZERO),
            timing: Timing::default(),
            seed: 1,
        };
        let now = Instant::now();
        let session = Session::new(config, now);
        let (open, said) = (BTreeMap::new(), Vec::new());
        Self { session, now, open, connected: false, connections: 0, said }
    }

    /// One of each kind.
    fn ask(&mut self) {
        let commands = [
            (Cdb::read16(0, 8), Data::In(4096)),
            (Cdb::write16(8, 8, true), Data::Out(4096)),
            (Cdb::write16(1 << 40, 512, false), Data::Out(512 * 512)),
            (Cdb::flush(), Data::None),
            (Cdb::inquiry(None, 96), Data::In(96)),
        ];
        for (cdb, data) in commands {
            let cdb = cdb.build();
            let deadline = self.now + Duration::from_secs(20);
            let request = Request { lun: Lun::ZERO, cdb, data, replay: Replay::of(&cdb), deadline };
            let task = self.session.submit(request).expect("there is room for eight");
            let len = match data {
                Data::In(len) | Data::Out(len) => len,
                Data::None => 0,
            };
            self.open.insert(task, len);
        }
        self.drain();
    }

    /// Does what the session wants of its shell.
    fn connect(&mut self) {
        if !self.connected && self.connections < CONNECTIONS_MAX {
            self.connections += 1;
            self.connected = true;
            self.session.handle_connected(self.now, [3; 32]);
            self.drain();
        }
    }

    /// An honest target lets it in.
    fn log_in(&mut self) {
        let settings =
            Settings { offer: Offer::default(), target_portal_group_tag: 1, alias: None };
        let mut honest = Login::new(settings);
        for _ in 0..8 {
            let said = std::mem::take(&mut self.said);
            let mut input = &said[..];
            loop {
                match honest.next_event(&mut input) {
                    Ok(Some(target::Event::Identified(_))) => honest.require(Demand::None),
                    Ok(Some(target::Event::Ready(_))) => {
                        let mut last = Vec::new();
                        while let Some(transmit) = honest.poll_transmit() {
                            last.extend(transmit.to_bytes(nothing));
                        }
                        let admitted = honest.admit(Tsih(1));
                        last.extend(admitted.last.to_bytes(nothing));
                        return self.hear(&last);
                    }
                    Ok(None) => break,
                    other => panic!("an honest login fails: {other:?}"),
                }
            }
            let mut answer = Vec::new();
            while let Some(transmit) = honest.poll_transmit() {
                answer.extend(transmit.to_bytes(nothing));
            }
            self.hear(&answer);
        }
    }

    fn hear(&mut self, mut input: &[u8]) {
        for _ in 0..ROUNDS_MAX {
            if !self.connected {
                return;
            }
            let before = input.len();
            let event = self.session.next_event(&mut input, self.now);
            let is_over = event.is_none() && (input.is_empty() || input.len() == before);
            if let Some(event) = event {
                on_event(&mut self.open, &event);
            }
            self.drain();
            if is_over {
                return;
            }
        }
        panic!("{} bytes have no end", input.len());
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..ROUNDS_MAX {
            let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.drain();
        }
        panic!("its timer stands still");
    }

    fn drain(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut idle = true;
            while let Some(action) = self.session.poll_action() {
                idle = false;
                match action {
                    Action::Connect { address } => assert!(address.len() < 1024, "{address}"),
                    Action::Close { .. } => {
                        self.connected = false;
                        self.said.clear();
                    }
                }
            }
            while let Some(event) = self.session.next_event(&mut &[][..], self.now) {
                idle = false;
                on_event(&mut self.open, &event);
            }
            while let Some(transmit) = self.session.poll_transmit() {
                idle = false;
                let open = &self.open;
                let bytes = transmit.to_bytes(|task, offset, len| {
                    let whole = open.get(&task).copied().unwrap_or(0);
                    assert!(offset.checked_add(len).is_some_and(|end| end <= whole), "{task:?}");
                    vec![0; len as usize]
                });
                self.said.extend(bytes);
            }
            if idle {
                return;
            }
        }
        panic!("there is no end of actions, events and transmits");
    }
}

/// A login names no data.
fn nothing(_: TaskId, _: u32, _: u32) -> Vec<u8> {
    Vec::new()
}

fn on_event(open: &mut BTreeMap<TaskId, u32>, event: &Event<'_>) {
    match event {
        Event::ReadData { task, offset, bytes } => {
            let whole = open.get(task).copied().expect("data is of a request under way");
            let len = u32::try_from(bytes.len()).expect("less than a PDU");
            assert!(offset.checked_add(len).is_some_and(|end| end <= whole), "beyond {task:?}");
        }
        Event::Done { task, .. } => {
            assert!(open.remove(task).is_some(), "{task:?} ends twice");
        }
        _ => {}
    }
}

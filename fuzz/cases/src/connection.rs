//! Bytes of a connection from its first one on: the target's login, and what follows when it lets the
//! initiator in. Nothing panics, and however the stream is cut the target hears and answers the same.
//!
//! The first two bytes say where the stream is cut.

use outband_protocol::Transmit;
use outband_protocol::ids::Tsih;
use outband_protocol::keys::Offer;
use outband_protocol::login::target::{self as login, Demand, Login, Settings};
use outband_protocol::pdu::TaskManagementResult;
use outband_protocol::target::{Command, Conn, Event, Outcome};

/// A shell that answers every event at once, and sends only when the stream is over.
enum Target {
    Login(Box<Login>),
    Conn(Box<Conn>),
    Over,
}

#[derive(Default, PartialEq, Eq, Debug)]
struct Trace {
    heard: Vec<String>,
    sent: Vec<Vec<u8>>,
}

impl Target {
    fn new() -> Self {
        let settings =
            Settings { offer: Offer::default(), target_portal_group_tag: 1, alias: None };
        Self::Login(Box::new(Login::new(settings)))
    }

    /// Takes `input` and everything that follows from it.
    fn hear(&mut self, mut input: &[u8], trace: &mut Trace) {
        loop {
            let goes_on = match std::mem::replace(self, Self::Over) {
                Self::Login(login) => self.log_in(login, &mut input, trace),
                Self::Conn(conn) => self.serve(conn, &mut input, trace),
                Self::Over => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn log_in(&mut self, mut login: Box<Login>, input: &mut &[u8], trace: &mut Trace) -> bool {
        let event = login.next_event(input);
        trace.heard.push(format!("{event:?}"));
        match event {
            Ok(Some(login::Event::Identified(_))) => login.require(Demand::None),
            Ok(Some(login::Event::Ready(_))) => {
                take(|| login.poll_transmit(), trace);
                let admitted = login.admit(Tsih(1));
                *self = Self::Conn(Box::new(Conn::new(admitted)));
                return true;
            }
            Ok(Some(login::Event::Refused(_))) | Err(_) => {
                take(|| login.poll_transmit(), trace);
                return false;
            }
            Ok(None) => {
                // How often there is nothing depends on the cut.
                trace.heard.pop();
                *self = Self::Login(login);
                return false;
            }
        }
        *self = Self::Login(login);
        true
    }

    fn serve(&mut self, mut conn: Box<Conn>, input: &mut &[u8], trace: &mut Trace) -> bool {
        let event = conn.next_event(input);
        match &event {
            // So does in how many pieces data comes.
            Ok(None | Some(Event::WriteData { .. })) => {}
            other => trace.heard.push(format!("{other:?}")),
        }
        let goes_on = matches!(event, Ok(Some(_)));
        match event {
            Ok(Some(Event::Ended)) | Err(_) => {
                take(|| conn.poll_transmit(), trace);
                return false;
            }
            Ok(Some(event)) => react(&mut conn, event),
            Ok(None) => assert!(input.is_empty(), "all input is taken before more is wanted"),
        }
        *self = Self::Conn(conn);
        goes_on
    }

    fn finish(self, trace: &mut Trace) {
        match self {
            Self::Login(mut login) => take(|| login.poll_transmit(), trace),
            Self::Conn(mut conn) => take(|| conn.poll_transmit(), trace),
            Self::Over => {}
        }
    }
}

fn react(conn: &mut Conn, event: Event<'_>) {
    match event {
        Event::Command(command) if command.write => {
            conn.accept_data(command.task, command.expected_len.min(1 << 20));
        }
        Event::Command(command) => complete(conn, command),
        Event::WriteReady(task) | Event::DataFailed { task, .. } => {
            conn.complete(task, Outcome { wanted: 4096, ..Outcome::default() });
        }
        Event::Manage(manage) => {
            for task in manage.tasks {
                conn.complete(task, Outcome::default());
            }
            conn.answer_management(manage.itt, TaskManagementResult::Complete);
        }
        Event::SendTargets { itt, .. } => conn.answer_targets(itt, b"TargetName=x\0".to_vec()),
        Event::Logout { itt } => conn.answer_logout(itt),
        Event::WriteData { .. } | Event::Pong | Event::Ended => {}
    }
}

/// Some reads bring data, other commands nothing; none brings a megabyte of headers.
fn complete(conn: &mut Conn, command: Command) {
    let data_in = if command.read { command.expected_len.min(64 * 1024) } else { 0 };
    let wanted = u64::from(data_in);
    conn.complete(command.task, Outcome { data_in, wanted, ..Outcome::default() });
}

fn take(mut poll: impl FnMut() -> Option<Transmit>, trace: &mut Trace) {
    while let Some(transmit) = poll() {
        trace.sent.push(transmit.head().to_vec());
    }
}

fn trace<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Trace {
    let (mut target, mut trace) = (Target::new(), Trace::default());
    for piece in pieces {
        target.hear(piece, &mut trace);
    }
    target.finish(&mut trace);
    trace
}

/// See the module.
pub fn run(input: &[u8]) {
    let [first, second, stream @ ..] = input else {
        return;
    };
    let whole = trace([stream]);
    let mut cuts = [*first, *second].map(|cut| usize::from(cut) * 2 % (stream.len() + 1));
    cuts.sort_unstable();
    let [a, b] = cuts;
    assert_eq!(trace([&stream[..a], &stream[a..b], &stream[b..]]), whole);
    assert_eq!(trace(stream.chunks(1)), whole);
}

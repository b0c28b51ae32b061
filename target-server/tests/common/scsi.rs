//! A host that sends what it likes: any command block, with any expected length, one at a time.
//! The protocol's own initiator machines over a blocking socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use outband_protocol::ids::{Cid, IscsiName, Isid, Lun, TaskId, Tsih};
use outband_protocol::initiator::{Command, Conn, ConnEvent, Data, End};
use outband_protocol::keys::Offer;
use outband_protocol::login::initiator::{Config, Event, Login};
use outband_protocol::pdu::Residual;
use outband_protocol::scsi::{Cdb, Sense, Status};
use outband_protocol::serial::Sn;

/// A session with one command at a time.
pub(crate) struct ScsiHost {
    stream: TcpStream,
    input: Vec<u8>,
    conn: Conn,
    generation: u16,
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) sense: Option<Sense>,
    /// What came, of a read.
    pub(crate) data: Vec<u8>,
    pub(crate) residual: Residual,
}

impl Answer {
    /// GOOD, with nothing over and nothing missing.
    pub(crate) fn is_good(&self) -> bool {
        self.status == Status::Good && self.residual == Residual::None
    }

    /// Whether it failed, with the key and code of `sense`.
    pub(crate) fn says(&self, sense: &Sense) -> bool {
        self.sense.is_some_and(|said| said.is(sense))
    }
}

impl ScsiHost {
    /// Logs in without authentication, and is told of the power on.
    pub(crate) fn connect(portal: SocketAddr, target: &str, host: &str) -> Self {
        let stream = TcpStream::connect(portal).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut login = Login::new(Config {
            name: IscsiName::new(host).unwrap(),
            alias: None,
            target: Some(IscsiName::new(target).unwrap()),
            isid: Isid([0x80, 0, 0, 0, 0, 7]),
            tsih: Tsih(0),
            cid: Cid(0),
            offer: Offer::default(),
            chap: None,
            challenge: (0, Vec::new()),
            cmd_sn: Sn(1),
        });
        let mut wire = (stream, Vec::new());
        let logged_in = loop {
            match take(&mut wire.1, |input| login.next_event(input).unwrap()) {
                Some(Event::Done(logged_in)) => break logged_in,
                Some(other) => panic!("not let in: {other:?}"),
                None => {}
            }
            while let Some(transmit) = login.poll_transmit() {
                wire.0.write_all(&transmit.to_bytes(|_, _, _| Vec::new())).unwrap();
            }
            receive(&mut wire.0, &mut wire.1);
        };
        let (stream, input) = wire;
        let conn = Conn::new((&logged_in).into(), 1);
        let mut session = Self { stream, input, conn, generation: 0 };
        let told = session.nothing(Cdb::TestUnitReady);
        assert!(told.sense.is_none_or(|sense| sense.asc == 0x29), "{told:?}");
        session
    }

    /// A command without data.
    pub(crate) fn nothing(&mut self, cdb: Cdb) -> Answer {
        self.command(cdb.build(), Data::None, &[])
    }

    /// A command that expects `len` bytes.
    pub(crate) fn read(&mut self, cdb: Cdb, len: usize) -> Answer {
        self.command(cdb.build(), Data::In(u32::try_from(len).unwrap()), &[])
    }

    /// A command that brings `bytes` along.
    pub(crate) fn write(&mut self, cdb: Cdb, bytes: &[u8]) -> Answer {
        self.command(cdb.build(), Data::Out(u32::try_from(bytes.len()).unwrap()), bytes)
    }

    /// Any command, to its end.
    pub(crate) fn command(&mut self, cdb: [u8; 16], data: Data, bytes: &[u8]) -> Answer {
        self.generation = self.generation.wrapping_add(1);
        let task = TaskId { slot: 0, generation: self.generation };
        self.conn.start(task, &Command { lun: Lun::ZERO, cdb, data }).unwrap();
        let mut into = match data {
            Data::In(len) => vec![0; len as usize],
            Data::None | Data::Out(_) => Vec::new(),
        };
        loop {
            let conn = &mut self.conn;
            let mut ended = None;
            take(&mut self.input, |input| {
                while let Some(event) = conn.next_event(input).unwrap() {
                    match event {
                        ConnEvent::ReadData { offset, bytes, .. } => {
                            into[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                        }
                        ConnEvent::Done { end, .. } => ended = Some(end),
                        other => panic!("not awaited: {other:?}"),
                    }
                }
            });
            if let Some(end) = ended {
                return answer(end, into);
            }
            while let Some(transmit) = self.conn.poll_transmit() {
                let body =
                    |_, offset: u32, len: u32| bytes[offset as usize..][..len as usize].to_vec();
                self.stream.write_all(&transmit.to_bytes(body)).unwrap();
            }
            receive(&mut self.stream, &mut self.input);
        }
    }
}

fn answer(end: End, mut data: Vec<u8>) -> Answer {
    let End::Status { status, sense, received, residual } = end else {
        panic!("no status: {end:?}");
    };
    data.truncate(received as usize);
    Answer { status: Status::from_code(status).unwrap(), sense, data, residual }
}

/// Lets `with` take bytes off the front of what has come.
fn take<T>(input: &mut Vec<u8>, with: impl FnOnce(&mut &[u8]) -> T) -> T {
    let mut rest = &input[..];
    let result = with(&mut rest);
    let taken = input.len() - rest.len();
    input.drain(..taken);
    result
}

fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) {
    let mut room = vec![0; 256 * 1024];
    let count = loop {
        match stream.read(&mut room) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other.unwrap(),
        }
    };
    assert!(count > 0, "the target has closed the connection");
    input.extend_from_slice(&room[..count]);
}

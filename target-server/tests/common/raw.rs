//! An initiator by hand: it says exactly what a test wants said, and keeps nothing back.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(dead_code, reason = "no test uses all of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use outband_protocol::ids::{Cid, IscsiName, Isid, Itt, Lun, Tsih, Ttt};
use outband_protocol::keys::{Offer, Params};
use outband_protocol::login::initiator::{Config, Event, LoggedIn, Login};
use outband_protocol::login::{Credentials, Secret};
use outband_protocol::pdu::{
    Bhs, DataOut, LogoutReason, LogoutRequest, NopOut, Order, Request, Response, ScsiCommand,
    TaskAttribute, TaskManagementFunction, TaskManagementRequest, TextRequest,
};
use outband_protocol::scsi::Sense;
use outband_protocol::serial::Sn;
use outband_protocol::{Body, Digests, Transmit};

use super::{SECRET, host};

/// Nothing that is to come takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the target has said: a header, and its data.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) response: Response,
    pub(crate) data: Vec<u8>,
}

impl Said {
    /// The task or exchange that a text is of.
    pub(crate) fn response_itt(&self) -> Itt {
        match &self.response {
            Response::Text(text) => text.itt,
            other => panic!("no text: {other:?}"),
        }
    }
}

/// A session without a mind of its own.
pub(crate) struct Raw {
    stream: TcpStream,
    inbox: Vec<u8>,
    pub(crate) login: LoggedIn,
    pub(crate) cmd_sn: Sn,
    exp_stat_sn: Sn,
    next_itt: u32,
}

/// How to log in: to `target`, or for discovery, as host `of` by CHAP.
pub(crate) fn config(target: Option<&str>, of: &str, isid: u8) -> Config {
    let offer = Offer { initial_r2t: true, ..Offer::default() };
    let (user, secret) = (of.to_owned(), Secret::new(SECRET.as_bytes().to_vec()));
    Config {
        name: IscsiName::new(&host(of)).unwrap(),
        alias: None,
        target: target.map(|name| IscsiName::new(name).unwrap()),
        isid: Isid([0x80, 0, 0, 0, 0, isid]),
        tsih: Tsih(0),
        cid: Cid(7),
        offer,
        chap: Some(Credentials { user, secret, mutual: None }),
        challenge: (1, vec![1; 16]),
        cmd_sn: Sn(1),
    }
}

/// The stream after a login, and how that ended.
pub(crate) fn log_in(portal: SocketAddr, config: Config) -> (TcpStream, Event) {
    let mut stream = TcpStream::connect(portal).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut login = Login::new(config);
    loop {
        while let Some(transmit) = login.poll_transmit() {
            stream.write_all(&transmit.to_bytes(|_, _, _| Vec::new())).unwrap();
        }
        // Header and text, and not a byte of what is behind them.
        let mut bytes = vec![0; 48];
        stream.read_exact(&mut bytes).unwrap();
        let mut bhs = Bhs::default();
        bhs.0.copy_from_slice(&bytes);
        let len = bhs.data_segment_len().next_multiple_of(4) as usize;
        bytes.resize(48 + len, 0);
        stream.read_exact(&mut bytes[48..]).unwrap();
        if let Some(event) = login.next_event(&mut &bytes[..]).unwrap() {
            return (stream, event);
        }
    }
}

impl Raw {
    /// A session to `target` that stands.
    pub(crate) fn to(portal: SocketAddr, target: &str, of: &str, isid: u8) -> Self {
        Self::with(portal, config(Some(target), of, isid))
    }

    pub(crate) fn with(portal: SocketAddr, config: Config) -> Self {
        match log_in(portal, config) {
            (stream, Event::Done(login)) => Self {
                stream,
                inbox: Vec::new(),
                cmd_sn: login.cmd_sn,
                exp_stat_sn: login.exp_stat_sn,
                login,
                next_itt: 1,
            },
            (_, other) => panic!("no session: {other:?}"),
        }
    }

    pub(crate) fn params(&self) -> &Params {
        &self.login.params
    }

    pub(crate) fn order(&mut self, immediate: bool) -> Order {
        let order = Order { immediate, cmd_sn: self.cmd_sn, exp_stat_sn: self.exp_stat_sn };
        if !immediate {
            self.cmd_sn = self.cmd_sn.next();
        }
        order
    }

    pub(crate) fn itt(&mut self) -> Itt {
        self.next_itt += 1;
        Itt(self.next_itt - 1)
    }

    pub(crate) fn send(&mut self, request: Request, data: &[u8]) {
        let body = Body::Bytes(data.to_vec().into());
        let transmit = Transmit::new(request.build(), body, Digests::default());
        self.stream.write_all(&transmit.to_bytes(|_, _, _| Vec::new())).unwrap();
    }

    /// Commands without data, in one segment: the target finds them all in one receive.
    pub(crate) fn send_together(&mut self, commands: &[ScsiCommand]) {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| command.build().0).collect();
        self.stream.write_all(&bytes).unwrap();
    }

    /// A command as it is by default: SIMPLE, and no data.
    pub(crate) fn command(&mut self, cdb: &[u8]) -> ScsiCommand {
        let mut whole = [0; 16];
        whole[..cdb.len()].copy_from_slice(cdb);
        ScsiCommand {
            order: self.order(false),
            last: true,
            read: false,
            write: false,
            attribute: TaskAttribute::Simple,
            lun: Lun::ZERO,
            itt: self.itt(),
            expected_len: 0,
            cdb: whole,
        }
    }

    /// READ(10) of one block at `lba`.
    pub(crate) fn read(&mut self, lba: u8, attribute: TaskAttribute) -> Itt {
        let command = self.command(&[0x28, 0, 0, 0, 0, lba, 0, 0, 1, 0]);
        let command = ScsiCommand { read: true, expected_len: 512, attribute, ..command };
        self.send(Request::Command(command), &[]);
        command.itt
    }

    /// WRITE(10) of one block at `lba`, with `immediate` bytes of it.
    pub(crate) fn write(&mut self, lba: u8, attribute: TaskAttribute, immediate: &[u8]) -> Itt {
        let command = self.command(&[0x2a, 0, 0, 0, 0, lba, 0, 0, 1, 0]);
        let command = ScsiCommand { write: true, expected_len: 512, attribute, ..command };
        self.send(Request::Command(command), immediate);
        command.itt
    }

    /// The data of an R2T that asks for one block.
    pub(crate) fn data_out(&mut self, itt: Itt, ttt: Ttt, data: &[u8]) {
        self.more_data_out(itt, ttt, 0, data);
    }

    pub(crate) fn more_data_out(&mut self, itt: Itt, ttt: Ttt, offset: u32, data: &[u8]) {
        let exp_stat_sn = self.exp_stat_sn;
        let (lun, data_sn) = (Lun::ZERO, Sn(0));
        let pdu = DataOut { last: true, lun, itt, ttt, exp_stat_sn, data_sn, offset };
        self.send(Request::DataOut(pdu), data);
    }

    /// Some of the data of an R2T, in one PDU that breaks off after so many bytes; the rest of it.
    pub(crate) fn begin_data_out(
        &mut self,
        itt: Itt,
        ttt: Ttt,
        data: &[u8],
        first: usize,
    ) -> Vec<u8> {
        let (lun, exp_stat_sn) = (Lun::ZERO, self.exp_stat_sn);
        let pdu = DataOut { last: true, lun, itt, ttt, exp_stat_sn, data_sn: Sn(0), offset: 0 };
        let body = Body::Bytes(data.to_vec().into());
        let request = Request::DataOut(pdu).build();
        let mut bytes =
            Transmit::new(request, body, Digests::default()).to_bytes(|_, _, _| Vec::new());
        let rest = bytes.split_off(48 + first);
        self.stream.write_all(&bytes).unwrap();
        rest
    }

    /// Bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The data of an R2T, in as many PDUs as it takes.
    pub(crate) fn burst(&mut self, itt: Itt, ttt: Ttt, offset: u32, data: &[u8]) {
        let exp_stat_sn = self.exp_stat_sn;
        let segment = self.login.params.max_recv_theirs as usize;
        let (mut data_sn, mut at) = (Sn(0), offset);
        let count = data.len().div_ceil(segment);
        for (number, piece) in data.chunks(segment).enumerate() {
            let last = number + 1 == count;
            let (lun, offset) = (Lun::ZERO, at);
            let pdu = DataOut { last, lun, itt, ttt, exp_stat_sn, data_sn, offset };
            self.send(Request::DataOut(pdu), piece);
            data_sn = data_sn.next();
            at += u32::try_from(piece.len()).unwrap();
        }
    }

    pub(crate) fn manage(&mut self, function: TaskManagementFunction, referenced: Itt) -> Itt {
        self.manage_as(0, function, referenced)
    }

    /// A function on another logical unit than the one that there is.
    pub(crate) fn manage_at(&mut self, lun: u8, function: TaskManagementFunction) -> Itt {
        self.manage_as(lun, function, Itt::NONE)
    }

    fn manage_as(&mut self, lun: u8, function: TaskManagementFunction, referenced: Itt) -> Itt {
        let (order, itt) = (self.order(true), self.itt());
        let request = TaskManagementRequest {
            order,
            function,
            lun: Lun(u64::from(lun) << 48),
            itt,
            referenced,
            ref_cmd_sn: Sn(0),
            exp_data_sn: Sn(0),
        };
        self.send(Request::TaskManagement(request), &[]);
        itt
    }

    pub(crate) fn logout(&mut self) -> Itt {
        let (order, itt) = (self.order(true), self.itt());
        let reason = LogoutReason::CloseSession;
        self.send(Request::Logout(LogoutRequest { order, reason, itt, cid: Cid(7) }), &[]);
        itt
    }

    pub(crate) fn text(&mut self, text: &str) -> Itt {
        let (order, itt) = (self.order(true), self.itt());
        let request =
            TextRequest { order, last: true, more: false, lun: Lun::ZERO, itt, ttt: Ttt::NONE };
        self.send(Request::Text(request), text.as_bytes());
        itt
    }

    /// The next thing that the target says; `None` when it has closed.
    pub(crate) fn hear(&mut self) -> Option<Said> {
        let header = self.take(48)?;
        let mut bhs = Bhs::default();
        bhs.0.copy_from_slice(&header);
        let len = bhs.data_segment_len() as usize;
        let mut data = self.take(len.next_multiple_of(4))?;
        data.truncate(len);
        let response = Response::parse(&bhs).unwrap();
        if uses_stat_sn(&response) {
            self.exp_stat_sn = self.exp_stat_sn.next();
        }
        Some(Said { response, data })
    }

    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.inbox.len() < len {
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(0) => return None,
                Ok(count) => self.inbox.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                // A child of another test has ended.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing came: {error}"),
            }
        }
        Some(self.inbox.drain(..len).collect())
    }

    /// The next thing, which must come.
    pub(crate) fn said(&mut self) -> Said {
        self.hear().expect("the target has closed")
    }

    /// Asserts that the target has nothing to say: a ping is answered before anything else.
    pub(crate) fn is_silent(&mut self) {
        let itt = self.ping();
        match self.said().response {
            Response::NopIn(nop) => assert_eq!(nop.itt, itt),
            other => panic!("it is not silent: {other:?}"),
        }
    }

    /// Closes the connection without a word.
    pub(crate) fn hang_up(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// A ping, which is answered with its tag.
    pub(crate) fn ping(&mut self) -> Itt {
        let (order, itt) = (self.order(true), self.itt());
        self.send(Request::NopOut(NopOut { order, lun: Lun::ZERO, itt, ttt: Ttt::NONE }), &[]);
        itt
    }

    /// The answer to a ping of the target's.
    pub(crate) fn answer_ping(&mut self, ttt: Ttt) {
        let order = self.order(true);
        self.send(Request::NopOut(NopOut { order, lun: Lun::ZERO, itt: Itt::NONE, ttt }), &[]);
    }

    /// The R2T of a write.
    pub(crate) fn r2t(&mut self, itt: Itt) -> Ttt {
        match self.said().response {
            Response::R2t(r2t) if r2t.itt == itt => r2t.ttt,
            other => panic!("no R2T of {itt:?}: {other:?}"),
        }
    }

    /// The end of a command: its tag, `00` or its status with key, code and qualifier.
    pub(crate) fn end(&mut self) -> (Itt, String) {
        let said = self.said();
        match said.response {
            Response::DataIn(data) => {
                let (status, _) = data.status.expect("one block with its status");
                (data.itt, format!("{status:02x}"))
            }
            Response::Command(response) => (response.itt, ended(response.status, &said.data)),
            other => panic!("no end of a command: {other:?}"),
        }
    }

    /// Asserts how the next command ends.
    pub(crate) fn ends(&mut self, itt: Itt, how: &str) {
        assert_eq!(self.end(), (itt, how.to_owned()));
    }

    /// Asserts the answer to a task management function.
    pub(crate) fn managed(&mut self, itt: Itt) {
        match self.said().response {
            Response::TaskManagement(answer) => {
                use outband_protocol::pdu::TaskManagementResult as Result;
                assert_eq!((answer.itt, answer.result), (itt, Result::Complete));
            }
            other => panic!("no answer to a function: {other:?}"),
        }
    }

    /// TEST UNIT READY until it is; what it says on the way.
    pub(crate) fn attentions(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let command = self.command(&[0; 6]);
            self.send(Request::Command(command), &[]);
            match self.end() {
                (_, status) if status == "00" => return all,
                (_, status) => all.push(status),
            }
        }
    }
}

fn ended(status: u8, data: &[u8]) -> String {
    match data.get(2..) {
        Some(sense) if !sense.is_empty() => {
            let sense = Sense::parse(sense).unwrap();
            let Sense { key, asc, ascq, .. } = sense;
            format!("{status:02x} {:x}/{asc:02x}{ascq:02x}", key.code())
        }
        _ => format!("{status:02x}"),
    }
}

fn uses_stat_sn(response: &Response) -> bool {
    match response {
        Response::NopIn(pdu) => pdu.itt != Itt::NONE,
        Response::DataIn(pdu) => pdu.status.is_some(),
        Response::R2t(_) => false,
        _ => true,
    }
}

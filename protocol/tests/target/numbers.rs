//! The numbers and lengths of single PDUs, as they stand on the wire.

use outband_protocol::Body;
use outband_protocol::Transmit;
use outband_protocol::ids::{Itt, Lun, TaskId, Ttt};
use outband_protocol::pdu::{
    Bhs, DataOut, NopOut, Order, R2t, RejectReason, Response, ScsiCommand, TaskAttribute,
};
use outband_protocol::serial::Sn;
use outband_protocol::target::{Conn, Event, Outcome};

use crate::world::{KIB, admitted, op, pattern, session};

/// The target alone: what is said to it, and what it says.
struct Bare {
    conn: Conn,
    cmd_sn: u32,
    tasks: Vec<TaskId>,
}

impl Bare {
    fn new() -> Self {
        let session = session(|params| {
            params.max_burst_len = 8 * KIB;
            params.max_recv_theirs = 4 * KIB;
            params.max_outstanding_r2t = 2;
        });
        let mut conn = Conn::new(admitted(&session));
        conn.poll_transmit().expect("the last of the login");
        Self { conn, cmd_sn: 1, tasks: Vec::new() }
    }

    fn order(&mut self) -> Order {
        self.cmd_sn += 1;
        Order { immediate: false, cmd_sn: Sn(self.cmd_sn - 1), exp_stat_sn: Sn(0) }
    }

    /// Puts a command there, which the shell leaves alone.
    fn command(&mut self, itt: u32, (read, write): (bool, bool), expected_len: u32) {
        let (order, attribute) = (self.order(), TaskAttribute::Simple);
        let (last, lun, itt, cdb) = (true, Lun::ZERO, Itt(itt), [op::HELD; 16]);
        let command =
            ScsiCommand { order, last, read, write, attribute, lun, itt, expected_len, cdb };
        self.hear(&command.build(), &[]);
    }

    fn hear(&mut self, header: &Bhs, data: &[u8]) {
        let body = Body::Bytes(data.to_vec().into());
        let bytes = Transmit::new(*header, body, Default::default()).to_bytes(|_, _, _| Vec::new());
        let mut input = &bytes[..];
        while let Some(event) = self.conn.next_event(&mut input).unwrap() {
            if let Event::Command(command) = event {
                self.conn.accept_data(command.task, u32::MAX);
                self.tasks.push(command.task);
            }
        }
    }

    fn end(&mut self, at: usize, status: u8, sense: &'static [u8], data_in: u32) {
        let sense = (!sense.is_empty()).then(|| sense.into());
        let wanted = u64::from(data_in);
        self.conn.complete(self.tasks[at], Outcome { status, sense, data_in, wanted });
    }

    fn said(&mut self) -> Vec<(Response, Transmit)> {
        let transmits = std::iter::from_fn(|| self.conn.poll_transmit());
        transmits.map(|said| (Response::parse(&said.bhs()).unwrap(), said)).collect()
    }
}

/// StatSN as it stands in the PDU.
fn stat_sn(said: &Transmit) -> u32 {
    let bytes = said.bhs().0;
    u32::from_be_bytes([bytes[24], bytes[25], bytes[26], bytes[27]])
}

/// §4.2.2.2: the login has used FFFFFFFEh, and each PDU with a status takes the next number. R2Ts and
/// pings of the target show it and do not take it; Data-Ins without a status have none.
#[test]
fn each_status_has_the_next_number_and_nothing_else_takes_one() {
    let mut bare = Bare::new();
    bare.command(1, (false, false), 0);
    bare.command(2, (true, false), 8 * KIB);
    bare.command(3, (false, true), 4 * KIB);
    bare.end(0, 0, &[], 0);
    bare.end(1, 0, &[], 8 * KIB);
    bare.conn.ping();
    let order = bare.order();
    let ping = NopOut { order, lun: Lun::ZERO, itt: Itt(9), ttt: Ttt::NONE };
    bare.hear(&ping.build(), &[]);
    let mut unknown = Bhs::default();
    unknown.0[0] = 0x1c;
    bare.hear(&unknown, &[]);
    bare.conn.request_logout(1);
    let said = bare.said();
    let numbers = said.iter().map(|(_, transmit)| (transmit.bhs().opcode(), stat_sn(transmit)));
    let (none, first) = (0, u32::MAX);
    assert_eq!(
        numbers.collect::<Vec<_>>(),
        [
            (0x31, first),
            (0x21, first),
            (0x25, none),
            (0x25, 0),
            (0x20, 1),
            (0x20, 1),
            (0x3f, 2),
            (0x32, 3),
        ]
    );
}

/// §4.2.2.4, §11.8, §11.4.8: R2TSN and DataSN count from 0 in each command, an R2T asks for 1 to
/// MaxBurstLength bytes within the command, MaxOutstandingR2T at once, and ExpDataSN is their number.
#[test]
fn data_and_r2ts_count_from_zero_and_the_response_tells_how_many_there_were() {
    let mut bare = Bare::new();
    for (itt, len) in [(1, 20 * KIB), (2, 3)] {
        bare.command(itt, (false, true), len);
        let mut asked = Vec::new();
        loop {
            let said = bare.said();
            if said.is_empty() {
                break;
            }
            assert!(said.len() <= 2, "no more at once than was agreed");
            for (response, _) in said {
                let Response::R2t(R2t { r2t_sn, offset, len, ttt, .. }) = response else {
                    panic!("no R2T: {response:?}");
                };
                assert_ne!(ttt, Ttt::NONE);
                asked.push((r2t_sn.0, offset, len));
                let (last, lun, itt, data_sn) = (true, Lun::ZERO, Itt(itt), Sn(0));
                let data = DataOut { last, lun, itt, ttt, exp_stat_sn: Sn(0), data_sn, offset };
                bare.hear(&data.build(), &pattern(itt, offset, len));
            }
        }
        let expected: &[_] = match len {
            3 => &[(0, 0, 3)],
            _ => &[(0, 0, 8 * KIB), (1, 8 * KIB, 8 * KIB), (2, 16 * KIB, 4 * KIB)],
        };
        assert_eq!(asked, expected);
        bare.end(bare.tasks.len() - 1, 0, &[], 0);
        let said = bare.said();
        let Response::Command(response) = &said[0].0 else { panic!("{said:?}") };
        assert_eq!(response.exp_data_sn.0 as usize, asked.len());
    }
    for itt in [3, 4] {
        bare.command(itt, (true, false), 16 * KIB);
        bare.end(bare.tasks.len() - 1, 2, &[0x70], 12 * KIB);
        let said = bare.said();
        let numbers = said.iter().filter_map(|(response, _)| match response {
            Response::DataIn(data) => Some(data.data_sn.0),
            _ => None,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 2]);
        let Some((Response::Command(response), _)) = said.last() else { panic!("{said:?}") };
        assert_eq!(response.exp_data_sn, Sn(3));
    }
    bare.command(5, (true, false), 16 * KIB);
    bare.end(bare.tasks.len() - 1, 2, &[0x70], 0);
    let Response::Command(response) = &bare.said()[0].0 else { panic!("no response") };
    assert_eq!(response.exp_data_sn, Sn(0), "none was sent");
}

/// §11.4.7: SenseLength, then the sense data.
#[test]
fn sense_data_stands_behind_its_length() {
    let mut bare = Bare::new();
    for (at, sense) in [&[0x70, 0, 5][..], &[0x72; 252]].into_iter().enumerate() {
        bare.command(1, (false, false), 0);
        bare.end(at, 2, sense, 0);
        let said = bare.said();
        let Body::Bytes(bytes) = &said[0].1.body else { panic!("no data segment: {said:?}") };
        let len = u16::try_from(sense.len()).unwrap().to_be_bytes();
        assert_eq!(bytes[..], [&len[..], sense].concat()[..]);
    }
}

/// §11.17: the header that was not taken, whole, and a StatSN.
#[test]
fn a_reject_carries_the_whole_header_and_takes_a_number() {
    let mut bare = Bare::new();
    let mut unknown = Bhs::default();
    for (at, byte) in (0..=255).zip(&mut unknown.0) {
        *byte = at;
    }
    unknown.0[0] = 0x1c;
    unknown.0[4..8].fill(0);
    for number in [u32::MAX, 0] {
        bare.hear(&unknown, &[]);
        let said = bare.said();
        let (Response::Reject(reject), transmit) = &said[0] else { panic!("{said:?}") };
        assert_eq!(reject.sequence.stat_sn.0, number);
        assert_eq!(transmit.body, Body::Bytes(unknown.0.to_vec().into()));
        assert_eq!(&transmit.bhs().0[16..20], [0xff; 4], "of no task");
    }
}

/// §4.2.2.1: no status comes before ExpCmdSN acknowledges its command; MaxCmdSN is at least
/// ExpCmdSN - 1 in whatever is sent.
#[test]
fn every_answer_acknowledges_the_commands_that_have_come() {
    let mut bare = Bare::new();
    for itt in 1..=40 {
        bare.command(itt, (true, false), 512);
        if itt % 8 == 0 {
            for at in bare.tasks.len() - 8..bare.tasks.len() {
                bare.end(at, 0, &[], 0);
            }
        }
        for (_, transmit) in bare.said() {
            let header = transmit.bhs().0;
            let number = |at: usize| {
                u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            assert_eq!(number(28), bare.cmd_sn, "ExpCmdSN");
            assert!(number(32) + 1 >= number(28), "MaxCmdSN");
        }
    }
    assert_eq!(bare.tasks.len(), 40);
}

/// §11.2.1.2: opcodes of a target, and those that nobody has.
#[test]
fn no_opcode_but_an_initiators_is_taken() {
    for opcode in (0x07..=0x3f).filter(|opcode| *opcode != 0x10) {
        let mut bare = Bare::new();
        let mut header = Bhs::default();
        header.0[0] = opcode;
        bare.hear(&header, &[]);
        let said = bare.said();
        let Response::Reject(reject) = &said[0].0 else { panic!("{opcode:#x}: {said:?}") };
        assert_eq!(reject.reason, RejectReason::CommandNotSupported, "{opcode:#x}");
    }
}

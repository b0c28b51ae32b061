//! Conversations of one connection with a target that we play, cut anywhere.

mod data;
mod numbers;
mod offences;

use super::*;
use crate::framer::FrameError;
use crate::pdu::{
    AsyncEvent, AsyncMessage, DataIn, LogoutResponse, LogoutResult, NopIn, R2t, Reject,
    RejectReason, Residual, Response, ScsiResponse, Sequence, TaskManagementResponse,
    TaskManagementResult, TextResponse,
};
use crate::scsi::Cdb;
use crate::scsi::sense::WRITE_PROTECTED;

const KIB: u32 = 1024;
const TASK: TaskId = TaskId { slot: 0, generation: 3 };
const TTT: Ttt = Ttt(0x77);

fn terms() -> Terms {
    Terms {
        digests: Digests::default(),
        send_segment_len_max: 8 * KIB,
        recv_segment_len_max: 16 * KIB,
        immediate_data: true,
        initial_r2t: false,
        first_burst_len: 16 * KIB,
        burst_len_max: 32 * KIB,
        outstanding_r2t_max: 1,
        cid: Cid(0),
        cmd_sn: Sn(100),
        exp_stat_sn: Sn(1000),
        max_cmd_sn: Sn(107),
    }
}

fn read(len: u32) -> Command {
    Command { lun: Lun::ZERO, cdb: Cdb::read16(0, len / 512).build(), data: Data::In(len) }
}

fn write(len: u32) -> Command {
    Command { lun: Lun::ZERO, cdb: Cdb::write16(0, len / 512, false).build(), data: Data::Out(len) }
}

/// The other end, played by the test.
struct Talk {
    conn: Conn,
    stat_sn: Sn,
    cut: usize,
}

impl Talk {
    fn new(terms: Terms, cut: usize) -> Self {
        Self { conn: Conn::new(terms, 16), stat_sn: terms.exp_stat_sn, cut }
    }

    fn sequence(&self) -> Sequence {
        Sequence { stat_sn: self.stat_sn, exp_cmd_sn: Sn(100), max_cmd_sn: Sn(107) }
    }

    /// Sends bytes in pieces; what came of them, in words. Pieces of read data are joined.
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, PeerError> {
        let mut words: Vec<String> = Vec::new();
        let mut run: Option<(u32, u32)> = None;
        for mut piece in bytes.chunks(self.cut) {
            while let Some(event) = self.conn.next_event(&mut piece)? {
                if let ConnEvent::ReadData { offset, bytes, .. } = event {
                    let len = u32::try_from(bytes.len()).unwrap();
                    let (start, end) = run.unwrap_or((offset, offset));
                    assert_eq!(end, offset, "a gap in the data");
                    run = Some((start, end + len));
                    continue;
                }
                words.extend(run.take().map(|(start, end)| format!("data {start}..{end}")));
                words.push(describe(&event));
            }
        }
        words.extend(run.map(|(start, end)| format!("data {start}..{end}")));
        Ok(words)
    }

    fn tell(&mut self, response: Response, body: &[u8]) -> Result<Vec<String>, PeerError> {
        let body = Bytes::copy_from_slice(body);
        let transmit = Transmit::new(response.build(), Body::Bytes(body), self.conn.terms.digests);
        self.feed(&transmit.to_bytes(|_, _, _| unreachable!("the body is here")))
    }

    fn data_in(
        &mut self,
        offset: u32,
        data_sn: u32,
        len: u32,
        good: bool,
    ) -> Result<Vec<String>, PeerError> {
        let pdu = DataIn {
            last: good,
            acknowledge: false,
            status: good.then_some((0, Residual::None)),
            lun: Lun::ZERO,
            itt: tasks::itt(TASK),
            ttt: Ttt::NONE,
            sequence: self.sequence(),
            data_sn: Sn(data_sn),
            offset,
        };
        if good {
            self.stat_sn = self.stat_sn.next();
        }
        self.tell(Response::DataIn(pdu), &vec![7; len as usize])
    }

    fn respond(&mut self, status: u8, body: &[u8]) -> Result<Vec<String>, PeerError> {
        let pdu = ScsiResponse {
            response: 0,
            status,
            residual: Residual::None,
            itt: tasks::itt(TASK),
            sequence: self.sequence(),
            exp_data_sn: Sn(0),
        };
        self.stat_sn = self.stat_sn.next();
        self.tell(Response::Command(pdu), body)
    }

    fn r2t(&mut self, r2t_sn: u32, offset: u32, len: u32) -> Result<Vec<String>, PeerError> {
        self.r2t_at(Lun::ZERO, r2t_sn, offset, len)
    }

    fn r2t_at(
        &mut self,
        lun: Lun,
        r2t_sn: u32,
        offset: u32,
        len: u32,
    ) -> Result<Vec<String>, PeerError> {
        let (itt, r2t_sn) = (tasks::itt(TASK), Sn(r2t_sn));
        let pdu = R2t { lun, itt, ttt: TTT, sequence: self.sequence(), r2t_sn, offset, len };
        self.tell(Response::R2t(pdu), &[])
    }

    fn reject(&mut self, reason: RejectReason, header: &[u8]) -> Result<Vec<String>, PeerError> {
        let reject = Reject { reason, sequence: self.sequence(), data_sn: Sn(0) };
        self.stat_sn = self.stat_sn.next();
        self.tell(Response::Reject(reject), header)
    }

    /// All that the connection wants sent, in words.
    fn sent(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.conn.poll_transmit()).map(|transmit| spell(&transmit)).collect()
    }
}

fn describe(event: &ConnEvent<'_>) -> String {
    match event {
        ConnEvent::Done { end: End::Status { status, sense, received, .. }, .. } => {
            let sense = sense.map(|sense| format!(" {:02x}/{:02x}", sense.asc, sense.ascq));
            format!("done {status:#x}{} after {received}", sense.unwrap_or_default())
        }
        ConnEvent::Done { end, .. } => format!("done {end:?}"),
        ConnEvent::Aborted { result, .. } => format!("aborted {result:?}"),
        ConnEvent::Notice { message, .. } => format!("notice {:?}", message.event),
        ConnEvent::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
        other => format!("{other:?}"),
    }
}

fn spell(transmit: &Transmit) -> String {
    let range = match transmit.body {
        Body::Task { offset, len, .. } => format!(" {}..{}", offset, offset + len),
        Body::Bytes(ref bytes) => format!(" {}", String::from_utf8_lossy(bytes)),
        Body::None => String::new(),
    };
    let mark = |on: bool| if on { " F" } else { "" };
    match Pdu::parse(&transmit.bhs()).unwrap() {
        Pdu::Command(pdu) => format!("command {:?}{range}{}", pdu.order.cmd_sn, mark(pdu.last)),
        Pdu::DataOut(pdu) => {
            let how = if pdu.ttt == Ttt::NONE { "unsolicited" } else { "solicited" };
            format!("{how} {:?}{range}{}", pdu.data_sn, mark(pdu.last))
        }
        Pdu::NopOut(pdu) if pdu.itt == Itt::NONE => format!("pong {:?}", pdu.ttt),
        Pdu::NopOut(_) => "ping".into(),
        Pdu::TaskManagement(pdu) => format!("{:?} {:?}", pdu.function, pdu.ref_cmd_sn),
        Pdu::Text(pdu) => format!("text{range} {:?}", pdu.ttt),
        Pdu::Logout(pdu) => format!("logout {:?}", pdu.reason),
        other => panic!("{other:?}"),
    }
}

/// Runs a conversation with the stream cut in different ways, with and without digests.
fn check(terms: Terms, conversation: impl Fn(&mut Talk)) {
    for digests in [Digests::default(), Digests { header: true, data: true }] {
        for cut in [1, 3, 47, 48, 49, 1000, 1 << 20] {
            conversation(&mut Talk::new(Terms { digests, ..terms }, cut));
        }
    }
}

#[test]
fn a_read_takes_its_data_in_order_and_its_status_with_the_last() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &read(20 * KIB)).unwrap();
        assert_eq!(talk.sent(), ["command 100 F"]);
        assert_eq!(talk.data_in(0, 0, 16 * KIB, false).unwrap(), ["data 0..16384"]);
        let words = talk.data_in(16 * KIB, 1, 4 * KIB, true).unwrap();
        assert_eq!(words, ["data 16384..20480", "done 0x0 after 20480"]);
        assert_eq!(talk.conn.exp_stat_sn(), Sn(1001));
        assert!(talk.conn.start(TASK, &read(512)).is_ok(), "the slot is free again");
    });
}

#[test]
fn read_data_can_be_received_in_place() {
    let mut talk = Talk::new(terms(), usize::MAX);
    talk.conn.start(TASK, &read(KIB)).unwrap();
    talk.sent();
    let pdu = DataIn {
        last: true,
        acknowledge: false,
        status: Some((0, Residual::None)),
        lun: Lun::ZERO,
        itt: tasks::itt(TASK),
        ttt: Ttt::NONE,
        sequence: talk.sequence(),
        data_sn: Sn(0),
        offset: 0,
    };
    let body = Body::Bytes(vec![9; 1024].into());
    let bytes = Transmit::new(pdu.build(), body, Digests::default()).to_bytes(|_, _, _| vec![]);
    assert!(talk.feed(&bytes[..48 + 24]).unwrap() == ["data 0..24"]);
    assert_eq!(talk.conn.placement(), Some(Placement { task: TASK, offset: 24, len: 1000 }));
    talk.conn.placed(&bytes[72..]);
    assert_eq!(talk.conn.placement(), None);
    assert_eq!(talk.feed(&[]).unwrap(), Vec::<String>::new());
    assert_eq!(
        talk.conn.next_event(&mut &[][..]).map(|event| event.map(|e| describe(&e))),
        Ok(Some("done 0x0 after 1024".into()))
    );
}

#[test]
fn a_write_sends_what_it_may_and_then_what_it_is_asked_for() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &write(60 * KIB)).unwrap();
        assert_eq!(talk.sent(), ["command 100 0..8192", "unsolicited 0 8192..16384 F"]);
        talk.r2t(0, 16 * KIB, 20 * KIB).unwrap();
        assert_eq!(
            talk.sent(),
            ["solicited 0 16384..24576", "solicited 1 24576..32768", "solicited 2 32768..36864 F"]
        );
        talk.r2t(1, 36 * KIB, 24 * KIB).unwrap();
        assert_eq!(talk.sent().len(), 3);
        assert_eq!(talk.respond(0, &[]).unwrap(), ["done 0x0 after 0"]);
    });
}

#[test]
fn a_write_waits_for_the_first_r2t_where_that_was_agreed() {
    let strict = Terms { immediate_data: false, initial_r2t: true, ..terms() };
    check(strict, |talk| {
        talk.conn.start(TASK, &write(4 * KIB)).unwrap();
        assert_eq!(talk.sent(), ["command 100 F"]);
        talk.r2t(0, 0, 4 * KIB).unwrap();
        assert_eq!(talk.sent(), ["solicited 0 0..4096 F"]);
    });
    check(Terms { initial_r2t: true, ..terms() }, |talk| {
        talk.conn.start(TASK, &write(60 * KIB)).unwrap();
        assert_eq!(talk.sent(), ["command 100 0..8192 F"]);
    });
    check(Terms { immediate_data: false, ..terms() }, |talk| {
        talk.conn.start(TASK, &write(KIB)).unwrap();
        assert_eq!(talk.sent(), ["command 100", "unsolicited 0 0..1024 F"]);
    });
}

#[test]
fn commands_stop_at_the_window_and_go_on_when_it_opens() {
    let mut talk = Talk::new(Terms { max_cmd_sn: Sn(101), ..terms() }, usize::MAX);
    let task = |slot| TaskId { slot, generation: 0 };
    assert!(talk.conn.start(TASK, &read(512)).is_ok());
    assert!(talk.conn.start(task(1), &read(512)).is_ok());
    talk.sent();
    assert_eq!(talk.conn.start(task(2), &read(512)), Err(Closed));
    assert_eq!(talk.conn.window(), 0);
    talk.data_in(0, 0, 512, true).unwrap();
    assert_eq!(talk.conn.window(), 6);
    assert!(talk.conn.start(task(2), &read(512)).is_ok());
    assert_eq!(talk.conn.start(task(2), &read(512)), Err(Closed), "the slot is taken");
    assert_eq!(talk.conn.start(task(99), &read(512)), Err(Closed), "there is no such slot");
}

#[test]
fn a_status_with_sense_is_read_as_far_as_it_goes() {
    let sense = WRITE_PROTECTED.fixed();
    for (body, words) in [
        ([&[0, 18][..], &sense].concat(), "done 0x2 27/00 after 0"),
        // Longer than its segment.
        ([&[0xff, 0xff][..], &sense].concat(), "done 0x2 27/00 after 0"),
        // Cut within the sense, within the length, and before it.
        ([&[0, 18][..], &sense[..2]].concat(), "done 0x2 after 0"),
        (vec![0], "done 0x2 after 0"),
        (vec![], "done 0x2 after 0"),
        // Much longer than any sense: the rest is not kept.
        (vec![0xff; 9000], "done 0x2 after 0"),
    ] {
        check(terms(), |talk| {
            talk.conn.start(TASK, &write(512)).unwrap();
            talk.sent();
            assert_eq!(talk.respond(2, &body).unwrap(), [words]);
            assert!(talk.conn.held.capacity() <= 1024);
        });
    }
}

#[test]
fn a_changed_byte_is_noticed_where_digests_were_agreed() {
    let digests = Digests { header: true, data: true };
    for (at, expected) in
        [(20, PeerError::Frame(FrameError::HeaderDigest)), (60, PeerError::DataDigest)]
    {
        let mut talk = Talk::new(Terms { digests, ..terms() }, usize::MAX);
        talk.conn.start(TASK, &write(512)).unwrap();
        talk.sent();
        let response = ScsiResponse {
            response: 0,
            status: 2,
            residual: Residual::None,
            itt: tasks::itt(TASK),
            sequence: talk.sequence(),
            exp_data_sn: Sn(0),
        };
        let body = Body::Bytes(vec![0; 20].into());
        let mut bytes = Transmit::new(response.build(), body, digests).to_bytes(|_, _, _| vec![]);
        bytes[at] ^= 4;
        assert_eq!(talk.feed(&bytes), Err(expected));
    }
}

#[test]
fn pings_are_answered_both_ways_and_floods_end_the_connection() {
    let mut talk = Talk::new(terms(), usize::MAX);
    let ping = NopIn { lun: Lun(5), itt: Itt::NONE, ttt: TTT, sequence: talk.sequence() };
    assert_eq!(talk.tell(Response::NopIn(ping), b"hello").unwrap(), Vec::<String>::new());
    assert_eq!(talk.sent(), ["pong Ttt(0x77)"]);
    assert_eq!(talk.conn.exp_stat_sn(), Sn(1000), "a ping of the target's uses up no StatSN");

    talk.conn.ping();
    talk.conn.ping();
    assert_eq!(talk.sent(), ["ping"]);
    let pong = NopIn {
        lun: Lun::ZERO,
        itt: Tag::Ping(1).itt(),
        ttt: Ttt::NONE,
        sequence: talk.sequence(),
    };
    assert_eq!(talk.tell(Response::NopIn(pong), &[]).unwrap(), ["Pong"]);

    let flood = (0..1000).find_map(|_| talk.tell(Response::NopIn(ping), &[]).err());
    assert_eq!(flood, Some(PeerError::Flood("pings")));
}

#[test]
fn an_aborted_write_sends_no_more_and_is_over_when_the_target_says_so() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &write(60 * KIB)).unwrap();
        talk.sent();
        talk.r2t(0, 16 * KIB, 16 * KIB).unwrap();
        talk.conn.poll_transmit().unwrap();
        talk.conn.abort(TASK).unwrap();
        assert_eq!(talk.conn.abort(TASK), Err(Closed), "once is enough");
        assert_eq!(talk.sent(), ["AbortTask 100"]);
        let done = TaskManagementResponse {
            result: TaskManagementResult::Complete,
            itt: Tag::Abort(TASK).itt(),
            sequence: talk.sequence(),
        };
        assert_eq!(talk.tell(Response::TaskManagement(done), &[]).unwrap(), ["aborted Complete"]);
        assert!(talk.conn.start(TASK, &read(512)).is_ok());
    });
}

#[test]
fn an_answer_to_an_abort_that_was_not_sent_yet_is_an_offence() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &write(60 * KIB)).unwrap();
        talk.conn.abort(TASK).unwrap();
        let done = TaskManagementResponse {
            result: TaskManagementResult::Complete,
            itt: Tag::Abort(TASK).itt(),
            sequence: talk.sequence(),
        };
        let error = talk.tell(Response::TaskManagement(done), &[]).unwrap_err();
        assert_eq!(error, PeerError::UnknownTask(Tag::Abort(TASK).itt()));
    });
}

#[test]
fn an_aborted_read_passes_no_data_on_and_its_status_may_still_come() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &read(KIB)).unwrap();
        talk.sent();
        talk.conn.abort(TASK).unwrap();
        assert_eq!(talk.sent(), ["AbortTask 100"]);
        assert_eq!(talk.data_in(0, 0, KIB, true).unwrap(), ["done 0x0 after 1024"]);
        let none = TaskManagementResponse {
            result: TaskManagementResult::TaskDoesNotExist,
            itt: Tag::Abort(TASK).itt(),
            sequence: talk.sequence(),
        };
        let words = talk.tell(Response::TaskManagement(none), &[]).unwrap();
        assert_eq!(words, ["aborted TaskDoesNotExist"]);
    });
}

#[test]
fn a_reject_ends_only_what_is_under_way() {
    check(terms(), |talk| {
        talk.conn.start(TASK, &write(512)).unwrap();
        let command = talk.conn.poll_transmit().unwrap().bhs();
        let reason = RejectReason::CommandNotSupported;
        let mut other = command;
        other.0[19] ^= 1;
        for (body, words) in [
            (&other.0[..], vec![]),
            (&command.0[..20], vec![]),
            (&command.0[..], vec!["done Rejected(CommandNotSupported)".to_owned()]),
            (&command.0[..], vec![]),
        ] {
            assert_eq!(talk.reject(reason, body).unwrap(), words);
        }
    });
}

#[test]
fn the_place_of_a_rejected_command_is_plugged_so_that_later_ones_run() {
    let (rejected, damaged) = (RejectReason::InvalidPduField, RejectReason::DataDigestError);
    for (reason, plugged) in [(rejected, true), (damaged, false)] {
        check(terms(), |talk| {
            talk.conn.start(TASK, &write(512)).unwrap();
            let command = talk.conn.poll_transmit().unwrap().bhs();
            talk.reject(reason, &command.0).unwrap();
            let Some(plug) = talk.conn.poll_transmit() else {
                return assert!(!plugged);
            };
            let Ok(Pdu::NopOut(nop)) = Pdu::parse(&plug.bhs()) else { panic!("{plug:?}") };
            let Ok(Pdu::Command(command)) = Pdu::parse(&command) else { panic!("a command") };
            assert_eq!(nop.order.cmd_sn, command.order.cmd_sn);
            assert!(plugged && !nop.order.immediate && nop.itt != Itt::NONE);
            let answer =
                NopIn { lun: Lun::ZERO, itt: nop.itt, ttt: Ttt::NONE, sequence: talk.sequence() };
            talk.stat_sn = talk.stat_sn.next();
            assert_eq!(talk.tell(Response::NopIn(answer), &[]).unwrap(), [""; 0]);
            assert!(talk.tell(Response::NopIn(answer), &[]).is_err(), "answered once");
        });
    }
}

#[test]
fn a_text_answer_is_collected_over_pdus_but_not_for_ever() {
    let part = |talk: &mut Talk, last, more| {
        let pdu = TextResponse {
            last,
            more,
            lun: Lun::ZERO,
            itt: Tag::Text(1).itt(),
            ttt: if last { Ttt::NONE } else { TTT },
            sequence: talk.sequence(),
        };
        talk.stat_sn = talk.stat_sn.next();
        talk.tell(Response::Text(pdu), b"abc")
    };
    check(terms(), |talk| {
        talk.conn.ask("SendTargets=All".into()).unwrap();
        assert_eq!(talk.conn.ask("x".into()), Err(Closed));
        assert_eq!(talk.sent(), ["text SendTargets=All Ttt(0xffffffff)"]);
        assert_eq!(part(talk, false, true).unwrap(), Vec::<String>::new());
        assert_eq!(talk.sent(), ["text Ttt(0x77)"]);
        assert_eq!(part(talk, true, false).unwrap(), ["text abcabc"]);
    });
    let mut talk = Talk::new(terms(), usize::MAX);
    talk.conn.ask("SendTargets=All".into()).unwrap();
    let end = (0..1000).find_map(|_| {
        talk.sent();
        part(&mut talk, false, true).err()
    });
    assert_eq!(end, Some(PeerError::Flood("text")));
}

#[test]
fn nothing_follows_a_logout() {
    let mut talk = Talk::new(terms(), usize::MAX);
    talk.conn.start(TASK, &read(512)).unwrap();
    assert!(talk.conn.log_out());
    assert_eq!(talk.sent(), ["command 100 F", "logout CloseSession"]);
    assert_eq!(talk.conn.window(), 0);
    talk.conn.ping();
    assert_eq!(talk.sent(), Vec::<String>::new());
    let notice = AsyncMessage {
        lun: Lun::ZERO,
        sequence: talk.sequence(),
        event: AsyncEvent::ConnectionDropped,
        vendor_code: 0,
        parameters: [0; 3],
    };
    talk.stat_sn = talk.stat_sn.next();
    assert_eq!(talk.tell(Response::Async(notice), &[]).unwrap(), ["notice ConnectionDropped"]);
    let out = LogoutResponse {
        result: LogoutResult::Closed,
        itt: Tag::Logout.itt(),
        sequence: talk.sequence(),
        time_to_wait: 2,
        time_to_retain: 0,
    };
    let words = talk.tell(Response::Logout(out), &[]).unwrap();
    assert_eq!(words, ["LoggedOut { result: Closed, time_to_wait: 2 }"]);
}

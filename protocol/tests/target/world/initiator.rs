//! The initiator: what it sends, and what it makes of what comes back.

use super::*;

impl World {
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

    pub(crate) fn command(&mut self, opcode: u8, read: bool, write: bool, len: u32) -> ScsiCommand {
        let mut cdb = [0; 16];
        cdb[0] = opcode;
        cdb[2..6].copy_from_slice(&len.to_be_bytes());
        ScsiCommand {
            order: self.order(false),
            last: true,
            read,
            write,
            attribute: TaskAttribute::Simple,
            lun: Lun::ZERO,
            itt: self.itt(),
            expected_len: len,
            cdb,
        }
    }

    /// Puts a PDU on the wire.
    pub(crate) fn send(&mut self, request: Request, data: &[u8]) {
        if let Request::Command(command) = &request {
            let sent = Sent { expected_len: command.expected_len, ..Sent::default() };
            self.sent.entry(command.itt).or_insert(sent);
        }
        let body = Body::Bytes(Bytes::copy_from_slice(data));
        let transmit = Transmit::new(request.build(), body, self.params.digests);
        self.wire.extend(transmit.to_bytes(|_, _, _| Vec::new()));
    }

    /// Damages what was sent last, `back` bytes from its end.
    pub(crate) fn damage(&mut self, back: usize) {
        let at = self.wire.len() - back;
        self.wire[at] ^= 0x10;
    }

    pub(crate) fn take_wire(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire)
    }

    /// How many lines of the trace start so.
    pub(crate) fn lines(&self, start: &str) -> usize {
        self.trace.lines().filter(|line| line.starts_with(start)).count()
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
    }

    /// A command that moves no data.
    pub(crate) fn plain(&mut self, opcode: u8) -> Itt {
        let command = self.command(opcode, false, false, 0);
        self.say(format!("> command {}", command.itt.0));
        self.send(Request::Command(command), &[]);
        command.itt
    }

    pub(crate) fn read(&mut self, opcode: u8, len: u32) -> Itt {
        let command = self.command(opcode, true, false, len);
        self.say(format!("> read {} {}", command.itt.0, size(len)));
        self.send(Request::Command(command), &[]);
        command.itt
    }

    /// A write with `immediate` bytes in its own PDU and further unsolicited ones up to
    /// `unsolicited`.
    pub(crate) fn write(&mut self, opcode: u8, len: u32, immediate: u32, unsolicited: u32) -> Itt {
        let mut command = self.command(opcode, false, true, len);
        command.last = unsolicited <= immediate;
        let itt = command.itt;
        self.say(format!("> write {} {}, immediate {}", itt.0, size(len), size(immediate)));
        self.send(Request::Command(command), &pattern(itt, 0, immediate));
        if unsolicited > immediate {
            self.data_out(itt, Ttt::NONE, immediate, unsolicited);
        }
        itt
    }

    /// One sequence of Data-Outs.
    pub(crate) fn data_out(&mut self, itt: Itt, ttt: Ttt, from: u32, to: u32) {
        self.say(format!("> data-out {} {}..{}", itt.0, size(from), size(to)));
        let mut at = from;
        let mut data_sn = Sn(0);
        while at < to {
            let len = (to - at).min(self.params.max_recv_ours);
            let last = at + len == to;
            self.one_data_out(itt, ttt, data_sn, at, len, last);
            at += len;
            data_sn = data_sn.next();
        }
    }

    pub(crate) fn one_data_out(
        &mut self,
        itt: Itt,
        ttt: Ttt,
        data_sn: Sn,
        offset: u32,
        len: u32,
        last: bool,
    ) {
        let exp_stat_sn = self.exp_stat_sn;
        let pdu = DataOut { last, lun: Lun::ZERO, itt, ttt, exp_stat_sn, data_sn, offset };
        self.send(Request::DataOut(pdu), &pattern(itt, offset, len));
    }

    pub(crate) fn manage(&mut self, function: TaskManagementFunction, referenced: Itt) -> Itt {
        let itt = self.itt();
        let order = self.order(true);
        let request = TaskManagementRequest {
            order,
            function,
            lun: Lun::ZERO,
            itt,
            referenced,
            ref_cmd_sn: Sn(0),
            exp_data_sn: Sn(0),
        };
        self.say(format!("> manage {} {function:?} {}", itt.0, referenced.0));
        self.send(Request::TaskManagement(request), &[]);
        itt
    }

    pub(crate) fn nop(&mut self, immediate: bool, itt: Itt, ttt: Ttt, data: &[u8]) {
        let order = self.order(immediate);
        self.say(format!("> nop {} bytes", data.len()));
        self.send(Request::NopOut(NopOut { order, lun: Lun::ZERO, itt, ttt }), data);
    }

    pub(crate) fn text(&mut self, itt: Itt, ttt: Ttt, last: bool, more: bool, text: &str) {
        let order = self.order(true);
        self.say(format!("> text {} {}", itt.0, text.replace('\0', "|")));
        let request = TextRequest { order, last, more, lun: Lun::ZERO, itt, ttt };
        self.send(Request::Text(request), text.as_bytes());
    }

    pub(crate) fn logout(&mut self, reason: LogoutReason, cid: u16) {
        let (order, itt) = (self.order(false), self.itt());
        self.say(format!("> logout {reason:?}"));
        self.send(Request::Logout(LogoutRequest { order, reason, itt, cid: Cid(cid) }), &[]);
    }

    pub(super) fn on_answer(&mut self, answer: &Transmit) {
        let bhs = answer.bhs();
        let response = Response::parse(&bhs).unwrap();
        let (sequence, uses_stat_sn) = facts(&response);
        if uses_stat_sn {
            assert_eq!(sequence.stat_sn, self.exp_stat_sn, "StatSN counts statuses");
            self.exp_stat_sn = self.exp_stat_sn.next();
        }
        assert!(!self.max_cmd_sn.after(sequence.max_cmd_sn), "MaxCmdSN never goes back");
        self.max_cmd_sn = sequence.max_cmd_sn;
        assert!(answer.body.len() <= self.params.max_recv_theirs, "a segment the peer takes");
        let line = match response {
            Response::NopIn(nop) if nop.itt == Itt::NONE => {
                self.last_ttt = nop.ttt;
                "ping".to_owned()
            }
            Response::NopIn(_) => format!("nop-in {} bytes", answer.body.len()),
            Response::Command(response) => self.on_response(&response, answer),
            Response::TaskManagement(response) => {
                format!("managed {} {:?}", response.itt.0, response.result)
            }
            Response::Text(text) => {
                self.last_ttt = text.ttt;
                let Body::Bytes(body) = answer.body.clone() else {
                    assert!(answer.body.is_empty());
                    return self.say(format!("< text {} F={}", text.itt.0, u8::from(text.last)));
                };
                let shown = String::from_utf8_lossy(&body).replace('\0', "|");
                let (last, more) = (u8::from(text.last), u8::from(text.more));
                format!("text {} F={last} C={more} {shown}", text.itt.0)
            }
            Response::DataIn(data) => self.on_data_in(&data, answer),
            Response::Logout(logout) => format!("logout {:?}", logout.result),
            Response::R2t(r2t) => self.on_r2t(r2t),
            Response::Async(message) => {
                format!("async {:?} {:?}", message.event, message.parameters)
            }
            Response::Reject(reject) => {
                assert_eq!(answer.body.len(), 48, "a Reject carries the header");
                format!("reject {:?}", reject.reason)
            }
            Response::Login(_) => panic!("a login response after the login"),
        };
        self.say(format!("< {line}"));
    }

    fn on_data_in(&mut self, data: &DataIn, answer: &Transmit) -> String {
        let len = answer.body.len();
        let task = self.task(data.itt);
        assert_eq!(answer.body, Body::Task { task, offset: data.offset, len });
        let sent = self.sent.get_mut(&data.itt).expect("data of a task under way");
        assert_eq!((data.data_sn, data.offset), (Sn(sent.data_sn), sent.received));
        sent.data_sn += 1;
        sent.received += len;
        sent.sequence += len;
        assert!(sent.received <= sent.expected_len && sent.sequence <= self.params.max_burst_len);
        if data.last {
            sent.sequence = 0;
        }
        let range = format!("{}..{}", size(data.offset), size(data.offset + len));
        let last = if data.last { " F" } else { "" };
        let status = data.status.map_or_else(String::new, |(status, residual)| {
            assert_eq!(status, 0, "only GOOD travels with data");
            self.sent.remove(&data.itt);
            format!(" GOOD{}", shown(residual))
        });
        format!("data-in {} {range}{last}{status}", data.itt.0)
    }

    fn on_response(&mut self, response: &ScsiResponse, answer: &Transmit) -> String {
        let sent = self.sent.remove(&response.itt).expect("one status for each task");
        assert_eq!(response.exp_data_sn, Sn(sent.data_sn));
        let sense = match &answer.body {
            Body::Bytes(bytes) => {
                assert_eq!(usize::from(bytes[0]) << 8 | usize::from(bytes[1]), bytes.len() - 2);
                " with sense"
            }
            _ => "",
        };
        let residual = shown(response.residual);
        format!("response {} {:02x}{residual}{sense}", response.itt.0, response.status)
    }

    fn on_r2t(&mut self, r2t: R2t) -> String {
        let sent = self.sent.get_mut(&r2t.itt).expect("an R2T of a task under way");
        assert_eq!(r2t.r2t_sn, Sn(sent.data_sn));
        assert_eq!(r2t.sequence.stat_sn, self.exp_stat_sn, "the next StatSN, not used up");
        sent.data_sn += 1;
        assert!(r2t.len > 0 && r2t.len <= self.params.max_burst_len);
        assert!(r2t.offset + r2t.len <= sent.expected_len && r2t.ttt != Ttt::NONE);
        self.last_ttt = r2t.ttt;
        self.r2ts.push_back(r2t);
        format!("r2t {} {}..{}", r2t.itt.0, size(r2t.offset), size(r2t.offset + r2t.len))
    }
}

fn shown(residual: Residual) -> String {
    match residual {
        Residual::None => String::new(),
        Residual::Underflow(count) => format!(" under {}", size(count)),
        Residual::Overflow(count) => format!(" over {}", size(count)),
    }
}

/// The numbers of a response, and whether it uses up a StatSN.
fn facts(response: &Response) -> (Sequence, bool) {
    match response {
        Response::NopIn(pdu) => (pdu.sequence, pdu.itt != Itt::NONE),
        Response::Command(pdu) => (pdu.sequence, true),
        Response::TaskManagement(pdu) => (pdu.sequence, true),
        Response::Login(pdu) => (pdu.sequence, true),
        Response::Text(pdu) => (pdu.sequence, true),
        Response::DataIn(pdu) => (pdu.sequence, pdu.status.is_some()),
        Response::Logout(pdu) => (pdu.sequence, true),
        Response::R2t(pdu) => (pdu.sequence, false),
        Response::Async(pdu) => (pdu.sequence, true),
        Response::Reject(pdu) => (pdu.sequence, true),
    }
}

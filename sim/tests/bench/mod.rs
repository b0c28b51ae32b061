//! One target over simulated hardware with one slow disk, and initiators by hand: they say exactly what
//! a test wants said, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use outband_protocol::ids::{Cid, Isid, Itt, Lun, Tsih, Ttt};
use outband_protocol::keys::Offer;
use outband_protocol::login::initiator::{Config, Event as LoginEvent, Login};
use outband_protocol::pdu::LoginStatus;
use outband_protocol::pdu::{
    Bhs, DataOut, LogoutReason, LogoutRequest, Order, Request, Response, ScsiCommand,
    TaskAttribute, TaskManagementFunction, TaskManagementRequest, TaskManagementResult,
};
use outband_protocol::serial::Sn;
use outband_protocol::{Body, Digests, Transmit};
use outband_sim::checker::{WriteId, tag_of};
use outband_sim::disk::{self, Arrival, Disk};
use outband_sim::hardware::{Event, Hardware, Shared};
use outband_sim::net::{self, ConnId, Net, Read, Side};
use outband_sim::rng::Rng;
use outband_sim::setup::{Chaos, Setup};
use outband_sim::tag::Content;
use outband_sim::target::Target;
use outband_sim::trace::Trace;
use outband_target_server::media::WritePolicy;

/// Blocks of a write.
pub(crate) const BLOCKS: u32 = 8;
/// Its bytes.
pub(crate) const LEN: usize = BLOCKS as usize * BLOCK;
const BLOCK: usize = 512;

/// What block `lba` holds after this write.
pub(crate) fn block_of(lba: u32, write: u64) -> Content {
    Content::Written(tag_of(0, lba, WriteId(write)))
}

/// The bytes of this write from `lba` on.
pub(crate) fn data(lba: u32, write: u64) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    for (block, lba) in bytes.chunks_exact_mut(BLOCK).zip(lba..) {
        tag_of(0, lba, WriteId(write)).fill(block);
    }
    bytes
}

/// See the module.
pub(crate) struct Bench {
    setup: Setup,
    hardware: Shared,
    target: Target,
    port: u16,
}

impl Bench {
    /// A volume of 64 blocks, durable at once, and a disk that takes so long for an operation.
    pub(crate) fn new(latency: Duration) -> Self {
        let mut rng = Rng::new(1);
        let mut setup = Setup::draw(&mut rng);
        setup.shards = 2;
        setup.ring_limit = 256;
        setup.spot = 0;
        setup.offer = Offer { first_burst_len: 64 << 10, ..Offer::default() };
        setup.buffer_bytes = 8 << 20;
        setup.chaos = Chaos::default();
        setup.net = net::Faults { short: 0, ..net::Faults::default() };
        setup.disks.truncate(1);
        setup.disks[0].sector_len = BLOCK;
        setup.disks[0].faults =
            disk::Faults { latency: latency..latency * 2, ..disk::Faults::default() };
        setup.volumes.truncate(1);
        let volume = &mut setup.volumes[0];
        (volume.shard, volume.blocks, volume.block_size) = (0, 64, 512);
        (volume.policy, volume.pieces) = (WritePolicy::Normal, vec![(0, 0, 64 * 512)]);
        (volume.memory, volume.atomic, volume.exclusive) = (false, false, false);
        let disks = setup.disks.iter();
        let disks = disks.map(|disk| Disk::new(disk.len, disk.sector_len, disk.faults.clone()));
        let net = Net::new(setup.net.clone());
        let hardware = Hardware::new(rng.fork(), net, disks.collect(), Trace::new(false)).shared();
        hardware.borrow_mut().take_arrivals();
        let target = Target::start(&setup, &hardware, &setup.access(), &BTreeMap::new(), &mut rng);
        Self { setup, hardware, target, port: 1024 }
    }

    /// One event. False when there is none.
    pub(crate) fn step(&mut self) -> bool {
        let Some(event) = self.hardware.borrow_mut().next_event() else {
            return false;
        };
        match event {
            Event::Net(event) => self.hardware.borrow_mut().on_net_event(event),
            Event::Begin(ring, op) => self.hardware.borrow_mut().begin(ring, op),
            Event::End(ring, op) => self.hardware.borrow_mut().end(ring, op),
            Event::Turn(ring) | Event::Deadline(ring) => {
                let mut hardware = self.hardware.borrow_mut();
                let due = hardware.take_turn(ring) || hardware.is_timed_out(ring);
                drop(hardware);
                if due {
                    self.target.turn(ring).unwrap();
                }
            }
            Event::Alarm(_) => {}
        }
        let mut hardware = self.hardware.borrow_mut();
        while hardware.next_news().is_some() {}
        hardware.hear_bells();
        true
    }

    /// So much time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.hardware.borrow().now() + time;
        while self.hardware.borrow().next_time().is_some_and(|next| next <= until) {
            self.step();
        }
        self.hardware.borrow_mut().advance(until);
    }

    /// What is on its way to the disk of a write.
    pub(crate) fn landing(&self, write: u64) -> Option<Arrival> {
        self.hardware.borrow().still_lands(|id| id == write)
    }

    /// What came to the disk so far does not count.
    pub(crate) fn forget_arrivals(&mut self) {
        self.hardware.borrow_mut().take_arrivals();
    }

    /// Whether anything of a write has come to the disk since.
    pub(crate) fn has_arrived(&mut self, write: u64) -> bool {
        let arrivals = self.hardware.borrow_mut().take_arrivals();
        arrivals.iter().any(|(_, arrival)| arrival.new.write() == Some(WriteId(write)))
    }

    /// What a read of a block would bring.
    pub(crate) fn on_disk(&self, lba: u32) -> Content {
        Content::of(&self.hardware.borrow().disks[0].peek(u64::from(lba) * BLOCK as u64, BLOCK))
    }

    /// The network keeps what is on its way to this side.
    pub(crate) fn block(&mut self, session: &Raw, side: Side) {
        self.hardware.borrow_mut().net.block(session.conn, side);
    }

    /// And brings it.
    pub(crate) fn unblock(&mut self, session: &Raw, side: Side) {
        self.hardware.borrow_mut().on_net(|net, now, _| net.unblock(session.conn, side, now));
    }

    /// Logs in at the portal of a shard.
    pub(crate) fn log_in(
        &mut self,
        portal: usize,
        isid: u8,
        initial_r2t: bool,
    ) -> Result<Raw, LoginStatus> {
        self.port += 1;
        let host = &self.setup.hosts[0];
        let from = SocketAddr::new(host.address, self.port);
        let mut login = Login::new(Config {
            name: host.name.clone(),
            alias: None,
            target: Some(self.setup.target(0)),
            isid: Isid([0x80, 0, 0, 0, 0, isid]),
            tsih: Tsih(0),
            cid: Cid(0),
            offer: Offer { initial_r2t, ..Offer::default() },
            chap: None,
            challenge: (0, Vec::new()),
            cmd_sn: Sn(1),
        });
        let conn = self.hardware.borrow_mut().connect(from, self.setup.portal(portal));
        self.pass(Duration::from_millis(5));
        let mut session =
            Raw { conn, inbox: Vec::new(), cmd_sn: Sn(1), exp_stat_sn: Sn(0), itt: 0 };
        loop {
            while let Some(transmit) = login.poll_transmit() {
                session.send_raw(self, &transmit.to_bytes(|_, _, _| Vec::new()));
            }
            let pdu = session.next_pdu(self).expect("a login is answered");
            match login.next_event(&mut &pdu[..]).unwrap() {
                Some(LoginEvent::Done(done)) => {
                    (session.cmd_sn, session.exp_stat_sn) = (done.cmd_sn, done.exp_stat_sn);
                    return Ok(session);
                }
                Some(LoginEvent::Refused(status)) => return Err(status),
                Some(other) => panic!("{other:?}"),
                None => {}
            }
        }
    }
}

/// A session without a mind of its own.
pub(crate) struct Raw {
    conn: ConnId,
    inbox: Vec<u8>,
    cmd_sn: Sn,
    exp_stat_sn: Sn,
    itt: u32,
}

fn bytes(request: Request, data: &[u8]) -> Vec<u8> {
    let body = Body::Bytes(data.to_vec().into());
    Transmit::new(request.build(), body, Digests::default()).to_bytes(|_, _, _| Vec::new())
}

impl Raw {
    fn order(&mut self, immediate: bool) -> Order {
        let order = Order { immediate, cmd_sn: self.cmd_sn, exp_stat_sn: self.exp_stat_sn };
        if !immediate {
            self.cmd_sn = self.cmd_sn.next();
        }
        order
    }

    fn next_itt(&mut self) -> Itt {
        self.itt += 1;
        Itt(self.itt)
    }

    /// Into the network with it, unless there is nobody at the other end.
    pub(crate) fn send_raw(&self, bench: &mut Bench, bytes: &[u8]) {
        let mut hardware = bench.hardware.borrow_mut();
        hardware.on_net(|net, now, rng| {
            net.write(self.conn, Side::Host, std::iter::once(bytes), now, rng)
        });
    }

    /// The next PDU, header and data.
    fn next_pdu(&mut self, bench: &mut Bench) -> Option<Vec<u8>> {
        loop {
            if let Some(header) = self.inbox.first_chunk::<48>() {
                let mut bhs = Bhs::default();
                bhs.0.copy_from_slice(header);
                let len = 48 + bhs.data_segment_len().next_multiple_of(4) as usize;
                if self.inbox.len() >= len {
                    return Some(self.inbox.drain(..len).collect());
                }
            }
            let mut more = [0; 4096];
            let read = bench
                .hardware
                .borrow_mut()
                .on_net(|net, _, rng| net.read(self.conn, Side::Host, &mut more, rng));
            match read {
                Read::Bytes(0) | Read::Broken(_) => return None,
                Read::Bytes(count) => self.inbox.extend_from_slice(&more[..count]),
                Read::Nothing => assert!(bench.step(), "nothing is to come any more"),
            }
        }
    }

    /// The next thing that is not a ping.
    fn hear(&mut self, bench: &mut Bench) -> Response {
        loop {
            let pdu = self.next_pdu(bench).expect("the target has closed");
            let mut bhs = Bhs::default();
            bhs.0.copy_from_slice(&pdu[..48]);
            let response = Response::parse(&bhs).unwrap();
            match response {
                Response::NopIn(_) => {}
                Response::R2t(_) => return response,
                _ => {
                    self.exp_stat_sn = self.exp_stat_sn.next();
                    return response;
                }
            }
        }
    }

    /// WRITE(10) of [`BLOCKS`] at `lba`, with `immediate` of its data. More comes, unless that is all
    /// or nothing.
    pub(crate) fn write(
        &mut self,
        bench: &mut Bench,
        lba: u8,
        immediate: &[u8],
        attribute: TaskAttribute,
    ) -> Itt {
        let mut cdb = [0; 16];
        (cdb[0], cdb[5], cdb[8]) = (0x2a, lba, u8::try_from(BLOCKS).unwrap());
        let command = ScsiCommand {
            order: self.order(false),
            last: immediate.is_empty() || immediate.len() == LEN,
            read: false,
            write: true,
            attribute,
            lun: Lun::ZERO,
            itt: self.next_itt(),
            expected_len: u32::try_from(LEN).unwrap(),
            cdb,
        };
        self.send_raw(bench, &bytes(Request::Command(command), immediate));
        command.itt
    }

    /// The same with all of its data.
    pub(crate) fn write_now(
        &mut self,
        bench: &mut Bench,
        lba: u8,
        write: u64,
        attribute: TaskAttribute,
    ) -> Itt {
        self.write(bench, lba, &data(lba.into(), write), attribute)
    }

    fn out(
        &self,
        itt: Itt,
        ttt: Ttt,
        (data_sn, last): (u32, bool),
        at: usize,
        data: &[u8],
    ) -> Vec<u8> {
        let (lun, exp_stat_sn) = (Lun::ZERO, self.exp_stat_sn);
        let offset = u32::try_from(at).unwrap();
        let pdu = DataOut { last, lun, itt, ttt, exp_stat_sn, data_sn: Sn(data_sn), offset };
        bytes(Request::DataOut(pdu), data)
    }

    /// The data of an R2T, or unasked.
    pub(crate) fn data_out(&self, itt: Itt, ttt: Option<Ttt>, at: usize, data: &[u8]) -> Vec<u8> {
        self.out(itt, ttt.unwrap_or(Ttt::NONE), (0, true), at, data)
    }

    /// The first part of the data of an R2T.
    pub(crate) fn half_out(&self, itt: Itt, ttt: Ttt, data: &[u8]) -> Vec<u8> {
        self.out(itt, ttt, (0, false), 0, data)
    }

    /// The second.
    pub(crate) fn second_half_out(&self, itt: Itt, ttt: Ttt, at: usize, data: &[u8]) -> Vec<u8> {
        self.out(itt, ttt, (1, true), at, data)
    }

    /// The R2T of a write.
    pub(crate) fn r2t(&mut self, bench: &mut Bench, itt: Itt) -> Ttt {
        match self.hear(bench) {
            Response::R2t(r2t) if r2t.itt == itt => r2t.ttt,
            other => panic!("no R2T of {itt:?}: {other:?}"),
        }
    }

    /// The status of the next command to end.
    pub(crate) fn status(&mut self, bench: &mut Bench) -> u8 {
        loop {
            match self.hear(bench) {
                Response::Command(response) => return response.status,
                // Late data of a task that is gone may be rejected, or read past.
                Response::Reject(_) => {}
                other => panic!("no end of a command: {other:?}"),
            }
        }
    }

    /// TEST UNIT READY until it is.
    pub(crate) fn attentions(&mut self, bench: &mut Bench) {
        loop {
            let command = ScsiCommand {
                order: self.order(false),
                last: true,
                read: false,
                write: false,
                attribute: TaskAttribute::Simple,
                lun: Lun::ZERO,
                itt: self.next_itt(),
                expected_len: 0,
                cdb: [0; 16],
            };
            self.send_raw(bench, &bytes(Request::Command(command), &[]));
            if self.status(bench) == 0 {
                return;
            }
        }
    }

    /// Asks for a task management function, and hears that it is complete.
    pub(crate) fn manage(
        &mut self,
        bench: &mut Bench,
        function: TaskManagementFunction,
        task: Option<Itt>,
    ) {
        let request = TaskManagementRequest {
            order: self.order(true),
            function,
            lun: Lun::ZERO,
            itt: self.next_itt(),
            referenced: task.unwrap_or(Itt::NONE),
            ref_cmd_sn: Sn(0),
            exp_data_sn: Sn(0),
        };
        self.send_raw(bench, &bytes(Request::TaskManagement(request), &[]));
        match self.hear(bench) {
            Response::TaskManagement(answer) => {
                assert_eq!(answer.result, TaskManagementResult::Complete);
            }
            other => panic!("no answer to a function: {other:?}"),
        }
    }

    /// Logs out, and hears that.
    pub(crate) fn log_out(&mut self, bench: &mut Bench, reason: LogoutReason) {
        let (order, itt) = (self.order(true), self.next_itt());
        let request = LogoutRequest { order, reason, itt, cid: Cid(0) };
        self.send_raw(bench, &bytes(Request::Logout(request), &[]));
        let answer = self.hear(bench);
        assert!(matches!(answer, Response::Logout(_)), "{answer:?}");
    }
}

//! A small target on loopback: the protocol's own target machines over a tokio socket, a volume in
//! memory, and ways to misbehave.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![allow(unreachable_pub, reason = "several tests may share this module")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use outband_initiator::{Config, LoginStatus};
use outband_protocol::ids::{TaskId, Tsih};
use outband_protocol::keys::{
    Offer, PortalAddress, SessionType, TargetRecord, TextQueue, send_targets,
};
use outband_protocol::login::target::{Demand, Event as LoginEvent, Login, Settings};
use outband_protocol::pdu::TaskManagementResult;
use outband_protocol::scsi::capacity::Capacity;
use outband_protocol::scsi::inquiry::{self, BlockLimits, Designator, Name};
use outband_protocol::scsi::sense::{INVALID_FIELD_IN_CDB, LBA_OUT_OF_RANGE, POWER_ON, Sense};
use outband_protocol::scsi::{Cdb, Status, unmap};
use outband_protocol::target::{Command, Conn, Event, Outcome};
use outband_protocol::{Body, Transmit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const TARGET: &str = "iqn.2026-11.local.outband:pool:vol";
pub const INITIATOR: &str = "iqn.2026-11.local.host:a";
pub const BLOCKS: u64 = 16 * 1024;

/// How the target behaves.
#[derive(Clone, Default)]
pub struct Mood {
    /// Refuse every login.
    pub refuse: Option<LoginStatus>,
    /// Send every login elsewhere.
    pub redirect: Option<String>,
    /// Answer so many commands with BUSY first.
    pub busy: usize,
    /// The sense for every READ.
    pub read_sense: Option<Sense>,
    /// The sense for the next command.
    pub attention: Option<Sense>,
    /// The sense for every READ CAPACITY.
    pub capacity_sense: Option<Sense>,
    /// Blocks that the volume is said to have grown by.
    pub grown: u64,
}

pub struct Volume {
    pub bytes: Vec<u8>,
    pub mood: Mood,
}

/// A running target. It stops with the test.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub volume: Arc<Mutex<Volume>>,
}

impl Target {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = vec![0; usize::try_from(BLOCKS).unwrap() * 512];
        let volume = Arc::new(Mutex::new(Volume { bytes, mood }));
        let target = Self { address, volume };
        let serving = target.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        target
    }

    pub fn config(&self) -> Config {
        Config::new(self.address.to_string(), TARGET).initiator(INITIATOR)
    }

    pub fn mood(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.volume.lock().unwrap().mood);
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut input = Vec::new();
        if let Some(mut work) = self.log_in(&mut stream, &mut input).await {
            while work.turn(&mut stream, &mut input).await.is_some() {}
        }
    }

    async fn log_in(&self, stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<Work> {
        let settings =
            Settings { offer: Offer::default(), target_portal_group_tag: 1, alias: None };
        let mut login = Login::new(settings);
        loop {
            let mut rest = &input[..];
            let event = login.next_event(&mut rest).ok()?;
            let taken = input.len() - rest.len();
            input.drain(..taken);
            let mood = self.volume.lock().unwrap().mood.clone();
            match event {
                Some(LoginEvent::Identified(_)) => match (mood.refuse, mood.redirect) {
                    (Some(status), _) => login.refuse(status),
                    (_, Some(address)) => login.redirect(&address, false),
                    _ => login.require(Demand::None),
                },
                Some(LoginEvent::Ready(identity)) => {
                    let discovery = identity.session == SessionType::Discovery;
                    let conn = Conn::new(login.admit(Tsih(1)));
                    return Some(Work::new(conn, self.clone(), discovery));
                }
                Some(LoginEvent::Refused(_)) => {}
                None => {
                    while let Some(transmit) = login.poll_transmit() {
                        stream.write_all(&transmit.to_bytes(|_, _, _| vec![])).await.ok()?;
                    }
                    if login.is_over() {
                        return None;
                    }
                    receive(stream, input).await?;
                }
            }
        }
    }
}

async fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let mut room = vec![0; 64 * 1024];
    let count = stream.read(&mut room).await.ok().filter(|count| *count > 0)?;
    input.extend_from_slice(&room[..count]);
    Some(())
}

/// A connection at work.
struct Work {
    conn: Conn,
    target: Target,
    data: HashMap<TaskId, (Command, Vec<u8>)>,
    fresh: bool,
    discovery: bool,
}

impl Work {
    fn new(conn: Conn, target: Target, discovery: bool) -> Self {
        Self { conn, target, data: HashMap::new(), fresh: true, discovery }
    }

    /// Sends what is due, then takes what comes. `None` when the connection is over.
    async fn turn(&mut self, stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
        let out = self.transmits();
        stream.write_all(&out).await.ok()?;
        receive(stream, input).await?;
        let mut rest = &input[..];
        while let Some(event) = self.conn.next_event(&mut rest).ok()? {
            match event {
                Event::Command(command) => self.on_command(command),
                Event::WriteData { task, offset, bytes } => {
                    let data = &mut self.data.get_mut(&task).unwrap().1;
                    data[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                Event::WriteReady(task) => self.on_write_ready(task),
                Event::Manage(manage) => {
                    for task in manage.tasks {
                        self.conn.complete(task, Outcome::default());
                    }
                    self.conn.answer_management(manage.itt, TaskManagementResult::Complete);
                }
                Event::SendTargets { itt, .. } => self.conn.answer_targets(itt, self.targets()),
                Event::Logout { itt } => self.conn.answer_logout(itt),
                Event::Ended => return None,
                Event::DataFailed { .. } | Event::Pong => {}
            }
            self.conn.set_credit(32);
        }
        let taken = input.len() - rest.len();
        input.drain(..taken);
        Some(())
    }

    fn targets(&self) -> Vec<u8> {
        assert!(self.discovery);
        let mut text = TextQueue::default();
        let portals = vec![PortalAddress::new(self.target.address, Some(1))];
        send_targets(&[TargetRecord { name: TARGET.parse().unwrap(), portals }], &mut text);
        text.next_piece(1 << 16).0.to_vec()
    }

    fn transmits(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(transmit) = self.conn.poll_transmit() {
            out.extend(self.bytes(&transmit));
        }
        out
    }

    fn bytes(&self, transmit: &Transmit) -> Vec<u8> {
        if let Body::Task { task, offset, len } = transmit.body {
            let data = &self.data[&task].1;
            return transmit.to_bytes(|_, _, _| data[offset as usize..][..len as usize].to_vec());
        }
        transmit.to_bytes(|_, _, _| vec![])
    }

    fn on_command(&mut self, command: Command) {
        let mut volume = self.target.volume.lock().unwrap();
        let cdb = Cdb::parse(&command.cdb).ok();
        let (status, sense) = if std::mem::take(&mut self.fresh) {
            (Status::CheckCondition, Some(POWER_ON))
        } else if let Some(sense) = volume.mood.attention.take() {
            (Status::CheckCondition, Some(sense))
        } else if volume.mood.busy > 0 {
            volume.mood.busy -= 1;
            (Status::Busy, None)
        } else if let (Some(Cdb::Read16(_)), Some(sense)) = (cdb, volume.mood.read_sense) {
            (Status::CheckCondition, Some(sense))
        } else if let (Some(Cdb::ReadCapacity16 { .. }), Some(sense)) =
            (cdb, volume.mood.capacity_sense)
        {
            (Status::CheckCondition, Some(sense))
        } else {
            drop(volume);
            self.execute(command, cdb);
            return;
        };
        drop(volume);
        self.fail(command.task, status, sense);
    }

    fn fail(&mut self, task: TaskId, status: Status, sense: Option<Sense>) {
        let sense = sense.map(|sense| sense.fixed().to_vec().into());
        self.conn.complete(task, Outcome { status: status.code(), sense, ..Outcome::default() });
    }

    fn execute(&mut self, command: Command, cdb: Option<Cdb>) {
        let task = command.task;
        let limits = BlockLimits {
            transfer_max: 512,
            unmap_blocks_max: 1000,
            unmap_extents_max: 1,
            ..BlockLimits::default()
        };
        let capacity = Capacity {
            blocks: BLOCKS + self.target.volume.lock().unwrap().mood.grown,
            block_size: 512,
            physical_exponent: 3,
            lowest_aligned: 0,
            provisioned: true,
            unmapped_reads_zeros: true,
        };
        match cdb {
            Some(Cdb::Read16(read)) => match range(read.lba, read.blocks) {
                Some(range) => {
                    let data = self.target.volume.lock().unwrap().bytes[range].to_vec();
                    self.reply(command, data);
                }
                None => self.fail(task, Status::CheckCondition, Some(LBA_OUT_OF_RANGE)),
            },
            Some(Cdb::Write16(_) | Cdb::Unmap { .. }) => {
                self.data.insert(task, (command, vec![0; command.expected_len as usize]));
                self.conn.accept_data(task, command.expected_len);
            }
            Some(Cdb::ReadCapacity16 { .. }) => self.reply(command, capacity.long().to_vec()),
            Some(Cdb::Inquiry { page: Some(inquiry::BLOCK_LIMITS), .. }) => {
                self.reply(command, limits.page());
            }
            Some(Cdb::Inquiry { page: Some(inquiry::IDENTIFICATION), .. }) => {
                let name = Name::Naa(vec![0; 16]);
                self.reply(command, inquiry::designators(&[Designator::unit(name)]));
            }
            Some(Cdb::SynchronizeCache10(_)) => self.reply(command, vec![]),
            _ => self.fail(task, Status::CheckCondition, Some(INVALID_FIELD_IN_CDB)),
        }
    }

    fn reply(&mut self, command: Command, data: Vec<u8>) {
        let data_in = u32::try_from(data.len()).unwrap().min(command.expected_len);
        let wanted = data.len() as u64;
        self.data.insert(command.task, (command, data));
        let outcome = Outcome { data_in, wanted, ..Outcome::default() };
        self.conn.complete(command.task, outcome);
    }

    fn on_write_ready(&mut self, task: TaskId) {
        let (command, data) = self.data.remove(&task).unwrap();
        let mut volume = self.target.volume.lock().unwrap();
        match Cdb::parse(&command.cdb) {
            Ok(Cdb::Write16(write)) => {
                let range = range(write.lba, write.blocks).unwrap();
                assert!(write.blocks <= 512, "longer than page B0 allows");
                volume.bytes[range].copy_from_slice(&data);
            }
            Ok(Cdb::Unmap { .. }) => {
                for extent in unmap::parse(&data).unwrap() {
                    assert!(extent.blocks <= 1000, "more than page B0 allows");
                    volume.bytes[range(extent.lba, extent.blocks).unwrap()].fill(0);
                }
            }
            other => panic!("{other:?}"),
        }
        drop(volume);
        let wanted = data.len() as u64;
        self.conn.complete(task, Outcome { wanted, ..Outcome::default() });
    }
}

fn range(lba: u64, blocks: u32) -> Option<std::ops::Range<usize>> {
    let end = lba.checked_add(blocks.into()).filter(|end| *end <= BLOCKS)?;
    let at = |block: u64| usize::try_from(block * 512).unwrap();
    Some(at(lba)..at(end))
}

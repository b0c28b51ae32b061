//! READ and WRITE through everything that decides (protocol machine and device server), with no
//! ring, no socket and no medium around it. What it costs is counted in instructions.

use std::hint::black_box;

use outband_protocol::ids::{Cid, IscsiName, Isid, TaskId, Tsih};
use outband_protocol::keys::{Params, SessionType};
use outband_protocol::limits::{BHS_LEN, TASKS_MAX};
use outband_protocol::login::target::{Admitted, Identity};
use outband_protocol::pdu::Bhs;
use outband_protocol::serial::Sn;
use outband_protocol::target::{Conn, Event, Outcome};
use outband_protocol::{Body, Digests, Transmit};
use outband_target_server::scsi::{LogicalUnit, Plan};

use crate::sample::{self, BLOCK_LEN, HOST};

/// Commands that come with one receive.
pub const BATCH: u32 = 32;
/// Bytes of each.
pub const LEN: u32 = 4096;

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// READ(10).
    Read,
    /// WRITE(10), all its data immediate.
    Write,
}

/// One connection and the logical unit behind it.
#[derive(Debug)]
pub struct Core {
    conn: Conn,
    unit: LogicalUnit,
    /// A task's bytes.
    buffer: Vec<u8>,
    cmd_sn: u32,
}

impl Default for Core {
    fn default() -> Self {
        let params = Params {
            initial_r2t: false,
            max_recv_ours: 262_144,
            max_recv_theirs: 262_144,
            ..Params::default()
        };
        let identity = Identity {
            initiator: IscsiName::new("iqn.2026-11.local.outband:host").expect("a name"),
            target: IscsiName::new("iqn.2026-11.local.outband:bench").ok(),
            session: SessionType::Normal,
            isid: Isid([0x80, 0, 0, 0, 0, 1]),
            tsih: Tsih(0),
            cid: Cid(0),
            alias: None,
        };
        let mut conn = Conn::new(Admitted {
            last: Transmit::new(Bhs::default(), Body::None, Digests::default()),
            params,
            identity,
            tsih: Tsih(1),
            next_stat_sn: Sn(1),
            exp_cmd_sn: Sn(1),
        });
        conn.set_credit(TASKS_MAX);
        while conn.poll_transmit().is_some() {}
        let buffer = vec![0; LEN as usize];
        let mut core = Self { conn, unit: sample::logical_unit(), buffer, cmd_sn: 1 };
        // A session starts with a small window; the first answer tells of the whole.
        let first = core.commands(Way::Read, 1);
        core.serve_batch(&first);
        core
    }
}

impl Core {
    /// The next batch of commands as it comes from the wire.
    pub fn batch(&mut self, way: Way) -> Vec<u8> {
        self.commands(way, BATCH)
    }

    fn commands(&mut self, way: Way, count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in 0..count {
            let mut bhs = [0; BHS_LEN];
            bhs[0] = 0x01;
            bhs[1] = if way == Way::Read { 0xC1 } else { 0xA1 };
            bhs[16..20].copy_from_slice(&number.to_be_bytes());
            bhs[20..24].copy_from_slice(&LEN.to_be_bytes());
            bhs[24..28].copy_from_slice(&self.cmd_sn.to_be_bytes());
            bhs[32] = if way == Way::Read { 0x28 } else { 0x2A };
            bhs[34..38].copy_from_slice(&(number * 7919).to_be_bytes());
            bhs[40] = u8::try_from(LEN / BLOCK_LEN).expect("a small request");
            if way == Way::Write {
                bhs[5..8].copy_from_slice(&LEN.to_be_bytes()[1..]);
            }
            bytes.extend_from_slice(&bhs);
            if way == Way::Write {
                bytes.resize(bytes.len() + LEN as usize, 0x5A);
            }
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
        }
        bytes
    }

    /// Handles a batch as a shard does; how many PDUs go out. Never inlined: callgrind finds it by
    /// its name.
    #[inline(never)]
    pub fn serve_batch(&mut self, mut input: &[u8]) -> u32 {
        let Self { conn, unit, buffer, .. } = self;
        while let Some(event) = conn.next_event(&mut input).expect("the batch breaks no rule") {
            match event {
                Event::Command(command) => {
                    let offered = if command.write { command.expected_len } else { 0 };
                    let plan = unit.begin(HOST, &sample::request(&command.cdb, offered));
                    match black_box(plan) {
                        Plan::Read { blocks, .. } => {
                            complete(conn, command.task, blocks * BLOCK_LEN);
                        }
                        Plan::Write { blocks, .. } => {
                            conn.accept_data(command.task, blocks * BLOCK_LEN);
                        }
                        other => panic!("a read or write became {other:?}"),
                    }
                }
                Event::WriteData { offset, bytes, .. } => {
                    let start = offset as usize;
                    buffer[start..start + bytes.len()].copy_from_slice(bytes);
                }
                Event::WriteReady(task) => complete(conn, task, 0),
                other => panic!("a read or write brought {other:?}"),
            }
        }
        let mut sent = 0;
        while let Some(transmit) = conn.poll_transmit() {
            let len = transmit.body.len() as usize;
            black_box((transmit.head(), transmit.tail(&buffer[..len])));
            sent += 1;
        }
        sent
    }
}

/// The medium has done its part: `data_in` bytes go to the initiator.
fn complete(conn: &mut Conn, task: TaskId, data_in: u32) {
    let outcome = Outcome { status: 0, sense: None, data_in, wanted: LEN.into() };
    conn.complete(task, outcome);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_every_batch_is_answered_with_one_pdu() {
        for way in [Way::Read, Way::Write] {
            let mut core = Core::default();
            for _ in 0..100 {
                let batch = core.batch(way);
                assert_eq!(core.serve_batch(&batch), BATCH);
                assert_eq!(core.conn.in_flight(), 0);
            }
        }
    }
}

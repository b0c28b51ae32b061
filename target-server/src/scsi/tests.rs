//! Conversations of hosts with a logical unit, checked as a trace. The disk's own numbers come from
//! `disk`; what a host sends is built with the same `Cdb` the initiator uses.

mod bad_input;
mod bad_lists;
mod copy;
mod disk;
mod format;
mod log;
mod ports;
mod primary;
mod reservations;
mod sanitize;
mod series;
mod state;
mod supported;
mod unit_attention;

use std::fmt::Write as _;

use outband_protocol::ids::Isid;
use outband_protocol::scsi::cdb::{Synchronize, Transfer, Verify};
use outband_protocol::scsi::sense::FieldPointer;
use uuid::Uuid;

use super::*;
use crate::exports::DEFAULT_GROUP;

const A: NexusId = NexusId(1);
const B: NexusId = NexusId(2);

/// The initiator port of a session: a host of its own.
fn port(nexus: NexusId) -> InitiatorPort {
    let name = format!("iqn.2026-11.local.host:{}", nexus.0);
    InitiatorPort { name: name.parse().unwrap(), isid: Isid([0x80, 0, 0, 0, 0, 1]) }
}

/// 512 blocks of 4096 bytes, durable writes, UNMAP.
fn disk() -> LuConfig {
    let uuid =
        Uuid::from_bytes(*b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xAA\xBB\xCC\xDD\xEE\xFF\x01");
    let target = "iqn.2026-11.local.outband:pool:vol".to_owned();
    let port = TargetPort { group: 3, relative: 2, ..TargetPort::first(target) };
    LuConfig {
        serial: "S-1".to_owned(),
        unmap: true,
        atomic: true,
        sanitize: true,
        ..LuConfig::new(uuid, port, 512, 4096)
    }
}

/// The same room in blocks of 512 bytes.
fn small_blocks() -> LuConfig {
    LuConfig { blocks: 4096, block_size: 512, ..disk() }
}

/// Hosts and the logical unit, and what they have said.
struct Talk {
    unit: LogicalUnit,
    trace: String,
}

impl Talk {
    /// Host A is there and has been told of its power on.
    fn new(config: LuConfig) -> Self {
        let mut unit = LogicalUnit::new(config);
        unit.attach(A, port(A), DEFAULT_GROUP);
        assert!(unit.attentions.take(A).is_some());
        Self { unit, trace: String::new() }
    }

    /// Another host logs in, which it is told with its first command.
    fn join(&mut self, nexus: NexusId) {
        self.unit.attach(nexus, port(nexus), DEFAULT_GROUP);
    }

    /// Sends a command with as much data as it is for.
    fn send(&mut self, nexus: NexusId, cdb: Cdb) -> Plan {
        let offered = match cdb.expected(self.unit.block_size()) {
            Expected::Out(bytes) => u32::try_from(bytes).unwrap_or(u32::MAX),
            Expected::In(_) | Expected::Nothing => 0,
        };
        self.offer(nexus, cdb, offered)
    }

    /// Sends a command with `offered` bytes of data-out.
    fn offer(&mut self, nexus: NexusId, cdb: Cdb, offered: u32) -> Plan {
        self.raw(nexus, Lun::ZERO, &cdb.build(), offered)
    }

    fn raw(&mut self, nexus: NexusId, lun: Lun, cdb: &[u8], offered: u32) -> Plan {
        let plan = self.unit.begin(nexus, &Request { lun, cdb, offered });
        self.say(&plan);
        plan
    }

    /// Sends a command and then its parameter list.
    fn list(&mut self, nexus: NexusId, cdb: Cdb, list: &[u8]) {
        let plan = self.offer(nexus, cdb, u32::try_from(list.len()).unwrap());
        if let Plan::Parameters { cdb, .. } = plan {
            let plan = self.unit.with_parameters(nexus, &cdb, list);
            self.say(&plan);
        }
    }

    fn say(&mut self, plan: &Plan) {
        if let Plan::Wipe { by, .. } = plan {
            self.unit.wipe_begins(*by).unwrap();
        }
        self.trace += &describe(plan);
        self.trace.push('\n');
    }
}

/// A plan in one line.
fn describe(plan: &Plan) -> String {
    let flag = |on, word| if on { word } else { "" };
    match plan {
        Plan::Reply(reply) => describe_reply(reply),
        Plan::Read { lba, blocks } => format!("read {lba}+{blocks}"),
        Plan::Write { lba, blocks, durable, wanted } => {
            format!("write {lba}+{blocks}{}, wanted {wanted}", flag(*durable, " durable"))
        }
        Plan::Wipe { by, wipe, immediate, wanted } => {
            let (by, moved) = match by {
                Wiping::Sanitize { .. } => ("sanitize", String::new()),
                Wiping::Format => ("format", format!(", wanted {wanted}")),
            };
            format!("{by} {wipe:?}{}{moved}", flag(*immediate, " immediate"))
        }
        Plan::WriteAtomic { lba, blocks } => format!("write {lba}+{blocks} atomic"),
        Plan::Verify { lba, blocks, compare } => {
            format!("verify {lba}+{blocks}{}", flag(*compare, " compare"))
        }
        Plan::VerifyEach { lba, blocks, block } => {
            format!("verify {lba}+{blocks}, each block {:02X} {}", block[0], block.len())
        }
        Plan::WriteAndVerify { lba, blocks, compare, wanted } => {
            let compare = flag(*compare, " compare");
            format!("write and verify {lba}+{blocks}{compare}, wanted {wanted}")
        }
        Plan::CompareAndWrite { lba, blocks, durable } => {
            format!("compare and write {lba}+{blocks}{}", flag(*durable, " durable"))
        }
        Plan::OrWrite { lba, blocks, durable, wanted } => {
            format!("or-write {lba}+{blocks}{}, wanted {wanted}", flag(*durable, " durable"))
        }
        Plan::Fill { lba, blocks, block } => {
            format!("fill {lba}+{blocks} with {:02X} {}", block[0], block.len())
        }
        Plan::Survey { lba, blocks, stretches, allocation } => {
            format!("survey {lba}+{blocks}, {stretches} in {allocation}")
        }
        Plan::Flush => "flush".to_owned(),
        Plan::Zero { ranges, unmap } => format!("zero {ranges:?}{}", flag(*unmap, " unmap")),
        Plan::Copy { list, wanted } => {
            format!("copy {} segments, wanted {wanted}", list.segments.len())
        }
        Plan::Parameters { len, .. } => format!("parameters {len}"),
        Plan::Reserved { barred, aborted } => {
            let numbers = |some: &[NexusId]| some.iter().map(|one| one.0).collect::<Vec<_>>();
            format!("reserved, barred {:?}, aborted {:?}", numbers(barred), numbers(aborted))
        }
    }
}

fn describe_reply(reply: &Reply) -> String {
    let mut line = match reply.sense {
        None => format!("{:?}", reply.status),
        Some(sense) => format!("{:?} {:02X}/{:02X}", sense.key, sense.asc, sense.ascq),
    };
    match reply.sense.and_then(|sense| sense.field) {
        Some(FieldPointer { in_cdb: true, byte, bit }) => {
            write!(line, " at {byte}").unwrap();
            bit.into_iter().for_each(|bit| write!(line, ".{bit}").unwrap());
        }
        Some(_) => line += " in the list",
        None => {}
    }
    if reply.wanted > 0 {
        write!(line, ", wanted {}", reply.wanted).unwrap();
    }
    line
}

/// Lets the hosts talk and compares what they were told, line by line.
#[track_caller]
fn check(config: LuConfig, talk: impl FnOnce(&mut Talk), expected: &str) {
    let mut told = Talk::new(config);
    talk(&mut told);
    let trim = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    assert_eq!(trim(&told.trace), trim(expected));
}

/// The data of a GOOD reply.
#[track_caller]
fn data(plan: Plan) -> Vec<u8> {
    match plan {
        Plan::Reply(Reply { status: Status::Good, data, .. }) => data,
        other => panic!("no data: {other:?}"),
    }
}

const fn at(lba: u64, blocks: u32) -> Transfer {
    Transfer { lba, blocks, protect: 0, dpo: false, fua: false }
}

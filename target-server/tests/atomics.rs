//! Commands that nobody may come between: COMPARE AND WRITE from many sessions at once, and I/O that
//! waits for a range until it is free, aborted, fenced or alone.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::fs::File;
use std::sync::Arc;

use common::raw::Raw;
use common::{Target, host, memory};
use outband_control::access::{ANY_HOST, Epoch, Grant};
use outband_initiator::{Config, Disk, Swap};
use outband_protocol::ids::Itt;
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{Request, Response, ScsiCommand, TaskManagementFunction as Function};
use outband_protocol::scsi::cdb::{ByteCheck, Transfer, Verify, WriteSame};
use outband_protocol::scsi::lba_status::{self, Provisioning};
use outband_protocol::scsi::{Cdb, Sense};
use outband_target_server::media::{Media, VolumeSpec, WritePolicy, ZeroWith};

const NAME: &str = "iqn.2026-11.local.outband:test:v";
const MIB: u32 = 1 << 20;

/// A volume of so many MiB in a file that nobody else sees, all of it a hole.
fn in_a_file(name: &str, mib: u64) -> VolumeSpec {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.set_len(mib << 20).unwrap();
    let mut spec = memory(name, mib);
    spec.pieces[0].media = Media::File(Arc::new(File::into(file)));
    spec.pieces[0].zero = ZeroWith::Punch;
    VolumeSpec { volatile: false, write_policy: WritePolicy::High, ..spec }
}

/// Sessions of one host with a volume `v` of 4 MiB in memory, told of all there was.
async fn sessions<const N: usize>() -> (Target, [Raw; N]) {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant_sessions("v", "a", 1, 8).await;
    let portal = target.portal;
    let sessions = std::array::from_fn(|at| {
        let mut session = Raw::to(portal, NAME, "a", u8::try_from(at).unwrap());
        assert_eq!(session.attentions(), ["02 6/2900"]);
        session
    });
    (target, sessions)
}

/// A command that sends `len` bytes, `immediate` of them at once.
fn out(session: &mut Raw, cdb: Cdb, len: u32, immediate: &[u8]) -> Itt {
    let command = session.command(&cdb.build());
    let command = ScsiCommand { write: len > 0, expected_len: len, ..command };
    session.send(Request::Command(command), immediate);
    command.itt
}

/// An ORWRITE of 2 MiB from the start of the volume that has sent its first half, so that the
/// range is its own, and has been asked for the second.
fn hold(session: &mut Raw) -> (Itt, outband_protocol::ids::Ttt) {
    let blocks = 2 * MIB / 512;
    let cdb = Cdb::OrWrite16(Transfer { lba: 0, blocks, ..Transfer::default() });
    let itt = out(session, cdb, 2 * MIB, &[]);
    let ttt = session.r2t(itt);
    session.burst(itt, ttt, 0, &vec![0x0f; MIB as usize]);
    let ttt = session.r2t(itt);
    (itt, ttt)
}

fn sense(session: &mut Raw, itt: Itt) -> Sense {
    let said = session.said();
    match said.response {
        Response::Command(response) if response.itt == itt => {
            Sense::parse(&said.data[2..]).unwrap()
        }
        other => panic!("no end of {itt:?}: {other:?}"),
    }
}

/// Adds one to the number in the first block, in turns with the others, until it is `enough`.
/// How often this session did.
async fn count(disk: Disk, enough: u64) -> u64 {
    let (mut held, mut successes) = (disk.read_at(0, 512).await.unwrap(), 0);
    loop {
        let number = u64::from_be_bytes(held[..8].try_into().unwrap());
        assert!(held.chunks_exact(8).all(|each| *each == held[..8]), "a block of two minds");
        if number >= enough {
            return successes;
        }
        let new = (number + 1).to_be_bytes().repeat(64);
        match disk.compare_and_write(0, &held, &new).await.unwrap() {
            Swap::Written => {
                successes += 1;
                held = new.into();
            }
            Swap::Miscompare { at } => {
                assert!(at.is_some_and(|at| at < 8), "a difference at {at:?}");
                held = disk.read_at(0, 512).await.unwrap();
            }
        }
    }
}

/// Successes in all. The whole 100,000 are for `cargo xtask interop`, which sets it.
fn increments() -> u64 {
    std::env::var("OUTBAND_INCREMENTS").map_or(2_000, |number| number.parse().unwrap())
}

async fn eight_sessions_count(spec: VolumeSpec) {
    let mut target = Target::start(|_| {});
    target.server.attach(&spec).await.unwrap();
    let grant = Grant {
        subject: "v".parse().unwrap(),
        host: ANY_HOST.to_owned(),
        chap: None,
        sources: Vec::new(),
        epoch: Epoch(1),
        sessions_per_portal: 2,
    };
    target.access.grant(grant).unwrap();
    target.server.publish(target.access.clone()).await;
    let portal = target.portal;
    let disk = |of: &str| {
        let config = Config::new(portal.to_string(), NAME).initiator(host(of));
        async { Disk::connect(config).await.unwrap() }
    };
    let mut tasks = Vec::new();
    for of in ["a", "a", "b", "b", "c", "c", "d", "d"] {
        tasks.push(tokio::spawn(count(disk(of).await, increments())));
    }
    assert_eq!(target.server.sessions().await.len(), 8);
    let mut successes = 0;
    for task in tasks {
        successes += task.await.unwrap();
    }
    let held = disk("e").await.read_at(0, 512).await.unwrap();
    assert_eq!(held[..], increments().to_be_bytes().repeat(64)[..]);
    assert_eq!(successes, increments(), "the block counts what the sessions were told");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_sessions_of_four_initiators_count_in_one_block_in_memory() {
    eight_sessions_count(memory("v", 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_sessions_of_four_initiators_count_in_one_block_on_a_file() {
    eight_sessions_count(in_a_file("v", 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_overlaps_a_range_that_a_task_has_alone_waits_for_its_end() {
    let (_target, [mut a, mut b]) = sessions().await;
    let (held, ttt) = hold(&mut a);
    let beside = b.write(0, Simple, &[1; 512]);
    b.is_silent();
    // What lies beside the range does not wait, nor does a flush.
    let cdb = Cdb::Read16(Transfer { lba: 2 * 2048, blocks: 1, ..Transfer::default() });
    let command = b.command(&cdb.build());
    b.send(Request::Command(ScsiCommand { read: true, expected_len: 512, ..command }), &[]);
    b.ends(command.itt, "00");
    let flush = out(&mut b, Cdb::flush(), 0, &[]);
    b.ends(flush, "00");
    a.burst(held, ttt, MIB, &vec![0xf0; MIB as usize]);
    a.ends(held, "00");
    b.ends(beside, "00");
    let read = a.read(0, Simple);
    let said = a.said();
    assert!(matches!(said.response, Response::DataIn(data) if data.itt == read));
    assert_eq!(said.data, [1; 512], "the write came after the whole ORWRITE");
    let read = a.read(1, Simple);
    assert_eq!(a.said().data, [0x0f; 512], "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_can_be_aborted_at_once_and_never_lands() {
    let (_target, [mut a, mut b]) = sessions().await;
    let (held, ttt) = hold(&mut a);
    let waiting = b.write(0, Simple, &[1; 512]);
    let claiming = out(&mut b, Cdb::compare_and_write(1, 1, false), 1024, &[0; 1024]);
    b.is_silent();
    for task in [waiting, claiming] {
        let abort = b.manage(Function::AbortTask, task);
        b.managed(abort);
    }
    a.burst(held, ttt, MIB, &vec![0xf0; MIB as usize]);
    a.ends(held, "00");
    for lba in [0, 1] {
        let read = b.read(lba, Simple);
        assert_eq!(b.said().data, [0x0f; 512], "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_free_again_when_its_session_or_its_task_is_gone() {
    let (_target, [mut a, mut b, mut c]) = sessions().await;
    let (held, _) = hold(&mut a);
    let first = b.write(0, Simple, &[1; 512]);
    b.is_silent();
    let abort = a.manage(Function::AbortTask, held);
    a.managed(abort);
    b.ends(first, "00");

    hold(&mut a);
    let second = b.write(0, Simple, &[2; 512]);
    let third = c.write(0, Simple, &[3; 512]);
    b.is_silent();
    c.is_silent();
    // One that waits goes, and then the one that it waits for.
    drop(c);
    drop(a);
    b.ends(second, "00");
    let read = b.read(0, Simple);
    assert_eq!(b.said().data, [2; 512], "{read:?} and nothing of {third:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fence_nothing_that_waited_for_a_range_lands() {
    let (mut target, [mut a, mut b]) = sessions().await;
    hold(&mut a);
    let waiting = b.write(0, Simple, &[1; 512]);
    let claiming = out(&mut b, Cdb::compare_and_write(1, 1, false), 1024, &[0; 1024]);
    b.is_silent();
    let (name, epoch) = (NAME.to_owned(), Epoch(1));
    target.server.close_gate(name.clone(), Some(host("a")), epoch).await;
    b.ends(waiting, "18");
    b.ends(claiming, "18");
    target.access.fence(&"v".parse().unwrap(), &host("a"), epoch);
    target.server.publish(target.access.clone()).await;
    target.server.drain(name, Some(host("a")), epoch).await;
    target.grant("v", "b", 2).await;
    let new = target.disk("v", "b").await.unwrap();
    assert_eq!(new.read_at(0, 512).await.unwrap()[..], [0x0f; 512]);
    assert_eq!(new.compare_and_write(0, &[0x0f; 512], &[7; 512]).await.unwrap(), Swap::Written);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sense_tells_where_the_first_byte_differs() {
    let (_target, [mut a]) = sessions().await;
    let mut data = [0; 3 * 1024];
    data[700] = 1;
    data[701] = 1;
    let itt = out(&mut a, Cdb::compare_and_write(4, 3, true), 3072, &data);
    let told = sense(&mut a, itt);
    assert_eq!((told.key.code(), told.asc, told.information), (0x0e, 0x1d, Some(700)));
    data[700] = 0;
    data[701] = 0;
    data[1536..].fill(9);
    let itt = out(&mut a, Cdb::compare_and_write(4, 3, true), 3072, &data);
    a.ends(itt, "00");
    let read = a.read(6, Simple);
    assert_eq!(a.said().data, [9; 512], "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_with_a_command_that_takes_none_does_no_harm() {
    let (_target, [mut a]) = sessions().await;
    // More than the command is about, at the very end of the volume.
    let (lba, blocks) = (4 * 2048 - 1, 1);
    let verify = Verify { lba, blocks, protect: 0, dpo: false, check: ByteCheck::Medium };
    for cdb in [Cdb::Verify16(verify), Cdb::flush(), Cdb::read16(lba, blocks)] {
        let itt = out(&mut a, cdb, 8192, &[1; 8192]);
        a.ends(itt, "00");
    }
    a.is_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_block_is_written_to_all_and_compared_with_all() {
    for spec in [memory("v", 4), in_a_file("v", 4)] {
        let mut target = Target::start(|_| {});
        target.server.attach(&spec).await.unwrap();
        target.grant("v", "a", 1).await;
        let mut a = Raw::to(target.portal, NAME, "a", 1);
        a.attentions();
        // More than a burst, and not a whole number of them.
        let (lba, blocks) = (3, 5000);
        let same = WriteSame { lba, blocks, ..WriteSame::default() };
        let verify =
            |blocks| Verify { lba, blocks, protect: 0, dpo: false, check: ByteCheck::CompareOne };
        let block: Vec<u8> = (0..512).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let itt = out(&mut a, Cdb::WriteSame16(same), 512, &block);
        a.ends(itt, "00");
        let itt = out(&mut a, Cdb::Verify16(verify(5000)), 512, &block);
        a.ends(itt, "00");
        let itt = out(&mut a, Cdb::Verify16(verify(5001)), 512, &block);
        a.ends(itt, "02 e/1d00");
        for lba in [2, 5003 - 4096] {
            // The blocks on both sides are as they were, and the zeros are quick.
            let none = WriteSame { lba, blocks: 1, no_data: true, ..same };
            let itt = out(&mut a, Cdb::WriteSame16(none), 0, &[]);
            a.ends(itt, "00");
        }
        let read = a.read(2, Simple);
        assert_eq!(a.said().data, [0; 512], "{read:?}");
        let read = a.read(3, Simple);
        assert_eq!(a.said().data, block, "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_verified_after_its_write_is_what_was_sent() {
    for spec in [memory("v", 4), in_a_file("v", 4)] {
        let mut target = Target::start(|_| {});
        target.server.attach(&spec).await.unwrap();
        target.grant("v", "a", 1).await;
        let mut a = Raw::to(target.portal, NAME, "a", 1);
        a.attentions();
        for check in [ByteCheck::Medium, ByteCheck::Compare] {
            let verify = Verify { lba: 1, blocks: 2100, protect: 0, dpo: false, check };
            let len = 2100 * 512;
            let data: Vec<u8> = (0..len).map(|at| u8::try_from(at / 512 % 251).unwrap()).collect();
            let itt = out(&mut a, Cdb::WriteAndVerify16(verify), len, &[]);
            let ttt = a.r2t(itt);
            a.burst(itt, ttt, 0, &data[..MIB as usize]);
            let ttt = a.r2t(itt);
            a.burst(itt, ttt, MIB, &data[MIB as usize..]);
            a.ends(itt, "00");
            let compare = Verify { check: ByteCheck::Compare, blocks: 1, lba: 7, ..verify };
            let itt = out(&mut a, Cdb::Verify16(compare), 512, &[6; 512]);
            a.ends(itt, "00");
        }
    }
}

/// Blocks by status, as one GET LBA STATUS tells.
fn status(session: &mut Raw, lba: u64) -> Vec<(u64, u32, Provisioning)> {
    let command = session.command(&Cdb::GetLbaStatus { lba, allocation: 512 }.build());
    session.send(Request::Command(ScsiCommand { read: true, expected_len: 512, ..command }), &[]);
    let all = lba_status::parse(&session.said().data).unwrap();
    all.iter().map(|each| (each.lba, each.blocks, each.status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lba_status_tells_what_was_written_and_what_was_given_back() {
    const HOLE: Provisioning = Provisioning::Deallocated;
    const MAPPED: Provisioning = Provisioning::Mapped;
    for (spec, piece) in [(memory("v", 4), 512), (in_a_file("v", 4), 8)] {
        let mut target = Target::start(|_| {});
        target.server.attach(&spec).await.unwrap();
        target.grant("v", "a", 1).await;
        let disk = target.disk("v", "a").await.unwrap();
        disk.write_at(512 * 1024, vec![1; 1024 * 1024]).await.unwrap();
        disk.close().await.unwrap();
        let mut a = Raw::to(target.portal, NAME, "a", 1);
        a.attentions();
        let expected = [(0, 1024, HOLE), (1024, 2048, MAPPED), (3072, 5120, HOLE)];
        assert_eq!(status(&mut a, 0), expected);
        assert_eq!(status(&mut a, 1025), [(1025, 2047, MAPPED), (3072, 5120, HOLE)]);
        assert_eq!(status(&mut a, 8191), [(8191, 1, HOLE)]);

        let unmap = WriteSame {
            lba: 1024,
            blocks: piece,
            unmap: true,
            no_data: true,
            ..WriteSame::default()
        };
        let itt = out(&mut a, Cdb::WriteSame16(unmap), 0, &[]);
        a.ends(itt, "00");
        let rest = 2048 - piece;
        let given = 1024 + piece;
        let expected = [(0, given, HOLE), (given.into(), rest, MAPPED), (3072, 5120, HOLE)];
        assert_eq!(status(&mut a, 0), expected);
    }
}

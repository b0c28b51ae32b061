//! Who has lost a volume, by a preemption or with its grant, leaves no write that comes after the answer:
//! on a medium that takes its time, and on a file amid writes.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::io::{ErrorKind, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::raw::Raw;
use common::reserves::{GONE, Reserves, does};
use common::unit::Served;
use common::{Target, host, memory};
use outband_control::access::Epoch;
use outband_protocol::ids::{Itt, Lun, Ttt};
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{
    NopOut, Request, Response, ScsiCommand, TaskManagementFunction as Function,
};
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::cdb::ReserveOutAction as Action;
use outband_protocol::scsi::reserve::{Kind, List};
use outband_target_server::media::{Media, VolumeSpec, WritePolicy};

const NAME: &str = "iqn.2026-11.local.outband:test:v";
const KIND: Kind = Kind::WriteExclusiveRegistrants;
/// A write of more than a pipe has room for.
const LEN: usize = 512 << 10;

/// What is written comes out at the other end of a pipe, and no sooner than it is taken there.
struct Medium(PipeReader);

impl Medium {
    /// A volume `v` on it. Nothing can be read from that.
    fn new() -> (VolumeSpec, Self) {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut spec = memory("v", 4);
        spec.pieces[0].media = Media::File(Arc::new(OwnedFd::from(writer)));
        (spec.volatile, spec.write_policy) = (false, WritePolicy::High);
        (spec, Self(reader))
    }

    /// Lets so many bytes happen.
    fn take(&mut self, mut len: usize) {
        for _ in 0..2_000 {
            match self.0.read(&mut vec![0; len]) {
                Ok(count) => len -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
            if len == 0 {
                return;
            }
        }
        panic!("{len} bytes do not come");
    }

    /// Everything has stopped that could have written.
    fn has_nothing_more(&mut self) {
        match self.0.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("something came after the answer: {other:?}"),
        }
    }
}

/// The volume on such a medium, and two sessions of host `a`.
async fn slow() -> (Target, Medium, Raw, Raw) {
    let mut target = Target::start(|config| config.shards = 1);
    let (spec, medium) = Medium::new();
    target.server.attach(&spec).await.unwrap();
    target.grant_sessions("v", "a", 1, 8).await;
    let session = |isid| {
        let mut session = Raw::to(target.portal, NAME, "a", isid);
        assert_eq!(session.attentions(), ["02 6/2900"]);
        session
    };
    let (a, b) = (session(1), session(2));
    (target, medium, a, b)
}

/// A write that the medium has begun and cannot end.
fn write_under_way(session: &mut Raw, medium: &mut Medium) -> Itt {
    let blocks = u32::try_from(LEN / 512).unwrap();
    let command = session.command(&Cdb::write16(0, blocks, false).build());
    let command = ScsiCommand { write: true, expected_len: blocks * 512, ..command };
    session.send(Request::Command(command), &[]);
    let ttt = session.r2t(command.itt);
    session.burst(command.itt, ttt, 0, &vec![0xAA; LEN]);
    medium.take(1);
    command.itt
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preemption_is_answered_when_the_medium_has_done_with_the_preempted() {
    for abort in [false, true] {
        let (target, mut medium, mut a, mut b) = slow().await;
        does(&mut a, |a| a.register(1, false));
        does(&mut b, |b| b.register(2, false));
        does(&mut a, |a| a.reserve(1, KIND));
        let late = a.write(0, Simple, &[]);
        let ttt = a.r2t(late);
        let write = write_under_way(&mut a, &mut medium);
        let preempt = b.preempt(2, 1, KIND, abort);
        // The first ping may overtake what the turn of the shard ends with.
        b.is_silent();
        b.is_silent();
        medium.take(LEN - 1);
        b.ends(preempt, "00");
        a.data_out(late, ttt, &[0xBB; 512]);
        if abort {
            assert_eq!(a.attentions(), [GONE, "02 6/2f00"]);
        } else {
            a.ends(write, "00");
            a.ends(late, "18");
            assert_eq!(a.attentions(), [GONE]);
        }
        drop((a, b));
        target.server.stop().await;
        medium.has_nothing_more();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_answered_when_the_medium_has_done_with_the_fenced() {
    let (mut target, mut medium, mut a, mut b) = slow().await;
    write_under_way(&mut a, &mut medium);
    let late = b.write(0, Simple, &[]);
    let ttt = b.r2t(late);
    let epoch = Epoch(1);
    target.server.close_gate(NAME.to_owned(), Some(host("a")), epoch).await;
    b.data_out(late, ttt, &[0xBB; 512]);
    target.access.fence(&"v".parse().unwrap(), &host("a"), epoch);
    target.server.publish(target.access.clone()).await;
    let server = Arc::clone(&target.server);
    let mut drained = pin!(server.drain(NAME.to_owned(), Some(host("a")), epoch));
    // It is asked for, and the question behind it is answered first.
    for _ in 0..2 {
        let asked = std::future::poll_fn(|context| Poll::Ready(drained.as_mut().poll(context)));
        assert!(asked.await.is_pending(), "the medium still has a write");
        target.server.sessions().await;
    }
    medium.take(LEN - 1);
    tokio::time::timeout(Duration::from_secs(10), drained).await.unwrap();
    drop((a, b));
    target.server.stop().await;
    medium.has_nothing_more();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_the_tasks_of_others_is_answered_when_the_medium_has_done_with_them() {
    use Function::{ClearTaskSet, LogicalUnitReset, TargetColdReset, TargetWarmReset};
    for function in [ClearTaskSet, LogicalUnitReset, TargetWarmReset, TargetColdReset] {
        let (target, mut medium, mut a, mut b) = slow().await;
        write_under_way(&mut a, &mut medium);
        let asked = b.manage(function, Itt::NONE);
        b.is_silent();
        b.is_silent();
        medium.take(LEN - 1);
        if function == ClearTaskSet {
            // Nothing has acknowledged the answer to the last ping yet.
            let Response::NopIn(ping) = b.said().response else { panic!("no ping") };
            b.answer_ping(ping.ttt);
        }
        b.managed(asked);
        drop((a, b));
        target.server.stop().await;
        medium.has_nothing_more();
    }
}

/// Blocks that the loser writes at once.
const WRITES: u8 = 8;
const BLOCKS: usize = 8;

fn held(file: &Path) -> Vec<u8> {
    let mut held = vec![0; usize::from(WRITES) * BLOCKS * 512];
    std::fs::File::open(file).unwrap().read_exact(&mut held).unwrap();
    held
}

/// How many of its writes have had an answer, when nothing more is owed to it.
fn answered(session: &mut Raw) -> u8 {
    // With so many commands that have no answer, no other one would be in the window.
    let (order, itt) = (session.order(true), session.itt());
    session.send(Request::NopOut(NopOut { order, lun: Lun::ZERO, itt, ttt: Ttt::NONE }), &[]);
    let answers = std::iter::from_fn(|| match session.said().response {
        Response::NopIn(_) => None,
        response => Some(response),
    });
    u8::try_from(answers.count()).unwrap()
}

#[test]
fn after_a_preemption_amid_writes_a_file_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let file = path.to_str().unwrap();
    let served = Served::start(&[file, "--size", "4M", "--sessions-per-portal", "4"]);
    let (mut a, mut b) = (served.session(1), served.session(2));
    does(&mut b, |b| b.register(2, false));
    let mut amid = 0;
    for round in 1..=100u8 {
        does(&mut a, |a| a.register(1, false));
        does(&mut a, |a| a.reserve(1, KIND));
        for write in 0..WRITES {
            let lba = u64::from(write) * BLOCKS as u64;
            let command = a.command(&Cdb::write16(lba, 8, true).build());
            let command = ScsiCommand { write: true, expected_len: 4096, ..command };
            a.send(Request::Command(command), &[round; BLOCKS * 512]);
        }
        does(&mut b, |b| b.preempt(2, 1, KIND, true));
        let after = held(&path);
        // As many writes of the winner as would give those of the loser their time.
        for lba in 100..100 + WRITES {
            does(&mut b, |b| b.write(lba, Simple, &[round; 512]));
        }
        amid += u8::from(answered(&mut a) < WRITES);
        a.attentions();
        assert!(held(&path) == after, "written in round {round} after it was preempted");
        if amid == 5 {
            return;
        }
        let list = List { key: 2, ..List::default() };
        does(&mut b, |b| b.out(Action::Release, Some(KIND), &list));
    }
    panic!("no preemption came amid the writes");
}

//! Commands of several sessions in one task set: attributes, task management, and who is told what.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use common::Target;
use common::raw::{Raw, config};
use outband_protocol::ids::Itt;
use outband_protocol::pdu::TaskAttribute::{Aca, HeadOfQueue, Ordered, Simple};
use outband_protocol::pdu::{AsyncEvent, Response, TaskManagementFunction as Function};

const NAME: &str = "iqn.2026-11.local.outband:test:v";

/// A target with a volume `v` and, per isid, a session that was told all there was.
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

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_command_runs_after_the_older_and_before_the_newer_of_every_session() {
    let (_target, [mut a, mut b]) = sessions().await;
    let first = a.write(0, Simple, &[]);
    let ttt = a.r2t(first);
    let ordered = b.read(0, Ordered);
    b.is_silent();
    let later = a.read(1, Simple);
    a.is_silent();
    let head = b.read(2, HeadOfQueue);
    b.ends(head, "00");
    a.data_out(first, ttt, &[7; 512]);
    a.ends(first, "00");
    a.ends(later, "00");
    b.ends(ordered, "00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_write_keeps_what_came_with_it_and_reads_see_it_in_order() {
    let (_target, [mut a, mut b]) = sessions().await;
    let held = a.write(0, Simple, &[]);
    let ttt = a.r2t(held);
    let whole = b.write(5, Ordered, &[0xaa; 512]);
    let part = b.write(6, Ordered, &[0xbb; 100]);
    let after = b.read(5, Simple);
    b.is_silent();
    a.data_out(held, ttt, &[1; 512]);
    a.ends(held, "00");
    b.ends(whole, "00");
    let rest = b.said();
    let Response::R2t(r2t) = rest.response else { panic!("no R2T: {rest:?}") };
    assert_eq!((r2t.itt, r2t.offset, r2t.len), (part, 100, 412));
    b.is_silent();
    b.more_data_out(part, r2t.ttt, 100, &[0xbb; 412]);
    b.ends(part, "00");
    let read = b.said();
    assert!(read.data.iter().all(|byte| *byte == 0xaa) && read.data.len() == 512);
    let Response::DataIn(data) = read.response else { panic!("no data: {read:?}") };
    assert_eq!(data.itt, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_and_a_lost_session_release_those_who_waited() {
    let (_target, [mut a, mut b]) = sessions().await;
    let held = a.write(0, Simple, &[]);
    a.r2t(held);
    let ordered = b.write(1, Ordered, &[3; 512]);
    let after = b.read(0, Simple);
    b.is_silent();
    let abort = b.manage(Function::AbortTask, ordered);
    // The answer to the function is the last of what was before it, and the read ran at once.
    let mut ends = vec![b.said(), b.said()];
    ends.sort_by_key(|said| matches!(said.response, Response::TaskManagement(_)));
    let Response::DataIn(data) = &ends[0].response else { panic!("no data: {ends:?}") };
    assert_eq!(data.itt, after);
    let Response::TaskManagement(answer) = &ends[1].response else { panic!("{ends:?}") };
    assert_eq!(answer.itt, abort);

    let ordered = b.read(0, Ordered);
    b.is_silent();
    drop(a);
    b.ends(ordered, "00");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aca_command_without_the_condition_is_refused() {
    let (_target, [mut a]) = sessions().await;
    let aca = a.read(0, Aca);
    a.ends(aca, "02 5/4900");
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_task_set_ends_the_tasks_of_its_own_session_only() {
    let (_target, [mut a, mut b]) = sessions().await;
    let (mine, other) = (a.write(0, Simple, &[]), b.write(1, Simple, &[]));
    let (own, theirs) = (a.r2t(mine), b.r2t(other));
    let function = a.manage(Function::AbortTaskSet, Itt::NONE);
    // The data that was asked for comes first (§4.2.3.3).
    a.is_silent();
    a.data_out(mine, own, &[1; 512]);
    a.managed(function);
    b.data_out(other, theirs, &[1; 512]);
    b.ends(other, "00");
    assert_eq!(a.attentions(), [""; 0]);
    assert_eq!(b.attentions(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_does_not_wait_for_ever_for_data_that_was_asked_for() {
    let (_target, [mut a, mut b]) = sessions().await;
    let held = a.write(0, Simple, &[]);
    let ttt = a.r2t(held);
    let behind = b.read(0, Ordered);
    let function = a.manage(Function::AbortTaskSet, Itt::NONE);
    a.managed(function);
    b.ends(behind, "00");
    // Too late: it is dropped.
    a.data_out(held, ttt, &[1; 512]);
    assert_eq!(a.attentions(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_for_a_task_set_waits_until_earlier_ones_are_acknowledged() {
    let (_target, [mut a]) = sessions().await;
    let asked = a.ping();
    let function = a.manage(Function::ClearTaskSet, Itt::NONE);
    let Response::NopIn(echo) = a.said().response else { panic!("no echo") };
    assert_eq!(echo.itt, asked);
    let Response::NopIn(ping) = a.said().response else { panic!("it is answered too early") };
    assert_eq!(ping.itt, Itt::NONE);
    a.answer_ping(ping.ttt);
    a.managed(function);
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_task_set_ends_the_tasks_of_all_and_tells_those_whose_it_ended() {
    let (_target, [mut a, mut b, mut idle]) = sessions().await;
    let (mine, other) = (a.write(0, Simple, &[]), b.write(1, Simple, &[]));
    let (own, theirs) = (a.r2t(mine), b.r2t(other));
    let function = a.manage(Function::ClearTaskSet, Itt::NONE);
    a.data_out(mine, own, &[1; 512]);
    a.managed(function);
    // Data that is late for it is dropped, as §11.7.1 has it.
    b.data_out(other, theirs, &[1; 512]);
    b.is_silent();
    assert_eq!(a.attentions(), [""; 0]);
    assert_eq!(b.attentions(), ["02 6/2f00"]);
    assert_eq!(idle.attentions(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_end_the_tasks_of_all_and_tell_every_nexus() {
    for function in [Function::LogicalUnitReset, Function::TargetWarmReset] {
        let (_target, [mut a, mut b, mut idle]) = sessions().await;
        let (mine, other) = (a.write(0, Simple, &[]), b.write(1, Ordered, &[]));
        let ttt = a.r2t(mine);
        b.is_silent();
        let reset = a.manage(function, Itt::NONE);
        a.data_out(mine, ttt, &[1; 512]);
        a.managed(reset);
        b.is_silent();
        assert_ne!(other, Itt::NONE);
        // Whoever asked is told as well (SAM-5 §6.3.3).
        for session in [&mut a, &mut b, &mut idle] {
            assert_eq!(session.attentions(), ["02 6/2903"], "{function:?}");
        }
        assert_eq!(a.read(0, Simple), a.end().0, "and the target goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_reset_is_answered_and_ends_every_session() {
    let (target, [mut a, mut b]) = sessions().await;
    let held = b.write(0, Simple, &[]);
    b.r2t(held);
    let reset = a.manage(Function::TargetColdReset, Itt::NONE);
    a.managed(reset);
    for session in [&mut a, &mut b] {
        let Response::Async(message) = session.said().response else { panic!("no message") };
        assert_eq!(message.event, AsyncEvent::SessionDropped);
        assert!(session.hear().is_none());
    }
    // As after a power on, and not as after the loss of a nexus.
    for isid in [0, 1] {
        let mut again = Raw::with(target.portal, config(Some(NAME), "a", isid));
        assert_eq!(again.attentions(), ["02 6/2900"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_on_a_logical_unit_that_is_not_there_says_so() {
    use outband_protocol::pdu::TaskManagementResult::LunDoesNotExist;

    let (_target, [mut a]) = sessions().await;
    let held = a.write(0, Simple, &[]);
    let ttt = a.r2t(held);
    for function in [Function::AbortTaskSet, Function::ClearTaskSet, Function::LogicalUnitReset] {
        a.manage_at(5, function);
        let Response::TaskManagement(answer) = a.said().response else { panic!("no answer") };
        assert_eq!(answer.result, LunDoesNotExist, "{function:?}");
    }
    a.data_out(held, ttt, &[1; 512]);
    a.ends(held, "00");
    assert_eq!(a.attentions(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_tells_what_each_task_waits_for() {
    let (target, [mut host]) = sessions().await;
    let itt = host.write(5, Simple, &[]);
    let ttt = host.r2t(itt);
    let tasks = async || {
        let shards = target.server.dump().await;
        shards.into_iter().flat_map(|shard| shard.tasks).collect::<Vec<_>>()
    };
    let told = tasks().await;
    assert_eq!(told.len(), 1, "{told:?}");
    let task = &told[0];
    assert_eq!((task.itt, task.operation, task.stage), (itt.0, "write", "collects-data"));
    assert_eq!((task.target.as_str(), task.at, task.bytes), (NAME, 5 * 512, 512));
    let text = serde_json::to_string(&target.server.dump().await).unwrap();
    for figure in ["\"ring_operations\":", "\"task_bytes\":", "\"sessions\":[{", "\"window\":"] {
        assert!(text.contains(figure), "{figure} in {text}");
    }
    host.data_out(itt, ttt, &[1; 512]);
    host.ends(itt, "00");
    assert!(tasks().await.is_empty());
    target.server.stop().await;
}

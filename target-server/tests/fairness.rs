//! What one turn of a shard takes, and what it leaves to the next.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use common::Target;
use common::raw::Raw;
use outband_protocol::ids::Itt;
use outband_protocol::pdu::TaskAttribute::Simple;
use outband_protocol::pdu::{Response, ScsiCommand};

const NAME: &str = "iqn.2026-11.local.outband:test:v";

fn read(session: &mut Raw, blocks: u16) -> ScsiCommand {
    let [high, low] = blocks.to_be_bytes();
    let command = session.command(&[0x28, 0, 0, 0, 0, 0, 0, high, low, 0]);
    ScsiCommand { read: true, expected_len: u32::from(blocks) * 512, ..command }
}

/// Tags in the order in which their statuses came.
fn ends(session: &mut Raw, count: usize) -> Vec<Itt> {
    let mut ended = Vec::new();
    while ended.len() < count {
        match session.said().response {
            Response::DataIn(data) if data.status.is_some() => ended.push(data.itt),
            Response::DataIn(_) => {}
            other => panic!("no data: {other:?}"),
        }
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_does_not_wait_for_the_megabytes_asked_for_before_it() {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant_sessions("v", "a", 1, 8).await;
    let mut session = Raw::to(target.portal, NAME, "a", 1);
    assert_eq!(session.attentions(), ["02 6/2900"]);

    let mut commands: Vec<_> = (0..4).map(|_| read(&mut session, 2048)).collect();
    commands.push(read(&mut session, 1));
    let [first, second, third, fourth, block] =
        commands.iter().map(|c| c.itt).collect::<Vec<_>>()[..]
    else {
        panic!("five commands");
    };
    session.send_together(&commands);
    assert_eq!(ends(&mut session, 5), [first, block, second, third, fourth]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_beyond_what_a_turn_reads_are_all_answered_in_their_order() {
    let mut target = Target::start(|_| {});
    target.volume("v", 4).await;
    target.grant_sessions("v", "a", 1, 8).await;
    let mut session = Raw::to(target.portal, NAME, "a", 1);
    assert_eq!(session.attentions(), ["02 6/2900"]);

    // Sent at once, they come with one receive, which is more than twice what a turn reads.
    // The first rounds grow the session's window.
    for count in [4, 8, 16].into_iter().chain([40; 20]) {
        let commands: Vec<_> = (0..count).map(|_| read(&mut session, 8)).collect();
        let tags: Vec<_> = commands.iter().map(|command| command.itt).collect();
        session.send_together(&commands);
        assert_eq!(ends(&mut session, tags.len()), tags);
        // What is received then was not mixed up.
        let write = session.write(0, Simple, &[]);
        let ttt = session.r2t(write);
        session.data_out(write, ttt, &[7; 512]);
        session.ends(write, "00");
    }
}

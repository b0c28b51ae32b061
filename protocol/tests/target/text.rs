//! Text, pings, and what the target says of its own accord.

use outband_protocol::ids::{Itt, Ttt};

use crate::world::{check, digests, discovery, op, session};

#[test]
fn a_discovery_session_learns_the_targets() {
    check(
        discovery(),
        |world| {
            world.text(Itt(5), Ttt::NONE, true, false, "SendTargets=All\0");
            world.settle();
            let text = "TargetName=iqn.2026-11.test:a\0TargetAddress=10.0.0.1:3260,1\0";
            world.conn.answer_targets(Itt(5), text.into());
            world.settle();
            world.plain(op::NOTHING);
        },
        "
        > text 5 SendTargets=All|
        = targets All
        < text 5 F=1 C=0 TargetName=iqn.2026-11.test:a|TargetAddress=10.0.0.1:3260,1|
        > command 1
        < reject ProtocolError
        ",
    );
}

#[test]
fn an_answer_longer_than_a_segment_is_fetched_piece_by_piece() {
    let mut session = discovery();
    session.params.max_recv_theirs = 512;
    let name = "n".repeat(200);
    check(
        session,
        |world| {
            world.text(Itt(5), Ttt::NONE, true, false, "SendTargets=All\0");
            world.settle();
            let text = format!("A={name}\0B={name}\0C={name}\0D={name}\0E={name}\0F={name}\0");
            world.conn.answer_targets(Itt(5), text.into());
            world.settle();
            world.text(Itt(5), world.last_ttt, true, false, "");
            world.settle();
            world.text(Itt(5), world.last_ttt, true, false, "");
        },
        &format!(
            "
            > text 5 SendTargets=All|
            = targets All
            < text 5 F=0 C=1 A={name}|B={name}|C={}
            > text 5
            < text 5 F=0 C=1 {}|D={name}|E={name}|F={}
            > text 5
            < text 5 F=1 C=0 {}|
            ",
            &name[..104],
            &name[..96],
            &name[..7],
            &name[..193],
        ),
    );
}

#[test]
fn text_may_come_in_pieces_and_unknown_keys_are_answered_as_such() {
    check(
        session(|_| ()),
        |world| {
            world.text(Itt(5), Ttt::NONE, false, true, "MaxRecvDataSegme");
            world.settle();
            let text = "ntLength=4096\0X-org.test=1\0MaxBurstLength=512\0InitiatorAlias=a\0";
            world.text(Itt(5), world.last_ttt, true, false, text);
            world.settle();
            world.read(op::READ, 8192);
        },
        "
        > text 5 MaxRecvDataSegme
        < text 5 F=0
        > text 5 ntLength=4096|X-org.test=1|MaxBurstLength=512|InitiatorAlias=a|
        < text 5 F=1 C=0 X-org.test=NotUnderstood|MaxBurstLength=Reject|
        > read 1 8K
        = command 1
        < data-in 1 0..4K
        < data-in 1 4K..8K F GOOD
        ",
    );
}

#[test]
fn a_normal_session_may_ask_for_its_own_target_or_by_name_only() {
    check(
        session(|_| ()),
        |world| {
            for (itt, value) in [(5, "All"), (6, ""), (7, "iqn.2026-11.test:a"), (8, "nonsense")] {
                world.text(Itt(itt), Ttt::NONE, true, false, &format!("SendTargets={value}\0"));
                world.settle();
                world.conn.answer_targets(Itt(itt), Vec::new());
                world.settle();
            }
        },
        "
        > text 5 SendTargets=All|
        < text 5 F=1 C=0 SendTargets=Reject|
        > text 6 SendTargets=|
        = targets Own
        < text 6 F=1
        > text 7 SendTargets=iqn.2026-11.test:a|
        = targets iqn.2026-11.test:a
        < text 7 F=1
        > text 8 SendTargets=nonsense|
        < text 8 F=1 C=0 SendTargets=Reject|
        ",
    );
}

#[test]
fn text_out_of_place_is_rejected() {
    check(
        digests(),
        |world| {
            world.text(Itt(5), Ttt(3), true, false, "");
            world.text(Itt(5), Ttt::NONE, true, true, "A=b\0");
            world.text(Itt(5), Ttt::NONE, true, false, "no value\0");
            world.text(Itt(6), Ttt::NONE, true, false, "A=b\0");
            world.damage(6);
            world.text(Itt(6), Ttt::NONE, true, false, "A=b\0");
        },
        "
        > text 5
        > text 5 A=b|
        > text 5 no value|
        > text 6 A=b|
        > text 6 A=b|
        < reject ProtocolError
        < reject ProtocolError
        < reject ProtocolError
        < reject DataDigestError
        < text 6 F=1 C=0 A=NotUnderstood|
        ",
    );
}

#[test]
fn pings_come_back_with_as_much_data_as_may_be() {
    check(
        session(|params| params.max_recv_theirs = 512),
        |world| {
            world.nop(true, Itt(7), Ttt::NONE, b"hello");
            world.nop(false, Itt(8), Ttt::NONE, &[1; 600]);
            world.nop(true, Itt::NONE, Ttt::NONE, b"nobody asked");
            world.plain(op::NOTHING);
        },
        "
        > nop 5 bytes
        > nop 600 bytes
        > nop 12 bytes
        > command 1
        = command 1
        < nop-in 5 bytes
        < nop-in 512 bytes
        < response 1 00
        ",
    );
}

#[test]
fn our_ping_is_answered_once() {
    check(
        session(|_| ()),
        |world| {
            world.conn.ping();
            world.conn.ping();
            world.settle();
            let ttt = world.last_ttt;
            assert_ne!(ttt, Ttt::NONE);
            world.nop(true, Itt::NONE, Ttt(ttt.0 ^ 1), b"");
            world.nop(true, Itt::NONE, ttt, b"");
            world.nop(true, Itt::NONE, ttt, b"");
            world.settle();
            world.conn.request_logout(10);
        },
        "
        < ping
        > nop 0 bytes
        > nop 0 bytes
        > nop 0 bytes
        = pong
        < async LogoutRequested [0, 0, 10]
        ",
    );
}

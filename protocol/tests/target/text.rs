//! Text, pings, and what the target says of its own accord.

use outband_protocol::ids::{Itt, Ttt};
use outband_protocol::keys::{Rule, TABLE};

use crate::world::{World, check, digests, discovery, op, session};

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
            world.settle();
            world.nop(true, Itt(7), Ttt::NONE, b"there?");
        },
        "
        > text 5 SendTargets=All|
        = targets All
        < text 5 F=1 C=0 TargetName=iqn.2026-11.test:a|TargetAddress=10.0.0.1:3260,1|
        > command 1
        < reject ProtocolError
        > nop 6 bytes
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

#[test]
fn a_text_negotiation_comes_into_force_at_its_end_or_not_at_all() {
    // §6.4: until the last response the old limit holds; §6.2: no key twice in one negotiation.
    check(
        session(|params| params.max_recv_theirs = 8192),
        |world| {
            world.text(Itt(5), Ttt::NONE, false, false, "MaxRecvDataSegmentLength=512\0");
            world.settle();
            world.read(op::READ, 1024);
            world.settle();
            world.text(Itt(5), world.last_ttt, false, false, "InitiatorAlias=a\0");
            world.settle();
            world.text(Itt(5), world.last_ttt, false, false, "MaxRecvDataSegmentLength=4096\0");
            world.settle();
            world.read(op::READ, 1024);
            world.settle();
            world.text(Itt(6), Ttt::NONE, false, false, "MaxRecvDataSegmentLength=512\0");
            world.settle();
            world.text(Itt(6), world.last_ttt, true, false, "");
            world.settle();
            world.read(op::READ, 1024);
        },
        "
        > text 5 MaxRecvDataSegmentLength=512|
        < text 5 F=0
        > read 1 1K
        = command 1
        < data-in 1 0..1K F GOOD
        > text 5 InitiatorAlias=a|
        < text 5 F=0
        > text 5 MaxRecvDataSegmentLength=4096|
        < reject ProtocolError
        > read 2 1K
        = command 2
        < data-in 2 0..1K F GOOD
        > text 6 MaxRecvDataSegmentLength=512|
        < text 6 F=0
        > text 6
        < text 6 F=1
        > read 3 1K
        = command 3
        < data-in 3 0..512
        < data-in 3 512..1K F GOOD
        ",
    );
}

#[test]
fn every_key_of_the_login_is_rejected_after_it_and_bad_values_are_too() {
    for row in &TABLE {
        let value = match &row.rule {
            Rule::SendTargets => "everything",
            Rule::ReceiveLimit(_) => "511",
            _ => "1",
        };
        let mut world = World::new(&session(|_| ()), false, usize::MAX);
        world.text(Itt(5), Ttt::NONE, true, false, &format!("{}={value}\0", row.name));
        world.settle();
        let line = match row.name {
            // Declared, at any time (§13.7).
            "InitiatorAlias" => "< text 5 F=1".to_owned(),
            name => format!("< text 5 F=1 C=0 {name}=Reject|"),
        };
        assert_eq!(world.lines(&line), 1, "{}", row.name);
        let answers = usize::from(row.name != "InitiatorAlias");
        assert_eq!(world.lines("< text 5 F=1 C=0"), answers, "{}", row.name);
    }
    for text in ["A=1\0A=2\0", "=1\0", "A\0", "a b=1\0", "A=\u{1b}\0"] {
        let mut world = World::new(&session(|_| ()), false, usize::MAX);
        world.text(Itt(5), Ttt::NONE, true, false, text);
        world.plain(op::NOTHING);
        world.settle();
        assert_eq!(world.lines("< reject ProtocolError"), 1, "{text:?}");
        assert_eq!(world.lines("< response 1 00"), 1, "the session goes on");
    }
}

/// §6.2: a key comes once in a negotiation, and an answer only to what was offered.
#[test]
fn a_key_said_twice_after_the_login_and_an_answer_to_nothing_are_rejected() {
    let names = TABLE.iter().map(|row| row.name).chain(["X-com.example.a"]);
    for name in names {
        let value = if name == "MaxRecvDataSegmentLength" { "512" } else { "1" };
        let one = format!("{name}={value}\0");
        let (empty, twice) = (String::new(), format!("{one}{one}"));
        let mut texts = vec![(twice, empty.clone()), (one.clone(), one)];
        for answer in ["Reject", "Irrelevant", "NotUnderstood"] {
            texts.push((format!("{name}={answer}\0"), empty.clone()));
        }
        for (first, second) in texts {
            let mut world = World::new(&session(|_| ()), false, usize::MAX);
            world.text(Itt(5), Ttt::NONE, false, false, &first);
            world.settle();
            if !second.is_empty() {
                world.text(Itt(5), world.last_ttt, true, false, &second);
            }
            world.plain(op::NOTHING);
            world.settle();
            assert_eq!(world.lines("< reject ProtocolError"), 1, "{first} {second}");
            assert_eq!(world.lines("< response 1 00"), 1, "the session goes on");
        }
    }
}

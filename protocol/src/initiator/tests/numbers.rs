//! The numbers and tags that requests carry.

use super::*;

/// CmdSN, ExpStatSN, the tag and whether it is immediate, of a request that is no data.
fn numbers(transmit: &Transmit) -> (Sn, Sn, Itt, bool) {
    let (order, itt) = match Pdu::parse(&transmit.bhs()).unwrap() {
        Pdu::Command(pdu) => (pdu.order, pdu.itt),
        Pdu::NopOut(pdu) => (pdu.order, pdu.itt),
        Pdu::TaskManagement(pdu) => (pdu.order, pdu.itt),
        Pdu::Text(pdu) => (pdu.order, pdu.itt),
        Pdu::Logout(pdu) => (pdu.order, pdu.itt),
        other => panic!("{other:?}"),
    };
    (order.cmd_sn, order.exp_stat_sn, itt, order.immediate)
}

/// §4.2.2.1, §11.2.1.8, §11.18.1: from the login on one by one; an immediate request carries the number
/// of the next command and takes none; each has a tag of its own but the answer to a ping, which has
/// none and is immediate.
#[test]
fn commands_are_numbered_one_by_one_and_immediate_requests_take_no_number() {
    check(Terms { cmd_sn: Sn(u32::MAX), max_cmd_sn: Sn(6), ..terms() }, |talk| {
        let task = |slot| TaskId { slot, generation: 3 };
        let mut sent = Vec::new();
        let mut poll = |talk: &mut Talk| {
            sent.extend(std::iter::from_fn(|| talk.conn.poll_transmit()).map(|pdu| numbers(&pdu)));
        };
        talk.conn.start(task(0), &read(512)).unwrap();
        talk.conn.start(task(1), &read(512)).unwrap();
        poll(talk);
        talk.conn.abort(task(1)).unwrap();
        poll(talk);
        talk.data_in(0, 0, 512, true).unwrap();
        talk.conn.ping();
        poll(talk);
        // The answer to a ping is sent before commands that were started before it.
        talk.conn.start(task(2), &read(512)).unwrap();
        let (sequence, lun) = (talk.sequence(), Lun::ZERO);
        let ping = NopIn { lun, itt: Itt::NONE, ttt: TTT, sequence };
        talk.tell(Response::NopIn(ping), &[]).unwrap();
        talk.conn.ask(Bytes::from_static(b"SendTargets=\0")).unwrap();
        poll(talk);
        assert!(talk.conn.log_out());
        poll(talk);
        let (mut next, mut tags) = (Sn(u32::MAX), Vec::new());
        let mut acknowledged = Sn(1000);
        for (cmd_sn, exp_stat_sn, itt, immediate) in sent {
            assert_eq!(cmd_sn, next);
            assert!(!acknowledged.after(exp_stat_sn), "ExpStatSN does not go back");
            acknowledged = exp_stat_sn;
            assert!(!tags.contains(&itt), "{itt:?} twice");
            assert!(itt != Itt::NONE || immediate, "{itt:?}");
            tags.push(itt);
            if !immediate {
                next = next.next();
            }
        }
        assert_eq!(acknowledged, Sn(1001), "the one status that has come");
        assert_eq!(tags.len(), 8);
        assert_eq!(tags.iter().filter(|itt| **itt == Itt::NONE).count(), 1);
    });
}

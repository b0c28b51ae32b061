//! Writes: what comes unasked, what is asked for, and what is dropped.

use outband_protocol::ids::{Lun, Ttt};
use outband_protocol::pdu::{DataOut, Request};
use outband_protocol::serial::Sn;
use outband_protocol::target::DataFault;

use crate::world::{KIB, check, digests, op, pattern, session};

#[test]
fn a_write_larger_than_the_first_burst_is_asked_for_in_bursts() {
    let expected = "
        > write 1 64K, immediate 8K
        = command 1, unsolicited 8K
        = data 1 0..8K
        < r2t 1 8K..40K
        > data-out 1 8K..40K
        = data 1 8K..40K
        < r2t 1 40K..64K
        > data-out 1 40K..64K
        = data 1 40K..64K
        = ready 1
        < response 1 00
    ";
    for digests in [digests().params.digests, Default::default()] {
        let session = session(|params| {
            params.first_burst_len = 8 * KIB;
            params.max_burst_len = 32 * KIB;
            params.max_recv_ours = 10_000;
            params.digests = digests;
        });
        let talk = |world: &mut crate::world::World| {
            world.write(op::WRITE, 64 * KIB, 8 * KIB, 8 * KIB);
        };
        check(session, talk, expected);
    }
}

#[test]
fn a_small_write_comes_whole_with_its_command() {
    check(
        digests(),
        |world| {
            world.write(op::WRITE, 513, 513, 513);
            world.write(op::WRITE, 3, 3, 3);
        },
        "
        > write 1 513, immediate 513
        > write 2 3, immediate 3
        = command 1, unsolicited 513
        = data 1 0..513
        = ready 1
        = command 2, unsolicited 3
        = data 2 0..3
        = ready 2
        < response 1 00
        < response 2 00
        ",
    );
}

#[test]
fn unsolicited_data_follows_its_command_up_to_the_first_burst() {
    check(
        session(|params| params.max_recv_ours = 20_000),
        |world| {
            world.write(op::WRITE, 100 * KIB, 4 * KIB, 64 * KIB);
        },
        "
        > write 1 100K, immediate 4K
        > data-out 1 4K..64K
        = command 1, unsolicited 64K
        = data 1 0..64K
        < r2t 1 64K..100K
        > data-out 1 64K..100K
        = data 1 64K..100K
        = ready 1
        < response 1 00
        ",
    );
}

#[test]
fn an_initiator_may_send_less_unasked_than_it_might() {
    check(
        session(|_| ()),
        |world| {
            world.write(op::WRITE, 64 * KIB, 0, 5 * KIB);
        },
        "
        > write 1 64K, immediate 0
        > data-out 1 0..5K
        = command 1, unsolicited 64K
        = data 1 0..5K
        < r2t 1 5K..64K
        > data-out 1 5K..64K
        = data 1 5K..64K
        = ready 1
        < response 1 00
        ",
    );
}

#[test]
fn several_r2ts_are_out_at_once_as_agreed() {
    check(
        session(|params| {
            params.initial_r2t = true;
            params.max_burst_len = 16 * KIB;
            params.max_outstanding_r2t = 3;
        }),
        |world| {
            world.write(op::WRITE, 70 * KIB, 0, 0);
        },
        "
        > write 1 70K, immediate 0
        = command 1
        < r2t 1 0..16K
        < r2t 1 16K..32K
        < r2t 1 32K..48K
        > data-out 1 0..16K
        > data-out 1 16K..32K
        > data-out 1 32K..48K
        = data 1 0..48K
        < r2t 1 48K..64K
        < r2t 1 64K..70K
        > data-out 1 48K..64K
        > data-out 1 64K..70K
        = data 1 48K..70K
        = ready 1
        < response 1 00
        ",
    );
}

#[test]
fn data_is_asked_for_no_further_than_the_shell_has_room() {
    check(
        session(|params| params.max_burst_len = 1024 * KIB),
        |world| {
            world.write(op::WRITE, 2560 * KIB, 0, 0);
        },
        "
        > write 1 2560K, immediate 0
        = command 1
        < r2t 1 0..1024K
        > data-out 1 0..1024K
        = data 1 0..1024K
        = ready 1
        < r2t 1 1024K..2048K
        > data-out 1 1024K..2048K
        = data 1 1024K..2048K
        = ready 1
        < r2t 1 2048K..2560K
        > data-out 1 2048K..2560K
        = data 1 2048K..2560K
        = ready 1
        < response 1 00
        ",
    );
}

#[test]
fn room_that_does_not_end_at_a_burst_is_used_up_first() {
    check(
        session(|params| params.max_burst_len = 32 * KIB),
        |world| {
            let itt = world.write(op::HELD, 64 * KIB, 4 * KIB, 4 * KIB);
            world.keeps_r2ts = true;
            world.turn();
            let task = world.task(itt);
            world.accept(task, 40 * KIB);
            world.keeps_r2ts = false;
            world.settle();
            world.accept(task, 64 * KIB);
            world.settle();
            world.complete(task, 0, 0, 64 * KIB);
        },
        // The shell broke the rule: 4 KiB came with the command and it had accepted none.
        "
        > write 1 64K, immediate 4K
        = command 1, unsolicited 4K
        = failed 1 NoRoom
        < response 1 02 under 64K with sense
        ",
    );
    check(
        session(|params| params.max_burst_len = 32 * KIB),
        |world| {
            let itt = world.write(op::HELD, 64 * KIB, 0, 0);
            world.turn();
            let task = world.task(itt);
            world.accept(task, 40 * KIB);
            world.settle();
            world.accept(task, 64 * KIB);
            world.settle();
            world.complete(task, 0, 0, 64 * KIB);
        },
        "
        > write 1 64K, immediate 0
        = command 1
        < r2t 1 0..32K
        > data-out 1 0..32K
        = data 1 0..32K
        < r2t 1 32K..40K
        > data-out 1 32K..40K
        = data 1 32K..40K
        = ready 1
        < r2t 1 40K..64K
        > data-out 1 40K..64K
        = data 1 40K..64K
        = ready 1
        < response 1 00
        ",
    );
}

#[test]
fn a_refused_write_is_asked_for_nothing_and_its_data_is_dropped() {
    check(
        session(|_| ()),
        |world| {
            world.write(op::REFUSED, 128 * KIB, 4 * KIB, 64 * KIB);
            world.settle();
            // It is answered, and still its initiator goes on.
            world.data_out(outband_protocol::ids::Itt(1), Ttt::NONE, 64 * KIB, 128 * KIB);
            world.plain(op::NOTHING);
        },
        "
        > write 1 128K, immediate 4K
        > data-out 1 4K..64K
        = command 1, unsolicited 64K
        < response 1 02 under 128K with sense
        > data-out 1 64K..128K
        > command 2
        = command 2
        < response 2 00
        ",
    );
}

#[test]
fn a_write_of_nothing_is_ready_at_once_and_tells_what_it_wanted() {
    check(
        session(|_| ()),
        |world| {
            let mut command = world.command(op::WRITE, false, true, 0);
            command.cdb[4] = 2;
            world.say("> write 1 0");
            world.send(Request::Command(command), &[]);
        },
        "
        > write 1 0
        = command 1
        = ready 1
        < response 1 00 over 512
        ",
    );
}

#[test]
fn a_damaged_segment_is_rejected_and_fails_its_task_alone() {
    check(
        digests(),
        |world| {
            world.write(op::WRITE, 8 * KIB, 8 * KIB, 8 * KIB);
            world.damage(6);
            world.write(op::WRITE, 512, 512, 512);
            world.settle();
            world.keeps_r2ts = true;
            let itt = world.write(op::WRITE, 8 * KIB, 0, 0);
            world.turn();
            let ttt = world.last_ttt;
            world.one_data_out(itt, ttt, Sn(0), 0, 4 * KIB, false);
            world.damage(100);
            world.one_data_out(itt, ttt, Sn(1), 4 * KIB, 4 * KIB, true);
        },
        "
        > write 1 8K, immediate 8K
        > write 2 512, immediate 512
        = command 1, unsolicited 8K
        = data 1 0..8K
        = failed 1 Digest
        = command 2, unsolicited 512
        = data 2 0..512
        = ready 2
        < reject DataDigestError
        < response 1 02 under 8K with sense
        < response 2 00
        > write 3 8K, immediate 0
        = command 3
        < r2t 3 0..8K
        = data 3 0..4K
        = failed 3 Digest
        < reject DataDigestError
        < response 3 02 under 8K with sense
        ",
    );
}

#[test]
fn empty_data_outs_count_and_change_nothing() {
    check(
        session(|_| ()),
        |world| {
            world.keeps_r2ts = true;
            let itt = world.write(op::WRITE, 8 * KIB, 0, 0);
            world.turn();
            let ttt = world.last_ttt;
            world.one_data_out(itt, ttt, Sn(0), 0, 0, false);
            world.one_data_out(itt, ttt, Sn(1), 0, 4 * KIB, false);
            world.one_data_out(itt, ttt, Sn(2), 4 * KIB, 0, false);
            world.one_data_out(itt, ttt, Sn(3), 4 * KIB, 4 * KIB, true);
        },
        "
        > write 1 8K, immediate 0
        = command 1
        < r2t 1 0..8K
        = data 1 0..8K
        = ready 1
        < response 1 00
        ",
    );
}

#[test]
fn data_of_another_logical_unit_than_its_command_fails_the_task() {
    check(
        session(|_| ()),
        |world| {
            world.keeps_r2ts = true;
            let itt = world.write(op::WRITE, 8 * KIB, 0, 0);
            world.turn();
            let lun = Lun(1 << 48);
            let (ttt, exp_stat_sn) = (world.last_ttt, Sn(0));
            let pdu = DataOut { last: true, lun, itt, ttt, exp_stat_sn, data_sn: Sn(0), offset: 0 };
            world.send(Request::DataOut(pdu), &[0; 8 * KIB as usize]);
        },
        "
        > write 1 8K, immediate 0
        = command 1
        < r2t 1 0..8K
        = failed 1 Unexpected
        < response 1 02 under 8K with sense
        ",
    );
}

#[test]
fn data_that_breaks_the_rules_fails_its_task() {
    // Of an R2T for 0..8K: TTT off by, DataSN, offset, length, F.
    let cases = [
        (1, 0, 0, 8 * KIB, true, DataFault::Unexpected),
        (0, 1, 0, 8 * KIB, true, DataFault::OutOfOrder),
        (0, 0, 512, 4 * KIB, false, DataFault::OutOfOrder),
        (0, 0, 0, 8 * KIB + 4, true, DataFault::Amount),
        (0, 0, 0, 8 * KIB, false, DataFault::Amount),
        (0, 0, 0, 4 * KIB, true, DataFault::Amount),
    ];
    for (ttt_off, data_sn, offset, len, last, fault) in cases {
        check(
            session(|params| params.max_burst_len = 8 * KIB),
            |world| {
                world.keeps_r2ts = true;
                let itt = world.write(op::WRITE, 16 * KIB, 0, 0);
                world.turn();
                let ttt = Ttt(world.last_ttt.0.wrapping_add(ttt_off));
                world.one_data_out(itt, ttt, Sn(data_sn), offset, len, last);
            },
            &format!(
                "
                > write 1 16K, immediate 0
                = command 1
                < r2t 1 0..8K
                = failed 1 {fault:?}
                < response 1 02 under 16K with sense
                "
            ),
        );
    }
}

#[test]
fn data_that_was_not_agreed_to_come_unasked_fails_its_task() {
    for (immediate, unsolicited) in [(512, 512), (0, 512)] {
        let session = session(|params| {
            params.immediate_data = false;
            params.initial_r2t = true;
        });
        let data_out = if immediate == 0 { "> data-out 1 0..512" } else { "" };
        check(
            session,
            |world| {
                world.write(op::WRITE, 512, immediate, unsolicited);
            },
            &format!(
                "
                > write 1 512, immediate {immediate}
                {data_out}
                = command 1
                = failed 1 Unexpected
                < response 1 02 under 512 with sense
                "
            ),
        );
    }
    check(
        session(|params| params.first_burst_len = 1024),
        |world| {
            let command = world.command(op::WRITE, false, true, 4096);
            world.send(Request::Command(command), &pattern(command.itt, 0, 2048));
        },
        "
        = command 1
        = failed 1 Amount
        < response 1 02 under 4K with sense
        ",
    );
}

//! Ghost writes (P8), all combinations: however far a write has come when its task or its session ends,
//! in whatever way that ends, and whenever the network brings the rest of it, nothing of it reaches
//! the medium after that was answered.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod bench;

use std::time::Duration;

use bench::{Bench, Raw, block_of};
use outband_protocol::pdu::LoginStatus;
use outband_protocol::pdu::TaskAttribute::{Ordered, Simple};
use outband_protocol::pdu::{LogoutReason, TaskManagementFunction};
use outband_sim::net::Side;

/// Numbers of the writes: the one that must not come back, the one over it, and one before it.
const GHOST: u64 = 1;
const NEW: u64 = 2;
const FIRST: u64 = 3;

/// How far the write has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// A part of it came with the command, and the rest unasked is on its way.
    Immediate,
    /// It was asked for.
    AskedFor,
    /// Half of what was asked for is there.
    Half,
    /// All of it is there, and waits behind an older command.
    Dormant,
    /// The medium has it.
    Storing,
}

/// How it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    SameIsid,
    OtherIsid,
    /// A session at another portal is another path; it resets the logical unit.
    OtherPortal,
    AbortTask,
    Reset,
    Logout,
}

const PHASES: [Phase; 5] =
    [Phase::Immediate, Phase::AskedFor, Phase::Half, Phase::Dormant, Phase::Storing];
const ENDS: [End; 6] =
    [End::SameIsid, End::OtherIsid, End::OtherPortal, End::AbortTask, End::Reset, End::Logout];

#[test]
fn no_write_of_what_has_ended_reaches_the_medium_in_any_of_sixty_ways() {
    let mut tried = 0;
    for phase in PHASES {
        for end in ENDS {
            for late in [false, true] {
                haunt(phase, end, late);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 60);
}

/// `late`: the rest comes after the blocks were written anew.
fn haunt(phase: Phase, end: End, late: bool) {
    let what = format!("{phase:?}, ended by {end:?}, late {late}");
    let mut bench = Bench::new(Duration::from_millis(20));
    let mut old = bench.log_in(0, 1, phase != Phase::Immediate).unwrap();
    old.attentions(&mut bench);
    let (itt, rest) = begin(&mut bench, &mut old, phase);
    let replaced = matches!(end, End::SameIsid | End::OtherIsid | End::OtherPortal);
    if replaced {
        // The rest is in a network that keeps it.
        bench.block(&old, Side::Target);
        old.send_raw(&mut bench, &rest);
    }
    let mut new = conclude(&mut bench, &mut old, end, itt);
    assert_eq!(bench.landing(GHOST), None, "{what}: it was answered, and this is on its way");
    bench.forget_arrivals();
    let bring = |bench: &mut Bench, old: &Raw| {
        if replaced {
            bench.unblock(old, Side::Target);
        } else {
            old.send_raw(bench, &rest);
        }
        bench.pass(Duration::from_millis(200));
    };
    if !late {
        bring(&mut bench, &old);
    }
    let mut own = new.take();
    let writer = own.as_mut().unwrap_or(&mut old);
    writer.attentions(&mut bench);
    writer.write_now(&mut bench, 0, NEW, Simple);
    assert_eq!(writer.status(&mut bench), 0, "{what}");
    if late {
        bring(&mut bench, &old);
    }
    bench.pass(Duration::from_secs(1));
    assert!(!bench.has_arrived(GHOST), "{what}: it came to the disk");
    for lba in 0..bench::BLOCKS {
        assert_eq!(bench.on_disk(lba), block_of(lba, NEW), "{what}");
    }
}

/// Brings the write as far as `phase` says: its tag, and the bytes that are not sent yet.
fn begin(bench: &mut Bench, old: &mut Raw, phase: Phase) -> (outband_protocol::ids::Itt, Vec<u8>) {
    let half = bench::LEN / 2;
    let data = bench::data(0, GHOST);
    match phase {
        Phase::Immediate => {
            let itt = old.write(bench, 0, &data[..half], Simple);
            bench.pass(Duration::from_millis(50));
            (itt, old.data_out(itt, None, half, &data[half..]))
        }
        Phase::AskedFor => {
            let itt = old.write(bench, 0, &[], Simple);
            let ttt = old.r2t(bench, itt);
            (itt, old.data_out(itt, Some(ttt), 0, &data))
        }
        Phase::Half => {
            let itt = old.write(bench, 0, &[], Simple);
            let ttt = old.r2t(bench, itt);
            let first = old.half_out(itt, ttt, &data[..half]);
            old.send_raw(bench, &first);
            bench.pass(Duration::from_millis(50));
            (itt, old.second_half_out(itt, ttt, half, &data[half..]))
        }
        Phase::Dormant => {
            let first = old.write(bench, 32, &[], Simple);
            let ttt = old.r2t(bench, first);
            let itt = old.write_now(bench, 0, GHOST, Ordered);
            bench.pass(Duration::from_millis(50));
            (itt, old.data_out(first, Some(ttt), 0, &bench::data(32, FIRST)))
        }
        Phase::Storing => {
            let itt = old.write(bench, 0, &[], Simple);
            let ttt = old.r2t(bench, itt);
            let all = old.data_out(itt, Some(ttt), 0, &data);
            old.send_raw(bench, &all);
            while bench.landing(GHOST).is_none() {
                assert!(bench.step(), "the medium never gets it");
            }
            // What comes late is the same once more.
            (itt, all)
        }
    }
}

/// Ends it, and hears that it has; a new session, if that took one.
fn conclude(
    bench: &mut Bench,
    old: &mut Raw,
    end: End,
    itt: outband_protocol::ids::Itt,
) -> Option<Raw> {
    match end {
        End::SameIsid => Some(bench.log_in(0, 1, true).unwrap()),
        End::OtherIsid => Some(bench.log_in(0, 2, true).unwrap()),
        End::OtherPortal => {
            let mut new = bench.log_in(1, 2, true).unwrap();
            new.manage(bench, TaskManagementFunction::LogicalUnitReset, None);
            Some(new)
        }
        End::AbortTask => {
            old.manage(bench, TaskManagementFunction::AbortTask, Some(itt));
            None
        }
        End::Reset => {
            old.manage(bench, TaskManagementFunction::LogicalUnitReset, None);
            None
        }
        End::Logout => {
            old.log_out(bench, LogoutReason::CloseSession);
            Some(bench.log_in(0, 1, true).unwrap())
        }
    }
}

#[test]
fn a_session_that_does_not_drain_in_time_keeps_its_successor_out() {
    let mut bench = Bench::new(Duration::from_secs(20));
    let mut old = bench.log_in(0, 1, true).unwrap();
    old.attentions(&mut bench);
    begin(&mut bench, &mut old, Phase::Storing);
    assert_eq!(bench.log_in(0, 2, true).err(), Some(LoginStatus::SERVICE_UNAVAILABLE));
    assert!(bench.landing(GHOST).is_some(), "it was still under way");
    bench.pass(Duration::from_secs(45));
    assert_eq!(bench.landing(GHOST), None);
    bench.log_in(0, 2, true).expect("it has drained by now");
}

#[test]
fn two_sessions_of_a_host_throw_each_other_out_three_times_and_not_more() {
    let mut bench = Bench::new(Duration::from_millis(1));
    let refusals = (1..=6u8).filter_map(|isid| bench.log_in(0, isid, true).err());
    let refusals: Vec<_> = refusals.collect();
    // The first had nobody to throw out, and three were let in at the cost of another.
    assert_eq!(refusals, [LoginStatus::TOO_MANY_CONNECTIONS; 2]);
    bench.pass(Duration::from_secs(61));
    bench.log_in(0, 7, true).expect("a minute later");
}

//! Fixed seeds, and every seed that ever failed; that a seed means the same each time; and that the
//! simulator finds what it is there to find.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::ops::Range;

use outband_sim::run::{Defeat, run_altered};
use outband_sim::sequences;
use outband_sim::world::Failure;

mod sound {
    use outband_sim::{run, run_range};
    use outband_target_server::media::WritePolicy;

    use super::*;

    fn check(seeds: Range<u64>) {
        if let Err(defeat) = run_range(seeds, |_| {}) {
            panic!("{defeat}");
        }
    }

    // Four tests, so that they run side by side.

    #[test]
    fn seeds_0_to_75_find_nothing() {
        check(0..75);
    }

    #[test]
    fn seeds_75_to_150_find_nothing() {
        check(75..150);
    }

    #[test]
    fn seeds_150_to_225_find_nothing() {
        check(150..225);
    }

    #[test]
    fn seeds_225_to_300_find_nothing() {
        check(225..300);
    }

    #[test]
    fn a_seed_means_the_same_each_time() {
        for seed in [1, 2, 3, 5, 8, 13] {
            assert_eq!(run(seed).unwrap(), run(seed).unwrap());
        }
        assert_ne!(run(1).unwrap().hash, run(2).unwrap().hash);
    }

    #[test]
    fn some_operations_are_over_before_the_ring_waits() {
        let spots: Vec<_> = (0..20).map(|seed| run(seed).unwrap()).collect();
        assert!(spots.iter().any(|report| report.spots > 0));
        assert!(spots.iter().any(|report| report.spots == 0 && report.ios > 0));
    }

    /// Of two syncs at a time the kernel tells one of a failure (the first seed that met it was 60).
    #[test]
    fn a_sync_beside_a_failed_one_is_not_believed() {
        for seed in 0..25 {
            let run = run_altered(seed, false, |setup| {
                for disk in &mut setup.disks {
                    disk.faults.sync_error = 50;
                }
                for volume in &mut setup.volumes {
                    volume.policy = WritePolicy::High;
                }
                for host in &mut setup.hosts {
                    host.depth = 64;
                }
                setup.chaos.recover = 20;
                setup.chaos.power = 0;
            });
            run.unwrap_or_else(|defeat| panic!("{defeat}"));
        }
    }
}

/// Short lives: a few requests of one to three hosts to a few blocks, and the power cut after every
/// event, with every subset of what was not synced.
fn cut_everywhere(seed: u64, lie: bool) -> Result<(), Box<Defeat>> {
    run_altered(seed, false, |setup| {
        setup.every_cut = true;
        setup.net.segment_len_max = 64 << 10;
        for disk in &mut setup.disks {
            disk.faults.lying_flush = lie;
        }
        for host in &mut setup.hosts {
            host.quota = 6;
            host.blocks_max = 2;
            host.writes.end = host.writes.end.min(host.writes.start + 2);
        }
        setup.chaos.most = 2;
    })
    .map(drop)
}

#[test]
fn no_power_cut_after_any_event_loses_what_was_promised() {
    for seed in 0..24 {
        cut_everywhere(seed, false).unwrap_or_else(|defeat| panic!("{defeat}"));
    }
}

#[test]
fn a_power_cut_after_every_event_finds_a_lie_sooner() {
    (0..10).find_map(|seed| cut_everywhere(seed, true).err()).expect("10 seeds are enough");
}

/// One of so many; all of them are run by `cargo xtask sim --sequences`.
const STRIDE: usize = 61;

#[test]
fn no_power_cut_in_any_sequence_of_three_loses_what_was_promised() {
    assert_eq!(sequences::all().count(), 18 + 18 * 18 + 18 * 18 * 18);
    for sequence in sequences::all().step_by(STRIDE) {
        sequences::run(&sequence).unwrap_or_else(|defeat| panic!("{defeat}\n{sequence:?}"));
    }
}

/// Finds the first seed that fails when things are altered, and how.
fn first_defeat(seeds: Range<u64>, lie: bool) -> Option<Box<Defeat>> {
    let mut outcomes = seeds.map(|seed| {
        run_altered(seed, false, |setup| {
            for disk in &mut setup.disks {
                disk.faults.lying_flush = lie;
            }
        })
    });
    outcomes.find_map(Result::err)
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let defeat = first_defeat(0..20, true).expect("20 seeds are enough");
    assert!(matches!(defeat.failure, Failure::Data(_)), "{defeat}");
}

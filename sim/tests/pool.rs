//! Fixed seeds of whole pools, every step of a short story as the last one of the station or of a unit,
//! and that the simulator finds what it is there to find.

use std::ops::Range;
use std::time::Duration;

use outband_sim::pool::setup::{Chaos, Setup};
use outband_sim::pool::{post, run_altered};
use outband_sim::run::Defeat;

mod sound {
    use outband_sim::pool::{Report, run, run_range};

    use super::*;

    fn check(seeds: Range<u64>) {
        if let Err(defeat) = run_range(seeds, |_| {}) {
            panic!("{defeat}");
        }
    }

    // Four tests, so that they run side by side.

    #[test]
    fn seeds_0_to_50_find_nothing() {
        check(0..50);
    }

    #[test]
    fn seeds_50_to_100_find_nothing() {
        check(50..100);
    }

    #[test]
    fn seeds_100_to_150_find_nothing() {
        check(100..150);
    }

    #[test]
    fn seeds_150_to_200_find_nothing() {
        check(150..200);
    }

    #[test]
    fn a_seed_of_a_pool_means_the_same_each_time() {
        for seed in [1, 2, 3, 5, 8] {
            assert_eq!(run(seed).unwrap(), run(seed).unwrap());
        }
        assert_ne!(run(1).unwrap().hash, run(2).unwrap().hash);
    }

    /// One unit, one user, two wishes, and nothing that goes wrong by itself.
    fn story(seed: u64, alter: impl FnOnce(&mut Setup)) -> Report {
        let run = run_altered(seed, false, |setup| {
            setup.units = 1;
            setup.users = 1;
            setup.wishes = 3;
            setup.capacity = 6;
            setup.pause = Duration::from_millis(10);
            setup.post = post::Faults::none();
            setup.chaos = Chaos { every: Duration::from_secs(1), peace: 1, ..Chaos::default() };
            alter(setup);
        });
        run.unwrap_or_else(|defeat| panic!("{defeat}"))
    }

    /// In two stories that are long enough. Every step would take a minute: each seed takes its share
    /// of them.
    fn every_step_may_be_the_last(steps: impl Fn(&Report) -> u32, die: impl Fn(&mut Setup, u32)) {
        let long = (0..16).map(|seed| (seed, steps(&story(seed, |_| {}))));
        let long: Vec<(u64, u32)> = long.filter(|(_, all)| *all > 40).take(2).collect();
        assert_eq!(long.len(), 2, "stories of a few steps are none");
        for (seed, all) in long {
            every_step_of(seed, all, &die);
        }
    }

    fn every_step_of(seed: u64, all: u32, die: &impl Fn(&mut Setup, u32)) {
        let share = (0..all).filter(|step| u64::from(*step) % 8 == seed % 8);
        for step in share.take(60) {
            let report = story(seed, |setup| die(setup, step));
            assert_eq!(report.deaths, 1, "at step {step}");
        }
    }

    #[test]
    fn the_station_may_die_after_any_of_its_steps() {
        every_step_may_be_the_last(
            |report| report.steps.0,
            |setup, step| setup.station_dies_after = Some(step),
        );
    }

    #[test]
    fn a_unit_may_die_after_any_of_its_steps() {
        every_step_may_be_the_last(
            |report| report.steps.1,
            |setup, step| setup.unit_dies_after = Some(step),
        );
    }
}

/// Finds the first seed that fails when things are altered, and how.
fn first_defeat(seeds: Range<u64>, alter: impl Fn(&mut Setup)) -> Option<Box<Defeat>> {
    let mut outcomes = seeds.map(|seed| run_altered(seed, false, |setup| alter(setup)));
    outcomes.find_map(Result::err)
}

#[test]
fn a_unit_whose_store_lies_about_syncs_is_found_out() {
    let defeat = first_defeat(0..20, |setup| {
        setup.lying = true;
        setup.chaos.power = 20;
        setup.chaos.most = 20;
    });
    defeat.expect("20 seeds are enough");
}

#[test]
fn calls_that_come_very_late_do_no_harm() {
    let late = |setup: &mut Setup| {
        setup.make_calls_late();
        setup.chaos = Chaos { every: Duration::from_secs(1), peace: 1, ..Chaos::default() };
    };
    if let Some(defeat) = first_defeat(0..16, late) {
        panic!("{defeat}");
    }
}

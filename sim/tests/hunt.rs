//! That the simulator finds what it is there to find. `cargo xtask sim --seeded-bugs` looks for all
//! of them, among more seeds.
#![cfg(feature = "seeded-bugs")]

use std::sync::Mutex;

use outband_protocol::seeded::Bug;
use outband_sim::hunt::hunt;
use outband_sim::world::Failure;

/// A process has one defect at a time.
static ONE: Mutex<()> = Mutex::new(());

fn find(bug: Bug) -> Failure {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    hunt(bug, 0..200).defeat.expect("200 seeds are enough").failure
}

#[test]
fn a_target_that_acknowledges_before_it_flushes_is_found_out() {
    assert!(matches!(find(Bug::AckBeforeFlush), Failure::Data(_)));
}

#[test]
fn a_unit_that_does_not_store_its_fences_is_found_out() {
    // A grant comes back to life after a restart; which promise that breaks first is the seed's.
    find(Bug::ForgetFence);
}

#[test]
fn a_station_that_releases_without_a_fence_is_found_out() {
    find(Bug::ReleaseWithoutFence);
}

//! A failing seed with everything taken out that it fails without: hosts, requests, kinds of trouble.
//!
//! Greedy, and of what a seed has drawn only: a smaller setup is kept if it still fails, whatever
//! way. That it is a failure of the same defect is for the reader of the trace to say.

use std::ops::ControlFlow;

use crate::run::{Defeat, run_altered};
use crate::setup::Setup;
use crate::{disk, pool};

/// Runs after which what was found so far has to do.
const RUNS_MAX: u32 = 400;

/// The smallest setup found under which a seed fails.
#[derive(Clone, Debug)]
pub struct Shrunk<S> {
    /// What is left.
    pub setup: S,
    /// How it fails then.
    pub defeat: Box<Defeat>,
    /// Runs that it took.
    pub runs: u32,
}

/// What can be made smaller, and how far it has come.
pub trait Shrink: Clone {
    /// Setups that are each smaller in one thing; the largest steps first.
    fn smaller(&self) -> Vec<Self>;

    /// What is left, in a line or two.
    fn summary(&self) -> String;
}

/// Makes `setup`, which fails as `defeat` says, smaller while it goes on failing.
pub fn shrink<S: Shrink>(
    setup: S,
    defeat: Box<Defeat>,
    fails: impl Fn(&S) -> Option<Box<Defeat>>,
) -> Shrunk<S> {
    let mut best = Shrunk { setup, defeat, runs: 0 };
    while let ControlFlow::Continue(()) = improve(&mut best, &fails) {}
    best
}

/// One smaller setup that fails too, if there is one.
fn improve<S: Shrink>(
    best: &mut Shrunk<S>,
    fails: &impl Fn(&S) -> Option<Box<Defeat>>,
) -> ControlFlow<()> {
    for setup in best.setup.smaller() {
        if best.runs == RUNS_MAX {
            return ControlFlow::Break(());
        }
        best.runs += 1;
        if let Some(defeat) = fails(&setup) {
            best.setup = setup;
            best.defeat = defeat;
            return ControlFlow::Continue(());
        }
    }
    ControlFlow::Break(())
}

/// Shrinks a seed of one target; `None` when it does not fail.
#[must_use]
pub fn target(seed: u64) -> Option<Shrunk<Setup>> {
    let mut drawn = None;
    let defeat = run_altered(seed, false, |setup| drawn = Some(setup.clone())).err()?;
    let fails = |setup: &Setup| run_altered(seed, false, |drawn| *drawn = setup.clone()).err();
    Some(shrink(drawn?, defeat, fails))
}

/// Shrinks a seed of a pool; `None` when it does not fail.
#[must_use]
pub fn pool(seed: u64) -> Option<Shrunk<pool::setup::Setup>> {
    let mut drawn = None;
    let defeat = pool::run_altered(seed, false, |setup| drawn = Some(setup.clone())).err()?;
    let fails = |setup: &pool::setup::Setup| {
        pool::run_altered(seed, false, |drawn| *drawn = setup.clone()).err()
    };
    Some(shrink(drawn?, defeat, fails))
}

/// Collects setups that differ from one.
struct Steps<'s, S> {
    from: &'s S,
    found: Vec<S>,
}

impl<S: Clone> Steps<'_, S> {
    /// The same with `change`, unless that changes nothing as far as `is_changed` says.
    fn with(&mut self, useful: bool, change: impl FnOnce(&mut S)) {
        if useful {
            let mut setup = self.from.clone();
            change(&mut setup);
            self.found.push(setup);
        }
    }
}

impl Shrink for Setup {
    fn smaller(&self) -> Vec<Self> {
        let mut steps = Steps { from: self, found: Vec::new() };
        // A host without requests only reads its volume in the end.
        for (index, host) in self.hosts.iter().enumerate() {
            steps.with(host.quota > 0, |setup| setup.hosts[index].quota = 0);
        }
        for place in 0..self.chaos.clone().weights().len() {
            let useful = *self.chaos.clone().weights()[place] > 0;
            steps.with(useful, |setup| *setup.chaos.weights()[place] = 0);
        }
        steps.with(self.chaos.most > 0, |setup| setup.chaos.most /= 2);
        for (index, host) in self.hosts.iter().enumerate() {
            steps.with(host.quota > 1, |setup| setup.hosts[index].quota /= 2);
            steps.with(host.quota > 1, |setup| setup.hosts[index].quota -= 1);
            steps.with(host.depth > 1, |setup| setup.hosts[index].depth = 1);
            steps.with(host.blocks_max > 1, |setup| setup.hosts[index].blocks_max = 1);
            steps.with(host.hasty + host.damage > 0, |setup| {
                setup.hosts[index].hasty = 0;
                setup.hosts[index].damage = 0;
            });
        }
        let fair = |faults: &disk::Faults| {
            faults.short + faults.again + faults.read_error + faults.write_error + faults.stall == 0
        };
        steps.with(!self.disks.iter().all(|disk| fair(&disk.faults)), |setup| {
            for disk in &mut setup.disks {
                let lying_flush = disk.faults.lying_flush;
                let sync_error = disk.faults.sync_error;
                disk.faults = disk::Faults { lying_flush, sync_error, ..disk::Faults::default() };
            }
        });
        steps.with(self.net.short > 0, |setup| setup.net.short = 0);
        steps.with(self.net.segment_len_max < 64 << 10, |setup| {
            setup.net.segment_len_max = 64 << 10;
        });
        steps.found
    }

    fn summary(&self) -> String {
        let hosts = self.hosts.iter().enumerate().filter(|(_, host)| host.quota > 0);
        let hosts = hosts.map(|(index, host)| {
            let crate::setup::HostSetup { volume, quota, depth, blocks_max, .. } = host;
            format!("host {index} of volume {volume}: {quota} requests, {depth} at a time, up to {blocks_max} blocks")
        });
        let hosts: Vec<_> = hosts.collect();
        format!("{}; {} shards; {:?}", hosts.join("; "), self.shards, self.chaos)
    }
}

impl Shrink for pool::setup::Setup {
    fn smaller(&self) -> Vec<Self> {
        let mut steps = Steps { from: self, found: Vec::new() };
        steps.with(self.users > 1, |setup| setup.users -= 1);
        steps.with(self.units > 1, |setup| setup.units -= 1);
        for place in 0..self.chaos.clone().weights().len() {
            let useful = *self.chaos.clone().weights()[place] > 0;
            steps.with(useful, |setup| *setup.chaos.weights()[place] = 0);
        }
        steps.with(self.chaos.most > 0, |setup| setup.chaos.most /= 2);
        steps.with(self.wishes > 1, |setup| setup.wishes -= 1);
        steps.with(self.stocked > 0, |setup| setup.stocked = 0);
        steps.with(self.shards > 1, |setup| setup.shards = 1);
        steps.with(self.post.lost > 0, |setup| setup.post.lost = 0);
        steps.with(self.post.doubled > 0, |setup| setup.post.doubled = 0);
        steps.with(self.post.late > 0, |setup| setup.post.late = 0);
        steps.found
    }

    fn summary(&self) -> String {
        let Self { units, shards, users, wishes, post, chaos, .. } = self;
        format!(
            "{units} units of {shards} shards, {users} users of {wishes} wishes; {post:?}; {chaos:?}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Failure;

    #[derive(Clone, Debug)]
    struct Numbers(Vec<u32>);

    impl Shrink for Numbers {
        fn smaller(&self) -> Vec<Self> {
            let without = |at: usize| {
                let mut rest = self.0.clone();
                rest.remove(at);
                Self(rest)
            };
            (0..self.0.len()).map(without).collect()
        }

        fn summary(&self) -> String {
            format!("{:?}", self.0)
        }
    }

    #[test]
    fn what_is_left_fails_and_nothing_can_be_taken_out_of_it() {
        let defeat = || {
            let failure = Failure::Conduct("3 and 7".to_owned());
            Box::new(Defeat { seed: 0, failure, hash: 0, trace: String::new() })
        };
        let fails =
            |numbers: &Numbers| (numbers.0.contains(&3) && numbers.0.contains(&7)).then(defeat);
        let shrunk = shrink(Numbers((0..20).collect()), defeat(), fails);
        assert_eq!(shrunk.setup.0, [3, 7]);
        assert!(shrunk.runs < RUNS_MAX);
    }

    #[test]
    fn a_seed_with_a_lying_disk_fails_with_fewer_requests_too() {
        let lying = |setup: &mut Setup| {
            setup.disks.iter_mut().for_each(|disk| disk.faults.lying_flush = true);
        };
        let failing = (0..20).find_map(|seed| {
            let mut drawn = None;
            let run = run_altered(seed, false, |setup| {
                lying(setup);
                drawn = Some(setup.clone());
            });
            run.err().zip(drawn).map(|(defeat, setup)| (seed, setup, defeat))
        });
        let (seed, setup, defeat) = failing.expect("20 seeds are enough");
        let asked = |setup: &Setup| setup.hosts.iter().map(|host| host.quota).sum::<u32>();
        let before = asked(&setup);
        let fails = |setup: &Setup| run_altered(seed, false, |drawn| *drawn = setup.clone()).err();
        let shrunk = shrink(setup, defeat, fails);
        assert!(asked(&shrunk.setup) < before, "{}", shrunk.setup.summary());
        assert!(fails(&shrunk.setup).is_some());
    }
}

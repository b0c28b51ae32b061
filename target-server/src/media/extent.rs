//! Free space of a device, and which runs a volume gets. Pure; in whole MiB.

use std::collections::BTreeMap;
use std::ops::Range;

/// The free runs of one device: never touching each other, because neighbours are joined.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Space {
    /// Start to end.
    free: BTreeMap<u32, u32>,
}

/// A run on the `space`-th device asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) space: usize,
    pub(crate) range: Range<u32>,
}

impl Space {
    /// What is left of `whole` when the runs in `held` are taken.
    pub(crate) fn without(whole: Range<u32>, held: &[Range<u32>]) -> Self {
        let mut space = Self::default();
        space.give(whole);
        for run in held {
            space.take(run);
        }
        space
    }

    pub(crate) fn free(&self) -> u64 {
        self.free.iter().map(|(start, end)| u64::from(end - start)).sum()
    }

    /// The longest run there is.
    pub(crate) fn largest(&self) -> u32 {
        self.free.iter().map(|(start, end)| end - start).max().unwrap_or(0)
    }

    /// Takes `run` out of the free space, as far as it was free.
    pub(crate) fn take(&mut self, run: &Range<u32>) {
        let touched: Vec<(u32, u32)> = self
            .free
            .range(..run.end)
            .filter(|(_, end)| **end > run.start)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touched {
            self.free.remove(&start);
            if start < run.start {
                self.free.insert(start, run.start);
            }
            if run.end < end {
                self.free.insert(run.end, end);
            }
        }
    }

    /// Gives a run back and joins it to its neighbours.
    pub(crate) fn give(&mut self, run: Range<u32>) {
        if run.is_empty() {
            return;
        }
        let (mut start, mut end) = (run.start, run.end);
        self.take(&run);
        if let Some((before, before_end)) =
            self.free.range(..start).next_back().map(|(s, e)| (*s, *e))
            && before_end == start
        {
            start = before;
        }
        if let Some(after_end) = self.free.remove(&end) {
            end = after_end;
        }
        self.free.insert(start, end);
    }

    /// The shortest run that holds `len`, its beginning; the lowest of several.
    fn best_fit(&self, len: u32) -> Option<Range<u32>> {
        let fitting = self.free.iter().filter(|(start, end)| *end - *start >= len);
        let (start, _) = fitting.min_by_key(|(start, end)| (*end - *start, **start))?;
        Some(*start..*start + len)
    }

    /// Up to `len` in few runs: the longest first, the last one cut where it fits best.
    fn several(&self, mut len: u64) -> Vec<Range<u32>> {
        let mut rest = self.clone();
        let mut runs = Vec::new();
        while len > 0 {
            let want = u32::try_from(len.min(u64::from(rest.largest()))).expect("a run is a u32");
            let Some(run) = rest.best_fit(want).filter(|run| !run.is_empty()) else { break };
            rest.take(&run);
            len -= u64::from(want);
            runs.push(run);
        }
        runs
    }
}

/// Where `len` MiB go, at most `runs_max` runs: one run if any device has it, else one device if it
/// has room enough, else the emptiest devices one after the other. Earlier spaces win ties.
pub(crate) fn plan(spaces: &[Space], len: u64, runs_max: usize) -> Option<Vec<Run>> {
    let mut by_room: Vec<usize> = (0..spaces.len()).collect();
    by_room.sort_by_key(|i| std::cmp::Reverse(spaces[*i].free()));
    let runs = one_run(spaces, &by_room, len)
        .or_else(|| one_device(spaces, &by_room, len))
        .or_else(|| many_devices(spaces, &by_room, len))?;
    (runs.len() <= runs_max).then_some(runs)
}

fn one_run(spaces: &[Space], by_room: &[usize], len: u64) -> Option<Vec<Run>> {
    let len = u32::try_from(len).ok()?;
    let fit = |i: &usize| spaces[*i].best_fit(len).map(|range| Run { space: *i, range });
    by_room.iter().find_map(fit).map(|run| vec![run])
}

fn one_device(spaces: &[Space], by_room: &[usize], len: u64) -> Option<Vec<Run>> {
    let space = *by_room.iter().find(|i| spaces[**i].free() >= len)?;
    Some(spaces[space].several(len).into_iter().map(|range| Run { space, range }).collect())
}

fn many_devices(spaces: &[Space], by_room: &[usize], mut len: u64) -> Option<Vec<Run>> {
    let mut runs = Vec::new();
    for &space in by_room {
        let taken = spaces[space].several(len.min(spaces[space].free()));
        len -= taken.iter().map(|range| u64::from(range.end - range.start)).sum::<u64>();
        runs.extend(taken.into_iter().map(|range| Run { space, range }));
    }
    (len == 0).then_some(runs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Allocate(u64),
        Free(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![(1u64..80).prop_map(Step::Allocate), any::<usize>().prop_map(Step::Free)]
    }

    /// The model: one flag per MiB of each device.
    struct Model(Vec<Vec<bool>>);

    impl Model {
        fn set(&mut self, run: &Run, to: bool) {
            for mib in run.range.clone() {
                let cell = &mut self.0[run.space][mib as usize];
                assert_ne!(*cell, to, "{run:?} is given or taken twice");
                *cell = to;
            }
        }

        fn free(&self, space: usize) -> u64 {
            self.0[space].iter().filter(|taken| !**taken).count() as u64
        }
    }

    proptest! {
        #[test]
        fn allocated_and_free_are_the_pool_and_nothing_overlaps(
            sizes in prop::collection::vec(1u32..64, 1..4),
            steps in prop::collection::vec(step(), 1..60),
        ) {
            let mut spaces: Vec<Space> = sizes.iter().map(|s| Space::without(0..*s, &[])).collect();
            let mut model = Model(sizes.iter().map(|s| vec![false; *s as usize]).collect());
            let mut held: Vec<Vec<Run>> = Vec::new();
            for step in steps {
                match step {
                    Step::Allocate(len) => {
                        let room: u64 = (0..spaces.len()).map(|i| model.free(i)).sum();
                        let runs = plan(&spaces, len, usize::MAX);
                        prop_assert_eq!(runs.is_some(), len <= room);
                        let Some(runs) = runs else { continue };
                        for run in &runs {
                            model.set(run, true);
                            spaces[run.space].take(&run.range);
                        }
                        held.push(runs);
                    }
                    Step::Free(at) if !held.is_empty() => {
                        for run in held.remove(at % held.len()) {
                            model.set(&run, false);
                            spaces[run.space].give(run.range);
                        }
                    }
                    Step::Free(_) => {}
                }
                for (i, space) in spaces.iter().enumerate() {
                    prop_assert_eq!(space.free(), model.free(i));
                    let ends: Vec<_> = space.free.iter().collect();
                    prop_assert!(ends.windows(2).all(|w| w[0].1 < w[1].0), "neighbours are joined");
                }
            }
        }
    }

    #[test]
    fn one_run_is_preferred_then_one_device_then_several() {
        let mut split = Space::without(0..100, &[]);
        split.take(&(40..60));
        let small = Space::without(0..30, &[]);
        let spaces = [small, split];
        assert_eq!(plan(&spaces, 40, 8).unwrap(), [Run { space: 1, range: 0..40 }]);
        assert!(plan(&spaces, 70, 8).unwrap().iter().all(|run| run.space == 1));
        assert_eq!(plan(&spaces, 110, 8).unwrap().len(), 3);
        assert_eq!(plan(&spaces, 111, 8), None);
        assert_eq!(plan(&spaces, 110, 2), None, "more runs than a volume may have");
    }
}

//! Task attributes (SAM-5 §8): which commands of a task set may run, and which wait for their turn.
//! Pure. There is one task set a logical unit, for all nexuses (TST=000b in the control mode page).

use std::collections::VecDeque;

/// What a command's task attribute comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rank {
    /// SIMPLE, and untagged: among the others of its kind in any order.
    Simple,
    /// ORDERED: after all that are older, before all that are newer.
    Ordered,
    /// HEAD OF QUEUE: at once, and before all that wait.
    Head,
}

/// A command's part in its task set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// None: it has not arrived, or it has ended.
    Out,
    /// It may run (enabled).
    Enabled(Rank),
    /// It waits (dormant).
    Dormant,
}

/// The commands of one logical unit. Those that wait are named by `T`.
#[derive(Debug)]
pub(crate) struct TaskSet<T> {
    /// No command with an attribute of its own is here: a simple one runs without another look.
    calm: bool,
    /// SIMPLE and ORDERED commands that run.
    running: u32,
    /// An ORDERED one is among them, and so alone.
    ordered: bool,
    /// HEAD OF QUEUE commands that run. While any does, no other begins.
    heads: u32,
    /// In the order in which they came.
    dormant: VecDeque<(T, Rank)>,
}

impl<T> Default for TaskSet<T> {
    fn default() -> Self {
        Self { calm: true, running: 0, ordered: false, heads: 0, dormant: VecDeque::new() }
    }
}

impl<T: PartialEq> TaskSet<T> {
    /// A command has come; `name` is asked for only if it has to wait.
    pub(crate) fn arrive(&mut self, rank: Rank, name: impl FnOnce() -> T) -> Turn {
        if self.calm && rank == Rank::Simple {
            self.running += 1;
            return Turn::Enabled(rank);
        }
        self.arrive_among_others(rank, name())
    }

    #[cold]
    fn arrive_among_others(&mut self, rank: Rank, name: T) -> Turn {
        let turn = if rank == Rank::Head || self.dormant.is_empty() && self.may_begin(rank) {
            self.begin(rank);
            Turn::Enabled(rank)
        } else {
            self.dormant.push_back((name, rank));
            Turn::Dormant
        };
        self.settle();
        turn
    }

    /// An enabled command has ended. Those that may run now are told to `release`, oldest first.
    pub(crate) fn ended(&mut self, rank: Rank, release: impl FnMut(T, Rank)) {
        if self.calm {
            self.running -= 1;
        } else {
            self.ended_among_others(rank, release);
        }
    }

    #[cold]
    fn ended_among_others(&mut self, rank: Rank, release: impl FnMut(T, Rank)) {
        match rank {
            Rank::Simple => self.running -= 1,
            Rank::Ordered => {
                self.running -= 1;
                self.ordered = false;
            }
            Rank::Head => self.heads -= 1,
        }
        self.release(release);
    }

    /// A command that waits was aborted; who waited for it is told to `release`.
    pub(crate) fn forget(&mut self, name: &T, release: impl FnMut(T, Rank)) {
        self.dormant.retain(|(dormant, _)| dormant != name);
        self.release(release);
    }

    fn release(&mut self, mut release: impl FnMut(T, Rank)) {
        while let Some((_, rank)) = self.dormant.front()
            && self.may_begin(*rank)
            && let Some((name, rank)) = self.dormant.pop_front()
        {
            self.begin(rank);
            release(name, rank);
        }
        self.settle();
    }

    /// Whether the oldest command that waits may run, by those that run already (SAM-5 §8.6).
    fn may_begin(&self, rank: Rank) -> bool {
        self.heads == 0 && !self.ordered && (rank == Rank::Simple || self.running == 0)
    }

    fn begin(&mut self, rank: Rank) {
        match rank {
            Rank::Simple => self.running += 1,
            Rank::Ordered => {
                self.running += 1;
                self.ordered = true;
            }
            Rank::Head => self.heads += 1,
        }
    }

    fn settle(&mut self) {
        self.calm = !self.ordered && self.heads == 0 && self.dormant.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a script: `s1` a SIMPLE command 1 comes, `o`, `h` likewise; `-1` it ends or is aborted.
    /// Returns what runs after each step.
    fn check(script: &str, expected: &str) {
        let mut set = TaskSet::default();
        let mut turns: Vec<(u32, Turn)> = Vec::new();
        let mut said = Vec::new();
        for step in script.split(' ') {
            let (verb, name) = step.split_at(1);
            let name: u32 = name.parse().unwrap();
            let mut released = Vec::new();
            let mut release = |name, rank| released.push((name, rank));
            match verb {
                "-" => {
                    let at = turns.iter().position(|(other, _)| *other == name).unwrap();
                    match turns.remove(at).1 {
                        Turn::Enabled(rank) => set.ended(rank, &mut release),
                        _ => set.forget(&name, &mut release),
                    }
                }
                verb => turns.push((name, set.arrive(rank(verb), || name))),
            }
            for (name, rank) in released {
                let at = turns.iter().position(|(other, _)| *other == name).unwrap();
                turns[at].1 = Turn::Enabled(rank);
            }
            let enabled = turns.iter().filter(|(_, turn)| *turn != Turn::Dormant);
            said.push(enabled.map(|(name, _)| name.to_string()).collect::<String>());
        }
        assert_eq!(said.join(" "), expected, "{script}");
    }

    fn rank(verb: &str) -> Rank {
        match verb {
            "s" => Rank::Simple,
            "o" => Rank::Ordered,
            _ => Rank::Head,
        }
    }

    #[test]
    fn an_ordered_command_waits_for_the_older_and_the_newer_wait_for_it() {
        check("s1 s2 o3 s4 s5 -1 -2 -3", "1 12 12 12 12 2 3 45");
        check("o1 o2 s3 -1 -2", "1 1 1 2 3");
    }

    #[test]
    fn a_head_of_queue_command_runs_at_once_and_nothing_begins_beside_it() {
        check("s1 o2 h3 s4 -1 -3 -2", "1 1 13 13 3 2 4");
        check("h1 h2 s3 o4 -1 -2 -3", "1 12 12 12 2 3 4");
    }

    #[test]
    fn a_waiting_command_that_is_aborted_holds_nobody_up() {
        check("s1 o2 s3 -2", "1 1 1 13");
        check("o1 s2 -2 -1 s3", "1 1 1  3");
    }

    /// The rules of SAM-5 §8.6 read off a list of all commands, oldest first.
    fn enabled_by_the_rules(list: &mut [(u32, Rank, bool)]) {
        for at in 0..list.len() {
            let (_, rank, enabled) = list[at];
            let heads = list.iter().any(|(_, rank, _)| *rank == Rank::Head);
            let older_ordered = list[..at].iter().any(|(_, rank, _)| *rank == Rank::Ordered);
            list[at].2 = enabled
                || match rank {
                    Rank::Head => true,
                    Rank::Simple => !heads && !older_ordered,
                    Rank::Ordered => !heads && at == 0,
                };
        }
    }

    proptest! {
        #[test]
        fn what_runs_is_what_the_rules_enable(
            steps in prop::collection::vec((0usize..6, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut set = TaskSet::default();
            let mut list: Vec<(u32, Rank, bool)> = Vec::new();
            let mut turns = std::collections::BTreeMap::new();
            for (name, (kind, which)) in (0u32..).zip(steps) {
                let mut released = Vec::new();
                if kind >= 3 && !list.is_empty() {
                    let (gone, ..) = list.remove(which.index(list.len()));
                    match turns.remove(&gone) {
                        Some(Turn::Enabled(rank)) => set.ended(rank, |n, r| released.push((n, r))),
                        _ => set.forget(&gone, |n, r| released.push((n, r))),
                    }
                } else {
                    let rank = [Rank::Simple, Rank::Ordered, Rank::Head][kind % 3];
                    list.push((name, rank, false));
                    turns.insert(name, set.arrive(rank, || name));
                }
                for (name, rank) in released {
                    turns.insert(name, Turn::Enabled(rank));
                }
                enabled_by_the_rules(&mut list);
                for (name, _, enabled) in &list {
                    prop_assert_eq!(turns[name] != Turn::Dormant, *enabled, "command {}", name);
                }
            }
        }
    }
}

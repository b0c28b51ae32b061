//! The checker and a search through all orders (Wing and Gong, "Testing and verifying concurrent
//! objects", 1993) agree on every small history of one block that several hosts share.

use super::*;
use crate::rng::Rng;

/// What one host did. Values are numbered by their writes; 0 is zeros.
#[derive(Clone, Copy, Debug)]
struct Done {
    begin: u64,
    /// [`NEVER`] while nobody knows whether it has happened.
    end: u64,
    value: usize,
    writes: bool,
}

/// Whether an order of all that has ended, and of some of the rest, explains every read.
fn is_linearizable(all: &[Done], done: u32, now: usize) -> bool {
    let is_left = |index: &usize| done & (1 << index) == 0;
    let left = || (0..all.len()).filter(is_left);
    if left().all(|index| all[index].end == NEVER) {
        return true;
    }
    let first_end = left().map(|index| all[index].end).min().unwrap_or(NEVER);
    left().filter(|index| all[*index].begin <= first_end).any(|index| {
        let Done { value, writes, .. } = all[index];
        (writes || value == now) && is_linearizable(all, done | 1 << index, value)
    })
}

/// Something under way: its number in the history, and for the checker its tick or its write.
struct Open {
    at: usize,
    issued: Tick,
    write: Option<WriteId>,
}

struct History {
    rng: Rng,
    checker: Checker,
    clock: u64,
    all: Vec<Done>,
    values: Vec<Content>,
    /// What a medium would have, most of the time.
    medium: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        let (rng, checker) = (Rng::new(seed), Checker::new(&[1]));
        let values = vec![Content::Zero];
        Self { rng, checker, clock: 0, all: Vec::new(), values, medium: 0 }
    }

    fn begin(&mut self) -> Open {
        let writes = self.rng.chance(450);
        let write = writes.then(|| self.checker.write(0, 0, 1));
        self.values.extend(write.map(|id| Content::Written(tag_of(0, 0, id))));
        let value = if writes { self.values.len() - 1 } else { self.medium };
        self.all.push(Done { begin: self.clock, end: NEVER, value, writes });
        Open { at: self.all.len() - 1, issued: self.checker.tick(), write }
    }

    /// Whether the checker has something against it.
    fn end(&mut self, open: &Open) -> bool {
        if let Some(id) = open.write {
            self.checker.acknowledge(id, false);
            self.all[open.at].end = self.clock;
            self.medium = self.all[open.at].value;
            return false;
        }
        // As it was at the beginning or is at the end, or anything at all.
        let value = match self.rng.index(10) {
            0..4 => self.all[open.at].value,
            4..8 => self.medium,
            _ => self.rng.index(self.values.len()),
        };
        self.all[open.at] = Done { end: self.clock, value, ..self.all[open.at] };
        self.checker.read(0, 0, open.issued, self.values[value]).is_err()
    }

    /// Three hosts, each with one request at a time. Whether the checker has found anything wrong.
    fn run(&mut self) -> bool {
        let mut hosts = [None, None, None];
        while self.all.len() < 10 {
            self.clock += 1;
            let host = self.rng.index(hosts.len());
            match hosts[host].take() {
                None => hosts[host] = Some(self.begin()),
                Some(open) => {
                    let wrong = self.end(&open);
                    // Reads under way have no value yet, and explain nothing.
                    let known = self.all.iter().filter(|done| done.writes || done.end != NEVER);
                    let known: Vec<_> = known.copied().collect();
                    assert_eq!(wrong, !is_linearizable(&known, 0, 0), "{known:?}");
                    if wrong {
                        return true;
                    }
                }
            }
        }
        false
    }
}

#[test]
fn the_checker_and_a_search_through_all_orders_agree() {
    let wrong = (0..4000).filter(|seed| History::new(*seed).run()).count();
    assert!((400..3600).contains(&wrong), "{wrong} of 4000 were wrong: that tries one side only");
}

use super::*;

/// One volume of one block, and what happens to it.
struct History(Checker);

impl History {
    fn new() -> Self {
        Self(Checker::new(&[1]))
    }

    fn write(&mut self) -> WriteId {
        self.0.write(0, 0, 1)
    }

    fn written(&mut self) -> WriteId {
        let id = self.write();
        self.0.acknowledge(id, false);
        id
    }

    fn durable(&mut self) -> WriteId {
        let id = self.write();
        self.0.acknowledge(id, true);
        id
    }

    /// Whether a read of now may see it.
    fn sees(&mut self, id: WriteId) -> bool {
        let issued = self.0.tick();
        self.read(issued, id)
    }

    fn read(&mut self, issued: Tick, id: WriteId) -> bool {
        self.0.read(0, 0, issued, Content::Written(tag_of(0, 0, id))).is_ok()
    }

    fn sees_zeros(&mut self) -> bool {
        let issued = self.0.tick();
        self.0.read(0, 0, issued, Content::Zero).is_ok()
    }

    /// Whether a power cut may leave it.
    fn survives(mut self, id: WriteId) -> bool {
        self.cut(Some(id))
    }

    fn cut(&mut self, id: Option<WriteId>) -> bool {
        let left = id.map_or(Content::Zero, |id| Content::Written(tag_of(0, 0, id)));
        self.0.power_cut(|_| None, |_, _| left).is_ok()
    }
}

#[test]
fn what_was_acknowledged_is_read_and_what_came_before_it_is_not() {
    let mut history = History::new();
    assert!(history.sees_zeros());
    let first = history.written();
    assert!(!history.sees_zeros());
    assert!(history.sees(first));
    let second = history.written();
    assert!(history.sees(second));
    assert!(!history.sees(first));
}

#[test]
fn an_open_write_may_be_seen_or_not_but_once_seen_it_stays() {
    let mut history = History::new();
    let old = history.written();
    let open = history.write();
    assert!(history.sees(old));
    assert!(history.sees(open));
    assert!(!history.sees(old));
}

#[test]
fn two_writes_at_a_time_end_in_either_order() {
    for last in 0..2 {
        let mut history = History::new();
        let both = [history.write(), history.write()];
        both.iter().for_each(|id| history.0.acknowledge(*id, false));
        assert!(history.sees(both[last]));
        assert!(!history.sees(both[1 - last]));
    }
}

#[test]
fn a_read_that_was_under_way_may_see_what_a_write_replaced() {
    let mut history = History::new();
    let old = history.written();
    let issued = history.0.tick();
    let new = history.written();
    assert!(history.read(issued, old));
    assert!(history.sees(new));
}

#[test]
fn a_write_of_a_session_that_is_gone_does_not_happen_later() {
    let mut history = History::new();
    let ghost = history.write();
    history.0.close(ghost);
    let new = history.written();
    assert!(history.sees(new));
    assert!(!history.sees(ghost), "the ghost wrote over a newer write");
}

#[test]
fn a_write_whose_session_is_not_gone_may_still_happen() {
    let mut history = History::new();
    let ghost = history.write();
    let new = history.written();
    assert!(history.sees(new));
    assert!(history.sees(ghost));
}

#[test]
fn a_repeated_write_may_happen_twice_until_it_is_answered() {
    let mut history = History::new();
    let twice = history.write();
    assert!(history.sees(twice));
    history.0.repeat(twice);
    let other = history.write();
    assert!(history.sees(other));
    assert!(history.sees(twice));
    history.0.acknowledge(twice, false);
    let last = history.written();
    assert!(history.sees(last));
    assert!(!history.sees(twice));
}

#[test]
fn a_repeated_write_does_not_come_back_over_a_newer_one_that_was_acknowledged() {
    let mut history = History::new();
    let twice = history.write();
    assert!(history.sees(twice));
    history.0.repeat(twice);
    let newer = history.written();
    assert!(history.sees(newer));
    assert!(!history.sees(twice));
}

#[test]
fn an_unmapped_block_reads_as_zeros_and_nothing_else() {
    let mut history = History::new();
    let old = history.written();
    let unmap = history.0.unmap(0, &[(0, 1)]);
    assert!(history.sees(old));
    history.0.acknowledge(unmap, false);
    assert!(history.sees_zeros());
    assert!(!history.sees(old));
}

#[test]
fn a_mixture_and_another_blocks_data_are_never_right() {
    let mut checker = Checker::new(&[2]);
    let id = checker.write(0, 0, 2);
    checker.acknowledge(id, false);
    let issued = checker.tick();
    let of = |lba| Content::Written(tag_of(0, lba, id));
    assert!(checker.read(0, 0, issued, Content::Mixed).is_err());
    assert!(checker.read(0, 0, issued, of(1)).is_err());
    assert!(checker.read(0, 0, issued, of(0)).is_ok());
}

#[test]
fn a_power_cut_leaves_the_durable_write_or_a_later_one() {
    let old = |history: &mut History| history.written();
    let mut history = History::new();
    let before = old(&mut history);
    history.durable();
    assert!(!history.survives(before));

    let mut history = History::new();
    let durable = history.durable();
    assert!(history.survives(durable));

    let mut history = History::new();
    history.durable();
    let later = history.write();
    history.write();
    assert!(history.survives(later));

    let mut history = History::new();
    history.durable();
    assert!(!history.cut(None));
}

#[test]
fn a_sync_makes_durable_what_was_acknowledged_before_it_was_issued() {
    let mut history = History::new();
    history.written();
    let issued = history.0.tick();
    history.0.synced(0, issued);
    assert!(!history.cut(None));

    let mut history = History::new();
    let issued = history.0.tick();
    history.written();
    history.0.synced(0, issued);
    assert!(history.cut(None));
}

#[test]
fn what_was_not_durable_when_a_faulted_volume_was_recovered_is_never_promised() {
    let mut history = History::new();
    history.written();
    history.0.recovered(0);
    let issued = history.0.tick();
    history.0.synced(0, issued);
    assert!(history.cut(None));
}

#[test]
fn what_a_power_cut_left_stays_until_it_is_overwritten() {
    let mut history = History::new();
    let first = history.written();
    let second = history.written();
    assert!(history.cut(Some(first)));
    assert!(history.sees(first));
    assert!(!history.sees(second), "what was lost does not come back");
    let third = history.written();
    assert!(history.sees(third));
}

#[test]
fn after_a_kill_acknowledged_writes_are_there_and_open_ones_may_be() {
    let mut history = History::new();
    let first = history.written();
    let open = history.write();
    history.0.killed(|_| None);
    let new = history.written();
    assert!(history.sees(new));
    assert!(!history.sees(open));
    assert!(!history.sees(first));
}

#[test]
fn only_one_swap_finds_what_was_written_once() {
    let mut history = History::new();
    let first = history.written();
    let issued = history.0.tick();
    let found = |id| Content::Written(tag_of(0, 0, id));
    let second = history.write();
    assert!(history.0.swap(0, 0, issued, found(first), second).is_ok());
    let third = history.write();
    assert!(
        history.0.swap(0, 0, issued, found(first), third).is_err(),
        "two took the place of one"
    );
    history.0.acknowledge(second, false);
    assert!(history.0.swap(0, 0, issued, found(second), third).is_ok());
    history.0.acknowledge(third, false);
    // A write that may have happened twice may be found twice.
    let fourth = history.write();
    history.0.repeat(fourth);
    history.0.acknowledge(fourth, false);
    let issued = history.0.tick();
    let fifth = history.write();
    for _ in 0..2 {
        assert!(history.0.swap(0, 0, issued, found(fourth), fifth).is_ok());
    }
}

#[test]
fn nothing_comes_between_what_a_swap_has_found_and_what_it_puts_there() {
    let lost = |is_read: bool| {
        let mut history = History::new();
        let first = history.written();
        let (issued, new) = (history.0.tick(), history.write());
        let between = history.write();
        history.0.acknowledge(between, false);
        if is_read {
            assert!(history.sees(new), "it may have come after the swap had read");
        }
        let found = Content::Written(tag_of(0, 0, first));
        history.0.swap(0, 0, issued, found, new).is_err()
    };
    assert!(lost(true));
    assert!(!lost(false), "it may have come after the swap");
}

/// Two blocks, what was there before, and an atomic write over both.
fn over_two() -> (Checker, [Content; 2], [Content; 2], WriteId) {
    let mut checker = Checker::new(&[2]);
    let contents = |id| [0, 1].map(|lba| Content::Written(tag_of(0, lba, id)));
    let old = checker.write(0, 0, 2);
    checker.acknowledge(old, true);
    let new = checker.write_atomic(0, 0, 2);
    (checker, contents(old), contents(new), new)
}

#[test]
fn of_an_atomic_write_all_is_read_or_nothing() {
    let (checker, old, new, _) = over_two();
    let seen = |found: [Content; 2]| checker.read_as_one(0, 0, &found).is_ok();
    assert!(seen(old) && seen(new));
    assert!(!seen([old[0], new[1]]) && !seen([new[0], old[1]]));
    assert!(!seen([Content::Zero, new[1]]), "zeros are older still");
    // A read of one block sees no more than that.
    assert!(checker.read_as_one(0, 1, &new[1..]).is_ok());
}

#[test]
fn what_comes_beside_or_after_an_atomic_write_does_not_tear_it() {
    let (mut checker, _, new, id) = over_two();
    let beside = checker.write(0, 1, 1);
    let mixed = |id| [new[0], Content::Written(tag_of(0, 1, id))];
    assert!(checker.read_as_one(0, 0, &mixed(beside)).is_ok());
    checker.acknowledge(id, true);
    let after = checker.write(0, 1, 1);
    assert!(checker.read_as_one(0, 0, &mixed(after)).is_ok());
    let zeros = checker.unmap(0, &[(1, 1)]);
    checker.acknowledge(zeros, true);
    assert!(checker.read_as_one(0, 0, &[new[0], Content::Zero]).is_ok());
}

#[test]
fn a_power_cut_leaves_all_of_an_atomic_write_or_nothing() {
    let left = |pick: fn([Content; 2], [Content; 2]) -> [Content; 2]| {
        let (mut checker, old, new, _) = over_two();
        let found = pick(old, new);
        checker.power_cut(|_| None, |_, lba| found[lba as usize]).is_ok()
    };
    assert!(left(|old, _| old) && left(|_, new| new));
    assert!(!left(|old, new| [old[0], new[1]]) && !left(|old, new| [new[0], old[1]]));
}

#[test]
fn the_same_block_all_over_is_one_write() {
    let mut checker = Checker::new(&[3]);
    let id = checker.write_same(0, 0, 3);
    checker.acknowledge(id, true);
    let issued = checker.tick();
    let same = Content::Written(tag_of(0, SAME, id));
    assert!((0..3).all(|lba| checker.read(0, lba, issued, same).is_ok()));
    let own = Content::Written(tag_of(0, 1, id));
    assert!(checker.read(0, 1, issued, own).is_err());
}

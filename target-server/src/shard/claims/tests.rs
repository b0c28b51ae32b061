use proptest::prelude::*;

use super::*;

type Owner = u8;

/// What a task does. What it cannot do in its present state is skipped.
#[derive(Clone, Debug)]
enum Deed {
    Ask(Owner, Range<u64>),
    Begin(Owner, Range<u64>),
    /// Its I/O ends; or it has none and gives up its range.
    End(Owner),
    /// Aborted: what waits is taken back. What has begun has to end by itself.
    Abort(Owner),
}

/// How far a task is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    /// Asked for a range.
    Waiting,
    /// Has it.
    Alone,
    /// Its I/O waits.
    Parked,
    /// Its I/O is under way, on nobody's claim.
    Active,
}

/// What there should be, in the order in which it came.
#[derive(Default, Debug)]
struct World {
    claims: Claims<Owner, Owner>,
    tasks: Vec<(Owner, Range<u64>, State)>,
    /// I/O of those who have their range alone.
    own: Vec<(Owner, Range<u64>)>,
}

impl World {
    fn state(&self, owner: Owner) -> Option<&State> {
        self.tasks.iter().find(|(of, ..)| *of == owner).map(|(_, _, state)| state)
    }

    fn range(&self, owner: Owner) -> Range<u64> {
        let task = self.tasks.iter().find(|(of, ..)| *of == owner);
        task.map(|(_, range, _)| range.clone()).unwrap()
    }

    fn carry_out(&mut self, deed: &Deed) {
        match deed {
            Deed::Ask(owner, range) if self.state(*owner).is_none() => {
                let active = self
                    .tasks
                    .iter()
                    .filter(|(_, other, state)| *state == State::Active && overlap(other, range));
                let granted = self.claims.ask(*owner, range.clone(), active.count());
                let state = if granted { State::Alone } else { State::Waiting };
                self.tasks.push((*owner, range.clone(), state));
            }
            Deed::Begin(owner, range) => self.begin(*owner, range),
            Deed::End(owner) => self.end(*owner),
            Deed::Abort(owner) => match self.state(*owner) {
                Some(State::Parked) => {
                    assert_eq!(self.claims.withdraw(*owner), Some(*owner));
                    self.forget(*owner);
                }
                Some(State::Waiting) => self.release(*owner),
                _ => {}
            },
            Deed::Ask(..) => {}
        }
        self.go_on();
        self.check();
    }

    fn begin(&mut self, owner: Owner, range: &Range<u64>) {
        match self.state(owner) {
            None => {
                let state = match self.claims.enter(owner, range.clone(), owner) {
                    Entrance::Free(_) => State::Active,
                    Entrance::Parked => State::Parked,
                    Entrance::Own(_) => panic!("{owner} has no range"),
                };
                self.tasks.push((owner, range.clone(), state));
            }
            Some(State::Alone) if self.own.iter().all(|(of, _)| *of != owner) => {
                let range = self.range(owner);
                let entered = self.claims.enter(owner, range.clone(), owner);
                assert_eq!(entered, Entrance::Own(owner));
                self.own.push((owner, range));
            }
            _ => {}
        }
    }

    fn end(&mut self, owner: Owner) {
        if self.own.iter().any(|(of, _)| *of == owner) {
            return self.own.retain(|(of, _)| *of != owner);
        }
        match self.state(owner) {
            Some(State::Active) => {
                let range = self.range(owner);
                self.claims.ended(&range);
                self.forget(owner);
            }
            Some(State::Alone) => self.release(owner),
            _ => {}
        }
    }

    fn release(&mut self, owner: Owner) {
        self.claims.release(owner);
        self.forget(owner);
    }

    fn forget(&mut self, owner: Owner) {
        self.tasks.retain(|(of, ..)| *of != owner);
    }

    fn go_on(&mut self) {
        while let Some(ready) = self.claims.next_ready() {
            let (owner, was, is) = match ready {
                Ready::Granted(owner) => (owner, State::Waiting, State::Alone),
                Ready::Start(owner, io) => {
                    assert_eq!(owner, io, "somebody else's I/O");
                    (owner, State::Parked, State::Active)
                }
            };
            let task = self.tasks.iter_mut().find(|(of, ..)| *of == owner);
            let (_, _, state) = task.expect("nobody goes on who has left");
            assert_eq!(*state, was);
            *state = is;
        }
    }

    /// Nobody is on a range that another has alone; and whoever waits, waits for somebody.
    fn check(&self) {
        for (at, (owner, range, state)) in self.tasks.iter().enumerate() {
            let mut others =
                self.tasks.iter().filter(|(of, other, _)| of != owner && overlap(other, range));
            let mut before = self.tasks[..at].iter().filter(|(_, other, _)| overlap(other, range));
            match state {
                State::Alone => assert!(
                    others.all(|(_, _, state)| matches!(state, State::Waiting | State::Parked)),
                    "{owner} is not alone: {self:#?}"
                ),
                State::Waiting => assert!(
                    // I/O that was parked behind another claim may have begun since.
                    before.next().is_some(),
                    "{owner} waits for nobody: {self:#?}"
                ),
                State::Parked => assert!(
                    before.any(|(_, _, state)| matches!(state, State::Alone | State::Waiting)),
                    "{owner}'s I/O waits for no claim: {self:#?}"
                ),
                State::Active => assert!(
                    before.all(|(_, _, state)| matches!(state, State::Active | State::Parked)),
                    "{owner}'s I/O has overtaken a claim: {self:#?}"
                ),
            }
        }
        let wanted = |state: &State| *state != State::Active;
        let is_empty = !self.tasks.iter().any(|(_, _, state)| wanted(state));
        assert_eq!(self.claims.is_empty(), is_empty);
    }
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let range = || (0u64..12, 0u64..5).prop_map(|(start, len)| start..start + len);
    let owner = || 0u8..10;
    let deed = prop_oneof![
        (owner(), range()).prop_map(|(owner, range)| Deed::Ask(owner, range)),
        (owner(), range()).prop_map(|(owner, range)| Deed::Begin(owner, range)),
        owner().prop_map(Deed::End),
        owner().prop_map(Deed::End),
        owner().prop_map(Deed::Abort),
    ];
    prop::collection::vec(deed, 0..120)
}

proptest! {
    #[test]
    fn whoever_has_a_range_is_alone_on_it_and_whoever_waits_gets_his_turn(deeds in deeds()) {
        let mut world = World::default();
        for deed in &deeds {
            world.carry_out(deed);
        }
        // Nothing new comes: everybody gets through, the last of ten after at most ten rounds.
        for _ in 0..10 {
            for owner in 0..10 {
                world.carry_out(&Deed::End(owner));
                world.carry_out(&Deed::End(owner));
            }
        }
        prop_assert!(world.tasks.is_empty(), "{:#?}", world);
        prop_assert!(world.claims.is_empty());
    }
}

/// A claim that is asked for while I/O of others keeps coming is granted once what was under way
/// before it has ended.
#[test]
fn a_claim_is_not_starved_by_io_that_keeps_coming() {
    let mut claims = Claims::default();
    assert!(!claims.ask(0, 0..8, 2));
    for owner in 1..100 {
        assert_eq!(claims.enter(owner, 4..5, owner), Entrance::Parked);
    }
    claims.ended(&(0..4));
    assert_eq!(claims.next_ready(), None);
    claims.ended(&(7..9));
    assert_eq!(claims.next_ready(), Some(Ready::Granted(0)));
    claims.release(0);
    for owner in 1..100 {
        assert_eq!(claims.next_ready(), Some(Ready::Start(owner, owner)), "in order");
    }
    assert!(claims.is_empty());
}

#[test]
fn io_beside_a_claim_and_a_flush_do_not_wait() {
    let mut claims = Claims::default();
    assert!(claims.ask(0, 8..16, 0));
    assert!(claims.ask(1, 16..24, 0), "a neighbour");
    assert_eq!(claims.enter(2, 0..8, 'a'), Entrance::Free('a'));
    assert_eq!(claims.enter(2, 9..9, 'b'), Entrance::Free('b'), "no bytes at all");
    assert_eq!(claims.enter(0, 8..12, 'c'), Entrance::Own('c'));
    assert_eq!(claims.enter(0, 12..20, 'd'), Entrance::Parked, "more than its own");
}

#[test]
fn io_that_was_parked_is_in_the_way_of_a_later_claim_until_it_has_ended() {
    let mut claims = Claims::default();
    assert!(claims.ask(0, 0..4, 0));
    assert_eq!(claims.enter(1, 2..6, 'a'), Entrance::Parked);
    assert!(!claims.ask(2, 5..8, 0), "the parked I/O was first");
    claims.release(0);
    assert_eq!(claims.next_ready(), Some(Ready::Start(1, 'a')));
    assert_eq!(claims.next_ready(), None);
    claims.ended(&(2..6));
    assert_eq!(claims.next_ready(), Some(Ready::Granted(2)));
}

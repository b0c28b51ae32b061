//! What comes next in a takeover: `step(takeover, volumes, parts)`, a pure function. Nothing is
//! remembered between two steps but the job itself, so the station may be killed anywhere.

use std::collections::BTreeSet;

use outband_pool_api::{JobState, Problem};

use crate::problems;
use crate::records::{JobRecord, VolumeRecord, Wish};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Give these volumes to the spare, each by a job of its own; as many of them as there is time for,
    /// from the first on.
    Move(Vec<String>),
    /// Look again when something has changed.
    Wait,
    /// The failed host has nothing left, and every move has ended.
    End(Option<Problem>),
}

/// `failed` is the name of the host whose volumes go, `parts` the jobs begun so far.
pub fn step(failed: &str, volumes: &[VolumeRecord], parts: &[JobRecord]) -> Step {
    let held = |volume: &&VolumeRecord| {
        volume.wish == Wish::Granted
            && volume.holder.as_ref().is_some_and(|holder| holder.host == failed)
    };
    // A move that failed gave its volume back: it is not begun again, or this would never end.
    let tried = parts.iter().filter(|part| part.state != JobState::Done);
    let tried: BTreeSet<&str> = tried.map(|part| part.volume.as_str()).collect();
    let left: Vec<&VolumeRecord> = volumes.iter().filter(held).collect();
    let fresh: Vec<&&VolumeRecord> =
        left.iter().filter(|volume| !tried.contains(volume.name.as_str())).collect();
    let mut ready: Vec<&&&VolumeRecord> = fresh.iter().filter(|volume| volume.settled).collect();
    // Last those that nobody moves until their units are heard: they hold up no other.
    ready.sort_by_key(|volume| volume.restored);
    let ready: Vec<String> = ready.into_iter().map(|volume| volume.name.clone()).collect();
    match () {
        () if !ready.is_empty() => Step::Move(ready),
        // Another job changes them still.
        () if !fresh.is_empty() => Step::Wait,
        () if parts.iter().any(|part| part.state == JobState::Running) => Step::Wait,
        () => Step::End(outcome(parts)),
    }
}

fn outcome(parts: &[JobRecord]) -> Option<Problem> {
    let failed = parts.iter().filter(|part| part.state != JobState::Done);
    let names: Vec<&str> = failed.map(|part| part.volume.as_str()).collect();
    match names.is_empty() {
        true => None,
        false => Some(problems::takeover_incomplete(&names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use outband_pool_api::{JobKind, WritePolicy};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::records::{Holder, Undo};

    fn volume(number: usize, host: &str, settled: bool) -> VolumeRecord {
        VolumeRecord {
            id: Some(Uuid::from_u128(number as u128)),
            name: format!("v{number}"),
            unit: Uuid::from_u128(1),
            size: 1 << 20,
            block_size: None,
            write_policy: WritePolicy::Normal,
            volatile: false,
            allow_sanitize: false,
            wish: Wish::Granted,
            holder: Some(Holder { host: host.into(), iqn: format!("iqn.{host}") }),
            epoch: 1,
            settled,
            place: None,
            job: None,
            undo: Undo::Nothing,
            failure: None,
            restored: false,
        }
    }

    fn part(volume: &str, state: JobState) -> JobRecord {
        JobRecord {
            id: Uuid::from_u128(9),
            kind: JobKind::Move,
            state,
            volume: volume.into(),
            host: None,
            phases: Vec::new(),
            error: None,
            created: 0,
            sequence: 0,
            request: None,
            actor: String::new(),
            reason: None,
            deadline: None,
            ended: None,
            task: None,
            retry_of: None,
            part_of: None,
        }
    }

    #[test]
    fn what_another_job_changes_is_waited_for() {
        let volumes = [volume(1, "a", false), volume(2, "b", true)];
        assert_eq!(step("a", &volumes, &[]), Step::Wait);
        assert_eq!(step("b", &volumes, &[]), Step::Move(vec!["v2".into()]));
        assert_eq!(step("c", &volumes, &[]), Step::End(None));
    }

    #[test]
    fn a_move_that_failed_is_told_of_and_not_begun_again() {
        let parts = [part("v1", JobState::Failed), part("v2", JobState::Done)];
        let Step::End(Some(problem)) = step("a", &[volume(1, "a", true)], &parts) else {
            panic!("it ends");
        };
        assert!(problem.detail.contains("v1") && !problem.detail.contains("v2"), "{problem:?}");
    }

    proptest! {
        /// Whatever becomes of the moves, and in whatever order: it ends, each volume is moved at
        /// most once, and all that could be moved has been.
        #[test]
        fn a_takeover_always_ends(
            kinds in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..8),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 64),
        ) {
            let mut volumes: Vec<VolumeRecord> = kinds
                .iter()
                .enumerate()
                .map(|(at, (own, settled, _))| volume(at, if *own { "a" } else { "b" }, *settled))
                .collect();
            let mut parts: Vec<JobRecord> = Vec::new();
            let mut order = order.into_iter();
            for _ in 0..64 {
                match step("a", &volumes, &parts) {
                    Step::End(problem) => {
                        let failed = kinds.iter().any(|(own, _, fails)| *own && *fails);
                        prop_assert_eq!(problem.is_some(), failed);
                        let own = kinds.iter().filter(|(own, ..)| *own).count();
                        prop_assert_eq!(parts.len(), own);
                        return Ok(());
                    }
                    Step::Move(names) => {
                        for name in names {
                            prop_assert!(parts.iter().all(|part| part.volume != name), "once");
                            let at = volumes.iter().position(|v| v.name == name).unwrap();
                            prop_assert!(volumes[at].settled);
                            volumes[at].settled = false;
                            volumes[at].holder = volume(0, "spare", true).holder;
                            parts.push(part(&name, JobState::Running));
                        }
                    }
                    Step::Wait => {
                        let open: Vec<usize> =
                            (0..volumes.len()).filter(|at| !volumes[*at].settled).collect();
                        prop_assert!(!open.is_empty(), "something is under way");
                        let at = *order.next().unwrap().get(&open);
                        volumes[at].settled = true;
                        let name = volumes[at].name.clone();
                        if let Some(part) = parts.iter_mut().find(|part| part.volume == name) {
                            let fails = kinds[at].2;
                            part.state = if fails { JobState::Failed } else { JobState::Done };
                            if fails {
                                volumes[at].holder = volume(0, "a", true).holder;
                            }
                        }
                    }
                }
            }
            prop_assert!(false, "it goes on and on");
        }
    }
}

//! The task table against a plain map. Conversations are in `tests/target/`.

use std::collections::HashMap;

use proptest::prelude::*;

use super::tasks::{NewTask, SLOTS_MAX, State, Tasks};
use crate::ids::{Itt, Lun};

fn new_task(itt: Itt) -> NewTask {
    let state = State::Executing { sent: 0 };
    NewTask { itt, lun: Lun::ZERO, expected_len: 0, read: false, immediate: false, state }
}

/// Tags of which many fall into one cell, and counters.
fn tag() -> impl Strategy<Value = Itt> {
    // The inverse of the multiplier gives tags whose hashes are small, and so all share cell 0.
    let crowded = (0u32..200).prop_map(|hash| Itt(hash.wrapping_mul(0x0e8b_2f51)));
    prop_oneof![crowded, (0u32..200).prop_map(Itt), any::<u32>().prop_map(Itt)]
}

proptest! {
    #[test]
    fn tasks_are_found_by_their_tags_and_only_those(
        steps in prop::collection::vec((tag(), any::<bool>()), 1..600),
    ) {
        let mut tasks = Tasks::new();
        let mut model = HashMap::new();
        for (itt, open) in steps {
            prop_assert_eq!(tasks.find(itt), model.get(&itt).copied());
            match (open, model.get(&itt).copied()) {
                (true, None) => match tasks.open(new_task(itt)) {
                    Some(task) => {
                        model.insert(itt, task);
                    }
                    None => prop_assert_eq!(model.len(), SLOTS_MAX),
                },
                (false, Some(task)) => {
                    tasks.free(task);
                    tasks.free(task);
                    model.remove(&itt);
                }
                _ => {}
            }
            prop_assert_eq!(tasks.len(), model.len());
        }
        for (itt, task) in model {
            prop_assert_eq!(tasks.find(itt), Some(task));
        }
    }
}

#[test]
fn crowded_tags_do_crowd() {
    assert_eq!(0x9e37_79b1_u32.wrapping_mul(0x0e8b_2f51), 1, "or the test above tests less");
}

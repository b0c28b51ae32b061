//! The last thousand things that happened, for people and for the console.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use outband_control::machine::SharedMachine;
use outband_pool_api::Event;

const KEPT: usize = 1000;

#[derive(Debug)]
pub struct Events {
    machine: SharedMachine,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    last: u64,
}

impl Events {
    pub fn new(machine: SharedMachine) -> Self {
        Self { machine, kept: Mutex::default() }
    }

    pub fn add(&self, kind: &str, subject: &str, text: impl Into<String>) {
        let text = text.into();
        tracing::info!(kind, subject, "{text}");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        let event = Event {
            number: kept.last,
            at_millis: u64::try_from(self.machine.since_1970().as_millis()).unwrap_or(u64::MAX),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            text,
        };
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event);
    }

    pub fn after(&self, number: u64) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.iter().filter(|event| event.number > number).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use outband_control::machine::Os;

    use super::*;

    #[test]
    fn the_oldest_event_gives_way() {
        let events = Events::new(Os::shared());
        for number in 0..KEPT + 5 {
            events.add("test", "subject", number.to_string());
        }
        let kept = events.after(0);
        assert_eq!((kept.len(), kept[0].number), (KEPT, 6));
        assert_eq!(events.after(1004).len(), 1);
    }
}

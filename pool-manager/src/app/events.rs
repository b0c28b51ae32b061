//! The last thousand things that happened, for people and for the console.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use outband_control::machine::SharedMachine;
use outband_pool_api::{Event, Severity};
use tokio::sync::watch;

const KEPT: usize = 1000;

#[derive(Debug)]
pub struct Events {
    machine: SharedMachine,
    kept: Mutex<Kept>,
    /// The number of the newest one.
    newest: watch::Sender<u64>,
    /// Milliseconds since 1970 at the station's start: tells the numbers of one start from another's.
    start: u64,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    last: u64,
}

impl Events {
    pub fn new(machine: SharedMachine) -> Self {
        let start = u64::try_from(machine.since_1970().as_millis()).unwrap_or(u64::MAX);
        Self { machine, kept: Mutex::default(), newest: watch::Sender::new(0), start }
    }

    /// Tells the station's starts apart.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The first one after `number` that is remembered; waits for it if need be. Safe to drop.
    pub async fn next(&self, number: u64) -> Event {
        let mut newest = self.newest.subscribe();
        loop {
            newest.borrow_and_update();
            if let Some(event) = self.first_after(number) {
                return event;
            }
            // It lives as long as `self`.
            let _ = newest.changed().await;
        }
    }

    pub fn add(&self, kind: &str, subject: &str, text: impl Into<String>) {
        let text = text.into();
        tracing::info!(kind, subject, "{text}");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        let event = Event {
            number: kept.last,
            at_millis: u64::try_from(self.machine.since_1970().as_millis()).unwrap_or(u64::MAX),
            severity: Severity::of(kind),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            text,
        };
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event);
        let last = kept.last;
        drop(kept);
        self.newest.send_replace(last);
    }

    fn first_after(&self, number: u64) -> Option<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.after(number).next().cloned()
    }

    /// Number of the newest event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    pub fn after(&self, number: u64) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.after(number).cloned().collect()
    }
}

impl Kept {
    /// A number that is not given yet is of an earlier start of the station: nothing has been seen.
    fn after(&self, number: u64) -> impl Iterator<Item = &Event> {
        let number = if number > self.last { 0 } else { number };
        self.events.iter().filter(move |event| event.number > number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use outband_control::machine::Os;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_an_event_gets_each_once() {
        let events = Arc::new(Events::new(Os::shared()));
        let waiting = tokio::spawn({
            let events = Arc::clone(&events);
            async move {
                let first = events.next(0).await;
                (first.text, events.next(first.number).await.text)
            }
        });
        events.add("test", "subject", "one");
        events.add("test", "subject", "two");
        assert_eq!(waiting.await.unwrap(), ("one".to_owned(), "two".to_owned()));
    }

    #[test]
    fn the_oldest_event_gives_way() {
        let events = Events::new(Os::shared());
        for number in 0..KEPT + 5 {
            events.add("test", "subject", number.to_string());
        }
        let kept = events.after(0);
        assert_eq!((kept.len(), kept[0].number), (KEPT, 6));
        assert_eq!(events.after(1004).len(), 1);
        assert_eq!(events.after(1005).len(), 0);
        assert_eq!(events.after(5000), kept, "seen before the station was started anew");
    }
}

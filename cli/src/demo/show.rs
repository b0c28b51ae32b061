//! What the demo says, as it happens: numbered steps, and timed lines that name who does something.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use crate::output::{is_colourful, say};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

pub(super) struct Show {
    started: Instant,
    colour: bool,
    step: Cell<u32>,
    title: RefCell<String>,
    passed: RefCell<Vec<Passed>>,
    done: Cell<bool>,
}

/// A step that went well.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) number: u32,
    pub(super) title: String,
    pub(super) result: String,
    pub(super) seconds: f64,
}

impl Show {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            colour: is_colourful(),
            step: Cell::new(0),
            title: RefCell::default(),
            passed: RefCell::default(),
            done: Cell::new(false),
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The next step begins.
    pub(super) fn step(&self, title: &str) {
        self.step.set(self.step.get() + 1);
        title.clone_into(&mut self.title.borrow_mut());
        let title = format!("{}. {title}", self.step.get());
        say(&format!("\n{}", self.paint(BOLD, &title)));
    }

    /// The step that was begun has gone well.
    pub(super) fn passed(&self, result: &str) {
        say(&format!("             {} {result}", self.paint(GREEN, "✓")));
        let (number, title) = self.step_under_way();
        let before: f64 = self.passed.borrow().iter().map(|passed| passed.seconds).sum();
        let seconds = self.seconds() - before;
        let result = result.to_owned();
        self.passed.borrow_mut().push(Passed { number, title, result, seconds });
    }

    /// `who` does or says something.
    pub(super) fn line(&self, who: &str, what: &str) {
        let at = self.paint(DIM, &format!("{:>8.2} s", self.seconds()));
        say(&format!("{at}   {who:<12} {what}"));
    }

    /// A table or a list of commands, indented.
    pub(super) fn block(&self, text: &str) {
        for line in text.lines() {
            say(&format!("             {line}"));
        }
    }

    pub(super) fn text(&self, text: &str) {
        say(text);
    }

    pub(super) fn heading(&self, text: &str) {
        say(&format!("\n{}", self.paint(BOLD, text)));
    }

    pub(super) fn failed(&self, why: &str) {
        say(&format!("             {} {why}", self.paint(RED, "✗ failed:")));
    }

    pub(super) fn tail(&self, name: &str, tail: &str) {
        self.heading(&format!("the end of {name}'s log"));
        say(tail);
    }

    pub(super) fn step_under_way(&self) -> (u32, String) {
        (self.step.get(), self.title.borrow().clone())
    }

    pub(super) fn all_passed(&self) -> Vec<Passed> {
        self.passed.borrow().clone()
    }

    /// Nothing more can fail.
    pub(super) fn done(&self) {
        self.done.set(true);
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.get()
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }
}

//! Command order (§4.2.2.1): which command is next, which may come, and which came too early.

use crate::ids::Lun;
use crate::limits::{TASKS_INITIAL, TASKS_MAX};
use crate::pdu::{Bhs, Request};
use crate::serial::Sn;

/// Where a command stands in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// It is the one expected.
    Next,
    /// Inside the window, but another one is missing before it.
    Early,
    /// Outside the window: to be dropped without an answer.
    Outside,
}

/// ExpCmdSN and MaxCmdSN.
#[derive(Debug)]
pub(super) struct Window {
    expected: Sn,
    /// As the peer was last told; it never goes back.
    max: Sn,
    credit: u32,
    /// Commands that wait for a missing one. Empty on a sane peer, since TCP keeps their order.
    early: Vec<Early>,
}

#[derive(Debug)]
struct Early {
    cmd_sn: Sn,
    /// `None` when it was aborted before its turn: its number is used up and nothing happens.
    header: Option<Bhs>,
}

impl Window {
    /// For a connection whose login response said that `expected` is next, in a window of
    /// `TASKS_INITIAL`.
    pub(super) fn new(expected: Sn) -> Self {
        let max = expected.plus(TASKS_INITIAL).minus(1);
        Self { expected, max, credit: TASKS_INITIAL, early: Vec::new() }
    }

    /// ExpCmdSN.
    pub(super) fn expected(&self) -> Sn {
        self.expected
    }

    pub(super) fn place(&self, cmd_sn: Sn) -> Place {
        if !cmd_sn.within(self.expected, self.max) {
            Place::Outside
        } else if cmd_sn == self.expected {
            Place::Next
        } else {
            Place::Early
        }
    }

    /// The expected command was taken.
    pub(super) fn advance(&mut self) {
        self.expected = self.expected.next();
    }

    /// Keeps an early command. The window bounds how many there are.
    pub(super) fn hold(&mut self, cmd_sn: Sn, header: Bhs) {
        self.insert(Early { cmd_sn, header: Some(header) });
    }

    /// Counts a command that never came as received and aborted (§11.6.1).
    /// False when `cmd_sn` is none of those still missing before `before`.
    pub(super) fn plug(&mut self, cmd_sn: Sn, before: Sn) -> bool {
        let missing = cmd_sn.within(self.expected, self.max) && before.after(cmd_sn);
        if missing {
            self.early.retain(|early| early.cmd_sn != cmd_sn);
            self.insert(Early { cmd_sn, header: None });
        }
        missing
    }

    /// Turns held SCSI commands that a reset hits into used-up numbers.
    pub(super) fn abort_early(&mut self, hit: impl Fn(Lun) -> bool) {
        for early in &mut self.early {
            let parsed = early.header.as_ref().map(Request::parse);
            if matches!(parsed, Some(Ok(Request::Command(command))) if hit(command.lun)) {
                early.header = None;
            }
        }
    }

    fn insert(&mut self, early: Early) {
        if self.early.iter().all(|other| other.cmd_sn != early.cmd_sn) {
            self.early.push(early);
        }
    }

    /// The held command whose turn has come.
    pub(super) fn take_early(&mut self) -> Option<Bhs> {
        while !self.early.is_empty() {
            let at = self.early.iter().position(|early| early.cmd_sn == self.expected)?;
            match self.early.swap_remove(at).header {
                Some(header) => return Some(header),
                None => self.advance(),
            }
        }
        None
    }

    pub(super) fn set_credit(&mut self, tasks: u32) {
        self.credit = tasks.clamp(1, TASKS_MAX);
    }

    /// ExpCmdSN and MaxCmdSN for a PDU that goes out now, with `in_flight` slots taken.
    pub(super) fn advertise(&mut self, in_flight: usize) -> (Sn, Sn) {
        let taken = u32::try_from(in_flight).expect("there are fewer than 2^16 task slots");
        let max = self.expected.plus(self.credit).minus(taken).minus(1);
        if max.after(self.max) {
            self.max = max;
        }
        (self.expected, self.max)
    }
}

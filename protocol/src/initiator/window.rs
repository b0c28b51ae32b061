//! When a command may be sent: CmdSN up to the target's MaxCmdSN (§4.2.2.1).

use crate::pdu::Sequence;
use crate::serial::Sn;

#[derive(Clone, Debug)]
pub(super) struct Window {
    next: Sn,
    max: Sn,
}

impl Window {
    pub(super) fn new(next: Sn, max: Sn) -> Self {
        Self { next, max }
    }

    /// Commands that may be sent now.
    pub(super) fn open(&self) -> u32 {
        let end = self.max.next();
        if end.after(self.next) { end.since(self.next) } else { 0 }
    }

    /// The number of the next command, used up by it.
    pub(super) fn take(&mut self) -> Option<Sn> {
        (self.open() > 0).then(|| {
            let sn = self.next;
            self.next = sn.next();
            sn
        })
    }

    /// The number that an immediate command carries; it does not use it up.
    pub(super) fn next(&self) -> Sn {
        self.next
    }

    /// The window only grows; an older value comes from a response that was overtaken, and one
    /// below ExpCmdSN - 1 contradicts itself (§4.2.2.1).
    pub(super) fn update(&mut self, sequence: &Sequence) {
        let empty = sequence.exp_cmd_sn.minus(1);
        if !empty.after(sequence.max_cmd_sn) && sequence.max_cmd_sn.after(self.max) {
            self.max = sequence.max_cmd_sn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(exp: u32, max: u32) -> Sequence {
        Sequence { stat_sn: Sn(0), exp_cmd_sn: Sn(exp), max_cmd_sn: Sn(max) }
    }

    #[test]
    fn it_closes_when_used_up_and_opens_across_the_wrap() {
        let mut window = Window::new(Sn(u32::MAX), Sn(0));
        assert_eq!(window.open(), 2);
        assert_eq!(window.take(), Some(Sn(u32::MAX)));
        assert_eq!(window.take(), Some(Sn(0)));
        assert_eq!(window.take(), None);
        window.update(&told(1, 4));
        assert_eq!(window.open(), 4);
    }

    #[test]
    fn it_neither_shrinks_nor_believes_a_contradiction() {
        let mut window = Window::new(Sn(10), Sn(20));
        window.update(&told(5, 15));
        assert_eq!(window.open(), 11);
        window.update(&told(40, 30));
        assert_eq!(window.open(), 11);
        window.update(&told(41, 40));
        assert_eq!(window.open(), 31);
    }
}

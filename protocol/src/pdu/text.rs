//! Text Request and Response (§11.10, §11.11).

use super::{Bhs, CONTINUE, FINAL, Order, Sequence, opcode};
use crate::ids::{Itt, Lun, Ttt};

/// Keys and values from the initiator in full feature phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextRequest {
    /// Place in the session.
    pub order: Order,
    /// The initiator has nothing more to say (F).
    pub last: bool,
    /// The text goes on in the next request (C).
    pub more: bool,
    /// Copied from the response that is followed up.
    pub lun: Lun,
    /// The initiator's name for the exchange.
    pub itt: Itt,
    /// [`Ttt::NONE`] to start, else as the target's last response had it.
    pub ttt: Ttt,
}

impl TextRequest {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            order: bhs.order(),
            last: bhs.flag(FINAL),
            more: bhs.flag(CONTINUE),
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::TEXT_REQUEST);
        bhs.put_flag(FINAL, self.last);
        bhs.put_flag(CONTINUE, self.more);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_order(self.order);
        bhs
    }
}

/// Keys and values from the target in full feature phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextResponse {
    /// The exchange is over (F).
    pub last: bool,
    /// The text goes on in the next response (C).
    pub more: bool,
    /// To be copied into a follow-up.
    pub lun: Lun,
    /// Which exchange.
    pub itt: Itt,
    /// [`Ttt::NONE`] when `last`, else to be copied into the follow-up.
    pub ttt: Ttt,
    /// Progress.
    pub sequence: Sequence,
}

impl TextResponse {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            last: bhs.flag(FINAL),
            more: bhs.flag(CONTINUE),
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
            sequence: bhs.sequence(),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::TEXT_RESPONSE);
        bhs.put_flag(FINAL, self.last);
        bhs.put_flag(CONTINUE, self.more);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_sequence(self.sequence);
        bhs
    }
}

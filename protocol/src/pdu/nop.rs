//! NOP-Out (§11.18) and NOP-In (§11.19).

use super::{Bhs, FINAL, Order, Sequence, opcode};
use crate::ids::{Itt, Lun, Ttt};

/// A ping of the initiator's, or its answer to one of the target's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NopOut {
    /// Place in the session.
    pub order: Order,
    /// Copied from the NOP-In that is answered.
    pub lun: Lun,
    /// [`Itt::NONE`] when no answer is wanted.
    pub itt: Itt,
    /// Copied from the NOP-In that is answered, else [`Ttt::NONE`].
    pub ttt: Ttt,
}

impl NopOut {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self { order: bhs.order(), lun: bhs.lun(), itt: bhs.itt(), ttt: bhs.ttt() }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::NOP_OUT);
        bhs.put_flag(FINAL, true);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_order(self.order);
        bhs
    }
}

/// A ping of the target's, or its answer to one of the initiator's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NopIn {
    /// To be copied into the answer.
    pub lun: Lun,
    /// The ping that is answered, or [`Itt::NONE`].
    pub itt: Itt,
    /// [`Ttt::NONE`] when no answer is wanted.
    pub ttt: Ttt,
    /// Progress; a ping of the target's own does not use up StatSN.
    pub sequence: Sequence,
}

impl NopIn {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self { lun: bhs.lun(), itt: bhs.itt(), ttt: bhs.ttt(), sequence: bhs.sequence() }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::NOP_IN);
        bhs.put_flag(FINAL, true);
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_sequence(self.sequence);
        bhs
    }
}

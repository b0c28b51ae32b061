//! SNACK Request (§11.16): only above error recovery level 0, so read only to be rejected.

use super::{Bhs, FINAL, opcode};
use crate::ids::{Itt, Lun, Ttt};
use crate::serial::Sn;

/// Asks for PDUs again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnackRequest {
    /// 0 Data/R2T, 1 status, 2 DataACK, 3 R-Data.
    pub kind: u8,
    /// Which logical unit.
    pub lun: Lun,
    /// Which task.
    pub itt: Itt,
    /// Target transfer tag or SNACK tag.
    pub ttt: Ttt,
    /// All statuses below this have been received.
    pub exp_stat_sn: Sn,
    /// First missing number.
    pub begin: Sn,
    /// How many; 0 for all.
    pub run_len: u32,
}

impl SnackRequest {
    pub(super) fn parse(bhs: &Bhs) -> Self {
        Self {
            kind: bhs.0[1] & 0x0f,
            lun: bhs.lun(),
            itt: bhs.itt(),
            ttt: bhs.ttt(),
            exp_stat_sn: bhs.sn(28),
            begin: bhs.sn(40),
            run_len: bhs.u32(44),
        }
    }

    /// The header.
    #[must_use]
    pub fn build(&self) -> Bhs {
        let mut bhs = Bhs::new(opcode::SNACK_REQUEST);
        bhs.put_flag(FINAL, true);
        bhs.0[1] |= self.kind & 0x0f;
        bhs.put_lun(self.lun);
        bhs.put_u32(16, self.itt.0);
        bhs.put_u32(20, self.ttt.0);
        bhs.put_u32(28, self.exp_stat_sn.0);
        bhs.put_u32(40, self.begin.0);
        bhs.put_u32(44, self.run_len);
        bhs
    }
}

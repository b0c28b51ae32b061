//! Requests of which a script says what they are and when they are made ([`crate::sequences`]).

use super::jobs::a_sync;
use super::{Ctx, Host, Job, alarm};
use crate::sequences::Asked;
use crate::world::Alarm;

impl Host {
    /// The next request of its script; none before its time.
    pub(super) fn planned(&mut self, ctx: &mut Ctx<'_>) -> Option<Job> {
        let made = self.setup.script.len().checked_sub(self.quota as usize)?;
        let (at, operation) = *self.setup.script.get(made)?;
        if at > ctx.hardware.now() {
            if !std::mem::replace(&mut self.thinking, true) {
                ctx.hardware.schedule(at, alarm(Alarm::Think(self.index)));
            }
            return None;
        }
        self.quota -= 1;
        let place = (operation.lba, 1);
        Some(match operation.asked {
            Asked::Write { fua } => self.write(place, fua, ctx),
            Asked::Sync => a_sync(ctx),
            Asked::Unmap => self.unmap(&[place], ctx),
            Asked::Same => self.fill(place, false, ctx),
        })
    }
}

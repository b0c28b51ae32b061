//! The desk where ranges are claimed: I/O in the way of a claim parks, and is started in its turn.

use std::ops::Range;

use outband_protocol::ids::TaskId;
use outband_protocol::seeded::{self, Bug};
use outband_ring::{Buf, Ring};

use super::{Desk, Errand};
use crate::shard::claims::{Entrance, Ready, overlap};
use crate::shard::token::{ConnKey, TargetKey, VolumeKey, Whose};
use crate::store::Io;

impl<R: Ring> Desk<R> {
    /// A task asks for bytes of the volume below `target` for itself alone. True: it has them.
    /// Else [`Errand::Granted`] says when.
    pub(crate) fn claim(
        &mut self,
        owner: (ConnKey, TaskId),
        target: TargetKey,
        range: Range<u64>,
    ) -> bool {
        if seeded::is(Bug::SwapUnclaimed) {
            return true;
        }
        let volume = self.targets[target].volume;
        // What a claim's own task has under way is in nobody's way but the claim's.
        let in_the_way = self.ios.values().filter(|active| {
            active.volume == volume && !active.claimed && overlap(&active.io.range(), &range)
        });
        let active = in_the_way.count();
        self.volumes[volume].claims.ask(owner.into(), range, active)
    }

    /// The same for the unit itself; [`Errand::SanitizeGranted`] says when.
    pub(crate) fn claim_for(&mut self, owner: Whose, target: TargetKey, range: Range<u64>) -> bool {
        let volume = self.targets[target].volume;
        let in_the_way = self.ios.values().filter(|active| {
            active.volume == volume && !active.claimed && overlap(&active.io.range(), &range)
        });
        let active = in_the_way.count();
        self.volumes[volume].claims.ask(owner, range, active)
    }

    /// The unit has no need any more of what it claimed.
    pub(crate) fn release_for(&mut self, owner: Whose, target: TargetKey) {
        let Some(volume) = self.targets.get(target).map(|target| target.volume) else {
            return;
        };
        if !self.volumes[volume].claims.is_empty() {
            self.volumes[volume].claims.release(owner);
            self.go_on(volume);
        }
    }

    /// A task has no need any more of what it claimed.
    pub(crate) fn release(&mut self, owner: (ConnKey, TaskId), target: TargetKey) {
        let volume = self.targets[target].volume;
        if !self.volumes[volume].claims.is_empty() {
            self.volumes[volume].claims.release(owner.into());
            self.go_on(volume);
        }
    }

    /// Takes back a task's I/O that has not begun because of a claim: it never reaches the medium.
    /// `None` when there is no such I/O.
    pub(crate) fn withdraw(
        &mut self,
        owner: (ConnKey, TaskId),
        target: TargetKey,
    ) -> Option<Option<Buf>> {
        let volume = self.targets[target].volume;
        let io = self.volumes[volume].claims.withdraw(owner.into())?;
        self.go_on(volume);
        Some(io.into_buf())
    }

    /// Starts an I/O on a volume that has claims.
    pub(super) fn start_among_claims(&mut self, owner: Whose, volume: VolumeKey, io: Io) {
        match self.volumes[volume].claims.enter(owner, io.range(), io) {
            Entrance::Free(io) => self.start_now(owner, volume, io, false),
            Entrance::Own(io) => self.start_now(owner, volume, io, true),
            Entrance::Parked => {}
        }
    }

    /// Lets everybody go on who waited for what is gone now.
    pub(super) fn go_on(&mut self, volume: VolumeKey) {
        while let Some(ready) = self.volumes[volume].claims.next_ready() {
            match ready {
                Ready::Granted(Whose::Task(key, task)) => {
                    self.errands.push_back(Errand::Granted(key, task));
                }
                Ready::Granted(Whose::Sanitize(target)) => {
                    self.errands.push_back(Errand::SanitizeGranted(target));
                }
                // Copies and flushes claim nothing.
                Ready::Granted(Whose::Visit(_) | Whose::Unit(_)) => {}
                Ready::Start(owner, io) => self.start_now(owner, volume, io, false),
            }
        }
    }
}

//! PERSISTENT RESERVE OUT whose GOOD has to wait: for writes of those who have lost their access, for
//! aborted tasks, and for the file that outlives a power loss.

use outband_protocol::ids::TaskId;
use outband_ring::{Completion, Op, Ring};

use super::Shard;
use super::desk::Desk;
use super::ledger::Ledger;
use super::peer::Phase;
use super::token::{ConnKey, Owner, TargetKey};
use crate::scsi::NexusId;

/// A change of a reservation that is being brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reserving {
    /// The command.
    pub(crate) by: (ConnKey, TaskId),
    /// On which target.
    pub(crate) target: TargetKey,
    /// Who may not write any more.
    pub(crate) barred: Vec<NexusId>,
    /// Whose tasks end.
    pub(crate) aborted: Vec<NexusId>,
}

/// What it still waits for.
#[derive(Debug)]
pub(crate) struct Waiting {
    by: (ConnKey, TaskId),
    target: TargetKey,
    /// Tasks that the medium has; without a number, all that a session which is leaving has there.
    tasks: Vec<(ConnKey, Option<TaskId>)>,
    /// State of the reservations that must be in the file.
    version: u64,
}

impl<R: Ring> Shard<R> {
    /// A reservation has changed.
    pub(super) fn on_reserved(&mut self, change: Reserving) {
        let Reserving { by, target, barred, aborted } = change;
        let Some(held) = self.desk.targets.get_mut(target) else {
            return;
        };
        held.ledger.iter_mut().for_each(Ledger::forget_failure);
        let version = held.lu.reservations_version();
        for key in held.sessions.clone() {
            self.abort_preempted(key, target, &aborted);
        }
        let lost = |nexus: &NexusId| barred.contains(nexus) || aborted.contains(nexus);
        let tasks = self.with_the_medium(target, by, lost);
        self.desk.keep(target);
        self.pending.reserving.push(Waiting { by, target, tasks, version });
        self.answer_reserving();
    }

    /// PREEMPT AND ABORT ends the tasks of who was preempted (SPC-4 §5.13.11.2.6).
    fn abort_preempted(&mut self, key: ConnKey, target: TargetKey, aborted: &[NexusId]) {
        let desk = &mut self.desk;
        let Some(Phase::Inside(conn)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) else {
            return;
        };
        if aborted.contains(&conn.nexus) && conn.has_tasks() {
            conn.end_tasks(desk);
            desk.targets[target].lu.commands_cleared(conn.nexus);
            self.touch(key);
        }
    }

    fn with_the_medium(
        &self,
        target: TargetKey,
        by: (ConnKey, TaskId),
        lost: impl Fn(&NexusId) -> bool,
    ) -> Vec<(ConnKey, Option<TaskId>)> {
        let mut tasks = Vec::new();
        for key in self.desk.targets[target].sessions.iter().filter(|key| **key != by.0) {
            match self.peers.get(*key).map(|peer| &peer.phase) {
                Some(Phase::Inside(conn)) if lost(&conn.nexus) => {
                    tasks.extend(conn.stored().map(|task| (*key, Some(task))));
                }
                Some(Phase::Leaving(leaving)) if leaving.ios > 0 => tasks.push((*key, None)),
                _ => {}
            }
        }
        tasks
    }

    /// Answers those that have nothing to wait for any more.
    pub(super) fn answer_reserving(&mut self) {
        if self.pending.reserving.is_empty() {
            return;
        }
        for mut waiting in std::mem::take(&mut self.pending.reserving) {
            waiting.tasks.retain(|(key, task)| {
                match self.peers.get(*key).map(|peer| &peer.phase) {
                    Some(Phase::Inside(conn)) => task.is_some_and(|task| conn.has_stored(task)),
                    Some(Phase::Leaving(leaving)) => leaving.ios > 0,
                    _ => false,
                }
            });
            let kept = self.desk.kept(waiting.target, waiting.version);
            // Nor may a copy of theirs that another target does write after the answer.
            let mut visitors = self.desk.visitors.values();
            let visited = visitors.any(|visitor| visitor.is_busy_at(waiting.target));
            let (Some(outcome), true) = (kept, waiting.tasks.is_empty() && !visited) else {
                self.pending.reserving.push(waiting);
                continue;
            };
            let (key, task) = waiting.by;
            let desk = &mut self.desk;
            if let Some(Phase::Inside(conn)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) {
                conn.on_reserved(task, outcome, desk);
            }
            self.touch(key);
        }
    }

    /// A record of a target's reservations has moved on.
    pub(super) fn on_kept(&mut self, target: TargetKey, completion: Completion) {
        let Some(ledger) =
            self.desk.targets.get_mut(target).and_then(|target| target.ledger.as_mut())
        else {
            return;
        };
        match ledger.completed(completion) {
            Some(op) => self.desk.push(Owner::Ledger(target).token(), op),
            // The reservations may have changed meanwhile.
            None => self.desk.keep(target),
        }
        self.answer_reserving();
        self.answer_drains();
    }
}

impl<R: Ring> Desk<R> {
    /// Writes a target's reservations down, if they are to be kept and have changed.
    pub(crate) fn keep(&mut self, key: TargetKey) {
        let Some(target) = self.targets.get_mut(key) else {
            return;
        };
        let op: Option<Op> = target.ledger.as_mut().and_then(|ledger| ledger.write(&target.lu));
        if let Some(op) = op {
            self.push(Owner::Ledger(key).token(), op);
        }
    }

    /// Whether this state of a target's reservations is in its file, as far as it has one.
    fn kept(
        &self,
        target: TargetKey,
        version: u64,
    ) -> Option<Result<(), crate::store::StoreError>> {
        let ledger = self.targets.get(target).and_then(|target| target.ledger.as_ref());
        ledger.map_or(Some(Ok(())), |ledger| ledger.outcome(version))
    }
}

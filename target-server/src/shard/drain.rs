//! Endings that others wait for: tasks ended by a reset, fences, volumes taken away, the stop.

use std::sync::Arc;

use outband_control::access::Grant;
use outband_protocol::ids::IscsiName;
use outband_protocol::seeded::{self, Bug};
use outband_ring::Ring;

use super::Shard;
use super::mailbox::{Gate, Message, Reply};
use super::peer::{Leaving, Phase, Session};
use super::reserve::Waiting;
use super::target::Target;
use super::token::{ConnKey, TargetKey, VolumeKey};
use crate::exports::Exports;

/// Whoever waits for an ending on this shard.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Fences, until no session of theirs is left.
    drains: Vec<(Gate, Reply<()>)>,
    /// Volumes to be forgotten.
    detaches: Vec<(VolumeKey, Reply<()>)>,
    /// Flushes that no connection asked for, by their numbers.
    flushes: Vec<(u16, Reply<()>)>,
    numbered: u16,
    /// The stop itself.
    pub(crate) stop: Option<Reply<()>>,
    /// Changes of reservations.
    pub(crate) reserving: Vec<Waiting>,
}

impl Pending {
    /// A number for a flush whose end `reply` waits for.
    pub(crate) fn flush(&mut self, reply: Reply<()>) -> u16 {
        self.numbered = self.numbered.wrapping_add(1);
        self.flushes.push((self.numbered, reply));
        self.numbered
    }

    /// A flush that no connection asked for has ended. One that failed has faulted its volume.
    pub(crate) fn flushed(&mut self, number: u16) {
        if let Some(at) = self.flushes.iter().position(|(asked, _)| *asked == number) {
            let _ = self.flushes.swap_remove(at).1.send(());
        }
    }
}

impl Gate {
    /// Whether a session is one that the fence means.
    fn names(&self, target: &IscsiName, session: &Session) -> bool {
        self.closes(target, &session.host, session.epoch)
    }

    /// Whether it is closed for `host` under `epoch`.
    pub(crate) fn closes(&self, target: &IscsiName, host: &str, epoch: u64) -> bool {
        self.target == target.as_str()
            && epoch <= self.epoch
            && self.host.as_ref().is_none_or(|closed| closed == host)
    }
}

impl<R: Ring> Shard<R> {
    /// All tasks of a target's other sessions end, at the wish of `by` (SAM-5 §7).
    pub(super) fn end_tasks(&mut self, target: TargetKey, by: ConnKey, reset: bool) {
        if reset {
            self.desk.targets[target].lu.reset();
            self.desk.visitors.values_mut().for_each(|visitor| visitor.cut(target));
        }
        for key in self.desk.targets[target].sessions.clone() {
            let desk = &mut self.desk;
            if key == by {
                continue;
            }
            if let Some(Phase::Inside(conn)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) {
                let any = conn.end_tasks(desk);
                if any && !reset {
                    desk.targets[target].lu.commands_cleared(conn.nexus);
                }
            }
            // Its own function may have waited for the data of those tasks.
            if let Some(peer) = self.peers.get_mut(key) {
                peer.look_again(&mut self.desk);
            }
            self.touch(key);
        }
    }

    /// When no aborted task of a target is with the medium, those who wait for that are told.
    /// Sessions that are leaving count: their writes too must not land after the answer (P8).
    pub(super) fn settle(&mut self, target: TargetKey) {
        let Some(sessions) = self.desk.targets.get(target).map(|target| target.sessions.clone())
        else {
            return;
        };
        let busy = sessions.iter().any(|key| match self.peers.get(*key).map(|peer| &peer.phase) {
            Some(Phase::Inside(conn)) => conn.is_draining(),
            Some(Phase::Leaving(leaving)) => leaving.ios > 0,
            _ => false,
        });
        let busy = busy && !seeded::is(Bug::AnswerAbortEarly);
        if busy || self.desk.visitors.values().any(|visitor| visitor.is_busy_at(target)) {
            return;
        }
        let mut cold = false;
        for key in &sessions {
            if let Some(Phase::Inside(conn)) = self.peers.get_mut(*key).map(|peer| &mut peer.phase)
            {
                cold |= conn.settle();
                self.touch(*key);
            }
        }
        if cold {
            sessions.into_iter().for_each(|key| self.dismiss(key, "target cold reset"));
        }
    }

    /// Ends a session for good, and says so to its initiator.
    fn dismiss(&mut self, key: ConnKey, why: &str) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.dismiss(&why, true, &mut self.desk);
        }
        self.remove_if_gone(key);
    }

    /// Asks the initiator to log out; it is cut off when it does not (`check_session`).
    fn ask_to_leave(&mut self, key: ConnKey, why: &str) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        match &mut peer.phase {
            Phase::Inside(conn) => conn.ask_to_leave(&self.desk),
            _ => peer.leave(&why, &mut self.desk),
        }
        self.touch(key);
        self.remove_if_gone(key);
    }

    /// Nothing of these sessions is admitted any more.
    pub(super) fn close_gate(&mut self, gate: Gate) {
        for key in self.sessions_of(&gate) {
            if let Some(Phase::Inside(conn)) = self.peers.get_mut(key).map(|peer| &mut peer.phase) {
                conn.fence(&mut self.desk);
            }
            self.touch(key);
        }
        self.desk.gates.push(gate);
    }

    /// A new table: gates that it has no grant for any more are not needed.
    pub(super) fn take_exports(&mut self, exports: Arc<Exports>) {
        let names = exports.access.names();
        self.desk.gates.retain(|gate| {
            exports.access.grants().any(|grant| {
                names.target(&grant.subject) == gate.target && grant.epoch.0 <= gate.epoch
            })
        });
        self.desk.exports = exports;
        self.send_on();
    }

    /// Sessions of targets that live elsewhere now are asked to leave; their next login is sent on.
    fn send_on(&mut self) {
        let access = &self.desk.exports.access;
        let moved: Vec<_> =
            access.redirects().map(|(subject, _)| access.names().target(subject)).collect();
        let moved = |target: &Target| moved.iter().any(|name| target.name.as_str() == name);
        let targets = self.desk.targets.values().filter(|target| moved(target));
        let sessions: Vec<_> = targets.flat_map(|target| target.sessions.clone()).collect();
        sessions.into_iter().for_each(|key| self.ask_to_leave(key, "its volume has moved"));
    }

    /// Ends these sessions and answers when the last of their I/O is reaped (P12).
    pub(super) fn drain(&mut self, gate: Gate, reply: Reply<()>) {
        for key in self.sessions_of(&gate) {
            self.dismiss(key, "its grant has ended");
        }
        self.end_grant(&gate);
        self.pending.drains.push((gate, reply));
        self.answer_drains();
    }

    /// What a host has registered and set goes with its grant: whoever is granted the volume next
    /// finds it free. A fence that comes again when it is granted anew takes nothing away.
    fn end_grant(&mut self, gate: &Gate) {
        let access = &self.desk.exports.access;
        let is_newer = |grant: &Grant| {
            grant.epoch.0 > gate.epoch && access.names().target(&grant.subject) == gate.target
        };
        let meant = self.desk.targets.iter().find(|(_, one)| one.name.as_str() == gate.target);
        if let Some((key, _)) = meant
            && !access.grants().any(is_newer)
        {
            self.desk.targets[key].lu.grant_ended(gate.host.as_deref());
            self.desk.keep(key);
        }
    }

    /// Whether the file of the gate's target has what is reserved now, or cannot have it.
    fn is_kept(&self, gate: &Gate) -> bool {
        let mut targets = self.desk.targets.values();
        let target = targets.find(|target| target.name.as_str() == gate.target);
        target.and_then(|target| target.ledger.as_ref()).is_none_or(|one| !one.is_writing())
    }

    fn sessions_of(&self, gate: &Gate) -> Vec<ConnKey> {
        let names = |key: &ConnKey| {
            let session = self.peers.get(*key).and_then(super::peer::Peer::session);
            session.is_some_and(|session| {
                gate.names(&self.desk.targets[session.target].name, &session)
            })
        };
        let sessions = self.desk.targets.values().flat_map(|target| target.sessions.iter());
        sessions.copied().filter(names).collect()
    }

    /// A volume is served no longer: nobody new, and those who are here are asked to leave.
    pub(super) fn detach(&mut self, volume: VolumeKey, reply: Reply<()>) {
        self.desk.volumes[volume].goes = true;
        for target in self.targets_of(volume) {
            for key in self.desk.targets[target].sessions.clone() {
                self.ask_to_leave(key, "its volume goes away");
            }
        }
        self.pending.detaches.push((volume, reply));
        self.answer_drains();
    }

    fn targets_of(&self, volume: VolumeKey) -> Vec<TargetKey> {
        let targets = self.desk.targets.iter();
        targets.filter(|(_, target)| target.volume == volume).map(|(key, _)| key).collect()
    }

    /// Forgets a connection that nobody has anything of any more.
    pub(super) fn remove_if_gone(&mut self, key: ConnKey) {
        if !self.peers.get(key).is_some_and(super::peer::Peer::is_gone) {
            return;
        }
        let Some(peer) = self.peers.remove(key) else {
            return;
        };
        let Phase::Leaving(Leaving { session: Some(session), turns, goes_on, .. }) = peer.phase
        else {
            return self.admit_waiting();
        };
        for (task, turn) in turns {
            self.desk.end_turn(session.target, turn, (key, task));
        }
        if let Some(target) = self.desk.targets.get_mut(session.target) {
            target.sessions.retain(|held| *held != key);
            if !goes_on {
                target.lu.detach(session.nexus);
            }
        }
        self.desk.counts.sessions -= 1;
        self.settle(session.target);
        self.answer_reserving();
        self.answer_drains();
        self.admit_waiting();
    }

    /// Connections whose predecessors are gone now.
    fn admit_waiting(&mut self) {
        let waiting: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| matches!(peer.phase, Phase::Waiting(_)))
            .map(|(key, _)| key)
            .collect();
        waiting.into_iter().for_each(|key| self.admit(key));
    }

    /// Whether no medium has anything of a connection any more, nor ever will.
    fn is_drained(&self, key: ConnKey) -> bool {
        let phase = self.peers.get(key).map(|peer| &peer.phase);
        !matches!(phase, Some(Phase::Inside(_) | Phase::Leaving(Leaving { ios: 1.., .. })))
    }

    pub(super) fn answer_drains(&mut self) {
        for (gate, reply) in std::mem::take(&mut self.pending.drains) {
            let busy = self.sessions_of(&gate).into_iter().any(|key| !self.is_drained(key));
            let busy = busy && !seeded::is(Bug::NoDrainAtFence);
            let visited = self.desk.visitors.values().any(|visitor| visitor.is_meant_by(&gate));
            if !busy && !visited && self.is_kept(&gate) {
                // Whoever asked may be gone; the fence holds all the same.
                let _ = reply.send(());
            } else {
                self.pending.drains.push((gate, reply));
            }
        }
        for (volume, reply) in std::mem::take(&mut self.pending.detaches) {
            let targets = self.targets_of(volume);
            let visited = self.desk.visitors.values().any(|visitor| visitor.is_at(volume));
            let idle = targets.iter().all(|key| self.desk.targets[*key].sessions.is_empty());
            if idle && !visited && !self.drop_jobs(volume) && !self.desk.has_io(volume) {
                self.forget(volume, &targets);
                let _ = reply.send(());
            } else {
                self.pending.detaches.push((volume, reply));
            }
        }
    }

    fn forget(&mut self, volume: VolumeKey, targets: &[TargetKey]) {
        self.forget_targets(targets);
        if let Some(volume) = self.desk.volumes.remove(volume) {
            volume.journal.into_iter().for_each(|device| self.desk.drop_journal(device));
            for fd in volume.layers.files() {
                self.desk.ring.close(*fd);
            }
        }
    }

    /// Targets without sessions are served no longer.
    pub(super) fn forget_targets(&mut self, targets: &[TargetKey]) {
        for key in targets {
            let target = self.desk.targets.remove(*key);
            if let Some(ledger) = target.and_then(|target| target.ledger) {
                self.desk.ring.close(ledger.file());
            }
        }
    }

    /// A sync has failed: every volume on that device that may have lost something is faulted, on
    /// the other shards too (P5).
    pub(super) fn tell_faults(&mut self) {
        for id in std::mem::take(&mut self.desk.faults) {
            let volume = self.desk.volumes.iter().find(|(_, volume)| volume.id == id);
            let Some((key, volume)) = volume else {
                continue;
            };
            let devices: Vec<_> = volume.layers.devices().collect();
            self.set_faulted(key, true);
            for device in devices {
                self.device_faulted(device);
                for (index, shard) in self.desk.shards.iter().enumerate() {
                    if index != self.desk.settings.index {
                        shard.send(Message::DeviceFaulted(device));
                    }
                }
            }
        }
    }

    /// Volumes with unsynced writes on a device whose sync failed somewhere.
    pub(super) fn device_faulted(&mut self, device: uuid::Uuid) {
        let lost: Vec<_> = self
            .desk
            .volumes
            .iter()
            .filter(|(_, volume)| volume.may_lose() && volume.layers.uses(device))
            .map(|(key, _)| key)
            .collect();
        lost.into_iter().for_each(|key| self.set_faulted(key, true));
    }

    /// Puts a volume into or out of the state in which it takes no writes.
    pub(super) fn set_faulted(&mut self, key: VolumeKey, faulted: bool) {
        let Some(volume) = self.desk.volumes.get_mut(key) else {
            return;
        };
        if volume.faulted == faulted {
            return;
        }
        volume.faulted = faulted;
        volume.synced = volume.written;
        if faulted && let Some(told) = &self.desk.on_fault {
            told(volume.id);
        }
        for target in self.targets_of(key) {
            self.desk.targets[target].lu.set_faulted(faulted);
        }
    }

    /// No new connections; those that are here are asked to log out, and cut off when
    /// they do not.
    pub(super) fn stop(&mut self, reply: Reply<()>) {
        self.stopping = true;
        self.pending.stop = Some(reply);
        for (fd, _) in self.listeners.clone() {
            self.desk.ring.close(fd);
        }
        for key in self.peers.keys().collect::<Vec<_>>() {
            self.ask_to_leave(key, "the unit is stopping");
        }
    }
}

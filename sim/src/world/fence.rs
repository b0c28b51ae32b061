//! Fences, as control orders them: the gate closes, the table changes, the sessions end.

use super::*;

impl World {
    /// Takes a volume from the host that has it and gives it to another, in control's order.
    pub(super) fn begin_fence(&mut self) {
        let (Some(target), None) = (&self.target, &self.fence) else {
            return;
        };
        let volume = self.rng.index(self.setup.volumes.len());
        let hosts = &self.setup.volumes[volume].hosts;
        let Some(from) = hosts.iter().copied().find(|host| self.hosts[*host].is_granted()) else {
            return;
        };
        let to = self.rng.pick(hosts);
        let name = self.setup.target(volume).to_string();
        let host = self.setup.hosts[from].name.to_string();
        let grant = self.setup.grant(volume, Some(from), 0);
        let epoch = self.access.floor(&self.setup.volumes[volume].name);
        self.access.fence(&grant.subject, &host, epoch);
        let gate = Gate { target: name, host: Some(host), epoch: epoch.0 };
        let home = &self.setup.volumes[volume];
        drop(target.publish(&self.setup, &self.access));
        let closed = gate.clone();
        drop(target.tell_home(home, |reply| Message::CloseGate(closed, reply)));
        let drained = target.tell_home(home, |reply| Message::Drain(gate, reply));
        let mut hardware = self.hardware.borrow_mut();
        hardware.note(format_args!("volume {volume} is taken from host {from} for host {to}"));
        self.fence = Some(Fence { volume, from, to, drained });
        self.waits += 1;
        let at = hardware.now() + STOP_PATIENCE;
        hardware.schedule(at, Event::Alarm(Alarm::Late(self.waits)));
    }

    pub(super) fn watch_fence(&mut self) {
        let drained = self.fence.as_mut().is_some_and(|fence| fence.drained.try_recv().is_ok());
        if drained && let Some(fence) = self.fence.take() {
            self.end_fence(&fence);
        }
    }

    /// A dead target has drained everything.
    pub(super) fn finish_fence_by_death(&mut self) {
        if let Some(fence) = self.fence.take() {
            self.end_fence(&fence);
        }
    }

    pub(super) fn end_fence(&mut self, fence: &Fence) {
        let &Fence { volume, from, to, .. } = fence;
        self.waits += 1;
        self.hardware.borrow_mut().note(format_args!("volume {volume} is host {to}'s now"));
        self.with_host(from, |host, ctx| host.set_granted(false, ctx));
        let epoch = self.access.floor(&self.setup.volumes[volume].name).next();
        let grant = self.setup.grant(volume, Some(to), epoch.0);
        self.access.grant(grant).expect("the volume was fenced and the epoch is the next");
        if let Some(target) = &self.target {
            drop(target.publish(&self.setup, &self.access));
        }
        self.with_host(to, |host, ctx| host.set_granted(true, ctx));
    }
}

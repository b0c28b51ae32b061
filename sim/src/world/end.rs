//! The end: nothing goes wrong any more, hosts finish, and everything is read.

use super::*;

impl World {
    /// The next phase, when this one is over.
    pub(super) fn go_on(&mut self) -> Result<(), Failure> {
        if !self.hosts.iter().all(Host::is_idle) || self.fence.is_some() || self.stopping {
            return Ok(());
        }
        match self.phase {
            Phase::Busy => self.calm_down(),
            Phase::Calm if self.target.is_some() && self.faulted.is_empty() => {
                self.sweep(Phase::Sweep);
            }
            Phase::Calm => self.recover(),
            Phase::Sweep => {
                self.cut_power()?;
                self.sweep(Phase::LastSweep);
            }
            Phase::LastSweep => self.phase = Phase::Over,
            Phase::Over => {}
        }
        Ok(())
    }

    /// Nothing goes wrong from now on.
    fn calm_down(&mut self) {
        self.phase = Phase::Calm;
        {
            let mut hardware = self.hardware.borrow_mut();
            hardware.note(format_args!("calm"));
            let lying =
                hardware.disks.first_mut().is_some_and(|disk| disk.faults_mut().lying_flush);
            for disk in &mut hardware.disks {
                *disk.faults_mut() = disk::Faults { lying_flush: lying, ..disk::Faults::default() };
            }
            hardware.net.calm();
        }
        for disk in &mut self.setup.disks {
            disk.faults = disk::Faults::default();
        }
        self.recover();
        self.wait();
    }

    fn sweep(&mut self, phase: Phase) {
        self.phase = phase;
        for volume in 0..self.setup.volumes.len() {
            let hosts = &self.setup.volumes[volume].hosts;
            let host = hosts.iter().copied().find(|host| self.hosts[*host].is_granted());
            if let Some(host) = host {
                self.with_host(host, Host::sweep);
            }
        }
        self.wait();
    }

    fn wait(&mut self) {
        self.waits += 1;
        let mut hardware = self.hardware.borrow_mut();
        let at = hardware.now() + PATIENCE;
        hardware.schedule(at, Event::Alarm(Alarm::Late(self.waits)));
    }
}

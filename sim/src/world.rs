//! The world of one seed: a target, its hosts, and what goes wrong between them. [`World::step`]
//! carries out one event and everything that follows from it at once.

mod end;
mod fence;
pub(crate) mod oracle;
mod trouble;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use outband_control::access::AccessTable;
use outband_target_server::shard::mailbox::{Gate, Message};
use tokio::sync::oneshot;

use crate::checker::{Checker, Held, Tick, Violation, WriteId};
use crate::disk::{self, Disk};
use crate::hardware::{Event, Hardware, Shared};
use crate::journal;
use crate::net::{ConnId, Net, News, Side};
use crate::rng::Rng;
use crate::setup::{Chaos, Setup};
use crate::tag::Content;
use crate::target::Target;
use crate::trace::Trace;
use crate::workload::{Ctx, Host};

/// Virtual time that hosts have to finish once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same, for an orderly stop.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// What the world asks to be called for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// Something goes wrong, perhaps.
    Chaos,
    /// The target starts again.
    Start,
    /// The network lets a direction of a connection go on.
    Unblock(ConnId, Side),
    /// A host's session has a timeout.
    Timer(usize),
    /// A host thinks about its next request.
    Think(usize),
    /// Whatever is being waited for should be over.
    Late(u32),
    /// In a pool: the station (0) or a unit (from 1) starts again.
    Machine(usize),
    /// In a pool: a machine is connected again.
    Heal(usize),
}

/// Why a seed fails.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// Data is wrong.
    #[error(transparent)]
    Data(#[from] Violation),
    /// Somebody does what may not be done.
    #[error("{0}")]
    Conduct(String),
    /// It panicked.
    #[error("panic: {0}")]
    Panic(String),
}

/// How far a world has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Hosts work and things go wrong.
    Busy,
    /// Nothing goes wrong any more, and hosts finish.
    Calm,
    /// All volumes are read.
    Sweep,
    /// All volumes are read once more, after a last power cut.
    LastSweep,
    /// That was it.
    Over,
}

/// A grant on its way from one host to another.
#[derive(Debug)]
struct Fence {
    volume: usize,
    from: usize,
    to: usize,
    drained: oneshot::Receiver<()>,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    hardware: Shared,
    target: Option<Target>,
    stopping: bool,
    hosts: Vec<Host>,
    checker: Checker,
    /// Which block of which volume lies at a byte of a disk.
    places: BTreeMap<(usize, u64), (usize, u32)>,
    access: AccessTable,
    /// Volumes whose sync has failed and that nobody has recovered, and since when.
    faulted: BTreeMap<usize, Tick>,
    /// Who has no business here, and what they have to say.
    strangers: BTreeMap<ConnId, Vec<u8>>,
    fence: Option<Fence>,
    phase: Phase,
    /// Counts what is waited for with a limit.
    waits: u32,
    rng: Rng,
    failures: Vec<Failure>,
    crashes: u64,
}

impl World {
    /// The world of `seed`; `aloud` prints what happens, `alter` changes what the seed has drawn.
    #[must_use]
    pub fn new(seed: u64, aloud: bool, alter: impl FnOnce(&mut Setup)) -> Self {
        let mut rng = Rng::new(seed);
        let mut setup = Setup::draw(&mut rng);
        alter(&mut setup);
        let disk = |disk: &crate::setup::DiskSetup| {
            Disk::new(disk.len, disk.sector_len, disk.faults.clone())
        };
        let disks = setup.disks.iter().map(disk).collect();
        let (net, trace) = (Net::new(setup.net.clone()), Trace::new(aloud));
        let hardware = Hardware::new(rng.fork(), net, disks, trace).shared();
        let granted = |index: usize, volume: usize| {
            let volume = &setup.volumes[volume];
            !volume.exclusive || volume.hosts[0] == index
        };
        let host = |(index, host): (usize, &crate::setup::HostSetup)| {
            Host::new(index, host.clone(), granted(index, host.volume), rng.fork())
        };
        let hosts: Vec<_> = setup.hosts.iter().enumerate().map(host).collect();
        let blocks: Vec<_> = setup.volumes.iter().map(|volume| volume.blocks).collect();
        let mut world = Self {
            checker: Checker::new(&blocks),
            places: oracle::places(&setup),
            access: setup.access(),
            setup,
            hardware,
            target: None,
            stopping: false,
            hosts,
            faulted: BTreeMap::new(),
            strangers: BTreeMap::new(),
            fence: None,
            phase: Phase::Busy,
            waits: 0,
            rng,
            failures: Vec::new(),
            crashes: 0,
        };
        world.hardware.borrow_mut().take_arrivals();
        world.start_target();
        for index in 0..world.hosts.len() {
            world.with_host(index, Host::on_think);
        }
        world.set_chaos();
        world
    }

    /// What all of it runs on.
    #[must_use]
    pub fn hardware(&self) -> Shared {
        Shared::clone(&self.hardware)
    }

    /// Requests that hosts have had an outcome of.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.hosts.iter().map(Host::done).sum()
    }

    /// Blocks that were read and checked.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.checker.reads()
    }

    /// Power cuts and kills so far.
    #[must_use]
    pub fn crashes(&self) -> u64 {
        self.crashes
    }

    /// One event, and what follows from it. False when the world is over.
    pub fn step(&mut self) -> Result<bool, Failure> {
        let event = self.hardware.borrow_mut().next_event();
        let Some(event) = event else {
            return Err(Failure::Conduct(format!("everybody waits for ever.{}", self.state())));
        };
        self.carry_out(event)?;
        self.watch_arrivals()?;
        self.pass_news();
        self.watch_target()?;
        self.watch_fence();
        self.watch_ended()?;
        self.watch_promises()?;
        self.hardware.borrow_mut().hear_bells();
        if self.setup.every_cut {
            self.cut_everywhere()?;
        }
        self.go_on()?;
        match self.failures.drain(..).next() {
            Some(failure) => Err(failure),
            None => Ok(self.phase != Phase::Over),
        }
    }

    fn carry_out(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Net(event) => self.hardware.borrow_mut().on_net_event(event),
            Event::Begin(ring, op) => self.hardware.borrow_mut().begin(ring, op),
            Event::End(ring, op) => self.hardware.borrow_mut().end(ring, op),
            Event::Turn(ring) | Event::Deadline(ring) => {
                let due = {
                    let mut hardware = self.hardware.borrow_mut();
                    hardware.take_turn(ring) || hardware.is_timed_out(ring)
                };
                if let Some(target) = self.target.as_mut().filter(|_| due) {
                    target.turn(ring).map_err(Failure::Conduct)?;
                }
            }
            Event::Alarm(alarm) => self.on_alarm(alarm)?,
        }
        Ok(())
    }

    fn on_alarm(&mut self, alarm: Alarm) -> Result<(), Failure> {
        match alarm {
            Alarm::Chaos => self.chaos()?,
            Alarm::Start => self.start_target(),
            Alarm::Unblock(conn, side) => {
                self.hardware.borrow_mut().on_net(|net, now, _| net.unblock(conn, side, now));
            }
            Alarm::Timer(host) => self.with_host(host, Host::on_timer),
            Alarm::Think(host) => self.with_host(host, Host::on_think),
            Alarm::Late(wait) if wait == self.waits => {
                return Err(Failure::Conduct(format!("it takes too long.{}", self.state())));
            }
            Alarm::Late(_) | Alarm::Machine(_) | Alarm::Heal(_) => {}
        }
        Ok(())
    }

    fn state(&self) -> String {
        let head = format!(
            " {:?}, target {}, faulted {:?}",
            self.phase,
            if self.target.is_some() { "up" } else { "down" },
            self.faulted
        );
        self.hosts.iter().fold(head, |all, host| all + "\n  " + &host.state())
    }

    fn with_host(&mut self, index: usize, what: impl FnOnce(&mut Host, &mut Ctx<'_>)) {
        let mut hardware = self.hardware.borrow_mut();
        let host = &mut self.hosts[index];
        let faults = self.setup.disks.iter().map(|disk| &disk.faults);
        let errors =
            |faults: &disk::Faults| faults.read_error + faults.write_error + faults.sync_error > 0;
        let faulty = faults.into_iter().any(errors);
        let mut ctx = Ctx {
            hardware: &mut hardware,
            checker: &mut self.checker,
            failures: &mut self.failures,
            setup: &self.setup,
            faulty,
            faulted: &self.faulted,
            calm: self.phase != Phase::Busy,
        };
        what(host, &mut ctx);
    }

    /// Tells hosts what the network has for them.
    fn pass_news(&mut self) {
        loop {
            let news = self.hardware.borrow_mut().next_news();
            let Some(news) = news else {
                return;
            };
            let (News::Connected(conn)
            | News::Refused(conn)
            | News::Readable(conn, _)
            | News::Writable(conn, _)) = news
            else {
                continue;
            };
            let Some(host) = self.hosts.iter().position(|host| host.conn() == Some(conn)) else {
                self.on_stranger(news, conn);
                continue;
            };
            self.with_host(host, |host, ctx| match news {
                News::Connected(_) => host.on_connected(conn, ctx),
                News::Refused(_) => host.on_disconnected(conn, ctx),
                News::Readable(..) => host.on_readable(conn, ctx),
                _ => host.on_writable(conn, ctx),
            });
        }
    }

    // ---- the target ----

    fn start_target(&mut self) {
        if self.target.is_some() {
            return;
        }
        {
            let mut hardware = self.hardware.borrow_mut();
            hardware.net.restore_power();
            hardware.note(format_args!("the target starts, faulted {:?}", self.faulted));
        }
        let (setup, hardware) = (&self.setup, &self.hardware);
        let target = Target::start(setup, hardware, &self.access, &self.faulted, &mut self.rng);
        self.target = Some(target);
        self.stopping = false;
    }

    /// Hears what the target has to tell its control side, and whether it has stopped.
    fn watch_target(&mut self) -> Result<(), Failure> {
        let Some(target) = &mut self.target else {
            return Ok(());
        };
        for id in target.take_faults() {
            let volume = self.setup.volumes.iter().position(|volume| volume.id == id);
            let volume = volume.ok_or_else(|| Failure::Conduct(format!("who is volume {id}?")))?;
            self.hardware.borrow_mut().note(format_args!("volume {volume} is faulted"));
            self.faulted.insert(volume, self.checker.tick());
        }
        if self.stopping && target.has_ended() {
            self.hardware.borrow_mut().note(format_args!("the target has stopped"));
            self.waits += 1;
            self.end_process();
        } else if target.has_ended() {
            return Err(Failure::Conduct("the target has stopped by itself".to_owned()));
        }
        Ok(())
    }

    /// The target's process is no more; it starts again after a while.
    fn end_process(&mut self) {
        self.target = None;
        self.stopping = false;
        {
            let mut hardware = self.hardware.borrow_mut();
            if self.setup.has_memory() {
                hardware.net.lose_answers();
            }
            hardware.on_net(Net::end_process);
            let Hardware { disks, .. } = &mut *hardware;
            disks.iter_mut().for_each(|disk| disk.kill_process(&mut self.rng));
            journal::finish(&self.setup, disks);
        }
        let hosts = &self.hosts;
        let held = |id: WriteId| hosts.iter().find_map(|host| host.holds(id));
        self.checker.killed(held);
        let volumes = &self.setup.volumes;
        let wiped =
            self.checker.power_cut_on(|volume| volumes[volume].memory, held, |_, _| Content::Zero);
        self.failures.extend(wiped.err().map(Failure::Data));
        self.restart_later();
    }

    fn restart_later(&mut self) {
        self.waits += 1;
        self.finish_fence_by_death();
        let after = self.rng.time(Duration::ZERO..Duration::from_millis(500));
        let mut hardware = self.hardware.borrow_mut();
        let at = hardware.now() + after;
        hardware.schedule(at, Event::Alarm(Alarm::Start));
        if self.phase != Phase::Busy {
            hardware.schedule(at + PATIENCE, Event::Alarm(Alarm::Late(self.waits)));
        }
    }

    fn kill(&mut self) {
        self.crashes += 1;
        self.hardware.borrow_mut().note(format_args!("the target is killed"));
        self.end_process();
    }

    /// The power goes, and with it everything that was not on stable storage.
    fn cut_power(&mut self) -> Result<(), Failure> {
        self.crashes += 1;
        self.target = None;
        self.stopping = false;
        self.hosts.iter_mut().for_each(Host::expect_an_end);
        {
            let mut hardware = self.hardware.borrow_mut();
            hardware.note(format_args!("the power goes"));
            hardware.net.lose_power();
            let Hardware { disks, .. } = &mut *hardware;
            disks.iter_mut().for_each(|disk| disk.cut_power(&mut self.rng));
            journal::finish(&self.setup, disks);
        }
        let (hosts, setup, hardware) = (&self.hosts, &self.setup, self.hardware.borrow());
        let held = |id: WriteId| hosts.iter().find_map(|host| host.holds(id));
        self.checker.power_cut(held, |volume, lba| {
            if setup.volumes[volume].memory {
                return Content::Zero;
            }
            let (disk, at) = setup.place(volume, lba);
            let len = setup.volumes[volume].block_size as usize;
            Content::of(&hardware.disks[disk].peek(at, len))
        })?;
        drop(hardware);
        self.restart_later();
        Ok(())
    }

    /// Looks at every disk that a power cut at this moment could leave behind.
    fn cut_everywhere(&self) -> Result<(), Failure> {
        self.places.values().try_for_each(|(volume, lba)| self.cut_here(*volume, *lba))
    }

    /// Asks the target to stop in order.
    fn stop(&mut self) {
        let Some(target) = &self.target else {
            return;
        };
        self.stopping = true;
        self.waits += 1;
        // The replies come when all is over; that the shards end is looked at instead.
        drop(target.tell_all(Message::Stop));
        let mut hardware = self.hardware.borrow_mut();
        hardware.note(format_args!("the target is to stop"));
        let at = hardware.now() + STOP_PATIENCE;
        hardware.schedule(at, Event::Alarm(Alarm::Late(self.waits)));
    }

    fn set_chaos(&mut self) {
        let after = self.rng.time(Duration::ZERO..self.setup.chaos.every);
        let mut hardware = self.hardware.borrow_mut();
        let at = hardware.now() + after;
        hardware.schedule(at, Event::Alarm(Alarm::Chaos));
    }

    fn chaos(&mut self) -> Result<(), Failure> {
        if self.phase != Phase::Busy || self.setup.chaos.most == 0 {
            return Ok(());
        }
        self.setup.chaos.most -= 1;
        self.set_chaos();
        let Chaos { peace, power, kill, stop, block, reset, host, logout, fence, recover, .. } =
            self.setup.chaos;
        let stranger = self.setup.chaos.stranger;
        let weights =
            [peace, power, kill, stop, block, reset, host, logout, fence, recover, stranger];
        let mut at = self.rng.within(0..u64::from(weights.iter().sum::<u32>()));
        let chosen = weights.iter().position(|weight| match at.checked_sub((*weight).into()) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        match chosen {
            Some(1) if self.target.is_some() => self.cut_power()?,
            Some(2) if self.target.is_some() => self.kill(),
            Some(3) if self.target.is_some() && !self.stopping && self.fence.is_none() => {
                self.stop();
            }
            Some(4) => self.block(),
            Some(5) => self.reset(),
            Some(6) => {
                let (host, silently) = (self.rng.index(self.hosts.len()), self.rng.coin());
                self.with_host(host, |host, ctx| host.die(silently, ctx));
            }
            Some(7) => {
                let host = self.rng.index(self.hosts.len());
                self.with_host(host, Host::log_out);
            }
            Some(8) if !self.stopping => self.begin_fence(),
            Some(9) => self.recover(),
            Some(10) => self.send_stranger(),
            _ => {}
        }
        Ok(())
    }

    /// The operator looks after faulted volumes.
    fn recover(&mut self) {
        for volume in std::mem::take(&mut self.faulted).into_keys() {
            self.checker.recovered(volume);
            let setup = &self.setup.volumes[volume];
            // With the target down the operator's word goes into the catalog.
            if let Some(target) = &self.target {
                drop(target.tell_home(setup, |reply| Message::Recovered(setup.id, reply)));
            }
            self.hardware.borrow_mut().note(format_args!("volume {volume} is recovered"));
        }
    }
}

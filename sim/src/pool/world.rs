//! The world of one seed of the pool. [`World::step`] carries out one step of a task or one event of
//! the hardware, and everything that follows from it at once.

mod end;
mod machines;
mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use outband_control::secret::JoinToken;
use outband_pool_manager::store::memory::MemoryStore;
use uuid::Uuid;

use super::judge::Judge;
use super::kernel::{Kernel, Process};
use super::post::Post;
use super::run::Report;
use super::setup::Setup;
use super::unit::BLOCK_SIZE;
use super::user::{SharedDiary, User};
use super::watch::Watch;
use crate::checker::{Checker, WriteId};
use crate::disk::Disk;
use crate::hardware::{Event, Hardware, Shared};
use crate::net::{Net, News as Wire};
use crate::ring::RingId;
use crate::rng::Rng;
use crate::tag::Content;
use crate::trace::Trace;
use crate::workload::{Ctx, Host};
use crate::world::oracle::none_lands;
use crate::world::{Alarm, Failure};

/// Things go wrong for so long at most.
const BUSY_MAX: Duration = Duration::from_secs(400);
/// Virtual time until all is at rest once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(400);
/// Longer than a worker waits between two looks at a unit.
const REST: Duration = Duration::from_secs(12);

/// How far a world has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Users want things, and things go wrong.
    Busy,
    /// Nothing goes wrong any more, and jobs end.
    Calm,
    /// All jobs have ended: workers look once more at everything.
    Rest,
    /// Hosts read all that they have.
    Sweep,
    /// That was it.
    Over,
}

/// A host that is registered.
#[derive(Clone, Debug)]
struct Registered {
    name: String,
    iqn: String,
    secret: String,
}

/// A volume that a unit has, or had.
#[derive(Clone, Debug)]
struct Known {
    id: Uuid,
    unit: usize,
}

/// What a host's application knows of one of its volumes.
#[derive(Clone, Debug)]
struct Use {
    volume: usize,
    iqn: String,
    epoch: u64,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    hardware: Shared,
    kernel: Kernel,
    post: Post,
    watch: Watch,
    rng: Rng,
    token: JoinToken,
    station: machines::Station,
    units: Vec<machines::UnitMachine>,
    registered: Vec<Registered>,
    /// By their position in the setup's volumes.
    known: Vec<Known>,
    /// A host's use of one volume each.
    hosts: Vec<Host>,
    uses: Vec<Use>,
    checker: Checker,
    judge: Judge,
    /// Writes of deposed hosts: none may reach a disk any more.
    fenced: BTreeSet<WriteId>,
    diaries: Vec<SharedDiary>,
    /// Users begin nothing new.
    enough: Arc<AtomicBool>,
    /// Steps that processes have yet to live.
    fuses: BTreeMap<Process, u32>,
    phase: Phase,
    waits: u32,
    failures: Vec<Failure>,
    deaths: u64,
    steps: (u32, u32),
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
        let disks = setup.target.disks.iter().map(disk).collect();
        let net = Net::new(setup.target.net.clone());
        let hardware = Hardware::new(rng.fork(), net, disks, Trace::new(aloud));
        let kernel = Kernel::new(hardware.instant(), rng.fork());
        let watch = Watch::default();
        let post = Post::new(kernel.clone(), setup.post.clone(), rng.fork(), watch.clone());
        let store = Arc::new(MemoryStore::default());
        let (token, registered) = machines::found(&kernel, &store, &setup, &watch);
        let mut world = Self {
            hardware: hardware.shared(),
            units: machines::units(&setup, &mut rng),
            station: machines::Station { store, process: None },
            setup,
            kernel,
            post,
            watch,
            rng,
            token,
            registered,
            known: Vec::new(),
            hosts: Vec::new(),
            uses: Vec::new(),
            checker: Checker::default(),
            judge: Judge::default(),
            fenced: BTreeSet::new(),
            diaries: Vec::new(),
            enough: Arc::default(),
            fuses: BTreeMap::new(),
            phase: Phase::Busy,
            waits: 0,
            failures: Vec::new(),
            deaths: 0,
            steps: (0, 0),
        };
        world.start_station();
        (0..world.units.len()).for_each(|unit| world.start_unit(unit));
        (0..world.setup.users).for_each(|user| world.start_user(user));
        world.set_chaos();
        world.wait(BUSY_MAX);
        world
    }

    fn start_user(&mut self, index: usize) {
        let (process, machine) = self.kernel.process();
        let diary = SharedDiary::default();
        self.diaries.push(SharedDiary::clone(&diary));
        let user = User {
            index,
            at: Setup::user_at(index),
            station: Setup::station_at().ip(),
            post: self.post.clone(),
            machine,
            watch: self.watch.clone(),
            rng: self.rng.fork(),
            hosts: self.registered.iter().map(|host| host.name.clone()).collect(),
            names: self.setup.names,
            quota: self.setup.wishes,
            enough: Arc::clone(&self.enough),
            pause: self.setup.pause,
            diary,
            open: BTreeMap::new(),
            asked: 0,
        };
        self.kernel.spawn(process, user.run());
    }

    /// What all of it runs on.
    #[must_use]
    pub fn hardware(&self) -> Shared {
        Shared::clone(&self.hardware)
    }

    /// How much has happened; seed and hash are not known here.
    #[must_use]
    pub fn report(&self) -> Report {
        let jobs = self.diaries.iter().map(|diary| machines::read(diary).jobs.len() as u64);
        Report {
            seed: 0,
            hash: 0,
            jobs: jobs.sum(),
            calls: self.post.calls(),
            requests: self.hosts.iter().map(Host::done).sum(),
            deaths: self.deaths,
            steps: self.steps,
        }
    }

    /// One step or event, and what follows from it. False when the world is over.
    pub fn step(&mut self) -> Result<bool, Failure> {
        let task = self.kernel.next_time();
        let event = self.hardware.borrow().next_time();
        match (task, event) {
            (Some(task), event) if event.is_none_or(|event| task <= event) => {
                self.hardware.borrow_mut().advance(task);
                self.kernel.set_now(task);
                if let Some(process) = self.kernel.step() {
                    self.burn(process)?;
                }
            }
            (_, Some(_)) => self.on_event()?,
            (_, None) => {
                return Err(Failure::Conduct(format!("everybody waits for ever.{}", self.state())));
            }
        }
        self.pass_news();
        self.hear_watch()?;
        self.watch_writes()?;
        self.hardware.borrow_mut().hear_bells();
        self.go_on()?;
        match self.failures.drain(..).next() {
            Some(failure) => Err(failure),
            None => Ok(self.phase != Phase::Over),
        }
    }

    /// What is over is not on its way to a disk (P8), and what was promised to be on stable storage would
    /// survive if the power went now (P1 to P3).
    fn watch_writes(&mut self) -> Result<(), Failure> {
        let (ended, promised) = (self.checker.take_ended(), self.checker.take_promised());
        let hardware = self.hardware.borrow();
        none_lands(&hardware, &ended)?;
        for (volume, lba) in promised {
            let Known { id, unit } = &self.known[volume];
            let shelf = self.units[*unit].shelf.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(start) = shelf.start_of(*id) else {
                continue;
            };
            let at = start + u64::from(lba) * u64::from(BLOCK_SIZE);
            for content in hardware.disks[*unit].survivors(at) {
                self.checker.may_survive(volume, lba, content)?;
            }
        }
        Ok(())
    }

    /// A process has one step less to live.
    fn burn(&mut self, process: Process) -> Result<(), Failure> {
        if self.phase == Phase::Busy {
            self.steps.0 += u32::from(self.station.process == Some(process));
            self.steps.1 += u32::from(self.units[0].process == Some(process));
        }
        let Some(left) = self.fuses.get_mut(&process) else {
            return Ok(());
        };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        if self.station.process == Some(process) {
            self.kill_station();
        } else if let Some(unit) = self.unit_of(process) {
            self.kill_unit(unit, false)?;
        }
        Ok(())
    }

    fn on_event(&mut self) -> Result<(), Failure> {
        let event = self.hardware.borrow_mut().next_event();
        self.kernel.set_now(self.hardware.borrow().now());
        match event {
            Some(Event::Net(event)) => self.hardware.borrow_mut().on_net_event(event),
            Some(Event::Begin(ring, op)) => {
                let blocks = self.hardware.borrow().writes_of(ring, op, BLOCK_SIZE as usize);
                self.must_not_be_fenced(&blocks);
                self.hardware.borrow_mut().begin(ring, op);
            }
            Some(Event::End(ring, op)) => self.hardware.borrow_mut().end(ring, op),
            Some(Event::Turn(ring) | Event::Deadline(ring)) => self.turn(ring)?,
            Some(Event::Alarm(alarm)) => self.on_alarm(alarm)?,
            None => {}
        }
        Ok(())
    }

    fn turn(&mut self, ring: RingId) -> Result<(), Failure> {
        let due = {
            let mut hardware = self.hardware.borrow_mut();
            hardware.take_turn(ring) || hardware.is_timed_out(ring)
        };
        let mut targets = self.units.iter_mut().filter_map(|unit| unit.target.as_mut());
        if let Some(target) = targets.find(|target| target.has(ring)).filter(|_| due) {
            target.turn(ring).map_err(Failure::Conduct)?;
        }
        Ok(())
    }

    /// No write of a deposed host lands after its fence.
    fn must_not_be_fenced(&mut self, blocks: &[Content]) {
        for block in blocks {
            if let Content::Written(tag) = block
                && self.fenced.contains(&WriteId(tag.write))
            {
                self.failures.push(Failure::Conduct(format!(
                    "write {} of a deposed host goes to the disk: {block}",
                    tag.write
                )));
            }
        }
    }

    fn on_alarm(&mut self, alarm: Alarm) -> Result<(), Failure> {
        match alarm {
            Alarm::Chaos => self.chaos()?,
            Alarm::Unblock(conn, side) => {
                self.hardware.borrow_mut().on_net(|net, now, _| net.unblock(conn, side, now));
            }
            Alarm::Timer(host) => self.with_host(host, Host::on_timer),
            Alarm::Think(host) => self.with_host(host, Host::on_think),
            Alarm::Late(wait) if wait == self.waits => self.on_late()?,
            Alarm::Late(_) | Alarm::Start => {}
            Alarm::Machine(0) => self.start_station(),
            Alarm::Machine(unit) => self.start_unit(unit - 1),
            Alarm::Heal(machine) => self.heal(machine),
        }
        Ok(())
    }

    fn on_late(&mut self) -> Result<(), Failure> {
        match self.phase {
            Phase::Busy => self.calm_down(),
            Phase::Rest => self.sweep(),
            Phase::Calm | Phase::Sweep => {
                Err(Failure::Conduct(format!("it takes too long.{}", self.state())))
            }
            Phase::Over => Ok(()),
        }
    }

    fn with_host(&mut self, index: usize, what: impl FnOnce(&mut Host, &mut Ctx<'_>)) {
        let mut hardware = self.hardware.borrow_mut();
        let faulted = BTreeMap::new();
        let mut ctx = Ctx {
            hardware: &mut hardware,
            checker: &mut self.checker,
            failures: &mut self.failures,
            setup: &self.setup.target,
            faulty: false,
            faulted: &faulted,
            calm: false,
        };
        what(&mut self.hosts[index], &mut ctx);
    }

    /// Tells hosts what the network has for them.
    fn pass_news(&mut self) {
        loop {
            let news = self.hardware.borrow_mut().next_news();
            let Some(news) = news else {
                return;
            };
            let (Wire::Connected(conn)
            | Wire::Refused(conn)
            | Wire::Readable(conn, _)
            | Wire::Writable(conn, _)) = news
            else {
                continue;
            };
            let Some(host) = self.hosts.iter().position(|host| host.conn() == Some(conn)) else {
                continue;
            };
            self.with_host(host, |host, ctx| match news {
                Wire::Connected(_) => host.on_connected(conn, ctx),
                Wire::Refused(_) => host.on_disconnected(conn, ctx),
                Wire::Readable(..) => host.on_readable(conn, ctx),
                _ => host.on_writable(conn, ctx),
            });
        }
    }

    /// Has something happen if the world has not gone on until then.
    fn wait(&mut self, most: Duration) {
        self.waits += 1;
        let mut hardware = self.hardware.borrow_mut();
        let at = hardware.now() + most;
        hardware.schedule(at, Event::Alarm(Alarm::Late(self.waits)));
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.hardware.borrow_mut().note(what);
    }

    fn stop_wishes(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }
}

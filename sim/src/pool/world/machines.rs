//! The station's and the units' machines: how they start, die and are cut off.

use std::sync::{Arc, Mutex, PoisonError};

use outband_control::machine::SharedMachine;
use outband_pool_api::HostRequest;
use outband_pool_manager::app;
use outband_pool_manager::app::{Caller, Policy};
use outband_pool_manager::store::Shared as SharedStore;
use outband_target_server::exports::Exports;
use outband_target_server::server::Server;
use tokio::sync::watch as signal;

use super::*;
use crate::net::Side;
use crate::pool::flash::Flash;
use crate::pool::unit::{Place, Shelf, SimUnit};
use crate::pool::user::Diary;
use crate::pool::watch::Place as Secret;
use crate::pool::{station, unit};
use crate::target::Target;

/// The station's machine.
#[derive(Debug)]
pub(super) struct Station {
    /// What outlives its processes.
    pub(super) store: Arc<MemoryStore>,
    pub(super) process: Option<Process>,
}

/// A unit's machine.
#[derive(Debug)]
pub(super) struct UnitMachine {
    /// What outlives its processes.
    pub(super) shelf: Arc<Mutex<Shelf>>,
    flash: Flash,
    pub(super) target: Option<Target>,
    pub(super) process: Option<Process>,
    /// Asks the process to stop.
    stop: Option<signal::Sender<bool>>,
}

pub(super) fn read(diary: &SharedDiary) -> Diary {
    diary.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Waits for nothing: for futures of a store in memory.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => unreachable!("a store in memory answers at once"),
    }
}

/// The station's first start, in peace: the join token and the hosts are there from then on.
pub(super) fn found(
    kernel: &Kernel,
    store: &Arc<MemoryStore>,
    setup: &Setup,
    watch: &Watch,
) -> (JoinToken, Vec<Registered>) {
    let (_, machine) = kernel.process();
    let store: SharedStore = Arc::clone(store) as SharedStore;
    let opened = at_once(app::Station::open_on(machine, store, "sim", Policy::Auto));
    let station = opened.expect("an empty store opens");
    at_once(station.ensure_join_token()).expect("a store in memory takes all");
    let token = at_once(station.join_token(&Caller::ADMIN)).expect("it was made");
    watch.keep_secret(token.token.expose(), "the join token", Secret::Nowhere);
    let register = |index: usize| {
        let name = format!("host-{index}");
        let iqn = format!("iqn.2026-11.local.outband:{name}");
        let ask = HostRequest { name: name.clone(), iqn: iqn.clone(), quota: None, mutual: false };
        let made = at_once(station.add_host(&Caller::ADMIN, ask)).expect("a new name");
        watch.keep_secret(made.token.expose(), "a host's token", Secret::Nowhere);
        let secret = made.chap.secret.expose().to_owned();
        watch.keep_secret(&secret, "a CHAP secret", Secret::GrantTo(iqn.clone()));
        Registered { name, iqn, secret }
    };
    let registered = (0..setup.hosts).map(register).collect();
    (JoinToken::new(token.token.expose()), registered)
}

/// Units that have never been started.
pub(super) fn units(setup: &Setup, rng: &mut Rng) -> Vec<UnitMachine> {
    let id = |rng: &mut Rng| {
        let mut bytes = [0; 16];
        rng.fill(&mut bytes);
        Uuid::from_bytes(bytes)
    };
    let unit = |index: usize| {
        let mut shelf = Shelf::new(id(rng), index, setup.capacity << 20);
        for number in 0..setup.stocked {
            shelf.stock(&format!("old-{index}-{number}"), id(rng), 1 << 20);
        }
        let shelf = Arc::new(Mutex::new(shelf));
        let flash = if setup.lying { Flash::lying() } else { Flash::default() };
        UnitMachine { shelf, flash, target: None, process: None, stop: None }
    };
    (0..setup.units).map(unit).collect()
}

impl World {
    pub(super) fn unit_of(&self, process: Process) -> Option<usize> {
        self.units.iter().position(|unit| unit.process == Some(process))
    }

    pub(super) fn start_station(&mut self) {
        if self.station.process.is_some() {
            return;
        }
        let (process, machine) = self.kernel.process();
        self.note(format_args!("the station starts as {process:?}"));
        let store = Arc::clone(&self.station.store);
        let at = Setup::station_at();
        let (post, watch) = (self.post.clone(), self.watch.clone());
        self.kernel.spawn(process, station::run(machine, store, at, post, watch));
        self.station.process = Some(process);
        if let Some(steps) = self.setup.station_dies_after.take() {
            self.fuses.insert(process, steps);
        }
    }

    pub(super) fn kill_station(&mut self) {
        let Some(process) = self.station.process.take() else {
            return;
        };
        self.deaths += 1;
        self.note(format_args!("the station is killed"));
        self.kernel.kill(process);
        self.restart(0);
    }

    fn restart(&mut self, machine: usize) {
        let most = self.rng.pick(&[100, 3000, 15_000].map(Duration::from_millis));
        let after = self.rng.time(Duration::ZERO..most);
        let mut hardware = self.hardware.borrow_mut();
        let at = hardware.now() + after;
        hardware.schedule(at, Event::Alarm(Alarm::Machine(machine)));
    }

    pub(super) fn start_unit(&mut self, index: usize) {
        if self.units[index].process.is_some() {
            return;
        }
        let (process, machine) = self.kernel.process();
        self.note(format_args!("unit {index} starts as {process:?}"));
        let portals = self.setup.portals(index);
        let names = self.setup.target.names();
        let access = outband_control::access::AccessTable::new(names.clone());
        let exports = Exports::new(access, portals.iter().map(|portal| (*portal).into()).collect());
        let shared = Arc::new(exports.clone());
        let setup = &self.setup.target;
        let target = Target::bare(setup, &self.hardware, shared, &portals, &mut self.rng);
        let addresses = target.addresses();
        let server = Server::of_shards(addresses, exports, portals.clone(), names.clone());
        let at = Setup::unit_at(index);
        let place = Place {
            api: (at, 7401).into(),
            socket: (at, 7402).into(),
            station: Setup::station_at(),
            portals,
            token: self.token.clone(),
            names,
        };
        let (stop, stopped) = signal::channel(false);
        let machine: SharedMachine = machine;
        let own = &mut self.units[index];
        let (shelf, watch) = (Arc::clone(&own.shelf), self.watch.clone());
        let unit = Arc::new(SimUnit { index, shelf, server, machine, watch });
        let life = unit::run(unit, own.flash.open(), place, self.post.clone(), stopped);
        self.kernel.spawn(process, life);
        own.target = Some(target);
        own.process = Some(process);
        own.stop = Some(stop);
        if index == 0
            && let Some(steps) = self.setup.unit_dies_after.take()
        {
            self.fuses.insert(process, steps);
        }
    }

    /// The unit's process is killed, or its machine loses its `power`.
    pub(super) fn kill_unit(&mut self, index: usize, power: bool) -> Result<(), Failure> {
        let Some(process) = self.units[index].process.take() else {
            return Ok(());
        };
        self.deaths += 1;
        self.note(format_args!("unit {index} dies, power {power}"));
        self.kernel.kill(process);
        let portals = self.setup.portals(index);
        let unit = &mut self.units[index];
        unit.target = None;
        unit.stop = None;
        unit.flash.kill();
        {
            let mut hardware = self.hardware.borrow_mut();
            if power {
                hardware.net.lose_answers_at(|at| portals.contains(&at));
            }
            // A machine that comes back answers what it does not know with resets, which is the same.
            hardware.on_net(|net, now, rng| {
                net.end_process_at(|at| portals.contains(&at), now, rng);
            });
            let disk = &mut hardware.disks[index];
            match power {
                true => disk.cut_power(&mut self.rng),
                false => disk.kill_process(&mut self.rng),
            }
        }
        if power {
            unit.flash.cut_power(&mut self.rng);
            self.check_survivors(index)?;
        }
        let known = &self.known;
        self.judge.died(index, |id| known.iter().any(|k| k.id == id && k.unit == index));
        self.restart(index + 1);
        Ok(())
    }

    /// What the power cut has left of a unit's volumes.
    fn check_survivors(&mut self, unit: usize) -> Result<(), Failure> {
        let (hosts, known, hardware) = (&self.hosts, &self.known, self.hardware.borrow());
        let starts = self.units[unit].shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |volume: usize, lba: u32| {
            let start = starts.start_of(known[volume].id);
            start.map(|start| start + u64::from(lba) * u64::from(BLOCK_SIZE))
        };
        let held = |id: WriteId| hosts.iter().find_map(|host| host.holds(id));
        let here = |volume: usize| place(volume, 0).is_some();
        self.checker.power_cut_on(here, held, |volume, lba| {
            let at = place(volume, lba).expect("only volumes that are here are asked for");
            Content::of(&hardware.disks[unit].peek(at, BLOCK_SIZE as usize))
        })?;
        Ok(())
    }

    /// The unit is asked to stop.
    fn leave(&mut self, index: usize) {
        if let Some(stop) = &self.units[index].stop {
            self.hardware.borrow_mut().note(format_args!("unit {index} is to stop"));
            stop.send_replace(true);
        }
    }

    /// It has stopped in order.
    pub(super) fn stopped(&mut self, index: usize) -> Result<(), Failure> {
        self.kill_unit(index, false)
    }

    fn cut_off(&mut self, machine: usize) {
        let at = self.address_of(machine);
        self.post.cut(at, true);
        let after = self.rng.time(Duration::ZERO..Duration::from_secs(30));
        let mut hardware = self.hardware.borrow_mut();
        hardware.note(format_args!("{at} is cut off for {after:?}"));
        let heals = hardware.now() + after;
        hardware.schedule(heals, Event::Alarm(Alarm::Heal(machine)));
    }

    pub(super) fn heal(&mut self, machine: usize) {
        self.post.cut(self.address_of(machine), false);
    }

    fn address_of(&self, machine: usize) -> std::net::IpAddr {
        match machine.checked_sub(1) {
            None => Setup::station_at().ip(),
            Some(unit) => Setup::unit_at(unit),
        }
    }

    pub(super) fn set_chaos(&mut self) {
        let after = self.rng.time(Duration::ZERO..self.setup.chaos.every);
        let mut hardware = self.hardware.borrow_mut();
        let at = hardware.now() + after;
        hardware.schedule(at, Event::Alarm(Alarm::Chaos));
    }

    pub(super) fn chaos(&mut self) -> Result<(), Failure> {
        if self.phase != Phase::Busy || self.setup.chaos.most == 0 {
            return Ok(());
        }
        self.setup.chaos.most -= 1;
        self.set_chaos();
        let chaos = self.setup.chaos;
        let weights = [
            chaos.peace,
            chaos.station,
            chaos.unit,
            chaos.power,
            chaos.leave,
            chaos.partition,
            chaos.reset,
            chaos.host,
        ];
        let unit = self.rng.index(self.units.len());
        // Death comes at once or some steps later: most of the time nobody is in the middle of
        // anything, but after so many steps somebody is.
        let steps = u32::try_from(self.rng.within(0..120)).expect("a few");
        match self.rng.weighted(&weights) {
            1 => self.light(self.station.process, steps),
            2 => self.light(self.units[unit].process, steps),
            3 => self.kill_unit(unit, true)?,
            4 => self.leave(unit),
            5 => {
                let machine = self.rng.index(self.units.len() + 1);
                self.cut_off(machine);
            }
            6 => self.break_connection(),
            7 if !self.hosts.is_empty() => {
                let (host, silently) = (self.rng.index(self.hosts.len()), self.rng.coin());
                self.with_host(host, |host, ctx| host.die(silently, ctx));
            }
            _ => {}
        }
        Ok(())
    }

    /// A process has so many more steps to live.
    fn light(&mut self, process: Option<Process>, steps: u32) {
        if let Some(process) = process {
            self.fuses.insert(process, steps);
        }
    }

    /// A host's connection is blocked for a while, or reset.
    fn break_connection(&mut self) {
        let conns: Vec<_> = self.hosts.iter().filter_map(Host::conn).collect();
        if conns.is_empty() {
            return;
        }
        let conn = self.rng.pick(&conns);
        let (side, reset) = (self.rng.pick(&[Side::Host, Side::Target]), self.rng.coin());
        let after = self.rng.time(Duration::ZERO..Duration::from_secs(8));
        let mut hardware = self.hardware.borrow_mut();
        hardware.note(format_args!("{conn:?} is blocked to {side:?} for {after:?}"));
        hardware.net.block(conn, side);
        let at = hardware.now() + after;
        hardware.schedule(at, Event::Alarm(Alarm::Unblock(conn, side)));
        if reset {
            hardware.on_net(|net, now, rng| net.reset(conn, Side::Target, now, rng));
        }
    }
}

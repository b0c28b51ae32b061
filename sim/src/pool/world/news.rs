//! What the watch has seen, and what follows from it for hosts and for the judge.

use std::ops::Range;
use std::sync::PoisonError;

use outband_control::api::Fence;
use outband_pool_api::Volume;
use outband_protocol::ids::IscsiName;
use outband_protocol::keys::DigestWish;
use outband_target_server::media::{WritePolicy, ZeroWith};

use super::*;
use crate::pool::watch::News;
use crate::setup::{HostSetup, VolumeSetup, offer, timing};

/// Blocks of a volume that hosts use: the first ones.
const USED: u32 = 48;

impl World {
    /// Hears all that was seen since the last step.
    pub(super) fn hear_watch(&mut self) -> Result<(), Failure> {
        for news in self.watch.take() {
            match news {
                News::Note(what) => self.note(format_args!("{what}")),
                News::Wrong(what) => return Err(Failure::Conduct(what)),
                News::Made { unit, id, name, cached } => self.on_made(unit, id, &name, cached),
                News::Publishing { unit, grants } => {
                    self.note(format_args!("unit {unit} publishes {grants:?}"));
                    self.on_publishing(unit, grants)?;
                }
                News::Drained { unit, fence } => self.on_drained(unit, &fence),
                News::Fenced { unit, fence } => {
                    if let Some(id) = self.id_of(unit, fence.subject.volume()) {
                        let judged = self.judge.acknowledged(id, &fence.host, fence.epoch.0);
                        judged.map_err(Failure::Conduct)?;
                    }
                }
                News::Granted(volume) => self.on_granted(&volume)?,
                News::Stopped { unit } => self.stopped(unit)?,
            }
        }
        Ok(())
    }

    fn on_publishing(
        &mut self,
        unit: usize,
        grants: Vec<(String, String, u64)>,
    ) -> Result<(), Failure> {
        let is_first = !self.judge.has_table(unit);
        let judge = &mut self.judge;
        let shelf = self.units[unit].shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let id_of = |name: &str| shelf.id_of(name);
        judge.publishing(unit, grants, id_of).map_err(Failure::Conduct)?;
        drop(shelf);
        if is_first {
            self.depose_who_is_not_back(unit);
        }
        Ok(())
    }

    /// A unit that was killed inside of a fence has stored it and drained nothing: its death did that.
    fn depose_who_is_not_back(&mut self, unit: usize) {
        let table = self.judge.table(unit);
        for index in 0..self.uses.len() {
            let used = &self.uses[index];
            let name = &self.setup.target.volumes[used.volume].name;
            let given = table.get(name).is_some_and(|given| given.epoch == used.epoch);
            if self.known[used.volume].unit == unit && !given && self.hosts[index].is_granted() {
                self.depose(index);
            }
        }
    }

    fn id_of(&self, unit: usize, name: &str) -> Option<Uuid> {
        self.units[unit].shelf.lock().unwrap_or_else(PoisonError::into_inner).id_of(name)
    }

    fn on_made(&mut self, unit: usize, id: Uuid, name: &str, cached: bool) {
        if self.known.iter().any(|known| known.id == id) {
            return;
        }
        self.note(format_args!("unit {unit} has {name} as volume {}", self.known.len()));
        self.checker.add(self.known.len(), USED);
        self.known.push(Known { id, unit });
        self.setup.target.volumes.push(VolumeSetup {
            id,
            name: name.to_owned(),
            shard: 0,
            blocks: USED,
            block_size: BLOCK_SIZE,
            policy: if cached { WritePolicy::High } else { WritePolicy::Normal },
            zero: ZeroWith::Range,
            pieces: Vec::new(),
            hosts: Vec::new(),
            exclusive: true,
            memory: false,
            atomic: false,
        });
    }

    /// A host's use of a volume is over.
    fn on_drained(&mut self, unit: usize, fence: &Fence) {
        let (host, epoch) = (&fence.host, fence.epoch.0);
        let Some(id) = self.id_of(unit, fence.subject.volume()) else {
            return;
        };
        self.judge.drained(id, host, epoch);
        for index in 0..self.uses.len() {
            let used = &self.uses[index];
            if self.known[used.volume].id != id || used.iqn != *host || used.epoch > epoch {
                continue;
            }
            self.depose(index);
        }
    }

    fn depose(&mut self, index: usize) {
        if self.hosts[index].is_granted() {
            self.note(format_args!("host use {index} is deposed"));
        }
        self.fenced.extend(self.hosts[index].open_writes());
        self.with_host(index, |host, ctx| host.set_granted(false, ctx));
        // What it has under way at this moment would land afterwards.
        let blocks = self.hardware.borrow().writes_under_way(BLOCK_SIZE as usize);
        self.must_not_be_fenced(&blocks);
    }

    /// A host's application is told of its volume, and begins to use it.
    fn on_granted(&mut self, volume: &Volume) -> Result<(), Failure> {
        let Some(connection) = &volume.connection else {
            return Ok(());
        };
        let found = self.known.iter().position(|known| known.id == volume.id);
        let Some(position) = found else {
            let what = format!("{} is granted, and no unit has it", volume.name);
            return Err(Failure::Conduct(what));
        };
        let iqn = connection.initiator.clone();
        let quota = u32::try_from(self.rng.within(5..40)).expect("a few");
        let same = |used: &Use| used.volume == position && used.iqn == iqn;
        let index = match self.uses.iter().position(same) {
            Some(index) => index,
            None => self.new_host(position, &iqn, &connection.portals),
        };
        self.note(format_args!("host use {index} is {iqn} on {} {}", volume.name, volume.epoch));
        self.uses[index].epoch = volume.epoch;
        self.hosts[index].want(quota);
        self.with_host(index, |host, ctx| host.set_granted(true, ctx));
        Ok(())
    }

    fn new_host(&mut self, volume: usize, iqn: &str, portals: &[String]) -> usize {
        let index = self.hosts.len();
        let portal = self.rng.index(portals.len());
        let host = self.registered.iter().find(|host| host.iqn == iqn).expect("it is registered");
        let name = IscsiName::new(iqn).expect("a name");
        let wish = if self.rng.chance(200) { DigestWish::Require } else { DigestWish::Allow };
        let pause: Range<Duration> =
            Duration::ZERO..self.rng.pick(&[5, 60].map(Duration::from_millis));
        let setup = HostSetup {
            name,
            chap: (host.name.clone(), host.secret.clone()),
            address: [10, 4, 0, u8::try_from(index % 250 + 1).expect("below 251")].into(),
            portal: portals[portal].parse().expect("portals are addresses"),
            volume,
            writes: 0..USED,
            repeats: self.rng.coin(),
            depth: self.rng.pick(&[1, 4, 16]),
            offer: offer(&mut self.rng, wish),
            quota: 0,
            blocks_max: self.rng.pick(&[1, 8]),
            eager: 200,
            reads: 0,
            syncs: 0,
            fua: self.rng.pick(&[0, 100]),
            pause,
            hasty: 0,
            damage: 0,
            timing: timing(),
            script: Vec::new(),
        };
        self.hosts.push(Host::new(index, setup, false, self.rng.fork()));
        self.uses.push(Use { volume, iqn: iqn.to_owned(), epoch: 0 });
        index
    }
}

//! The target under test: the real shards, over simulated rings.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outband_control::access::AccessTable;
use outband_protocol::ids::IscsiName;
use outband_ring::Ring;
use outband_target_server::exports::{DEFAULT_GROUP, Exports, Route};
use outband_target_server::media::WritePolicy;
use outband_target_server::scsi::{LuConfig, TargetPort};
use outband_target_server::shard::mailbox::{
    Address, JournalConfig, Message, SegmentConfig, TargetConfig, VolumeConfig, mailbox,
};
use outband_target_server::shard::{Settings, Shard};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::checker::Tick;
use crate::hardware::Shared;
use crate::journal::{device_of, slots_of};
use crate::ring::{RingId, SimHandle, SimRing, SimWaker};
use crate::rng::Rng;
use crate::setup::{Setup, VolumeSetup};

/// Turns in a row, at one moment, after which a shard is taken to go round in circles.
const TURNS_MAX: u32 = 10_000;

type Reply = oneshot::Receiver<()>;

/// A running target.
pub struct Target {
    shards: Vec<(RingId, Option<Shard<SimRing>>)>,
    addresses: Vec<Address<SimHandle, SimWaker>>,
    /// Volumes that became faulted, as control would write it down at once.
    faults: Arc<Mutex<Vec<Uuid>>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

impl Target {
    /// Starts one. `faulted` are the volumes that were faulted before.
    #[must_use]
    pub fn start(
        setup: &Setup,
        hardware: &Shared,
        access: &AccessTable,
        faulted: &BTreeMap<usize, Tick>,
        rng: &mut Rng,
    ) -> Self {
        let exports = Arc::new(exports(setup, access));
        let portals: Vec<_> = (0..setup.shards).map(|shard| setup.portal(shard)).collect();
        let target = Self::bare(setup, hardware, exports, &portals, rng);
        for (index, volume) in setup.volumes.iter().enumerate() {
            let config = config(setup, index, volume, faulted.contains_key(&index));
            target.send(volume.shard, |reply| Message::Attach(Box::new(config), reply));
        }
        hardware.borrow_mut().hear_bells();
        target
    }

    /// Shards that serve nothing yet, one at each portal.
    #[must_use]
    pub fn bare(
        setup: &Setup,
        hardware: &Shared,
        exports: Arc<Exports>,
        portals: &[SocketAddr],
        rng: &mut Rng,
    ) -> Self {
        let (mut rings, mut addresses, mut boxes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in portals {
            let ring = SimRing::new(hardware, setup.ring_limit).with_spot(setup.spot);
            let (address, receiver) = mailbox(ring.waker());
            rings.push(ring);
            addresses.push(address);
            boxes.push(receiver);
        }
        let faults = Arc::new(Mutex::new(Vec::new()));
        let mut shards = Vec::new();
        for (index, (ring, receiver)) in rings.into_iter().zip(boxes).enumerate() {
            let (id, mut random) = (ring.id(), rng.fork());
            let entropy = Box::new(move |bytes: &mut [u8]| random.fill(bytes));
            let settings = settings(setup, index);
            let exports = Arc::clone(&exports);
            let mut shard =
                Shard::new(ring, settings, receiver, addresses.clone(), exports, entropy);
            let told = Arc::clone(&faults);
            shard.on_fault(Box::new(move |volume| {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(volume);
            }));
            let listener = hardware.borrow_mut().listen(portals[index]);
            shard.listen(SimHandle::Listener(listener), DEFAULT_GROUP);
            hardware.borrow_mut().want_turn(id);
            shards.push((id, Some(shard)));
        }
        Self { shards, addresses, faults }
    }

    /// Where messages to its shards go.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address<SimHandle, SimWaker>> {
        self.addresses.clone()
    }

    /// Whether a ring is one of its shards'.
    #[must_use]
    pub fn has(&self, ring: RingId) -> bool {
        self.shards.iter().any(|(id, _)| *id == ring)
    }

    /// Sends a message; the reply comes later.
    fn send(
        &self,
        shard: usize,
        message: impl FnOnce(oneshot::Sender<()>) -> Message<SimHandle>,
    ) -> Reply {
        let (sender, receiver) = oneshot::channel();
        self.addresses[shard].send(message(sender));
        receiver
    }

    /// The same to every shard.
    pub fn tell_all(
        &self,
        message: impl Fn(oneshot::Sender<()>) -> Message<SimHandle>,
    ) -> Vec<Reply> {
        (0..self.shards.len()).map(|shard| self.send(shard, &message)).collect()
    }

    /// The same to the shard of a volume.
    pub fn tell_home(
        &self,
        volume: &VolumeSetup,
        message: impl FnOnce(oneshot::Sender<()>) -> Message<SimHandle>,
    ) -> Reply {
        self.send(volume.shard, message)
    }

    /// Who may use what, from now on.
    pub fn publish(&self, setup: &Setup, access: &AccessTable) -> Vec<Reply> {
        let exports = Arc::new(exports(setup, access));
        self.tell_all(|reply| Message::Exports(Arc::clone(&exports), reply))
    }

    /// Lets a shard take turns until there is nothing to do. An error is the shard's.
    pub fn turn(&mut self, ring: RingId) -> Result<(), String> {
        let found = self.shards.iter_mut().find(|(id, _)| *id == ring);
        let Some((_, slot @ Some(_))) = found else {
            return Ok(());
        };
        for _ in 0..TURNS_MAX {
            let Some(shard) = slot else {
                return Ok(());
            };
            match shard.turn() {
                Ok(true) => {}
                Ok(false) => *slot = None,
                Err(error) => return Err(format!("a shard's turn failed: {error}")),
            }
            if !slot.as_mut().is_some_and(|shard| shard.ring().has_work()) {
                return Ok(());
            }
        }
        Err("a shard goes round in circles".to_owned())
    }

    /// Whether every shard has ended after a stop.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shards.iter().all(|(_, shard)| shard.is_none())
    }

    /// Volumes that became faulted since the last call.
    pub fn take_faults(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut *self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn settings(setup: &Setup, index: usize) -> Settings {
    Settings {
        index,
        offer: setup.offer.clone(),
        buffer_bytes: setup.buffer_bytes,
        receive_bytes: 512 << 10,
        tasks: setup.tasks,
        connections: 64,
        login_deadline: Duration::from_secs(5),
        drain_deadline: Duration::from_secs(3),
        logout_wait: Duration::from_secs(2),
        slow_io: None,
        ping_after: Duration::from_secs(3),
    }
}

fn exports(setup: &Setup, access: &AccessTable) -> Exports {
    let portals = (0..setup.shards).map(|shard| setup.portal(shard).into()).collect();
    let mut exports = Exports::new(access.clone(), portals);
    for (index, volume) in setup.volumes.iter().enumerate() {
        let route = Route {
            shard: volume.shard,
            target: volume.id,
            volume: volume.id,
            block_size: volume.block_size,
            blocks: volume.blocks.into(),
        };
        exports.targets.insert(setup.target(index).to_string(), route);
    }
    exports
}

fn config(
    setup: &Setup,
    index: usize,
    volume: &VolumeSetup,
    faulted: bool,
) -> VolumeConfig<SimHandle> {
    let name = setup.target(index);
    let segment = |(disk, at, len): &(usize, u64, u64)| SegmentConfig {
        device: device_of(*disk),
        len: *len,
        file: (!volume.memory).then_some((SimHandle::Disk(*disk), *at, volume.zero)),
    };
    let write_cache = volume.policy == WritePolicy::High;
    let lu = logical_unit(volume.id, &name, volume.blocks.into(), volume.block_size, write_cache);
    let lu = LuConfig { atomic: volume.atomic, ..lu };
    let home = volume.pieces.first().filter(|_| volume.atomic).map(|(disk, ..)| *disk);
    VolumeConfig {
        id: volume.id,
        write_policy: volume.policy,
        faulted,
        journal: home.map(|disk| journal_of(disk, volume.shard, setup.shards)),
        segments: volume.pieces.iter().map(segment).collect(),
        targets: vec![TargetConfig { id: volume.id, name, start: 0, lu }],
        ledgers: Vec::new(),
    }
}

/// A shard's part of the journal of a disk.
fn journal_of(disk: usize, shard: usize, shards: usize) -> JournalConfig<SimHandle> {
    JournalConfig {
        device: device_of(disk),
        file: SimHandle::Disk(disk),
        slots: slots_of(shard, shards),
        pages: Vec::new(),
        marked: BTreeMap::new(),
    }
}

/// What the logical unit of a whole volume says of itself.
pub(crate) fn logical_unit(
    id: Uuid,
    target: &IscsiName,
    blocks: u64,
    block_size: u32,
    write_cache: bool,
) -> LuConfig {
    let port = TargetPort::first(target.to_string());
    let config = LuConfig::new(id, port, blocks, block_size);
    LuConfig { write_cache, unmap: true, ..config }
}

//! One unit: its name, its secret, and what it says it stores.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use outband_control::access::{Epoch, Grant};
use outband_control::api::{
    DeviceInfo, GrantInfo, Inventory, Storage, UnitInfo, VolumeCreate, VolumeInfo, VolumeState,
    WritePolicy,
};
use outband_control::secret::UnitSecret;
use uuid::Uuid;

use super::seed;

/// Bytes on its one device.
const CAPACITY: u64 = 1 << 40;
const BLOCK: u64 = 512;

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) number: usize,
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    was_read: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) secret: Option<UnitSecret>,
    pub(super) volumes: Vec<VolumeInfo>,
    pub(super) grants: Vec<GrantInfo>,
    /// Volumes made since the start.
    made: u64,
}

impl Unit {
    /// With the volumes that [`seed`] has written down.
    pub(super) fn new(number: usize, volumes: usize) -> Self {
        let mut state = State::default();
        for volume in (0..volumes).map(|volume| seed::volume(number, volume)) {
            state.grants.push(GrantInfo {
                subject: volume.name.parse().expect("the name is made of letters and digits"),
                host: seed::iqn(number),
                epoch: Epoch(1),
                sources: Vec::new(),
                sessions_per_portal: 1,
                target: volume.target.clone(),
            });
            state.volumes.push(volume);
        }
        Self {
            number,
            id: seed::unit_id(number),
            name: format!("unit-{number:05}"),
            address: address(number),
            was_read: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is the first time.
    pub(super) fn note_reader(&self) -> bool {
        !self.was_read.swap(true, Ordering::Relaxed)
    }

    pub(super) fn forget_reader(&self) {
        self.was_read.store(false, Ordering::Relaxed);
    }

    pub(super) fn inventory(&self) -> Inventory {
        let state = self.state();
        let used: u64 = state.volumes.iter().map(|volume| volume.size).sum();
        let free = CAPACITY - used;
        let device = DeviceInfo {
            id: self.id,
            path: "/dev/simulated".to_owned(),
            kind: "file".to_owned(),
            size: CAPACITY,
            free,
            volatile: false,
            faulted: false,
        };
        Inventory {
            unit: UnitInfo {
                id: self.id,
                name: self.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                portals: Vec::new(),
                interfaces: Vec::new(),
                enrolled: state.secret.is_some(),
            },
            storage: Storage {
                devices: vec![device],
                volumes: state.volumes.clone(),
                free,
                largest_free: free,
            },
            grants: state.grants.clone(),
        }
    }
}

impl State {
    pub(super) fn create(&mut self, unit: usize, ask: &VolumeCreate) -> VolumeInfo {
        self.made += 1;
        let id = Uuid::from_u128((0x0eb0 << 112) | ((unit as u128) << 64) | u128::from(self.made));
        let volume = VolumeInfo { untouched: true, ..volume(id, &ask.name, ask.size, Epoch(0)) };
        self.volumes.push(volume.clone());
        volume
    }

    pub(super) fn grant(&mut self, grant: &Grant) -> Option<GrantInfo> {
        let name = grant.subject.to_string();
        let volume = self.volumes.iter_mut().find(|volume| volume.name == name)?;
        (volume.untouched, volume.epoch_floor) = (false, grant.epoch);
        let granted = GrantInfo::new(&grant.subject, grant, &seed::names());
        self.grants.retain(|other| other.subject != grant.subject);
        self.grants.push(granted.clone());
        Some(granted)
    }
}

pub(super) fn volume(id: Uuid, name: &str, size: u64, epoch_floor: Epoch) -> VolumeInfo {
    let subject = name.parse().expect("the station gives names that are good");
    VolumeInfo {
        id,
        name: name.to_owned(),
        size,
        block_size: 512,
        start_lba: 0,
        end_lba: size / BLOCK - 1,
        blocks: size / BLOCK,
        extents: Vec::new(),
        partitions: Vec::new(),
        state: VolumeState::Online,
        epoch_floor,
        untouched: false,
        target: seed::names().target(&subject),
        lun: 0,
        write_policy: WritePolicy::Normal,
        volatile: false,
        allow_sanitize: false,
    }
}

/// All of 127.0.0.0/8 is this machine.
fn address(number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("far fewer than 2^32 units");
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number / 250 * 256 + number % 250)
}

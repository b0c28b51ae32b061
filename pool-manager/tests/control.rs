//! The station with units that are real up to their disks: control's announcements, unit API, store
//! and access table, over a unit that keeps its volumes in memory.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outband_control::access::{AccessTable, Epoch, Subject};
use outband_control::access_store::Store;
use outband_control::api::{
    Counts, DeviceInfo, PartitionCreate, PartitionInfo, SessionInfo, Storage, TARGET_PREFIX,
    TargetNames, VolumeCreate, VolumeGrow, VolumeInfo, VolumeState as OnUnit, WritePolicy,
};
use outband_control::secret::JoinToken;
use outband_control::{Config, Control, Member, Unit, UnitError};
use outband_pool_api::{UnitState, VolumeState, Wait};
use outband_pool_manager::app::Policy;
use outband_protocol::announce::Load;
use uuid::Uuid;
use world::{MIB, World, ask_named};

const WAIT: Wait = Wait::AtMost(Duration::from_secs(20));
const HOST_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Volumes and the published table; the disk behind them is not needed here.
#[derive(Debug)]
struct Shelf {
    capacity: u64,
    device: Uuid,
    volumes: Mutex<Vec<VolumeInfo>>,
    table: Mutex<Option<Arc<AccessTable>>>,
}

impl Shelf {
    fn new(capacity: u64) -> Arc<Self> {
        let (device, volumes, table) = (Uuid::new_v4(), Mutex::default(), Mutex::default());
        Arc::new(Self { capacity, device, volumes, table })
    }

    fn volumes(&self) -> MutexGuard<'_, Vec<VolumeInfo>> {
        self.volumes.lock().unwrap()
    }

    fn free(&self) -> u64 {
        self.capacity - self.volumes().iter().map(|volume| volume.size).sum::<u64>()
    }

    /// Whether a host with this initiator name may log in to the target now.
    fn admits(&self, iqn: &str, target: &str) -> bool {
        let table = self.table.lock().unwrap();
        table.as_ref().unwrap().admit(iqn, HOST_ADDRESS, target).is_ok()
    }

    fn no_space<T>(&self, asked: u64) -> Result<T, UnitError> {
        Err(UnitError::NoSpace { asked, largest: self.free() })
    }
}

fn names() -> TargetNames {
    TargetNames::new(TARGET_PREFIX, "main")
}

fn change<T>(
    shelf: &Shelf,
    volume: &str,
    change: impl FnOnce(&mut VolumeInfo) -> T,
) -> Result<T, UnitError> {
    let mut volumes = shelf.volumes();
    let found = volumes.iter_mut().find(|known| known.name == volume);
    found.map(change).ok_or_else(|| UnitError::NotFound(volume.to_owned()))
}

fn resize(volume: &mut VolumeInfo, size: u64) {
    (volume.size, volume.blocks, volume.end_lba) = (size, size / 512, size / 512 - 1);
}

impl Unit for Shelf {
    async fn inventory(&self) -> Result<Storage, UnitError> {
        let device = DeviceInfo {
            id: self.device,
            path: "/dev/shelf".into(),
            kind: "file".into(),
            size: self.capacity,
            free: self.free(),
            volatile: false,
            faulted: false,
        };
        let volumes = self.volumes().clone();
        Ok(Storage { devices: vec![device], volumes, free: self.free(), largest_free: self.free() })
    }

    async fn create_volume(&self, request: VolumeCreate) -> Result<VolumeInfo, UnitError> {
        if request.size > self.free() {
            return self.no_space(request.size);
        }
        let mut volume = VolumeInfo {
            id: Uuid::new_v4(),
            target: names().target(&request.name.parse().unwrap()),
            name: request.name,
            size: 0,
            block_size: 512,
            start_lba: 0,
            end_lba: 0,
            blocks: 0,
            extents: Vec::new(),
            partitions: Vec::new(),
            state: OnUnit::Online,
            epoch_floor: Epoch(0),
            untouched: false,
            lun: 0,
            write_policy: WritePolicy::Normal,
            volatile: false,
            allow_sanitize: request.allow_sanitize,
        };
        resize(&mut volume, request.size);
        self.volumes().push(volume.clone());
        Ok(volume)
    }

    async fn grow_volume(&self, name: &str, ask: VolumeGrow) -> Result<VolumeInfo, UnitError> {
        change(self, name, |volume| {
            resize(volume, ask.size);
            volume.clone()
        })
    }

    async fn delete_volume(&self, volume: &str, id: Option<Uuid>) -> Result<(), UnitError> {
        change(self, volume, |_| ())?;
        self.volumes().retain(|known| known.name != volume || id.is_some_and(|id| known.id != id));
        Ok(())
    }

    async fn create_partition(
        &self,
        volume: &str,
        _request: PartitionCreate,
    ) -> Result<PartitionInfo, UnitError> {
        Err(UnitError::Invalid(format!("{volume} is not for partitions")))
    }

    async fn delete_partition(&self, volume: &str, _number: u16) -> Result<(), UnitError> {
        Err(UnitError::NotFound(volume.to_owned()))
    }

    async fn raise_floor(&self, volume: &str, epoch: Epoch) -> Result<Epoch, UnitError> {
        change(self, volume, |volume| {
            let before = volume.epoch_floor;
            volume.epoch_floor = before.max(epoch);
            before
        })
    }

    async fn publish(&self, table: Arc<AccessTable>) {
        *self.table.lock().unwrap() = Some(table);
    }

    async fn close_gate(&self, _subject: &Subject, _host: &str, _epoch: Epoch) {}

    async fn drain(&self, _subject: &Subject, _host: &str, _epoch: Epoch) {}

    async fn sessions(&self) -> Vec<SessionInfo> {
        Vec::new()
    }

    async fn counts(&self) -> Counts {
        Counts::default()
    }

    fn load(&self) -> Load {
        Load { free_bytes: self.free(), ..Load::default() }
    }
}

async fn join(world: &World, directory: &Path, shelf: &Arc<Shelf>, token: &str) -> Member {
    let control = Control::open(directory, names(), Arc::clone(shelf)).await.unwrap();
    let config = Config {
        name: "shelf".into(),
        station: world.addresses.announce.to_string(),
        token: JoinToken::new(token),
        api_listen: "127.0.0.1:0".parse().unwrap(),
        api_advertise: None,
        portals: vec!["192.0.2.7:3260".parse().unwrap()],
        interfaces: Vec::new(),
        version: "0.1.0".into(),
    };
    control.join(config).await.unwrap()
}

async fn token(world: &World) -> String {
    world.admin().join_token().await.unwrap().token.expose().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn station_unit_and_host_hold_the_same_assignment() {
    let mut world = World::over_https(Policy::Approve).await;
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(100 * MIB);
    let member = join(&world, directory.path(), &shelf, &token(&world).await).await;
    world.until_unit("shelf", UnitState::Pending).await;
    world.admin().approve_unit("shelf").await.unwrap();
    world.until_unit("shelf", UnitState::Joined).await;

    let (host_a, a) = world.host("a").await;
    let (host_b, b) = world.host("b").await;
    let (iqn_a, iqn_b) = (host_a.host.iqn, host_b.host.iqn);
    let job = a.request_volume(&ask_named("data", 10), "k", WAIT).await.unwrap();
    let target = job.result.unwrap().connection.unwrap().target;
    assert!(shelf.admits(&iqn_a, &target) && !shelf.admits(&iqn_b, &target));

    world.restart().await;
    world.until_unit("shelf", UnitState::Joined).await;
    assert!(shelf.admits(&iqn_a, &target), "the station is out of band");
    a.grow_volume("data", outband_pool_api::Size(20 * MIB), WAIT).await.unwrap();
    a.release_volume("data", WAIT).await.unwrap();
    assert!(!shelf.admits(&iqn_a, &target));
    world.admin().assign_volume("data", "b", WAIT).await.unwrap();
    assert!(shelf.admits(&iqn_b, &target) && !shelf.admits(&iqn_a, &target));
    assert_eq!(b.volume("data").await.unwrap().epoch, 2);

    member.leave().await;
    world.until_unit("shelf", UnitState::Left).await;
    assert_eq!(b.volume("data").await.unwrap().state, VolumeState::Granted);
    let member = join(&world, directory.path(), &shelf, "no longer needed").await;
    world.until_unit("shelf", UnitState::Joined).await;
    assert!(shelf.admits(&iqn_b, &target), "its own copy of the grant");
    b.delete_volume("data", WAIT).await.unwrap();
    assert!(shelf.volumes().is_empty());
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_with_a_wrong_token_does_not_get_in() {
    let world = World::over_https(Policy::Auto).await;
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(100 * MIB);
    let stranger = join(&world, directory.path(), &shelf, "wrong").await;
    let good = tempfile::tempdir().unwrap();
    let member = join(&world, good.path(), &shelf, &token(&world).await).await;
    world.until_unit("shelf", UnitState::Joined).await;
    assert_eq!(world.admin().units().await.unwrap().len(), 1);
    stranger.leave().await;
    member.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_was_removed_joins_again_once_it_has_left_its_pool() {
    let world = World::over_https(Policy::Auto).await;
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(100 * MIB);
    let token = token(&world).await;
    let member = join(&world, directory.path(), &shelf, &token).await;
    world.until_unit("shelf", UnitState::Joined).await;
    let id = world.admin().unit("shelf").await.unwrap().id;
    member.leave().await;
    world.until_unit("shelf", UnitState::Left).await;
    world.admin().remove_unit("shelf").await.unwrap();
    // What `outband-target leave-pool` does.
    Store::open(directory.path()).unwrap().leave_pool().unwrap();
    let member = join(&world, directory.path(), &shelf, &token).await;
    world.until_unit("shelf", UnitState::Joined).await;
    assert_eq!(world.admin().unit("shelf").await.unwrap().id, id);
    member.leave().await;
}

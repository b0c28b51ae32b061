//! A unit: the real keeper, access store, announcer and unit API, and the real shards behind the real
//! router of messages to them. The catalog is a model: what a call has changed stays changed.

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{self, StatusCode, header};
use outband_control::access::{AccessTable, Epoch, Subject};
use outband_control::access_store::Store;
use outband_control::api::{
    Counts, DeviceInfo, Fence, PartitionCreate, PartitionInfo, SessionInfo, Storage, TargetNames,
    VolumeCreate, VolumeGrow, VolumeInfo, VolumeState, WritePolicy, routes,
};
use outband_control::client::{Answer, Call};
use outband_control::control::Parts;
use outband_control::machine::SharedMachine;
use outband_control::secret::JoinToken;
use outband_control::{Config, Control, Unit, UnitError};
use outband_protocol::announce::Load;
use outband_protocol::ids::IscsiName;
use outband_target_server::media::{self, ZeroWith};
use outband_target_server::server::Server;
use outband_target_server::shard::mailbox::{SegmentConfig, TargetConfig, VolumeConfig};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;
use uuid::Uuid;

use super::flash::FlashFile;
use super::post::{Post, Request, Socket};
use super::watch::{News, Watch};
use crate::ring::{SimHandle, SimRing};
use crate::target::logical_unit;

/// Bytes of a block of every volume.
pub const BLOCK_SIZE: u32 = 512;

/// What is on a unit's device: it outlives the unit's processes.
#[derive(Debug)]
pub struct Shelf {
    device: Uuid,
    disk: usize,
    capacity: u64,
    /// Space is never used twice, so that a new volume reads as zeros.
    next: u64,
    volumes: BTreeMap<String, Kept>,
}

/// A volume in the catalog.
#[derive(Clone, Debug)]
struct Kept {
    id: Uuid,
    size: u64,
    floor: Epoch,
    policy: WritePolicy,
    /// First byte on the device, bytes.
    pieces: Vec<(u64, u64)>,
}

impl Shelf {
    /// An empty one, on a disk of the hardware.
    #[must_use]
    pub fn new(device: Uuid, disk: usize, capacity: u64) -> Self {
        Self { device, disk, capacity, next: 0, volumes: BTreeMap::new() }
    }

    /// A volume that the unit's own operator makes.
    pub fn stock(&mut self, name: &str, id: Uuid, size: u64) {
        let pieces = vec![self.take(size)];
        let kept = Kept { id, size, floor: Epoch(0), policy: WritePolicy::Normal, pieces };
        self.volumes.insert(name.to_owned(), kept);
    }

    /// The volumes' names, ids and sizes.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, Uuid, u64)> {
        self.volumes.iter().map(|(name, kept)| (name.as_str(), kept.id, kept.size))
    }

    /// The volume of this name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<Uuid> {
        self.volumes.get(name).map(|kept| kept.id)
    }

    /// Where a volume begins on the disk.
    #[must_use]
    pub fn start_of(&self, id: Uuid) -> Option<u64> {
        let kept = self.volumes.values().find(|kept| kept.id == id)?;
        kept.pieces.first().map(|(at, _)| *at)
    }

    fn take(&mut self, size: u64) -> (u64, u64) {
        let at = self.next;
        self.next += size;
        (at, size)
    }

    fn free(&self) -> u64 {
        let used: u64 = self.volumes.values().map(|kept| kept.size).sum();
        self.capacity.saturating_sub(used)
    }

    fn create(&mut self, id: Uuid, request: &VolumeCreate) -> Result<Kept, UnitError> {
        let size = request.size.next_multiple_of(1 << 20);
        if let Some(known) = self.volumes.get(&request.name) {
            let same = known.size == size && known.policy == request.write_policy;
            return if same { Ok(known.clone()) } else { Err(exists(&request.name)) };
        }
        self.must_have(size)?;
        let pieces = vec![self.take(size)];
        let made = Kept { id, size, floor: Epoch(0), policy: request.write_policy, pieces };
        self.volumes.insert(request.name.clone(), made.clone());
        Ok(made)
    }

    fn grow(&mut self, name: &str, size: u64) -> Result<Kept, UnitError> {
        let known = self.find(name)?.clone();
        if size < known.size {
            return Err(UnitError::Invalid("volumes do not shrink".to_owned()));
        }
        let more = size - known.size;
        if more > 0 {
            self.must_have(more)?;
            let piece = self.take(more);
            let kept = self.find(name)?;
            kept.size = size;
            kept.pieces.push(piece);
        }
        self.find(name).cloned()
    }

    fn must_have(&self, size: u64) -> Result<(), UnitError> {
        let largest = self.free();
        if size > largest { Err(UnitError::NoSpace { asked: size, largest }) } else { Ok(()) }
    }

    fn find(&mut self, name: &str) -> Result<&mut Kept, UnitError> {
        let missing = || UnitError::NotFound(format!("volume {name}"));
        self.volumes.get_mut(name).ok_or_else(missing)
    }
}

fn exists(name: &str) -> UnitError {
    UnitError::Exists(format!("volume {name}"))
}

/// The unit behind the unit API.
pub struct SimUnit {
    /// Which of them.
    pub index: usize,
    /// Its catalog.
    pub shelf: Arc<Mutex<Shelf>>,
    /// The way to its shards.
    pub server: Server<SimRing>,
    /// What it has of its machine.
    pub machine: SharedMachine,
    /// Who looks on.
    pub watch: Watch,
}

impl fmt::Debug for SimUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimUnit({})", self.index)
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimUnit {
    async fn on_shelf<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Shelf) -> Result<T, UnitError> + Send + 'static,
    ) -> Result<T, UnitError> {
        let shelf = Arc::clone(&self.shelf);
        let done = self.machine.blocking(move || work(&mut lock(&shelf))).await;
        done.unwrap_or_else(|| Err(UnitError::Failed("the catalog failed".to_owned())))
    }

    /// Has a shard serve a volume, or more of it.
    async fn serve(&self, name: &str, kept: &Kept) {
        let names = self.server.names();
        let target = names.target(&name.parse().expect("a volume's name"));
        let (device, disk) = {
            let shelf = lock(&self.shelf);
            (shelf.device, shelf.disk)
        };
        let config = |_, known| ready(Ok(volume_config(&target, kept, known, device, disk)));
        let served = self.server.serve(kept.id, kept.pieces.len(), true, config).await;
        served.expect("making the config does no I/O");
        let (unit, id, name) = (self.index, kept.id, name.to_owned());
        let cached = kept.policy == WritePolicy::High;
        self.watch.tell(News::Made { unit, id, name, cached });
    }

    fn info(&self, name: &str, kept: &Kept) -> VolumeInfo {
        let blocks = kept.size / u64::from(BLOCK_SIZE);
        VolumeInfo {
            id: kept.id,
            name: name.to_owned(),
            size: kept.size,
            block_size: BLOCK_SIZE,
            start_lba: 0,
            end_lba: blocks - 1,
            blocks,
            extents: Vec::new(),
            partitions: Vec::new(),
            state: VolumeState::Online,
            epoch_floor: kept.floor,
            untouched: false,
            target: self.server.names().target(&name.parse().expect("a volume's name")),
            lun: 0,
            write_policy: kept.policy,
            volatile: false,
            allow_sanitize: false,
        }
    }
}

fn volume_config(
    target: &str,
    kept: &Kept,
    known: usize,
    device: Uuid,
    disk: usize,
) -> VolumeConfig<SimHandle> {
    let segment = |(at, len): &(u64, u64)| SegmentConfig {
        device,
        len: *len,
        file: Some((SimHandle::Disk(disk), *at, ZeroWith::Range)),
    };
    let name = IscsiName::new(target).expect("a target's name");
    let blocks = kept.size / u64::from(BLOCK_SIZE);
    let write_cache = kept.policy == WritePolicy::High;
    let lu = logical_unit(kept.id, &name, blocks, BLOCK_SIZE, write_cache);
    VolumeConfig {
        id: kept.id,
        write_policy: match kept.policy {
            WritePolicy::Normal => media::WritePolicy::Normal,
            WritePolicy::High => media::WritePolicy::High,
        },
        faulted: false,
        journal: None,
        segments: kept.pieces.iter().skip(known).map(segment).collect(),
        targets: vec![TargetConfig { id: kept.id, name, start: 0, lu }],
        ledgers: Vec::new(),
    }
}

impl Unit for SimUnit {
    async fn inventory(&self) -> Result<Storage, UnitError> {
        let shelf = lock(&self.shelf);
        let free = shelf.free();
        let device = DeviceInfo {
            id: shelf.device,
            path: format!("/dev/sim{}", self.index),
            kind: "block".to_owned(),
            size: shelf.capacity,
            free,
            volatile: false,
            faulted: false,
        };
        let volumes = shelf.volumes.iter().map(|(name, kept)| self.info(name, kept)).collect();
        Ok(Storage { devices: vec![device], volumes, free, largest_free: free })
    }

    async fn create_volume(&self, request: VolumeCreate) -> Result<VolumeInfo, UnitError> {
        let (id, name) = (self.machine.uuid(), request.name.clone());
        let made = self.on_shelf(move |shelf| shelf.create(id, &request)).await?;
        self.serve(&name, &made).await;
        Ok(self.info(&name, &made))
    }

    async fn grow_volume(&self, name: &str, request: VolumeGrow) -> Result<VolumeInfo, UnitError> {
        let volume = name.to_owned();
        let grown = self.on_shelf(move |shelf| shelf.grow(&volume, request.size)).await?;
        self.serve(name, &grown).await;
        Ok(self.info(name, &grown))
    }

    async fn delete_volume(&self, name: &str, id: Option<Uuid>) -> Result<(), UnitError> {
        let kept = lock(&self.shelf).volumes.get(name).cloned();
        let Some(kept) = kept.filter(|kept| id.is_none_or(|id| kept.id == id)) else {
            return Ok(());
        };
        self.server.detach(kept.id).await;
        let name = name.to_owned();
        self.on_shelf(move |shelf| {
            shelf.volumes.remove(&name);
            Ok(())
        })
        .await
    }

    async fn create_partition(
        &self,
        _volume: &str,
        _request: PartitionCreate,
    ) -> Result<PartitionInfo, UnitError> {
        Err(UnitError::Invalid("the station asks for no partitions".to_owned()))
    }

    async fn delete_partition(&self, _volume: &str, _number: u16) -> Result<(), UnitError> {
        Err(UnitError::Invalid("the station asks for no partitions".to_owned()))
    }

    async fn raise_floor(&self, volume: &str, epoch: Epoch) -> Result<Epoch, UnitError> {
        let name = volume.to_owned();
        self.on_shelf(move |shelf| {
            let kept = shelf.find(&name)?;
            let before = kept.floor;
            kept.floor = before.max(epoch);
            Ok(before)
        })
        .await
    }

    async fn publish(&self, table: Arc<AccessTable>) {
        let grant = |grant: &outband_control::access::Grant| {
            (grant.subject.to_string(), grant.host.clone(), grant.epoch.0)
        };
        let grants = table.grants().map(grant).collect();
        self.watch.tell(News::Publishing { unit: self.index, grants });
        self.server.publish((*table).clone()).await;
    }

    async fn close_gate(&self, subject: &Subject, host: &str, epoch: Epoch) {
        let target = self.server.names().target(subject);
        self.server.close_gate(target, Some(host.to_owned()), epoch).await;
    }

    async fn drain(&self, subject: &Subject, host: &str, epoch: Epoch) {
        let target = self.server.names().target(subject);
        self.server.drain(target, Some(host.to_owned()), epoch).await;
        let fence = Fence { subject: subject.clone(), host: host.to_owned(), epoch };
        self.watch.tell(News::Drained { unit: self.index, fence });
    }

    async fn sessions(&self) -> Vec<SessionInfo> {
        Vec::new()
    }

    async fn counts(&self) -> Counts {
        Counts::default()
    }

    fn load(&self) -> Load {
        Load::default()
    }
}

/// Where a unit is, and whom it belongs to.
#[derive(Clone, Debug)]
pub struct Place {
    /// The unit API.
    pub api: SocketAddr,
    /// Its socket for announcements.
    pub socket: SocketAddr,
    /// The station's.
    pub station: SocketAddr,
    /// Its portals.
    pub portals: Vec<SocketAddr>,
    /// The pool's join token.
    pub token: JoinToken,
    /// How its targets are named.
    pub names: TargetNames,
}

/// The unit's process: control, in the order that the real one starts in.
pub async fn run(
    unit: Arc<SimUnit>,
    flash: FlashFile,
    place: Place,
    post: Post,
    stop: watch::Receiver<bool>,
) {
    let (watch, index) = (unit.watch.clone(), unit.index);
    match start(&unit, flash, &place).await {
        Ok((parts, fingerprint)) => {
            let door = post.door(place.api, fingerprint);
            let letterbox = post.letterbox(place.socket);
            let socket = Socket { post, from: place.socket, to: place.station, letterbox };
            let Parts { router, announcing } = parts;
            tokio::select! {
                biased;
                () = announcing.run(socket, stop) => {}
                () = answer_calls(&unit, router, door) => {}
            }
            watch.tell(News::Stopped { unit: index });
        }
        Err(error) => watch.tell(News::Wrong(format!("unit {index} does not start: {error}"))),
    }
}

async fn start(
    unit: &Arc<SimUnit>,
    flash: FlashFile,
    place: &Place,
) -> Result<(Parts<SimUnit>, [u8; 32]), Box<dyn std::error::Error + Send + Sync>> {
    let store = Store::on(flash)?;
    let names = place.names.clone();
    let machine = Arc::clone(&unit.machine);
    let control = Control::with_store(store, names, Arc::clone(unit), machine).await?;
    let volumes = lock(&unit.shelf).volumes.clone();
    for (name, kept) in &volumes {
        unit.serve(name, kept).await;
    }
    let fingerprint = control.identity().fingerprint();
    let config = Config {
        name: format!("unit-{}", unit.index),
        station: place.station.to_string(),
        token: place.token.clone(),
        api_listen: place.api,
        api_advertise: None,
        portals: place.portals.clone(),
        interfaces: Vec::new(),
        version: "0".to_owned(),
    };
    Ok((control.parts(config, place.api)?, fingerprint))
}

async fn answer_calls(
    unit: &Arc<SimUnit>,
    router: Router,
    mut door: mpsc::UnboundedReceiver<Request<Call, Answer>>,
) {
    while let Some(request) = door.recv().await {
        let (unit, router) = (Arc::clone(unit), router.clone());
        let machine = Arc::clone(&unit.machine);
        machine.spawn(Box::pin(async move { answer_call(&unit, router, request).await }));
    }
    std::future::pending::<()>().await;
}

async fn answer_call(unit: &SimUnit, router: Router, request: Request<Call, Answer>) {
    let Request { what: call, reply, breaks } = request;
    let work = serve(router, &call);
    let answer = match breaks {
        Some(after) => unit.machine.timeout(after, work).await,
        None => Some(work.await),
    };
    let Some(answer) = answer else {
        return;
    };
    if call.path == routes::FENCES && answer.status == StatusCode::OK {
        let fence = serde_json::from_slice(&call.body).expect("the router has read it");
        unit.watch.tell(News::Fenced { unit: unit.index, fence });
    }
    // Whoever asked may be gone.
    let _ = reply.send(answer);
}

async fn serve(router: Router, call: &Call) -> Answer {
    let request = http::Request::builder()
        .method(call.method.clone())
        .uri(&call.path)
        .header(header::AUTHORIZATION, format!("Bearer {}", call.bearer.expose()))
        .body(Body::from(call.body.clone()))
        .expect("paths and keys are made of letters");
    let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await;
    Answer { status, body: body.map(Vec::from).unwrap_or_default() }
}

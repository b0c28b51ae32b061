//! What control asks of a unit, carried out: the catalog keeps, the shards serve.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use outband_control::access::{ANY_HOST, AccessTable, Epoch, Grant, Subject};
use outband_control::api::{
    Counts, DeviceInfo, ExtentInfo, PartitionCreate, PartitionInfo, SessionInfo, Storage,
    VolumeCreate, VolumeGrow, VolumeInfo, VolumeState as ApiState, WritePolicy as ApiPolicy,
};
use outband_control::metrics::Exposition;
use outband_control::{Unit, UnitError};
use outband_protocol::announce::Load;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::counters::Totals;
use crate::media::{
    Changes, DeviceReport, Holdings, MediaError, NewPartition, NewVolume, PartitionSpec,
    VolumeName, VolumeReport, VolumeSpec, VolumeState, WritePolicy,
};
use crate::metrics::counts::counts;
use crate::metrics::sample::{DeviceSample, UnitSample};
use crate::metrics::text;
use crate::server::Server;

/// The unit behind the unit API.
#[derive(Debug)]
pub struct UnitCore {
    holdings: Arc<Holdings>,
    server: Arc<Server>,
    /// What the shards were told last, for a look without waiting.
    access: Mutex<Arc<AccessTable>>,
    /// What the shards had counted at the last look.
    last: Mutex<Option<(Instant, Totals)>>,
    /// Gates closed since the start.
    fences: AtomicU64,
    born: Instant,
}

impl UnitCore {
    /// A unit of what `holdings` keeps and `server` serves.
    pub fn new(holdings: Arc<Holdings>, server: Arc<Server>) -> Arc<Self> {
        let access = Mutex::new(Arc::new(AccessTable::new(server.names().clone())));
        Arc::new(Self {
            holdings,
            server,
            access,
            last: Mutex::new(None),
            fences: AtomicU64::new(0),
            born: Instant::now(),
        })
    }

    /// Everything that is counted here, as a page for a monitoring system.
    pub async fn figures(&self) -> Exposition {
        let shards = self.server.measure().await;
        let report = self.on_catalog(|holdings| Ok(holdings.report())).await;
        let devices = report.map(|report| report.devices).unwrap_or_default();
        let device = |device: &DeviceReport| DeviceSample {
            id: device.id,
            path: device.path.display().to_string(),
            size: device.capacity,
            free: device.free,
            healthy: device.missing.is_none(),
        };
        let access = Arc::clone(&self.access.lock().unwrap_or_else(PoisonError::into_inner));
        let grant = |grant: &Grant| (grant.subject.to_string(), grant.host.clone(), grant.epoch.0);
        let sample = UnitSample {
            shards,
            devices: devices.iter().map(device).collect(),
            grants: access.grants().map(grant).collect(),
            fences: Some(self.fences.load(Ordering::Relaxed)),
        };
        text::page(&sample, self.server.names())
    }

    /// Blocking work on the catalog, off the threads that answer the API.
    async fn on_catalog<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Holdings>) -> Result<T, MediaError> + Send + 'static,
    ) -> Result<T, UnitError> {
        let holdings = Arc::clone(&self.holdings);
        match tokio::task::spawn_blocking(move || work(&holdings)).await {
            Ok(result) => result.map_err(unit_error),
            Err(_) => Err(UnitError::Failed("the catalog's thread ended early".to_owned())),
        }
    }

    fn volume_info(&self, report: &VolumeReport) -> VolumeInfo {
        let target = |number| self.server.target_of(&report.name, number);
        VolumeInfo {
            id: report.id,
            name: report.name.to_string(),
            size: report.size,
            block_size: report.block_size,
            start_lba: 0,
            end_lba: report.blocks.saturating_sub(1),
            blocks: report.blocks,
            extents: report
                .extents
                .iter()
                .map(|at| ExtentInfo { device: at.device, offset: at.offset, len: at.len })
                .collect(),
            partitions: report
                .partitions
                .iter()
                .map(|part| partition_info(part, target(Some(part.number))))
                .collect(),
            state: match report.state {
                VolumeState::Online => ApiState::Online,
                VolumeState::Faulted => ApiState::Faulted,
                VolumeState::Zeroing => ApiState::Zeroing,
                VolumeState::Incomplete => ApiState::Incomplete,
            },
            epoch_floor: Epoch(report.epoch_floor),
            untouched: false,
            target: target(None),
            lun: 0,
            write_policy: match report.write_policy {
                WritePolicy::Normal => ApiPolicy::Normal,
                WritePolicy::High => ApiPolicy::High,
            },
            volatile: report.volatile,
            allow_sanitize: report.allow_sanitize,
        }
    }

    fn info_of(&self, id: Uuid) -> Result<VolumeInfo, UnitError> {
        let report = self.holdings.report();
        let volume = report.volumes.iter().find(|volume| volume.id == id);
        volume
            .map(|volume| self.volume_info(volume))
            .ok_or_else(|| UnitError::NotFound(format!("volume {id}")))
    }

    fn target(&self, subject: &Subject) -> String {
        self.server.names().target(subject)
    }
}

/// `None` stands for every host of a grant that names none.
fn one_host(host: &str) -> Option<String> {
    (host != ANY_HOST).then(|| host.to_owned())
}

impl Unit for UnitCore {
    async fn inventory(&self) -> Result<Storage, UnitError> {
        let report = self.on_catalog(|holdings| Ok(holdings.report())).await?;
        let lasting = |device: &&DeviceReport| !device.read_only;
        Ok(Storage {
            free: report.devices.iter().filter(lasting).map(|device| device.free).sum(),
            largest_free: report.devices.iter().filter(lasting).map(|device| device.free).sum(),
            volumes: report.volumes.iter().map(|volume| self.volume_info(volume)).collect(),
            devices: report.devices.iter().map(device_info).collect(),
        })
    }

    async fn create_volume(&self, request: VolumeCreate) -> Result<VolumeInfo, UnitError> {
        let name = VolumeName::new(request.name.clone())
            .map_err(|error| UnitError::Invalid(error.to_string()))?;
        let new = NewVolume {
            block_size: request.block_size,
            write_policy: match request.write_policy {
                ApiPolicy::Normal => WritePolicy::Normal,
                ApiPolicy::High => WritePolicy::High,
            },
            on: request.devices.iter().map(ToString::to_string).collect(),
            allow_volatile: request.volatile,
            allow_sanitize: request.allow_sanitize,
            ..NewVolume::new(name, request.size)
        };
        let made = self
            .on_catalog(move |holdings| match holdings.volume(new.name.as_str()) {
                // The same request again: its answer was lost, or we were killed before it.
                Ok(known) if asks_for(&new, &known) => Ok(known),
                _ => holdings.create_volume(&new),
            })
            .await?;
        self.info_of(made.id)
    }

    async fn grow_volume(
        &self,
        volume: &str,
        request: VolumeGrow,
    ) -> Result<VolumeInfo, UnitError> {
        let name = volume.to_owned();
        let grown = self
            .on_catalog(move |holdings| {
                let known = holdings.volume(&name)?;
                if known.len() == request.size {
                    return Ok(known);
                }
                holdings.grow_volume(&name, request.size)
            })
            .await?;
        self.info_of(grown.id)
    }

    async fn delete_volume(&self, volume: &str, id: Option<Uuid>) -> Result<(), UnitError> {
        let name = id.map_or_else(|| volume.to_owned(), |id| id.to_string());
        self.on_catalog(move |holdings| match holdings.remove_volume(&name, true) {
            Err(MediaError::NoSuchVolume(_)) => Ok(()),
            other => other,
        })
        .await
    }

    async fn create_partition(
        &self,
        volume: &str,
        request: PartitionCreate,
    ) -> Result<PartitionInfo, UnitError> {
        let name = volume.to_owned();
        let new = NewPartition {
            number: request.number,
            start: request.start_lba,
            size: Some(request.size),
        };
        let (spec, made) = self
            .on_catalog(move |holdings| {
                let made = holdings.create_partition(&name, new)?;
                Ok((holdings.volume(&name)?, made))
            })
            .await?;
        let target = self.server.target_of(&spec.name, Some(made.number));
        Ok(partition_info(&made, target))
    }

    async fn delete_partition(&self, volume: &str, number: u16) -> Result<(), UnitError> {
        let name = volume.to_owned();
        self.on_catalog(move |holdings| holdings.remove_partition(&name, number)).await
    }

    async fn raise_floor(&self, volume: &str, epoch: Epoch) -> Result<Epoch, UnitError> {
        let name = volume.to_owned();
        self.on_catalog(move |holdings| {
            let before = holdings.volume(&name)?.epoch_floor;
            if before < epoch.0 {
                holdings.raise_floor(&name, epoch.0)?;
            }
            Ok(Epoch(before))
        })
        .await
    }

    async fn publish(&self, table: Arc<AccessTable>) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&table);
        self.server.publish((*table).clone()).await;
    }

    async fn close_gate(&self, subject: &Subject, host: &str, epoch: Epoch) {
        self.fences.fetch_add(1, Ordering::Relaxed);
        self.server.close_gate(self.target(subject), one_host(host), epoch).await;
    }

    async fn drain(&self, subject: &Subject, host: &str, epoch: Epoch) {
        self.server.drain(self.target(subject), one_host(host), epoch).await;
    }

    async fn sessions(&self) -> Vec<SessionInfo> {
        let names = self.server.names();
        let info = |session: crate::shard::mailbox::SessionInfo| {
            Some(SessionInfo {
                subject: names.subject(&session.target)?,
                host: session.host,
                source: session.source,
                portal: session.portal,
                epoch: Epoch(session.epoch),
            })
        };
        self.server.sessions().await.into_iter().filter_map(info).collect()
    }

    async fn counts(&self) -> Counts {
        let shards = self.server.measure().await;
        let at_micros = u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        counts(&shards, self.server.names(), at_micros)
    }

    fn load(&self) -> Load {
        let report = self.holdings.report();
        let totals = self.server.totals();
        let now = Instant::now();
        let before = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.replace((now, totals))
        };
        let rates = totals.rates_since(before, now);
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let faulted = |volume: &&VolumeReport| volume.state == VolumeState::Faulted;
        Load {
            sessions: totals.sessions,
            in_flight: totals.in_flight,
            reads_per_second: rates.reads,
            writes_per_second: rates.writes,
            read_bytes_per_second: rates.read_bytes,
            written_bytes_per_second: rates.written_bytes,
            free_bytes: report.devices.iter().map(|device| device.free).sum(),
            volumes: count(report.volumes.len()),
            faulted: count(report.volumes.iter().filter(faulted).count()),
        }
    }
}

/// The shards hear of every change of the catalog.
#[derive(Debug)]
pub struct Teller {
    core: Arc<UnitCore>,
    runtime: Handle,
}

impl Teller {
    /// Tells `core`'s shards, by way of `runtime`.
    pub fn new(core: Arc<UnitCore>, runtime: Handle) -> Self {
        Self { core, runtime }
    }
}

impl Changes for Teller {
    fn changed(&self, volume: &VolumeSpec) {
        if let Err(error) = self.runtime.block_on(self.core.server.attach(volume)) {
            tracing::error!(volume = %volume.name, %error, "the volume cannot be served");
        }
    }

    fn removing(&self, volume: &VolumeSpec) -> Result<(), String> {
        let access = Arc::clone(&self.core.access.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(grant) = access.any_grant_of(volume.name.as_str()) {
            return Err(format!("it is granted to {}; release that grant first", grant.host));
        }
        self.runtime.block_on(self.core.server.detach(volume.id));
        Ok(())
    }
}

/// Whether `known` is what `new` would make.
fn asks_for(new: &NewVolume, known: &VolumeSpec) -> bool {
    let whole_blocks = new.size.next_multiple_of(u64::from(known.block_size));
    known.name == new.name
        && (known.len() == whole_blocks || known.state == VolumeState::Zeroing)
        && new.block_size.is_none_or(|block_size| block_size == known.block_size)
        && known.write_policy == new.write_policy
        && known.allow_sanitize == new.allow_sanitize
}

fn device_info(report: &DeviceReport) -> DeviceInfo {
    DeviceInfo {
        id: report.id,
        path: report.path.display().to_string(),
        kind: report.kind.map_or_else(|| "missing".to_owned(), |kind| kind.to_string()),
        size: report.capacity,
        free: report.free,
        volatile: report.volatile,
        faulted: report.missing.is_some(),
    }
}

fn partition_info(part: &PartitionSpec, target: String) -> PartitionInfo {
    PartitionInfo {
        number: part.number,
        id: part.id,
        start_lba: part.start,
        end_lba: part.end().saturating_sub(1),
        blocks: part.blocks,
        target,
    }
}

/// The catalog's refusals in control's words. The only place that decides.
fn unit_error(error: MediaError) -> UnitError {
    let words = error.full();
    match error {
        MediaError::NoSuchVolume(name) => UnitError::NotFound(format!("volume {name}")),
        MediaError::NoSuchDevice(name) => UnitError::NotFound(format!("device {name}")),
        MediaError::NameTaken(name) => UnitError::Exists(format!("volume {name}")),
        MediaError::NoSpace { wanted, free, .. } => {
            UnitError::NoSpace { asked: wanted, largest: free }
        }
        MediaError::Io { .. } | MediaError::Records { .. } => UnitError::Failed(words),
        MediaError::BadSize { .. }
        | MediaError::VolumeSize(_)
        | MediaError::BadBlockSize { .. }
        | MediaError::Shrinks { .. } => UnitError::Invalid(words),
        _ => UnitError::Conflict(words),
    }
}

impl From<MediaError> for io::Error {
    fn from(error: MediaError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests;

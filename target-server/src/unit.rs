//! A unit: what a storage machine runs. Its configuration, its start in order, and its stop.

mod config;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_control::{Control, ControlError, interfaces, metrics};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

pub use self::config::{
    Advertised, BUSY_POLL_US_MAX, FileDevice, MemoryDevice, PortalConfig, UnitConfig,
};
use crate::admin::{Teller, UnitCore};
use crate::admin_socket::{AdminSocket, Kept, Shards};
use crate::media::{AddOptions, Catalog, Holdings, MediaError, ReservationPlace, listed_devices};
use crate::sandbox::Reach;
use crate::server::{Server, ServerConfig, StartError};

/// Why a unit did not start. The message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum UnitRunError {
    /// Devices, volumes or the state directory.
    #[error("{}", .0.full())]
    Media(#[from] MediaError),
    /// Portals or the ring.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The access table or the unit API.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The operating system refused.
    #[error("cannot {doing}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// What a unit has to reach in the file system.
#[must_use]
pub fn reach(config: &UnitConfig) -> Reach {
    // Rules are for what is there. When it cannot be made, the start says why.
    let _ = std::fs::create_dir_all(&config.state_dir);
    Reach::of_unit(config, listed_devices(&config.state_dir))
}

/// Runs a unit until `shutdown` is ready: then it says so to the station, ends its sessions, waits
/// for their I/O and returns.
pub async fn run(
    config: UnitConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), UnitRunError> {
    let os = |doing| move |source| UnitRunError::Os { doing, source };
    std::fs::create_dir_all(&config.state_dir).map_err(os("make the state directory"))?;
    let holdings = Holdings::new(open_catalog(&config)?);
    let names = TargetNames::new(TARGET_PREFIX, &config.pool);
    let (faults, met) = mpsc::unbounded_channel();
    let server = Arc::new(Server::start(&server_config(&config, &names), Some(faults))?);
    let core = UnitCore::new(Arc::clone(&holdings), Arc::clone(&server));
    // Nobody is let in before the stored table is in force, and nobody is announced to before that.
    let control = Control::open(&config.state_dir, names, Arc::clone(&core)).await?;
    start_telling(&holdings, &core).await.map_err(os("start the volumes"))?;
    tokio::spawn(remember_faults(Arc::clone(&holdings), met));
    let redirects = Arc::new(Kept::new(Arc::clone(control.keeper()), Handle::current()));
    let inside = Arc::new(Shards::new(Arc::clone(&server), Handle::current()));
    let admin = AdminSocket::listen(&config.state_dir, Arc::clone(&holdings), redirects, inside)
        .map_err(os("listen on the admin socket"))?;
    for portal in server.portals() {
        tracing::info!(%portal, "portal");
    }
    let (untold, stopped) = watch::channel(false);
    if let Some(address) = config.metrics_listen {
        let failed = |source| StartError::Listen { address, option: "metrics_listen", source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let look = move || {
            let core = Arc::clone(&core);
            async move { core.figures().await }
        };
        tokio::spawn(metrics::serve(listener, look, stopped));
    }
    let member = match &config.station {
        None => None,
        Some(station) => {
            let token = config.token().map_err(os("read the join token"))?;
            let told = outband_control::Config {
                name: config.name.clone(),
                station: station.clone(),
                token,
                api_listen: config.api_listen,
                api_advertise: config.api_advertise,
                portals: server.portals().to_vec(),
                interfaces: interfaces().map_err(os("list the network interfaces"))?,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            Some(control.join(told).await?)
        }
    };
    tracing::info!(unit = config.name, "unit runs");
    shutdown.await;
    tracing::info!("stopping");
    drop(untold);
    if let Some(member) = member {
        member.leave().await;
    }
    let stopped = tokio::task::spawn_blocking(move || drop(admin));
    let _ = stopped.await;
    server.stop().await;
    Ok(())
}

/// The catalog with the devices that the configuration names.
fn open_catalog(config: &UnitConfig) -> Result<Catalog, MediaError> {
    let mut catalog = Catalog::open(&config.state_dir)?;
    for memory in &config.memory {
        catalog.add_memory(&memory.name, memory.size.0)?;
    }
    let known = catalog.report().devices;
    for file in &config.file {
        let is_known = known
            .iter()
            .any(|device| std::path::absolute(&file.path).is_ok_and(|p| p == device.path));
        if !is_known {
            let size = Some(file.size.0);
            catalog.add_device(&file.path, AddOptions { size, ..AddOptions::default() })?;
        }
        if file.page_cache {
            catalog.use_page_cache(&file.path)?;
        }
    }
    Ok(catalog)
}

/// From now on the shards hear of all volumes. The catalog's calls block, so a thread makes them.
async fn start_telling(holdings: &Arc<Holdings>, core: &Arc<UnitCore>) -> io::Result<()> {
    let teller = Teller::new(Arc::clone(core), Handle::current());
    let holdings = Arc::clone(holdings);
    tokio::task::spawn_blocking(move || holdings.start(Box::new(teller)))
        .await
        .map_err(io::Error::other)
}

/// A volume that a shard has found faulted stays so over a restart (P5).
async fn remember_faults(holdings: Arc<Holdings>, mut met: mpsc::UnboundedReceiver<uuid::Uuid>) {
    while let Some(volume) = met.recv().await {
        let holdings = Arc::clone(&holdings);
        // Not waited for: telling of this one may hang with its I/O, and others may fault.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = holdings.set_faulted(&volume.to_string()) {
                let error = error.full();
                tracing::error!(%volume, error, "the fault could not be written down");
            }
        });
    }
}

fn server_config(config: &UnitConfig, names: &TargetNames) -> ServerConfig {
    let portals = config.portals();
    let listen = portals.iter().map(|portal| portal.address).collect();
    let mut server = ServerConfig::new(listen, names.clone());
    server.groups = portals.iter().map(|portal| portal.group).collect();
    server.advertise = config.advertised();
    let directory = config.state_dir.join("reservations");
    server.reservations = Some(ReservationPlace::Directory(directory));
    if let Some(shards) = config.shards {
        server.shards = usize::from(shards.get());
    }
    server.busy_poll = Duration::from_micros(config.busy_poll_us.into());
    server.slow_io = config.slow_io_ms.map(|ms| Duration::from_millis(ms.get()));
    if let Some(memory) = config.buffer_memory {
        server.buffer_bytes = usize::try_from(memory.0).unwrap_or(usize::MAX);
    }
    server
}

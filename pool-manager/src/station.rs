//! A whole station: opened on its state directory, bound to its sockets, run until told to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use crate::app::Station;
use crate::config::Config;
use crate::http;
use crate::state_dir::StateDir;
use crate::store::redb::RedbStore;
use crate::store::{Store, StoreError};
use crate::tls::{self, CA_FILE, Identity, TlsError};
use crate::work::{self, Connect};
use crate::{announce, backup, look, random};

pub const ADMIN_TOKEN_FILE: &str = "admin.token";
pub(crate) const STORE_FILE: &str = "station.redb";

/// Why a station does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot use the state directory {path}")]
    State {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open the store in {path}")]
    Store {
        path: PathBuf,
        #[source]
        source: StoreError,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen at {address}; is another process there?")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// A station that is bound and about to run.
#[derive(Debug)]
pub struct Bound {
    station: Arc<Station>,
    identity: Identity,
    listener: TcpListener,
    announce: UdpSocket,
    addresses: Addresses,
}

/// Where a station is, with real ports, and where the files are that one needs to use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    pub api: SocketAddr,
    pub announce: SocketAddr,
    pub ca: PathBuf,
    pub admin_token: PathBuf,
}

impl Bound {
    /// Opens the state directory, making what is missing, and binds the sockets.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let path = config.state_dir.clone();
        let failed = |source| StartError::State { path: path.clone(), source };
        let state = StateDir::open(&path).map_err(failed)?;
        // Until the store is open, which is locked by itself.
        let busy = || failed(io::Error::other("another process restores a station there"));
        let _alone = state.lock().map_err(failed)?.ok_or_else(busy)?;
        if backup::finish(&state).map_err(failed)? {
            tracing::warn!("a restore that was cut short is complete now");
        }
        let station = open_station(config, &state)
            .await
            .map_err(|source| StartError::Store { path: path.clone(), source })?;
        ensure_admin_token(&station, &state).await.map_err(|error| match error {
            Trouble::Store(source) => StartError::Store { path: path.clone(), source },
            Trouble::File(source) => failed(source),
        })?;
        let identity = tls::identity(&state, config.listen, &config.names)?;
        let listen = |address| move |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen(config.listen))?;
        let announce = UdpSocket::bind(config.announce).await.map_err(listen(config.announce))?;
        let addresses = Addresses {
            api: listener.local_addr().map_err(listen(config.listen))?,
            announce: announce.local_addr().map_err(listen(config.announce))?,
            ca: state.path(CA_FILE),
            admin_token: state.path(ADMIN_TOKEN_FILE),
        };
        Ok(Self { station: Arc::new(station), identity, listener, announce, addresses })
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    #[cfg(test)]
    pub(crate) fn station(&self) -> &Station {
        &self.station
    }

    /// The PEM text of the CA that clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.identity.ca_pem
    }

    /// Runs until `shutdown` is done, and then until what is under way has ended.
    pub async fn run<C: Connect>(self, connect: C, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let Addresses { api, announce, ca, admin_token } = &self.addresses;
        tracing::info!(%api, %announce, "the station of the pool {} is up", self.station.pool);
        tracing::info!(ca = %ca.display(), admin_token = %admin_token.display(), "to use it");
        let router = http::router(Arc::clone(&self.station));
        let tls = Arc::clone(&self.identity.server);
        let serving = http::serve::serve(self.listener, tls, router, stopped.clone());
        let receiving =
            announce::receive(Arc::clone(&self.station), self.announce, stopped.clone());
        let connect = Arc::new(connect);
        let looking = look::run(Arc::clone(&self.station), Arc::clone(&connect), stopped.clone());
        let working = work::run(Arc::clone(&self.station), connect, stopped);
        let stopping = async {
            shutdown.await;
            tracing::info!("stopping");
            stop.send_replace(true);
            self.station.end();
        };
        tokio::join!(
            in_background(serving),
            in_background(receiving),
            in_background(looking),
            in_background(working),
            stopping
        );
    }
}

/// On the runtime's other threads, so that one part does not hold up the others.
async fn in_background(part: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = tokio::spawn(part).await {
        tracing::error!(%error, "a part of the station has ended");
    }
}

async fn open_station(config: &Config, state: &StateDir) -> Result<Station, StoreError> {
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(&state.path(STORE_FILE))?);
    let mut station = Station::open(store, &config.pool, config.policy).await?;
    station.quarantine = config.quarantine;
    station.ensure_join_token().await?;
    Ok(station)
}

enum Trouble {
    Store(StoreError),
    File(io::Error),
}

/// Made at the first start. The store keeps its hash; an operator who removes the file gets a new
/// token at the next start, and the old one stays valid.
async fn ensure_admin_token(station: &Station, state: &StateDir) -> Result<(), Trouble> {
    if state.read(ADMIN_TOKEN_FILE).map_err(Trouble::File)?.is_some() {
        return Ok(());
    }
    let token = random::token(&*station.machine, "oba");
    // In force before it is in the file: a file with a token that does not work would stay.
    station.add_admin_token(&token).await.map_err(Trouble::Store)?;
    let text = format!("{}\n", token.expose());
    state.write(ADMIN_TOKEN_FILE, &text, 0o600).map_err(Trouble::File)
}

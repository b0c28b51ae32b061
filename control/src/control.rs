//! Start and stop: what a unit's binary calls. [`Control::open`] before the portals listen, so that no
//! host meets an empty table; [`Control::join`] after it, so that a station meets a unit that works.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use outband_protocol::announce::{BadDatagram, Interface, Startup};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::access_store::{Identity, Store, StoreError};
use crate::announce::Announcer;
use crate::announce::driver::{self, Link, Wire};
use crate::api::{TargetNames, UnitInfo};
use crate::error::Error;
use crate::keeper::Keeper;
use crate::machine::{Os, SharedMachine};
use crate::secret::{JoinToken, UnitSecret};
use crate::server::{self, Api};
use crate::unit::Unit;

/// What a unit's operator decides about its part in a pool.
#[derive(Clone, Debug)]
pub struct Config {
    /// The unit's name, for people.
    pub name: String,
    /// Where the station hears announcements: `host:port`.
    pub station: String,
    /// The pool's join token.
    pub token: JoinToken,
    /// Where the unit API listens.
    pub api_listen: SocketAddr,
    /// Where the station finds the unit API. Without it, where it listens; an unspecified address
    /// means the one that announcements come from, and port 0 the one that it has got.
    pub api_advertise: Option<SocketAddr>,
    /// Advertised iSCSI portals.
    pub portals: Vec<SocketAddr>,
    /// This machine's network interfaces: see [`crate::interfaces()`].
    pub interfaces: Vec<Interface>,
    /// Software version.
    pub version: String,
}

/// Why control did not start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored table could not be put in force.
    #[error(transparent)]
    Table(#[from] Error),
    /// The unit API's address.
    #[error("the unit API cannot listen on {address}")]
    Listen {
        /// Where it should.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Something in the config is too long to be announced.
    #[error(transparent)]
    Announce(#[from] BadDatagram),
    /// The stored certificate is of no use.
    #[error("the unit's certificate cannot be served")]
    Tls(#[from] rustls::Error),
}

/// A unit's state, opened and in force.
#[derive(Debug)]
pub struct Control<U> {
    keeper: Arc<Keeper<U>>,
    unit: Arc<U>,
    store: Arc<Store>,
    identity: Identity,
    machine: SharedMachine,
}

impl<U: Unit> Control<U> {
    /// Opens the state in `dir` and gives the shards the stored table. Call it before a portal
    /// listens.
    ///
    /// # Errors
    /// When `dir` is in use, or cannot be read or written.
    pub async fn open(dir: &Path, names: TargetNames, unit: Arc<U>) -> Result<Self, ControlError> {
        Self::with_store(Store::open(dir)?, names, unit, Os::shared()).await
    }

    /// As [`Self::open`], on a store that is open already and a machine that need not be this one.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub async fn with_store(
        store: Store,
        names: TargetNames,
        unit: Arc<U>,
        machine: SharedMachine,
    ) -> Result<Self, ControlError> {
        let store = Arc::new(store);
        let identity = store.start(&*machine)?;
        let on = Arc::clone(&machine);
        let keeper = Keeper::open(Arc::clone(&unit), Arc::clone(&store), names, on).await?;
        Ok(Self { keeper: Arc::new(keeper), unit, store, identity, machine })
    }

    /// The owner of the access table: the operator's own commands on the unit go through it too.
    #[must_use]
    pub fn keeper(&self) -> &Arc<Keeper<U>> {
        &self.keeper
    }

    /// Who this unit is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Serves the unit API and announces the unit, until [`Member::leave`]. Call it when the portals
    /// listen.
    ///
    /// # Errors
    /// When the API cannot listen, or the config does not fit into an announcement.
    pub async fn join(self, config: Config) -> Result<Member, ControlError> {
        let failed = |source| ControlError::Listen { address: config.api_listen, source };
        let listener = TcpListener::bind(config.api_listen).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let acceptor = server::acceptor(&self.identity)?;
        let id = self.identity.id;
        let station = config.station.clone();
        let Parts { router, announcing } = self.parts(config, bound)?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, acceptor, router, stopped.clone()));
        tasks.spawn(announcing.run(Link::new(station), stopped));
        tracing::info!(unit = %id, api = %bound, "announcing this unit");
        Ok(Member { id, api: bound, stop, tasks })
    }

    /// A member without its sockets. `bound` is where the unit API is reached.
    ///
    /// # Errors
    /// When the config does not fit into an announcement.
    pub fn parts(self, config: Config, bound: SocketAddr) -> Result<Parts<U>, ControlError> {
        let api_address = advertised(&config, bound);
        let announcer = announcer(&config, &self.identity, api_address, &self.machine)?;
        let (secret, enrolled) = watch::channel(self.identity.secret.clone());
        let info = unit_info(&config, self.identity.id);
        let api = Arc::new(Api {
            keeper: self.keeper,
            unit: Arc::clone(&self.unit),
            store: self.store,
            info,
            token: config.token,
            secret,
            enrolling: Mutex::new(()),
            machine: Arc::clone(&self.machine),
        });
        let announcing = Announcing { announcer, unit: self.unit, enrolled, machine: self.machine };
        Ok(Parts { router: server::router(api), announcing })
    }
}

/// What a member does, without the sockets that it does it by.
#[derive(Debug)]
pub struct Parts<U> {
    /// Answers the unit API.
    pub router: Router,
    /// Announces the unit.
    pub announcing: Announcing<U>,
}

/// A unit that is about to announce itself.
#[derive(Debug)]
pub struct Announcing<U> {
    announcer: Announcer,
    unit: Arc<U>,
    enrolled: watch::Receiver<Option<UnitSecret>>,
    machine: SharedMachine,
}

impl<U: Unit> Announcing<U> {
    /// Announces by `wire` until `stop` turns true, then says SHUTDOWN.
    pub async fn run(self, wire: impl Wire, stop: watch::Receiver<bool>) {
        let Self { announcer, unit, enrolled, machine } = self;
        driver::run(announcer, wire, unit, enrolled, machine, stop).await;
    }
}

/// A unit that announces itself and answers its station. Dropped, it ends without a SHUTDOWN.
#[derive(Debug)]
pub struct Member {
    /// The unit's id.
    pub id: Uuid,
    /// Where the unit API listens.
    pub api: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Member {
    /// Says SHUTDOWN, answers the requests at hand, and ends.
    pub async fn leave(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of control failed");
            }
        }
    }
}

/// Returns when the unit is to leave.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and so is the `Member`.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn advertised(config: &Config, bound: SocketAddr) -> SocketAddr {
    let mut address = config.api_advertise.unwrap_or(bound);
    if address.port() == 0 {
        address.set_port(bound.port());
    }
    address
}

fn announcer(
    config: &Config,
    identity: &Identity,
    api: SocketAddr,
    machine: &SharedMachine,
) -> Result<Announcer, BadDatagram> {
    let key = identity.secret.as_ref();
    let key = key.map_or_else(|| config.token.seal_key(), UnitSecret::seal_key);
    let startup = Startup {
        fingerprint: identity.fingerprint(),
        api,
        name: config.name.clone(),
        version: config.version.clone(),
        portals: config.portals.clone(),
        interfaces: config.interfaces.clone(),
    };
    Announcer::new(identity.id, identity.incarnation, startup, key, machine.now())
}

fn unit_info(config: &Config, id: Uuid) -> UnitInfo {
    let text = |one: &Interface| format!("{} {}", one.name, one.address);
    UnitInfo {
        id,
        name: config.name.clone(),
        version: config.version.clone(),
        portals: config.portals.clone(),
        interfaces: config.interfaces.iter().map(text).collect(),
        enrolled: false,
    }
}

//! A station on free ports of the loopback, with units that are played by the test.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(dead_code, reason = "each test file uses its part")]

mod unit;

use std::path::Path;
use std::time::Duration;

use outband_pool_api::{Client, NewHost, Secret, Size, Trust, UnitState, VolumeRequest};
use outband_pool_manager::app::Policy;
use outband_pool_manager::config::Config;
use outband_pool_manager::connect::OverHttps;
use outband_pool_manager::station::{Addresses, Bound, StartError};
use outband_pool_manager::store::StoreError;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use unit::{Announcer, Units};

pub(crate) const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub directory: tempfile::TempDir,
    /// The units that the test plays, unless they are real.
    pub units: Units,
    over_https: bool,
    pub config: Config,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    pub addresses: Addresses,
}

impl World {
    pub(crate) async fn new(policy: Policy) -> Self {
        Self::open(policy, false).await
    }

    /// For units that serve the unit API themselves.
    pub(crate) async fn over_https(policy: Policy) -> Self {
        Self::open(policy, true).await
    }

    async fn open(policy: Policy, over_https: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: directory.path().join("state"),
            listen: "127.0.0.1:0".parse().unwrap(),
            announce: "127.0.0.1:0".parse().unwrap(),
            policy,
            ..Config::default()
        };
        let units = Units::default();
        let (running, addresses) = start(&config, &units, over_https).await;
        Self { directory, units, over_https, config, running: Some(running), addresses }
    }

    /// With one unit of this many MiB that has joined.
    pub(crate) async fn with_unit(mib: u64) -> (Self, Announcer) {
        let world = Self::new(Policy::Auto).await;
        let unit = world.add_unit("unit-1", mib).await;
        (world, unit)
    }

    pub(crate) async fn add_unit(&self, name: &str, mib: u64) -> Announcer {
        let token = self.admin().join_token().await.unwrap().token;
        let mut unit = Announcer::new(name, &token, self.addresses.announce, &self.units).await;
        self.units.add(unit.id, mib * MIB);
        unit.start().await;
        self.until_unit(name, UnitState::Joined).await;
        unit
    }

    pub(crate) async fn until_unit(&self, name: &str, state: UnitState) {
        let client = self.admin();
        let reached = async {
            loop {
                let units = client.units().await.unwrap();
                if units.iter().any(|unit| unit.name == name && unit.state == state) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the unit gets there");
    }

    /// Ends it as SIGTERM does, and starts it again on the same state directory and ports.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let config = Config {
            listen: self.addresses.api,
            announce: self.addresses.announce,
            ..self.config.clone()
        };
        let (running, addresses) = start(&config, &self.units, self.over_https).await;
        (self.running, self.addresses) = (Some(running), addresses);
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            let _ = stop.send(());
            tokio::time::timeout(PATIENCE, task).await.expect("it ends").unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.addresses.api)
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::Ca(read(&self.addresses.ca))
    }

    pub(crate) fn admin_token(&self) -> Secret {
        Secret::new(read(&self.addresses.admin_token).trim())
    }

    pub(crate) fn admin(&self) -> Client {
        self.client(self.admin_token())
    }

    pub(crate) fn client(&self, token: Secret) -> Client {
        Client::new(&self.url(), token, &self.trust()).unwrap()
    }

    pub(crate) async fn host(&self, name: &str) -> (NewHost, Client) {
        let iqn = format!("iqn.2026-11.test:{name}");
        let host = self.admin().add_host(name, &iqn).await.unwrap();
        let client = self.client(host.token.clone());
        (host, client)
    }
}

async fn start(
    config: &Config,
    units: &Units,
    over_https: bool,
) -> ((oneshot::Sender<()>, JoinHandle<()>), Addresses) {
    let bound = open(config).await;
    let addresses = bound.addresses().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = match over_https {
        true => tokio::spawn(bound.run(OverHttps, shutdown)),
        false => tokio::spawn(bound.run(units.clone(), shutdown)),
    };
    ((stop, task), addresses)
}

/// A write that was under way when the station before was stopped may still hold the store.
async fn open(config: &Config) -> Bound {
    for _ in 0..200 {
        match Bound::open(config).await {
            Err(StartError::Store { source: StoreError::InUse, .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            bound => return bound.unwrap(),
        }
    }
    panic!("the store stays in use");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

pub(crate) fn ask(mib: u64) -> VolumeRequest {
    VolumeRequest { size: Size(mib * MIB), ..VolumeRequest::default() }
}

pub(crate) fn ask_named(name: &str, mib: u64) -> VolumeRequest {
    VolumeRequest { name: Some(name.to_owned()), ..ask(mib) }
}

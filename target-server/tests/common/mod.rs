//! A target in this process, on a port of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]
#![allow(dead_code, reason = "each test binary uses some of it")]

pub(crate) mod raw;
pub(crate) mod reserves;
pub(crate) mod scsi;
pub(crate) mod unit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outband_control::access::{ANY_HOST, AccessTable, Chap, Epoch, Grant};
use outband_control::api::TargetNames;
use outband_control::secret::Secret;
use outband_initiator::{Config, Disk, Error};
use outband_target_server::media::{Media, Piece, VolumeName, VolumeSpec, ZeroWith};
use outband_target_server::server::{Server, ServerConfig};
use uuid::Uuid;

use self::scsi::ScsiHost;

pub(crate) const SECRET: &str = "a secret of host a's";

pub(crate) fn host(name: &str) -> String {
    format!("iqn.2026-11.local.host:{name}")
}

/// A running target and what it has been told.
pub(crate) struct Target {
    pub(crate) server: Arc<Server>,
    pub(crate) access: AccessTable,
    pub(crate) portal: SocketAddr,
}

impl Target {
    /// Starts one; `change` may change its configuration.
    pub(crate) fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let names = TargetNames::new("iqn.2026-11.local.outband", "test");
        let mut config = ServerConfig::new(vec!["127.0.0.1:0".parse().unwrap()], names.clone());
        config.shards = 2;
        change(&mut config);
        let server = Arc::new(Server::start(&config, None).unwrap());
        let portal = server.portals()[0];
        Self { server, access: AccessTable::new(names), portal }
    }

    /// Serves a memory volume of so many MiB.
    pub(crate) async fn volume(&self, name: &str, mib: u64) -> VolumeSpec {
        let spec = memory(name, mib);
        self.server.attach(&spec).await.unwrap();
        spec
    }

    /// Lets a host in, by CHAP as itself.
    pub(crate) async fn grant(&mut self, volume: &str, to: &str, epoch: u64) {
        self.grant_sessions(volume, to, epoch, 1).await;
    }

    /// As many sessions as `sessions_per_portal` says.
    pub(crate) async fn grant_sessions(
        &mut self,
        volume: &str,
        to: &str,
        epoch: u64,
        sessions_per_portal: u16,
    ) {
        let chap = Chap { user: to.to_owned(), secret: Secret::new(SECRET), mutual: None };
        let grant = Grant {
            subject: volume.parse().unwrap(),
            host: host(to),
            chap: Some(chap),
            sources: Vec::new(),
            epoch: Epoch(epoch),
            sessions_per_portal,
        };
        self.access.grant(grant).unwrap();
        self.server.publish(self.access.clone()).await;
    }

    /// Lets everybody in to it, so often as they like, without CHAP, and connects as one of them.
    pub(crate) async fn open(&mut self, spec: &VolumeSpec) -> ScsiHost {
        self.server.attach(spec).await.unwrap();
        let grant = Grant {
            subject: spec.name.as_str().parse().unwrap(),
            host: ANY_HOST.to_owned(),
            chap: None,
            sources: Vec::new(),
            epoch: Epoch(1),
            sessions_per_portal: 8,
        };
        self.access.grant(grant).unwrap();
        self.server.publish(self.access.clone()).await;
        self.scsi_host(spec.name.as_str())
    }

    /// One more session to an open volume.
    pub(crate) fn scsi_host(&self, volume: &str) -> ScsiHost {
        let target = format!("iqn.2026-11.local.outband:test:{volume}");
        ScsiHost::connect(self.portal, &target, &host("scsi"))
    }

    pub(crate) fn config(&self, volume: &str, of: &str) -> Config {
        let target = format!("iqn.2026-11.local.outband:test:{volume}");
        Config::new(self.portal.to_string(), target).initiator(host(of)).chap(of, SECRET)
    }

    pub(crate) async fn disk(&self, volume: &str, of: &str) -> Result<Disk, Error> {
        Disk::connect(self.config(volume, of)).await
    }
}

pub(crate) fn memory(name: &str, mib: u64) -> VolumeSpec {
    memory_of(name, mib << 20, 512)
}

/// A volume in memory, which keeps only what is written to it.
pub(crate) fn memory_of(name: &str, len: u64, block_size: u32) -> VolumeSpec {
    let zero = ZeroWith::Writes;
    let piece = Piece { device: Uuid::new_v4(), media: Media::Memory, offset: 0, len, zero };
    VolumeSpec {
        physical_block_size: 4096,
        volatile: true,
        ..VolumeSpec::new(Uuid::new_v4(), VolumeName::new(name).unwrap(), block_size, vec![piece])
    }
}

/// Asks again until it is so, for a bounded time.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..200 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("still not so after five seconds: {what}");
}

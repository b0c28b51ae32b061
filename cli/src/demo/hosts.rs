//! The demo's two hosts: registered by the administrator, asking for storage with their own tokens,
//! and using it directly on its unit.

use std::time::Duration;

use outband_initiator::{Config, Disk};
use outband_pool_api::{Chap, Client, Connection, Size, Volume, VolumeRequest, Wait};
use uuid::Uuid;

use super::lab::Lab;
use crate::failure::Failure;
use crate::pattern::{Pattern, Random};

/// Time for a volume to be made and granted.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Host {
    /// `A`
    pub(super) letter: &'static str,
    /// `host-a`
    pub(super) name: String,
    pub(super) iqn: String,
    pub(super) chap: Chap,
    pub(super) client: Client,
    pub(super) pattern: Pattern,
    pub(super) volumes: Vec<Volume>,
}

impl Host {
    pub(super) async fn register(lab: &Lab, letter: &'static str) -> Result<Self, Failure> {
        let name = format!("host-{}", letter.to_lowercase());
        let iqn = format!("iqn.2026-11.local.outband.demo:{name}");
        let new = lab.client().add_host(&name, &iqn).await?;
        lab.write_secret(&format!("{name}.token"), new.token.expose())?;
        lab.write_secret(&format!("{name}.secret"), new.chap.secret.expose())?;
        let seed = Random::seed().map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self {
            letter,
            name,
            iqn,
            chap: new.chap,
            client: lab.client_with(new.token)?,
            pattern: Pattern::new(seed),
            volumes: Vec::new(),
        })
    }

    /// Asks for storage as a host does: with its own token, waiting for the result.
    pub(super) async fn request(&mut self, size: Size) -> Result<&Volume, Failure> {
        let request = VolumeRequest { size, ..VolumeRequest::default() };
        self.ask(&self.client.clone(), &request).await
    }

    /// As an administrator who wants it on a certain unit.
    pub(super) async fn request_at(
        &mut self,
        admin: &Client,
        size: Size,
        unit: &str,
    ) -> Result<&Volume, Failure> {
        let request = VolumeRequest {
            size,
            host: Some(self.name.clone()),
            unit: Some(unit.to_owned()),
            ..VolumeRequest::default()
        };
        self.ask(admin, &request).await
    }

    async fn ask(&mut self, client: &Client, request: &VolumeRequest) -> Result<&Volume, Failure> {
        let key = Uuid::new_v4().to_string();
        let job = client.request_volume(request, &key, Wait::AtMost(PATIENCE)).await?;
        let volume = job.result.ok_or_else(|| {
            Failure::Failed(format!("host {}'s job is done but has no volume", self.letter))
        })?;
        self.volumes.push(volume);
        Ok(&self.volumes[self.volumes.len() - 1])
    }

    /// The volume it asked for first.
    pub(super) fn volume(&self) -> &Volume {
        &self.volumes[0]
    }

    pub(super) fn connection(&self) -> Result<&Connection, Failure> {
        let volume = self.volume();
        volume.connection.as_ref().ok_or_else(|| {
            Failure::Failed(format!("{} is {} and has no connection", volume.name, volume.state))
        })
    }

    pub(super) async fn open(&self) -> Result<Disk, Failure> {
        let doing = || Failure::disk(format!("host {} logs in to its volume", self.letter));
        Disk::connect(Config::try_from(self.connection()?).map_err(doing())?).await.map_err(doing())
    }

    /// Logs in to another host's volume by this host's name and secret.
    pub(super) async fn try_volume_of(
        &self,
        other: &Self,
    ) -> Result<Result<Disk, outband_initiator::Error>, Failure> {
        let there = other.connection()?;
        let portal = there.portals.first().cloned().unwrap_or_default();
        let config = Config::new(portal, &there.target)
            .initiator(&self.iqn)
            .chap(&self.chap.user, self.chap.secret.expose());
        Ok(Disk::connect(config).await)
    }
}

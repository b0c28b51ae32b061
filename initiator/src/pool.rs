//! Asks a pool for storage and opens what it gives.

use std::sync::Arc;
use std::time::Duration;

use outband_pool_api::{Client, Connection, Size, Volume, VolumeRequest, Wait};

use crate::config::fill_random;
use crate::{Config, Disk, Error};

/// How long a volume may take to be made.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pool, through its station. The station is asked once for each volume; the data goes straight
/// to the unit that holds it.
#[derive(Clone, Debug)]
pub struct Pool {
    client: Client,
}

impl Pool {
    /// Asks with the rights of `client`'s token, normally a host's own.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// A new volume of at least `size`, open.
    pub async fn request(&self, size: Size) -> Result<Disk, Error> {
        let request = VolumeRequest { size, ..VolumeRequest::default() };
        let volume = self.create(&request).await?;
        Disk::connect(config_of(&volume)?).await
    }

    /// A new volume as described. [`config`](Self::config) says how to open it.
    pub async fn create(&self, request: &VolumeRequest) -> Result<Volume, Error> {
        // The key makes the request safe to repeat, which the client does by itself.
        let mut key = [0; 16];
        fill_random(&mut key)?;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let job = self.client.request_volume(request, &key, Wait::AtMost(PATIENCE)).await;
        let job = job.map_err(pool_error)?;
        job.result.ok_or(Error::Nonsense("the station's job is done but has no volume"))
    }

    /// Opens a volume that this host has already.
    pub async fn open(&self, name: &str) -> Result<Disk, Error> {
        Disk::connect(self.config(name).await?).await
    }

    /// How to open a volume that this host has already.
    pub async fn config(&self, name: &str) -> Result<Config, Error> {
        config_of(&self.client.volume(name).await.map_err(pool_error)?)
    }

    /// The station's client, for everything else.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

fn pool_error(error: outband_pool_api::Error) -> Error {
    Error::Pool(Arc::new(error))
}

fn config_of(volume: &Volume) -> Result<Config, Error> {
    let Some(connection) = &volume.connection else {
        let Volume { name, state, .. } = volume;
        return Err(Error::Config(format!("volume {name} is {state}: this host has no grant")));
    };
    Config::try_from(connection)
}

impl TryFrom<&Connection> for Config {
    type Error = Error;

    fn try_from(connection: &Connection) -> Result<Self, Error> {
        let (first, others) = connection
            .portals
            .split_first()
            .ok_or(Error::Nonsense("the station names no portal for the volume"))?;
        let lun = u8::try_from(connection.lun)
            .map_err(|_| Error::Nonsense("the station names a LUN beyond 255"))?;
        let config = Self::new(first, &connection.target)
            .initiator(&connection.initiator)
            .chap(&connection.chap.user, connection.chap.secret.expose())
            .lun(lun);
        let config = match &connection.chap.mutual {
            Some(mutual) => config.mutual_chap(&mutual.user, mutual.secret.expose()),
            None => config,
        };
        Ok(others.iter().fold(config, |config, portal| config.portal(portal)))
    }
}

#[cfg(test)]
mod tests {
    use outband_pool_api::{Chap, MutualChap, Secret};

    use super::*;

    fn connection() -> Connection {
        Connection {
            portals: vec!["10.0.0.5:3260".into(), "10.0.1.5:3260".into()],
            target: "iqn.2026-11.local.outband:pool:vol".into(),
            lun: 0,
            start_lba: 2048,
            end_lba: 4095,
            blocks: 2048,
            block_size: 512,
            initiator: "iqn.2026-11.local.host:a".into(),
            chap: Chap {
                user: "host".into(),
                secret: Secret::new("twelve bytes"),
                mutual: Some(MutualChap {
                    user: "units".into(),
                    secret: Secret::new("other bytes."),
                }),
            },
        }
    }

    #[test]
    fn all_that_a_session_needs_is_in_the_stations_answer() {
        let config = Config::try_from(&connection()).unwrap();
        let session = config.session().unwrap();
        assert_eq!(session.portals, ["10.0.0.5:3260", "10.0.1.5:3260"]);
        assert_eq!(session.login.name.as_str(), "iqn.2026-11.local.host:a");
        let chap = session.login.chap.unwrap();
        assert_eq!(chap.user, "host");
        assert_eq!(chap.mutual.map(|(user, _)| user).as_deref(), Some("units"));
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_told_apart_from_one_that_failed() {
        let nowhere = Connection { portals: vec![], ..connection() };
        assert!(matches!(Config::try_from(&nowhere), Err(Error::Nonsense(_))));
        let far = Connection { lun: 256, ..connection() };
        assert!(matches!(Config::try_from(&far), Err(Error::Nonsense(_))));
    }
}

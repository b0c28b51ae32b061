//! Units as they are: the unit API's client behind [`UnitApi`], and what its words mean here.

use std::collections::BTreeMap;
use std::sync::Arc;

use outband_control::access::{BadSubject, Chap, Epoch, Grant, Mutual, Subject};
use outband_control::api::{
    self, Counts, Inventory, VolumeCreate, VolumeGrow, VolumeInfo, VolumeState,
};
use outband_control::client::{Carrier, Client, ClientError};
use outband_control::secret::{JoinToken, Secret, UnitSecret};
use outband_pool_api as pool;
use uuid::Uuid;

use crate::random;
use crate::records::UnitRecord;
use crate::unit::{
    DeviceView, Fence, GrantView, NewGrant, NewVolume, Readiness, Refusal, UnitApi, UnitError,
    UnitView, VolumeView,
};
use crate::work::Connect;

/// Reaches units over HTTPS, each pinned to the certificate of its sealed STARTUP.
#[derive(Clone, Copy, Debug, Default)]
pub struct OverHttps;

/// Reaches units by the carrier that the function makes for them: the simulator's way.
#[derive(Debug)]
pub struct By<F>(pub F);

/// One unit.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    id: Uuid,
}

impl Connect for OverHttps {
    type Unit = Remote;

    fn connect(&self, unit: &UnitRecord) -> Result<Remote, UnitError> {
        let client = Client::new(unit.api, fingerprint(unit)?, &secret(unit)?).map_err(failure)?;
        Ok(Remote { client, id: unit.id })
    }

    async fn enrol(&self, unit: &UnitRecord, join_token: &str) -> Result<(), UnitError> {
        let token = JoinToken::new(join_token);
        let enrolled =
            Client::enrol(unit.api, fingerprint(unit)?, unit.id, &token, &secret(unit)?).await;
        enrolled.map(drop).map_err(failure)
    }
}

impl<F> Connect for By<F>
where
    F: Fn(&UnitRecord) -> Arc<dyn Carrier> + Send + Sync + 'static,
{
    type Unit = Remote;

    fn connect(&self, unit: &UnitRecord) -> Result<Remote, UnitError> {
        Ok(Remote { client: Client::over((self.0)(unit), &secret(unit)?), id: unit.id })
    }

    async fn enrol(&self, unit: &UnitRecord, join_token: &str) -> Result<(), UnitError> {
        let token = JoinToken::new(join_token);
        let enrolled = Client::enrol_over((self.0)(unit), unit.id, &token, &secret(unit)?).await;
        enrolled.map(drop).map_err(failure)
    }
}

fn fingerprint(unit: &UnitRecord) -> Result<[u8; 32], UnitError> {
    let bytes = random::unhex(&unit.fingerprint);
    bytes.ok_or_else(|| UnitError::Failed("its record has no fingerprint".to_owned()))
}

fn secret(unit: &UnitRecord) -> Result<UnitSecret, UnitError> {
    let secret = unit.secret.as_ref().map(|secret| secret.expose().to_owned());
    let secret = secret.and_then(|secret| UnitSecret::try_from(secret).ok());
    secret.ok_or_else(|| UnitError::Failed("its record has no secret".to_owned()))
}

impl UnitApi for Remote {
    async fn inventory(&self) -> Result<UnitView, UnitError> {
        let inventory = self.client.inventory().await.map_err(failure)?;
        if inventory.unit.id != self.id {
            let detail = format!("another unit answers in its place: {}", inventory.unit.id);
            return Err(UnitError::Failed(detail));
        }
        Ok(view(inventory))
    }

    async fn counts(&self) -> Result<Counts, UnitError> {
        self.client.counts().await.map_err(failure)
    }

    async fn create(&self, volume: &NewVolume) -> Result<(), UnitError> {
        let request = VolumeCreate {
            name: volume.name.clone(),
            size: volume.size,
            block_size: volume.block_size.map(u32::from),
            write_policy: write_policy(volume.write_policy),
            devices: Vec::new(),
            volatile: volume.volatile,
            allow_sanitize: volume.allow_sanitize,
        };
        self.client.create_volume(&request).await.map(drop).map_err(failure)
    }

    async fn grow(&self, volume: &str, size: u64) -> Result<(), UnitError> {
        let request = VolumeGrow { size };
        let grown = self.client.grow_volume(&subject(volume)?, &request).await;
        grown.map(drop).map_err(failure)
    }

    async fn delete(&self, volume: &str, id: Uuid) -> Result<(), UnitError> {
        self.client.delete_volume(&subject(volume)?, Some(id)).await.map_err(failure)
    }

    async fn grant(&self, grant: &NewGrant) -> Result<(), UnitError> {
        let chap = Chap {
            user: grant.chap.user.clone(),
            secret: Secret::new(grant.chap.secret.expose()),
            mutual: grant.chap.mutual.as_ref().map(|mutual| Mutual {
                user: mutual.user.clone(),
                secret: Secret::new(mutual.secret.expose()),
            }),
        };
        let grant = Grant {
            subject: subject(&grant.volume)?,
            host: grant.iqn.clone(),
            chap: Some(chap),
            sources: Vec::new(),
            epoch: Epoch(grant.epoch),
            sessions_per_portal: 1,
        };
        self.client.grant(&grant).await.map(drop).map_err(failure)
    }

    async fn fence(&self, fence: &Fence) -> Result<(), UnitError> {
        let (id, fence) = (
            fence.id,
            api::Fence {
                subject: subject(&fence.volume)?,
                host: fence.iqn.clone(),
                epoch: Epoch(fence.epoch),
            },
        );
        self.client.fence(&fence, id).await.map(drop).map_err(failure)
    }
}

fn subject(volume: &str) -> Result<Subject, UnitError> {
    let other =
        |bad: BadSubject| UnitError::Refused { refusal: Refusal::Other, detail: bad.to_string() };
    Subject::whole(volume).map_err(other)
}

/// What is final and what may be tried again, by the unit's own word for it.
fn failure(error: ClientError) -> UnitError {
    let problem = match error {
        ClientError::Unreachable { ref source, .. } => {
            let cause = source.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            return UnitError::Unreachable(format!("{error}{cause}"));
        }
        ClientError::Problem(problem) => problem,
        ClientError::Garbled(_) | ClientError::Setup(_) => {
            return UnitError::Failed(error.to_string());
        }
    };
    let refusal = match problem.word() {
        "stale-epoch" => Refusal::StaleEpoch,
        "held" => Refusal::Held,
        "not-found" => Refusal::NotFound,
        "no-space" => Refusal::NoSpace,
        "exists" | "conflict" | "invalid" | "whole-and-parts" | "too-large" => Refusal::Other,
        // Its key, its disk, or its version: an operator may mend it, and then it goes on.
        _ => return UnitError::Failed(problem.detail),
    };
    UnitError::Refused { refusal, detail: problem.detail }
}

fn view(inventory: Inventory) -> UnitView {
    let devices = inventory.storage.devices.into_iter().map(|device| DeviceView {
        id: device.id,
        path: device.path,
        total: device.size,
        free: device.free,
        volatile: device.volatile,
        healthy: !device.faulted,
    });
    let mut grants: BTreeMap<String, Vec<GrantView>> = BTreeMap::new();
    for grant in inventory.grants {
        let own = grants.entry(grant.subject.to_string()).or_default();
        own.push(GrantView { iqn: grant.host, epoch: grant.epoch.0 });
    }
    let volumes = inventory.storage.volumes.into_iter().map(|volume| {
        let own = grants.remove(&volume.name).unwrap_or_default();
        volume_view(volume, own)
    });
    UnitView { volumes: volumes.collect(), devices: devices.collect() }
}

fn volume_view(volume: VolumeInfo, grants: Vec<GrantView>) -> VolumeView {
    VolumeView {
        id: volume.id,
        name: volume.name,
        size: volume.size,
        block_size: volume.block_size,
        start_lba: volume.start_lba,
        end_lba: volume.end_lba,
        blocks: volume.blocks,
        target: volume.target,
        lun: u64::from(volume.lun),
        volatile: volume.volatile,
        allow_sanitize: volume.allow_sanitize,
        readiness: match volume.state {
            VolumeState::Online => Readiness::Online,
            VolumeState::Zeroing => Readiness::Zeroing,
            VolumeState::Faulted => Readiness::Faulted,
            VolumeState::Incomplete => Readiness::Incomplete,
        },
        partitioned: !volume.partitions.is_empty(),
        floor: volume.epoch_floor.0,
        untouched: volume.untouched,
        grants,
    }
}

fn write_policy(policy: pool::WritePolicy) -> api::WritePolicy {
    match policy {
        pool::WritePolicy::Normal => api::WritePolicy::Normal,
        pool::WritePolicy::High => api::WritePolicy::High,
    }
}

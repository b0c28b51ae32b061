//! The one owner of the access table: what is granted and fenced goes through here, in the order that
//! makes a fence final. Grants: the device's floor, then the store, then the shards. Fences: the gate,
//! then device and store, then the sessions' end and the drain, then the acknowledgement.

mod redirects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use outband_protocol::seeded::{self, Bug};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use uuid::Uuid;

use crate::access::{AccessTable, Epoch, Grant, Granted, Refused, Subject};
use crate::access_store::Store;
use crate::api::{Fence, Fenced, Inventory, Storage, TargetNames, UnitInfo, VolumeState};
use crate::api::{GrantInfo, PartitionCreate, PartitionInfo, VolumeCreate, VolumeGrow, VolumeInfo};
use crate::error::Error;
use crate::machine::SharedMachine;
use crate::unit::{Unit, UnitError};

/// Owns the access table of one unit.
#[derive(Debug)]
pub struct Keeper<U> {
    unit: Arc<U>,
    store: Arc<Store>,
    machine: SharedMachine,
    table: AsyncMutex<Arc<AccessTable>>,
    /// One lock a volume, held from the first to the last step of whatever is done to it: a drain
    /// that takes long holds up its own volume and no other.
    volumes: Mutex<BTreeMap<String, Arc<AsyncMutex<()>>>>,
}

impl<U: Unit> Keeper<U> {
    /// Reads the stored table and gives it to the shards: call this before a portal listens.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(
        unit: Arc<U>,
        store: Arc<Store>,
        names: TargetNames,
        machine: SharedMachine,
    ) -> Result<Self, Error> {
        let table = Arc::new(store.table(names)?);
        unit.publish(Arc::clone(&table)).await;
        let volumes = Mutex::default();
        Ok(Self { unit, store, machine, table: AsyncMutex::new(table), volumes })
    }

    /// The table as it is now.
    pub async fn table(&self) -> Arc<AccessTable> {
        Arc::clone(&*self.table.lock().await)
    }

    /// What the station asks for first: the unit's storage, and who may use it.
    ///
    /// # Errors
    /// The unit's.
    pub async fn inventory(&self, unit: UnitInfo) -> Result<Inventory, Error> {
        let mut storage = self.unit.inventory().await?;
        let table = self.table().await;
        storage.volumes.iter_mut().for_each(|volume| take_floor(volume, &table));
        let info = |grant: &Grant| GrantInfo::new(&grant.subject, grant, table.names());
        Ok(Inventory { unit, storage, grants: table.grants().map(info).collect() })
    }

    /// Puts `grant` in force. Finishes what it has begun even if the caller goes away.
    ///
    /// # Errors
    /// See [`Refused`]; and the unit's and the store's, after which it is not in force.
    pub async fn grant(self: &Arc<Self>, grant: Grant) -> Result<GrantInfo, Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(grant.subject.volume()).await;
            this.put(grant).await
        })
        .await
    }

    async fn put(&self, grant: Grant) -> Result<GrantInfo, Error> {
        let subject = grant.subject.clone();
        let now = self.table().await;
        let info = GrantInfo::new(&subject, &grant, now.names());
        if AccessTable::clone(&now).grant(grant.clone())? == Granted::Already {
            return Ok(info);
        }
        let elsewhere = now.redirect_on(&subject).is_some();
        if !elsewhere {
            self.ready(&subject).await?;
        }
        // The same host under a new epoch: the old one ends first, as under a fence.
        if let Some(old) = now.grant_on(&subject) {
            self.end(&subject, &old.host, old.epoch, None).await?;
        }
        let device_floor = match self.unit.raise_floor(subject.volume(), grant.epoch).await {
            // The host is sent to where the volume is; no device here has it.
            Err(UnitError::NotFound(_)) if elsewhere => Epoch::default(),
            floor => floor?,
        };
        // A device whose floor is this very epoch, while the store's is below it, got it from this same
        // request, cut short: an epoch is drawn once, so it is nobody else's.
        if device_floor > grant.epoch {
            return Err(Refused::StaleEpoch { epoch: grant.epoch, floor: device_floor }.into());
        }
        self.change(|table| table.grant(grant).map(|_| info)).await
    }

    /// Whether the volume or partition is there and may be given to somebody.
    async fn ready(&self, subject: &Subject) -> Result<(), Error> {
        let storage: Storage = self.unit.inventory().await?;
        let missing = || UnitError::NotFound(subject.to_string());
        let volume = storage.volumes.iter().find(|volume| volume.name == subject.volume());
        let volume = volume.ok_or_else(missing)?;
        if let Some(number) = subject.partition() {
            volume.partitions.iter().find(|part| part.number == number).ok_or_else(missing)?;
        }
        match volume.state {
            VolumeState::Online | VolumeState::Faulted => Ok(()),
            VolumeState::Zeroing => {
                Err(UnitError::Conflict(format!("{subject} is still being cleared")).into())
            }
            VolumeState::Incomplete => {
                Err(UnitError::Conflict(format!("{subject} lacks a device")).into())
            }
        }
    }

    /// Ends one grant, of the volume of this identity if one is given. When this returns, no write of it
    /// can land any more, on this unit or after its restart. Finishes what it has begun even if the
    /// caller goes away.
    ///
    /// # Errors
    /// The store's: then nothing is acknowledged, although the gate may be closed.
    pub async fn fence(self: &Arc<Self>, fence: Fence, id: Option<Uuid>) -> Result<Fenced, Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(fence.subject.volume()).await;
            this.end(&fence.subject, &fence.host, fence.epoch, id).await
        })
        .await
    }

    /// Fences whatever grant is on `subject`.
    ///
    /// # Errors
    /// As [`Self::fence`].
    pub async fn revoke(self: &Arc<Self>, subject: Subject) -> Result<Fenced, Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(subject.volume()).await;
            let table = this.table().await;
            match table.grant_on(&subject) {
                Some(grant) => this.end(&subject, &grant.host, grant.epoch, None).await,
                None => Ok(Fenced { floor: table.floor(subject.volume()) }),
            }
        })
        .await
    }

    /// The fence itself. Every step is taken even when the table has no such grant any more: an
    /// earlier fence may have been cut short after it had been stored. But one that comes late, meant for
    /// a volume that is gone, leaves the floor of the next of its name alone: that one was never given
    /// to anybody, and is taken up only while it is untouched. The floor of the name rises all the same.
    async fn end(
        &self,
        subject: &Subject,
        host: &str,
        epoch: Epoch,
        id: Option<Uuid>,
    ) -> Result<Fenced, Error> {
        self.unit.close_gate(subject, host, epoch).await;
        let meant = match id {
            // What cannot be read is taken for the one that is meant.
            Some(id) => self.is_still(subject.volume(), id).await.unwrap_or(true),
            None => true,
        };
        // A device that is gone or broken must not keep its host: the store's floor binds this unit,
        // and whoever imports the device elsewhere imports no grants.
        if meant && let Err(error) = self.unit.raise_floor(subject.volume(), epoch).await {
            tracing::warn!(%subject, %epoch, %error, "fenced without the device's epoch floor");
        }
        let floor = self
            .change(|table| {
                table.fence(subject, host, epoch);
                Ok(table.floor(subject.volume()))
            })
            .await?;
        if !seeded::is(Bug::FenceWithoutDrain) {
            self.unit.drain(subject, host, epoch).await;
        }
        tracing::info!(%subject, host, %epoch, "fenced");
        Ok(Fenced { floor })
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// The unit's.
    pub async fn create_volume(
        self: &Arc<Self>,
        request: VolumeCreate,
    ) -> Result<VolumeInfo, Error> {
        let name = Subject::whole(&request.name)?;
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(name.volume()).await;
            if this.table().await.redirect_on(&name).is_some() {
                let detail = format!("hosts of {name} are sent elsewhere; end that redirect first");
                return Err(UnitError::Conflict(detail).into());
            }
            // A grant whose volume is gone would find this one, and nobody meant that.
            if !this.has(&name).await? {
                this.end_grants_of(name.volume()).await?;
            }
            let volume = this.unit.create_volume(request).await?;
            Ok(this.with_floor(volume).await)
        })
        .await
    }

    /// Ends all grants under the name of a volume that is about to come from another unit: they were
    /// given for one that was here (invariant 13).
    ///
    /// # Errors
    /// As [`Self::fence`].
    pub async fn end_grants(self: &Arc<Self>, name: Subject) -> Result<(), Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(name.volume()).await;
            this.end_grants_of(name.volume()).await
        })
        .await
    }

    /// Those whose hosts are sent elsewhere stay: they are what the redirect is told by, and end with it.
    async fn end_grants_of(&self, volume: &str) -> Result<(), Error> {
        while let Some(grant) = self.table().await.any_grant_of(volume) {
            tracing::warn!(subject = %grant.subject, host = grant.host, "a grant without its volume ends");
            self.end(&grant.subject, &grant.host, grant.epoch, None).await?;
        }
        Ok(())
    }

    /// Makes a volume larger.
    ///
    /// # Errors
    /// The unit's.
    pub async fn grow_volume(
        self: &Arc<Self>,
        name: Subject,
        request: VolumeGrow,
    ) -> Result<VolumeInfo, Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(name.volume()).await;
            let volume = this.unit.grow_volume(name.volume(), request).await?;
            Ok(this.with_floor(volume).await)
        })
        .await
    }

    /// Removes a volume that nobody has a grant on. Its floor stays: a grant that was on its way to
    /// it must not find a later volume of that name. With an `id` only the volume of that identity is
    /// meant: a call that comes late finds another of its name, and leaves it alone.
    ///
    /// # Errors
    /// When it is granted, and the unit's.
    pub async fn delete_volume(
        self: &Arc<Self>,
        name: Subject,
        id: Option<Uuid>,
    ) -> Result<(), Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(name.volume()).await;
            let id = id.filter(|_| !seeded::is(Bug::DeleteByName));
            if let Some(id) = id
                && !this.is_still(name.volume(), id).await?
            {
                return Ok(());
            }
            free(this.table().await.any_grant_of(name.volume()))?;
            Ok(this.unit.delete_volume(name.volume(), id).await?)
        })
        .await
    }

    async fn is_still(&self, name: &str, id: Uuid) -> Result<bool, Error> {
        let volumes = self.unit.inventory().await?.volumes;
        Ok(volumes.iter().any(|volume| volume.name == name && volume.id == id))
    }

    /// Makes a partition.
    ///
    /// # Errors
    /// The unit's.
    pub async fn create_partition(
        self: &Arc<Self>,
        name: Subject,
        request: PartitionCreate,
    ) -> Result<PartitionInfo, Error> {
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(name.volume()).await;
            Ok(this.unit.create_partition(name.volume(), request).await?)
        })
        .await
    }

    /// Removes a partition that nobody has a grant on.
    ///
    /// # Errors
    /// When it is granted, and the unit's.
    pub async fn delete_partition(self: &Arc<Self>, part: Subject) -> Result<(), Error> {
        let missing = || UnitError::NotFound(part.to_string());
        let number = part.partition().ok_or_else(missing)?;
        let this = Arc::clone(self);
        self.detached(async move {
            let _volume = this.volume(part.volume()).await;
            let table = this.table().await;
            free(table.grant_on(&part).filter(|_| table.redirect_on(&part).is_none()))?;
            Ok(this.unit.delete_partition(part.volume(), number).await?)
        })
        .await
    }

    async fn with_floor(&self, mut volume: VolumeInfo) -> VolumeInfo {
        take_floor(&mut volume, &*self.table().await);
        volume
    }

    /// Changes the table: stored first, then in force. When this fails, nothing has changed.
    async fn change<T>(
        &self,
        how: impl FnOnce(&mut AccessTable) -> Result<T, Refused>,
    ) -> Result<T, Error> {
        let mut table = self.table.lock().await;
        let mut next = AccessTable::clone(&table);
        let outcome = how(&mut next)?;
        if next == **table {
            return Ok(outcome);
        }
        let (store, old, new) = (Arc::clone(&self.store), Arc::clone(&table), Arc::new(next));
        if seeded::is(Bug::ForgetFence) && new.grants().count() < old.grants().count() {
            *table = Arc::clone(&new);
            self.unit.publish(new).await;
            return Ok(outcome);
        }
        let saved = Arc::clone(&new);
        let saved = self.machine.blocking(move || store.save(&old, &saved)).await;
        saved.ok_or_else(ended_early)??;
        *table = Arc::clone(&new);
        self.unit.publish(new).await;
        Ok(outcome)
    }

    /// Runs `work` to its end even if nobody waits for it any more: a caller that hangs up must not
    /// leave a fence half done.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.machine.detached(work).await.unwrap_or_else(|| Err(ended_early()))
    }

    async fn volume(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever holds or waits for a lock has a clone of it: the rest is forgotten.
            volumes.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(volumes.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

/// The device's floor is this very volume's, and rises before any grant: so it tells whether there
/// was one. The table's is that of the name.
fn take_floor(volume: &mut VolumeInfo, table: &AccessTable) {
    volume.untouched = volume.epoch_floor == Epoch(0) && volume.partitions.is_empty();
    volume.epoch_floor = volume.epoch_floor.max(table.floor(&volume.name));
}

fn free(grant: Option<&Grant>) -> Result<(), Error> {
    let Some(Grant { subject, host, epoch, .. }) = grant else {
        return Ok(());
    };
    let detail =
        format!("{subject} is granted to {host} since epoch {epoch}; fence that grant first");
    Err(UnitError::Conflict(detail).into())
}

/// Work of ours that panicked.
pub(crate) fn ended_early() -> Error {
    Error::Ours("it ended early; the log says why".to_owned())
}

//! The catalog shared by all who change it (the unit API, the local admin socket), with the shards
//! told of every change and new space zeroed before anybody sees it. Blocking.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use tracing::{error, info};
use uuid::Uuid;

use super::{
    AddOptions, Catalog, MediaError, NewPartition, NewVolume, PartitionSpec, Report, VolumeName,
    VolumeSpec, WritePolicy, ZeroJob,
};

/// Those who serve the volumes.
pub trait Changes: Send + Sync + 'static {
    /// A volume is new, larger, in another state or otherwise no longer what was told last.
    fn changed(&self, volume: &VolumeSpec);

    /// A volume is about to go: no session has it any more, and every I/O of it has completed, once
    /// this returns `Ok`. An error (why it cannot go) keeps it.
    fn removing(&self, volume: &VolumeSpec) -> Result<(), String>;
}

/// The catalog, and who must hear of its changes.
pub struct Holdings {
    catalog: Mutex<Catalog>,
    changes: OnceLock<Box<dyn Changes>>,
    /// Held while telling of a volume, so that an older state is never told after a newer one. One a
    /// volume: one that hangs on its way out holds up no other.
    telling: Mutex<BTreeMap<Uuid, Arc<Mutex<()>>>>,
    /// Zeroing that goes on in the background, by volume.
    background: Mutex<BTreeMap<Uuid, Background>>,
}

struct Background {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holdings").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

impl Holdings {
    pub fn new(catalog: Catalog) -> Arc<Self> {
        Arc::new(Self {
            catalog: Mutex::new(catalog),
            changes: OnceLock::new(),
            telling: Mutex::default(),
            background: Mutex::new(BTreeMap::new()),
        })
    }

    /// From now on `changes` hears of everything, beginning with all volumes there are; zeroing that
    /// a stop cut short goes on. Later calls change nothing.
    pub fn start(self: &Arc<Self>, changes: Box<dyn Changes>) {
        if self.changes.set(changes).is_err() {
            return;
        }
        for volume in self.volumes() {
            self.tell(volume.id);
        }
        let unzeroed = self.catalog().unzeroed();
        for volume in unzeroed {
            self.zero(volume, true);
        }
    }

    /// The catalog itself, for what is only looked at.
    pub fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // A panic while it was held left it as it is on the devices: commits come before memory.
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn report(&self) -> Report {
        self.catalog().report()
    }

    pub fn volumes(&self) -> Vec<VolumeSpec> {
        self.catalog().volumes()
    }

    pub fn volume(&self, name: &str) -> Result<VolumeSpec, MediaError> {
        self.catalog().volume(name)
    }

    /// See [`Catalog::add_opened`].
    pub fn add_device(
        self: &Arc<Self>,
        fd: OwnedFd,
        path: &Path,
        fresh: bool,
        options: AddOptions,
    ) -> Result<Uuid, MediaError> {
        let id = self.catalog().add_opened(fd, path, fresh, options)?;
        self.tell_all();
        Ok(id)
    }

    /// See [`Catalog::import_device`]. `end_grants` is asked to end what this unit has granted under the
    /// name of each volume that comes with the device, before any of them is served.
    pub fn import_device(
        self: &Arc<Self>,
        fd: OwnedFd,
        path: &Path,
        end_grants: impl Fn(&VolumeName) -> Result<(), String>,
    ) -> Result<Uuid, MediaError> {
        let (device, names) = self.catalog().open_import(fd, path)?;
        // Without the catalog: a grant's end raises a floor in it.
        let ended = names.iter().try_for_each(end_grants);
        ended.map_err(|why| MediaError::Import { path: path.to_owned(), why })?;
        let id = self.catalog().import(device)?;
        self.tell_all();
        Ok(id)
    }

    pub fn remove_device(&self, name: &str) -> Result<(), MediaError> {
        self.catalog().remove_device(name)
    }

    /// Makes a volume. Where the device zeroes quickly it is online on return, else `Zeroing` for a
    /// while.
    pub fn create_volume(self: &Arc<Self>, new: &NewVolume) -> Result<VolumeSpec, MediaError> {
        let made = self.catalog().create_volume(new)?;
        self.zero(made.id, false);
        self.tell(made.id);
        self.volume(&made.id.to_string())
    }

    /// Makes a volume larger; the new space shows once it is zeroed.
    pub fn grow_volume(self: &Arc<Self>, name: &str, size: u64) -> Result<VolumeSpec, MediaError> {
        let grown = self.catalog().grow_volume(name, size)?;
        self.zero(grown.id, false);
        self.tell(grown.id);
        self.volume(&grown.id.to_string())
    }

    /// Takes a volume out of service, waits for its I/O to end, and frees its space.
    pub fn remove_volume(self: &Arc<Self>, name: &str, force: bool) -> Result<(), MediaError> {
        let volume = self.volume(name)?;
        self.stop_zeroing(volume.id);
        let removed = self.remove_untold(&volume, force);
        if removed.is_err() {
            self.tell(volume.id);
            self.zero(volume.id, true);
        }
        removed
    }

    /// Nobody is told of the volume between its leaving the shards and its end.
    fn remove_untold(&self, volume: &VolumeSpec, force: bool) -> Result<(), MediaError> {
        let order = self.order_of(volume.id);
        let _order = order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(changes) = self.changes.get() {
            changes
                .removing(volume)
                .map_err(|why| MediaError::Held { volume: volume.name.clone(), why })?;
        }
        self.catalog().remove_volume(&volume.id.to_string(), force)
    }

    /// A sync failed under the volume.
    pub fn set_faulted(&self, name: &str) -> Result<(), MediaError> {
        self.change(name, |catalog, id| catalog.set_faulted(id))
    }

    pub fn recover(&self, name: &str) -> Result<VolumeSpec, MediaError> {
        self.change(name, |catalog, id| catalog.recover(id).map(drop))?;
        self.volume(name)
    }

    pub fn set_write_policy(&self, name: &str, policy: WritePolicy) -> Result<(), MediaError> {
        self.change(name, |catalog, id| catalog.set_write_policy(id, policy))
    }

    /// See [`Catalog::raise_floor`]. The shards learn of epochs from the access table, not from here.
    pub fn raise_floor(&self, name: &str, epoch: u64) -> Result<(), MediaError> {
        self.catalog().raise_floor(name, epoch)
    }

    pub fn create_partition(
        &self,
        volume: &str,
        new: NewPartition,
    ) -> Result<PartitionSpec, MediaError> {
        let mut made = None;
        self.change(volume, |catalog, id| {
            made = Some(catalog.create_partition(id, new)?);
            Ok(())
        })?;
        Ok(made.expect("the change that makes it succeeded"))
    }

    pub fn grow_partition(&self, volume: &str, number: u16, size: u64) -> Result<(), MediaError> {
        self.change(volume, |catalog, id| catalog.grow_partition(id, number, size).map(drop))
    }

    pub fn remove_partition(&self, volume: &str, number: u16) -> Result<(), MediaError> {
        self.change(volume, |catalog, id| catalog.remove_partition(id, number).map(drop))
    }

    /// Waits for all zeroing in the background.
    pub fn settle(&self) {
        loop {
            let next = self.background().pop_first();
            let Some((_, background)) = next else { return };
            join(background);
        }
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut Catalog, &str) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        let id = self.volume(name)?.id;
        change(&mut self.catalog(), &id.to_string())?;
        self.tell(id);
        Ok(())
    }

    fn tell_all(self: &Arc<Self>) {
        for volume in self.volumes() {
            self.tell(volume.id);
        }
        let unzeroed = self.catalog().unzeroed();
        for volume in unzeroed {
            self.zero(volume, true);
        }
    }

    /// Tells the latest state, whatever the caller saw.
    fn tell(&self, volume: Uuid) {
        let Some(changes) = self.changes.get() else { return };
        let order = self.order_of(volume);
        let _order = order.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.volume(&volume.to_string());
        if let Ok(spec) = latest {
            changes.changed(&spec);
        }
    }

    fn order_of(&self, volume: Uuid) -> Arc<Mutex<()>> {
        let mut orders = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever holds or waits for one has a clone of it: the rest is forgotten.
        orders.retain(|_, order| Arc::strong_count(order) > 1);
        Arc::clone(orders.entry(volume).or_default())
    }

    fn background(&self) -> MutexGuard<'_, BTreeMap<Uuid, Background>> {
        self.background.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Zeroes what is new of a volume: at once where the device is quick, else in a thread.
    fn zero(self: &Arc<Self>, volume: Uuid, background: bool) {
        // An error here: somebody zeroes it already, and looks for more when done.
        let begun = self.catalog().begin_zeroing(volume);
        let Ok(jobs) = begun else { return };
        if !background && jobs.iter().all(|job| job.fast) {
            self.run_zeroing(volume, jobs, &AtomicBool::new(false));
            return;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (holdings, seen) = (Arc::clone(self), Arc::clone(&stop));
        let work = move || {
            holdings.run_zeroing(volume, jobs, &seen);
            holdings.tell(volume);
        };
        let spawned = thread::Builder::new().name("zeroing".to_owned()).spawn(work);
        match spawned {
            Ok(thread) => drop(self.background().insert(volume, Background { stop, thread })),
            Err(error) => {
                error!(%volume, %error, "no thread to zero it; it is done at the next start");
                let _ = self.catalog().finish_zeroing(volume, &[]);
            }
        }
    }

    fn run_zeroing(&self, volume: Uuid, mut jobs: Vec<ZeroJob>, stop: &AtomicBool) {
        let name = volume.to_string();
        if jobs.is_empty() {
            let _ = self.catalog().finish_zeroing(volume, &[]);
        }
        while !jobs.is_empty() {
            let go_on = || !stop.load(Ordering::Relaxed);
            let mut done = Vec::new();
            let mut failed = None;
            for job in jobs {
                match job.run(go_on) {
                    Ok(true) => done.push(job),
                    Ok(false) => break,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            let mut catalog = self.catalog();
            let finished = catalog.finish_zeroing(volume, &done);
            if let Some(error) = &failed {
                error!(%volume, %error, "its space could not be zeroed");
                let _ = catalog.set_faulted(&name);
            }
            if failed.is_some() || finished.is_err() || !go_on() {
                return;
            }
            // A grow in the meantime left its extents to us.
            let more = catalog.unzeroed().contains(&volume);
            jobs =
                if more { catalog.begin_zeroing(volume).unwrap_or_default() } else { Vec::new() };
        }
        // Not ours any more: since the catalog was let go, somebody else may have begun to zero it.
        info!(%volume, "its space reads as zeros");
    }

    fn stop_zeroing(&self, volume: Uuid) {
        let running = self.background().remove(&volume);
        if let Some(background) = running {
            background.stop.store(true, Ordering::Relaxed);
            join(background);
        }
    }
}

fn join(background: Background) {
    if background.thread.join().is_err() {
        error!("zeroing panicked; it is done again at the next start");
    }
}

#[cfg(test)]
mod tests;

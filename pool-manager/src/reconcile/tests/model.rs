//! A unit and a store that can be stopped between any two of their steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use outband_control::api::Counts;
use uuid::Uuid;

use crate::store::memory::MemoryStore;
use crate::store::{Answer, Entry, Listing, Outcome, Store, StoreError, Transaction, Watch};
use crate::unit::{
    DeviceView, Fence, GrantView, NewGrant, NewVolume, Readiness, Refusal, UnitApi, UnitError,
    UnitView, VolumeView,
};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const CAPACITY: u64 = 64 * MIB;

/// Counts the places where something can be stopped, and stops it at one of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Fuse(Arc<Mutex<(u32, Option<u32>, bool)>>);

impl Fuse {
    pub(super) fn blowing_at(place: Option<u32>) -> Self {
        Self(Arc::new(Mutex::new((0, place, false))))
    }

    /// Passes a place. `Err` from the one it blows at until it is replaced.
    fn pass(&self) -> Result<(), ()> {
        let mut fuse = self.0.lock().unwrap();
        if fuse.1 == Some(fuse.0) {
            fuse.2 = true;
        }
        fuse.0 += 1;
        if fuse.2 { Err(()) } else { Ok(()) }
    }

    pub(super) fn is_blown(&self) -> bool {
        self.0.lock().unwrap().2
    }

    pub(super) fn replace(&self) {
        let mut fuse = self.0.lock().unwrap();
        (fuse.1, fuse.2) = (None, false);
    }

    pub(super) fn places(&self) -> u32 {
        self.0.lock().unwrap().0
    }
}

/// The station's store and, with it, the station's life.
#[derive(Debug)]
pub(super) struct StoppableStore {
    pub(super) inner: Arc<MemoryStore>,
    pub(super) fuse: Fuse,
}

impl Store for StoppableStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            if self.fuse.is_blown() {
                return Err(StoreError::Stopped);
            }
            self.inner.get(key).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        Box::pin(async move {
            if self.fuse.is_blown() {
                return Err(StoreError::Stopped);
            }
            self.inner.list(prefix).await
        })
    }

    /// Stopped before it is committed, or after and before anybody knows.
    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        Box::pin(async move {
            self.fuse.pass().map_err(|()| StoreError::Stopped)?;
            let outcome = self.inner.commit(transaction).await;
            self.fuse.pass().map_err(|()| StoreError::Stopped)?;
            outcome
        })
    }

    fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.inner.watch(prefix, after)
    }
}

/// A unit: what survives it, and what does not.
#[derive(Debug)]
pub(super) struct Model {
    state: Mutex<State>,
    /// The unit's life: passed between its own steps.
    pub(super) fuse: Fuse,
    /// The station's: passed before a request leaves it and before an answer arrives.
    pub(super) station: Mutex<Fuse>,
    /// The last request of a station that was stopped. It is on its way, and arrives when the next
    /// station believes to know how things are.
    late: Mutex<Option<Request>>,
}

#[derive(Clone, Debug)]
enum Request {
    Inventory,
    Create(NewVolume),
    Grow(String, u64),
    Delete(String, Uuid),
    Grant(NewGrant),
    Fence(Fence),
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// On the devices: volumes and their epoch floors.
    volumes: BTreeMap<String, Volume>,
    /// In the unit's store.
    grants: BTreeMap<String, (String, u64)>,
    /// In memory: what hosts can log in to.
    published: BTreeMap<String, (String, u64)>,
    /// Everything ever published, to see that no epoch is given twice.
    given: BTreeMap<(Uuid, u64), String>,
    made: u128,
}

#[derive(Clone, Debug)]
struct Volume {
    id: Uuid,
    size: u64,
    floor: u64,
}

impl Model {
    pub(super) fn new(fuse: Fuse) -> Self {
        Self { state: Mutex::default(), fuse, station: Mutex::default(), late: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A volume that the unit's own operator makes.
    pub(super) fn make(&self, name: &str, size: u64) {
        let mut state = self.state();
        state.made += 1;
        let id = Uuid::from_u128(state.made);
        state.volumes.insert(name.to_owned(), Volume { id, size, floor: 0 });
    }

    /// Starts again: memory is empty, and grants are published from what survived.
    pub(super) fn restart(&self) {
        self.fuse.replace();
        let mut state = self.state();
        state.published = state.grants.clone();
    }

    pub(super) fn published(&self) -> BTreeMap<String, (String, u64)> {
        self.state().published.clone()
    }

    pub(super) fn grants(&self) -> BTreeMap<String, (String, u64)> {
        self.state().grants.clone()
    }

    pub(super) fn sizes(&self) -> BTreeMap<String, u64> {
        self.state().volumes.iter().map(|(name, volume)| (name.clone(), volume.size)).collect()
    }

    fn report(&self) -> UnitView {
        let device = DeviceView {
            id: Uuid::from_u128(99),
            path: "/dev/model".into(),
            total: CAPACITY,
            free: self.free(),
            volatile: false,
            healthy: true,
        };
        let state = self.state();
        let volumes = state.volumes.iter().map(|(name, volume)| view(&state, name, volume));
        UnitView { devices: vec![device], volumes: volumes.collect() }
    }

    fn free(&self) -> u64 {
        CAPACITY - self.state().volumes.values().map(|volume| volume.size).sum::<u64>()
    }

    fn floor(&self, volume: &str) -> Result<u64, UnitError> {
        let state = self.state();
        let found = state.volumes.get(volume).map(|volume| volume.floor);
        found.ok_or_else(|| refused(Refusal::NotFound, "no such volume"))
    }

    /// One step of the unit's own: the unit may stop before it.
    fn step(&self, change: impl FnOnce(&mut State)) -> Result<(), UnitError> {
        self.fuse.pass().map_err(|()| UnitError::Unreachable("stopped".into()))?;
        change(&mut self.state());
        Ok(())
    }

    /// A call over the network: late or lost on its way there, or its answer on its way back.
    fn call(&self, request: Request) -> Result<(), UnitError> {
        let station = self.station.lock().unwrap().clone();
        let gone = |()| UnitError::Unreachable("the station stopped".into());
        let was_alive = !station.is_blown();
        if let Err(error) = station.pass().map_err(gone) {
            if was_alive {
                *self.late.lock().unwrap() = Some(request);
            }
            return Err(error);
        }
        self.step(|_| ())?;
        let done = self.serve(&request);
        // The unit may stop when all is done and nothing is said yet.
        self.step(|_| ())?;
        station.pass().map_err(gone)?;
        done
    }

    /// The late request arrives. Nobody hears what comes of it.
    pub(super) fn take_late(&self) {
        let late = self.late.lock().unwrap().take();
        if let Some(late) = late {
            let _ = self.serve(&late);
        }
    }

    fn serve(&self, request: &Request) -> Result<(), UnitError> {
        match request {
            Request::Inventory => Ok(()),
            Request::Create(volume) => self.create_volume(volume),
            Request::Grow(volume, size) => self.grow_volume(volume, *size),
            Request::Delete(volume, id) => self.delete_volume(volume, *id),
            Request::Grant(grant) => self.give(grant),
            Request::Fence(fence) => self.end(fence),
        }
    }

    fn create_volume(&self, volume: &NewVolume) -> Result<(), UnitError> {
        if self.floor(&volume.name).is_ok() {
            return Err(refused(Refusal::Other, "the name is taken"));
        }
        if volume.size > self.free() {
            return Err(refused(Refusal::NoSpace, "full"));
        }
        self.step(|_| ())?;
        self.make(&volume.name, volume.size);
        Ok(())
    }

    fn grow_volume(&self, volume: &str, size: u64) -> Result<(), UnitError> {
        self.floor(volume)?;
        let before = self.sizes()[volume];
        if size.saturating_sub(before) > self.free() {
            return Err(refused(Refusal::NoSpace, "full"));
        }
        self.step(|state| state.volumes.get_mut(volume).unwrap().size = size.max(before))
    }

    fn delete_volume(&self, volume: &str, id: Uuid) -> Result<(), UnitError> {
        if self.state().volumes.get(volume).is_none_or(|known| known.id != id) {
            return Ok(());
        }
        if self.grants().contains_key(volume) {
            return Err(refused(Refusal::Other, "it is granted"));
        }
        self.step(|state| {
            state.volumes.remove(volume);
        })
    }

    fn give(&self, grant: &NewGrant) -> Result<(), UnitError> {
        let (volume, given) = (&grant.volume, (grant.iqn.clone(), grant.epoch));
        let floor = self.floor(volume)?;
        let held = self.state().grants.get(volume).cloned();
        match held {
            Some(held) if held == given => {}
            _ if grant.epoch <= floor => return Err(refused(Refusal::StaleEpoch, "seen")),
            Some(_) => return Err(refused(Refusal::Held, "another grant must be fenced first")),
            None => {}
        }
        self.step(|state| raise(state, volume, grant.epoch))?;
        self.step(|state| {
            state.grants.insert(volume.clone(), given.clone());
        })?;
        self.step(|state| publish(state, volume, given.clone()))
    }

    fn end(&self, fence: &Fence) -> Result<(), UnitError> {
        let volume = &fence.volume;
        self.floor(volume)?;
        let ends = |(iqn, epoch): &(String, u64)| *iqn == fence.iqn && *epoch <= fence.epoch;
        // The gate, then what must survive.
        self.step(|state| {
            if state.published.get(volume).is_some_and(ends) {
                state.published.remove(volume);
            }
        })?;
        self.step(|state| raise(state, volume, fence.epoch))?;
        self.step(|state| {
            if state.grants.get(volume).is_some_and(ends) {
                state.grants.remove(volume);
            }
        })
    }
}

fn raise(state: &mut State, volume: &str, epoch: u64) {
    let volume = state.volumes.get_mut(volume).expect("checked before");
    volume.floor = volume.floor.max(epoch);
}

fn publish(state: &mut State, volume: &str, given: (String, u64)) {
    let id = state.volumes[volume].id;
    let before = state.given.insert((id, given.1), given.0.clone());
    assert!(before.is_none_or(|before| before == given.0), "epoch {} given twice", given.1);
    let held = state.published.insert(volume.to_owned(), given.clone());
    assert!(held.is_none_or(|held| held == given), "two writers on {volume}");
}

fn refused(refusal: Refusal, detail: &str) -> UnitError {
    UnitError::Refused { refusal, detail: detail.to_owned() }
}

impl UnitApi for Model {
    async fn inventory(&self) -> Result<UnitView, UnitError> {
        self.call(Request::Inventory)?;
        Ok(self.report())
    }

    async fn counts(&self) -> Result<Counts, UnitError> {
        Ok(Counts::default())
    }

    async fn create(&self, volume: &NewVolume) -> Result<(), UnitError> {
        self.call(Request::Create(volume.clone()))
    }

    async fn grow(&self, volume: &str, size: u64) -> Result<(), UnitError> {
        self.call(Request::Grow(volume.to_owned(), size))
    }

    async fn delete(&self, volume: &str, id: Uuid) -> Result<(), UnitError> {
        self.call(Request::Delete(volume.to_owned(), id))
    }

    async fn grant(&self, grant: &NewGrant) -> Result<(), UnitError> {
        self.call(Request::Grant(grant.clone()))
    }

    async fn fence(&self, fence: &Fence) -> Result<(), UnitError> {
        self.call(Request::Fence(fence.clone()))
    }
}

fn view(state: &State, name: &str, volume: &Volume) -> VolumeView {
    let grants = state.grants.get(name).into_iter();
    VolumeView {
        id: volume.id,
        name: name.to_owned(),
        size: volume.size,
        block_size: 512,
        start_lba: 0,
        end_lba: volume.size / 512 - 1,
        blocks: volume.size / 512,
        target: format!("iqn.target:{name}"),
        lun: 0,
        volatile: false,
        allow_sanitize: false,
        readiness: Readiness::Online,
        partitioned: false,
        floor: volume.floor,
        untouched: volume.floor == 0,
        grants: grants.map(|(iqn, epoch)| GrantView { iqn: iqn.clone(), epoch: *epoch }).collect(),
    }
}

//! A unit for tests: it has one volume `v` with two partitions, writes down what it is told, and says
//! with each step what the store holds by then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use outband_protocol::announce::Load;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::access::{AccessTable, Epoch, Subject};
use crate::access_store::Store;
use crate::api::{
    Counts, PartitionCreate, PartitionInfo, SessionInfo, Storage, TARGET_PREFIX, TargetNames,
    VolumeCreate, VolumeGrow, VolumeInfo, VolumeState, WritePolicy,
};
use crate::unit::{Unit, UnitError};

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn names() -> TargetNames {
    TargetNames::new(TARGET_PREFIX, "main")
}

#[derive(Debug)]
pub(crate) struct FakeUnit {
    pub(crate) store: Arc<Store>,
    pub(crate) steps: Mutex<Vec<String>>,
    pub(crate) device_floors: Mutex<BTreeMap<String, Epoch>>,
    pub(crate) volumes: Mutex<Vec<VolumeInfo>>,
    /// A drain takes one permit; without one it hangs, as behind a stuck disk.
    pub(crate) drains: Semaphore,
}

impl FakeUnit {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            steps: Mutex::default(),
            device_floors: Mutex::default(),
            volumes: Mutex::new(vec![volume("v")]),
            drains: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }

    fn step(&self, step: &str, subject: &str) {
        let table = self.store.table(names()).unwrap();
        let subject: Subject = subject.parse().unwrap();
        let granted = table
            .grant_on(&subject)
            .map_or_else(String::new, |grant| format!(", granted {}", grant.epoch));
        let floor = table.floor(subject.volume());
        self.steps.lock().unwrap().push(format!("{step} [stored floor {floor}{granted}]"));
    }

    pub(crate) fn take_steps(&self) -> Vec<String> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }
}

pub(crate) fn volume(name: &str) -> VolumeInfo {
    let part = |number: u16| PartitionInfo {
        number,
        id: Uuid::new_v4(),
        start_lba: u64::from(number) * 16,
        end_lba: u64::from(number) * 16 + 15,
        blocks: 16,
        target: names().target(&Subject::part(name, number).unwrap()),
    };
    VolumeInfo {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        size: MIB,
        block_size: 512,
        start_lba: 0,
        end_lba: MIB / 512 - 1,
        blocks: MIB / 512,
        extents: Vec::new(),
        partitions: vec![part(1), part(2)],
        state: VolumeState::Online,
        epoch_floor: Epoch(0),
        untouched: false,
        target: names().target(&name.parse().unwrap()),
        lun: 0,
        write_policy: WritePolicy::Normal,
        volatile: false,
        allow_sanitize: false,
    }
}

impl Unit for FakeUnit {
    async fn inventory(&self) -> Result<Storage, UnitError> {
        let volumes = self.volumes.lock().unwrap().clone();
        Ok(Storage { volumes, free: MIB, largest_free: MIB, ..Storage::default() })
    }

    async fn create_volume(&self, request: VolumeCreate) -> Result<VolumeInfo, UnitError> {
        if request.size > MIB {
            return Err(UnitError::NoSpace { asked: request.size, largest: MIB });
        }
        let made = volume(&request.name);
        self.volumes.lock().unwrap().push(made.clone());
        Ok(made)
    }

    async fn grow_volume(
        &self,
        volume: &str,
        request: VolumeGrow,
    ) -> Result<VolumeInfo, UnitError> {
        let mut volumes = self.volumes.lock().unwrap();
        let missing = || UnitError::NotFound(volume.to_owned());
        let grown = volumes.iter_mut().find(|one| one.name == volume).ok_or_else(missing)?;
        grown.size = request.size;
        Ok(grown.clone())
    }

    async fn delete_volume(&self, volume: &str, id: Option<Uuid>) -> Result<(), UnitError> {
        let goes = |one: &VolumeInfo| one.name == volume && id.is_none_or(|id| one.id == id);
        self.volumes.lock().unwrap().retain(|one| !goes(one));
        Ok(())
    }

    async fn create_partition(
        &self,
        name: &str,
        request: PartitionCreate,
    ) -> Result<PartitionInfo, UnitError> {
        let made = volume(name).partitions.remove(0);
        Ok(PartitionInfo { number: request.number.unwrap_or(3), ..made })
    }

    async fn delete_partition(&self, _volume: &str, _number: u16) -> Result<(), UnitError> {
        Ok(())
    }

    async fn raise_floor(&self, volume: &str, epoch: Epoch) -> Result<Epoch, UnitError> {
        self.step(&format!("device floor {epoch}"), volume);
        let mut floors = self.device_floors.lock().unwrap();
        let floor = floors.entry(volume.to_owned()).or_default();
        Ok(std::mem::replace(floor, epoch.max(*floor)))
    }

    async fn publish(&self, table: Arc<AccessTable>) {
        let granted: Vec<_> =
            table.grants().map(|g| format!("{}@{}", g.subject, g.epoch)).collect();
        self.step(&format!("publish {}", granted.join(" ")), "v");
    }

    async fn close_gate(&self, subject: &Subject, _host: &str, epoch: Epoch) {
        self.step(&format!("close gate {epoch}"), &subject.to_string());
    }

    async fn drain(&self, subject: &Subject, _host: &str, epoch: Epoch) {
        self.step(&format!("drain {epoch}"), &subject.to_string());
        self.drains.acquire().await.unwrap().forget();
        self.step(&format!("drained {epoch}"), &subject.to_string());
    }

    async fn sessions(&self) -> Vec<SessionInfo> {
        Vec::new()
    }

    async fn counts(&self) -> Counts {
        Counts { at_micros: 7, ..Counts::default() }
    }

    fn load(&self) -> Load {
        Load { volumes: 1, ..Load::default() }
    }
}

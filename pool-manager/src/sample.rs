//! Pools for tests, made without a unit or a socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outband_control::machine::{self, Machine, Os};
use outband_pool_api::{HostRequest, JobState, Secret, WritePolicy};
use tokio::sync::watch;
use uuid::Uuid;

use crate::app::{Caller, Heard, Policy, Station};
use crate::book::Book;
use crate::reconcile::place;
use crate::records::{
    Holder, JobRecord, Task, Undo, UnitRecord, VolumeRecord, Wish, encode, job_key, load, unit_key,
    volume_key,
};
use crate::store::Transaction;
use crate::store::memory::MemoryStore;
use crate::unit::{DeviceView, GrantView, Readiness, UnitView, VolumeView};

pub(crate) const TOKEN: &str = "oba_test";

pub(crate) async fn station() -> Arc<Station> {
    station_on(Arc::new(MemoryStore::default())).await
}

pub(crate) async fn station_on(store: Arc<MemoryStore>) -> Arc<Station> {
    let station = Station::open(store, "main", Policy::Auto).await.unwrap();
    station.add_admin_token(&Secret::new(TOKEN)).await.unwrap();
    Arc::new(station)
}

pub(crate) fn device(total: u64, volatile: bool) -> DeviceView {
    let (id, path) = (Uuid::new_v4(), "/dev/test".to_owned());
    DeviceView { id, path, total, free: total, volatile, healthy: true }
}

/// One that is joined.
pub(crate) async fn unit(station: &Station, name: &str, devices: &[DeviceView]) -> Uuid {
    let id = Uuid::new_v4();
    let heard = Heard {
        id,
        name: name.to_owned(),
        portals: vec!["192.0.2.1:3260".parse().unwrap()],
        api: "192.0.2.1:3261".parse().unwrap(),
        fingerprint: [1; 32],
        version: "0.1.0".to_owned(),
        incarnation: 1,
    };
    station.handle_startup(&heard, station.machine.now()).await.unwrap();
    station.handle_enrolled(id).await.unwrap();
    let record = record_of(&station.store, id).await;
    let view = UnitView { devices: devices.to_vec(), volumes: Vec::new() };
    station.handle_inventory(&record, &view);
    id
}

async fn record_of(store: &Book, unit: Uuid) -> UnitRecord {
    load::<UnitRecord>(store, &unit_key(unit)).await.unwrap().unwrap().record
}

pub(crate) async fn host(station: &Station, name: &str) {
    let iqn = format!("iqn.2026-11.test:{name}");
    let ask = HostRequest { name: name.to_owned(), iqn, quota: None, mutual: false };
    station.add_host(&Caller::ADMIN, ask).await.unwrap();
}

/// A volume that its host may use, as the record, the unit's report and its job have it.
pub(crate) async fn granted(
    station: &Station,
    unit: Uuid,
    name: &str,
    size: u64,
    volatile: bool,
    host: &str,
) {
    let iqn = format!("iqn.2026-11.test:{host}");
    let seen = reported(name, size, volatile, &iqn);
    let job = Uuid::new_v4();
    let record = VolumeRecord {
        id: Some(seen.id),
        size,
        volatile,
        place: Some(place(&seen)),
        job: Some(job),
        ..wanted(name, unit, Some(host))
    };
    let put = Transaction::new()
        .put(volume_key(name), encode(&record))
        .put(job_key(job), encode(&done(job, name, host)));
    station.store.commit(put).await.unwrap();
    let mut view = (**station.live.get(unit).unwrap().view().unwrap()).clone();
    let device = view.devices.iter_mut().find(|device| device.volatile == volatile).unwrap();
    device.free -= size;
    view.volumes.push(seen);
    station.handle_inventory(&record_of(&station.store, unit).await, &view);
}

fn reported(name: &str, size: u64, volatile: bool, iqn: &str) -> VolumeView {
    VolumeView {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        size,
        block_size: 512,
        start_lba: 0,
        end_lba: size / 512 - 1,
        blocks: size / 512,
        target: format!("iqn.2026-11.local.outband:main:{name}"),
        lun: 0,
        volatile,
        allow_sanitize: false,
        readiness: Readiness::Online,
        partitioned: false,
        floor: 1,
        untouched: false,
        grants: vec![GrantView { iqn: iqn.to_owned(), epoch: 1 }],
    }
}

/// A volume as the station wants it: at rest, and not known to any unit yet.
pub(crate) fn wanted(name: &str, unit: Uuid, host: Option<&str>) -> VolumeRecord {
    let iqn = |host: &str| format!("iqn.2026-11.test:{host}");
    VolumeRecord {
        id: None,
        name: name.to_owned(),
        unit,
        size: 1 << 20,
        block_size: None,
        write_policy: WritePolicy::Normal,
        volatile: false,
        allow_sanitize: false,
        wish: if host.is_some() { Wish::Granted } else { Wish::Free },
        holder: host.map(|host| Holder { host: host.to_owned(), iqn: iqn(host) }),
        epoch: 1,
        settled: true,
        place: None,
        job: None,
        undo: Undo::Nothing,
        failure: None,
        restored: false,
    }
}

/// What a unit may report.
pub(crate) fn seen(name: &str) -> VolumeView {
    reported(name, 1 << 20, false, "iqn.2026-11.test:a")
}

fn done(id: Uuid, volume: &str, host: &str) -> JobRecord {
    let task = Task::Assign { host: host.to_owned() };
    JobRecord {
        id,
        kind: task.kind(),
        state: JobState::Done,
        volume: volume.to_owned(),
        host: Some(host.to_owned()),
        phases: Vec::new(),
        error: None,
        created: 1,
        sequence: 1,
        request: None,
        actor: "admin".to_owned(),
        reason: None,
        deadline: None,
        ended: Some(2),
        task: Some(task),
        retry_of: None,
        part_of: None,
    }
}

/// A clock that the test puts forward by hand; nothing else lets time pass.
#[derive(Debug)]
pub(crate) struct Clock(watch::Sender<Instant>);

impl Clock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Instant::now())))
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.send_modify(|now| *now += time);
    }
}

impl Machine for Clock {
    fn now(&self) -> Instant {
        *self.0.borrow()
    }

    fn since_1970(&self) -> Duration {
        Os.since_1970()
    }

    fn fill(&self, bytes: &mut [u8]) {
        Os.fill(bytes);
    }

    fn sleep_until(&self, at: Instant) -> machine::Task {
        let mut clock = self.0.subscribe();
        Box::pin(async move {
            // A clock that is gone shows no later time.
            if clock.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn spawn(&self, task: machine::Task) {
        Os.spawn(task);
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> machine::Task {
        Os.block(work)
    }
}

//! The station: the real rules, reconciler, allocator, workers and desk, on a store that keeps what
//! was committed. Users' requests come as values; HTTP is cut away here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use outband_control::client::Carrier;
use outband_control::machine::SharedMachine;
use outband_pool_api::{Job, Problem, Size, Volume, VolumeRequest};
use outband_pool_manager::announce::Desk;
use outband_pool_manager::app::{Caller, Policy, Station};
use outband_pool_manager::connect::By;
use outband_pool_manager::quarantine::Rules;
use outband_pool_manager::records::UnitRecord;
use outband_pool_manager::store::memory::MemoryStore;
use outband_pool_manager::store::{
    Answer, Entry, Listing, Outcome, Store, StoreError, Transaction, Watch as StoreWatch,
};
use outband_pool_manager::work;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::post::{Letter, Line, Post, Request};
use super::watch::{News, Watch};

const ADMIN: Caller = Caller::ADMIN;

/// What a user asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// For a volume, with an idempotency key.
    Request(VolumeRequest, String),
    /// To make it so large.
    Grow(String, u64),
    /// To take it from its host.
    Release(String),
    /// To give it to a host.
    Assign(String, String),
    /// To take it from its host and give it to another.
    Move(String, String),
    /// To delete it.
    Delete(String),
    /// To take a job back.
    Cancel(Uuid),
    /// How a job stands.
    Job(Uuid),
    /// How a volume stands.
    Volume(String),
}

/// What the station says.
#[derive(Clone, Debug)]
pub enum Said {
    /// This job does it.
    Begun(Uuid),
    /// So the job stands.
    Job(Box<Job>),
    /// So the volume stands.
    Volume(Box<Volume>),
}

/// The answer to a user.
pub type Reply = Result<Said, Problem>;

/// The store of one life of the station: it takes its time, so that the station may die before and
/// after whatever it does.
#[derive(Debug)]
pub struct SlowStore {
    inner: Arc<MemoryStore>,
    machine: SharedMachine,
}

impl SlowStore {
    /// Over what outlives the station.
    #[must_use]
    pub fn new(inner: Arc<MemoryStore>, machine: SharedMachine) -> Self {
        Self { inner, machine }
    }

    async fn pause(&self) {
        self.machine.block(Box::new(|| {})).await;
    }
}

impl Store for SlowStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            self.pause().await;
            self.inner.get(key).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Listing> {
        Box::pin(async move {
            self.pause().await;
            self.inner.list(prefix).await
        })
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, Outcome> {
        Box::pin(async move {
            self.pause().await;
            let outcome = self.inner.commit(transaction).await;
            self.pause().await;
            outcome
        })
    }

    fn watch(&self, prefix: &str, after: u64) -> StoreWatch {
        self.inner.watch(prefix, after)
    }
}

/// Opens the station on its store.
pub async fn open(
    machine: &SharedMachine,
    store: Arc<MemoryStore>,
) -> Result<Arc<Station>, StoreError> {
    let store = Arc::new(SlowStore::new(store, Arc::clone(machine)));
    let mut station = Station::open_on(Arc::clone(machine), store, "sim", Policy::Auto).await?;
    // Units are killed all the time.
    station.quarantine = Rules::NEVER;
    station.ensure_join_token().await?;
    Ok(Arc::new(station))
}

/// The station's process.
pub async fn run(
    machine: SharedMachine,
    store: Arc<MemoryStore>,
    at: SocketAddr,
    post: Post,
    watch: Watch,
) {
    let station = match open(&machine, store).await {
        Ok(station) => station,
        Err(error) => {
            return watch.tell(News::Wrong(format!("the station does not start: {error}")));
        }
    };
    let (letterbox, counter) = (post.letterbox(at), post.counter());
    // Told by nobody: this process is only ever killed.
    let (_stop, stopped) = watch::channel(false);
    let line = line(post.clone(), Arc::clone(&machine), at.ip());
    machine.spawn(Box::pin(work::run(Arc::clone(&station), Arc::new(By(line)), stopped)));
    machine.spawn(Box::pin(hear(Arc::clone(&station), at, letterbox, post)));
    answer_users(station, counter, watch).await;
}

fn line(
    post: Post,
    machine: SharedMachine,
    from: IpAddr,
) -> impl Fn(&UnitRecord) -> Arc<dyn Carrier> + Send + Sync + 'static {
    move |unit| {
        let mut fingerprint = [0; 32];
        for (byte, digits) in fingerprint.iter_mut().zip(unit.fingerprint.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        Arc::new(Line {
            post: post.clone(),
            machine: Arc::clone(&machine),
            from,
            to: unit.api,
            fingerprint,
            base: unit.api.to_string(),
        })
    }
}

async fn hear(
    station: Arc<Station>,
    at: SocketAddr,
    mut letterbox: mpsc::UnboundedReceiver<Letter>,
    post: Post,
) {
    let mut desk = Desk::new(Arc::clone(&station));
    while let Some((bytes, from)) = letterbox.recv().await {
        if let Ok(Some(answer)) = desk.handle(&bytes, from, station.machine.now()).await {
            post.send(at, from, &answer);
        }
    }
}

async fn answer_users(
    station: Arc<Station>,
    mut counter: mpsc::UnboundedReceiver<Request<Ask, Reply>>,
    watch: Watch,
) {
    while let Some(Request { what, reply, .. }) = counter.recv().await {
        let (station, watch) = (Arc::clone(&station), watch.clone());
        let machine = Arc::clone(&station.machine);
        machine.spawn(Box::pin(async move {
            let said = answer(&station, what).await;
            watch.shown(&format!("{said:?}"), "an answer to a user");
            let _ = reply.send(said);
        }));
    }
    std::future::pending::<()>().await;
}

async fn answer(station: &Station, ask: Ask) -> Reply {
    let begun = |job: Result<Uuid, Problem>| job.map(Said::Begun);
    match ask {
        Ask::Request(ask, key) => begun(station.request_volume(&ADMIN, ask, Some(&key)).await),
        Ask::Grow(name, size) => begun(station.grow_volume(&ADMIN, &name, Size(size)).await),
        Ask::Release(name) => begun(station.release_volume(&ADMIN, &name).await),
        Ask::Assign(name, host) => begun(station.assign_volume(&ADMIN, &name, &host).await),
        Ask::Move(name, host) => begun(station.move_volume(&ADMIN, &name, &host).await),
        Ask::Cancel(job) => begun(station.cancel_job(&ADMIN, job).await),
        Ask::Delete(name) => begun(station.delete_volume(&ADMIN, &name).await),
        Ask::Job(id) => station.job(&ADMIN, id).await.map(|job| Said::Job(Box::new(job))),
        Ask::Volume(name) => {
            let volume = station.volume(&ADMIN, &name).await;
            volume.map(|volume| Said::Volume(Box::new(volume)))
        }
    }
}

//! The station and the unit are killed between any two of their steps: at every such place, and at
//! pairs of them. It always ends fully granted or fully released.

use std::sync::Arc;
use std::time::Instant;

use outband_control::machine::Os;
use outband_pool_api::{HostRequest, Job, JobState, Size, VolumeRequest, VolumeState};
use uuid::Uuid;

use super::super::{Rest, settle};
use super::model::{Fuse, MIB, Model, StoppableStore};
use crate::app::{Caller, Heard, Policy, Station};
use crate::records::{VolumeRecord, Wish, encode, load, load_all, volume_key};
use crate::store::Transaction;
use crate::store::memory::MemoryStore;
use crate::unit::UnitApi;

const ADMIN: Caller = Caller::ADMIN;
const UNIT: Uuid = Uuid::from_u128(1);

/// What a user asks for, one after the other. Each is repeated until the station takes it.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// By host "a": (name, size in MiB).
    Request(&'static str, u64),
    /// Without a name, so that an existing volume may be used.
    RequestAny(u64),
    Grow(&'static str, u64),
    Release(&'static str),
    Assign(&'static str, &'static str),
    Move(&'static str, &'static str),
    Delete(&'static str),
    /// Of the newest job.
    Cancel,
    /// The station works until all is at rest, as far as it gets.
    Settle,
    /// The same, but whoever is stopped meanwhile does not get to go on with it before the next ask.
    TryToSettle,
    /// Somebody fills the unit behind the station's back: (name, size in MiB).
    Fill(&'static str, u64),
}

struct World {
    store: Arc<MemoryStore>,
    unit: Model,
    station: Station,
    fuse: Fuse,
}

impl World {
    async fn new(station_stops: Option<u32>, unit_stops: Option<u32>) -> Self {
        let store = Arc::new(MemoryStore::default());
        let unit = Model::new(Fuse::default());
        let mut world = Self {
            station: open(&store, &Fuse::default()).await,
            store,
            unit,
            fuse: Fuse::default(),
        };
        world.prepare().await;
        world.fuse = Fuse::blowing_at(station_stops);
        world.unit.fuse = Fuse::blowing_at(unit_stops);
        world.start().await;
        world
    }

    /// Hosts and the unit are there before the story begins.
    async fn prepare(&mut self) {
        for name in ["a", "b"] {
            let ask = HostRequest {
                name: name.into(),
                iqn: format!("iqn.{name}"),
                quota: None,
                mutual: false,
            };
            self.station.add_host(&ADMIN, ask).await.unwrap();
        }
        let heard = Heard {
            id: UNIT,
            name: "unit".into(),
            portals: vec!["192.0.2.7:3260".parse().unwrap()],
            api: "127.0.0.1:1".parse().unwrap(),
            fingerprint: [7; 32],
            version: "0".into(),
            incarnation: 1,
        };
        self.station.handle_startup(&heard, Instant::now()).await.unwrap();
        self.station.handle_enrolled(UNIT).await.unwrap();
        self.unit.make("old", 8 * MIB);
    }

    /// The station starts, with what its store holds.
    async fn start(&mut self) {
        self.station = open(&self.store, &self.fuse).await;
        *self.unit.station.lock().unwrap() = self.fuse.clone();
        self.pull().await;
    }

    async fn pull(&mut self) -> bool {
        let Ok(view) = self.unit.inventory().await else {
            return false;
        };
        self.station.live.report(UNIT, &view);
        true
    }

    /// Whoever was stopped starts again.
    async fn restart_whoever_stopped(&mut self) {
        if self.unit.fuse.is_blown() {
            self.unit.restart();
        }
        if self.fuse.is_blown() {
            self.fuse.replace();
            self.start().await;
        }
    }

    async fn ask(&mut self, ask: Ask, number: usize) {
        if matches!(ask, Ask::TryToSettle) {
            self.settle_all().await;
            return self.restart_whoever_stopped().await;
        }
        for _ in 0..10 {
            self.pull().await;
            if self.try_to_ask(ask, number).await {
                return;
            }
            self.restart_whoever_stopped().await;
        }
        panic!("{ask:?} was not taken");
    }

    /// `true` when the station has answered, whatever it said.
    async fn try_to_ask(&mut self, ask: Ask, number: usize) -> bool {
        let key = format!("key-{number}");
        let station = &self.station;
        let asked = match ask {
            Ask::Request(name, mib) => {
                station.request_volume(&ADMIN, request(Some(name), mib), Some(&key)).await
            }
            Ask::RequestAny(mib) => {
                station.request_volume(&ADMIN, request(None, mib), Some(&key)).await
            }
            Ask::Grow(name, mib) => station.grow_volume(&ADMIN, name, Size(mib * MIB)).await,
            Ask::Release(name) => station.release_volume(&ADMIN, name).await,
            Ask::Assign(name, host) => station.assign_volume(&ADMIN, name, host).await,
            Ask::Move(name, host) => station.move_volume(&ADMIN, name, host).await,
            Ask::Delete(name) => station.delete_volume(&ADMIN, name).await,
            Ask::Cancel => match station.jobs(&ADMIN).await {
                Ok(jobs) => station.cancel_job(&ADMIN, jobs.last().unwrap().id).await,
                Err(problem) => Err(problem),
            },
            Ask::Settle | Ask::TryToSettle => return self.settle_all().await,
            Ask::Fill(name, mib) => {
                self.unit.make(name, mib * MIB);
                return true;
            }
        };
        asked.is_ok() || !(self.fuse.is_blown() || self.unit.fuse.is_blown())
    }

    /// One pass over all volumes; `false` when somebody was stopped.
    async fn settle_all(&mut self) -> bool {
        let store = &self.station.store;
        let Ok(mut view) = self.unit.inventory().await else {
            return false;
        };
        self.unit.take_late();
        let Ok(volumes) = load_all::<VolumeRecord>(store).await else {
            return false;
        };
        for volume in volumes {
            let name = &volume.record.name;
            match settle(&Os, store, (UNIT, &self.unit), &mut view, &|_| (), name).await {
                Ok(Rest::Settled) => self.must_be_so(name).await,
                Ok(Rest::Gone) => {}
                Ok(rest) => panic!("{name} is left {rest:?}"),
                Err(error) => {
                    assert!(self.fuse.is_blown() || self.unit.fuse.is_blown(), "{name}: {error}");
                    return false;
                }
            }
        }
        true
    }

    /// What the station takes for settled is so on the unit, at this very moment.
    async fn must_be_so(&self, name: &str) {
        let record = load::<VolumeRecord>(&self.station.store, &volume_key(name)).await;
        let Ok(Some(record)) = record.map(|stored| stored.map(|stored| stored.record)) else {
            return;
        };
        let held = self.unit.grants().get(name).cloned();
        let wanted = match record.wish {
            Wish::Granted => record.holder.map(|holder| (holder.iqn, record.epoch)),
            Wish::Free | Wish::Deleted => None,
        };
        assert_eq!(held, wanted, "{name} is taken for settled");
    }

    /// Everything runs now, until all is at rest.
    async fn end(&mut self) {
        for _ in 0..10 {
            self.restart_whoever_stopped().await;
            if self.settle_all().await && self.pull().await {
                return;
            }
        }
        panic!("no rest");
    }

    /// Station, unit and host agree on every volume.
    async fn check(&self) {
        let volumes = self.station.volumes(&ADMIN).await.unwrap();
        let mut granted = std::collections::BTreeMap::new();
        for volume in &volumes {
            match volume.state {
                VolumeState::Granted => {
                    let connection = volume.connection.as_ref().expect("a granted one has one");
                    let holder = (connection.initiator.clone(), volume.epoch);
                    granted.insert(volume.name.clone(), holder);
                }
                VolumeState::Free => assert_eq!(volume.connection, None),
                state => panic!("{} is left {state}", volume.name),
            }
        }
        assert_eq!(self.unit.published(), granted, "what hosts can reach");
        assert_eq!(self.unit.grants(), granted, "what survives on the unit");
        let sizes = volumes.iter().map(|volume| (volume.name.clone(), volume.size.0)).collect();
        assert_eq!(self.unit.sizes(), sizes);
        for job in self.station.jobs(&ADMIN).await.unwrap() {
            assert_ne!(job.state, JobState::Running, "{job:?}");
        }
    }

    async fn jobs(&self) -> Vec<Job> {
        self.station.jobs(&ADMIN).await.unwrap()
    }
}

async fn open(store: &Arc<MemoryStore>, fuse: &Fuse) -> Station {
    let store = StoppableStore { inner: Arc::clone(store), fuse: fuse.clone() };
    Station::open(Arc::new(store), "main", Policy::Auto).await.unwrap()
}

fn request(name: Option<&str>, mib: u64) -> VolumeRequest {
    VolumeRequest {
        size: Size(mib * MIB),
        host: Some("a".into()),
        name: name.map(str::to_owned),
        ..VolumeRequest::default()
    }
}

async fn run(story: &[Ask], station_stops: Option<u32>, unit_stops: Option<u32>) -> World {
    let mut world = World::new(station_stops, unit_stops).await;
    for (number, ask) in story.iter().enumerate() {
        world.ask(*ask, number).await;
    }
    world.end().await;
    world.check().await;
    world
}

/// Pairs of places tried per story. Short stories have fewer; of a long one every so-manieth pair
/// is tried, each place of either side in some of them.
const PAIRS: u32 = 1500;

/// Runs the story once undisturbed, then stopped at every place, and at pairs of places.
fn check(story: &[Ask], outcome: impl Fn(&World, &[Job])) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let quiet = run(story, None, None).await;
        outcome(&quiet, &quiet.jobs().await);
        let (station, unit) = (quiet.fuse.places(), quiet.unit.fuse.places());
        assert!(station > 4 && unit > 4, "the story has places to stop at");
        let stride = (station * unit).div_ceil(PAIRS);
        for at in 0..=station {
            let stops = (at < station).then_some(at);
            for and in (0..=unit).filter(|and| *and == unit || (at + and) % stride == 0) {
                let world = run(story, stops, (and < unit).then_some(and)).await;
                let jobs = world.jobs().await;
                let shown = format!("stopped at {at} and {and}: {jobs:#?}");
                let caught = std::panic::AssertUnwindSafe(|| outcome(&world, &jobs));
                assert!(std::panic::catch_unwind(caught).is_ok(), "{shown}");
            }
        }
    });
}

fn holder(world: &World, volume: &str) -> Option<String> {
    world.unit.published().get(volume).map(|(iqn, _)| iqn.clone())
}

#[test]
fn a_request_ends_fully_granted() {
    check(&[Ask::Request("data", 16), Ask::Settle], |world, jobs| {
        assert_eq!(holder(world, "data").as_deref(), Some("iqn.a"));
        assert_eq!(jobs.len(), 1, "a repeated request is the same job");
        assert_eq!(jobs[0].state, JobState::Done);
    });
}

#[test]
fn an_existing_volume_nobody_had_is_given_whole() {
    check(&[Ask::RequestAny(7), Ask::Settle], |world, jobs| {
        assert_eq!(holder(world, "old").as_deref(), Some("iqn.a"));
        assert_eq!(world.unit.sizes().len(), 1, "no new one was made");
        assert_eq!(jobs[0].state, JobState::Done);
    });
}

#[test]
fn a_request_the_unit_refuses_leaves_nothing_behind() {
    let story = [Ask::Request("data", 50), Ask::Fill("late", 40), Ask::Settle];
    check(&story, |world, jobs| {
        assert_eq!(world.unit.sizes().get("data"), None);
        assert_eq!(jobs[0].state, JobState::Failed);
        assert_eq!(jobs[0].error.as_ref().unwrap().kind(), "too-large");
    });
}

#[test]
fn a_request_that_is_deleted_at_once_leaves_nothing_behind() {
    check(&[Ask::Request("data", 16), Ask::Delete("data"), Ask::Settle], |world, jobs| {
        assert_eq!(world.unit.sizes().get("data"), None);
        assert!(jobs.iter().any(|job| job.state == JobState::Failed), "the request");
    });
}

#[test]
fn a_delete_while_the_volume_is_on_its_way_leaves_it_to_nobody() {
    let story = [Ask::Request("data", 16), Ask::TryToSettle, Ask::Delete("data"), Ask::Settle];
    check(&story, |world, _| {
        // The request to make it may arrive after the record is gone: the volume is empty then,
        // nobody ever had it, and it is there for the next who asks.
        assert_eq!(holder(world, "data"), None);
    });
}

#[test]
fn a_volume_given_on_while_a_grant_is_on_its_way_has_one_writer() {
    let story = [
        Ask::Request("data", 16),
        Ask::TryToSettle,
        Ask::Release("data"),
        Ask::TryToSettle,
        Ask::Settle,
        Ask::Assign("data", "b"),
        Ask::Settle,
    ];
    check(&story, |world, _| {
        assert_eq!(holder(world, "data").as_deref(), Some("iqn.b"));
    });
}

#[test]
fn a_release_ends_with_nobody_and_the_next_host_has_it_alone() {
    let story = [
        Ask::Request("data", 16),
        Ask::Settle,
        Ask::Release("data"),
        Ask::Settle,
        Ask::Assign("data", "b"),
        Ask::Settle,
    ];
    check(&story, |world, jobs| {
        assert_eq!(holder(world, "data").as_deref(), Some("iqn.b"));
        assert_eq!(jobs.len(), 3);
        assert!(jobs.iter().all(|job| job.state == JobState::Done));
    });
}

#[test]
fn a_release_while_the_grant_is_on_its_way_wins() {
    let story = [Ask::Request("data", 16), Ask::TryToSettle, Ask::Release("data"), Ask::Settle];
    check(&story, |world, _| {
        assert_eq!(holder(world, "data"), None);
        assert_eq!(world.unit.sizes()["data"], 16 * MIB);
    });
}

#[test]
fn growing_and_deleting_are_done_once() {
    let story = [
        Ask::Request("data", 16),
        Ask::Settle,
        Ask::Grow("data", 24),
        Ask::Settle,
        Ask::Delete("data"),
        Ask::Settle,
    ];
    check(&story, |world, jobs| {
        assert_eq!(world.unit.sizes().get("data"), None);
        assert!(jobs.iter().all(|job| job.state == JobState::Done), "{jobs:?}");
    });
}

#[test]
fn growing_where_there_is_no_room_any_more_leaves_the_old_size() {
    let story = [
        Ask::Request("data", 16),
        Ask::Settle,
        Ask::Grow("data", 50),
        Ask::Fill("late", 40),
        Ask::Settle,
    ];
    check(&story, |world, jobs| {
        assert_eq!(world.unit.sizes()["data"], 16 * MIB);
        assert_eq!(holder(world, "data").as_deref(), Some("iqn.a"));
        assert!(jobs.iter().any(|job| job.state == JobState::Failed));
    });
}

#[test]
fn a_volume_is_moved_from_one_host_to_another_by_one_job() {
    let story = [Ask::Request("data", 16), Ask::Settle, Ask::Move("data", "b"), Ask::Settle];
    check(&story, |world, jobs| {
        assert_eq!(holder(world, "data").as_deref(), Some("iqn.b"));
        assert_eq!(jobs.len(), 2);
        assert!(jobs.iter().all(|job| job.state == JobState::Done), "{jobs:?}");
    });
}

/// Whatever is cancelled, and wherever it stood then: it ends, and as what it says.
fn check_cancelled(begin: Ask, before: Option<&'static str>, after: Option<&'static str>) {
    let first = match before {
        None => vec![Ask::Settle],
        Some(_) => vec![Ask::Request("data", 16), Ask::Settle],
    };
    let story: Vec<Ask> =
        first.into_iter().chain([begin, Ask::TryToSettle, Ask::Cancel, Ask::Settle]).collect();
    check(&story, |world, jobs| {
        let held = holder(world, "data");
        match jobs.last().unwrap().state {
            JobState::Cancelled => assert_eq!(held.as_deref(), before),
            JobState::Done => assert_eq!(held.as_deref(), after),
            state => panic!("it is {state}"),
        }
    });
}

#[test]
fn a_request_that_is_cancelled_leaves_nothing_behind() {
    check_cancelled(Ask::Request("data", 16), None, Some("iqn.a"));
}

#[test]
fn a_release_that_is_cancelled_gives_the_volume_back() {
    check_cancelled(Ask::Release("data"), Some("iqn.a"), None);
}

#[test]
fn a_delete_that_is_cancelled_in_time_erases_nothing() {
    check_cancelled(Ask::Delete("data"), Some("iqn.a"), None);
}

#[test]
fn a_move_that_is_cancelled_leaves_the_volume_where_it_was() {
    check_cancelled(Ask::Move("data", "b"), Some("iqn.a"), Some("iqn.b"));
}

#[tokio::test]
async fn a_volume_made_anew_on_another_unit_is_not_made_here() {
    let mut world = World::new(None, None).await;
    world.ask(Ask::Request("data", 16), 0).await;
    let stored = load::<VolumeRecord>(&world.station.store, &volume_key("data")).await.unwrap();
    let elsewhere = VolumeRecord { unit: Uuid::from_u128(2), ..stored.unwrap().record };
    let put = Transaction::new().put(volume_key("data"), encode(&elsewhere));
    world.station.store.commit(put).await.unwrap();
    let (mut view, store) = (world.unit.inventory().await.unwrap(), &world.station.store);
    let rest = settle(&Os, store, (UNIT, &world.unit), &mut view, &|_| (), "data").await.unwrap();
    assert_eq!(rest, Rest::Gone);
    assert_eq!(world.unit.sizes().get("data"), None);
}

//! The life of units and of the station itself: duties, quarantine, what is forgotten and found again,
//! and a station that is restored from an older backup.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use outband_pool_api::{
    Client, Duty, Error, HostChange, JobState, Size, UnitChange, UnitState, VolumeRequest,
    VolumeState, Wait,
};
use outband_pool_manager::backup::Backup;
use outband_protocol::announce::Message;
use world::{Announcer, MIB, World, ask, ask_named};

const PATIENCE: Duration = Duration::from_secs(20);
const WAIT: Wait = Wait::AtMost(PATIENCE);

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    answer.unwrap_err().problem().map(|problem| problem.kind().to_owned()).unwrap_or_default()
}

async fn give(client: &Client, name: &str, mib: u64) {
    client.request_volume(&ask_named(name, mib), name, WAIT).await.unwrap();
}

fn duty(duty: Duty) -> UnitChange {
    UnitChange { duty: Some(duty), ..UnitChange::default() }
}

fn label(name: &str, value: Option<&str>) -> UnitChange {
    let labels = BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]);
    UnitChange { labels, ..UnitChange::default() }
}

async fn two_units() -> (World, Announcer, Announcer) {
    let (world, first) = World::with_unit(100).await;
    let second = world.add_unit("unit-2", 50).await;
    (world, first, second)
}

async fn alive(units: [&mut Announcer; 2]) {
    for unit in units {
        unit.alive().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_new_comes_to_a_unit_with_another_duty_and_its_volumes_stay_in_use() {
    let (mut world, mut first, mut second) = two_units().await;
    let (_, a) = world.host("a").await;
    let admin = world.admin();
    give(&a, "old", 10).await;
    for other in [Duty::Cordoned, Duty::Maintenance, Duty::Spare, Duty::Draining] {
        alive([&mut first, &mut second]).await;
        let unit = admin.change_unit("unit-1", &duty(other)).await.unwrap();
        assert_eq!((unit.duty, unit.state), (other, UnitState::Joined));
        let placed = admin.place(&VolumeRequest { host: Some("a".into()), ..ask(10) }).await;
        let placed = placed.unwrap();
        assert_eq!(placed.unit.as_deref(), Some("unit-2"), "{other}");
        let rejected = placed.units.iter().find(|unit| unit.unit == "unit-1").unwrap();
        assert!(!rejected.fits && rejected.why.contains("it is"), "{rejected:?}");
        let pinned = VolumeRequest { unit: Some("unit-1".into()), ..ask(10) };
        assert_eq!(kind(a.request_volume(&pinned, &other.to_string(), WAIT).await), "no-unit");
    }
    assert_eq!(admin.unit("unit-1").await.unwrap().must_leave, ["old"]);
    assert_eq!(a.volume("old").await.unwrap().state, VolumeState::Granted);
    assert_eq!(admin.doctor().await.unwrap()[0].code, "unit-draining");
    assert_eq!(kind(a.change_unit("unit-1", &duty(Duty::Active)).await), "forbidden");

    world.restart().await;
    alive([&mut first, &mut second]).await;
    world.until_unit("unit-1", UnitState::Joined).await;
    world.until_unit("unit-2", UnitState::Joined).await;
    give(&a, "elsewhere", 10).await;
    assert_eq!(a.volume("elsewhere").await.unwrap().unit_name, "unit-2", "it is remembered");
    admin.change_unit("unit-1", &duty(Duty::Active)).await.unwrap();
    alive([&mut first, &mut second]).await;
    give(&a, "new", 10).await;
    assert_eq!(a.volume("new").await.unwrap().unit_name, "unit-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_asks_where_it_would_be_placed_and_learns_nothing_of_other_units() {
    let (world, mut first, mut second) = two_units().await;
    let (_, a) = world.host("a").await;
    let admin = world.admin();
    alive([&mut first, &mut second]).await;
    let placed = a.place(&ask(10)).await.unwrap();
    assert!(placed.unit.is_some() && placed.units.is_empty(), "{placed:?}");
    let for_a = |ask: VolumeRequest| VolumeRequest { host: Some("a".into()), ..ask };
    assert_eq!(admin.place(&for_a(ask(10))).await.unwrap().units.len(), 2);
    // What create would refuse is refused here.
    give(&a, "data", 10).await;
    assert_eq!(kind(a.place(&ask_named("data", 10)).await), "name-taken");
    assert_eq!(kind(a.place(&ask_named("a b", 10)).await), "bad-request");
    assert_eq!(kind(a.place(&VolumeRequest { size: Size(1), ..ask(1) }).await), "bad-request");
    let elsewhere = VolumeRequest { pool: Some("other".into()), ..ask(10) };
    assert_eq!(kind(a.place(&elsewhere).await), "conflict");
    let quota = HostChange { quota: Some(Size(15 * MIB)) };
    admin.change_host("a", &quota).await.unwrap();
    assert_eq!(kind(a.place(&ask(10)).await), "quota-exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_decide_where_a_volume_comes_from_and_which_keep_apart() {
    let (world, mut first, mut second) = two_units().await;
    let (_, a) = world.host("a").await;
    let (_, b) = world.host("b").await;
    let admin = world.admin();
    admin.change_unit("unit-1", &label("rack", Some("r1"))).await.unwrap();
    admin.change_unit("unit-2", &label("rack", Some("r2"))).await.unwrap();
    alive([&mut first, &mut second]).await;
    give(&a, "one", 10).await;
    let apart = VolumeRequest {
        apart: vec!["one".into()],
        domain: Some("rack".into()),
        ..ask_named("two", 10)
    };
    a.request_volume(&apart, "k2", WAIT).await.unwrap();
    assert_eq!(a.volume("two").await.unwrap().unit_name, "unit-2");
    let near = VolumeRequest { near: vec!["two".into()], ..ask_named("three", 10) };
    assert_eq!(kind(b.request_volume(&near, "k", WAIT).await), "not-found", "it is a's");
    alive([&mut first, &mut second]).await;
    a.request_volume(&near, "k3", WAIT).await.unwrap();
    assert_eq!(a.volume("three").await.unwrap().unit_name, "unit-2");

    let wrong =
        VolumeRequest { labels: BTreeMap::from([("rack".to_owned(), "r9".to_owned())]), ..ask(1) };
    let refused = a.request_volume(&wrong, "k4", WAIT).await.unwrap_err();
    assert!(refused.to_string().contains("it has no label rack=r9"), "{refused}");
    admin.change_unit("unit-1", &label("rack", None)).await.unwrap();
    assert!(admin.unit("unit-1").await.unwrap().labels.is_empty());
    let bad = label("a b", Some("x"));
    assert_eq!(kind(admin.change_unit("unit-1", &bad).await), "bad-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_that_keeps_falling_over_gets_nothing_new_until_it_is_trusted_again() {
    let (world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let admin = world.admin();
    for _ in 0..2 {
        unit.incarnation += 1;
        assert_eq!(unit.start().await, Message::NeedInfo);
    }
    // That it stops in order does not count.
    unit.say(Message::Shutdown).await;
    world.until_unit("unit-1", UnitState::Left).await;
    unit.incarnation += 1;
    unit.start().await;
    assert_eq!(admin.unit("unit-1").await.unwrap().quarantined_until, None);
    unit.incarnation += 1;
    unit.start().await;
    world.until_unit("unit-1", UnitState::Joined).await;
    assert!(admin.unit("unit-1").await.unwrap().quarantined_until.is_some());
    let refused = a.request_volume(&ask(1), "k", WAIT).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().kind(), "no-unit");
    let warned = admin.pool().await.unwrap().warnings;
    assert!(warned.iter().any(|warning| warning.contains("quarantine")), "{warned:?}");

    let trust = UnitChange { trust: true, ..UnitChange::default() };
    admin.change_unit("unit-1", &trust).await.unwrap();
    unit.alive().await;
    give(&a, "data", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_for_good_is_let_go_and_nothing_is_erased() {
    let (world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let admin = world.admin();
    give(&a, "data", 10).await;
    assert_eq!(kind(admin.forget_volume("data").await), "conflict", "its unit answers");
    assert_eq!(kind(admin.forget_unit("unit-1", "unit-1").await), "conflict");
    unit.say(Message::Shutdown).await;
    world.until_unit("unit-1", UnitState::Left).await;
    let job = a.delete_volume("data", Wait::No).await.unwrap();
    assert_eq!(kind(admin.forget_unit("unit-1", "unit-2").await), "not-confirmed");
    admin.forget_unit("unit-1", "unit-1").await.unwrap();
    let job = admin.job(job.id).await.unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.error.unwrap().kind(), "forgotten");
    assert!(admin.units().await.unwrap().is_empty() && admin.volumes().await.unwrap().is_empty());
    assert_eq!(world.units.volume_count(unit.id), 1, "nothing was erased");
    assert_eq!(world.units.grants(unit.id, "data").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_not_let_go_before_its_unit_has_been_read() {
    let (mut world, unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    give(&a, "data", 10).await;
    world.units.set_silent(unit.id, true);
    world.restart().await;
    let admin = world.admin();
    assert_eq!(admin.unit("unit-1").await.unwrap().heard_seconds_ago, None);
    assert_eq!(kind(admin.forget_volume("data").await), "conflict");
    assert_eq!(a.volume("data").await.unwrap().name, "data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_says_how_full_it_is() {
    let (world, _) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let admin = world.admin();
    give(&a, "one", 74).await;
    let pool = admin.pool().await.unwrap();
    assert_eq!((pool.used_percent, pool.warnings.len()), (74, 0));
    a.grow_volume("one", Size(75 * MIB), WAIT).await.unwrap();
    assert!(admin.pool().await.unwrap().warnings[0].starts_with("75 %"));
    a.grow_volume("one", Size(85 * MIB), WAIT).await.unwrap();
    assert!(admin.pool().await.unwrap().warnings[0].starts_with("85 %"));
}

/// The backup of a station, made while it runs.
async fn backup(world: &World) -> Backup {
    let said = world.admin().backup().await.unwrap();
    Backup::read(&Backup::finish(&said, &world.config.state_dir).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_does_not_go_on_after_a_restore() {
    let (mut world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    world.host("spare").await;
    let admin = world.admin();
    for name in ["one", "two"] {
        give(&a, name, 5).await;
    }
    world.units.set_silent(unit.id, true);
    let open = admin.take_over("a", "spare", Wait::No).await.unwrap();
    let backup = backup(&world).await;
    // By now it is over, and the host has its volumes again.
    world.units.set_silent(unit.id, false);
    unit.alive().await;
    admin.wait_for(open.id, PATIENCE).await.unwrap();
    admin.resume_host("a").await.unwrap();
    for name in ["one", "two"] {
        unit.alive().await;
        admin.move_volume(name, "a", WAIT).await.unwrap();
    }
    world.stop().await;
    backup.restore(&world.config.state_dir, "main", true).await.unwrap();
    world.restart().await;
    unit.alive().await;
    world.until_unit("unit-1", UnitState::Joined).await;
    let job = admin.job(open.id).await.unwrap();
    assert_eq!((job.state, job.error.unwrap().kind()), (JobState::Failed, "restored"));
    assert!(admin.jobs().await.unwrap().iter().all(|job| job.state != JobState::Running));
    let settled = async {
        while admin.volume("one").await.unwrap().state != VolumeState::Granted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.unwrap();
    for name in ["one", "two"] {
        let grants = world.units.grants(unit.id, name);
        assert_eq!(grants[0].0, "iqn.2026-11.test:a", "{name}: {grants:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_undoes_nothing_that_was_done_since() {
    let (mut world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    world.host("b").await;
    let admin = world.admin();
    for name in ["moved", "released", "erased", "same", "back"] {
        give(&a, name, 5).await;
    }
    a.release_volume("back", WAIT).await.unwrap();
    world.units.set_silent(unit.id, true);
    let open = a.release_volume("same", Wait::No).await.unwrap();
    let backup = backup(&world).await;
    admin.cancel_job(open.id, Wait::No).await.unwrap();
    world.units.set_silent(unit.id, false);
    unit.alive().await;
    admin.wait_for(open.id, PATIENCE).await.unwrap_err();
    admin.move_volume("moved", "b", WAIT).await.unwrap();
    a.release_volume("released", WAIT).await.unwrap();
    a.delete_volume("erased", WAIT).await.unwrap();
    unit.alive().await;
    give(&a, "new", 5).await;
    admin.assign_volume("back", "b", WAIT).await.unwrap();
    let names = ["moved", "released", "same", "new", "back"];
    let before: Vec<_> = names.iter().map(|name| world.units.grants(unit.id, name)).collect();

    world.stop().await;
    backup.restore(&world.config.state_dir, "main", true).await.unwrap();
    world.restart().await;
    unit.alive().await;
    world.until_unit("unit-1", UnitState::Joined).await;
    let settled = async {
        loop {
            let volumes = admin.volumes().await.unwrap();
            if volumes.iter().all(|volume| volume.state != VolumeState::Pending) {
                return volumes;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let volumes = tokio::time::timeout(PATIENCE, settled).await.unwrap();
    let after: Vec<_> = names.iter().map(|name| world.units.grants(unit.id, name)).collect();
    assert_eq!(after, before, "hosts keep what they had");
    let shown: Vec<_> = volumes
        .iter()
        .map(|volume| (volume.name.as_str(), volume.state, volume.host.as_deref()))
        .collect();
    let expected = [
        ("back", VolumeState::Granted, Some("b")),
        ("erased", VolumeState::Missing, Some("a")),
        ("moved", VolumeState::Granted, Some("b")),
        ("new", VolumeState::Foreign, None),
        ("released", VolumeState::Free, None),
        ("same", VolumeState::Granted, Some("a")),
    ];
    assert_eq!(shown, expected);
    let job = admin.job(open.id).await.unwrap();
    assert_eq!(job.error.unwrap().kind(), "restored");

    let codes: Vec<String> =
        admin.doctor().await.unwrap().into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["volume-missing", "volume-foreign"]);
    assert_eq!(admin.adopt_volume("new").await.unwrap().host.as_deref(), Some("a"));
    admin.forget_volume("erased").await.unwrap();
    assert!(admin.doctor().await.unwrap().is_empty());
    // The next epoch is above whatever the unit has seen.
    let seen = admin.volume("moved").await.unwrap().epoch;
    unit.alive().await;
    admin.move_volume("moved", "a", WAIT).await.unwrap();
    assert_eq!(world.units.grants(unit.id, "moved"), [("iqn.2026-11.test:a".to_owned(), seen + 1)]);
}

//! Jobs, tokens, takeover and the audit log, as their users meet them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use outband_pool_api::{
    Broken, Client, Error, Host, HostChange, HostRequest, Job, JobKind, JobState, Scope, Size,
    TokenRequest, UnitState, VolumeRequest, VolumeState, Wait, verify_audit,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use world::{MIB, World, ask, ask_named};

const PATIENCE: Duration = Duration::from_secs(20);
const WAIT: Wait = Wait::AtMost(PATIENCE);

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    answer.unwrap_err().problem().map(|problem| problem.kind().to_owned()).unwrap_or_default()
}

async fn give(client: &Client, name: &str, mib: u64) {
    client.request_volume(&ask_named(name, mib), name, WAIT).await.unwrap();
}

async fn token(world: &World, name: &str, scope: Scope) -> Client {
    let (host, valid_seconds) = (None, None);
    let ask = TokenRequest { name: name.into(), scope, host, valid_seconds };
    world.client(world.admin().new_token(&ask).await.unwrap().secret)
}

/// Polls, within bounds, until the job is as wanted.
async fn until(client: &Client, job: &Job, is: impl Fn(&Job) -> bool) -> Job {
    let reached = async {
        loop {
            let job = client.job(job.id).await.unwrap();
            if is(&job) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the job gets there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_says_who_asked_and_why_and_can_be_cancelled_and_tried_again() {
    let (world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let alice = token(&world, "alice", Scope::Operator).await.because(Some("für das Archiv"));
    give(&a, "data", 10).await;
    world.units.set_silent(unit.id, true);
    let release = alice.release_volume("data", Wait::No).await.unwrap();
    assert_eq!((release.kind, release.actor.as_str()), (JobKind::Release, "operator:alice"));
    assert_eq!(release.reason.as_deref(), Some("für das Archiv"));
    let waits = until(&alice, &release, |job| job.error.is_some()).await;
    assert_eq!(waits.error.unwrap().kind(), "waiting", "it says what for");

    alice.cancel_job(release.id, Wait::No).await.unwrap();
    assert_eq!(alice.job(release.id).await.unwrap().state, JobState::Running, "until it is so");
    world.units.set_silent(unit.id, false);
    unit.alive().await;
    let ended = until(&alice, &release, |job| job.state != JobState::Running).await;
    assert_eq!((ended.state, ended.ended.is_some()), (JobState::Cancelled, true));
    assert_eq!(ended.error.unwrap().detail, "operator:alice has cancelled it");
    let volume = a.volume("data").await.unwrap();
    assert_eq!((volume.state, volume.epoch), (VolumeState::Granted, 2));
    assert_eq!(kind(alice.cancel_job(release.id, WAIT).await), "job-ended");

    let again = alice.retry_job(release.id, WAIT).await.unwrap();
    assert_eq!((again.retry_of, again.kind), (Some(release.id), JobKind::Release));
    assert!(world.units.grants(unit.id, "data").is_empty());
    assert_eq!(kind(alice.retry_job(again.id, WAIT).await), "job-ended", "it is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_not_done_by_its_deadline_is_taken_back() {
    let (world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    world.units.set_silent(unit.id, true);
    let hasty = a.clone().within(Some(Duration::from_secs(1)));
    let job = hasty.request_volume(&ask_named("data", 10), "k", Wait::No).await.unwrap();
    assert_eq!(job.deadline, Some(job.created + 1));
    let late = until(&a, &job, |job| job.phases.iter().any(|p| p.name == "taken back")).await;
    assert_eq!(late.state, JobState::Running, "its unit may have made it");
    world.units.set_silent(unit.id, false);
    unit.alive().await;
    let ended = until(&a, &job, |job| job.state != JobState::Running).await;
    assert_eq!(ended.state, JobState::Failed);
    assert_eq!(ended.error.unwrap().kind(), "deadline-exceeded");
    assert_eq!(world.units.volume_count(unit.id), 0);
    assert!(a.volumes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_survives_a_restart() {
    let (mut world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    world.units.set_silent(unit.id, true);
    let job = a.request_volume(&ask_named("data", 10), "k", Wait::No).await.unwrap();
    a.cancel_job(job.id, Wait::No).await.unwrap();
    world.restart().await;
    world.units.set_silent(unit.id, false);
    unit.alive().await;
    let ended = until(&a, &job, |job| job.state != JobState::Running).await;
    assert_eq!(ended.state, JobState::Cancelled);
    assert_eq!(world.units.volume_count(unit.id), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_moves_to_another_host_that_alone_has_it_then() {
    let (world, unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let (_, b) = world.host("b").await;
    give(&a, "data", 10).await;
    assert_eq!(kind(a.move_volume("data", "b", WAIT).await), "forbidden");
    let job = world.admin().move_volume("data", "b", WAIT).await.unwrap();
    assert_eq!((job.host.as_deref(), job.to.as_deref()), (Some("a"), Some("b")));
    assert_eq!(world.units.grants(unit.id, "data"), [("iqn.2026-11.test:b".to_owned(), 2)]);
    assert!(a.volumes().await.unwrap().is_empty());
    assert_eq!(b.volume("data").await.unwrap().epoch, 2);
    assert_eq!(kind(world.admin().move_volume("data", "nobody", WAIT).await), "not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spare_takes_over_what_answers_and_waits_for_the_rest() {
    let (mut world, mut first) = World::with_unit(100).await;
    let mut second = world.add_unit("unit-2", 100).await;
    let (_, a) = world.host("a").await;
    let (_, spare) = world.host("spare").await;
    for (name, on) in [("v1", "unit-1"), ("v2", "unit-2"), ("v3", "unit-1")] {
        first.alive().await;
        second.alive().await;
        let ask = VolumeRequest { unit: Some(on.into()), ..ask_named(name, 10) };
        a.request_volume(&ask, name, WAIT).await.unwrap();
    }
    world.units.set_silent(second.id, true);
    let admin = world.admin();
    let job = admin.take_over("a", "spare", Wait::No).await.unwrap();
    let two = until(&admin, &job, |job| job.progress.is_some_and(|p| p.done == 2)).await;
    assert_eq!((two.state, two.progress.unwrap().total), (JobState::Running, 3));
    let iqn = "iqn.2026-11.test:spare".to_owned();
    assert_eq!(world.units.grants(first.id, "v1"), [(iqn.clone(), 2)]);
    let unfenced = world.units.grants(second.id, "v2");
    assert_eq!(unfenced, [("iqn.2026-11.test:a".to_owned(), 1)], "and so not given on");
    assert!(spare.volume("v2").await.unwrap().connection.is_none());
    assert_eq!(kind(a.request_volume(&ask(1), "new", WAIT).await), "host-replaced");

    world.restart().await;
    world.units.set_silent(second.id, false);
    second.alive().await;
    let done = until(&admin, &job, |job| job.state != JobState::Running).await;
    assert_eq!((done.state, done.parts.len()), (JobState::Done, 3));
    assert_eq!(world.units.grants(second.id, "v2"), [(iqn, 2)]);
    let Host { volumes, replaced_by, .. } = admin.host("a").await.unwrap();
    assert_eq!((volumes.len(), replaced_by.as_deref()), (0, Some("spare")));
    admin.resume_host("a").await.unwrap();
    second.alive().await;
    world.until_unit("unit-2", UnitState::Joined).await;
    give(&a, "new", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_bounds_what_a_host_has_together() {
    let (world, _) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let admin = world.admin();
    let quota = |mib: u64| HostChange { quota: Some(Size(mib * MIB)) };
    assert_eq!(admin.change_host("a", &quota(30)).await.unwrap().quota, Some(Size(30 * MIB)));
    give(&a, "one", 10).await;
    let refused = a.request_volume(&ask(21), "k", WAIT).await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!((problem.kind(), problem.largest), ("quota-exceeded", Some(Size(20 * MIB))));
    give(&a, "two", 20).await;
    assert_eq!(kind(a.grow_volume("two", Size(21 * MIB), WAIT).await), "quota-exceeded");
    admin.change_host("a", &quota(0)).await.unwrap();
    a.grow_volume("two", Size(21 * MIB), WAIT).await.unwrap();
    assert_eq!(admin.host("a").await.unwrap().used, Size(31 * MIB));
    assert_eq!(kind(a.change_host("a", &quota(99)).await), "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_does_what_its_scope_allows_until_it_expires_or_is_revoked() {
    let (mut world, _) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    give(&a, "data", 10).await;
    let admin = world.admin();
    let viewer = token(&world, "carol", Scope::Viewer).await;
    let seen = viewer.volume("data").await.unwrap();
    assert!(seen.connection.is_none(), "the host's secret is in it");
    assert_eq!(kind(viewer.release_volume("data", WAIT).await), "forbidden");
    assert_eq!(kind(viewer.audit(None, 10).await), "forbidden");
    let installer = token(&world, "pxe", Scope::Unit).await;
    installer.join_token().await.unwrap();
    assert_eq!(kind(installer.units().await), "forbidden");

    let ask = |name: &str, scope, host: Option<&str>, valid| TokenRequest {
        name: name.into(),
        scope,
        host: host.map(str::to_owned),
        valid_seconds: valid,
    };
    let second = admin.new_token(&ask("a-2", Scope::Host, Some("a"), None)).await.unwrap();
    let second = world.client(second.secret);
    assert!(second.volume("data").await.unwrap().connection.is_some());
    let wrong = [
        (ask("a-2", Scope::Viewer, None, None), "name-taken"),
        (ask("x", Scope::Host, None, None), "bad-request"),
        (ask("x", Scope::Host, Some("nobody"), None), "not-found"),
        (ask("x", Scope::Viewer, Some("a"), None), "bad-request"),
        (ask("X y", Scope::Viewer, None, None), "bad-request"),
    ];
    for (ask, problem) in wrong {
        assert_eq!(kind(admin.new_token(&ask).await), problem, "{ask:?}");
    }
    let brief = admin.new_token(&ask("brief", Scope::Viewer, None, Some(0))).await.unwrap();
    assert_eq!(kind(world.client(brief.secret).pool().await), "token-expired");

    world.restart().await;
    viewer.pool().await.unwrap();
    let names: Vec<String> =
        admin.tokens().await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["a-2", "brief", "carol", "pxe"]);
    admin.revoke_token("carol").await.unwrap();
    assert_eq!(kind(viewer.pool().await), "unauthorized");
    assert_eq!(kind(admin.revoke_token("carol").await), "not-found");
    a.delete_volume("data", WAIT).await.unwrap();
    admin.remove_host("a").await.unwrap();
    assert_eq!(kind(second.volumes().await), "unauthorized", "its host is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_has_every_change_once_and_no_secret() {
    let (mut world, _) = World::with_unit(100).await;
    let (host, a) = world.host("a").await;
    let bob = token(&world, "bob", Scope::Operator).await.because(Some("repair"));
    give(&a, "data", 10).await;
    bob.release_volume("data", WAIT).await.unwrap();
    bob.assign_volume("data", "a", WAIT).await.unwrap();
    assert_eq!(kind(bob.add_host("c", "iqn.c").await), "forbidden", "that leaves no entry");
    world.restart().await;
    a.delete_volume("data", WAIT).await.unwrap();
    let admin = world.admin();
    let iqn = "iqn.2026-11.local.host:m".to_owned();
    let proves = HostRequest { name: "m".to_owned(), iqn, quota: None, mutual: true };
    let proved = admin.register_host(&proves).await.unwrap();
    admin.change_host("m", &HostChange { quota: Some(Size(MIB)) }).await.unwrap();
    admin.remove_host("m").await.unwrap();

    let entries = admin.audit(Some(0), 100).await.unwrap();
    let told: Vec<(&str, &str, Option<&str>)> = entries
        .iter()
        .map(|entry| (entry.action.as_str(), entry.actor.as_str(), entry.reason.as_deref()))
        .collect();
    let expected = [
        ("host-add", "admin", None),
        ("token-create", "admin", None),
        ("volume-create", "host:a", None),
        ("volume-release", "operator:bob", Some("repair")),
        ("volume-assign", "operator:bob", Some("repair")),
        ("volume-delete", "host:a", None),
        ("host-add", "admin", None),
        ("host-set", "admin", None),
        ("host-remove", "admin", None),
    ];
    assert_eq!(told, expected);
    let release = &entries[3];
    assert_eq!(release.before.as_ref().unwrap()["wish"], "granted");
    assert_eq!(release.after.as_ref().unwrap()["wish"], "free");
    assert_eq!(verify_audit(&entries), Ok(()));
    let gap = [&entries[..2], &entries[3..]].concat();
    assert_eq!(verify_audit(&gap), Err(Broken::Missing(3)));
    let all = serde_json::to_string(&entries).unwrap();
    let mutual = proved.chap.mutual.unwrap().secret;
    for secret in [&host.token, &host.chap.secret, &proved.token, &proved.chap.secret, &mutual] {
        assert!(!all.contains(secret.expose()));
    }
    let newest = admin.audit(None, 2).await.unwrap();
    assert_eq!(newest, entries[7..]);
    assert_eq!(admin.audit(Some(2), 1).await.unwrap(), entries[2..3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_takes_back_what_it_began_and_nothing_that_takes_volumes_from_it() {
    let (world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let (_, b) = world.host("b").await;
    let alice = token(&world, "alice", Scope::Operator).await;
    for name in ["moved", "given", "freed", "own"] {
        give(&a, name, 1).await;
    }
    alice.release_volume("given", WAIT).await.unwrap();
    world.units.set_silent(unit.id, true);

    let own = a.release_volume("own", Wait::No).await.unwrap();
    a.cancel_job(own.id, Wait::No).await.unwrap();
    let moved = alice.move_volume("moved", "b", Wait::No).await.unwrap();
    assert_eq!(kind(a.cancel_job(moved.id, Wait::No).await), "forbidden");
    let freed = alice.release_volume("freed", Wait::No).await.unwrap();
    assert_eq!(kind(a.cancel_job(freed.id, Wait::No).await), "forbidden");
    // Of what is given to another host it does not learn.
    let given = alice.assign_volume("given", "b", Wait::No).await.unwrap();
    assert_eq!(given.host.as_deref(), Some("b"));
    assert_eq!(kind(a.cancel_job(given.id, Wait::No).await), "not-found");
    assert_eq!(b.job(given.id).await.unwrap().id, given.id);
    assert_eq!(kind(b.cancel_job(given.id, Wait::No).await), "forbidden");
    let over = alice.take_over("a", "b", Wait::No).await.unwrap();
    assert_eq!(kind(a.cancel_job(over.id, Wait::No).await), "forbidden");
    alice.cancel_job(over.id, Wait::No).await.unwrap();
    world.units.set_silent(unit.id, false);
    unit.alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_tries_again_what_a_host_asked_for_and_begins_it_once() {
    let (world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let alice = token(&world, "alice", Scope::Operator).await;
    world.units.set_silent(unit.id, true);
    let first = a.request_volume(&ask(10), "k", Wait::No).await.unwrap();
    a.cancel_job(first.id, Wait::No).await.unwrap();
    world.units.set_silent(unit.id, false);
    unit.alive().await;
    until(&a, &first, |job| job.state == JobState::Cancelled).await;

    let again = alice.retry_job(first.id, WAIT).await.unwrap();
    assert_eq!((again.host.as_deref(), again.retry_of), (Some("a"), Some(first.id)));
    assert_eq!(alice.retry_job(first.id, WAIT).await.unwrap().id, again.id, "a second click");
    assert_eq!(a.volumes().await.unwrap().len(), 1);
    assert_eq!(world.units.volume_count(unit.id), 1);
}

/// Passes everything on to the station, but for the answers of the first connection once that is cut.
async fn cut_once(station: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, is_cut) = watch::channel(false);
    tokio::spawn(async move {
        for number in 0.. {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut is_cut = is_cut.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(station).await.unwrap();
                let pass = copy_bidirectional(&mut near, &mut far);
                tokio::select! {
                    _ = pass => {}
                    _ = is_cut.wait_for(|cut| *cut), if number == 0 => {}
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_answer_is_lost_is_sent_again_and_makes_one_volume() {
    let (world, mut unit) = World::with_unit(100).await;
    let (host, a) = world.host("a").await;
    world.units.set_silent(unit.id, true);
    let (address, cut) = cut_once(world.addresses.api).await;
    let through = Client::new(&format!("https://{address}"), host.token, &world.trust()).unwrap();
    let asked = tokio::spawn(async move { through.request_volume(&ask(1), "k", WAIT).await });
    let begun = async {
        while a.jobs().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("it comes through");
    cut.send(true).unwrap();
    world.units.set_silent(unit.id, false);
    unit.alive().await;
    let job = asked.await.unwrap().unwrap();
    assert_eq!((job.state, a.jobs().await.unwrap().len()), (JobState::Done, 1));
    assert_eq!(world.units.volume_count(unit.id), 1);
}

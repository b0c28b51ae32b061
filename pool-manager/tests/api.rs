//! The API as its users meet it: over TLS, with tokens, through the client crate.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use outband_control::api::{Counted, Counts, SessionCounts, VolumeCounts};
use outband_pool_api::{
    BlockSize, Client, Error, Job, JobState, LatencyBucket, Rate, Scope, Secret, Size,
    TokenRequest, Trust, UnitState, Volume, VolumeRequest, VolumeState, Wait,
};
use outband_pool_manager::app::Policy;
use outband_protocol::announce::{Message, Refusal};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use world::{Announcer, MIB, World, ask, ask_named};

const WAIT: Wait = Wait::AtMost(Duration::from_secs(20));

fn kind(error: &Error) -> &str {
    error.problem().map_or("", |problem| problem.kind())
}

async fn request(client: &Client, ask: &VolumeRequest, key: &str) -> Volume {
    client.request_volume(ask, key, WAIT).await.unwrap().result.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_asks_and_all_three_hold_the_same_assignment() {
    let (world, unit) = World::with_unit(100).await;
    let (host, client) = world.host("a").await;
    let volume = request(&client, &ask(10), "k1").await;

    assert_eq!(volume.state, VolumeState::Granted);
    assert_eq!((volume.size, volume.epoch), (Size(10 * MIB), 1));
    let connection = volume.connection.clone().unwrap();
    assert_eq!(connection.portals, ["192.0.2.7:3260"]);
    assert_eq!(connection.target, format!("iqn.2026-11.local.outband:main:{}", volume.name));
    assert_eq!((connection.start_lba, connection.end_lba), (0, 10 * MIB / 512 - 1));
    assert_eq!(connection.chap, host.chap);
    let grants = world.units.grants(unit.id, &volume.name);
    assert_eq!(grants, [("iqn.2026-11.test:a".to_owned(), 1)]);
    let secret = world.units.chap_secret(unit.id, "a");
    assert_eq!(secret.as_deref(), Some(host.chap.secret.expose()));
    assert_eq!(client.volumes().await.unwrap(), [volume]);

    let status = world.admin().pool().await.unwrap();
    assert_eq!(status.total, Size(100 * MIB));
    assert_eq!((status.granted, status.free), (Size(10 * MIB), Size(90 * MIB)));
    assert_eq!((status.largest, status.units.joined), (Size(90 * MIB), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_block_size_is_as_asked_for_and_impossible_ones_are_refused() {
    let (world, _) = World::with_unit(100).await;
    let (_, client) = world.host("a").await;
    let large = VolumeRequest { block_size: Some(BlockSize::B4096), ..ask(10) };
    let volume = request(&client, &large, "k1").await;
    let connection = volume.connection.unwrap();
    assert_eq!((volume.block_size, connection.block_size), (4096, 4096));
    assert_eq!((connection.blocks, connection.end_lba), (2560, 2559));
    assert_eq!(request(&client, &ask(10), "k2").await.block_size, 512);
    for bytes in [0, MIB - 1, (1 << 63) + 1] {
        let ask = VolumeRequest { size: Size(bytes), ..ask(0) };
        let refused = client.request_volume(&ask, "k3", WAIT).await.unwrap_err();
        assert_eq!(kind(&refused), "bad-request");
        assert!(refused.problem().unwrap().detail.contains("from 1 MiB to 8 EiB"), "{refused}");
    }
    let grown = client.grow_volume(&volume.name, Size(u64::MAX), WAIT).await.unwrap_err();
    assert_eq!(kind(&grown), "bad-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_host_may_wipe_its_volume_is_told_to_the_unit() {
    let (world, unit) = World::with_unit(100).await;
    let (_, client) = world.host("a").await;
    for (name, allow_sanitize) in [("kept", false), ("scratch", true)] {
        let ask = VolumeRequest { allow_sanitize, ..ask_named(name, 10) };
        request(&client, &ask, name).await;
        assert_eq!(world.units.allows_sanitize(unit.id, name), allow_sanitize);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_in_the_order_they_began() {
    let (world, _) = World::with_unit(100).await;
    let (_, client) = world.host("a").await;
    let mut begun = Vec::new();
    // Most of these begin within one second.
    for at in 0..12 {
        let name = format!("v{at}");
        let job = client.request_volume(&ask_named(&name, 1), &name, Wait::No).await.unwrap();
        begun.push(job.id);
    }
    let listed: Vec<_> = client.jobs().await.unwrap().iter().map(|job| job.id).collect();
    assert_eq!(listed, begun);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_is_the_same_job_and_for_something_else_it_is_refused() {
    let (world, unit) = World::with_unit(100).await;
    let (_, client) = world.host("a").await;
    let (_, other) = world.host("b").await;
    let first = client.request_volume(&ask(10), "k", Wait::No).await.unwrap();
    let again = client.request_volume(&ask(10), "k", WAIT).await.unwrap();
    assert_eq!(first.id, again.id);
    assert_eq!(again.state, JobState::Done);
    assert_eq!(world.units.volume_count(unit.id), 1);

    let reused = client.request_volume(&ask(20), "k", WAIT).await.unwrap_err();
    assert_eq!(kind(&reused), "idempotency-key-reused");
    let theirs = other.request_volume(&ask(10), "k", WAIT).await.unwrap();
    assert_ne!(theirs.id, first.id, "a key is its principal's own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_sees_and_changes_its_own_volumes_alone() {
    let (world, unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let (_, b) = world.host("b").await;
    let volume = request(&a, &ask_named("data", 10), "k").await;
    let job = volume.job.unwrap();

    assert!(b.volumes().await.unwrap().is_empty());
    assert!(b.jobs().await.unwrap().is_empty());
    let refusals = [
        b.volume("data").await.map(drop),
        b.grow_volume("data", Size(20 * MIB), WAIT).await.map(drop),
        b.release_volume("data", WAIT).await.map(drop),
        b.delete_volume("data", WAIT).await.map(drop),
        b.job(job).await.map(drop),
    ];
    for refusal in refusals {
        assert_eq!(kind(&refusal.unwrap_err()), "not-found", "it does not even exist for b");
    }
    let for_a = VolumeRequest { host: Some("a".into()), ..ask(1) };
    assert_eq!(kind(&b.request_volume(&for_a, "k", WAIT).await.unwrap_err()), "forbidden");
    assert_eq!(world.units.grants(unit.id, "data").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_administrators_is_refused_to_hosts_and_strangers() {
    let (world, _) = World::with_unit(100).await;
    let (_, host) = world.host("a").await;
    let stranger = world.client(Secret::new("obh_guess"));
    for (client, expected) in [(host, "forbidden"), (stranger, "unauthorized")] {
        let refusals = [
            client.pool().await.map(drop),
            client.join_token().await.map(drop),
            client.new_join_token(None).await.map(drop),
            client.units().await.map(drop),
            client.unit("unit-1").await.map(drop),
            client.approve_unit("unit-1").await.map(drop),
            client.remove_unit("unit-1").await,
            client.hosts().await.map(drop),
            client.host("b").await.map(drop),
            client.add_host("c", "iqn.c").await.map(drop),
            client.remove_host("a").await,
            client.assign_volume("data", "a", WAIT).await.map(drop),
            client.events(0).await.map(drop),
        ];
        for refusal in refusals {
            let error = refusal.unwrap_err();
            assert_eq!(kind(&error), expected);
            assert!(matches!(error, Error::NotAllowed(_)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_volume_grows_is_released_given_on_and_deleted() {
    let (world, unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let (_, b) = world.host("b").await;
    let admin = world.admin();
    request(&a, &ask_named("data", 10), "k").await;

    let grown = a.grow_volume("data", Size(20 * MIB), WAIT).await.unwrap().result.unwrap();
    assert_eq!(grown.size, Size(20 * MIB));
    assert_eq!(grown.connection.unwrap().blocks, 20 * MIB / 512);
    assert_eq!(grown.epoch, 1, "growing draws no epoch");
    let shrunk = a.grow_volume("data", Size(MIB), WAIT).await.unwrap_err();
    assert_eq!(kind(&shrunk), "conflict");

    let in_use = admin.assign_volume("data", "b", WAIT).await.unwrap_err();
    assert_eq!(kind(&in_use), "conflict");
    a.release_volume("data", WAIT).await.unwrap();
    assert!(world.units.grants(unit.id, "data").is_empty());
    assert!(a.volumes().await.unwrap().is_empty());
    assert_eq!(admin.volume("data").await.unwrap().state, VolumeState::Free);

    admin.assign_volume("data", "b", WAIT).await.unwrap();
    let given = b.volume("data").await.unwrap();
    assert_eq!((given.state, given.epoch), (VolumeState::Granted, 2));
    assert_eq!(world.units.grants(unit.id, "data"), [("iqn.2026-11.test:b".to_owned(), 2)]);

    let held = admin.remove_host("b").await.unwrap_err();
    assert_eq!(kind(&held), "conflict");
    b.delete_volume("data", WAIT).await.unwrap();
    assert_eq!(world.units.volume_count(unit.id), 0);
    admin.remove_host("b").await.unwrap();
    assert!(matches!(b.volumes().await, Err(Error::NotAllowed(_))), "its token is void");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_told_what_to_change() {
    let (world, _) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let admin = world.admin();
    request(&a, &ask_named("data", 10), "k").await;

    let too_large = a.request_volume(&ask(91), "k2", WAIT).await.unwrap_err();
    let problem = too_large.problem().unwrap();
    assert_eq!((problem.kind(), problem.largest), ("too-large", Some(Size(90 * MIB))));
    assert!(problem.detail.contains("the largest possible volume is 90 MiB"), "{problem:?}");
    let largest = VolumeRequest { size: problem.largest.unwrap(), ..ask(0) };
    a.request_volume(&largest, "k3", WAIT).await.unwrap();

    let taken = a.request_volume(&ask_named("data", 1), "k4", WAIT).await.unwrap_err();
    assert_eq!(kind(&taken), "name-taken");
    let named = a.request_volume(&ask_named("Data", 1), "k5", WAIT).await.unwrap_err();
    assert_eq!(kind(&named), "bad-request");
    assert_eq!(kind(&a.request_volume(&ask(0), "k6", WAIT).await.unwrap_err()), "bad-request");
    let elsewhere = VolumeRequest { pool: Some("other".into()), ..ask(1) };
    assert_eq!(kind(&a.request_volume(&elsewhere, "k7", WAIT).await.unwrap_err()), "conflict");
    let nowhere = VolumeRequest { unit: Some("unit-9".into()), ..ask(1) };
    assert_eq!(kind(&a.request_volume(&nowhere, "k8", WAIT).await.unwrap_err()), "not-found");
    let nobody = VolumeRequest { host: Some("nobody".into()), ..ask(1) };
    assert_eq!(kind(&admin.request_volume(&nobody, "k9", WAIT).await.unwrap_err()), "not-found");
    assert_eq!(kind(&admin.add_host("a", "iqn.z").await.unwrap_err()), "name-taken");
    let same = admin.add_host("z", "iqn.2026-11.test:a").await.unwrap_err();
    assert_eq!(kind(&same), "conflict");
    assert_eq!(kind(&admin.remove_unit("unit-1").await.unwrap_err()), "conflict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_everything() {
    let (mut world, mut unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let volume = request(&a, &ask_named("data", 10), "k").await;
    let (trust, token) = (world.trust(), world.admin().join_token().await.unwrap());
    world.units.set_silent(unit.id, true);
    let cut_short = a.request_volume(&ask_named("late", 10), "k2", Wait::No).await.unwrap();

    world.restart().await;
    assert_eq!(world.trust(), trust);
    assert_eq!(world.admin().join_token().await.unwrap(), token);
    let kept = a.volume("data").await.unwrap();
    assert_eq!(kept.connection, volume.connection, "also while its unit does not answer");
    let running = a.job(cut_short.id).await.unwrap();
    assert_eq!(running.state, JobState::Running);

    world.units.set_silent(unit.id, false);
    unit.alive().await;
    let done: Job = a.wait_for(cut_short.id, Duration::from_secs(20)).await.unwrap();
    assert_eq!(done.result.unwrap().state, VolumeState::Granted);
    assert_eq!(world.units.volume_count(unit.id), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_station_on_the_same_state_directory_is_refused() {
    let world = World::new(Policy::Auto).await;
    let refused = outband_pool_manager::station::Bound::open(&world.config).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert_eq!(source, "another process uses the state directory's store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_waits_for_approval_and_leaves_in_order() {
    let world = World::new(Policy::Approve).await;
    let admin = world.admin();
    let token = admin.join_token().await.unwrap().token;
    let mut unit = Announcer::new("shelf", &token, world.addresses.announce, &world.units).await;
    world.units.add(unit.id, 100 * MIB);
    assert_eq!(unit.start().await, Message::Pending);
    world.until_unit("shelf", UnitState::Pending).await;
    let (_, a) = world.host("a").await;
    assert_eq!(kind(&a.request_volume(&ask(1), "k", WAIT).await.unwrap_err()), "no-unit");

    admin.approve_unit("shelf").await.unwrap();
    world.until_unit("shelf", UnitState::Joined).await;
    request(&a, &ask(1), "k").await;
    unit.say(Message::Shutdown).await;
    world.until_unit("shelf", UnitState::Left).await;
    assert_eq!(kind(&a.request_volume(&ask(1), "k2", WAIT).await.unwrap_err()), "no-unit");
    unit.incarnation += 1;
    assert_eq!(unit.start().await, Message::NeedInfo);
    world.until_unit("shelf", UnitState::Joined).await;

    let events = admin.events(0).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    for kind in ["unit-pending", "unit-approved", "unit-inventory", "unit-joined", "unit-left"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_join_token_voids_the_old_one_and_keeps_who_joined() {
    let (world, mut unit) = World::with_unit(100).await;
    let admin = world.admin();
    let old = admin.join_token().await.unwrap().token;
    let new = admin.new_join_token(Some(Duration::from_secs(600))).await.unwrap();
    assert!(new.expires.is_some());
    let mut late = Announcer::new("late", &old, world.addresses.announce, &world.units).await;
    assert_eq!(late.start().await, Message::Refused(Refusal::WrongToken));
    unit.incarnation += 1;
    assert_eq!(unit.start().await, Message::NeedInfo, "by its own secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_volume_nobody_had_is_given_and_a_released_one_is_not() {
    let (world, unit) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let (_, b) = world.host("b").await;
    world.units.make(unit.id, "made-there", 10 * MIB);
    // Growing makes the station look at the unit again.
    request(&a, &ask_named("data", 10), "k").await;
    a.grow_volume("data", Size(11 * MIB), WAIT).await.unwrap();
    assert_eq!(request(&b, &ask(9), "k").await.name, "made-there");
    a.release_volume("data", WAIT).await.unwrap();
    assert_ne!(request(&b, &ask(9), "k2").await.name, "data", "it holds a's data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_station_is_trusted_by_its_ca_or_its_fingerprint_alone() {
    let world = World::new(Policy::Auto).await;
    let fingerprint = Trust::fingerprint_of(&std::fs::read_to_string(&world.addresses.ca).unwrap());
    let url = format!("https://{}", world.addresses.api);
    let client = |trust: &Trust| Client::new(&url, world.admin_token(), trust).unwrap();
    client(&fingerprint.unwrap()).pool().await.unwrap();
    let wrong = client(&Trust::Fingerprint([3; 32])).pool().await.unwrap_err();
    assert!(matches!(wrong, Error::Untrusted { .. }), "{wrong:?}");
    let other = World::new(Policy::Auto).await;
    let wrong = client(&other.trust()).pool().await.unwrap_err();
    assert!(matches!(wrong, Error::Untrusted { .. }), "{wrong:?}");
}

/// A request as bytes, and all that is answered until the connection ends.
async fn follow(world: &World, path: &str) -> tokio::task::JoinHandle<String> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(&world.addresses.ca).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(world.addresses.api).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let ask = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {}\r\n\r\n",
        world.admin_token().expose()
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    tokio::spawn(async move {
        while stream.read_buf(&mut answer).await.is_ok_and(|length| length > 0) {}
        String::from_utf8(answer).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_ends_in_order_when_the_station_stops() {
    let mut world = World::new(Policy::Auto).await;
    let stream = follow(&world, "/v1/events").await;
    world.stop().await;
    let answer = tokio::time::timeout(Duration::from_secs(20), stream).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/event-stream"), "{answer}");
    // The last chunk (RFC 9112 §7.1): it was not cut off.
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
}

/// What a unit counts in each second: 100 reads of 4 KiB, all but one within 8 µs, on each volume.
fn pace(volumes: &[&str]) -> Counts {
    let volume = |name: &&str| VolumeCounts {
        subject: name.parse().unwrap(),
        read: Counted { bytes: 100 * 4096, times: vec![99, 0, 1] },
        write: Counted::default(),
        failed: 0,
        queue_depth: 2,
        sessions: 1,
    };
    let session = |name: &&str| SessionCounts {
        subject: name.parse().unwrap(),
        host: "iqn.2026-11.test:a".to_owned(),
        source: "192.0.2.9:40000".parse().unwrap(),
        portal: "192.0.2.7:3260".parse().unwrap(),
        commands: 100,
        read_bytes: 100 * 4096,
        written_bytes: 0,
        queue_depth: 2,
        window: 64,
    };
    let sessions = volumes.iter().map(session).collect();
    let volumes = volumes.iter().map(volume).collect();
    Counts { at_micros: 0, bounds_micros: vec![8, 16, 32], volumes, sessions }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_told_how_fast_volumes_are_and_hosts_only_of_their_own() {
    let (world, mut unit) = World::with_unit(100).await;
    let (_, host) = world.host("a").await;
    let (_, other) = world.host("b").await;
    let volume = request(&host, &ask_named("v", 10), "k1").await;
    world.units.set_pace(unit.id, pace(&["v", "v.p1", "w"]));
    assert_eq!(world.units.looks(unit.id), 0, "nobody has asked yet");

    let viewer =
        TokenRequest { name: "v".into(), scope: Scope::Viewer, host: None, valid_seconds: None };
    let viewer = world.client(world.admin().new_token(&viewer).await.unwrap().secret);
    unit.alive().await;
    let all = viewer.rates().await.unwrap();
    assert_eq!((all.volumes.len(), all.sessions.len(), all.silent.len()), (3, 3, 0));
    let read = Rate {
        per_second: 100,
        bytes_per_second: 100 * 4096,
        p50_micros: Some(4),
        p99_micros: Some(8),
    };
    let first = &all.volumes[0];
    assert_eq!((&*first.volume, &*first.unit, first.over_millis), ("v", "unit-1", 1000));
    assert_eq!((first.read, first.write, first.queue_depth), (read, Rate::default(), 2));
    assert!(first.latency.is_empty());

    let own = host.volume_rates(&volume.name).await.unwrap();
    let names: Vec<&str> = own.volumes.iter().map(|volume| volume.volume.as_str()).collect();
    assert_eq!((names, own.sessions.len()), (vec!["v", "v.p1"], 2));
    assert_eq!(own.sessions[0].commands_per_second, 100);
    let latency = &own.volumes[0].latency;
    assert_eq!(latency.len(), 3);
    assert!(matches!(latency[2], LatencyBucket { up_to_micros: Some(32), reads: 2.., writes: 0 }));
    assert_eq!(kind(&host.rates().await.unwrap_err()), "forbidden");
    assert_eq!(kind(&other.volume_rates("v").await.unwrap_err()), "not-found");

    world.units.set_silent(unit.id, true);
    let silence = async {
        loop {
            unit.alive().await;
            let all = viewer.rates().await.unwrap();
            if all.silent == ["unit-1"] {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(20), silence).await.unwrap();
    assert!(all.volumes.is_empty() && all.sessions.is_empty());
}

/// All of a request is kept with its job, and hosts make as many as they like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_so_many_volumes_and_labels_and_no_more() {
    let (world, _) = World::with_unit(100).await;
    let (_, a) = world.host("a").await;
    let kind = async |request: VolumeRequest| {
        let refused = a.request_volume(&request, "k", Wait::No).await.unwrap_err();
        refused.problem().map(|problem| problem.kind().to_owned()).unwrap_or_default()
    };
    let many = |count: usize| vec!["x".to_owned(); count];
    assert_eq!(kind(VolumeRequest { near: many(65), ..ask(1) }).await, "bad-request");
    assert_eq!(kind(VolumeRequest { apart: many(65), ..ask(1) }).await, "bad-request");
    assert_eq!(kind(VolumeRequest { near: many(64), ..ask(1) }).await, "not-found");
    let labels = |count: usize| (0..count).map(|at| (format!("l{at}"), "x".to_owned())).collect();
    assert_eq!(kind(VolumeRequest { labels: labels(65), ..ask(1) }).await, "bad-request");
    let long = [("l".to_owned(), "x".repeat(64))].into();
    assert_eq!(kind(VolumeRequest { labels: long, ..ask(1) }).await, "bad-request");
}

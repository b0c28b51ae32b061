//! Takeovers that meet what they did not see coming.

use outband_pool_api::{HostChange, Job, JobKind, Size};

use super::*;
use crate::records::{Holder, Wish};
use crate::sample;

const ADMIN: &Caller = &Caller::ADMIN;
const GIB: u64 = 1 << 30;

/// Volumes of the host `failed` on one unit, and a `spare`.
async fn pool(volumes: usize) -> std::sync::Arc<Station> {
    let station = sample::station().await;
    for host in ["failed", "spare", "third"] {
        sample::host(&station, host).await;
    }
    let unit = sample::unit(&station, "unit", &[sample::device(100 * GIB, false)]).await;
    for number in 0..volumes {
        sample::granted(&station, unit, &format!("v{number:02}"), GIB, false, "failed").await;
    }
    station
}

async fn job(station: &Station, id: Uuid) -> Job {
    station.job(ADMIN, id).await.unwrap()
}

async fn moves(station: &Station) -> usize {
    let jobs = station.jobs(ADMIN).await.unwrap();
    jobs.iter().filter(|job| job.kind == JobKind::Move).count()
}

async fn change_volume(station: &Station, name: &str, change: impl Fn(&mut VolumeRecord)) {
    let changed = |record: &mut VolumeRecord| {
        change(record);
        true
    };
    update::<VolumeRecord>(&station.store, &volume_key(name), changed).await.unwrap();
}

/// What a takeover comes to when nothing of it can be moved.
async fn refused(station: &Station, id: Uuid) -> Job {
    station.advance_takeovers().await.unwrap();
    let told = job(station, id).await;
    assert!(told.error.is_some(), "it says what is in its way: {told:?}");
    station.advance_takeovers().await.unwrap();
    job(station, id).await
}

#[tokio::test]
async fn one_whose_spare_may_not_have_so_much_ends_and_names_what_is_left() {
    let station = pool(2).await;
    let quota = HostChange { quota: Some(Size(GIB)) };
    station.change_host(ADMIN, "spare", &quota).await.unwrap();
    let id = station.take_over(ADMIN, "failed", "spare").await.unwrap();
    station.advance_takeovers().await.unwrap();
    let told = job(&station, id).await;
    assert_eq!((told.state, told.error.unwrap().kind()), (JobState::Running, "quota-exceeded"));
    // What could be moved is; the unit acknowledges it.
    change_volume(&station, "v00", |record| record.settled = true).await;
    let done = |job: &mut JobRecord| {
        job.state = JobState::Done;
        true
    };
    let jobs = station.jobs(ADMIN).await.unwrap();
    let moved = jobs.iter().find(|job| job.kind == JobKind::Move && job.volume == "v00").unwrap();
    update::<JobRecord>(&station.store, &job_key(moved.id), done).await.unwrap();
    station.advance_takeovers().await.unwrap();
    let ended = job(&station, id).await;
    let error = ended.error.unwrap();
    assert_eq!((ended.state, error.kind()), (JobState::Failed, "takeover-incomplete"));
    assert!(error.detail.contains("v01") && !error.detail.contains("v00"), "{error:?}");
    assert_eq!(station.volume(ADMIN, "v01").await.unwrap().host.as_deref(), Some("failed"));
}

#[tokio::test]
async fn one_whose_spare_is_replaced_or_gone_ends() {
    let replaced = pool(1).await;
    let id = replaced.take_over(ADMIN, "failed", "spare").await.unwrap();
    replaced.take_over(ADMIN, "spare", "third").await.unwrap();
    assert_eq!(refused(&replaced, id).await.state, JobState::Failed);

    let gone = pool(1).await;
    let id = gone.take_over(ADMIN, "failed", "spare").await.unwrap();
    gone.remove_host(ADMIN, "spare").await.unwrap();
    assert_eq!(refused(&gone, id).await.state, JobState::Failed);
}

#[tokio::test]
async fn one_that_waits_for_a_unit_after_a_restore_says_so_and_goes_on() {
    let station = pool(1).await;
    change_volume(&station, "v00", |record| record.restored = true).await;
    let id = station.take_over(ADMIN, "failed", "spare").await.unwrap();
    let waits = refused(&station, id).await;
    assert_eq!((waits.state, waits.error.unwrap().kind()), (JobState::Running, "not-recognised"));
    change_volume(&station, "v00", |record| record.restored = false).await;
    station.advance_takeovers().await.unwrap();
    assert_eq!((moves(&station).await, job(&station, id).await.error), (1, None));
}

#[tokio::test]
async fn one_that_is_cancelled_takes_nothing_more_even_with_an_old_picture() {
    let station = pool(2).await;
    let id = station.take_over(ADMIN, "failed", "spare").await.unwrap();
    let picture = station.running_job(id).await.unwrap().record;
    station.cancel_job(ADMIN, id).await.unwrap();
    station.move_each(&picture, &["v00".to_owned(), "v01".to_owned()]).await.unwrap();
    assert_eq!(moves(&station).await, 0);
    assert_eq!(job(&station, id).await.state, JobState::Cancelled);
}

#[tokio::test]
async fn what_the_failed_host_has_no_more_is_not_taken() {
    let station = pool(3).await;
    let id = station.take_over(ADMIN, "failed", "spare").await.unwrap();
    let picture = station.running_job(id).await.unwrap().record;
    let third = || Some(Holder { host: "third".to_owned(), iqn: "iqn.third".to_owned() });
    change_volume(&station, "v00", |record| record.holder = third()).await;
    change_volume(&station, "v01", |record| record.wish = Wish::Free).await;
    let names = ["v00", "v01", "v02"].map(str::to_owned);
    station.move_each(&picture, &names).await.unwrap();
    assert_eq!(station.volume(ADMIN, "v00").await.unwrap().host.as_deref(), Some("third"));
    assert_eq!(station.volume(ADMIN, "v02").await.unwrap().host.as_deref(), Some("spare"));
    assert_eq!((moves(&station).await, job(&station, id).await.error), (1, None));
}

#[tokio::test]
async fn a_large_one_begins_a_few_moves_at_once() {
    let station = pool(MOVES_MAX + 3).await;
    station.take_over(ADMIN, "failed", "spare").await.unwrap();
    for begun in [MOVES_MAX, MOVES_MAX + 3] {
        station.advance_takeovers().await.unwrap();
        assert_eq!(moves(&station).await, begun);
    }
}
